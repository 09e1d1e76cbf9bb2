"""Progress bars of training and scoring."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, ProgressBar

from vsr.system.progress import progress_bar
from vsr.types import Clip


class ScoringProgressBar(Callback):
    """Callback that advances a progress bar by the HR frames that are scored."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar

    def on_test_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Clip, *_: Any) -> None:
        self.bar.update(batch.hr.shape[0] * batch.hr.shape[2])


class TrainingProgressBar(ProgressBar):
    """Progress bar over all steps of a fit, with the time left and the latest scores.

    Lightning's own bar restarts in each epoch. Drawing it takes a tenth as long as the steps of these small networks.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bar: Any = None
        self._enabled = True

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._enabled:
            total = int(trainer.estimated_stepping_batches)
            self._bar = progress_bar(total, "training", "step", trainer.global_step)

    def on_train_batch_end(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.update()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._bar is not None:
            found = trainer.callback_metrics
            shown = {key: f"{float(found[key]):.{digits}f}" for key, digits in (("val/psnr", 2), ("val/ssim", 4)) if key in found}
            self._bar.set_postfix({"epoch": f"{trainer.current_epoch + 1}/{trainer.max_epochs}", **shown}, refresh=False)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
