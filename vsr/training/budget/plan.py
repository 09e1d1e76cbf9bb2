"""A budget of time becomes a plan before training begins: so many epochs of so many steps, by what a step takes here.

`python -m vsr budget KEY=VALUE ...` prints what a step and an epoch take, as one line of JSON.
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
class Rate:
    """Seconds of one training step, and those that an epoch adds to its steps: validation, checkpoints, panels."""

    step: float
    epoch: float


@dataclass(frozen=True)
class Plan:
    """So many epochs of so many steps each."""

    epochs: int
    steps: int


def plan(rate: Rate, seconds: float) -> Plan:
    """Epochs and steps that end within `seconds`.

    As many epochs, 4 to 60, as leave nine tenths of the time to the steps; fewer than 4 where these would take more than half of
    it, or leave no time for a step in each. Raises UserError when there is no time for a step at all.
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
    return Plan(epochs, steps)


def _steps(rate: Rate, seconds: float, epochs: int) -> int:
    """Per epoch, that there is time for."""
    return max(0, int((AIM * seconds / epochs - rate.epoch) / rate.step))
