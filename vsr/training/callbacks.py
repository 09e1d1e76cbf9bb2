"""Lightning callbacks: averaged weights, score history, LR consistency, early ends of training, image panels."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from vsr.degradations.consistency import Degrade
from vsr.geometry import crop
from vsr.metrics.consistency import ConsistencyScores
from vsr.metrics.definitions import HEADLINE_SCORES
from vsr.metrics.intervals import REFERENCES
from vsr.metrics.variables import table_part, variable_keys
from vsr.system.ranks import compute_on_first_rank
from vsr.training.build import build_baseline_modules
from vsr.training.modules.base import SRModule
from vsr.training.report import validation_image
from vsr.types import Clip

log = logging.getLogger(__name__)
CONSISTENCY_FRAMES = 16  # validation frames per epoch that LR consistency is measured on, at least
BORDER = 2  # LR pixels per side that LR consistency leaves out
LEVELS = ("psnr", "ssim")  # scores of the references that are drawn beside those of the network
AGREE_EVERY = 20  # steps after which the ranks agree on whether to save or stop


class EMA(WeightAveraging):
    """Callback that averages the weights exponentially; validation and checkpoints use the averaged weights.

    The decay after n steps is min(decay, (1 + n) / (10 + n)). It starts low, so that the average forgets the random start.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=False)
        self.decay = decay
        self._pairs: tuple[list[Tensor], ...] = ()  # averaged and current parameters, averaged and current buffers

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._pairs = ()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Collect the tensors once: a walk through the modules at every step would take as long as a step of a small network.
        assert self._average_model is not None
        both = (self._average_model.module, pl_module)
        self._pairs = (
            *([x.detach() for x in module.parameters()] for module in both),
            *([x.detach() for x in module.buffers()] for module in both),
        )

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, SRModule)
        pl_module.fit_spread()  # of the averaged weights, which are still in place and are saved
        super().on_validation_epoch_end(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if trainer.global_step <= self._latest_update_step:
            return
        assert self._average_model is not None
        averaged, current, averaged_buffers, current_buffers = self._pairs
        n = int(self._average_model.n_averaged)
        if n == 0:
            torch._foreach_copy_(averaged, current)
        else:
            torch._foreach_lerp_(averaged, current, 1 - min(self.decay, (1 + n) / (10 + n)))
        if averaged_buffers:
            torch._foreach_copy_(averaged_buffers, current_buffers)
        self._average_model.n_averaged += 1
        self._latest_update_step = trainer.global_step


class History(Callback):
    """Callback that keeps the scores of every epoch in memory; epoch 0 is the network before training."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def start(self, scores: dict[str, float]) -> None:
        """Begin a new history with the scores of epoch 0, which were measured before training."""
        self.rows = [{"epoch": 0, **scores}]

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        found = {key: float(value) for key, value in trainer.callback_metrics.items() if "/" in key}
        self.rows.append({"epoch": trainer.current_epoch + 1, **found})


class ScoreLog(Callback):
    """Callback that appends the scores of every epoch to a file as one line of JSON, for processes that watch the run.

    Args:
        file: Name of the file, in the parent folder of the checkpoints' folder.
    """

    def __init__(self, *, file: str = "scores.jsonl") -> None:
        self.file = file

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        folders = [
            Path(each.dirpath) for each in trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint) and each.dirpath
        ]
        if trainer.is_global_zero and folders:
            found = {key: float(value) for key, value in trainer.callback_metrics.items() if "/" in key}
            folders[0].parent.mkdir(parents=True, exist_ok=True)
            with (folders[0].parent / self.file).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"epoch": trainer.current_epoch + 1, **found}) + "\n")


class LRConsistency(Callback):
    """Callback that logs the LR consistency of every epoch as val/consistency.

    LR consistency is the error of degraded SR validation frames against their LR frames. Each checkpoint keeps the value of its
    epoch, so that `vsr.inference.out_of_distribution` can recognise unfamiliar frames later. The measurement uses a few frames
    in single precision, before consistency correction. It leaves out the border, where zero padding causes most of the error.

    Args:
        degrade: The degradation of the LR frames.
        scale: Scale of the network.
        lost: (y, x) HR pixels that the network loses on each side.
    """

    def __init__(self, degrade: Degrade, scale: int, lost: tuple[int, int]) -> None:
        self.lost, self.seen = lost, 0
        self.cut = max(lost[0], BORDER * scale), max(lost[1], BORDER * scale)
        self.scores = ConsistencyScores(degrade, scale, self.cut)

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Clip, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        assert isinstance(pl_module, SRModule)
        if pl_module.val_splits[dataloader_idx] != "val" or self.seen >= CONSISTENCY_FRAMES:
            return
        mask = None if batch.mask is None else crop((batch.mask > 0).float(), (0, *self.cut))  # unweighted, as on unknown frames
        with torch.autocast(pl_module.device.type, enabled=False):
            lr = pl_module.normalizer(batch.own_lr[:, : batch.hr.shape[1]])
            more = 0, self.cut[0] - self.lost[0], self.cut[1] - self.lost[1]
            self.scores.to(pl_module.device).update(crop(pl_module.network_clip(batch), more), lr, mask)
        self.seen += batch.hr.shape[0] * batch.hr.shape[2]

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, SRModule)
        value = float(self.scores.compute().get("consistency", torch.nan))
        self.scores.reset()
        self.seen = 0
        if math.isfinite(value):
            pl_module.card["consistency"] = value
            pl_module.log("val/consistency", value)


class StopAtTarget(Callback):
    """Callback that ends the first stage of a Cascade early, so that the second network has an error to correct.

    Args:
        epoch: The last epoch (70 in the report that vsr reproduces); None for no limit.
        psnr: Validation PSNR in dB at which training stops (36 in that report); None for no limit.
    """

    def __init__(self, epoch: int | None, psnr: float | None) -> None:
        self.epoch, self.psnr = epoch, psnr

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        reached = self.psnr is not None and float(trainer.callback_metrics["val/psnr"]) >= self.psnr
        if reached or (self.epoch is not None and trainer.current_epoch + 1 >= self.epoch):
            trainer.should_stop = True


class TimeLimit(Callback):
    """Callback that ends a fit after the step that exceeds its time limit; the scores of the epoch still count.

    Training time is counted across interruptions of the run, without the pauses. The learning-rate schedule does not change.

    Args:
        seconds: Training time after which the fit ends.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if trainer.should_stop or (trainer.world_size > 1 and trainer.global_step % AGREE_EVERY):
            return
        assert isinstance(pl_module, SRModule)
        if compute_on_first_rank(lambda: pl_module.trained_seconds() > self.seconds):
            trainer.should_stop = True
            log.warning(
                "budget    %.3g s are over, one and a half times what was planned, in epoch %d of %s: training ends here, before "
                "the end of its schedule; the best epoch is kept",
                self.seconds,
                trainer.current_epoch + 1,
                trainer.max_epochs,
            )


class ImagePanels(Callback):
    """Callback that shows validation frames in TensorBoard, and draws its curves beside the levels of bicubic and linear.

    Several variables have an image each, whose title names the variable and its unit. The validation scores of bicubic and of
    the linear filter are measured once, in the first validation.

    Args:
        every: Epochs between two images; the first and the last epoch have an image too.
    """

    def __init__(self, *, every: int = 10) -> None:
        self.every = every
        self._levels: dict[str, float] = {}  # curve -> its value at every step
        self._measured: dict[str, SRModule] = {}  # baselines, during the validation that measures them

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for logger in _tensorboards(trainer):
            beside = {
                f"{score.upper()} (val)": ["Multiline", [f"val/{score}$", *(f"val/{score}/{name}$" for name in REFERENCES)]]
                for score in LEVELS
            }
            both = {score.upper(): ["Multiline", [f"train/{score}$", f"val/{score}$"]] for score in HEADLINE_SCORES}
            course = {"loss": ["Multiline", ["train/loss$"]], "learning rate": ["Multiline", ["train/rate$"]]}
            layout = {"network, bicubic, linear": beside, "scores (train, val)": both, "training": course}
            logger.experiment.add_custom_scalars(layout)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, SRModule)
        # In every process, also in one without a share of the frames: the scores are gathered from all.
        if not self._levels and pl_module.reference is not None and _tensorboards(trainer):
            with isolate_rng():  # a run that is continued measures them at another time
                found = build_baseline_modules(pl_module, pl_module.card["data"]["channels"])
            self._measured = {name: found[name].to(pl_module.device) for name in REFERENCES}

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Clip, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        assert isinstance(pl_module, SRModule)
        if pl_module.val_splits[dataloader_idx] == "val":
            for module in self._measured.values():
                module.score(batch, "val")

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for name, module in self._measured.items():
            means = module.validation_means("val")
            self._levels |= {f"val/{score}/{name}": float(means[score]) for score in LEVELS}
        self._measured = {}
        for logger in _tensorboards(trainer):
            # The step that Lightning gives the scores of this epoch.
            logger.log_metrics(self._levels, max(0, trainer.global_step - 1))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        due = epoch == 1 or epoch % self.every == 0 or epoch == trainer.max_epochs
        if due and trainer.is_global_zero and _tensorboards(trainer):
            assert isinstance(pl_module, SRModule)
            batch = next(iter(trainer.val_dataloaders[-1]))  # type: ignore[index]
            physical = getattr(trainer, "datamodule", None) is None or trainer.datamodule.physical  # type: ignore[attr-defined]
            for channel, keys in enumerate(variable_keys(pl_module.card.get("data", {}))):
                image = validation_image(pl_module, batch, channel, physical=physical)
                for logger in _tensorboards(trainer):
                    logger.experiment.add_image(table_part({"split": "val", **keys}), image, epoch, dataformats="HWC")


def _tensorboards(trainer: L.Trainer) -> list[TensorBoardLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
