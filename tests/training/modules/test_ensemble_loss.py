"""The loss of ensembles: proper scores, smallest for members that are drawn as the truth is."""

from __future__ import annotations

import itertools

import pytest
import torch

from vsr.metrics.ensemble import fair_score
from vsr.training.modules.ensemble_loss import ensemble_terms


def loss(members: torch.Tensor, hr: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    total = 0.0
    for weight, score, counts in ensemble_terms(members, hr, mask, 2):
        each = torch.ones_like(score) if counts is None else counts.expand_as(score)
        total += weight * float((score * each).sum() / each.sum().clamp_min(1))
    return total


def test_the_fair_score_is_its_definition_over_all_pairs() -> None:
    members, truth = torch.randn(4, 3, 5), torch.randn(3, 5)
    apart = [(a - b).abs() for a, b in itertools.permutations(members, 2)]
    expected = (members - truth).abs().mean(0) - torch.stack(apart).mean(0) / 2
    torch.testing.assert_close(fair_score(members, truth, torch.abs), expected)


@pytest.mark.parametrize("count", [2, 4])
def test_every_term_is_smallest_for_the_distribution_of_the_truth(count: int) -> None:
    generator = torch.Generator().manual_seed(0)

    def fields(*size: int, spread: float = 1.0, smooth: bool = True) -> torch.Tensor:
        x = torch.randn(*size, 3, 20, 20, generator=generator)
        if smooth:
            x = (x + x.roll(1, -1) + x.roll(1, -2) + x.roll(1, -3)) / 2  # correlated in space and time, variance 1
        return spread * x

    hr = fields(60, 1)
    right = fields(count, 60, 1)
    wrong = {
        "narrow": fields(count, 60, 1, spread=0.5),
        "wide": fields(count, 60, 1, spread=1.7),
        "shifted": right + 0.5,
        "white": fields(count, 60, 1, smooth=False),
    }
    best = [float(score.mean()) for _, score, _ in ensemble_terms(right, hr, None, 2)]
    for name, members in wrong.items():
        terms = [float(score.mean()) for _, score, _ in ensemble_terms(members, hr, None, 2)]
        if name == "white":  # each pixel is right: only differences and blocks tell (modes are in units of their own error)
            assert terms[0] == pytest.approx(best[0], rel=0.05)
            assert all(own > least for own, least in zip(terms[1:-1], best[1:-1], strict=True))
        elif name == "shifted":  # differences do not see a constant
            assert terms[0] > 1.05 * best[0]
        else:  # more spread makes the score of narrow members better and that of wide ones worse
            factor = torch.ones((), requires_grad=True)
            for _, score, _ in ensemble_terms(factor * members, hr, None, 2):
                [slope] = torch.autograd.grad(score.mean(), factor, retain_graph=True)
                assert (float(slope) < 0) == (name == "narrow")


def test_masked_pixels_do_not_count_and_gradients_are_finite() -> None:
    hr, members = torch.randn(2, 1, 3, 12, 12), torch.randn(2, 2, 1, 3, 12, 12)
    mask = torch.ones(2, 1, 3, 12, 12)
    mask[..., 3:5, 6] = 0
    before = loss(members, hr, mask)
    spoilt = torch.where(mask == 0, 1e3, hr)
    assert loss(members, spoilt, mask) == pytest.approx(before, rel=1e-5)
    assert loss(members, spoilt) > 2 * before
    equal = torch.zeros(2, 2, 1, 3, 12, 12, requires_grad=True)  # as at the start, where all members are alike
    sum(weight * score.mean() for weight, score, _ in ensemble_terms(equal, hr, None, 2)).backward()  # type: ignore[union-attr]
    assert equal.grad is not None
    assert bool(equal.grad.isfinite().all())
