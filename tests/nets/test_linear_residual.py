"""A residual over the linear filter: the network starts where the best linear filter stands."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.fakes import TINY_CLIMATE, assert_same_scores, compose_config, evaluate_here, train_here
from vsr.build import build_network
from vsr.checkpoints import read_checkpoint
from vsr.errors import UserError
from vsr.nets.base import Network
from vsr.nets.fsrcnn import FSRCNN
from vsr.nets.linear import Linear
from vsr.nets.plain import Plain
from vsr.nets.residual import StandardizedResidual
from vsr.nets.srcnn import SRCNN
from vsr.nets.srnet3d import SRNet3D
from vsr.recipe import Recipe
from vsr.resize import bicubic_down, bicubic_up

QUICK = [*TINY_CLIMATE, "recipe.patch=8", "recipe.batch=4", "recipe.steps=5"]


def frames(scale: int, channels: int = 1) -> tuple[Tensor, Tensor]:
    """Smooth frames, of which a linear filter knows more than bicubic does."""
    generator = torch.Generator().manual_seed(0)
    hr = torch.rand(12, channels, 24, 24, dtype=torch.float64, generator=generator)
    for axis in (-2, -1):
        hr = (hr + hr.roll(1, axis) + hr.roll(-1, axis)) / 3
    return bicubic_down(hr, scale), hr


def silent(network: Network) -> None:
    """Let what is trained put out nothing."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.zero_()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_it_starts_at_the_filter_in_units_of_what_that_misses(scale: int) -> None:
    lr, hr = frames(scale, channels=2)
    wrapped, filtered = StandardizedResidual(FSRCNN(scale=scale, channels=2), "linear").double(), Linear(scale=scale).double()
    for network in (wrapped, filtered):
        network.prepare([(lr[:7], hr[:7], None), (lr[7:], hr[7:], None)])
    silent(wrapped)
    torch.testing.assert_close(wrapped(lr), filtered(lr))
    missed = (hr - filtered(lr)).square().mean().sqrt()
    assert wrapped.rms.item() == pytest.approx(missed.item())
    assert missed < 0.99 * (hr - bicubic_up(lr, scale)).square().mean().sqrt()


def test_masked_pixels_count_neither_in_the_filter_nor_in_its_rms() -> None:
    lr, hr = frames(2)
    mask = torch.ones_like(hr)
    mask[..., 4:10, 6:14] = 0
    spoilt = torch.where(mask > 0, hr, 40.0)
    found = []
    for truth in (hr, spoilt):
        network = StandardizedResidual(Plain(scale=2), "linear").double()
        network.prepare([(lr, truth, mask)])
        assert network.filter is not None
        found.append((network.filter.weight.clone(), network.rms.clone()))
    torch.testing.assert_close(*found)


def test_on_clips_the_filter_works_frame_by_frame() -> None:
    lr, hr = frames(2, channels=2)
    wrapped, filtered = StandardizedResidual(SRNet3D(scale=2, channels=2), "linear").double(), Linear(scale=2).double()
    for network in (wrapped, filtered):
        network.prepare([(lr, hr, None)])
    silent(wrapped)
    t, y, x = wrapped.geometry.margin
    out = wrapped(lr.transpose(0, 1)[None])
    expected = filtered(lr[t : len(lr) - t]).transpose(0, 1)[None]
    torch.testing.assert_close(out, expected[..., y : expected.shape[-2] - y, x : expected.shape[-1] - x])


def test_an_output_pixel_depends_on_what_the_filter_sees() -> None:
    wrapped = StandardizedResidual(SRCNN(scale=2, act="relu"), "linear")
    narrow = StandardizedResidual(Plain(scale=2, depth=1), "linear").double()
    assert (wrapped.reach, narrow.reach) == (max(wrapped.network.reach, 4), 4)
    torch.nn.init.normal_(narrow.filter.weight)  # type: ignore[union-attr]
    lr = torch.rand(1, 1, 21, 21, dtype=torch.float64, requires_grad=True)
    narrow(lr)[0, 0, 20, 20].backward()
    assert lr.grad is not None
    rows = lr.grad[0, 0].abs().sum(1).nonzero().flatten()
    assert (int(rows[0]), int(rows[-1])) == (10 - 4, 10 + 4)


def test_behind_another_network_both_bases_are_what_that_put_out() -> None:
    second = StandardizedResidual(SRCNN(scale=1, act="relu"), "linear").double()
    silent(second)
    frame = torch.rand(2, 1, 12, 12, dtype=torch.float64)
    torch.testing.assert_close(second(frame), frame)
    assert second.over == "bicubic"
    assert second.reach == second.network.reach


def test_half_precision_leaves_the_filter_alone() -> None:
    lr, hr = (x.float() for x in frames(2))
    network = StandardizedResidual(FSRCNN(scale=2), "linear")
    network.prepare([(lr, hr, None)])
    silent(network)
    plain = network(lr)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(network(lr), plain, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("said", "meant"), [(True, "bicubic"), (False, None), ("none", None), ("linear", "linear")])
def test_true_and_false_mean_what_they_did(said: bool | str, meant: str | None) -> None:
    node = compose_config("train", ["model=fsrcnn"]).model
    network = build_network("model", node, Recipe(residual=said), scale=2, channels=1)  # type: ignore[arg-type]
    assert (network.over if isinstance(network, StandardizedResidual) else None) == meant


def test_a_wrong_base_is_one_line() -> None:
    with pytest.raises(UserError, match=r"recipe.residual=cubic: must be one of none, bicubic, linear, True, False"):
        train_here(Path("never"), [*QUICK, "recipe.residual=cubic"])


def test_a_run_keeps_its_filter_and_evaluate_finds_the_same_scores(tmp_path: Path) -> None:
    trained = train_here(tmp_path / "run", [*QUICK, "recipe.residual=linear"])
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt")["state_dict"]
    torch.testing.assert_close(state["network.filter.weight"], state["reference.weight"], rtol=0, atol=0)
    found = evaluate_here(tmp_path / "e", [f"checkpoint={tmp_path / 'run' / 'checkpoints' / 'best.ckpt'}"])
    assert_same_scores(found["rows"], trained["rows"])


def test_two_stages_and_joint_training_leave_the_filter_as_it_was_fitted(tmp_path: Path) -> None:
    pipeline = ["model=joint", "init=two_stage", "init.epochs=1", "recipe.batch=2", "recipe.residual=linear"]
    train_here(tmp_path, [*QUICK, *pipeline])
    state = read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")["state_dict"]
    torch.testing.assert_close(state["network.first.filter.weight"], state["reference.weight"], rtol=0, atol=0)
    assert "network.second.filter.weight" not in state


def test_the_residual_over_one_base_is_not_that_over_another(tmp_path: Path) -> None:
    train_here(tmp_path / "linear", [*QUICK, "recipe.residual=linear"])
    start = ["init=checkpoint", f"weights={tmp_path / 'linear' / 'checkpoints' / 'best.ckpt'}"]
    with pytest.raises(
        UserError,
        match=r"out.weight puts out the residual over the linear filter, here the residual over bicubic; "
        r"type recipe.residual=linear",
    ):
        train_here(tmp_path / "a", [*QUICK, *start])
    again = train_here(tmp_path / "b", [*QUICK, *start, "recipe.residual=linear", "epochs=0"])
    kinds = {row["tensor"]: (row["status"], row["reason"]) for row in again["init"]}
    assert kinds.pop("filter.weight") == kinds.pop("filter.bias") == ("fresh", "computed from the training frames")
    assert {status for status, _ in kinds.values()} == {"loaded"}
    with pytest.raises(UserError, match=r"puts out the residual over bicubic, here the residual over the linear filter"):
        train_here(tmp_path / "c", [*QUICK, "init=pretrained", "recipe.residual=linear"])
