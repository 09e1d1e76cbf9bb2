"""Training of a network in one fit, or of a Cascade in several fits, stage by stage."""

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

from vsr.config.monitor import monitor_is_maximised
from vsr.data.base import SRDataModule
from vsr.degradations.consistency import degradation_for_consistency
from vsr.errors import UserError
from vsr.models.base import Network
from vsr.models.cascade import Cascade
from vsr.models.ensemble import Ensemble
from vsr.models.linear import LARGEST_SIZE
from vsr.models.parameter_names import parameters_by_name
from vsr.models.transform import unwrap_transform
from vsr.models.weights.init import Initializer, TwoStage
from vsr.models.weights.report import WeightsReport, WeightsReportRow
from vsr.models.weights.transfer import transferred_value_masks, untransferred_tensor_names
from vsr.system.files import remove_unfinished_files
from vsr.system.ranks import compute_on_first_rank, current_rank
from vsr.training.arithmetic import to_scoring_arithmetic, to_training_arithmetic
from vsr.training.build import build_module, build_stage
from vsr.training.build_network import build_from_node
from vsr.training.callbacks import History, LRConsistency, StopAtTarget, TimeLimit
from vsr.training.finetune import Tuning
from vsr.training.modules.base import SRModule
from vsr.training.resume.checkpoint_io import PatientCheckpointIO
from vsr.training.resume.checkpoints import (
    complete_checkpoint,
    move_checkpoint,
    read_checkpoint,
    remove_checkpoint,
)
from vsr.training.resume.state import SECONDS_APART, CheckpointSaver, RunState, check_same_resumed_run, resume_fit
from vsr.training.trainer import build_trainer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitResult:
    """Result of a fit.

    Attributes:
        history: Scores of each epoch; epoch 0 is the network before training.
        seconds: Seconds of training until the best epoch, including those of a Cascade's earlier stages.
        trainer: The Trainer, with its logger.
        images_per_second: HR patches per second of all processes together, scoring included; each frame of a clip counts. Steps
            before an interruption do not count. None without training.
        trained: Seconds of training in this fit, including the time before interruptions.
    """

    history: list[dict[str, float]]
    seconds: float
    trainer: L.Trainer
    images_per_second: float | None
    trained: float


@dataclass(frozen=True)
class PreparedModule:
    """Module with its initial weights, ready for training.

    Attributes:
        module: The module.
        start: The initializer that set the weights.
        report: The report of the initial weights, one row per tensor.
        masks: Tensor name -> mask of the tensor's shape, 1 where a value was loaded.
    """

    module: SRModule
    start: Initializer
    report: WeightsReport
    masks: dict[str, Tensor]


def prepare_fit_loaders(data: SRDataModule, module: SRModule, *scored: Network) -> None:
    """Configure the loaders of a data module for the network and recipe of a LightningModule, and further scored networks."""
    network = module.network
    reach = max(LARGEST_SIZE // 2, *(each.halo for each in (network, *scored)))  # that of the linear filter is chosen later
    margin, trim = network.geometry.margin[0], module.window[0]
    data.configure_loaders(module.recipe, context=network.context, margin=margin, trim=trim, reach=reach)


def prepare_fit_module(cfg: DictConfig, data: SRDataModule) -> PreparedModule:
    """Build the LightningModule of a config and set its initial weights. Raises UserError for weights that do not fit."""
    module = build_module(cfg, data.card, data.test_splits)
    if data.static_fields:
        module.card["static"] = [_with_tensor(field.to_plain()) for field in data.static_fields]
    if (statistics := data.lr_statistics()) is not None:
        module.card["lr_statistics"] = statistics.to_plain()
    module.tune.check(module.network)
    start: Initializer = build_from_node("init", cfg.init)
    network = unwrap_transform(module.network)
    drawn = {name: tensor.detach().clone() for name, tensor in parameters_by_name(network).items()}
    initialised = network.network if isinstance(network, Ensemble) else network
    report = start(initialised, frames=lambda: module.seen_frames(data.training_frames()))
    kept = {row.tensor for row in report}  # the layers of members start at zero details, whatever the weights
    report += [WeightsReportRow(name, tuple(x.shape), None, "fresh") for name, x in drawn.items() if name not in kept]
    if not isinstance(start, TwoStage) or start.epochs == 0:
        _check_fixed(network, report)
    return PreparedModule(module, start, report, transferred_value_masks(network, drawn, report))


def _with_tensor(field: dict[str, Any]) -> dict[str, Any]:
    """Return the plain form of a static field with its values as a tensor, which checkpoints may hold."""
    return field | {"values": None if field["values"] is None else torch.from_numpy(field["values"])}


def _check_fixed(network: Network, report: WeightsReport) -> None:
    """Raise UserError if the first network of a Cascade would stay fixed with randomly drawn weights."""
    if isinstance(network, Cascade) and network.trains == "second":
        never = untransferred_tensor_names(network)
        first = [row for row in report if row.tensor.startswith("first.") and row.tensor not in never]
        drawn = [row.tensor for row in first if row.status != "loaded"]
        if drawn:
            raise UserError(
                f"init: model.trains=second would keep {'the first network' if len(drawn) == len(first) else drawn[0]} as it was "
                "drawn; type init=two_stage with init.epochs=60, init=checkpoint, or model.trains=both"
            )


def prepare_fit(data: SRDataModule, module: SRModule, masks: Mapping[str, Tensor] | None) -> None:
    """Prepare a fit: configure the loaders, compute statistics of the training frames, and apply the settings of fine-tuning.

    Args:
        data: The data module with the frames.
        module: The module to train.
        masks: Tensor name -> mask of the tensor's shape, 1 where a value was loaded; None if no weights were loaded.
    """
    prepare_fit_loaders(data, module)
    tried = module.prepare(data.training_frames(), data.validation_frames())
    if tried and module.reference is not None and current_rank() == 0 and (size := module.reference.size) != min(tried):
        found = ", ".join(f"{side}x{side} {psnr:.2f} dB" for side, psnr in tried.items())
        last = "; its gain still rises there, and a larger one may be better, but none is tried" if size == LARGEST_SIZE else ""
        log.info("linear    the best linear filter has %dx%d taps; on validation: %s%s", size, size, found, last)
    module.tuning = Tuning(module.tune, module.network, masks)


def fit(
    cfg: DictConfig,
    folder: Path,
    module: SRModule,
    data: SRDataModule,
    epochs: int,
    *,
    stops: Sequence[Callback] = (),
    pretrained: bool = False,
    masks: Mapping[str, Tensor] | None = None,
    run_state: RunState | None = None,
) -> FitResult:
    """Train a module, and put the weights of the best epoch back into it; statistics and scores are computed before training.

    Args:
        cfg: The resolved config of the run.
        folder: The folder of this fit, for checkpoints and TensorBoard files.
        module: The module, with its initial weights.
        data: The data module with the frames.
        epochs: Length of the schedule; 0 trains nothing.
        stops: Callbacks that can end the fit early.
        pretrained: True if the initial weights count as an epoch, and are kept when no later epoch is better.
        masks: Tensor name, as in `parameters_by_name` -> mask of the tensor's shape, 1 where a value was loaded.
        run_state: Signals and checkpoints of the run. A fit that resumes continues from the checkpoint in `folder`; a finished
            fit is not trained again.

    Raises:
        UserError: If the checkpoint in the folder belongs to another run, or cannot be read.
        Stopped: If a signal came; the newest state was saved.
    """
    run_state = run_state or RunState()
    prepare_fit(data, module, masks)
    history = History()
    best, start, last = (folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "start", "last"))
    source, first_step = _resume_from(folder, module, run_state, best, last)
    run_state.begin()
    files = PatientCheckpointIO(SECONDS_APART)
    saver = CheckpointSaver(last, run_state, history, files)
    if (degrade := degradation_for_consistency(data.unit_degradation(), data.scale)) is not None:
        stops = [*stops, LRConsistency(degrade, data.scale, module.network.geometry.margin[1:])]
    trainer = build_trainer(cfg, folder, module.recipe, epochs, history, stops, saver, first_step, files)
    to_training_arithmetic(module.network, cfg)
    trains, speed, trained = module.trainable and epochs > 0, None, 0.0
    start_counts = pretrained or not trains
    if source is None:
        if current_rank() == 0:
            remove_checkpoint(start)
        trainer.validate(module, datamodule=data, verbose=False)
        history.start({key: float(value) for key, value in trainer.callback_metrics.items()})
        if start_counts:
            trainer.save_checkpoint(start)
    if trains:
        began, done = time.perf_counter(), first_step or 0
        resume_fit(trainer, module, data, saver, source)
        trained = module.trained_seconds()
        images = (trainer.global_step - done) * module.recipe.batch * (module.recipe.frames if module.kind == "movie" else 1)
        speed = images / (time.perf_counter() - began) if images else None
    module.tuning.release()
    to_scoring_arithmetic(module.network)
    # Only the first process reads the folder: other nodes may not see it.
    content = compute_on_first_rank(lambda: _best_checkpoint(start, best, history.rows, cfg.monitor, start_counts))
    module.load_state_dict(content["state_dict"])
    return FitResult(history.rows, content["vsr"]["seconds"], trainer, speed, trained)


def _resume_from(folder: Path, module: SRModule, run_state: RunState, best: Path, last: Path) -> tuple[Path | None, int | None]:
    """Return the checkpoint that a fit resumes from, and its step.

    A new fit has no checkpoint (None). Its step is 0 if the folder holds TensorBoard files, else None.
    """
    if current_rank() == 0:
        remove_unfinished_files(last.parent)
    source = compute_on_first_rank(lambda: run_state.source(folder))
    if source is None:
        return None, 0 if any(folder.glob("events.out.*")) else None
    first_step = compute_on_first_rank(
        lambda: check_same_resumed_run(source, module.card, best if run_state.chosen is None else None)
    )
    log.info("resume    step %d, from %s", first_step, source)
    if current_rank() == 0 and source == last:
        complete_checkpoint(last)
    return source, first_step


def _best_checkpoint(start: Path, best: Path, rows: list[dict[str, float]], monitor: str, start_counts: bool) -> dict[str, Any]:
    """Read the checkpoint of the best epoch; first rename `start` to `best` if no epoch is better than the initial weights."""
    if start.exists():
        if _start_is_best(rows, monitor):
            move_checkpoint(start, best)
        else:
            remove_checkpoint(start)
    content = read_checkpoint(best)
    complete_checkpoint(best)
    if start_counts and content["global_step"] > 0 and _start_is_best(rows, monitor):
        raise UserError(
            f"{start}: is missing, and no epoch is better than the initial weights that it held; put a copy back and "
            f"resume the run, or type hydra.run.dir=FOLDER to start another run"
        )
    return content


def _start_is_best(rows: list[dict[str, float]], monitor: str) -> bool:
    """Return True if every epoch has a worse score than the initial weights; equal scores speak for the trained ones."""
    sign = 1 if monitor_is_maximised(monitor) else -1
    start, *trained = [sign * row[monitor] for row in rows]
    return not trained or not max(trained) >= start


def fits_before_whole(network: Cascade) -> tuple[str, ...]:
    """Return the names of a Cascade's stages that are trained before the fit of the whole network."""
    return ("first",) if network.trains == "second" else ("first", "second")


def prepare_fit_of_stage(module: SRModule, name: str, start: TwoStage) -> SRModule:
    """Build the LightningModule of one stage of a Cascade; `start` sets the batch size of a frame network in the first stage."""
    stage = build_stage(module, name)
    assert isinstance(module.network, Cascade)
    if module.network.first.kind == "frame" and name == "first":
        stage.recipe = replace(stage.recipe, batch=start.frame_batch, temporal=0.0)  # single frames do not change
    return stage


def fit_masks_of_stage(masks: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the masks (1 where a value was loaded) of a stage's tensors, by the tensors' names inside the stage."""
    own = {key: mask for key, mask in masks.items() if key.startswith(f"{name}.")}
    return own if name == "second" else {key.removeprefix("first."): mask for key, mask in own.items()}


def _train_stages(
    cfg: DictConfig,
    folder: Path,
    module: SRModule,
    data: SRDataModule,
    start: TwoStage,
    masks: Mapping[str, Tensor],
    run_state: RunState | None = None,
    limits: Mapping[str, float] | None = None,
) -> dict[str, FitResult]:
    """Train the stages of a Cascade before the whole network: the first network and, for joint training, the second.

    Args:
        cfg: The resolved config of the run.
        folder: The folder of the run; each stage writes into a subfolder with its name.
        module: The LightningModule of the Cascade.
        data: The data module with the frames.
        start: The two-stage initializer, with the lengths of the stages.
        masks: Tensor name -> mask of the tensor's shape, 1 where a value was loaded.
        run_state: Signals and checkpoints of the run.
        limits: Stage name -> seconds of training after which the stage ends.

    Returns:
        The fits by the names of the stages.
    """
    limits = limits or {}
    network = module.network
    assert isinstance(network, Cascade)
    fits: dict[str, FitResult] = {}
    for name in fits_before_whole(network):
        stage = prepare_fit_of_stage(module, name, start)
        stops: list[Callback] = [StopAtTarget(start.stop_epoch, start.stop_psnr)] if name == "first" else []
        stops += [TimeLimit(limits[name])] if name in limits else []
        log.info("stage     %s: a %s network for up to %d epochs", name, getattr(network, name).kind, start.epochs)
        own = fit_masks_of_stage(masks, name)
        fits[name] = fit(
            cfg,
            folder / name,
            stage,
            data,
            start.epochs,
            stops=stops,
            pretrained=name == "second" or bool(own),
            masks=own,
            run_state=run_state,
        )
        network.first.requires_grad_(network.trains == "both")
    module.stage_seconds = {name: found.seconds for name, found in fits.items()}
    return fits


def fit_all_stages(
    cfg: DictConfig, folder: Path, data: SRDataModule, prepared: PreparedModule, run_state: RunState, limits: Mapping[str, float]
) -> dict[str, FitResult]:
    """Run every fit of a run; return the results by fit name, "whole" last. `limits` holds time limits in seconds by fit name."""
    module, start, masks = prepared.module, prepared.start, prepared.masks
    fits = _train_stages(cfg, folder, module, data, start, masks, run_state, limits) if isinstance(start, TwoStage) else {}
    if fits:
        masks = {name: torch.ones_like(tensor) for name, tensor in parameters_by_name(module.network).items()}
    stops = [TimeLimit(limits["whole"])] if "whole" in limits else []
    whole = fit(cfg, folder, module, data, cfg.epochs, stops=stops, pretrained=bool(masks), masks=masks, run_state=run_state)
    return {**fits, "whole": whole}


def quiet_fit_warnings() -> None:
    """Silence warnings about intended behaviour, and Lightning's advice to use more worker processes, which are slower here."""
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
