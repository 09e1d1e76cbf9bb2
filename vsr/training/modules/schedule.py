"""Learning-rate schedules."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR


def build_schedule(optimizer: Optimizer, schedule: str, steps: int) -> LRScheduler | None:
    """Build a schedule by its name; the rate of each parameter group is its peak. None for "constant".

    one_cycle: up in a tenth of the steps and down to nothing (Smith & Topin 2019). cosine: down from the first step on.
    """
    if schedule == "constant":
        return None
    if schedule == "cosine":
        return CosineAnnealingLR(optimizer, max(1, steps))
    peaks = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(optimizer, peaks, total_steps=max(1, steps) + 1, pct_start=0.1)
