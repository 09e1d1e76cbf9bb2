"""A network that gives all frames of a clip: layers along time (ST)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.fakes import TINY_CLIMATE, train_here
from tests.nets.test_networks import randomize
from vsr.errors import UserError
from vsr.nets.base import Network, on_clip, parameter_count
from vsr.nets.combined import Combined
from vsr.nets.cost import multiply_adds
from vsr.nets.edsr import EDSR
from vsr.nets.plain import Plain
from vsr.nets.residual import StandardizedResidual
from vsr.nets.st import ST


def used_frames(network: Network, frames: int, at: int) -> list[int]:
    """Which frames of a clip an output frame depends on."""
    clip = torch.rand(1, 1, frames, 6, 6, dtype=torch.float64).requires_grad_()
    network(clip)[:, :, at].sin().sum().backward()
    return (clip.grad.abs().amax((0, 1, 3, 4)) > 0).nonzero().flatten().tolist()


@pytest.mark.parametrize(("blocks", "every", "context"), [(3, 1, 3), (4, 2, 2), (5, 2, 2), (3, 3, 1)])
def test_st_looks_as_far_along_time_as_it_has_layers(blocks: int, every: int, context: int) -> None:
    torch.manual_seed(0)
    network = ST(width=4, blocks=blocks, every=every, scale=2).double()
    randomize(network)
    assert network.context == context
    assert used_frames(network, 2 * context + 5, context + 2) == list(range(2, 2 * context + 3))


def test_st_without_blocks_along_time_is_refused() -> None:
    for every in (0, 4):
        with pytest.raises(UserError, match=rf"model.every={every}: no block of 3 .*type model.every=1 or up to 3"):
            ST(blocks=3, every=every, scale=2)


def test_parameters_of_st_are_edsrs_and_those_along_time() -> None:
    for every in (1, 2):
        along = (3 * 32 * 32 + 32) * (8 // every)
        assert parameter_count(ST(every=every, scale=2)) == parameter_count(EDSR(scale=2)) + along
    network = ST(every=1, scale=2)
    frames = 1 + 2 * network.context
    assert multiply_adds(network, h=10, w=11) == frames * (multiply_adds(EDSR(scale=2), h=10, w=11) + 3 * 32 * 32 * 8 / 4)


def test_layers_along_time_start_as_the_identity_and_see_copies_of_the_ends() -> None:
    torch.manual_seed(0)
    network = ST(width=8, blocks=2, every=1, scale=3).double()
    clip = torch.rand(2, 1, 4, 7, 6, dtype=torch.float64)
    frames = EDSR(width=8, blocks=2, scale=3).double()
    own = network.state_dict()
    frames.load_state_dict({name: own[name].reshape(tensor.shape) for name, tensor in frames.state_dict().items()})
    torch.testing.assert_close(network(clip), on_clip(frames, "frame", clip))
    randomize(network)
    longer = torch.cat([clip[:, :, :1]] * 3 + [clip] + [clip[:, :, -1:]] * 3, dim=2)
    still = clip[:, :, :1].expand(-1, -1, 4, -1, -1)
    out = network(still)
    torch.testing.assert_close(out, out[:, :, :1].expand_as(out))
    assert network(longer).shape[2] == 10


def test_st_starts_as_the_trained_edsr(tmp_path: Path) -> None:
    """The same scores to the last digit but one, frame by frame network and clip by clip."""
    quick = [*TINY_CLIMATE, "recipe.patch=8", "recipe.steps=10"]
    size = ["model.width=6", "model.blocks=2"]
    trained = train_here(tmp_path / "edsr", [*quick, "model=edsr", *size])
    start = ["init=checkpoint", f"weights={tmp_path}/edsr/checkpoints/best.ckpt", "init.inflate=centre", "init.mismatch=fresh"]
    begun = train_here(tmp_path / "st", [*quick, "model=st", *size, *start, "epochs=0"])
    assert {row["tensor"]: row["status"] for row in begun["init"] if row["status"] != "loaded"} == {
        f"body.1.time.{kind}": "fresh" for kind in ("weight", "bias")
    }
    expected, found = ({row["split"]: row for row in run["rows"] if row["method"] in ("edsr", "st")} for run in (trained, begun))
    bicubic = next(row["psnr"] for row in trained["rows"] if row["method"] == "bicubic")
    for split, row in expected.items():
        assert found[split]["psnr"] == pytest.approx(row["psnr"], abs=1e-4)
        assert found[split]["mae"] == pytest.approx(row["mae"], rel=1e-5)
    assert abs(expected["test"]["psnr"] - bicubic) > 1e-3  # which is not only that both are bicubic


def test_a_network_behind_another_one_starts_as_the_identity() -> None:
    torch.manual_seed(0)
    clip = torch.rand(1, 1, 4, 9, 8)
    first = StandardizedResidual(Plain(scale=2))
    network = Combined(first=first, second=StandardizedResidual(ST(scale=1, width=4, blocks=2)), scale=2)
    torch.testing.assert_close(network(clip), on_clip(first, "frame", clip))
    for frame in (EDSR(scale=1, width=4, blocks=1), Plain(scale=1)):
        first = StandardizedResidual(ST(scale=2, width=4, blocks=2))
        network = Combined(first=first, second=StandardizedResidual(frame), scale=2)
        torch.testing.assert_close(network(clip), first(clip))
