"""Every network of conf/model/: sizes, geometry, parameters, folding."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from tests.fakes import at_scales, choices, compose_config, small
from vsr.degradations.resize import pad_symmetric, resize_bicubic_down, resize_bicubic_up
from vsr.errors import UserError
from vsr.geometry import Geometry
from vsr.models.base import Network
from vsr.models.cost import count_parameters
from vsr.models.fsrcnn import FSRCNN, FSRCNNOriginal
from vsr.models.linear import Linear
from vsr.models.residual import StandardizedResidual
from vsr.models.srcnn import SRCNN
from vsr.models.srnet3d import SRNet3D
from vsr.models.stacked import Stacked
from vsr.recipe import Recipe
from vsr.training.build_network import build_network

# With what of their structure can be chosen beside the files of conf/model/.
VARIANTS = ["fsrcnn model.kernel=LARGE", "srcnn model.kernels=[9,1,3,5]"]
MODELS = [*choices("model"), *VARIANTS]
SCALES = (2, 3, 4, 6, 8)


def build(model: str, scale: int, channels: int = 1) -> Network:
    """As the config says, without the residual around it."""
    torch.manual_seed(0)
    name, *more = model.replace("LARGE", str(scale + 6)).split()
    node = compose_config("train", [*small(name), *more]).model
    return build_network("model", node, Recipe(residual=False), scale=scale, channels=channels).double()


def clip_size(network: Network, h: int, w: int) -> tuple[int, ...]:
    """The shape behind the channels: frames have no time."""
    return (h, w) if network.kind == "frame" else (2 * network.context + 1, h, w)


def randomize(network: torch.nn.Module) -> None:
    """Weights with no structure, so that a symmetric mistake shows."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.sampled(18)
def test_output_size_is_the_declared_one(model: str, scale: int, channels: int) -> None:
    network = build(model, scale, channels)
    for h, w in ((9, 14), (16, 11)):
        size = clip_size(network, h, w)
        out = network(torch.rand(2, channels, *size, dtype=torch.float64))
        expected = network.geometry.output((1, h, w) if network.kind == "frame" else size)  # type: ignore[arg-type]
        assert tuple(out.shape) == (2, channels, *expected[3 - len(size) :])


@pytest.mark.parametrize(("model", "scale"), at_scales([m for m in MODELS if m not in ("nearest", "unet")]))  # unet: test_unet.py
@pytest.mark.sampled(8)
def test_each_output_pixel_looks_where_the_geometry_says(model: str, scale: int) -> None:
    """Summed over a block of scale x scale output pixels, the sensitivity to the LR pixels is centred on their LR pixel.

    The weights are made positive and mirror-symmetric in space and time, so that only a shift of the grid could move the centre.
    """
    network = build(model, scale)
    if network.kind == "movie":
        randomize(network)  # a second network starts at zero
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
            for axis in range(2, parameter.ndim):
                parameter.copy_(parameter + parameter.flip(axis))
        if isinstance(network, Stacked):  # whose frames are channels
            network.layers.head.weight.add_(network.layers.head.weight.flip(1))
        if isinstance(network, Linear):
            network.weight.copy_(network.weight.mean(0, keepdim=True).expand_as(network.weight))
        for module in network.modules():  # the pixels of a block alike, or the layers behind would tell them apart
            for layer, shuffle in zip([*module.children()][:-1], [*module.children()][1:], strict=True):
                if isinstance(shuffle, torch.nn.PixelShuffle):
                    for parameter in layer.parameters():
                        phases = parameter.unflatten(0, (-1, shuffle.upscale_factor**2))
                        parameter.copy_(phases.mean(1, keepdim=True).expand_as(phases).flatten(0, 1))
    # Alike everywhere: the slope of a smooth activation depends on what it is given.
    lr = torch.full((1, 1, *clip_size(network, 31, 31)), 0.5, dtype=torch.float64).requires_grad_()
    out = network(lr)
    lost, top, left = network.geometry.margin
    y, x = 15 * scale - top, 15 * scale - left
    frame = out[0, 0] if network.kind == "frame" else out[0, 0, network.context - lost]
    frame[y : y + scale, x : x + scale].sum().backward()
    weight = lr.grad[0, 0].abs()
    if network.kind == "movie":
        times = torch.arange(len(weight), dtype=torch.float64)
        assert (weight.sum((1, 2)) @ times / weight.sum()).item() == pytest.approx(network.context, abs=1e-6)
        weight = weight.sum(0)
    grid = torch.arange(31, dtype=torch.float64)
    # The authors' 9x9 deconvolution puts the middle of its kernel on the first pixel of a block, not on the block's middle:
    # their trained kernels are shifted to make up for it. Not so at x3, where their script takes the result from a pixel further.
    shifted = model in ("fsrcnn_s", "fsrcnn_56") and scale != 3
    centre, within = (15 + (scale - 1) / (2 * scale), 0.06) if shifted else (15, 1e-6)
    assert (weight.sum(1) @ grid / weight.sum()).item() == pytest.approx(centre, abs=within)
    assert (weight.sum(0) @ grid / weight.sum()).item() == pytest.approx(centre, abs=within)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.sampled(16)
def test_folded_is_the_same_function(model: str, scale: int) -> None:
    network = build(model, scale, channels=2)
    if network.kind == "movie":
        pytest.skip("in test_movie_networks.py")
    if model.split()[0] in ("srcnn", "fsrcnn", "fsrcnn_s", "fsrcnn_56"):
        randomize(network)
    wrapped = StandardizedResidual(network)
    wrapped.mean.fill_(0.4)
    wrapped.std.fill_(0.2)
    wrapped.rms.fill_(0.05)
    lr = torch.rand(2, 2, 7, 12, dtype=torch.float64)
    for candidate in (network, wrapped):
        expected = candidate(lr)
        torch.testing.assert_close(candidate.fold()(lr), expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())


@pytest.mark.parametrize("border", ["zero", "replicate"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_either_border_is_kept_when_folded(scale: int, border: Literal["zero", "replicate"]) -> None:
    """Down to a single pixel; behind another network at scale 1. A constant frame tells the borders apart."""
    torch.manual_seed(0)
    network = FSRCNNOriginal(d=6, s=3, m=2, border=border, scale=scale).double()
    for size in ((1, 1), (2, 3), (9, 7)):
        lr = torch.rand(2, 1, *size, dtype=torch.float64)
        torch.testing.assert_close(network.fold()(lr), network(lr))
    out = network(torch.full((1, 1, 12, 12), 0.5, dtype=torch.float64))
    blocks = out.unflatten(2, (12, scale)).unflatten(4, (12, scale))  # (1, 1, 12, s, 12, s): each LR pixel has the same ones
    assert torch.allclose(blocks, blocks[:, :, 6:7, :, 6:7]) == (border == "replicate")


def test_folded_in_single_precision() -> None:
    torch.manual_seed(1)
    for network in (
        FSRCNN(scale=2, output_act=True),
        FSRCNNOriginal(scale=2),
        FSRCNNOriginal(d=32, s=5, m=1, border="replicate", scale=3),
    ):
        lr = torch.rand(1, 1, 24, 24)
        expected = network(lr)
        assert (network.fold()(lr) - expected).abs().max() < 2e-6 * expected.abs().max()


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (SRCNN(act="relu", scale=2), 8129),  # 9-1-5: 57,184 weights of 9-5-5 are in the paper, biases on top
        (SRCNN(kernels=(9, 5, 5), act="relu", scale=2), 57281),
        (SRCNN(kernels=(9, 3, 5), act="relu", scale=2), 24513),
        (FSRCNNOriginal(scale=3), 12464 + 120 + 56 + 12 * 5 + 56 + 1 + 52),
        (FSRCNN(scale=2), 7009),
        (FSRCNN(scale=2, kernel=8), 7009 + 32 * 32 * (8 * 8 - 2 * 2)),
        (SRCNN(kernels=(9, 1, 1, 5), scale=2), 8225 + 32 * 32 + 32 + 32),
        (Linear(scale=2), 4 * 82),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else str(value),
)
def test_parameter_counts(network: Network, count: int) -> None:
    assert count_parameters(network) == count


def test_fsrcnn_weights_without_biases_and_slopes_are_the_papers_number() -> None:
    """Dong et al. 2016, table 2: 12,464 for FSRCNN(56, 12, 4) and 3,937 for FSRCNN-s, without biases, with slopes left out."""
    for (d, s, m), papers in (((56, 12, 4), 12464), ((32, 5, 1), 3937)):
        network = FSRCNNOriginal(d=d, s=s, m=m, scale=3)
        kernels = sum(p.numel() for p in network.parameters() if p.ndim == 4)
        slopes = sum(layer.num_parameters for layer in network.modules() if isinstance(layer, torch.nn.PReLU))
        assert kernels in (papers, papers - slopes)


def test_linear_filter_is_the_least_squares_solution() -> None:
    """Against numpy's lstsq on the same patches, built pixel by pixel."""
    rng = np.random.default_rng(0)
    hr = torch.from_numpy(rng.random((2, 1, 24, 18)))
    lr = resize_bicubic_down(hr, 3)
    network = Linear(size=3, scale=3).double()
    network.prepare([(lr, hr, None)])
    padded = np.pad(lr.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="symmetric")
    rows = [
        [*padded[n, 0, y : y + 3, x : x + 3].ravel(), 1.0]
        for n in range(2)
        for y in range(lr.shape[2])
        for x in range(lr.shape[3])
    ]
    for phase in range(9):
        target = hr[:, 0, phase // 3 :: 3, phase % 3 :: 3].reshape(-1).numpy()
        solution = np.linalg.lstsq(np.array(rows), target, rcond=None)[0]
        np.testing.assert_allclose(network.weight[phase, 0].reshape(-1).detach(), solution[:-1], atol=1e-6)
        np.testing.assert_allclose(network.bias[phase].detach(), solution[-1], atol=1e-6)


def test_linear_filter_recovers_a_linear_law_and_beats_bicubic() -> None:
    torch.manual_seed(0)
    hr = torch.randn(4, 2, 64, 64, dtype=torch.float64)
    for _ in range(3):
        hr = pad_symmetric(hr, 2).unfold(2, 5, 1).unfold(3, 5, 1).mean((-1, -2))
    lr = resize_bicubic_down(hr, 2)
    network = Linear(size=7, scale=2, channels=2).double()
    before = network(lr)
    torch.testing.assert_close(before, lr.repeat_interleave(2, 2).repeat_interleave(2, 3))  # nearest before prepare
    network.chunk = 1000  # several blocks of the normal equations
    network.prepare([(lr, hr, None)])
    ours = (network(lr) - hr).square().mean()
    assert ours < 0.5 * (resize_bicubic_up(lr, 2) - hr).square().mean()


@pytest.mark.parametrize(("taps", "size"), [(7, 9), (13, 13), (17, 17)])
def test_validation_chooses_the_size_of_the_linear_filter(taps: int, size: int) -> None:
    torch.manual_seed(0)
    law = Linear(size=taps, scale=2)
    torch.nn.init.normal_(law.weight, std=1 / taps)
    lr = torch.randn(12, 1, 30, 24)
    hr = law(lr) + 0.01 * torch.randn(12, 1, 60, 48)
    mask = torch.ones_like(hr)
    mask[:, :, :8] = 0
    network = Linear(scale=2)
    tried = network.prepare_best_size([(lr[:8], hr[:8], None)], [(lr[8:], torch.where(mask[8:] == 1, hr[8:], 5.0), mask[8:])])
    assert (network.size, network.reach) == (size, size // 2)
    assert list(tried) == [k for k in (9, 13, 17) if k <= size + 4]  # one more than the best is tried
    error = (network(lr[8:]) - hr[8:])[:, :, 8:].square().mean((1, 2, 3))
    assert tried[size] == pytest.approx(float(-10 * error.log10().mean()), abs=1e-3)
    again = Linear(scale=2)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(lr), network(lr))


def test_masked_pixels_do_not_enter_fits() -> None:
    torch.manual_seed(0)
    hr = torch.rand(6, 1, 16, 16, dtype=torch.float64)
    mask = torch.ones_like(hr)
    mask[:, :, :, 10:] = 0
    spoilt = hr.clone()
    spoilt[:, :, :, 10:] = 7.0
    lr = resize_bicubic_down(hr, 2)
    for network in (Linear(size=3, scale=2).double(), StandardizedResidual(FSRCNN(scale=2)).double()):
        network.prepare([(lr, hr, mask)])
        clean = {name: value.clone() for name, value in network.state_dict().items()}
        network.prepare([(lr, spoilt, mask)])
        for name, value in network.state_dict().items():
            torch.testing.assert_close(value, clean[name])
        network.prepare([(lr, spoilt, None)])
        assert any(not torch.allclose(value, clean[name]) for name, value in network.state_dict().items())


def test_standardized_residual_starts_at_bicubic_and_measures_its_units() -> None:
    torch.manual_seed(0)
    hr = torch.rand(40, 2, 16, 16, dtype=torch.float64) * 0.1 + 0.7
    lr = resize_bicubic_down(hr, 2)
    mask = torch.ones_like(hr[:, :1])
    mask[20:, :, 3:, 5:9] = 0
    wrapped = StandardizedResidual(FSRCNN(scale=2, channels=2)).double()
    wrapped.prepare([(lr[:7], hr[:7], None), (lr[7:], hr[7:], mask[7:])])
    assert wrapped.mean.item() == pytest.approx(lr.mean().item())
    assert wrapped.std.item() == pytest.approx(lr.std().item())
    squares = (hr - resize_bicubic_up(lr, 2)).square().mean(1)
    assert wrapped.rms.item() == pytest.approx(np.average(squares, weights=mask[:, 0]) ** 0.5)
    assert wrapped.error_unit is wrapped.rms
    added = wrapped.network((lr - lr.mean()) / lr.std()) * wrapped.rms
    torch.testing.assert_close(wrapped(lr), resize_bicubic_up(lr, 2) + added, rtol=0, atol=1e-6)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            parameter.zero_()
    torch.testing.assert_close(wrapped(lr), resize_bicubic_up(lr, 2))
    assert (wrapped.reach, StandardizedResidual(SRCNN(kernels=(1, 1, 1), scale=2)).reach) == (
        FSRCNN(scale=2, channels=2).reach,
        2,
    )
    assert StandardizedResidual(SRCNN(kernels=(1, 1, 1), scale=1)).reach == 0  # nothing is enlarged


def test_standardized_residual_of_a_movie_adds_the_middle_of_its_frames() -> None:
    wrapped = StandardizedResidual(SRNet3D(scale=2)).double()
    wrapped.geometry = Geometry((1, 2, 2), (2, 1, 3))
    assert (wrapped.mean, wrapped.std, wrapped.rms) == (0, 1, 1)  # until it is prepared
    lr = torch.rand(2, 1, 7, 8, 9, dtype=torch.float64)
    wrapped.network.forward = lambda lr: lr.new_zeros(2, 1, 3, 14, 12)  # type: ignore[method-assign]
    expected = torch.stack([resize_bicubic_up(clip.transpose(0, 1), 2).transpose(0, 1) for clip in lr])
    torch.testing.assert_close(wrapped(lr), expected[:, :, 2:-2, 1:-1, 3:-3])


@pytest.mark.parametrize(("said", "wrapped"), [(True, True), ("bicubic", True), (False, False), ("none", False)])
def test_true_and_false_of_old_configs_mean_what_they_did(said: bool | Literal["none", "bicubic"], wrapped: bool) -> None:
    network = build_network("model", compose_config("train", ["model=fsrcnn"]).model, Recipe(residual=said), scale=2, channels=1)
    assert isinstance(network, StandardizedResidual) is wrapped


def test_srcnn_replicates_its_border() -> None:
    """The authors pad by replication: a constant frame stays constant to its edge."""
    network = SRCNN(act="relu", scale=2).double()
    out = network(torch.full((1, 1, 8, 8), 0.5, dtype=torch.float64))
    torch.testing.assert_close(out, out[:, :, 8:9, 8:9].expand_as(out))


@pytest.mark.parametrize(("side", "scale"), [(1, 2), (5, 2), (8, 3), (2, 3)])
def test_deconvolutions_that_leave_holes_or_shift_are_refused(side: int, scale: int) -> None:
    with pytest.raises(UserError, match=rf"model.kernel={side}: .*type model.kernel={scale} or {scale + 2}, {scale + 4}"):
        FSRCNN(kernel=side, scale=scale)


def test_srcnn_has_three_layers_at_least() -> None:
    for kernels in ((9, 5), (9, 2, 5)):
        with pytest.raises(UserError, match=r"three or more odd sides; type model.kernels=\[9,1,5\]"):
            SRCNN(kernels=kernels, scale=2)


def test_even_filters_are_refused() -> None:
    with pytest.raises(UserError, match="model.size=8: must be odd"):
        Linear(size=8, scale=2)


@pytest.mark.parametrize(("model", "scale"), at_scales(MODELS))
@pytest.mark.sampled(8)
def test_no_output_pixel_sees_further_than_the_reach(model: str, scale: int) -> None:
    """And those at the edge of it are seen, or tiles would overlap by more than they need."""
    network = build(model, scale)
    randomize(network)
    size = 4 * network.reach + 3
    middle = size // 2
    lr = torch.rand(1, 1, *clip_size(network, size, size), dtype=torch.float64).requires_grad_()
    out = network(lr)
    _, top, left = network.geometry.margin
    y, x = middle * scale - top, middle * scale - left
    out.flatten(0, out.ndim - 3)[:, y : y + scale, x : x + scale].sin().sum().backward()
    seen = lr.grad.abs().flatten(0, lr.ndim - 3).amax(0)
    rows = (seen.amax(1) > 1e-12).nonzero().flatten() - middle
    columns = (seen.amax(0) > 1e-12).nonzero().flatten() - middle
    for found in (rows, columns):
        assert -network.reach <= found.min()
        assert found.max() <= network.reach
        assert max(-found.min(), found.max()) >= network.reach - 1
