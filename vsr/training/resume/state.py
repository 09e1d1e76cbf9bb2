"""Saved state with which an interrupted run, once resumed, gives the same result as an uninterrupted run."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from vsr.config.old_targets import ONCE_FALSE
from vsr.errors import LINEAR_FILTER_REMOVED, UserError, WriteError
from vsr.recipe import Recipe
from vsr.system.signals import Signals, Stopped
from vsr.training.callbacks import AGREE_EVERY, History
from vsr.training.modules.base import SRModule
from vsr.training.resume.checkpoint_io import PatientCheckpointIO
from vsr.training.resume.checkpoints import read_checkpoint

log = logging.getLogger(__name__)

# Keys that may differ between the parts of a run: when it is saved, where it is shown, what it runs on.
MAY_DIFFER = ("checkpoint_seconds", "checkpoint_steps", "logger", "plugins", "trainer")
# Keys of the Trainer that may not differ, because they change what is learned.
LEARNING = ["accumulate_grad_batches", "limit_train_batches", "overfit_batches", "gradient_clip_val", "gradient_clip_algorithm"]
GRACE = 5.0  # seconds that a validation may still take after a signal; the newest checkpoint is saved at its end
SECONDS_APART = 5.0  # least time between checkpoints at the ends of epochs, since short epochs take less time than a checkpoint


@dataclass
class RunState:
    """State of a run in one process: received signals, settings of checkpoints, and the content of plan.json.

    Attributes:
        signals: The signals that this process received.
        resume: True if the run continues from checkpoints in its folder.
        chosen: The checkpoint to continue from; None for the newest one.
        seconds: Seconds between two checkpoints within an epoch; None for no such checkpoints.
        steps: Steps between two checkpoints within an epoch; None for no such checkpoints.
        saved: The newest saved step, in words; empty before the first checkpoint.
        pending: Functions that write files once the run has passed all checks, so that a refused run leaves no files.
        plan: The content of plan.json, the settings that this run resolved.
    """

    signals: Signals = field(default_factory=Signals)
    resume: bool = False
    chosen: Path | None = None
    seconds: float | None = None
    steps: int | None = None
    saved: str = ""
    pending: list[Callable[[], None]] = field(default_factory=list)
    plan: dict[str, Any] = field(default_factory=dict)

    def begin(self) -> None:
        """Call the pending functions, which write the first files of the run. Raises WriteError."""
        while self.pending:
            self.pending.pop(0)()

    def source(self, folder: Path) -> Path | None:
        """Return the checkpoint from which the fit in `folder` resumes; None for a new fit."""
        if self.chosen is not None and self.chosen.parent == folder / "checkpoints":
            return self.chosen
        last = folder / "checkpoints" / "last.ckpt"
        return last if self.resume and last.exists() else None


class CheckpointSaver(Checkpoint):
    """Callback that saves checkpoints for resuming, and stops the fit after a signal.

    It saves within long epochs, and at the end of an epoch after the validation. It does not save between the last step of an
    epoch and the validation. The key `resume` of a checkpoint holds the random states, the position of the loader, the history
    and whether training had to stop. Lightning calls a `Checkpoint` callback after all others, so that their states are
    complete.

    Args:
        path: The checkpoint file to write.
        run_state: The state of the run: times of checkpoints, and received signals.
        history: The scores of all epochs, which are saved too.
        files: The writer of checkpoint files; a pending `best.ckpt` is written before each checkpoint.
    """

    def __init__(self, path: Path, run_state: RunState, history: History, files: PatientCheckpointIO) -> None:
        self.path, self.run_state, self.history, self.files = path, run_state, history, files
        self._restored: dict[str, Any] = {}
        self._saved = self._begun = 0.0  # time.monotonic() of the newest checkpoint and of this process's first step

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        loader: Any = trainer.train_dataloader
        place = None if loader is None else loader.state_dict()
        if place is not None and trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            place["done"] = len(loader)  # also where trainer.limit_train_batches ends epochs early
        checkpoint["resume"] = {
            "random": resume_random_states(),
            "loader": place,
            "should_stop": trainer.should_stop,
            "history": json.dumps(self.history.rows),  # as text: many small values take long to read back
        }

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._restored = checkpoint["resume"]
        self.history.rows = json.loads(self._restored["history"])
        trainer.should_stop = self._restored["should_stop"]  # by patience: the fit then ends before its first step
        self.run_state.saved = f"step {checkpoint['global_step']}"
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            state = checkpoint["callbacks"].get(callback.state_key)
            if isinstance(callback, ModelCheckpoint) and state is not None:
                _settle(callback, state)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._saved = time.monotonic() if self._restored else float("-inf")
        self._begun = time.monotonic()
        self.run_state.signals.listen()  # Lightning has put its own handlers first, which stop where nothing is saved
        if self._restored.get("loader") is not None:
            # Lightning restores a loader in the middle of an epoch only; it has not been asked for a batch yet.
            trainer.train_dataloader.load_state_dict(self._restored["loader"])  # type: ignore[union-attr]
        self.finish()

    def finish(self) -> None:
        """Restore the random states of the loaded checkpoint, at the start of training or after a fit that had no step left."""
        if self._restored:
            restore_resume_random_states(self._restored["random"])
            self._restored = {}

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        # A callback may have made this step the last one of the epoch.
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch or trainer.should_stop:
            return
        if (trainer.fit_loop.batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # a checkpoint would lack the gradients that are being summed up
        if trainer.world_size == 1 or trainer.global_step % AGREE_EVERY == 0:
            run_state, elapsed = self.run_state, time.monotonic() - max(self._saved, self._begun)
            due = run_state.steps is not None and trainer.global_step % run_state.steps == 0
            self._save_or_stop(trainer, due or (run_state.seconds is not None and elapsed >= run_state.seconds))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        final = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        self._save_or_stop(trainer, final or time.monotonic() - self._saved >= SECONDS_APART)

    def _save_or_stop(self, trainer: L.Trainer, due: bool) -> None:
        signals = self.run_state.signals
        due, stop = due or signals.save_now, signals.received
        if trainer.world_size > 1:
            due, stop = trainer.strategy.broadcast((due, stop))
        if due or stop is not None:
            signals.save_now = False
            self.files.flush()
            trainer.save_checkpoint(self.path)
            self._saved, self.run_state.saved = time.monotonic(), f"step {trainer.global_step}"
        if stop is not None:
            raise Stopped(stop)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if not isinstance(exception, (Stopped, WriteError)):
            self.files.flush()

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        signals = self.run_state.signals
        if trainer.world_size == 1 and signals.received is not None and time.monotonic() > signals.since + GRACE:
            signals.check()


def _settle(callback: ModelCheckpoint, state: dict[str, Any]) -> None:
    """Restore a ModelCheckpoint's latest score, which Lightning leaves out, and put the paths in its state into its folder."""
    callback.current_score = state["current_score"]

    def here(path: str) -> str:
        return str(Path(str(callback.dirpath)) / Path(path).name) if path else path

    state["dirpath"] = callback.dirpath
    state["best_k_models"] = {here(path): score for path, score in state["best_k_models"].items()}
    for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[name] = here(state[name])


def resume_fit(
    trainer: L.Trainer, module: SRModule, data: L.LightningDataModule, saver: CheckpointSaver, source: Path | None
) -> None:
    """Run the Trainer's fit from the start, or from the checkpoint `source`. Raises Stopped after a signal."""
    try:
        with saver.run_state.signals.deferred():
            trainer.fit(module, datamodule=data, ckpt_path=source)
            saver.finish()
    except SystemExit:
        # Lightning turns Ctrl-C into exit status 1; outside the main thread, where signals are not handled here.
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise


def check_same_resumed_run(path: Path, card: dict[str, Any], best: Path | None = None) -> int:
    """Check that a checkpoint belongs to this config and data, and return its step.

    Args:
        path: The checkpoint.
        card: The description (config, data, versions) of the module that resumes.
        best: The run's best checkpoint, which must be readable if an epoch was saved as the best; None to skip this check.

    Raises:
        UserError: If config or data differ (the message names the difference), or a checkpoint cannot be used.
    """
    content = read_checkpoint(path)
    if "resume" not in content:
        raise UserError(f"{path}: holds weights, not a run; type init=checkpoint weights={path} to start from them")
    saved = content["vsr"]
    differing = resume_config_differences(_filled(path, saved["config"]), _filled(path, card["config"]))
    if differing:
        key, before, now = differing[0]
        raise UserError(
            f"{path}: was saved with {key}={before}, not {now}; type {key}={before} to continue, or resume=never "
            "hydra.run.dir=FOLDER to start another run"
        )
    if {"offset": 0.0, **saved["data"]} != card["data"]:  # older versions knew no offset
        raise UserError(
            f"{path}: the data have changed since (saved with {saved['data'].get('sha256', '')[:12]}, now "
            f"{card['data'].get('sha256', '')[:12]}); type resume=never hydra.run.dir=FOLDER to start another run"
        )
    versions = {name: (before, card["versions"].get(name)) for name, before in saved.get("versions", {}).items()}
    for name, (before, now) in versions.items():
        if before != now:
            log.warning("%s: saved with %s %s, now %s; results may differ from an uninterrupted run's", path, name, before, now)
    if best is not None and any(state.get("best_model_path") for state in content["callbacks"].values()):
        try:
            read_checkpoint(best)
        except UserError as error:
            raise UserError(
                f"{error}; the best epoch so far was in it: put a copy back, or type resume={path} to go on in the hope "
                "of a better one"
            ) from error
    return int(content["global_step"])


def _filled(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return a saved config whose recipe has defaults for newer keys. Raises UserError for a setting that no longer exists."""
    said = {key: value for key, value in config["recipe"].items() if key != "_target_"}
    if said.get("residual") == "linear":
        raise UserError(f"{path}: {LINEAR_FILTER_REMOVED}")
    recipe = Recipe(**said)
    return {**config, "recipe": asdict(recipe) | {"residual": recipe.over}}


def resume_config_differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Return (key, value before, value now) for each key in which two configs differ, except keys that may change on resuming."""
    found: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys((*before, *now)):
        name, a, b = f"{prefix}{key}", before.get(key), now.get(key)
        if name in ONCE_FALSE:
            a, b = a or None, b or None
        if isinstance(a, dict) and isinstance(b, dict) and name != "logger":
            found += resume_config_differences(a, b, f"{name}.")
        elif a != b and (name.partition(".")[0] not in MAY_DIFFER or name.removeprefix("trainer.") in LEARNING):
            found.append((name, a, b))
    return found


def resume_random_states() -> dict[str, Any]:
    """Return the states of the global random generators of Python, NumPy and torch, as tensors and plain values."""
    # vsr does not use the global NumPy generator, but a class that a config names may draw from it.
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002
    version, words, spare = random.getstate()
    return {
        "python": [version, torch.tensor(words), spare],
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_resume_random_states(states: dict[str, Any]) -> None:
    """Restore the states of the global random generators that `resume_random_states` returned."""
    version, words, spare = states["python"]
    random.setstate((version, tuple(words.tolist()), spare))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == (torch.cuda.device_count() if torch.cuda.is_available() else 0):
        torch.cuda.set_rng_state_all(states["cuda"])
