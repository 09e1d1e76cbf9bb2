"""Intervals against scipy, against theory, and against what they promise: to cover the truth 95 times out of 100."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr.evaluation.bootstrap import Resampling


def correlated(rng: np.random.Generator, lengths: np.ndarray, mean: float = 30.0) -> tuple[np.ndarray, np.ndarray]:
    """Values of frames that share most of their deviation with their segment, and the segment of each."""
    segment_of = np.repeat(np.arange(len(lengths)), lengths)
    return mean + rng.standard_normal(len(lengths))[segment_of] + 0.3 * rng.standard_normal(len(segment_of)), segment_of


def per_segment(values: np.ndarray, segment_of: np.ndarray) -> np.ndarray:
    return np.array([values[segment_of == i].sum() for i in np.unique(segment_of)])


@pytest.fixture
def frames() -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(3)
    return *correlated(rng, rng.integers(3, 40, 25)), rng


def test_the_interval_of_a_mean_is_that_of_scipy(frames: tuple[np.ndarray, np.ndarray, np.random.Generator]) -> None:
    values, segment_of, _ = frames
    sums, counts = per_segment(values, segment_of), per_segment(np.ones_like(values), segment_of)

    def mean(s: np.ndarray, n: np.ndarray, axis: int) -> np.ndarray:
        return s.sum(axis) / n.sum(axis)

    expected = scipy.stats.bootstrap(
        (sums, counts), mean, paired=True, vectorized=True, n_resamples=40_000, method="percentile", rng=0
    ).confidence_interval
    low, high = Resampling(segment_of, resamples=40_000).mean(values)
    width = expected.high - expected.low
    assert low == pytest.approx(expected.low, abs=0.02 * width)
    assert high == pytest.approx(expected.high, abs=0.02 * width)


def test_differences_and_skills_are_paired_as_in_scipy(frames: tuple[np.ndarray, np.ndarray, np.random.Generator]) -> None:
    values, segment_of, rng = frames
    other = values - 2 + 0.2 * rng.standard_normal(len(values))
    mse, reference = 10 ** (-values / 10), 10 ** (-other / 10)
    draws = Resampling(segment_of, resamples=40_000)
    options = {"paired": True, "vectorized": True, "n_resamples": 40_000, "method": "percentile", "rng": 0}

    def skill(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return 1 - a.sum(axis) / b.sum(axis)

    totals = (per_segment(mse, segment_of), per_segment(reference, segment_of))
    expected = scipy.stats.bootstrap(totals, skill, **options).confidence_interval
    found = draws.skill(mse, reference)
    assert found == pytest.approx(tuple(expected), abs=0.03 * (expected.high - expected.low))
    low, high = draws.mean(values - other)
    single = draws.mean(values)
    assert low < np.mean(values - other) < high
    assert high - low < 0.2 * (single[1] - single[0])  # what both share cancels


def test_many_equal_segments_give_the_interval_of_the_central_limit_theorem() -> None:
    values = np.random.default_rng(0).standard_normal(20_000)
    low, high = Resampling(np.arange(20_000), resamples=1000).mean(values)
    half = 1.96 * values.std() / np.sqrt(20_000)
    assert (high - low) / 2 == pytest.approx(half, rel=0.08)
    assert (high + low) / 2 == pytest.approx(values.mean(), abs=0.1 * half)


def test_intervals_cover_the_truth_and_frames_alone_would_not() -> None:
    rng = np.random.default_rng(0)
    hits = naive = 0
    for seed in range(300):
        values, segment_of = correlated(rng, rng.integers(5, 15, 30))
        low, high = Resampling(segment_of, resamples=400, seed=seed).mean(values)
        hits += low < 30 < high
        low, high = Resampling(np.arange(len(values)), resamples=400, seed=seed).mean(values)
        naive += low < 30 < high
    assert 0.90 < hits / 300 < 0.98
    assert naive / 300 < 0.65


@pytest.mark.parametrize("segments", [1, 2])
def test_there_is_no_interval_below_three_segments(segments: int) -> None:
    values = np.arange(20.0)
    draws = Resampling(np.arange(20) % segments)
    assert draws.mean(values) is None
    assert draws.mean(values - values[::-1]) is None
    assert draws.skill(values + 1, values + 2) is None


def test_segments_without_a_value_do_not_count() -> None:
    segment_of = np.repeat(np.arange(5), 4)
    values = np.random.default_rng(0).random(20)
    values[segment_of >= 3] = np.nan
    values[0] = np.nan
    low, high = Resampling(segment_of).mean(values)
    assert low < np.nanmean(values) < high
    values[segment_of == 2] = np.nan
    assert Resampling(segment_of).mean(values) is None
    assert Resampling(segment_of).mean(np.full(20, np.nan)) is None
    assert Resampling(segment_of).skill(np.ones(20), values) is None  # the reference lacks them


def test_scores_of_segments_weigh_equally_and_lengths_must_fit() -> None:
    segment_of = np.repeat([2, 5, 7, 9], [1, 50, 3, 3])
    draws = Resampling(segment_of, resamples=5000)
    low, high = draws.mean(np.array([0.0, 1.0, 1.0, 1.0]))
    assert (low, high) == (pytest.approx(0.25, abs=0.26), 1.0)
    with pytest.raises(ValueError, match="5 values for 57 frames in 4 segments"):
        draws.mean(np.zeros(5))


def test_the_seed_decides() -> None:
    values = np.random.default_rng(1).random(30)
    segment_of = np.arange(30) // 3
    assert Resampling(segment_of, seed=4).mean(values) == Resampling(segment_of, seed=4).mean(values)
    assert Resampling(segment_of, seed=4).mean(values) != Resampling(segment_of, seed=5).mean(values)


@given(st.lists(st.lists(st.floats(-50, 50), min_size=1, max_size=6), min_size=3, max_size=8), st.floats(-10, 10))
@settings(deadline=None, max_examples=30)
def test_intervals_lie_between_segments_and_move_with_the_scores(segments: list[list[float]], shift: float) -> None:
    values = np.array([value for one in segments for value in one])
    segment_of = np.repeat(np.arange(len(segments)), [len(one) for one in segments])
    draws = Resampling(segment_of, resamples=200)
    low, high = draws.mean(values)
    means = [np.mean(one) for one in segments]
    assert min(means) - 1e-9 <= low <= high <= max(means) + 1e-9
    assert draws.mean(values + shift) == pytest.approx((low + shift, high + shift), abs=1e-9)
    assert draws.mean(values - values) == (0, 0)
    assert draws.skill(values**2 + 1, values**2 + 1) == pytest.approx((0, 0), abs=1e-12)
