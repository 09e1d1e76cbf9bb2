"""Callbacks against the values that they promise."""

from __future__ import annotations

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from vsr.training.callbacks import EMA


class Countdown(L.LightningModule):
    """One weight, which is -n after n steps, and one buffer with the same value."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.register_buffer("count", torch.zeros(()))

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        self.count -= 1
        return self.weight * 1.0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("steps", [1, 2, 7, 40])
def test_the_average_of_the_weights_is_the_recursion_written_out(decay: float, steps: int) -> None:
    module = Countdown()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(max_epochs=1, accelerator="cpu", callbacks=[EMA(decay)], **quiet)
    trainer.fit(module, DataLoader(torch.zeros(steps)))
    average = -1.0  # the first step is taken as it is
    for n in range(1, steps):
        kept = min(decay, (1 + n) / (10 + n))
        average = kept * average + (1 - kept) * -(n + 1)
    assert float(module.weight.detach()) == pytest.approx(average, rel=1e-5)
    assert float(module.count) == -steps  # buffers are not averaged
