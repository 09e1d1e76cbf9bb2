"""Bootstrap confidence intervals of mean scores.

Whole segments (trajectories, clips, pictures) are resampled instead of frames, as frames of one movie resemble each other.
"""

from __future__ import annotations

import numpy as np

LEVEL = 0.95
RESAMPLES = 2000
MIN_SEGMENTS = 3  # fewer do not show how segments differ
_BLOCK = 2_000_000  # drawn numbers at a time

Interval = tuple[float, float]


class Resampling:
    """Bootstrap of the segments of a data split, drawn with replacement many times.

    All scores and methods share the same draws, so that differences and ratios of two methods are paired. Intervals are 95%
    percentile intervals; with few segments they are too narrow (Efron & Tibshirani 1993, chapter 13).

    Args:
        segment_of: The number or name of the segment of each frame, (N,).
        resamples: Number of draws.
        seed: Seed of the draws; equal seeds give equal draws.
    """

    def __init__(self, segment_of: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> None:
        names, self.index = np.unique(segment_of, return_inverse=True)
        self.segments = len(names)
        rng = np.random.default_rng(seed)
        self.times = np.zeros((resamples, self.segments), np.int32)  # how often each segment was drawn
        rows = max(1, _BLOCK // max(1, self.segments))
        for start in range(0, resamples if self.segments else 0, rows):
            block = self.times[start : start + rows]
            drawn = rng.integers(self.segments, size=block.shape)
            drawn += np.arange(len(block))[:, None] * self.segments
            block[:] = np.bincount(drawn.ravel(), minlength=block.size).reshape(block.shape)

    def mean(self, column: np.ndarray) -> Interval | None:
        """Return the 95% interval of the mean of a score with one value per frame or segment; NaN values do not count."""
        sums, counts = self._totals(column)
        return self._interval(sums, counts)

    def skill(self, mse: np.ndarray, reference: np.ndarray) -> Interval | None:
        """Return the 95% interval of 1 - sum(mse) / sum(reference) over the frames where both are finite; both are (N,)."""
        both = np.isfinite(mse) & np.isfinite(reference)
        errors, counts = self._totals(np.where(both, mse, np.nan))
        others, _ = self._totals(np.where(both, reference, np.nan))
        found = self._interval(errors, others, present=counts > 0)
        return None if found is None else (1 - found[1], 1 - found[0])

    def _totals(self, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the sum and the number of the finite values in each segment."""
        if len(column) not in (len(self.index), self.segments):
            raise ValueError(f"{len(column)} values for {len(self.index)} frames in {self.segments} segments")
        index = self.index if len(column) == len(self.index) else np.arange(self.segments)
        present = np.isfinite(column)
        sums = np.bincount(index, np.where(present, column, 0.0), minlength=self.segments)
        return sums, np.bincount(index, present, minlength=self.segments)

    def _interval(self, above: np.ndarray, below: np.ndarray, *, present: np.ndarray | None = None) -> Interval | None:
        """Return the interval of a ratio of two sums over segments; None for fewer than MIN_SEGMENTS segments with a value."""
        present = below > 0 if present is None else present
        if np.count_nonzero(present) < MIN_SEGMENTS:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = self._over_draws(above) / self._over_draws(below)
        ratios = ratios[np.isfinite(ratios)]
        if not len(ratios):
            return None
        low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)

    def _over_draws(self, totals: np.ndarray) -> np.ndarray:
        """Sum the totals of the drawn segments for every draw: (S,) -> (resamples,)."""
        rows = max(1, _BLOCK // max(1, self.segments))
        return np.concatenate([self.times[at : at + rows] @ totals for at in range(0, len(self.times), rows)])
