"""Scores and sample frames of one method on one split, the input of every report."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Column = np.ndarray  # float64, one value per frame, per segment or per point of a curve; NaN without a value


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The scores of one method on one split; names are those of `vsr.metrics.definitions.DEFINITIONS`.

    Attributes:
        split: name of the split.
        method: name of the method; baselines are methods too.
        frames: score -> one value per frame (N,), frames in the order of the split.
        segments: score -> one value per segment (S,), for scores of consecutive frames.
        segment_of: (N,) whole numbers, the segment (trajectory, clip, picture) that each frame belongs to.
        curves: name -> columns of equal length, means over the split: "spectrum" has "wavenumber" (cycles per HR pixel), "sr",
            "hr" (power) and "coherence"; "temporal_spectrum" has "frequency" (cycles per frame), "sr" and "hr".
        parameters: numbers that the network learned or was fitted to.
        train_seconds: seconds of training; 0 without training.
        baseline: the method is a row of every table, not a network under evaluation.
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

    def mean(self, score: str) -> float:
        """Return the mean over the frames (or segments) with the score; NaN if there are none."""
        column = self.frames.get(score, self.segments.get(score))
        return float(np.nanmean(column)) if column is not None and np.isfinite(column).any() else float("nan")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Consecutive frames of a split for figures and movies: float32 in the unit interval, at full size.

    Attributes:
        split: name of the split.
        first: number of the first of these frames in the split.
        lr: LR frames (T, C, h, w).
        hr: true frames (T, C, H, W).
        methods: predictions (T, C, H, W) by method, with the truth in place of a border that a network does not give.
        window: (y, x) HR pixels per side that do not count in the scores.
    """

    split: str
    first: int
    lr: np.ndarray
    hr: np.ndarray
    methods: dict[str, np.ndarray]
    window: tuple[int, int]
