"""Measurement of the time per training step on a throw-away copy of the module."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from torch import Tensor

from vsr.config.overrides import with_overrides
from vsr.config.resolved import resolved_window
from vsr.data.base import SRDataModule
from vsr.errors import UserError
from vsr.models.cascade import Cascade
from vsr.models.weights.init import TwoStage
from vsr.system.ranks import compute_on_first_rank, current_rank
from vsr.training.arithmetic import set_arithmetic, to_scoring_arithmetic, to_training_arithmetic
from vsr.training.budget.plan import StepRate
from vsr.training.build import build_data
from vsr.training.callbacks import History
from vsr.training.fit import (
    fit_masks_of_stage,
    fits_before_whole,
    prepare_fit,
    prepare_fit_module,
    prepare_fit_of_stage,
    quiet_fit_warnings,
)
from vsr.training.hardware import check_single_process_hardware, with_hardware_precision
from vsr.training.loggers import SERVICES
from vsr.training.modules.base import SRModule
from vsr.training.resume.checkpoint_io import PatientCheckpointIO
from vsr.training.resume.state import CheckpointSaver, RunState, restore_resume_random_states, resume_fit, resume_random_states
from vsr.training.trainer import build_trainer

if TYPE_CHECKING:
    from vsr.data.base import SRDataModule

WARM = 3  # timings left out: buffers are allocated, and code may be compiled
SECONDS = 2.0  # that steps are timed for
FEWEST, MOST = 5, 200  # timings
TOGETHER = 10  # steps of an accelerator between two moments at which it is waited for
STILL = 1e-3  # factor on the learning rate: a schedule of so few steps must not blow the copy's weights up


class StepTimer(Callback):
    """Callback that times training steps, stops the epoch after enough of them, and times the end of the epoch."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.epoch = 0.0
        self._begun = self._mark = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._mark = _now(pl_module)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        each = 1 if pl_module.device.type == "cpu" else TOGETHER
        if (batch_idx + 1) % each:
            return
        now = _now(pl_module)
        self.steps.append((now - self._mark) / each)
        if len(self.steps) == WARM:
            self._begun = now
        enough = len(self.steps) >= WARM + FEWEST and now - self._begun >= SECONDS
        if len(self.steps) > WARM and compute_on_first_rank(lambda: enough):
            trainer.should_stop = True
        self._mark = _now(pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.epoch = _now(pl_module) - self._mark

    @property
    def rate(self) -> StepRate:
        """Return the median time per step, and the time that the end of the epoch took."""
        return StepRate(median(self.steps[WARM:]), self.epoch)


def _now(module: L.LightningModule) -> float:
    if module.device.type == "cuda":
        torch.cuda.synchronize(module.device)
    return time.perf_counter()


def measure_fit_rates(
    cfg: DictConfig, data: SRDataModule, folder: Path | None = None, run_state: RunState | None = None
) -> dict[str, StepRate]:
    """Measure the seconds per step and per epoch of each fit of a run, on throw-away copies of the module.

    Every process of a distributed run takes part; the result of the first process counts. The copies write checkpoints and
    curves into the subfolder .timing of `folder`, to use the disk of the run; the subfolder is removed afterwards. Random
    states are restored.

    Args:
        cfg: The checked config.
        data: The data module with the frames.
        folder: The folder of the run; None for a temporary folder.
        run_state: The state of the run, whose signals stop the measurement; None outside a run.

    Returns:
        Rates by fit name: "first" and "second" for the stages of a Cascade, and "whole" for the complete network. Empty if the
        config trains nothing.
    """
    kept = resume_random_states()
    cfg = with_hardware_precision(cfg)
    place = Path(tempfile.mkdtemp()) if folder is None or current_rank() > 0 else folder / ".timing"
    shutil.rmtree(place, ignore_errors=True)
    try:
        start = prepare_fit_module(cfg, data)
        module, found = start.module, {}
        if isinstance(start.start, TwoStage) and start.start.epochs > 0:
            assert isinstance(module.network, Cascade)
            for name in fits_before_whole(module.network):
                stage = prepare_fit_of_stage(module, name, start.start)
                found[name] = _fit_rate(cfg, data, stage, fit_masks_of_stage(start.masks, name), place / name, run_state)
                module.network.first.requires_grad_(module.network.trains == "both")
        if cfg.epochs > 0 and module.trainable:
            found["whole"] = _fit_rate(cfg, data, module, start.masks, place / "whole", run_state)
        return compute_on_first_rank(lambda: found)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        restore_resume_random_states(kept)


def _fit_rate(
    cfg: DictConfig,
    data: SRDataModule,
    module: SRModule,
    values: Mapping[str, Tensor],
    place: Path,
    run_state: RunState | None,
) -> StepRate:
    recipe = module.recipe
    each = TOGETHER if torch.cuda.is_available() else 1
    module.recipe = replace(recipe, steps=(WARM + MOST) * each, rate=recipe.rate * STILL)
    prepare_fit(data, module, values)
    clock, history, files = StepTimer(), History(), PatientCheckpointIO(0.0)
    own = RunState(signals=run_state.signals) if run_state is not None else RunState()
    saver = CheckpointSaver(place / "checkpoints" / "last.ckpt", own, history, files)
    local = {name: node for name, node in (cfg.logger or {}).items() if node["_target_"] not in SERVICES}
    cfg = with_overrides(cfg, {"logger": local})
    trainer = build_trainer(cfg, place, module.recipe, 1, history, (clock,), saver, None, files)
    if trainer.progress_bar_callback is not None:
        trainer.progress_bar_callback.disable()
    to_training_arithmetic(module.network, cfg)
    resume_fit(trainer, module, data, saver, None)
    module.tuning.release()
    to_scoring_arithmetic(module.network)
    module.recipe = recipe
    return clock.rate


def step_time_epoch_ratios(cfg: DictConfig, names: Mapping[str, Any]) -> dict[str, float]:
    """Return, by fit name, how many epochs each fit has for one epoch of the fit "whole".

    The ratio of a stage is init.epochs / epochs of the config. Without a fit "whole", all ratios are 1.
    """
    return {name: 1.0 if name == "whole" or "whole" not in names else cfg.init.epochs / cfg.epochs for name in names}


def total_step_rate(cfg: DictConfig, found: Mapping[str, StepRate]) -> StepRate:
    """Return the time per step of a whole run: the sum over its fits, each weighted by its share of the epochs."""
    parts = step_time_epoch_ratios(cfg, found)
    return StepRate(*(sum(parts[name] * getattr(rate, key) for name, rate in found.items()) for key in ("step", "epoch")))


def measure_step_rate_of_config(cfg: DictConfig) -> StepRate:
    """Read the data of a checked config, and measure the seconds per step and per epoch of all its fits together.

    Raises:
        UserError: If the data cannot be used, or the config trains nothing.
    """
    check_single_process_hardware("vsr budget", cfg.trainer)
    quiet_fit_warnings()
    set_arithmetic(cfg.tf32)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data = build_data(cfg)
    data.check_window(resolved_window(cfg))
    return measure_step_rate(cfg, data)


def measure_step_rate(cfg: DictConfig, data: SRDataModule) -> StepRate:
    """Measure the seconds per step and per epoch of all fits of a checked config together.

    A throw-away copy of the module runs real steps and one real end of an epoch. The rates of stages are added up, weighted by
    their epochs. Random states are restored, and no file is left. Raises UserError if the config trains nothing.
    """
    found = measure_fit_rates(cfg, data)
    if not found:
        raise UserError(f"{cfg.name}: there is nothing to train, and so nothing to measure; name another model")
    return total_step_rate(cfg, found)
