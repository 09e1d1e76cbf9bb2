"""Plain and EDSR: sizes of the papers, work, and how they start."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from tests.fakes import TINY_CLIMATE, choices, compose_config, train_here
from vsr.errors import UserError
from vsr.models.base import Network
from vsr.models.cost import count_parameters, multiply_adds
from vsr.models.edsr import EDSR
from vsr.models.fsrcnn import FSRCNN, FSRCNNOriginal
from vsr.models.plain import Plain
from vsr.models.residual import StandardizedResidual
from vsr.models.srcnn import SRCNN
from vsr.models.srnet3d import SRNet3DKim
from vsr.training.build_network import build_from_node, build_network

MODELS = choices("model")


def convolution(inputs: int, outputs: int, k: int = 3) -> int:
    """Its parameters."""
    return inputs * outputs * k * k + outputs


def edsr(width: int, blocks: int, scale: int) -> int:
    """Counted from the paper's figure 3: head, two layers per block, the layer before the skip, enlarging, the last one."""
    enlarging = {2: [4], 3: [9], 4: [4, 4]}[scale]
    same = convolution(width, width) * (2 * blocks + 1)
    return convolution(1, width) + same + sum(convolution(width, width * n) for n in enlarging) + convolution(width, 1)


@pytest.mark.parametrize(("scale", "millions"), [(2, 1.37), (3, 1.55), (4, 1.52)])
def test_parameters_of_edsr_baseline(scale: int, millions: float) -> None:
    count = count_parameters(EDSR(width=64, blocks=16, scale=scale))
    assert count == edsr(64, 16, scale)
    assert round(count / 1e6, 2) == millions
    assert count_parameters(EDSR(scale=scale)) == edsr(32, 8, scale)


@pytest.mark.parametrize(("network", "count"), [(Plain(scale=2), 7700), (Plain(width=24, depth=4, scale=2), 21940)])
def test_parameters_of_plain(network: Network, count: int) -> None:
    assert count_parameters(network) == count


@pytest.mark.parametrize("sizes", [{"scale": 2}, {"width": 16, "blocks": 32, "scale": 4}])
def test_deep_networks_start_near_bicubic_and_gradients_reach_their_first_layer(sizes: dict[str, int]) -> None:
    torch.manual_seed(0)  # of the weights, too
    network = EDSR(**sizes)
    x = torch.randn(4, 1, 16, 16)
    out = network(x)
    assert 1e-4 < out.std().item() < 1  # in units of what bicubic misses
    out.sum().backward()
    gradients = [p.grad.abs().mean().item() for p in network.parameters() if p.ndim == 4]
    assert min(gradients) > 0
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (SRCNN(scale=2), 81 * 64 + 64 * 32 + 25 * 32),
        (FSRCNN(scale=2), (25 * 32 + 32 * 8 + 9 * 64 + 8 * 32 + 4 * 32 * 32) / 4 + 25 * 32),
        (FSRCNNOriginal(d=32, s=5, m=1, scale=2), 3937 / 4),  # the paper's number of weights: each is used once per LR pixel
        (Plain(scale=2), (9 * 16 + 3 * 9 * 256 + 9 * 64) / 4),
        (StandardizedResidual(Plain(scale=2)), (9 * 16 + 3 * 9 * 256 + 9 * 64) / 4),
        (SRNet3DKim(scale=2, width=8, windows=True), 27 * (8 * 5 + 64 * 5 * 3 + 64 * 3 + 8 * 4) / 4),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_multiply_adds_are_those_counted_by_hand(network: Network, count: float) -> None:
    assert multiply_adds(network, h=12, w=17) == count


def test_multiply_adds_of_frames_of_256_pixels() -> None:
    """Millions, as published for these networks; all at LR is more work for FSRCNN, in a faster form."""
    for network, folded, millions in (
        (FSRCNN(scale=2), False, 150),
        (FSRCNN(scale=2), True, 174),
        (Plain(scale=2), False, 125),
        (SRCNN(scale=2), False, 526),
    ):
        assert round(multiply_adds(network, h=128, w=128, folded=folded) * 256**2 / 1e6) == millions


def test_the_fast_tier_is_fast() -> None:
    assert multiply_adds(Plain(scale=2), h=16, w=16) < multiply_adds(FSRCNN(scale=2), h=16, w=16)


def test_networks_without_layers_are_refused() -> None:
    with pytest.raises(UserError, match=r"model.blocks=0: must be 1 or more; type model.blocks=8"):
        EDSR(blocks=0, scale=2)
    with pytest.raises(UserError, match=r"model.width=-1: must be 1 or more"):
        EDSR(width=-1, scale=2)
    with pytest.raises(UserError, match=r"model.width=0: must be 1 or more; type model.width=16"):
        Plain(width=0, scale=2)


def test_edsr_of_x2_starts_those_of_other_scales(tmp_path: Path) -> None:
    """As in the paper: all but what enlarges. The first of the two steps of x4 is the same layer, and comes too."""
    quick = [*TINY_CLIMATE, "recipe.patch=2", "model=edsr", "model.width=4", "model.blocks=1", "epochs=0"]
    train_here(tmp_path / "x2", quick)
    start = ["init=checkpoint", f"weights={tmp_path}/x2/checkpoints/best.ckpt", "init.mismatch=fresh"]
    for scale, layer in ((3, "enlarge.0"), (4, "enlarge.2")):
        rows = train_here(tmp_path / f"x{scale}", [*quick, f"scale={scale}", *start])["init"]
        assert {row["tensor"] for row in rows if row["status"] != "loaded"} == {f"{layer}.weight", f"{layer}.bias"}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.sampled(6)
def test_sizes_that_make_no_network_are_refused_by_their_name(model: str) -> None:
    cfg = compose_config("train", [f"model={model}"])
    for name in [name for name, value in cfg.model.items() if isinstance(value, int) and not isinstance(value, bool)]:
        for value in (-1, 0):
            node = OmegaConf.merge(cfg.model, {name: value})
            if (model, name, value) in {("fsrcnn_s", "m", 0), ("fsrcnn_56", "m", 0)}:  # no mapping layer
                continue
            with pytest.raises(UserError, match=rf"^model.{name}={value}: must be"):
                build_network("model", node, build_from_node("recipe", cfg.recipe), scale=2, channels=1)
