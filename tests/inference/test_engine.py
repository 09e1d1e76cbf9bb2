"""The engine: tiles without seams, movies in blocks, borders, flips, gaps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vsr
from tests.fakes import at_scales, choices, compose_config, small
from vsr.data.frames import LrHrPair, MemoryFrames
from vsr.degradations.resize import resize_bicubic_up
from vsr.errors import UserError
from vsr.inference.engine import Engine, NonFiniteOutput
from vsr.inference.options import UpscaleOptions
from vsr.inference.tiles import split_into_tiles
from vsr.models.cascade import Cascade
from vsr.models.normalize import Normalizer
from vsr.recipe import Recipe
from vsr.training.build_network import build_network, build_super_resolver
from vsr.training.modules.base import SRModule
from vsr.training.modules.cascade import CascadeSR
from vsr.training.modules.frame import FrameSR
from vsr.training.modules.movie import MovieSR

MODELS = choices("model")


def module_of(model: str, scale: int = 2, channels: int = 1, **bounds: float) -> SRModule:
    """With weights drawn at random, larger than a trained network's, so that every pixel within reach matters."""
    torch.manual_seed(1)
    node = compose_config("train", small(model)).model
    recipe = Recipe()
    network = build_network("model", node, recipe, scale=scale, channels=channels)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    kind = CascadeSR if isinstance(network, Cascade) else {"frame": FrameSR, "movie": MovieSR}[network.kind]
    normalizer = Normalizer(bounds.get("low", -2.0), bounds.get("high", 3.0))
    return kind(network, normalizer=normalizer, recipe=recipe, window=(0, 8, 8))


def engine_of(module: SRModule, channels: int = 1, **options: Any) -> Engine:
    return Engine(module, UpscaleOptions(device="cpu", **options), channels=channels)


def movie(frames: int, height: int, width: int, channels: int = 1) -> torch.Tensor:
    return torch.randn(frames, channels, height, width, generator=torch.Generator().manual_seed(2))


def whole(engine: Engine, lr: torch.Tensor) -> torch.Tensor:
    return engine(lr[engine.window(0, len(lr), len(lr))])


def test_finite_values_become_finite_ones_or_an_error() -> None:
    lr = movie(5, 12, 16)
    lr[3, 0, 4:7, 5:8] = torch.finfo(torch.float32).max
    with pytest.raises(NonFiniteOutput, match=r"frame 3: the network makes infinite values or NaN of .* to 3.403e\+38"):
        whole(engine_of(module_of("fsrcnn")), lr)


@pytest.mark.parametrize(("model", "scale"), at_scales(MODELS))
@pytest.mark.sampled(7)
def test_tiles_show_no_seam(model: str, scale: int) -> None:
    module = module_of(model, scale, channels=2)
    lr = movie(2, 37, 53, channels=2)
    untiled = engine_of(module, tile=0, channels=2)
    expected = whole(untiled, lr)
    assert expected.shape == (2, 2, 37 * scale, 53 * scale)
    for tile in (24, 40):
        engine = engine_of(module, tile=tile, channels=2)
        tiles = list(split_into_tiles(37, 53, engine.reach, engine.tile_area, engine.border))
        assert (len(tiles) > 1) is (model != "unet")  # unet knows where a pixel lies in its frame, also inside its residual
        spread = expected.std().item()
        torch.testing.assert_close(whole(engine, lr), expected, rtol=0, atol=1e-4 * spread)


BORDERS = st.tuples(st.integers(0, 6), st.integers(0, 6))


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 20), st.integers(1, 20000), BORDERS)
@settings(max_examples=200, deadline=None)
def test_tiles_cover_a_frame_once_and_see_all_within_reach(
    h: int, w: int, reach: int, area: int, border: tuple[int, int]
) -> None:
    given_count = torch.zeros(h, w, dtype=torch.int)
    for tile in split_into_tiles(h, w, reach, area, border):
        given_count[slice(*tile.y), slice(*tile.x)] += 1
        for (a, b), (c, d), size, n in ((tile.y, tile.seen_y, h, border[0]), (tile.x, tile.seen_x, w, border[1])):
            assert c == max(0, a + n - reach)
            assert d == min(size + 2 * n, b + n + reach)
    assert (given_count == 1).all()


@pytest.mark.parametrize("model", ["fsrcnn", "srnet3d", "srnet3d_kim", "stacked", "two_stage", "movie_then_frame"])
@pytest.mark.sampled(3)
def test_a_movie_in_blocks_is_the_movie_as_a_whole_and_what_evaluation_sees(model: str) -> None:
    module, lr = module_of(model), movie(9, 24, 20)
    engine = engine_of(module)
    blocks = [engine(lr[engine.window(a, b, 9)]) for a, b in ((0, 1), (1, 4), (4, 9))]
    joined = torch.cat(blocks)
    rounding = 1e-4 * joined.std().item()
    torch.testing.assert_close(joined, whole(engine, lr), rtol=0, atol=rounding)
    hr = torch.zeros(9, 1, 48, 40)
    clip = MemoryFrames(LrHrPair(lr, hr, None), ((0, 9),)).clip(0, 9, module.network.context, "replicate")
    module.eval()
    with torch.no_grad():
        scored = module.normalizer.inverse(module.predict_clip(clip))[0].transpose(0, 1)
    _, y, x = module.network.geometry.margin
    # Inside of what the made-up border can reach: scoring gives networks no border at all.
    far = engine.scale * engine.reach if any(engine.border) else 0
    inner = (..., slice(far, 48 - far), slice(far, 40 - far))
    cut = (..., slice(far - y, scored.shape[-2] - far + y), slice(far - x, scored.shape[-1] - far + x))
    torch.testing.assert_close(joined[inner], scored[cut], rtol=0, atol=rounding)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.sampled(3)
def test_a_periodic_field_may_begin_anywhere(model: str) -> None:
    module, lr = module_of(model), movie(3, 20, 24)
    block = 4 if module.network.whole_frames else 1  # LR pixels that the network divides frames into
    for periodic, shift in (("xy", (5, -7)), ("x", (0, 9)), ("y", (-4, 0)), ("globe", (0, 7))):
        shift = (shift[0] * block, shift[1] * block)
        engine = engine_of(module, periodic=periodic)
        moved = whole(engine, lr.roll(shift, (-2, -1)))
        expected = whole(engine, lr).roll((2 * shift[0], 2 * shift[1]), (-2, -1))
        torch.testing.assert_close(moved, expected, rtol=0, atol=1e-4 * expected.std().item())
        by = 3 * block
        other = whole(engine, lr.roll((by, by), (-2, -1))).roll((-2 * by, -2 * by), (-2, -1))
        assert torch.allclose(other, whole(engine, lr), atol=1e-3 * expected.std().item()) == (
            periodic == "xy" or not engine.reach
        )


@pytest.mark.parametrize("ensemble", [False, True])
def test_a_globe_turns_with_its_vectors(ensemble: bool) -> None:
    module, lr = module_of("fsrcnn_s", channels=3), movie(2, 24, 16, channels=3)
    module.card["data"] = {"vectors": [[2, 0]], "north_up": True}
    engine = engine_of(module, channels=3, periodic="globe", ensemble=ensemble)
    found = whole(engine, lr)
    # The rows around the north pole lie in the middle of a frame that shows both of its sides.
    across = torch.cat([turned(lr, (0, 2)).flip(-2), lr], -2)
    beyond = whole(engine_of(module, channels=3, periodic="x", ensemble=ensemble), across)
    far = 2 * engine.reach
    torch.testing.assert_close(found[..., : 48 - far, :], beyond[..., 48 : 96 - far, :], rtol=0, atol=1e-5)
    mirrored = whole(engine_of(module, channels=3, periodic="x", ensemble=ensemble), lr)
    assert (found - mirrored)[..., :2, :].abs().max() > 0.1 > 1e-5 > (found - mirrored)[..., far : 48 - far, :].abs().max()


def turned(frames: torch.Tensor, vectors: tuple[int, ...]) -> torch.Tensor:
    """The frames at the opposite longitudes, with vectors that point the other way."""
    other = frames.roll(frames.shape[-1] // 2, -1).clone()
    other[:, vectors] *= -1
    return other


@torch.no_grad()
def test_the_filter_of_an_upscaler_turns_vectors_as_its_network_does(tmp_path: Path) -> None:
    facts = {"name": "wind", "channels": 2, "bounds": [[-2.0, 3.0], [-4.0, 3.0]], "variables": ["u", "v"], "vectors": [[0, 1]]}
    plain = build_super_resolver(compose_config("train", ["model=linear"]), facts)
    assert plain.reference is not None
    for one in (plain.network, plain.reference):
        for name, values in one.state_dict().items():
            values.copy_(torch.randn(values.shape, generator=torch.Generator().manual_seed(len(name))))
    torch.save({"state_dict": plain.state_dict(), "vsr": plain.card}, tmp_path / "a.ckpt")
    upscaler = vsr.load(tmp_path / "a.ckpt", device="cpu", periodic="globe", ensemble=True)
    lr = movie(2, 24, 16, channels=2)
    torch.testing.assert_close(upscaler.linear(lr), upscaler.engine(lr), rtol=0, atol=1e-5)


def test_the_ensemble_is_the_mean_over_eight_views() -> None:
    module, lr = module_of("fsrcnn"), movie(2, 12, 17)
    plain = engine_of(module)
    found = whole(engine_of(module, ensemble=True), lr)
    views = []
    for axes in ((), (-1,), (-2,), (-2, -1)):
        views.append(whole(plain, lr.flip(axes)).flip(axes))
        views.append(whole(plain, lr.transpose(-2, -1).flip(axes)).flip(axes).transpose(-2, -1))
    expected = torch.stack(views).mean(0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    # It belongs to no direction: a flipped movie gives the flipped result.
    flipped = whole(engine_of(module, ensemble=True), lr.flip(-1))
    torch.testing.assert_close(flipped.flip(-1), found, rtol=1e-4, atol=1e-4)


def test_gaps_stay_gaps_and_do_not_spread() -> None:
    engine = engine_of(module_of("bicubic"))
    lr = movie(2, 10, 12)
    lr[:, :, 2:5, 3:6] = math.nan
    out = whole(engine, lr)
    expected = torch.zeros(20, 24, dtype=torch.bool)
    expected[4:10, 6:12] = True
    assert torch.equal(out[0, 0].isnan(), expected)
    assert torch.equal(out[1, 0].isnan(), expected)


def test_baselines_are_themselves_in_physical_units() -> None:
    lr = movie(2, 9, 11)
    found = whole(engine_of(module_of("bicubic", scale=3)), lr)
    torch.testing.assert_close(found, resize_bicubic_up(lr, 3), rtol=1e-5, atol=1e-5)


def test_less_memory_means_smaller_tiles_and_blocks() -> None:
    module = module_of("srnet3d_kim")
    small, large = (engine_of(module, memory=m) for m in (8, 512))
    assert small.tile_area * 32 < large.tile_area < small.tile_area * 128
    assert large.block(16, 16) > small.block(16, 16) >= 1
    frame = module_of("fsrcnn_56")
    small, large, larger = (engine_of(frame, memory=m) for m in (1, 512, 4096))
    assert small.tile_area < large.tile_area == larger.tile_area  # on a CPU what stays in its cache is faster


def test_reduced_precision_says_what_it_costs() -> None:
    module, lr = module_of("srcnn"), movie(1, 20, 20)
    engine = engine_of(module, precision="bf16")
    cost = engine.rounding_error(lr)
    exact = whole(engine_of(module), lr)
    difference = whole(engine, lr) - exact
    assert cost["rms"] == pytest.approx(difference.square().mean().sqrt().item(), rel=1e-4)
    assert cost["max"] == pytest.approx(difference.abs().max().item(), rel=1e-4)
    assert cost["psnr"] == pytest.approx(20 * math.log10(5 / cost["rms"]), abs=1e-6)
    assert cost["rms"] > 0
    assert engine_of(module).rounding_error(lr)["rms"] == 0


def test_options_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(UserError, match="ensemble=true"):
        Engine(module_of("fsrcnn"), UpscaleOptions(ensemble=True), channels=1, centred=False)
    with pytest.raises(UserError, match="precision=bf16"):
        engine_of(module_of("fsrcnn"), precision="fp16")
