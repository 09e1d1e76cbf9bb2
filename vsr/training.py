"""One fit, and several in a row: networks in two stages are trained one after the other."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
from omegaconf import DictConfig
from torch import Tensor

from vsr.build import build_stage, build_trainer
from vsr.callbacks import History, StopAt
from vsr.checkpoints import PatientCheckpointIO, move_checkpoint, read_checkpoint, remove_checkpoint
from vsr.data.base import SRDataModule
from vsr.files import remove_unfinished
from vsr.hardware import suit, unsuit
from vsr.init import TwoStage
from vsr.modules.sr import SRModule
from vsr.nets.combined import Combined
from vsr.processes import from_first, rank
from vsr.resume import SECONDS_APART, Keeper, Session, check_same_run, run_fit
from vsr.tune import Tuning

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fit:
    """What one fit left: the scores of each epoch, the seconds until the best one, and the Trainer with its logger.

    `images_per_second`: HR images (patches, of each frame) that this process's steps were made of, scoring included in the time;
    None where none was trained on.
    """

    history: list[dict[str, float]]
    seconds: float
    trainer: L.Trainer
    images_per_second: float | None


def serve(data: SRDataModule, module: SRModule) -> None:
    """Let the data module's loaders give what the network needs."""
    network = module.network
    data.serve(module.recipe, context=network.context, lost=network.geometry.margin[0], trim=module.window[0])


def fit(
    cfg: DictConfig,
    folder: Path,
    module: SRModule,
    data: SRDataModule,
    epochs: int,
    *,
    stop: StopAt | None = None,
    brought: bool = False,
    values: Mapping[str, Tensor] | None = None,
    session: Session | None = None,
) -> Fit:
    """Measure statistics, score, train, and put the weights of the best epoch back into the module.

    Weights that were `brought` from elsewhere are an epoch like the others: when no later one is better, they are kept. `values`
    is 1 where a tensor's came from elsewhere, by its name without wrappers. A `session` that resumes goes on from the checkpoint
    in the folder; a fit that was finished is then not trained again.
    """
    session = session or Session()
    serve(data, module)
    module.prepare(data.training_frames())
    module.tuning = Tuning(module.tune, module.network, values)
    history = History()
    best, start, last = (folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "start", "last"))
    if rank() == 0:
        remove_unfinished(last.parent)
    source = from_first(lambda: session.source(folder))
    first_step = None
    if source is not None:
        first_step = from_first(lambda: check_same_run(source, module.card))
        log.info("resume    step %d, from %s", first_step, source)
    elif any(folder.glob("events.out.*")):
        first_step = 0
    files = PatientCheckpointIO(SECONDS_APART)
    keeper = Keeper(last, session, history, files)
    trainer = build_trainer(cfg, folder, module.recipe, epochs, history, stop, keeper, first_step, files)
    suit(module.network, cfg)
    trains, speed = module.trainable and epochs > 0, None
    if source is None:
        if rank() == 0:
            remove_checkpoint(start)
        trainer.validate(module, datamodule=data, verbose=False)
        history.start({key: float(value) for key, value in trainer.callback_metrics.items()})
        if brought or not trains:
            trainer.save_checkpoint(start)
    if trains:
        began, done = time.perf_counter(), first_step or 0
        run_fit(trainer, module, data, keeper, source)
        images = (trainer.global_step - done) * module.recipe.batch * (module.recipe.frames if module.kind == "movie" else 1)
        speed = images / (time.perf_counter() - began) if images else None
    module.tuning.release()
    unsuit(module.network)

    def chosen() -> dict[str, Any]:
        if start.exists():
            if _is_best(history.rows, 0, cfg.monitor):
                move_checkpoint(start, best)
            else:
                remove_checkpoint(start)
        return read_checkpoint(best)

    # The folder is the first process's: other nodes need not see it.
    content = from_first(chosen)
    module.load_state_dict(content["state_dict"])
    return Fit(history.rows, content["vsr"]["seconds"], trainer, speed)


def _is_best(rows: list[dict[str, float]], at: int, monitor: str) -> bool:
    """Whether no epoch has a better score than that one."""
    scores = [row[monitor] for row in rows]
    return scores[at] == (max if monitor.endswith(("psnr", "ssim")) else min)(scores)


def train_stages(
    cfg: DictConfig,
    folder: Path,
    module: SRModule,
    data: SRDataModule,
    start: TwoStage,
    values: Mapping[str, Tensor],
    session: Session | None = None,
) -> dict[str, Fit]:
    """Train what must be trained before the whole: the first network and, where both are then trained together, the second.

    Each stage writes a run of its own into a folder of its name. `values` is 1 where the start brought a tensor's values.
    """
    network = module.network
    assert isinstance(network, Combined)
    fits: dict[str, Fit] = {}
    for name in ("first",) if network.trains == "second" else ("first", "second"):
        stage = build_stage(module, name)
        if network.first.kind == "frame" and name == "first":
            stage.recipe = replace(stage.recipe, batch=start.frame_batch, temporal=0.0)  # single frames do not change
        stop = StopAt(start.stop_epoch, start.stop_psnr) if name == "first" else None
        log.info("stage     %s: a %s network for up to %d epochs", name, getattr(network, name).kind, start.epochs)
        second = name == "second"
        own = {key: mask for key, mask in values.items() if key.startswith(f"{name}.")}
        own = own if second else {key.removeprefix("first."): mask for key, mask in own.items()}
        brought = second or bool(own)
        fits[name] = fit(cfg, folder / name, stage, data, start.epochs, stop=stop, brought=brought, values=own, session=session)
        network.first.requires_grad_(network.trains == "both")
    module.stage_seconds = {name: found.seconds for name, found in fits.items()}
    return fits
