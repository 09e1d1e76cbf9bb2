"""Confidence intervals of mean scores over segments: trajectories, clips or pictures.

Segments are the independent observations, not frames, as frames of one movie resemble each other.
"""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95
MIN_SEGMENTS = 4  # fewer do not show how segments differ
REFERENCES = ("bicubic", "linear")  # methods that the others are compared with, frame by frame

Interval = tuple[float, float]


class SegmentIntervals:
    """Intervals of 95% for the mean scores of one data split, from how the segments of the split differ.

    The intervals are those of Student's t, corrected for skewness by Hall's monotone transformation (Hall 1992, On the removal of
    skewness by transformation, section 2), since squared errors are skewed. A mean over frames is a ratio of two sums over
    segments, which is linearised (Cochran 1977, Sampling techniques, section 6.3).

    Args:
        segment_of: The number or name of the segment of each frame, (N,).
    """

    def __init__(self, segment_of: np.ndarray) -> None:
        names, self._index = np.unique(segment_of, return_inverse=True)
        self._segments = len(names)

    def mean(self, column: np.ndarray) -> Interval | None:
        """Return the interval of the mean of a score with one value per frame or segment; NaN values do not count.

        The difference of two methods, frame by frame, gives a paired interval.

        Returns:
            None if fewer than MIN_SEGMENTS segments have a value.
        """
        return _ratio_interval(*self._totals(column))

    def skill(self, mse: np.ndarray, reference: np.ndarray) -> Interval | None:
        """Return the interval of 1 - sum(mse) / sum(reference) over the frames where both are finite; both are (N,)."""
        both = np.isfinite(mse) & np.isfinite(reference)
        errors, counts = self._totals(np.where(both, mse, np.nan))
        others, _ = self._totals(np.where(both, reference, np.nan))
        found = _ratio_interval(errors[counts > 0], others[counts > 0])
        return None if found is None else (1 - found[1], 1 - found[0])

    def _totals(self, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the sum and the number of the finite values of each segment that has one."""
        if len(column) not in (len(self._index), self._segments):
            raise ValueError(f"{len(column)} values for {len(self._index)} frames in {self._segments} segments")
        index = self._index if len(column) == len(self._index) else np.arange(self._segments)
        present = np.isfinite(column)
        counts = np.bincount(index, present, minlength=self._segments)
        sums = np.bincount(index, np.where(present, column, 0.0), minlength=self._segments)
        return sums[counts > 0], counts[counts > 0]


def _ratio_interval(above: np.ndarray, below: np.ndarray) -> Interval | None:
    """Return the interval of sum(above) / sum(below), whose terms belong to one segment each; None for too few segments."""
    count, whole = len(below), below.sum()
    if count < MIN_SEGMENTS or not whole > 0:
        return None
    ratio = float(above.sum() / whole)
    deviations = (above - ratio * below) / below.mean()
    variance = np.mean(deviations**2)
    if not variance > 0:
        return ratio, ratio
    skewness = float(np.mean((deviations / np.sqrt(variance)) ** 3))
    error = np.sqrt(variance / (count - 1))
    ends = (stdtrit(count - 1, share) for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    least, most = (_without_skewness(float(end), skewness, count) for end in ends)
    return ratio - float(error * most), ratio - float(error * least)


def _without_skewness(quantile: float, skewness: float, count: int) -> float:
    """Return the quantile of the t statistic of `count` values with a skewness, given the quantile for values without."""
    if abs(skewness) < 1e-6:
        return quantile
    bent = 1 + skewness * (quantile - skewness / (6 * np.sqrt(count))) / np.sqrt(count)
    return float(3 * np.sqrt(count) / skewness * (np.cbrt(bent) - 1))
