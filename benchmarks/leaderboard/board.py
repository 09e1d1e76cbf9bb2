"""Access to the facts of a leaderboard: None where something was not run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.common.markdown import mean, spread

NONE = "-"


class Board:
    """What `benchmarks.leaderboard.facts.facts` collected."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.runs: dict[str, Any] = content["runs"]
        self.models: list[str] = content["models"]
        self.budgets: list[str] = [budget["name"] for budget in content["budgets"]]
        self.data: list[str] = list(content["data"])

    def rows(self, data: str) -> list[str]:
        """The networks that have a row on these data."""
        limited = self.content["data"][data]
        return [model for model in self.models if limited is None or model in limited]

    def splits(self, data: str) -> list[str]:
        """The test splits; none before the first run."""
        return list(self.content["baselines"].get(data, {}))

    def run(self, data: str, budget: str, model: str) -> dict[str, Any] | None:
        """A run with its seeds."""
        found: dict[str, Any] | None = self.runs.get(data, {}).get(budget, {}).get(model)
        return found

    def seeds(self, data: str, budget: str, model: str) -> list[dict[str, Any]]:
        """One for every seed that was run."""
        found = self.run(data, budget, model)
        return [] if found is None else found["seeds"]

    def scores(self, data: str, budget: str, model: str, split: str, score: str) -> list[float]:
        """One number per seed; none for what has no such score."""
        values = [seed["rows"][split][score] for seed in self.seeds(data, budget, model)]
        return [value for value in values if value is not None]

    def baseline(self, data: str, method: str, split: str, score: str = "psnr") -> float | None:
        """Of bicubic or linear."""
        value: float | None = self.content["baselines"][data][split][method][score]
        return value

    def over_linear(self, data: str, budget: str, model: str, split: str) -> list[float]:
        """Gain in PSNR, one number per seed."""
        linear = self.baseline(data, "linear", split)
        return [value - linear for value in self.scores(data, budget, model, split, "psnr") if linear is not None]

    def cost(self, model: str, what: str) -> float | None:
        """parameters, multiply_adds or frames_per_second."""
        value: float | None = self.content["costs"]["networks"].get(model, {}).get(what)
        return value

    def presets(self, budget: str, model: str) -> str:
        """Those that are picked from this row."""
        found = self.content["presets"].items()
        return ", ".join(name for name, preset in found if (preset["model"], preset["budget"]) == (model, budget))

    def longest(self, data: str, model: str) -> str | None:
        """The longest budget that this network has been run with."""
        return next((budget for budget in reversed(self.budgets) if self.seeds(data, budget, model)), None)


def shown(values: Sequence[float], form: str = ".2f") -> str:
    """Mean and spread over seeds, or that there is none."""
    return spread(values, form) if values else NONE


def signed(values: Sequence[float]) -> str:
    """A gain; bold says that it is a loss."""
    if not values:
        return NONE
    text = f"{mean(values):+.2f}"
    return f"**{text}**" if mean(values) < 0 else text


def number(value: float | None, form: str = ",.0f") -> str:
    """One number, or that there is none."""
    return NONE if value is None else f"{value:{form}}"


def speed(value: float | None) -> str:
    """Frames per second with three digits."""
    return NONE if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"
