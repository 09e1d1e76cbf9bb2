"""Read access to leaderboard.json, and the formats of its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.common.markdown import mean, spread

NONE = "-"


class Leaderboard:
    """The content of leaderboard.json; a missing run gives None or an empty list."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.runs: dict[str, Any] = content["runs"]
        self.models: list[str] = content["models"]
        self.budgets: list[str] = [budget["name"] for budget in content["budgets"]]
        self.data: list[str] = list(content["data"])

    def rows(self, data: str) -> list[str]:
        """Return the networks with a row on these data."""
        limited = self.content["data"][data]
        return [model for model in self.models if limited is None or model in limited]

    def splits(self, data: str) -> list[str]:
        """Return the test splits; empty before the first run."""
        return list(self.content["baselines"].get(data, {}))

    def run(self, data: str, budget: str, model: str) -> dict[str, Any] | None:
        """Return a run with its seeds."""
        found: dict[str, Any] | None = self.runs.get(data, {}).get(budget, {}).get(model)
        return found

    def seeds(self, data: str, budget: str, model: str) -> list[dict[str, Any]]:
        """Return the results of each seed."""
        found = self.run(data, budget, model)
        return [] if found is None else found["seeds"]

    def scores(self, data: str, budget: str, model: str, split: str, score: str) -> list[float]:
        """Return one number per seed; empty if the score does not exist."""
        values = [seed["rows"][split][score] for seed in self.seeds(data, budget, model)]
        return [value for value in values if value is not None]

    def baseline(self, data: str, method: str, split: str, score: str = "psnr") -> float | None:
        """Return a score of bicubic or linear."""
        value: float | None = self.content["baselines"][data][split][method].get(score)
        return value

    def over_linear(self, data: str, budget: str, model: str, split: str) -> list[float]:
        """Return the gain in PSNR over the linear filter, one number per seed."""
        linear = self.baseline(data, "linear", split)
        return [value - linear for value in self.scores(data, budget, model, split, "psnr") if linear is not None]

    def gain(self, data: str, budget: str, model: str, split: str) -> str:
        """Format the gain over the linear filter: the mean over seeds and, in brackets, the mean of their intervals."""
        ends = [seed["rows"][split].get("gain_interval") for seed in self.seeds(data, budget, model)]
        text = format_gain(self.over_linear(data, budget, model, split))
        if not ends or None in ends:
            return text
        return f"{text} [{mean([low for low, _ in ends]):.1f}, {mean([high for _, high in ends]):.1f}]"

    def scaled(self, data: str) -> bool:
        """Tell whether the runs on these data are at another scale than x2."""
        return bool(self.content["protocols"].get(data, {}).get("scale", 2) != 2)

    def different(self, fact: str) -> list[str]:
        """Return the different values of a fact of the runs, such as `cpu` or `commit`; that of the page if no run says it."""
        seeds = [seed for d in self.data for b in self.budgets for m in self.rows(d) for seed in self.seeds(d, b, m)]
        return list(dict.fromkeys(seed[fact] for seed in seeds if fact in seed)) or [self.content["made"][fact]]

    def cost(self, model: str, what: str) -> float | None:
        """Return parameters, multiply_adds or frames_per_second."""
        value: float | None = self.content["costs"]["networks"].get(model, {}).get(what)
        return value

    def presets(self, budget: str, model: str) -> str:
        """Return the names of the presets that use this network and budget."""
        found = self.content["presets"].items()
        return ", ".join(name for name, preset in found if (preset["model"], preset["budget"]) == (model, budget))

    def longest(self, data: str, model: str) -> str | None:
        """Return the longest budget that this network has a run with."""
        return next((budget for budget in reversed(self.budgets) if self.seeds(data, budget, model)), None)


def format_mean(values: Sequence[float], form: str = ".2f") -> str:
    """Format mean and spread over seeds; a dash for no values."""
    return spread(values, form) if values else NONE


def format_gain(values: Sequence[float]) -> str:
    """Format a mean gain; bold if it is negative."""
    if not values:
        return NONE
    text = f"{mean(values):+.2f}"
    return f"**{text}**" if mean(values) < 0 else text


def format_number(value: float | None, form: str = ",.0f") -> str:
    """Format a number; a dash for None."""
    return NONE if value is None else f"{value:{form}}"


def format_speed(value: float | None) -> str:
    """Format frames per second with three digits."""
    return NONE if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"
