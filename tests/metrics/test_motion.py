"""Change error and flicker, against numpy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr.metrics.motion import MotionScores


def movie(frames: int, seed: int = 0, channels: int = 1) -> torch.Tensor:
    return torch.rand(1, channels, frames, 6, 5, generator=torch.Generator().manual_seed(seed))


def by_numpy(sr: torch.Tensor, hr: torch.Tensor) -> tuple[float, float]:
    """The definitions of the notes, written down once more."""
    p, y = (x.double().numpy()[0] for x in (sr, hr))

    def rms(x: np.ndarray) -> float:
        return float(np.sqrt(np.mean(x**2)))

    change = rms(np.diff(p, axis=1) - np.diff(y, axis=1)) / rms(np.diff(y, axis=1))
    return change, rms(np.diff(p, n=2, axis=1)) / rms(np.diff(y, n=2, axis=1))


@given(cuts=st.lists(st.integers(1, 11), max_size=5, unique=True), channels=st.integers(1, 2))
@settings(deadline=None, max_examples=40)
def test_pieces_give_what_the_whole_gives(cuts: list[int], channels: int) -> None:
    sr, hr = movie(12, 1, channels), movie(12, 2, channels)
    edges = [0, *sorted(cuts), 12]
    scores = MotionScores()
    for a, b in pairwise(edges):
        scores.update(sr[:, :, a:b], hr[:, :, a:b], follows=a > 0)
    found = scores.compute()
    change, flicker = by_numpy(sr, hr)
    assert found["change_error"].item() == pytest.approx(change, rel=1e-6)
    assert found["flicker"].item() == pytest.approx(flicker, rel=1e-6)


def test_movies_are_averaged_and_do_not_run_into_each_other() -> None:
    first, second = (movie(7, 1), movie(7, 2)), (movie(9, 3), movie(9, 4) * 5)
    scores = MotionScores()
    for sr, hr in (first, second):
        scores.update(sr, hr)
    expected = np.mean([by_numpy(*first), by_numpy(*second)], axis=0)
    assert [x.item() for x in scores.compute().values()] == pytest.approx(expected.tolist(), rel=1e-6)


def test_known_values() -> None:
    hr = movie(8)
    scores = MotionScores()
    scores.update(hr, hr)
    assert [x.item() for x in scores.compute().values()] == [0, 1]  # perfect
    scores.reset()
    scores.update(hr[:, :, :1].expand_as(hr), hr)
    assert [x.item() for x in scores.compute().values()] == [1, 0]  # a still picture
    scores.reset()
    scores.update(hr + 0.3, hr)
    assert [x.item() for x in scores.compute().values()] == pytest.approx([0, 1], abs=1e-5)  # a constant error does not move


def test_stills_have_no_score() -> None:
    scores = MotionScores()
    scores.update(movie(1), movie(1))
    scores.update(movie(6, 1), torch.ones(1, 1, 6, 6, 5))  # a truth that does not move
    assert all(x.isnan() for x in scores.compute().values())
    scores.update(movie(2, 1), movie(2, 2))
    found = scores.compute()
    step, real = (x.double().diff(dim=2) for x in (movie(2, 1), movie(2, 2)))
    assert found["change_error"].item() == pytest.approx(((step - real).square().mean() / real.square().mean()).sqrt().item())
    assert found["flicker"].isnan()


def test_masked_pixels_do_not_count() -> None:
    sr, hr = movie(8, 1), movie(8, 2)
    mask = torch.ones_like(hr)
    mask[..., 3:] = 0
    spoilt = sr.clone()
    spoilt[..., 3:] = torch.rand(1, 1, 8, 6, 2) * 9
    scores = MotionScores()
    scores.update(spoilt[:, :, :5], hr[:, :, :5], mask[:, :, :5])
    scores.update(spoilt[:, :, 5:], hr[:, :, 5:], mask[:, :, 5:], follows=True)
    expected = by_numpy(sr[..., :3], hr[..., :3])
    assert [x.item() for x in scores.compute().values()] == pytest.approx(expected, rel=1e-6)
