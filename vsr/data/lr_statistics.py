"""Statistics of the LR frames of training pairs, and how far other LR frames are from them.

LR of pairs is no degraded HR, so that nothing can be measured one scale coarser. What can be compared are the values, and the
power in octaves of wavelengths: a coarse run of another solver, resolution, forcing or unit differs in them. How much they differ
between training trajectories decides what counts as different. docs/guides/pairs.md has hits and false alarms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vsr.io.readers.printable import printable_name, printable_value

Span = tuple[float, float]

MOST_OUTSIDE = 0.25  # of the range of training: values further outside are unlike it
MOST_SHIFT = 0.5  # of the standard deviation of training: means of frames further outside are unlike it
MOST_POWER = 1.5  # a power that is so many times outside is unlike it
ALONE = 2.0  # times that a power may be outside of a single training trajectory, which says nothing of others
LEAST_POWER = 1e-10  # of the square of the range: less is rounding
MOST_LEAD = 1.05  # longest lead times of training: more were not seen
SPACING = 0.2  # part by which the distance of pixels may differ
NAMED = 3  # variables in a message


@dataclass(frozen=True)
class VariableStatistics:
    """Ranges of the statistics of one LR variable over the training frames, in physical units.

    Spans are those of all frames, wider by as much as one training trajectory is outside of all others.

    Attributes:
        name: Name of the variable; "" for the only one.
        range: Span of the values.
        mean: Span of the means of frames.
        std: Largest standard deviation of a frame.
        power: Spans of the logarithm of the variance of frames in waves of 2 to 4, 4 to 8, ... pixels.
        slope: Spans of the difference of these logarithms in one octave and in the next.
    """

    name: str
    range: Span
    mean: Span
    std: float
    power: tuple[Span, ...]
    slope: tuple[Span, ...]

    def difference(self, frames: np.ndarray) -> str | None:
        """Say in which respect frames (T, h, w) differ from those of training; None if they do not.

        Args:
            frames: Frames in physical units. Values that are not finite do not count.
        """
        finite = frames[np.isfinite(frames)]
        if not finite.size:
            return None
        low, high = self.range
        wide, of = high - low, f"{printable_name(self.name)} " if self.name else ""
        least, largest = float(finite.min()), float(finite.max())
        if max(low - least, largest - high) > MOST_OUTSIDE * wide:
            shown = [printable_value(value, wide) for value in (least, largest, low, high)]
            return f"{of}from {shown[0]} to {shown[1]}, in training from {shown[2]} to {shown[3]}"
        mean = float(np.median(_means(frames)))
        if max(self.mean[0] - mean, mean - self.mean[1]) > MOST_SHIFT * self.std:
            means = [printable_value(value, wide) for value in (mean, *self.mean)]
            return f"{of}with a mean of {means[0]}, in training {means[1]} to {means[2]}"
        power = np.median(_log_powers(frames, wide), 1)
        outside = [max(own - known[1], 0) + min(own - known[0], 0) for known, own in zip(self.power, power, strict=False)]
        slope = zip(self.slope, -np.diff(power), strict=False)
        bent = [max(own - known[1], 0) + min(own - known[0], 0) for known, own in slope]
        worst = max(enumerate([*outside, *bent]), key=lambda each: abs(each[1]), default=(0, 0.0))
        if abs(worst[1]) <= np.log(MOST_POWER):
            return None
        octave, compared = worst[0], ""
        if octave >= len(outside):
            octave -= len(outside)
            compared = f", compared with waves of {4 << octave} to {8 << octave}"
        waves = f"in waves of {2 << octave} to {4 << octave} pixels{compared}"
        return f"{of}with {np.exp(worst[1]):.2g} times the power of training {waves}"


@dataclass(frozen=True)
class LRStatistics:
    """Statistics of the LR frames of training pairs.

    Attributes:
        variables: Those of each variable.
        size: Rows and columns of a frame.
        spacing: Distance of LR pixels along y and x, None where no coordinate says it.
        units: Units of `spacing`.
        lead: Longest lead time.
        lead_unit: Unit of `lead`.
    """

    variables: tuple[VariableStatistics, ...]
    size: tuple[int, int]
    spacing: tuple[float | None, float | None]
    units: tuple[str, str]
    lead: float
    lead_unit: str

    def to_plain(self) -> dict[str, Any]:
        """Return numbers, texts and lists for a checkpoint; `from_plain` reads them."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> LRStatistics:
        """Return the statistics that `to_plain` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        variables = tuple(
            VariableStatistics(
                str(each["name"]),
                _span(each["range"]),
                _span(each["mean"]),
                float(each["std"]),
                tuple(map(_span, each["power"])),
                tuple(map(_span, each["slope"])),
            )
            for each in plain["variables"]
        )
        (height, width), (dy, dx), (of_y, of_x) = plain["size"], plain["spacing"], plain["units"]
        return cls(
            variables,
            (int(height), int(width)),
            (None if dy is None else float(dy), None if dx is None else float(dx)),
            (str(of_y), str(of_x)),
            float(plain["lead"]),
            str(plain["lead_unit"]),
        )

    def differences(self, frames: np.ndarray, lead: float | None, lead_unit: str) -> tuple[str, ...]:
        """Say in which respects a movie is unlike the training pairs; () if in none.

        Args:
            frames: LR frames (T, C, h, w) in physical units.
            lead: Its longest lead time; None if it is not known.
            lead_unit: Unit of `lead`; another one than that of training is not compared.
        """
        found = [each.difference(frames[:, i]) for i, each in enumerate(self.variables)]
        told = [one for one in found if one is not None]
        if len(told) > NAMED:
            told = [*told[:NAMED], f"and {len(told) - NAMED} more variables"]
        if lead is not None and lead_unit == self.lead_unit and lead > MOST_LEAD * self.lead:
            unit = "" if self.lead_unit == "1" else f" {self.lead_unit}"
            told.append(f"lead times up to {lead:.6g}{unit}, in training up to {self.lead:.6g}{unit}")
        return tuple(told)

    def times_as_fine(
        self, spacing: Sequence[float | None], units: Sequence[str], size: Sequence[int], scale: int
    ) -> float | None:
        """Return how many times as fine as in training pixels are; None if they lie as in training, or nothing says it.

        Args:
            spacing: Distance of pixels along y and x; None where no coordinate says it.
            units: Units of `spacing`.
            size: Rows and columns.
            scale: HR pixels per LR pixel.
        """
        ratios = [
            known / own
            for known, own, one, other in zip(self.spacing, spacing, self.units, units, strict=True)
            if known and own and (one == other or not (one and other))
        ]
        if ratios:
            odd = max(ratios, key=lambda ratio: abs(np.log(ratio)))
            return odd if abs(np.log(odd)) > np.log1p(SPACING) else None
        return float(scale) if tuple(size) == (self.size[0] * scale, self.size[1] * scale) else None


def measure_variable(name: str, trajectories: Iterable[np.ndarray]) -> VariableStatistics:
    """Measure the statistics of one variable.

    Args:
        name: Its name; "" for the only one.
        trajectories: Training frames (n, h, w) of each trajectory, or evenly spread ones of many.
    """
    every = list(trajectories)
    low, high = min(float(each.min()) for each in every), max(float(each.max()) for each in every)
    std = max(float(each.std((1, 2)).max()) for each in every)
    wide = high - low
    powers = [_log_powers(each, wide) for each in every]
    count = min(len(each) for each in powers)
    # The extremes of a trajectory, not of a frame, are what other trajectories are compared with.
    extremes = _spans([np.array([[each.min()], [each.max()]]) for each in every], 0.0)
    return VariableStatistics(
        name,
        (extremes[0][0], extremes[1][1]),
        _spans([_means(each)[None] for each in every], MOST_SHIFT * std)[0],
        std,
        tuple(_spans([each[:count] for each in powers], np.log(ALONE))),
        tuple(_spans([-np.diff(each[:count], axis=0) for each in powers], np.log(ALONE))),
    )


def octave_powers(frames: np.ndarray) -> np.ndarray:
    """Return the variance of frames in waves of 2 to 4, 4 to 8, ... pixels, (octaves, frames), under a Hann window.

    The window holds the longest waves twice. Frames with a value that is not finite are left out.

    Args:
        frames: Frames (T, h, w).
    """
    frames = frames[np.isfinite(frames).all((1, 2))]
    height, width = frames.shape[1:]
    count = max(0, int(np.log2(min(height, width))) - 2)
    if not count or not len(frames):
        return np.zeros((count, len(frames)))
    rows, columns = (np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (height, width))
    window = rows[:, None] * columns
    mean = (frames * window).sum((1, 2), keepdims=True) / window.sum()
    spectrum = np.abs(np.fft.fft2((frames - mean) * window)) ** 2 / ((window**2).sum() * height * width)
    wavenumber = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    edges = 0.5 ** np.arange(1, count + 2)
    upper = [np.inf, *edges[1:-1]]  # diagonal waves may be shorter than 2 pixels
    within = [(wavenumber >= low) & (wavenumber < high) for low, high in zip(edges[1:], upper, strict=True)]
    return np.stack([spectrum[:, octave].sum(1) for octave in within])


def _log_powers(frames: np.ndarray, wide: float) -> np.ndarray:
    """Return the logarithms of `octave_powers` of frames of values that are up to `wide` apart; one column at least."""
    powers = octave_powers(frames)
    return np.log(np.maximum(powers, LEAST_POWER * wide**2 or 1e-300)) if powers.shape[1] else np.zeros((0, 1))


def _spans(trajectories: Sequence[np.ndarray], alone: float) -> list[Span]:
    """Return the span of each feature over all frames, wider by as much as one trajectory's median is outside of the others.

    Args:
        trajectories: Features (F, frames) of each trajectory.
        alone: By how much the span of a single trajectory is wider.
    """
    low, high, middle = (np.stack([f(each, axis=1) for each in trajectories]) for f in (np.min, np.max, np.median))
    wider = np.full(low.shape[1], alone)
    if len(trajectories) > 1:
        others = [np.arange(len(low)) != i for i in range(len(low))]
        outside = [np.maximum(middle[i] - high[rest].max(0), low[rest].min(0) - middle[i]) for i, rest in enumerate(others)]
        wider = np.maximum(np.stack(outside).max(0), 0)
    return [(float(a), float(b)) for a, b in zip(low.min(0) - wider, high.max(0) + wider, strict=True)]


def _means(frames: np.ndarray) -> np.ndarray:
    """Return the mean of the finite values of each frame (T, h, w) that has one."""
    flat = frames.reshape(len(frames), -1)
    return np.array([row[np.isfinite(row)].mean() for row in flat if np.isfinite(row).any()])


def _span(values: Sequence[float]) -> Span:
    low, high = map(float, values)
    if not low <= high:
        raise ValueError(f"{values}")
    return low, high
