"""Lightning Trainers for fitting and for scoring."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import DictConfig, OmegaConf

from vsr.config.monitor import monitor_is_maximised
from vsr.config.signatures import signature_parameters
from vsr.recipe import Recipe
from vsr.training.build_network import build_from_node
from vsr.training.callbacks import EMA, History
from vsr.training.hardware import PRECISIONS, hardware_placement
from vsr.training.progress_bars import TrainingProgressBar
from vsr.training.resume.checkpoint_io import AtomicCheckpointIO

# Keys of the Trainer that a Trainer for scoring takes over.
TYPED = ("log_every_n_steps", "enable_model_summary", "gradient_clip_val")  # keys that a typed value overrides
PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
HARDWARE = ("_target_", "accelerator", "devices", "num_nodes", "strategy")


def build_trainer(
    cfg: DictConfig,
    folder: Path,
    recipe: Recipe,
    epochs: int,
    history: History,
    stops: Sequence[Callback] = (),
    saver: Callback | None = None,
    first_step: int | None = None,
    checkpoints: AtomicCheckpointIO | None = None,
) -> L.Trainer:
    """Build the Trainer for fitting, with the callbacks and the logger of the config.

    Args:
        cfg: The resolved config.
        folder: The folder of the fit.
        recipe: The recipe; the Trainer uses its gradient clipping and its averaging of weights.
        epochs: Length of the schedule.
        history: Callback that collects the scores of each epoch.
        stops: Callbacks that can end the fit early.
        saver: Callback that saves checkpoints for resuming; None for no such checkpoints.
        first_step: The first step of a resumed fit, or 0 for a new fit in a folder with event files; None for a new folder.
        checkpoints: Writer of checkpoint files; None for `AtomicCheckpointIO`.
    """
    mode = "max" if monitor_is_maximised(cfg.monitor) else "min"
    callbacks: list[Callback] = [TrainingProgressBar()]
    if recipe.ema is not None:
        callbacks.append(EMA(recipe.ema))
    for node in (cfg.callbacks or {}).values():
        target = node["_target_"]
        if target.endswith("EarlyStopping"):
            if cfg.patience is not None:
                callbacks.append(build_from_node("callbacks", node, mode=mode, verbose=False))
        elif target.endswith("ModelCheckpoint"):
            kind = {"mode": mode} if "monitor" in node else {}
            callbacks.append(
                build_from_node("callbacks", node, dirpath=str(folder / "checkpoints"), enable_version_counter=False, **kind)
            )
        else:
            callbacks.append(build_from_node("callbacks", node))
    callbacks += stops
    # Last, so that a row of the history has what the others logged.
    callbacks += [history] if saver is None else [history, saver]
    place = {"save_dir": str(folder), "name": "", "version": "", "purge_step": first_step}
    loggers = [build_from_node("logger", node, **_known_arguments(node, place)) for node in (cfg.logger or {}).values()]
    profiler = cfg.trainer.get("profiler")
    return _trainer(
        cfg.trainer,
        precision=PRECISIONS[str(cfg.precision)],
        deterministic=cfg.deterministic,
        max_epochs=epochs,
        gradient_clip_val=recipe.clip,
        callbacks=callbacks,
        logger=loggers or False,
        plugins=[checkpoints or AtomicCheckpointIO()],
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_model_summary=False,
        **({"profiler": PROFILERS[profiler](dirpath=folder, filename="profile")} if profiler else {}),
    )


def _known_arguments(node: DictConfig, arguments: dict[str, Any]) -> dict[str, Any]:
    """Select the arguments that a class takes and its node does not set."""
    known = signature_parameters(node["_target_"])
    return {name: value for name, value in arguments.items() if (known is None or name in known) and name not in node}


def build_scoring_trainer(cfg: DictConfig, callbacks: list[Callback] | None = None) -> L.Trainer:
    """Build a Trainer that only tests, in single precision, so that all rows of a table use the same arithmetic."""
    hardware = OmegaConf.masked_copy(cfg.trainer, [key for key in HARDWARE if key in cfg.trainer])
    return _trainer(
        hardware,
        precision="32-true",
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _trainer(node: DictConfig, **arguments: Any) -> L.Trainer:
    quiet_trainer()
    placed = hardware_placement(node)
    arguments = {name: value for name, value in arguments.items() if name not in TYPED or name not in node}
    if placed.world > 1:
        # Buffers are the same everywhere from the start, and processes score different numbers of batches, before which DDP would
        # wait to send them.
        environment = TorchElasticEnvironment() if TorchElasticEnvironment.detect() else LightningEnvironment()
        arguments["strategy"] = DDPStrategy(cluster_environment=environment, broadcast_buffers=False)
    else:
        arguments["strategy"] = "auto"
    arguments |= {"accelerator": placed.accelerator, "devices": placed.devices, "num_nodes": placed.nodes}
    return build_from_node("trainer", node, **arguments)


def quiet_trainer() -> None:
    """Silence Lightning's announcements, which repeat log lines of the run; each of its warnings still appears once."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.WARNING)
        logger.propagate = True
