"""Learning-rate schedules."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR


def build_schedule(optimizer: Optimizer, schedule: str, steps: int) -> LRScheduler | None:
    """Build the learning-rate schedule that a recipe names. The rate of each parameter group is the peak of its schedule.

    Args:
        optimizer: The optimizer whose rates change.
        schedule: "cosine", which falls to 0 from the first step on; "one_cycle", which rises during a tenth of the steps and
            then falls to nearly 0 (Smith & Topin 2019); or "constant", which gives None.
        steps: Steps of the fit.
    """
    if schedule == "constant":
        return None
    if schedule == "cosine":
        return CosineAnnealingLR(optimizer, max(1, steps))
    peaks = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(optimizer, peaks, total_steps=max(1, steps) + 1, pct_start=0.1)
