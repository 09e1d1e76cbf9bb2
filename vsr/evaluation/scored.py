"""Scores of one method on one split, and sample frames of a split: the input of every report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vsr.geometry import MapAxis
from vsr.metrics.variables import table_part

Column = np.ndarray  # float64, one value per frame, per segment or per point of a curve; NaN without a value


@dataclass(frozen=True, kw_only=True)
class MethodScores:
    """The scores of one method on one split, of one variable if there are several.

    Names of scores are the keys of `vsr.metrics.definitions.DEFINITIONS`.

    Attributes:
        split: Name of the split.
        method: Name of the method; baselines are methods too.
        frames: Score -> one value per frame (N,), with frames in the order of the split.
        segments: Score -> one value per segment (S,), for scores of a whole segment.
        segment_of: The segment (trajectory, clip or picture) that each frame belongs to, (N,) integers.
        curves: Curve -> its columns of equal length, means over the split. "spectrum" has "wavenumber" (cycles per HR pixel),
            the powers "sr" and "hr", and "coherence". "temporal_spectrum" has "frequency" (cycles per frame), "sr" and "hr".
            "lead_time" has the columns of `vsr.evaluation.lead_time.add_lead_time_curves`.
        parameters: Number of learned or fitted parameters.
        train_seconds: Seconds of training; 0 without training.
        baseline: True for a method to compare with, False for a network under evaluation.
        keys: "variable" and "unit" of one of several variables, or of all together; see `vsr.metrics.variables`.
        lead: Time of each frame since the start of its trajectory, (N,); None where it is not known.
        lead_unit: Unit of `lead`; "frames" for numbers of frames.
    """

    split: str
    method: str
    frames: dict[str, Column]
    segments: dict[str, Column]
    segment_of: np.ndarray
    curves: dict[str, dict[str, Column]] = field(default_factory=dict)
    parameters: int = 0
    train_seconds: float = 0.0
    baseline: bool = False
    keys: dict[str, str] = field(default_factory=dict)
    lead: np.ndarray | None = None
    lead_unit: str = ""

    @property
    def part(self) -> str:
        """The name of the part of a table that these scores belong to."""
        return table_part({"split": self.split, **self.keys})

    def mean(self, score: str) -> float:
        """Return the mean of a score over the frames (or segments) that have a value; NaN if none has a value."""
        column = self.frames.get(score, self.segments.get(score))
        return float(np.nanmean(column)) if column is not None and np.isfinite(column).any() else float("nan")


@dataclass(frozen=True, kw_only=True)
class SampleFrames:
    """Consecutive frames of a split for figures and movies: float32 in the unit interval, at full size.

    Attributes:
        split: Name of the split.
        first: Number of the first of these frames in the split.
        lr: LR frames (T, C, h, w).
        hr: True HR frames (T, C, H, W).
        methods: Method -> predicted frames (T, C, H, W); a border that the network does not predict is filled from `hr`.
        window: (y, x) HR pixels per side that do not count in the scores.
        keys: "variable" and "unit" of one of several variables.
        areas: Weight of the pixels of each row in scores (H,); None for pixels of one size.
        bounds: Physical values that are 0 and 1 in the unit interval, for colour bars in the unit of the data; None for colour
            bars in parts of the data range.
        unit: Unit of the physical values; "" if it is not known.
        axes: Coordinates of the rows and the columns of HR; None if they are not known.
        members: Ensemble -> members (K, C, H, W) of the middle frame.
    """

    split: str
    first: int
    lr: np.ndarray
    hr: np.ndarray
    methods: dict[str, np.ndarray]
    window: tuple[int, int]
    keys: dict[str, str] = field(default_factory=dict)
    areas: np.ndarray | None = None
    bounds: tuple[float, float] | None = None
    unit: str = ""
    axes: tuple[MapAxis, MapAxis] | None = None
    members: dict[str, np.ndarray] = field(default_factory=dict)

    def upright(self) -> SampleFrames:
        """Return the frames as a map shows them: latitudes (or y) ascend from the lowest row up, longitudes (or x) to the right.

        Frames without coordinates stay as they are.
        """
        if self.axes is None:
            return self
        (y, x), (height, width) = self.axes, self.hr.shape[-2:]
        upside_down, mirrored = y.step > 0, x.step < 0
        at = (..., slice(None, None, -1 if upside_down else 1), slice(None, None, -1 if mirrored else 1))
        return replace(
            self,
            lr=self.lr[at],
            hr=self.hr[at],
            methods={name: frames[at] for name, frames in self.methods.items()},
            members={name: frames[at] for name, frames in self.members.items()},
            areas=self.areas if self.areas is None or not upside_down else self.areas[::-1],
            axes=(y.turned(height) if upside_down else y, x.turned(width) if mirrored else x),
        )

    @property
    def part(self) -> str:
        """The name of the part of a table that these frames belong to."""
        return table_part({"split": self.split, **self.keys})


def group_scores_by_part(scored: Sequence[MethodScores]) -> dict[str, dict[str, MethodScores]]:
    """Group scores as part of the table (split, and variable if several) -> method -> scores, as they first appear.

    Raises:
        ValueError: If a method comes twice in a part, or if the methods of a part were not scored on the same frames.
    """
    found: dict[str, dict[str, MethodScores]] = {}
    for one in scored:
        methods = found.setdefault(one.part, {})
        if one.method in methods:
            raise ValueError(f"split {one.part}: {one.method} comes twice")
        other = next(iter(methods.values()), one)
        if not np.array_equal(one.segment_of, other.segment_of):
            raise ValueError(f"split {one.part}: {one.method} and {other.method} were not scored on the same frames")
        methods[one.method] = one
    return found
