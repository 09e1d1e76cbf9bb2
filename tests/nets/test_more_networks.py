"""Plain, EDSR, SPAN: sizes of the papers, and the convolutions that SPAN's layers are in the end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.fakes import TINY_CLIMATE, train_here
from tests.nets.test_networks import randomize
from vsr.errors import UserError
from vsr.nets.base import Network, parameter_count
from vsr.nets.cost import multiply_adds
from vsr.nets.edsr import EDSR
from vsr.nets.fsrcnn import FSRCNN, FSRCNNOriginal
from vsr.nets.plain import Plain
from vsr.nets.residual import StandardizedResidual
from vsr.nets.span import SPAB, SPAN, Conv3XC
from vsr.nets.srcnn import SRCNN
from vsr.nets.srnet3d import SRNet3DKim


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
    count = parameter_count(EDSR(width=64, blocks=16, scale=scale))
    assert count == edsr(64, 16, scale)
    assert round(count / 1e6, 2) == millions
    assert parameter_count(EDSR(scale=scale)) == edsr(32, 8, scale)


@pytest.mark.parametrize(("width", "scale", "channels", "millions"), [(28, 4, 3, 0.15), (48, 2, 1, 0.41), (48, 4, 1, 0.41)])
def test_parameters_of_span_once_its_layers_are_one_each(width: int, scale: int, channels: int, millions: float) -> None:
    network = SPAN(width=width, scale=scale, channels=channels)
    layers = [(channels, width), *[(width, width)] * (6 * 3 + 1), (width, channels * scale**2)]
    count = sum(convolution(*layer) for layer in layers) + convolution(4 * width, width, 1)
    assert parameter_count(network.fold()) == count
    assert round(count / 1e6, 2) == millions
    assert parameter_count(network) > 4 * count


@pytest.mark.parametrize(("network", "count"), [(Plain(scale=2), 7700), (Plain(width=24, depth=4, scale=2), 21940)])
def test_parameters_of_plain(network: Network, count: int) -> None:
    assert parameter_count(network) == count


def test_the_four_layers_of_a_conv3xc_are_the_one_that_is_computed() -> None:
    """The chain is padded before its first layer; padding before the 3x3 one is not the same at the border."""
    layer = Conv3XC(3, 5).double()
    randomize(layer)
    x = torch.rand(2, 3, 7, 6, dtype=torch.float64)
    chain = layer.narrow(layer.conv(layer.widen(F.pad(x, (1, 1, 1, 1))))) + layer.skip(x)
    torch.testing.assert_close(layer(x), chain, rtol=0, atol=1e-10)
    torch.testing.assert_close(layer.merged()(x), chain, rtol=0, atol=1e-10)
    late = layer.narrow(layer.conv(F.pad(layer.widen(x), (1, 1, 1, 1)))) + layer.skip(x)
    torch.testing.assert_close(late[..., 1:-1, 1:-1], chain[..., 1:-1, 1:-1], rtol=0, atol=1e-10)
    assert not torch.allclose(late, chain)
    parameters = list(layer.parameters())
    ours, theirs = (torch.autograd.grad(y.sin().sum(), parameters) for y in (layer(x), chain))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_a_folded_span_has_single_convolutions_and_follows_no_more_training() -> None:
    torch.manual_seed(0)
    network = SPAN(width=8, blocks=2, scale=2).double()
    lr = torch.rand(1, 1, 9, 9, dtype=torch.float64)
    before, folded = network(lr), network.fold()
    assert not any(isinstance(m, Conv3XC) for m in folded.modules())
    assert any(isinstance(m, Conv3XC) for m in network.modules())
    randomize(network)
    torch.testing.assert_close(folded(lr), before, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(network.fold()(lr), network(lr), rtol=1e-10, atol=1e-10)


def test_attention_of_a_span_block() -> None:
    """Layers that pass on what they get: h = silu(silu(x)), and the attention is odd in h."""
    block = SPAB(2)
    for layer in (block.c1, block.c2, block.c3):
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
        layer.skip.weight.data[:, :, 0, 0] = torch.eye(2)
    x = torch.randn(1, 2, 4, 5)
    out, first = block(x)
    h = F.silu(F.silu(x))
    torch.testing.assert_close(first, x)
    torch.testing.assert_close(out, (h + x) * torch.tanh(h / 2) / 2)


@pytest.mark.parametrize("network", [EDSR(scale=2), EDSR(width=16, blocks=32, scale=4), SPAN(scale=2), SPAN(width=48, scale=3)])
def test_deep_networks_start_near_bicubic_and_gradients_reach_their_first_layer(network: Network) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 1, 16, 16)
    out = network(x)
    assert 1e-4 < out.std().item() < 1  # in units of what bicubic misses
    out.sum().backward()
    sizes = [p.grad.abs().mean().item() for p in network.parameters() if p.ndim == 4]
    assert min(sizes) > 0
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (SRCNN(scale=2), 81 * 64 + 64 * 32 + 25 * 32),
        (FSRCNN(scale=2), (25 * 32 + 32 * 8 + 9 * 64 + 8 * 32 + 4 * 32 * 32) / 4 + 25 * 32),
        (FSRCNNOriginal(d=32, s=5, m=1, scale=2), 3937 / 4),  # the paper's number of weights: each is used once per LR pixel
        (Plain(scale=2), (9 * 16 + 3 * 9 * 256 + 9 * 64) / 4),
        (StandardizedResidual(Plain(scale=2)), (9 * 16 + 3 * 9 * 256 + 9 * 64) / 4),
        (
            SRNet3DKim(scale=2, width=8, windows=True),
            27 * (8 * 5 + 64 * 5 * 3 + 64 * 3 + 8 * 4) / 4,
        ),
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
    span = SPAN(width=48, scale=2)
    assert multiply_adds(span, h=16, w=16, folded=True) < multiply_adds(span, h=16, w=16)  # putting kernels together


def test_the_fast_tier_is_fast() -> None:
    assert multiply_adds(Plain(scale=2), h=16, w=16) < multiply_adds(FSRCNN(scale=2), h=16, w=16)


@pytest.mark.parametrize("make", [EDSR, SPAN])
def test_networks_without_layers_are_refused(make: type[EDSR] | type[SPAN]) -> None:
    with pytest.raises(UserError, match=r"model.blocks=0: must be 1 or more; type model.blocks=8"):
        make(blocks=0, scale=2)
    with pytest.raises(UserError, match=r"model.width=-1: must be 1 or more"):
        make(width=-1, scale=2)
    with pytest.raises(UserError, match=r"model.width=0, model.depth=3: must be 1 or more"):
        Plain(width=0, scale=2)


def test_edsr_of_x2_starts_those_of_other_scales(tmp_path: Path) -> None:
    """As in the paper: all but what enlarges. The first of the two steps of x4 is the same layer, and comes too."""
    quick = [*TINY_CLIMATE, "recipe.patch=2", "model=edsr", "model.width=4", "model.blocks=1", "epochs=0"]
    train_here(tmp_path / "x2", quick)
    start = ["init=checkpoint", f"weights={tmp_path}/x2/checkpoints/best.ckpt", "init.mismatch=fresh"]
    for scale, layer in ((3, "enlarge.0"), (4, "enlarge.2")):
        rows = train_here(tmp_path / f"x{scale}", [*quick, f"scale={scale}", *start])["init"]
        assert {row["tensor"] for row in rows if row["status"] != "loaded"} == {f"{layer}.weight", f"{layer}.bias"}
