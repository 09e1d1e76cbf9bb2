"""Choice of epochs and steps for a time budget, given the time per step.

`vsr budget KEY=VALUE ...` prints the seconds per step and per epoch as one line of JSON.
"""

from __future__ import annotations

from dataclasses import dataclass

from vsr.config.duration import LEAST
from vsr.errors import UserError

AIM = 0.97  # of the budget: steps differ in how long they take
OVERHEAD = 0.1  # of the time, for what comes once per epoch
EPOCHS = (4, 60)
OVERTIME = 1.5  # budgets after which a fit is ended where it is


@dataclass(frozen=True)
class StepRate:
    """Seconds per training step, and additional seconds per epoch (validation, checkpoints, image panels)."""

    step: float
    epoch: float


@dataclass(frozen=True)
class BudgetPlan:
    """Length of a training: epochs, and steps per epoch."""

    epochs: int
    steps: int


def plan_budget(rate: StepRate, seconds: float) -> BudgetPlan:
    """Choose the epochs and steps that fit into a time budget of `seconds`.

    The plan has 4 to 60 epochs: as many as keep the epochs' additional time (`rate.epoch`) within a tenth of the budget. It has
    fewer than 4 epochs if the additional time of 4 epochs exceeds half of the budget, or if an epoch would have no step. Raises
    UserError if not even one step fits.
    """
    epochs = int(min(max(OVERHEAD * seconds / max(rate.epoch, 1e-9), EPOCHS[0]), EPOCHS[1]))
    while epochs > 1 and (epochs * rate.epoch > seconds / 2 or _steps(rate, seconds, epochs) < 1):
        epochs -= 1
    steps = _steps(rate, seconds, epochs)
    if steps < 1:
        least = max(LEAST, (rate.step + rate.epoch) / AIM)
        raise UserError(
            f"budget: {seconds:g} s, and here one step takes {rate.step:.3g} s and what follows an epoch {rate.epoch:.3g} s; "
            f"type budget={int(least) + 1}s or more, or a smaller model"
        )
    return BudgetPlan(epochs, steps)


def _steps(rate: StepRate, seconds: float, epochs: int) -> int:
    """Return the number of steps per epoch that fit into `seconds`."""
    return max(0, int((AIM * seconds / epochs - rate.epoch) / rate.step))
