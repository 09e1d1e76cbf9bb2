"""Networks over several frames: windows, packing, identities, and how often a frame is looked at."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.models.test_networks import build
from vsr.degradations.resize import resize_bicubic_down, resize_bicubic_up, resize_clips_bicubic_up
from vsr.errors import UserError
from vsr.models.base import Network, apply_network_to_clip
from vsr.models.cascade import Cascade, Repacked
from vsr.models.cost import count_parameters
from vsr.models.fsrcnn import FSRCNN
from vsr.models.interpolation import Interpolation
from vsr.models.residual import StandardizedResidual
from vsr.models.srcnn import SRCNN
from vsr.models.srnet3d import SRNet3D, SRNet3DKim, srnet3d_windows

KIM = {2: 451_332, 3: 459_977, 4: 472_080}  # computed from the authors' layer list, biases included


def combined(trains: str = "both", first: Network | None = None, second: Network | None = None, **more: float) -> Cascade:
    torch.manual_seed(0)
    first = first or StandardizedResidual(FSRCNN(scale=2))
    second = second or StandardizedResidual(SRNet3D(scale=1))
    return Cascade(first=first, second=second, trains=trains, scale=2, **more).double()  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_parameters_of_kims_network(scale: int) -> None:
    assert count_parameters(SRNet3DKim(scale=scale)) == KIM[scale]


def test_layers_of_the_reports_network() -> None:
    """Section 3 of the report: filters, and how sizes fall from layer to layer."""
    network = SRNet3D(scale=1, output_act=True, slope=0.0)
    x = torch.rand(1, 1, 5, 20, 22)
    shapes = []
    for layer in network.body:
        x = layer(x)
        if isinstance(layer, nn.Conv3d):
            shapes.append(tuple(x.shape[1:]))
    full = (20, 22)
    assert shapes == [(32, 5, *full), *[(8, 5, *full)] * 3, (32, 5, *full), (32, 3, 18, 20), (32, 1, 16, 18), (1, 1, 16, 18)]
    slopes = [p for m in network.modules() if isinstance(m, nn.PReLU) for p in m.parameters()]
    assert len(slopes) == 8
    assert all((p == 0).all() for p in slopes)


@pytest.mark.parametrize("make", [SRNet3D, SRNet3DKim])
def test_windows_are_independent_five_frame_clips(make: type[SRNet3D] | type[SRNet3DKim]) -> None:
    torch.manual_seed(0)
    network = make(scale=2, windows=True).double()
    clip = torch.rand(2, 1, 8, 9, 7, dtype=torch.float64)
    together = network(clip)
    single = torch.cat([network(clip[:, :, t : t + 5]) for t in range(4)], dim=2)
    torch.testing.assert_close(together, single)
    whole = make(scale=2).double()
    whole.load_state_dict(network.state_dict())
    torch.testing.assert_close(whole(clip[:, :, :5]), single[:, :, :1])  # one window: no difference
    assert not torch.allclose(whole(clip), together)
    with torch.no_grad():  # evaluated in pieces
        torch.testing.assert_close(srnet3d_windows(network.body, clip).shape[2], 4)


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("make", [SRNet3D, SRNet3DKim])
def test_a_frame_depends_on_its_context_and_on_nothing_else(make: type[SRNet3D], windows: bool) -> None:
    torch.manual_seed(0)
    network = make(scale=2, windows=windows).double()
    reach = network.context
    clip = torch.rand(1, 1, 2 * reach + 5, 6, 6, dtype=torch.float64).requires_grad_()
    middle = clip.shape[2] // 2
    network(clip)[:, :, middle - 2].sum().backward()
    used = clip.grad.abs().amax((0, 1, 3, 4)) > 0
    assert used.nonzero().flatten().tolist() == list(range(middle - reach, middle + reach + 1))


def test_kim_adds_to_the_middle_frame_or_leaves_that_to_the_wrapper() -> None:
    network = SRNet3DKim(scale=2).double()
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    clip = torch.rand(2, 1, 7, 8, 8, dtype=torch.float64)
    expected = resize_clips_bicubic_up(clip[:, :, 2:5], 2)
    torch.testing.assert_close(network(clip), expected)
    torch.testing.assert_close(StandardizedResidual(network).double()(clip), expected)  # once, not twice
    assert not network.residual


def test_a_combined_network_starts_as_its_first_network() -> None:
    network = combined()
    clip = torch.rand(2, 1, 7, 8, 10, dtype=torch.float64)
    interim, sr = network.stages(clip)
    assert tuple(interim.shape) == (2, 1, 7, 16, 20)
    torch.testing.assert_close(sr, interim[:, :, 2:-2, 2:-2, 2:-2])
    torch.testing.assert_close(Repacked(network)(clip), sr)  # packing loses nothing and moves nothing


def test_packing_shows_the_frames_of_the_first_network() -> None:
    """Against a loop over windows, with frames that tell their number."""
    first = Interpolation(method="nearest", scale=2)
    network = Cascade(first=first, second=SRNet3D(scale=1), scale=2)
    clip = torch.arange(9.0).reshape(1, 1, 9, 1, 1).expand(1, 1, 9, 4, 4)
    middle = [first(clip[:, :, t : t + 5].flatten(0, 2).unsqueeze(1))[2] for t in range(5)]
    expected = torch.stack(middle, dim=1).unsqueeze(0)[..., 2:-2, 2:-2]
    torch.testing.assert_close(Repacked(network)(clip), expected)


class Counting(Interpolation):
    """Remembers how many frames it saw."""

    def __init__(self) -> None:
        super().__init__(method="nearest", scale=2)
        self.calls: list[int] = []

    def forward(self, lr: Tensor) -> Tensor:
        self.calls.append(len(lr))
        return super().forward(lr)


@pytest.mark.parametrize("windows", [False, True])
def test_each_frame_goes_through_the_frame_network_once_per_clip(windows: bool) -> None:
    first = Counting()
    network = Cascade(first=first, second=SRNet3D(scale=1, windows=windows), scale=2)
    out = network(torch.rand(3, 1, 11, 8, 8))
    assert out.shape[2] == 7  # windows
    assert first.calls == [3 * 11]  # not 3 * 7 * 5


def test_the_first_network_is_fixed_when_only_the_second_trains() -> None:
    for trains, free in (("second", False), ("both", True)):
        network = combined(trains)
        assert all(p.requires_grad == free for p in network.first.parameters())
        network(torch.rand(1, 1, 5, 8, 8, dtype=torch.float64)).sum().backward()
        assert (network.first.network.features[0].weight.grad is not None) == free


def test_gradients_reach_the_first_network_through_the_packing() -> None:
    network = combined("both")
    nn.init.normal_(network.second.network.body[-2].weight)
    clip = torch.rand(1, 1, 6, 8, 8, dtype=torch.float64)
    network(clip).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_two_networks_of_one_kind_are_refused() -> None:
    with pytest.raises(UserError, match=r"model.first and model.second are both frame networks"):
        combined(second=SRCNN(scale=1))


@pytest.mark.parametrize("order", ["frames first", "movie first"])
def test_the_second_networks_units_are_those_of_what_the_first_leaves(order: str) -> None:
    torch.manual_seed(0)
    hr = torch.rand(12, 1, 16, 16, dtype=torch.float64)
    lr = resize_bicubic_down(hr, 2)
    first: Network = StandardizedResidual(FSRCNN(scale=2)) if order == "frames first" else StandardizedResidual(SRNet3D(scale=2))
    second: Network = StandardizedResidual(SRNet3D(scale=1) if order == "frames first" else SRCNN(scale=1))
    network = combined(first=first, second=second)
    network.prepare([(lr, hr, None)])
    assert first.rms.item() == pytest.approx((hr - resize_bicubic_up(lr, 2)).square().mean().sqrt().item())
    ends = [lr[:1]] * first.context, [lr[-1:]] * first.context
    clip = torch.cat([*ends[0], lr, *ends[1]]).transpose(0, 1).unsqueeze(0)
    interim = apply_network_to_clip(first, first.kind, clip)
    spare = (interim.shape[2] - 12) // 2
    interim = interim[0, 0, spare : spare + 12]
    _, y, x = first.geometry.margin
    expected = (hr[:, 0, y : 16 - y, x : 16 - x] - interim).square().mean().sqrt()
    assert second.rms.item() == pytest.approx(expected.item())
    assert second.mean.item() == pytest.approx(interim.mean().item())


@pytest.mark.parametrize("model", ["two_stage", "joint", "movie_then_frame", "srnet3d", "srnet3d_kim"])
def test_folded_movie_networks_are_the_same_function(model: str) -> None:
    network = build(model, 2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    clip = torch.rand(1, 1, 9, 7, 8, dtype=torch.float64)
    expected = network(clip)
    torch.testing.assert_close(network.fold()(clip), expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())
