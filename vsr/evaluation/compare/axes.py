"""Axes for values of any kind: numbers on a linear or a logarithmic scale, words one after the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

_APART = 0.13  # share of an axis between numbers that are to be read
_WIDE = 10.0  # positive numbers this many times apart are spread by their logarithm


@dataclass(frozen=True)
class Axis:
    """Where a value lies, 0 to 1, and which values are written beside it."""

    kind: str  # linear, log, words
    low: float
    high: float
    words: tuple[str, ...] = ()
    few: tuple[float, ...] = ()  # numbers that can all be written beside it

    def at(self, value: str | float) -> float:
        """The place of one of the axis's values."""
        if self.kind == "words":
            return (self.words.index(str(value)) + 0.5) / len(self.words)
        number = float(value)
        if self.kind == "log":
            return _within(math.log(number), math.log(self.low), math.log(self.high))
        return _within(number, self.low, self.high)

    def ticks(self) -> list[tuple[float, str]]:
        """Places and what is written there."""
        if self.kind == "words":
            return [(self.at(word), word) for word in self.words]
        if self.few:
            return [(self.at(value), f"{value:g}") for value in self.few]
        if self.kind == "log":
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for steps in ((1,), (1, 3), (1, 2, 5)):
                found = [step * 10.0**decade for decade in decades for step in steps]
                found = [value for value in found if self.low <= value <= self.high]
                if len(found) >= 3:
                    break
            found = found[:: max(1, math.ceil(len(found) / 7))]
            return [(self.at(value), f"{value:g}") for value in found or [self.low, self.high]]
        if self.low == self.high:
            return [(0.5, f"{self.low:.4g}")]
        step = _nice((self.high - self.low) / 4)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        digits = max(0, -math.floor(math.log10(step)))
        if abs(self.high) >= 1e6 or step < 1e-4:
            return [(self.at(i * step), f"{i * step:.3g}") for i in range(first, last + 1)]
        return [(self.at(i * step), f"{i * step:.{digits}f}") for i in range(first, last + 1)]


def axis(values: Sequence[str | float]) -> Axis:
    """The axis on which all of the values have a place. Numbers given as text are numbers when all are."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = []
    if not numbers or not all(map(math.isfinite, numbers)):
        return Axis("words", 0.0, 1.0, tuple(sorted({str(value) for value in values})))
    low, high = min(numbers), max(numbers)
    found = Axis("log" if low > 0 and high / low >= _WIDE else "linear", low, high)
    few = sorted(set(numbers))
    places = [found.at(value) for value in few]
    apart = all(b - a >= _APART for a, b in itertools.pairwise(places))
    short = all(len(f"{value:g}") <= 6 for value in few)
    return replace(found, few=tuple(few)) if apart and short else found


def _within(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def _nice(step: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))
