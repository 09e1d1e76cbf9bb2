"""Terms of the loss beside the error of pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.fakes import TINY_CLIMATE, train_here
from vsr.errors import UserError
from vsr.models.base import Network
from vsr.models.normalize import Normalizer
from vsr.models.plain import Plain
from vsr.recipe import Recipe
from vsr.training.modules.base import SRModule
from vsr.training.modules.frame import FrameSR
from vsr.training.modules.losses import additional_loss_terms, loss_function, spectral_loss_amplitudes

QUICK = [*TINY_CLIMATE, "recipe.patch=8", "recipe.batch=4", "recipe.steps=4"]
NONE = {"gradient": 0.0, "spectral": 0.0, "temporal": 0.0}


def clips(seed: int) -> Tensor:
    return torch.randn(2, 1, 4, 12, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def term(sr: Tensor, hr: Tensor, mask: Tensor | None = None, kind: Any = "mse", **weight: float) -> Tensor:
    found = [w * loss_function(kind, p, y, m) for w, p, y, m in additional_loss_terms(sr, hr, mask, **{**NONE, **weight})]
    return torch.stack(found).sum()


def test_gradient_and_temporal_terms_are_the_means_that_they_say() -> None:
    sr, hr = clips(0), clips(1)
    error = (sr - hr).numpy()
    along_y, along_x = error[..., 1:, :] - error[..., :-1, :], error[..., 1:] - error[..., :-1]
    assert term(sr, hr, gradient=3.0).item() == pytest.approx(1.5 * ((along_y**2).mean() + (along_x**2).mean()))
    assert term(sr, hr, kind="l1", gradient=1.0).item() == pytest.approx((abs(along_y).mean() + abs(along_x).mean()) / 2)
    change = error[:, :, 1:] - error[:, :, :-1]
    assert term(sr, hr, temporal=2.0).item() == pytest.approx(2 * (change**2).mean())


def test_an_error_that_is_the_same_everywhere_costs_the_terms_nothing() -> None:
    hr = clips(0)
    for weight in NONE:
        assert term(hr + 0.3, hr, **{weight: 1.0}).item() == pytest.approx(0, abs=1e-9)
    flickering = hr + torch.tensor([0.3, -0.3, 0.3, -0.3]).reshape(1, 1, 4, 1, 1)
    assert term(flickering, hr, temporal=1.0).item() == pytest.approx(0.36)
    assert term(flickering, hr, gradient=1.0).item() == pytest.approx(0, abs=1e-9)


def test_the_spectral_term_sees_smoothing_and_no_shift_of_sign() -> None:
    hr = clips(2)
    assert term(-hr, hr, spectral=1.0).item() == pytest.approx(0, abs=1e-9)
    smooth = (hr + hr.roll(1, -1)) / 2
    assert term(smooth, hr, spectral=1.0) > 0.1
    # Halved amplitudes, far above the floor: log 2 in every mode.
    differences = spectral_loss_amplitudes(200 * hr) - spectral_loss_amplitudes(100 * hr)
    torch.testing.assert_close(differences, torch.full_like(differences, 0.6931), rtol=0, atol=1e-2)


def test_white_noise_of_variance_one_has_amplitudes_of_order_one() -> None:
    power = (2 * spectral_loss_amplitudes(torch.randn(64, 32, 24, generator=torch.Generator().manual_seed(0)))).exp()
    assert power[:, 3:, 3:].mean().item() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_frames_of_a_few_pixels_have_finite_terms_and_gradients(size: int) -> None:
    sr = torch.zeros(1, 1, 2, size, 4, requires_grad=True)
    loss = term(sr, torch.rand(1, 1, 2, size, 4), spectral=1.0, temporal=1.0)
    loss.backward()
    assert sr.grad is not None
    assert torch.isfinite(sr.grad).all()


def test_masked_pixels_and_their_neighbours_do_not_count() -> None:
    sr, hr = clips(0), clips(1)
    mask = torch.ones(2, 1, 4, 12, 10, dtype=torch.float64)
    mask[1, :, 2, 5:7, 3] = 0
    for weight in NONE:
        clean = term(sr, hr, mask, **{weight: 1.0})
        torch.testing.assert_close(term(torch.where(mask > 0, sr, 1e3), hr, mask, **{weight: 1.0}), clean)
        beside = sr.clone()
        beside[1, :, 1, 5, 4] += 10.0  # beside the hole in space, in a frame without one
        assert not torch.allclose(term(beside, hr, mask, **{weight: 1.0}), clean)


def module_of(recipe: Recipe) -> FrameSR:
    torch.manual_seed(0)
    return FrameSR(Plain(scale=2), normalizer=Normalizer(0.0, 1.0), recipe=recipe, window=(0, 4, 4))


def loss_of(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, step: int = 0) -> float:
    module = module_of(recipe)
    monkeypatch.setattr(SRModule, "finetuning", property(lambda self: recipe.finetune > 0 and step >= 5))
    generator = torch.Generator().manual_seed(1)
    lr, hr = torch.rand(3, 1, 1, 8, 8, generator=generator), torch.rand(3, 1, 1, 16, 16, generator=generator)
    return module.loss(lr, hr, None).item()


def test_terms_add_up_and_finetuning_leaves_the_squared_error(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, l1 = loss_of(Recipe(), monkeypatch), loss_of(Recipe(loss="l1"), monkeypatch)
    more = [loss_of(Recipe(loss="l1", **each), monkeypatch) - l1 for each in ({"gradient": 1.0}, {"spectral": 1.0})]  # type: ignore[arg-type]
    assert min(more) > 0
    whole = Recipe(loss="l1", gradient=2.0, spectral=3.0, finetune=0.5)
    assert loss_of(whole, monkeypatch, 4) == pytest.approx(l1 + 2 * more[0] + 3 * more[1], rel=1e-5)
    assert loss_of(whole, monkeypatch, 5) == pytest.approx(plain, rel=1e-6)


def test_the_last_steps_are_those_of_the_whole_fit_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, bool]] = []
    real = SRModule.error

    def error(module: SRModule, sr: Tensor, hr: Tensor, mask: Tensor | None, network: Network) -> Tensor:
        seen.append((module.trainer.global_step, module.finetuning))
        return real(module, sr, hr, mask, network)

    monkeypatch.setattr(SRModule, "error", error)
    train_here(
        tmp_path, [*QUICK, "epochs=2", "recipe.loss=l1", "recipe.gradient=0.5", "recipe.spectral=0.1", "recipe.finetune=0.25"]
    )
    assert seen == [(step, step >= 6) for step in range(8)]


def test_a_movie_network_learns_changes_in_time(tmp_path: Path) -> None:
    movie = ["model=stacked", "model.width=6", "model.blocks=2", "recipe.frames=7", "recipe.temporal=1"]
    found = train_here(tmp_path, [*QUICK, *movie])
    assert found["config"]["recipe"]["temporal"] == 1


def test_a_two_stage_run_has_its_single_frames_without_the_temporal_term(tmp_path: Path) -> None:
    train_here(tmp_path, [*QUICK, "model=two_stage", "init=two_stage", "init.epochs=1", "recipe.temporal=1"])


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["recipe.temporal=1"], "recipe.temporal=1: .*trained on single frames.*type model=stacked recipe.frames=7"),
        (["model=srnet3d", "recipe.temporal=1", "recipe.frames=5"], "recipe.frames=5 .*type recipe.frames=6 or more"),
        (["recipe.gradient=-1"], "recipe.gradient=-1: must be 0 or more"),
        (["recipe.finetune=1.5"], "recipe.finetune=1.5: must be 0 or more, and 1 at most"),
    ],
)
def test_terms_that_cannot_be_are_refused(asked: list[str], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        train_here(tmp_path, [*QUICK, *asked])
