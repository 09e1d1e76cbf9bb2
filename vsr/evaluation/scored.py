"""What was measured of one method on one split, down to every frame, so that every figure of a table can be taken again."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Column = np.ndarray  # float64, one value per frame, per segment or per point of a curve; NaN where there is none


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The scores of one method on one split; names are those of `vsr.metrics.definitions.DEFINITIONS`.

    Attributes:
        split, method: as in the table; baselines are methods too.
        frames: score -> one value per frame (N,), frames in the order of the split.
        segments: score -> one value per segment (S,), for scores that need a run of consecutive frames.
        segment_of: (N,) whole numbers, the segment (trajectory, clip, picture) that each frame belongs to.
        curves: name -> columns of equal length, means over the split: "spectrum" has "wavenumber" (cycles per HR pixel), "sr",
            "hr" (power) and "coherence"; "temporal_spectrum" has "frequency" (cycles per frame), "sr" and "hr".
        parameters: numbers that the network learned or was fitted to.
        train_seconds: 0 for what was not trained.
        baseline: whether it is a row that every table has, and not what is asked about.
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
        """The mean over the frames (or segments) that have the score; NaN when none has, or nobody measured it."""
        column = self.frames.get(score, self.segments.get(score))
        return float(np.nanmean(column)) if column is not None and np.isfinite(column).any() else float("nan")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A few consecutive frames of a split, to look at: everything in the unit interval, float32, at full size.

    Attributes:
        split: its name. first: number of the first of these frames in the split.
        lr: (T, C, h, w). hr: (T, C, H, W).
        methods: method -> (T, C, H, W). Where a network gives no border, the truth stands in for it.
        window: (y, x) pixels per side that do not count in the scores.
    """

    split: str
    first: int
    lr: np.ndarray
    hr: np.ndarray
    methods: dict[str, np.ndarray]
    window: tuple[int, int]
