"""Residual blocks at LR, on single frames and on neighbouring frames as channels."""

from __future__ import annotations

import pytest
import torch

from tests.models.test_networks import randomize
from vsr.errors import UserError
from vsr.models.base import Network, apply_network_to_clip
from vsr.models.cascade import Cascade
from vsr.models.cost import count_parameters, multiply_adds
from vsr.models.edsr import EDSR
from vsr.models.plain import Plain
from vsr.models.residual import StandardizedResidual
from vsr.models.resnet import ResNet
from vsr.models.stacked import Stacked


def used_frames(network: Network, frames: int, at: int) -> list[int]:
    """Which frames of a clip an output frame depends on."""
    clip = torch.rand(1, 1, frames, 6, 6, dtype=torch.float64).requires_grad_()
    network(clip)[:, :, at].sin().sum().backward()
    return (clip.grad.abs().amax((0, 1, 3, 4)) > 0).nonzero().flatten().tolist()


@pytest.mark.parametrize("frames", [1, 3, 5])
def test_a_frame_is_made_of_as_many_frames_as_are_stacked(frames: int) -> None:
    torch.manual_seed(0)
    network = Stacked(frames=frames, width=4, blocks=1, scale=2).double()
    randomize(network)
    assert network.context == network.geometry.margin[0] == frames // 2
    assert used_frames(network, frames + 4, 2) == list(range(2, 2 + frames))


def test_each_output_frame_is_that_of_its_own_window_with_channels_side_by_side() -> None:
    torch.manual_seed(0)
    network = Stacked(frames=3, width=4, blocks=2, scale=3, channels=2).double()
    randomize(network)
    clip = torch.rand(2, 2, 6, 5, 7, dtype=torch.float64)
    out = network(clip)
    assert out.shape == (2, 2, 4, 15, 21)
    for at in range(4):
        torch.testing.assert_close(network(clip[:, :, at : at + 3]), out[:, :, at : at + 1])
        stacked = torch.stack([clip[:, c, at + t] for c in range(2) for t in range(3)], dim=1)
        torch.testing.assert_close(network.layers(stacked), out[:, :, at])


@pytest.mark.parametrize(("frames", "width", "blocks", "scale", "channels"), [(5, 32, 6, 2, 1), (1, 8, 2, 4, 3)])
def test_parameters_of_stacked_and_that_time_costs_one_wider_layer(
    frames: int, width: int, blocks: int, scale: int, channels: int
) -> None:
    network = Stacked(frames=frames, width=width, blocks=blocks, scale=scale, channels=channels)
    layers = [(frames * channels, width), *[(width, width)] * (2 * blocks + 1), (width, channels * scale**2)]
    assert count_parameters(network) == sum(9 * a * b + b for a, b in layers)
    alone = ResNet(width=width, blocks=blocks, scale=scale, channels=channels)
    assert count_parameters(network) - count_parameters(alone) == (frames - 1) * 9 * channels * width
    more = (frames - 1) * 9 * channels * width
    costs = [multiply_adds(each, h=10, w=11, channels=channels) for each in (network, alone)]
    assert costs[0] - costs[1] == pytest.approx(more / scale**2)


def test_one_frame_stacked_is_the_frame_network() -> None:
    """With the same weights by the same names, so that each can be started from the other."""
    torch.manual_seed(0)
    frame = ResNet(width=4, blocks=2, scale=2).double()
    randomize(frame)
    stacked = Stacked(frames=1, width=4, blocks=2, scale=2).double()
    stacked.load_state_dict(frame.state_dict())
    clip = torch.rand(2, 1, 3, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(stacked(clip), apply_network_to_clip(frame, "frame", clip))


def test_a_network_behind_another_one_starts_as_the_identity() -> None:
    torch.manual_seed(0)
    clip = torch.rand(1, 1, 6, 9, 8)
    first = StandardizedResidual(Plain(scale=2))
    network = Cascade(first=first, second=StandardizedResidual(Stacked(scale=1, width=4, blocks=2)), scale=2)
    torch.testing.assert_close(network(clip), apply_network_to_clip(first, "frame", clip)[:, :, 2:-2])
    for frame in (EDSR(scale=1, width=4, blocks=1), ResNet(scale=1, width=4, blocks=1), Plain(scale=1)):
        front = StandardizedResidual(Stacked(scale=2, width=4, blocks=2))
        network = Cascade(first=front, second=StandardizedResidual(frame), scale=2)
        torch.testing.assert_close(network(clip), front(clip))


@pytest.mark.parametrize("blocks", [2, 6])
def test_resnet_has_edsrs_layers_but_for_the_enlarging(blocks: int) -> None:
    edsr, own = (kind(width=16, blocks=blocks, scale=2) for kind in (EDSR, ResNet))
    at_hr = (9 * 16 * 64 + 64) + (9 * 16 + 1)
    assert count_parameters(own) == count_parameters(edsr) - at_hr + (9 * 16 * 4 + 4)


@pytest.mark.parametrize("frames", [0, 2, -1])
def test_frames_without_a_middle_are_refused(frames: int) -> None:
    with pytest.raises(UserError, match=rf"model.frames={frames}: must be odd.*type model.frames=5"):
        Stacked(frames=frames, scale=2)
