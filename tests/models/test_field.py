"""The network for fields in any unit: equivariance, channels one by one, tiles, flat and extreme values, arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.fakes import compose_config
from vsr.degradations.resize import resize_bicubic_up
from vsr.models.base import Network
from vsr.models.field import Field
from vsr.recipe import Recipe
from vsr.training.build_network import build_from_node, build_network


def field(scale: int = 2, **options: int) -> Field:
    torch.manual_seed(0)
    network = Field(width=6, blocks=2, scale=scale, **options)
    with torch.no_grad():
        for parameter in network.parameters():  # biases, too, as after training
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def frames(*shape: int) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.standard_normal(shape).cumsum(-1).cumsum(-2))


@pytest.mark.parametrize("scale", [2, 3, 4, 6, 8])
@pytest.mark.parametrize(("factor", "offset"), [(1e-9, 0.0), (3.0, 100.0), (1e9, -1e10)])
@torch.no_grad()
def test_another_unit_and_another_zero_change_nothing_else(scale: int, factor: float, offset: float) -> None:
    network, lr = field(scale).double(), frames(2, 1, 20, 26)
    sr = network(lr)
    assert (sr - resize_bicubic_up(lr, scale)).abs().max() > 0.01 * lr.std()
    torch.testing.assert_close((network(factor * lr + offset) - offset) / factor, sr, rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_a_variable_does_not_see_the_others() -> None:
    lr = frames(2, 3, 16, 20).float() * torch.tensor([1.0, 1e-3, 1e3]).view(3, 1, 1)
    together = field(channels=3)(lr)
    for channel in range(3):
        torch.testing.assert_close(together[:, channel : channel + 1], field()(lr[:, channel : channel + 1]))


@pytest.mark.parametrize("value", [0.0, 273.15, -1e30, 1e30])
@torch.no_grad()
def test_a_constant_field_stays_as_it_is(value: float) -> None:
    lr = torch.full((1, 1, 18, 18), value)
    torch.testing.assert_close(field()(lr), torch.full((1, 1, 36, 36), value), rtol=1e-5, atol=1e-20)


@torch.no_grad()
def test_a_single_drop_of_rain_stays_finite_and_local() -> None:
    lr = torch.zeros(1, 1, 120, 120)
    lr[..., 60, 60] = 1.0
    sr = field()(lr)
    assert sr.isfinite().all()
    assert sr[..., :20].abs().max() < 1e-20


@torch.no_grad()
def test_reduced_precision_is_that_of_the_residual_alone() -> None:
    """Octaves are differences of nearly equal numbers, which bf16 would lose."""
    lr = frames(1, 1, 24, 24).float() + 1e4
    network = field()
    with torch.autocast("cpu", torch.bfloat16):
        fast = network(lr)
    exact = network(lr)
    assert (fast - exact).abs().max() < 0.02 * (exact - resize_bicubic_up(lr, 2)).abs().max()


@pytest.mark.parametrize("residual", ["bicubic", "none"])
def test_no_standardised_residual_is_put_around_it(residual: str) -> None:
    cfg = compose_config("train", ["model=field"])
    network: Network = build_network("model", cfg.model, Recipe(residual=residual), scale=2, channels=1)  # type: ignore[arg-type]
    assert isinstance(network, Field)
    assert build_from_node("recipe", cfg.recipe).residual == "bicubic"


def test_the_unit_of_errors_is_that_of_the_residual() -> None:
    network, hr = field(), frames(3, 1, 32, 32).float()
    lr = hr[..., ::2, ::2].contiguous()
    network.prepare([(lr, hr, None)])
    expected = (hr - resize_bicubic_up(lr, 2)).double().square().mean().sqrt()
    assert float(network.error_unit) == pytest.approx(float(expected), rel=1e-5)
