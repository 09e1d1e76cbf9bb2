"""One fit, and the fits of a network that is trained in two stages."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from torch import Tensor

from vsr.config.monitor import higher_is_better
from vsr.data.base import SRDataModule
from vsr.degradations.consistency import repeatable_degradation
from vsr.errors import UserError
from vsr.models.base import Network
from vsr.models.cascade import Cascade
from vsr.models.weights.init import Initializer, TwoStage
from vsr.models.weights.report import InitReport
from vsr.models.weights.transfer import computed_tensors, loaded_mask, parameters_by_name
from vsr.system.files import remove_unfinished
from vsr.system.ranks import from_first, rank
from vsr.training.arithmetic import to_scoring_form, to_training_form
from vsr.training.build import build_module, build_stage, make
from vsr.training.callbacks import History, LRConsistency, Overtime, StopAt
from vsr.training.finetune import Tuning
from vsr.training.modules.base import SRModule
from vsr.training.resume.checkpoints import (
    PatientCheckpointIO,
    complete_checkpoint,
    move_checkpoint,
    read_checkpoint,
    remove_checkpoint,
)
from vsr.training.resume.state import SECONDS_APART, Keeper, Session, check_same_run, run_fit
from vsr.training.trainer import build_trainer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fit:
    """The result of a fit: the scores of each epoch, the seconds until the best epoch, and the Trainer with its logger.

    `images_per_second`: HR images (patches, of each frame) that this process's steps were made of, scoring included in the time;
    None where none was trained on. `trained`: seconds of training in all, in every process that the fit went on in.
    """

    history: list[dict[str, float]]
    seconds: float
    trainer: L.Trainer
    images_per_second: float | None
    trained: float


@dataclass(frozen=True)
class Beginning:
    """A module before training, the report of its initial weights, and masks (1 where values were loaded) by tensor name."""

    module: SRModule
    start: Initializer
    report: InitReport
    values: dict[str, Tensor]


def serve(data: SRDataModule, module: SRModule) -> None:
    """Configure the loaders of the data module for the network."""
    network = module.network
    data.configure_loaders(module.recipe, context=network.context, margin=network.geometry.margin[0], trim=module.window[0])


def prepare(cfg: DictConfig, data: SRDataModule) -> Beginning:
    """Build the module of a config and load its initial weights. Raises UserError for weights that do not fit."""
    module = build_module(cfg, data.card, data.test_splits)
    module.tune.check(module.network)
    start: Initializer = make("init", cfg.init)
    drawn = {name: tensor.detach().clone() for name, tensor in parameters_by_name(module.network).items()}
    report = start(module.network, frames=lambda: module.in_unit_interval(data.training_frames()))
    if not isinstance(start, TwoStage) or start.epochs == 0:
        _check_fixed(module.network, report)
    return Beginning(module, start, report, loaded_mask(module.network, drawn, report))


def _check_fixed(network: Network, report: InitReport) -> None:
    """Raise UserError when a network that stays fixed has randomly drawn weights."""
    if isinstance(network, Cascade) and network.trains == "second":
        never = computed_tensors(network)
        first = [row for row in report if row.tensor.startswith("first.") and row.tensor not in never]
        drawn = [row.tensor for row in first if row.status != "loaded"]
        if drawn:
            raise UserError(
                f"init: model.trains=second would keep {'the first network' if len(drawn) == len(first) else drawn[0]} as it was "
                "drawn; type init=two_stage with init.epochs=60, init=checkpoint, or model.trains=both"
            )


def ready(data: SRDataModule, module: SRModule, values: Mapping[str, Tensor] | None) -> None:
    """Configure the loaders, fit statistics to the training frames, and start fine-tuning (frozen and slowed parts)."""
    serve(data, module)
    module.prepare(data.training_frames())
    module.tuning = Tuning(module.tune, module.network, values)


def fit(
    cfg: DictConfig,
    folder: Path,
    module: SRModule,
    data: SRDataModule,
    epochs: int,
    *,
    stops: Sequence[Callback] = (),
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
    ready(data, module, values)
    history = History()
    best, start, last = (folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "start", "last"))
    if rank() == 0:
        remove_unfinished(last.parent)
    source = from_first(lambda: session.source(folder))
    first_step = None
    if source is not None:
        first_step = from_first(lambda: check_same_run(source, module.card, best if session.chosen is None else None))
        log.info("resume    step %d, from %s", first_step, source)
        if rank() == 0 and source == last:
            complete_checkpoint(last)
    elif any(folder.glob("events.out.*")):
        first_step = 0
    session.begin()
    files = PatientCheckpointIO(SECONDS_APART)
    keeper = Keeper(last, session, history, files)
    if (degrade := repeatable_degradation(data.degradation, data.scale)) is not None:
        stops = [*stops, LRConsistency(degrade, data.scale, module.network.geometry.margin[1:])]
    trainer = build_trainer(cfg, folder, module.recipe, epochs, history, stops, keeper, first_step, files)
    to_training_form(module.network, cfg)
    trains, speed, trained = module.trainable and epochs > 0, None, 0.0
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
        trained = module.trained_seconds()
        images = (trainer.global_step - done) * module.recipe.batch * (module.recipe.frames if module.kind == "movie" else 1)
        speed = images / (time.perf_counter() - began) if images else None
    module.tuning.release()
    to_scoring_form(module.network)

    def chosen() -> dict[str, Any]:
        if start.exists():
            if _is_best(history.rows, 0, cfg.monitor):
                move_checkpoint(start, best)
            else:
                remove_checkpoint(start)
        content = read_checkpoint(best)
        complete_checkpoint(best)
        if (brought or not trains) and content["global_step"] > 0 and _is_best(history.rows, 0, cfg.monitor):
            raise UserError(
                f"{start}: is gone, with the weights that the run began with, which no epoch has bettered; put a copy back and "
                f"resume the run, or type hydra.run.dir=FOLDER to start another one"
            )
        return content

    # The folder is the first process's: other nodes need not see it.
    content = from_first(chosen)
    module.load_state_dict(content["state_dict"])
    return Fit(history.rows, content["vsr"]["seconds"], trainer, speed, trained)


def _is_best(rows: list[dict[str, float]], at: int, monitor: str) -> bool:
    """Whether no epoch has a better score than epoch `at`."""
    scores = [row[monitor] for row in rows]
    return scores[at] == (max if higher_is_better(monitor) else min)(scores)


def stages_before(network: Cascade) -> tuple[str, ...]:
    """Return the stages that are trained before the whole network."""
    return ("first",) if network.trains == "second" else ("first", "second")


def stage_of(module: SRModule, name: str, start: TwoStage) -> SRModule:
    """Build the module of a stage, with the batch size of its kind of network."""
    stage = build_stage(module, name)
    assert isinstance(module.network, Cascade)
    if module.network.first.kind == "frame" and name == "first":
        stage.recipe = replace(stage.recipe, batch=start.frame_batch, temporal=0.0)  # single frames do not change
    return stage


def own_values(values: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Select the masks of a stage and rename them to the names inside the stage."""
    own = {key: mask for key, mask in values.items() if key.startswith(f"{name}.")}
    return own if name == "second" else {key.removeprefix("first."): mask for key, mask in own.items()}


def train_stages(
    cfg: DictConfig,
    folder: Path,
    module: SRModule,
    data: SRDataModule,
    start: TwoStage,
    values: Mapping[str, Tensor],
    session: Session | None = None,
    limit: Mapping[str, float] | None = None,
) -> dict[str, Fit]:
    """Train the stages that come before the whole: the first network and, for joint training, the second.

    Each stage writes a run of its own into a folder of its name. `values` is 1 where the start brought a tensor's values.
    `limit`: seconds after which the stage of that name is ended.
    """
    limit = limit or {}
    network = module.network
    assert isinstance(network, Cascade)
    fits: dict[str, Fit] = {}
    for name in stages_before(network):
        stage = stage_of(module, name, start)
        stops: list[Callback] = [StopAt(start.stop_epoch, start.stop_psnr)] if name == "first" else []
        stops += [Overtime(limit[name])] if name in limit else []
        log.info("stage     %s: a %s network for up to %d epochs", name, getattr(network, name).kind, start.epochs)
        own = own_values(values, name)
        brought = name == "second" or bool(own)
        fits[name] = fit(cfg, folder / name, stage, data, start.epochs, stops=stops, brought=brought, values=own, session=session)
        network.first.requires_grad_(network.trains == "both")
    module.stage_seconds = {name: found.seconds for name, found in fits.items()}
    return fits


def train_all(
    cfg: DictConfig, folder: Path, data: SRDataModule, beginning: Beginning, session: Session, limit: Mapping[str, float]
) -> dict[str, Fit]:
    """Run every fit of a run, stages first, "whole" last; returns them by name. `limit` as in `train_stages`."""
    module, start, values = beginning.module, beginning.start, beginning.values
    fits = train_stages(cfg, folder, module, data, start, values, session, limit) if isinstance(start, TwoStage) else {}
    if fits:
        values = {name: torch.ones_like(tensor) for name, tensor in parameters_by_name(module.network).items()}
    stops = [Overtime(limit["whole"])] if "whole" in limit else []
    whole = fit(cfg, folder, module, data, cfg.epochs, stops=stops, brought=bool(values), values=values, session=session)
    return {**fits, "whole": whole}


def quiet_warnings() -> None:
    """Silence Lightning's advice on worker processes, which are slower here, and warnings about intended behaviour."""
    for text in (
        ".*does not have many workers.*",
        ".*Checkpoint directory.*exists and is not empty.*",
        ".*You are using `torch.load`.*",
        ".*saving a checkpoint outside the 'fit' stage.*",
        ".*treespec.*",
        ".*when logging on epoch level in distributed setting.*",  # scores are those of all processes already
        ".*`broadcast_buffers` is deprecated.*",  # what replaces it came with torch 2.12 or later
        ".*was called before the ``update`` method.*",  # of a process without a share
    ):
        warnings.filterwarnings("ignore", text)
