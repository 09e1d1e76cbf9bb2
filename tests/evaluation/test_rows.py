"""Sentences that compare methods frame by frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.evaluation.synthetic import scored
from vsr.evaluation.rows import pair_sentences
from vsr.metrics.intervals import SegmentIntervals


def test_networks_are_compared_with_each_other_and_with_linear_where_movies_are_few() -> None:
    one = scored("test", methods=("bicubic", "linear", "worse", "better"), segments=[6])
    linear, worse, better = (each.frames["psnr"] for each in one[1:])
    found = pair_sentences(one)
    assert len(found) == 3
    for text, names, gains in zip(
        found,
        (("better", "worse"), ("better", "linear"), ("worse", "linear")),
        (better - worse, better - linear, worse - linear),
        strict=True,
    ):
        gains = gains[np.isfinite(gains)]
        assert len(gains) == 5  # one frame has no score
        side = "above" if gains.mean() > 0 else "below"
        assert text == (
            f"{names[0]} is {abs(gains.mean()):.1f} dB {side} {names[1]} on test, and better on {(gains > 0).sum()} of 5 frames "
            f"({gains.min():+.1f} to {gains.max():+.1f} dB)"
        )


def test_members_of_a_network_are_not_compared_with_it() -> None:
    several = scored("test", methods=("bicubic", "linear", "net", "net, 39 members", "other, plain"), segments=[3, 4, 3, 5])
    assert [text.split(" is ")[0] for text in pair_sentences(several)] == ["other, plain"]
    assert all(" net on test" in text for text in pair_sentences(several))


def test_pairs_have_an_interval_over_movies() -> None:
    several = scored("test", methods=("bicubic", "linear", "worse", "better"), segments=[3, 4, 3, 5, 4])
    [text] = pair_sentences(several)
    worse, better = several[2:]
    low, high = SegmentIntervals(worse.segment_of).mean(better.frames["psnr"] - worse.frames["psnr"]) or (0, 0)
    assert text.endswith(f"; 95% interval over the movies: {low:+.1f} to {high:+.1f} dB")
    assert pair_sentences(several[:2]) == []
    assert pair_sentences(several[:3]) == []


def test_a_method_is_not_compared_with_itself() -> None:
    one = scored("test", methods=("bicubic", "linear"), segments=[6])
    assert pair_sentences([*one, replace(one[1], method="own", baseline=False)]) == []
