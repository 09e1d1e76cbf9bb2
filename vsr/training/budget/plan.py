"""A budget of time becomes a plan before training begins: so many epochs of so many steps, by what a step takes here.

`python -m vsr budget KEY=VALUE ...` prints what a step and an epoch take, as one line of JSON.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from vsr.errors import UserError

if TYPE_CHECKING:
    from vsr.data.base import SRDataModule

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
LEAST = 5.0  # seconds
AIM = 0.97  # of the budget: steps differ in how long they take
OVERHEAD = 0.1  # of the time, for what comes once per epoch
EPOCHS = (4, 60)
OVERTIME = 1.5  # budgets after which a fit is ended where it is
PLAN = "plan.json"
FOLLOWS = ("epochs", "recipe.steps")  # what a plan decides


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


def seconds_of(text: str) -> float:
    """Seconds that a budget like "90s", "5min" or "1.5h" stands for, 5 at least. Raises UserError with what to type instead."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)", str(text).strip())
    if found is None or (found[2] and found[2] not in UNITS):
        raise UserError(f"budget={text}: must be a time; type budget=90s, budget=5min or budget=1.5h")
    if not found[2]:
        raise UserError(f"budget={text}: seconds, minutes or hours? type budget={found[1]}s, budget={found[1]}min or {found[1]}h")
    seconds = float(found[1]) * UNITS[found[2]]
    if seconds < LEAST:
        raise UserError(f"budget={text}: must be {LEAST:g} seconds or more; type budget={LEAST:g}s")
    return seconds


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


def measure(cfg: DictConfig, data: SRDataModule) -> Rate:
    """What the training of a checked config takes here: real steps of a copy of the module, and one real end of an epoch.

    Leaves random states as they were, and nothing on the disk. Of a network in two stages: their sum, weighted by their epochs.
    Raises UserError for a config that trains nothing.
    """
    from vsr.training.budget.step_time import fit_rates, together

    found = fit_rates(cfg, data)
    if not found:
        raise UserError(f"{cfg.name}: there is nothing to train, and so nothing to measure; name another model")
    return together(cfg, found)


def check_budget(text: str | None, given: set[str]) -> None:
    """Raises UserError for what is no time, and for keys that were `given` and follow from it."""
    if text is None:
        return
    seconds_of(text)
    for key in FOLLOWS:
        if key in given:
            raise UserError(f"{key}: follows from budget={text}; leave it out, or type budget=null")


def typed() -> set[str]:
    """The keys that were typed for this run."""
    if not HydraConfig.initialized():
        return set()
    return {line.lstrip("+~").partition("=")[0] for line in HydraConfig.get().overrides.task}


def changed(cfg: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    """A copy of a config with other values for keys that it has."""
    found = copy.deepcopy(cfg)
    for key, value in values.items():
        OmegaConf.update(found, key, value, force_add=True)
    return found


def settled(cfg: DictConfig, found: Mapping[str, Any]) -> DictConfig:
    """A config with what it leaves open (epochs under a budget, precision=auto) as a run has settled it, see `same_as_asked`."""
    given = typed()
    return changed(cfg, {key: value for key, value in found.get("settled", {}).items() if _is_open(cfg, key, given)})


def _is_open(cfg: DictConfig, key: str, given: set[str]) -> bool:
    if key == "precision":
        return str(cfg.precision) == "auto"
    return cfg.budget is not None and not (key == "patience" and key in given)


def same_as_asked(results: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Whether results are of a run with that config, as it was before the run settled what it leaves open."""
    keys = results.get("plan", {}).get("differs", [])
    return _without(results.get("config", asked), keys) == _without(asked, keys)


def _without(config: Mapping[str, Any], keys: Sequence[str], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name not in keys:
            found[key] = _without(value, keys, f"{name}.") if isinstance(value, dict) else value
    return found
