"""Networks that give all frames of a clip: along time (ST) and recurrent ones."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

from tests.fakes import TINY_CLIMATE, train_here
from tests.nets.test_networks import randomize
from vsr.errors import UserError
from vsr.export.forms import all_in_turn
from vsr.inference.engine import Engine, Options
from vsr.modules.movie import MovieSR
from vsr.nets.base import Network, on_clip, parameter_count
from vsr.nets.basicvsr import BasicVSR, Flow, warp
from vsr.nets.combined import Combined
from vsr.nets.cost import multiply_adds
from vsr.nets.edsr import EDSR
from vsr.nets.plain import Plain
from vsr.nets.recurrent import in_turn
from vsr.nets.residual import StandardizedResidual
from vsr.nets.st import ST
from vsr.normalize import Normalizer
from vsr.recipe import Recipe


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


# --- recurrent ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("blocks", "millions"), [(10, 1.9), (30, 4.85)])
def test_parameters_of_basicvsr_without_flow(blocks: int, millions: float) -> None:
    """The paper's size, in colour at x4, but for the layer at HR that the paper has more of."""
    count = parameter_count(BasicVSR(width=64, blocks=blocks, scale=4, channels=3))
    trunks = 2 * (9 * 67 * 64 + 64 + 2 * blocks * (9 * 64 * 64 + 64))
    assert count == trunks + 128 * 64 + 64 + 2 * (9 * 64 * 256 + 256) + 9 * 64 * 3 + 3
    assert abs(count / 1e6 - millions) < 0.06


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("warmup", [0, 1, 3])
def test_every_frame_has_its_own_recursion_of_so_many_frames(frames: int, warmup: int) -> None:
    """Against a loop over frames, one recursion each, and against the form for exporting."""

    def step(frame: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.sin(frame + 0.5 * state[:, :1] + 1), state[:, :1] * frame - state[:, 1:]], dim=1)

    clip = torch.rand(2, 1, frames, 3, 4, dtype=torch.float64)
    expected = []
    for at in range(frames):
        state = torch.zeros(2, 2, 3, 4, dtype=torch.float64)
        for earlier in range(max(0, at - warmup), at + 1):
            state = step(clip[:, :, earlier], state)
        expected.append(state)
    for form in (in_turn, all_in_turn):
        torch.testing.assert_close(form(step, clip, 2, warmup), torch.stack(expected, dim=2))


@pytest.mark.parametrize("warmup", [0, 2])
def test_recurrent_networks_see_what_they_say_along_time(warmup: int) -> None:
    torch.manual_seed(0)
    for network, later in (
        (BasicVSR(width=4, blocks=1, warmup=warmup, scale=2), warmup),
        (BasicVSR(width=4, blocks=1, warmup=warmup, flow="learned", scale=2), warmup),
    ):
        randomize(network.double())
        at = network.context + 1
        assert used_frames(network, 2 * at + 1, at) == list(range(1, at + later + 1))


def test_a_clip_no_longer_than_the_memory_is_one_recursion() -> None:
    """What training costs: a step per frame, not one per frame and frame before."""
    network = BasicVSR(width=8, blocks=1, warmup=4, scale=2)
    calls: list[int] = []
    network.forwards.head.register_forward_hook(lambda *arguments: calls.append(len(arguments[1][0])))
    network(torch.rand(3, 1, 5, 6, 6))
    assert calls == [3] * 5
    calls.clear()
    network(torch.rand(3, 1, 7, 6, 6))
    assert calls == [3 * 3] * 5


def test_recurrent_networks_refuse_what_they_cannot_do() -> None:
    with pytest.raises(UserError, match=r"model.warmup=-1: must be 0 or more; type model.warmup=4"):
        BasicVSR(warmup=-1, scale=2)
    with pytest.raises(UserError, match=r"model.max_flow=0: must be 1 or more"):
        BasicVSR(max_flow=0, scale=2)


# --- flow --------------------------------------------------------------------------------------------------------------------


def test_warping_takes_values_from_where_the_flow_points() -> None:
    x = torch.rand(1, 2, 6, 9, dtype=torch.float64)
    flow = torch.zeros(1, 2, 6, 9, dtype=torch.float64)
    torch.testing.assert_close(warp(x, flow), x)
    flow[:, 0], flow[:, 1] = 2, -1  # two to the right, one up
    torch.testing.assert_close(warp(x, flow)[..., 1:, :-2], x[..., :-1, 2:])
    torch.testing.assert_close(warp(x, flow)[..., 0, -1], x[..., 0, -1])  # the border goes on
    flow[:, 0], flow[:, 1] = 0.25, 0
    torch.testing.assert_close(warp(x, flow)[..., :-1], 0.75 * x[..., :-1] + 0.25 * x[..., 1:])
    torch.testing.assert_close(warp(x[..., :1, :1], flow[..., :1, :1]), x[..., :1, :1])
    far = torch.rand(1, 1, 2, 1000)
    torch.testing.assert_close(warp(far.bfloat16(), torch.zeros(1, 2, 2, 1000).bfloat16()), far.bfloat16())


def test_a_learned_flow_starts_still_and_learns_from_the_error() -> None:
    torch.manual_seed(0)
    network = BasicVSR(width=6, blocks=1, flow="learned", scale=2)
    still = BasicVSR(width=6, blocks=1, scale=2)
    still.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("flow.")})
    clip = torch.rand(2, 1, 5, 12, 12)
    torch.testing.assert_close(network(clip), still(clip), rtol=1e-4, atol=1e-5)
    network(clip).square().mean().backward()
    assert all(level[-1].weight.grad.abs().max() > 0 for level in network.flow.levels)


def test_a_flow_finds_a_shift() -> None:
    """Trained on what it is for: smooth frames, moved by up to two pixels. It must do better than standing still by far."""
    torch.manual_seed(0)
    flow = Flow(1, limit=4)
    flow.start_still_()
    optimizer = torch.optim.Adam(flow.parameters(), lr=3e-3)

    def pair(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        noise = nn.functional.avg_pool2d(torch.randn(n, 1, 30, 30), 5, 1) * 5
        x, y = torch.randint(-2, 3, (2,)).tolist()
        return noise[..., 4:20, 4:20], noise[..., 4 + y : 20 + y, 4 + x : 20 + x]

    for _ in range(120):
        now, then = pair(8)
        optimizer.zero_grad()
        (warp(then, flow(now, then)) - now)[..., 3:-3, 3:-3].square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        pairs = [pair(8) for _ in range(20)]
        errors = [(warp(then, flow(now, then)) - now)[..., 3:-3, 3:-3].square().mean() for now, then in pairs]
        still = [(then - now)[..., 3:-3, 3:-3].square().mean() for now, then in pairs]
    assert sum(errors) < 0.5 * sum(still)


@pytest.mark.parametrize("scale", [2, 3])
def test_tiles_of_a_network_with_flow_show_no_seam_and_no_pixel_sees_further_than_the_reach(scale: int) -> None:
    torch.manual_seed(0)
    network = BasicVSR(width=4, blocks=1, warmup=1, flow="learned", max_flow=2, scale=scale)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    movie = torch.rand(3, 1, 37, 83)
    module = MovieSR(network, normalizer=Normalizer(0.0, 1.0), recipe=Recipe(), window=(0, 8, 8))
    whole, tiled = (Engine(module, Options(tile=tile), channels=1) for tile in (0, 48))
    assert network.reach < 41  # or no tile would be smaller than the frame
    expected = whole(movie)
    torch.testing.assert_close(tiled(movie), expected, rtol=0, atol=1e-4 * expected.std().item())
    size = 2 * network.reach + 7
    clip = torch.rand(1, 1, 3, size, size).requires_grad_()
    at = (size // 2) * scale
    network(clip)[:, :, 1, at : at + scale, at : at + scale].sum().backward()
    seen = clip.grad.abs().amax((0, 1, 2))
    rows = (seen.amax(1) > 0).nonzero().flatten() - size // 2
    assert -network.reach <= rows.min()
    assert network.reach >= rows.max() >= network.reach - network.flow.limit - 4


@pytest.mark.parametrize("flow", ["none", "learned"])
def test_a_network_behind_another_one_starts_as_the_identity(flow: Literal["none", "learned"]) -> None:
    torch.manual_seed(0)
    clip = torch.rand(1, 1, 4, 9, 8)
    for movie in (
        ST(scale=1, width=4, blocks=2),
        BasicVSR(scale=1, width=4, blocks=1, flow=flow),
    ):
        first = StandardizedResidual(Plain(scale=2))
        network = Combined(first=first, second=StandardizedResidual(movie), scale=2)
        torch.testing.assert_close(network(clip), on_clip(first, "frame", clip))
    for frame in (EDSR(scale=1, width=4, blocks=1), Plain(scale=1)):
        first = StandardizedResidual(ST(scale=2, width=4, blocks=2))
        network = Combined(first=first, second=StandardizedResidual(frame), scale=2)
        torch.testing.assert_close(network(clip), first(clip))
