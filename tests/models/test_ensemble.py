"""Ensembles: members start equal to the network, and their noise is the same however a movie is cut."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr.models.base import Network
from vsr.models.ensemble import SPREAD_SHARES, Ensemble, MemberNoise, SpreadFit, draw_noise
from vsr.models.residual import StandardizedResidual
from vsr.models.resnet import ResNet
from vsr.models.stacked import Stacked

CLASSES = len(SPREAD_SHARES) + 1


def ensemble_of(network: Network, channels: int = 1) -> Ensemble:
    return Ensemble(StandardizedResidual(network), channels=channels, inputs=channels, total=channels)


@pytest.mark.parametrize("network", [ResNet(scale=2, width=8, blocks=1), Stacked(scale=3, width=8, blocks=1, frames=3)])
def test_members_start_as_the_network_and_depend_on_their_own_noise_alone(network: Network) -> None:
    ensemble = ensemble_of(network)
    movie, planes = ensemble.kind == "movie", ensemble.noise_planes
    lr = torch.randn(2, 1, *([5] if movie else []), 9, 8)
    noise = torch.randn(2, 3 * planes, *lr.shape[2:])
    with torch.no_grad():
        alone = ensemble(lr)
        sr = ensemble(torch.cat([lr, noise], 1))
        assert sr.shape == (2, 4, *alone.shape[2:])
        torch.testing.assert_close(sr, alone.expand_as(sr))
        ensemble.details.layers[-1].weight.normal_()
        sr = ensemble(torch.cat([lr, noise], 1))
        torch.testing.assert_close(sr[:, :1], alone)
        assert float((sr[:, 1] - sr[:, 2]).abs().min()) > 0
        second = ensemble(torch.cat([lr, noise[:, planes : 2 * planes]], 1))
        torch.testing.assert_close(second[:, 1], sr[:, 2])


@given(
    first=st.integers(-5, 40),
    count=st.integers(1, 9),
    planes=st.sampled_from([4, 9]),
    members=st.integers(1, 4),
    seed=st.integers(0, 3),
)
@settings(deadline=None)
def test_noise_is_the_same_in_any_block_and_for_any_number_of_members(
    first: int, count: int, planes: int, members: int, seed: int
) -> None:
    whole = MemberNoise(planes, 5, seed)(range(-8, 60), 3, 4).unflatten(1, (5, planes))
    some = MemberNoise(planes, members, seed)(range(first, first + count), 3, 4).unflatten(1, (members, planes))
    assert torch.equal(some, whole[first + 8 : first + 8 + count, :members])


def test_threads_share_the_noise() -> None:
    blocks = [(range(first, first + 3), 3, 4 + first % 2) for first in range(200)]
    expected = [MemberNoise(4, 2, 0)(*block) for block in blocks]
    before, shared = sys.getswitchinterval(), MemberNoise(4, 2, 0)
    try:
        sys.setswitchinterval(1e-6)
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda block: shared(*block), blocks))
    finally:
        sys.setswitchinterval(before)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_noise_has_variance_1_and_the_same_correlation_in_time_in_training_and_in_use() -> None:
    torch.manual_seed(0)
    used = MemberNoise(4, 3, 0)(range(200), 12, 11).unflatten(1, (3, 4))
    trained = draw_noise(4, 200, torch.zeros(1, 1, 200, 12, 11), 3, 1)[0].unflatten(0, (3, 4)).movedim(2, 0)
    for noise in (used, trained):
        assert abs(float(noise.mean())) < 0.03
        assert float(noise.var()) == pytest.approx(1, abs=0.04)
        # Planes 0 and 2 turn in 2 frames, planes 1 and 3 in 6: the cosine of a part of a quarter turn, or less at a turn's end.
        lagged = (noise[1:] * noise[:-1]).mean((0, 1, 3, 4))
        assert float(lagged[1]) == pytest.approx(float(lagged[3]), abs=0.05)
        assert 0.45 < float(lagged[0]) < 0.75
        assert 0.85 < float(lagged[1]) < 0.99
    assert not torch.equal(used, MemberNoise(4, 3, 1)(range(200), 12, 11).unflatten(1, (3, 4)))
    assert abs(float((used[:, 0] * used[:, 1]).mean())) < 0.02  # members are independent


def test_members_are_spread_by_the_factor_outside_of_training_alone() -> None:
    ensemble = ensemble_of(ResNet(scale=2, width=8, blocks=1))
    with torch.no_grad():
        ensemble.details.layers[-1].weight.normal_()
        ensemble.factor.fill_(1.5)
        lr = torch.randn(2, 1 + ensemble.noise_planes, 9, 8)
        (sr, member), (same, wider) = ensemble.train()(lr).unbind(1), ensemble.eval()(lr).unbind(1)
    assert torch.equal(same, sr)
    torch.testing.assert_close(wider - sr, 1.5 * (member - sr))


def test_the_factor_of_a_pixel_is_that_of_the_activity_of_its_lr_frames() -> None:
    ensemble = ensemble_of(ResNet(scale=2, width=8, blocks=1))
    lr = torch.randn(1, 1 + ensemble.noise_planes, 16, 24)
    lr[:, 0] *= torch.tensor([0.01, 1.0, 100.0]).repeat_interleave(8)
    with torch.no_grad():
        ensemble.details.layers[-1].weight.normal_()
        ensemble.details.gains[-1].weight.zero_()
        ensemble.edges.copy_(torch.tensor([[0.1] * 3 + [10.0] * 3]))
        ensemble.factor.copy_(torch.tensor([[0.5, 9.0, 9.0, 1.0, 9.0, 9.0, 2.0]]))
        sr, member = ensemble.train()(lr).unbind(1)
        same, wider = ensemble.eval()(lr).unbind(1)
    ratio = ((wider - same) / (member - sr))[0]
    for i, (start, stop) in enumerate(((0, 10), (20, 26), (36, 48))):  # not where a class begins
        torch.testing.assert_close(ratio[:, start:stop], torch.full((32, stop - start), [0.5, 1.0, 2.0][i]), rtol=1e-3, atol=0)
    assert bool((ratio[:, 1:] - ratio[:, :-1] >= -1e-3).all())  # no step, and nothing beyond the two factors at a border
    assert ensemble.classes(lr).unique().tolist() == [0, 3, 6]


def test_classes_of_activity_are_those_of_the_training_frames_of_each_channel() -> None:
    ensemble = ensemble_of(ResNet(scale=2, width=8, blocks=1, channels=2), 2)
    lr = torch.rand(6, 2, 20, 20, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0]).view(2, 1, 1)
    ensemble.prepare([(lr, torch.rand(6, 2, 40, 40), None)])
    for channel in range(2):
        shares = [float((ensemble.classes(lr)[:, channel] == i).double().mean()) for i in range(CLASSES)]
        assert shares == pytest.approx([*[0.125] * 4, 0.25, 0.15, 0.1], abs=0.01)


def test_details_are_linear_in_the_noise_so_that_their_mean_is_zero() -> None:
    ensemble = ensemble_of(ResNet(scale=2, width=8, blocks=1)).double()
    lr, noise = torch.randn(1, 1, 9, 8).double(), torch.randn(2, 1, ensemble.noise_planes, 9, 8).double()
    with torch.no_grad():
        ensemble.details.layers[-1].weight.normal_()
        alone = ensemble(lr)
        first, second, both, opposite = (
            ensemble(torch.cat([lr, z], 1))[:, 1:] - alone for z in (noise[0], noise[1], 2 * noise[0] - noise[1], -noise[0])
        )
    assert float(first.abs().min()) > 0
    torch.testing.assert_close(both, 2 * first - second)
    torch.testing.assert_close(opposite, -first)


@pytest.mark.parametrize("count", [1, 7])
def test_the_fitted_factor_makes_details_as_large_as_errors(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (3, 2, 4, 40, 40)
    error = torch.randn(shape, generator=generator) * torch.tensor([1.6, 0.8]).view(2, 1, 1, 1)
    details = torch.randn(3, 2, count, *shape[2:], generator=generator)
    sr, mask = torch.rand(shape, generator=generator), torch.ones(3, 1, *shape[2:])
    mask[..., :20] = 0
    spoilt = torch.where(mask > 0, error, 100.0)
    classes = torch.randint(0, CLASSES, shape, generator=generator)
    error, spoilt = (each * torch.linspace(0.8, 1.0, CLASSES)[classes] for each in (error, spoilt))
    fit = SpreadFit(2)
    for i in range(3):
        one = slice(i, i + 1)
        fit.update((sr.unsqueeze(2) + details)[one], sr[one], (sr + spoilt)[one], mask[one], classes[one])
    factor = fit.factor()[torch.arange(2).view(1, 2, 1, 1, 1), classes]
    details = (details * factor.unsqueeze(2))[..., 20:]
    for channel in range(2):
        for i in range(CLASSES):
            chosen = classes[:, channel, :, :, 20:] == i
            spread = details[:, channel].square().mean(1)[chosen].mean()
            missed = error[:, channel, :, :, 20:][chosen].square().mean()
            assert float(spread / missed) == pytest.approx(1.0, abs=1e-4)


def test_members_that_do_not_differ_have_a_factor_of_1() -> None:
    fit, clips = SpreadFit(1), torch.rand(1, 1, 2, 8, 8)
    assert fit.factor().tolist() == [[1.0] * CLASSES]
    fit.update(clips.unsqueeze(2).expand(-1, -1, 2, -1, -1, -1), clips, clips + 1, None, torch.zeros_like(clips).long())
    assert fit.factor().tolist() == [[1.0] * CLASSES]
