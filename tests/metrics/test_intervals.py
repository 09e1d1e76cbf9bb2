"""Intervals against scipy, against theory, and against what they promise: to cover the truth 95 times out of 100."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr.metrics.intervals import SegmentIntervals


def correlated(rng: np.random.Generator, lengths: np.ndarray, mean: float = 30.0) -> tuple[np.ndarray, np.ndarray]:
    """Values of frames that share most of their deviation with their segment, and the segment of each."""
    segment_of = np.repeat(np.arange(len(lengths)), lengths)
    return mean + rng.standard_normal(len(lengths))[segment_of] + 0.3 * rng.standard_normal(len(segment_of)), segment_of


def test_values_without_skewness_have_the_interval_of_students_t() -> None:
    values = np.array([1.0, 2.0, 4.0, 6.0, 7.0])
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert SegmentIntervals(np.arange(5)).mean(values) == pytest.approx(tuple(expected))
    # Frames of a segment count as one observation, their mean.
    assert SegmentIntervals(np.repeat(np.arange(5), 3)).mean(np.repeat(values, 3)) == pytest.approx(tuple(expected))


def test_a_skewed_interval_solves_halls_equation() -> None:
    values = np.array([0.1, 0.3, 0.2, 0.9, 3.0, 0.4])
    n, mean, error = len(values), values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    skewness, quantile = scipy.stats.skew(values), scipy.stats.t.ppf(0.975, len(values) - 1)
    low, high = SegmentIntervals(np.arange(n)).mean(values)
    for end, target in ((low, quantile), (high, -quantile)):
        t = (mean - end) / error
        a = skewness / 3
        assert t + a * t**2 / np.sqrt(n) + a**2 * t**3 / (3 * n) + skewness / (6 * np.sqrt(n)) == pytest.approx(target)
    assert high - mean > mean - low  # the long tail is above


DISTRIBUTIONS: dict[str, tuple[Callable[[np.random.Generator, int], np.ndarray], float]] = {
    "normal": (lambda rng, n: rng.standard_normal(n), 0.0),
    "skewness 0.7": (lambda rng, n: rng.gamma(8, 1, n), 8.0),
    "skewness 1": (lambda rng, n: rng.gamma(4, 1, n), 4.0),
}


@pytest.mark.parametrize("segments", [4, 5, 8, 15, 30])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_intervals_cover_the_truth(name: str, segments: int) -> None:
    draw, truth = DISTRIBUTIONS[name]
    rng, trials, hits = np.random.default_rng(segments), 2000, 0
    intervals = SegmentIntervals(np.arange(segments))
    for _ in range(trials):
        low, high = intervals.mean(draw(rng, segments))
        hits += low <= truth <= high
    assert 0.93 <= hits / trials <= 0.97


def test_frames_taken_as_independent_would_not_cover_it() -> None:
    rng = np.random.default_rng(0)
    hits = naive = 0
    for _ in range(1000):
        values, segment_of = correlated(rng, rng.integers(5, 15, 30))
        low, high = SegmentIntervals(segment_of).mean(values)
        hits += low < 30 < high
        low, high = SegmentIntervals(np.arange(len(values))).mean(values)
        naive += low < 30 < high
    assert 0.93 < hits / 1000 < 0.97
    assert naive / 1000 < 0.65


def test_a_skill_covers_the_true_ratio() -> None:
    rng, hits = np.random.default_rng(1), 0
    for _ in range(2000):
        reference = rng.gamma(4, 0.25, 15)
        mse = 0.4 * reference * rng.gamma(50, 1 / 50, 15)
        low, high = SegmentIntervals(np.arange(15)).skill(mse, reference)
        hits += low <= 0.6 <= high
    assert 0.92 < hits / 2000 < 0.97


def test_what_two_methods_share_cancels() -> None:
    rng = np.random.default_rng(3)
    values, segment_of = correlated(rng, rng.integers(3, 40, 25))
    other = values - 2 + 0.2 * rng.standard_normal(len(values))
    intervals = SegmentIntervals(segment_of)
    low, high = intervals.mean(values - other)
    single = intervals.mean(values)
    assert low < np.mean(values - other) < high
    assert high - low < 0.2 * (single[1] - single[0])


@pytest.mark.parametrize("segments", [1, 2, 3])
def test_there_is_no_interval_below_four_segments(segments: int) -> None:
    values = np.arange(20.0)
    intervals = SegmentIntervals(np.arange(20) % segments)
    assert intervals.mean(values) is None
    assert intervals.mean(values - values[::-1]) is None
    assert intervals.skill(values + 1, values + 2) is None


def test_segments_without_a_value_do_not_count() -> None:
    segment_of = np.repeat(np.arange(6), 4)
    values = np.random.default_rng(0).random(24)
    values[segment_of >= 4] = np.nan
    values[0] = np.nan
    intervals = SegmentIntervals(segment_of)
    assert intervals.mean(values) == SegmentIntervals(segment_of[:16]).mean(values[:16])
    values[segment_of == 3] = np.nan
    assert intervals.mean(values) is None
    assert intervals.mean(np.full(24, np.nan)) is None
    assert intervals.skill(np.ones(24), values) is None  # the reference lacks them


def test_scores_of_segments_weigh_equally_and_lengths_must_fit() -> None:
    intervals = SegmentIntervals(np.repeat([2, 5, 7, 9], [1, 50, 3, 3]))
    low, high = intervals.mean(np.array([0.0, 1.0, 1.0, 1.0]))
    assert low < 0.75 < high
    with pytest.raises(ValueError, match="5 values for 57 frames in 4 segments"):
        intervals.mean(np.zeros(5))


@given(st.lists(st.lists(st.floats(-50, 50), min_size=1, max_size=6), min_size=4, max_size=8), st.floats(-10, 10))
@settings(deadline=None, max_examples=30)
def test_intervals_hold_the_mean_and_move_with_the_scores(segments: list[list[float]], shift: float) -> None:
    values = np.array([value for one in segments for value in one])
    intervals = SegmentIntervals(np.repeat(np.arange(len(segments)), [len(one) for one in segments]))
    low, high = intervals.mean(values)
    if np.ptp([np.mean(one) for one in segments]) > 1e-3:
        assert intervals.mean(values + shift) == pytest.approx((low + shift, high + shift), abs=1e-6 * (1 + high - low))
        assert intervals.mean(2 * values) == pytest.approx((2 * low, 2 * high), abs=1e-6 * (1 + high - low))
    assert intervals.mean(values - values) == (0, 0)
    assert intervals.skill(values**2 + 1, values**2 + 1) == pytest.approx((0, 0), abs=1e-12)
