"""Plan of a hyperparameter search, from the config group hparams_search and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vsr.config.compose import Interval, SweepCommand
from vsr.config.overrides import override_text
from vsr.errors import UserError, error_suggestion

PRUNERS = ("median", "hyperband", "none")
_LEAST = {"trials": 1, "startup": 0, "warmup": 0}
_KEYS = (*_LEAST, "pruner", "space")


@dataclass(frozen=True)
class Plan:
    """Plan of a hyperparameter search.

    Attributes:
        trials: Number of trials.
        startup: Number of random trials before the sampler and the pruner start.
        warmup: Number of epochs before a trial may be pruned.
        pruner: "median", "hyperband" or "none".
        space: Config keys, each with an interval or a list of values in Hydra's grammar.
    """

    trials: int
    startup: int
    warmup: int
    pruner: str
    space: dict[str, list[str] | Interval]

    def described(self) -> dict[str, Any]:
        """Return the search space as plain values."""
        return {key: vars(one) if isinstance(one, Interval) else one for key, one in self.space.items()}


def read_search_space(node: Any, command: SweepCommand) -> Plan:
    """Read and check the plan of a search from a config and a command line. Raises UserError naming the wrong key."""
    plain = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else None
    if not isinstance(plain, dict):
        raise UserError(f"hparams_search={str(node)!r}: must be one of the configs in conf/hparams_search")
    for key in map(str, plain):
        if key not in _KEYS:
            raise UserError(f"hparams_search.{key}: unknown{error_suggestion(key, _KEYS)}")
    numbers: dict[str, int] = {}
    for key, least in _LEAST.items():
        value = plain.get(key, {"trials": 20, "startup": 5, "warmup": 5}[key])
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UserError(f"hparams_search.{key}={value}: must be a whole number of {least} or more")
        numbers[key] = value
    pruner = str(plain.get("pruner", "median"))
    if pruner not in PRUNERS:
        raise UserError(f"hparams_search.pruner={pruner}{error_suggestion(pruner, PRUNERS)}")
    given = plain.get("space") or {}
    if not isinstance(given, dict):
        raise UserError("hparams_search.space: must be a mapping from keys to lists or ranges")
    space = {str(key): _dimension(str(key), value) for key, value in given.items()}
    for line in command.fixed:
        # A value typed on the command line is that of every trial.
        space.pop(line.partition("=")[0], None)
    space |= {**command.choices, **command.intervals}
    if not space:
        raise UserError("hparams_search.space: is empty; type KEY=VALUE,VALUE or 'KEY=interval(LOW,HIGH)'")
    return Plan(**numbers, pruner=pruner, space=space)


def _dimension(key: str, value: Any) -> list[str] | Interval:
    where = f"hparams_search.space.{key}"
    if isinstance(value, list) and value:
        return [override_text(one) for one in value]
    if not isinstance(value, dict) or not {"low", "high"} <= set(value) <= {"low", "high", "log", "step"}:
        raise UserError(f"{where}={value}: must be a list of values, or a range as {{low: 1e-4, high: 1e-2, log: true}}")
    found = Interval(value["low"], value["high"], bool(value.get("log", False)), value.get("step"))
    _check_interval(where, found)
    return found


def _check_interval(where: str, one: Interval) -> None:
    """Raise UserError, naming the key `where`, for an empty range or a range with wrong numbers."""
    numbers = [one.low, one.high, *([] if one.step is None else [one.step])]
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers):
        raise UserError(f"{where}: low, high and step must be numbers, not {numbers}")
    if one.low >= one.high:
        raise UserError(f"{where}: low={one.low} must be below high={one.high}")
    if one.log and (one.low <= 0 or one.step is not None):
        raise UserError(f"{where}: log: true needs low above 0 and no step")
    if one.step is not None and one.step <= 0:
        raise UserError(f"{where}: step={one.step} must be above 0")
