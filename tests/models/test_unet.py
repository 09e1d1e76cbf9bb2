"""The U-Net: its levels keep pixels in place, and an output pixel depends on the frame up to the declared reach."""

from __future__ import annotations

import pytest
import torch

from tests.models.test_networks import randomize
from tests.models.test_stacked import used_frames
from vsr.errors import UserError
from vsr.models.unet import UNet


def unet(**more: int) -> UNet:
    torch.manual_seed(0)
    network = UNet(**{"frames": 3, "width": 4, "levels": 2, "scale": 2, **more}).double()
    randomize(network)
    return network


@pytest.mark.parametrize("axis", [-1, -2])
@torch.no_grad()
def test_levels_keep_pixels_in_place(axis: int) -> None:
    """With mirrored kernels, the mirrored clip gives the mirrored output; any shift between levels would show."""
    network = unet()
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.copy_(parameter + parameter.flip(axis))
    phases = network.layers.out[0]
    for parameter in phases.parameters():  # all pixels of a block alike
        parameter.copy_(parameter[:1].expand_as(parameter))
    clip = torch.rand(1, 1, 3, 8, 12, dtype=torch.float64)
    torch.testing.assert_close(network(clip.flip(axis)), network(clip).flip(axis))


def test_the_reach_is_the_declared_one() -> None:
    """Measured along both axes at every place of an output pixel in its block of 2^levels pixels."""
    network = unet(frames=1, levels=1)
    side, found = 4 * network.reach, 0
    for at in (side // 2, side // 2 + 1):  # side is a multiple of 4
        clip = torch.rand(1, 1, 1, side, side, dtype=torch.float64).requires_grad_()
        network(clip)[0, 0, 0, 2 * at : 2 * at + 2, 2 * at : 2 * at + 2].sum().backward()
        seen = clip.grad[0, 0, 0].abs() > 0
        for along in (seen.any(0), seen.any(1)):
            places = along.nonzero().flatten()
            found = max(found, at - int(places.min()), int(places.max()) - at)
    assert found == network.reach


def test_a_frame_is_made_of_its_window_only() -> None:
    assert used_frames(unet(), 7, 2) == [2, 3, 4]


@torch.no_grad()
def test_a_frame_of_any_size_is_padded_and_cut() -> None:
    network = unet()
    clip = torch.rand(1, 1, 3, 7, 10, dtype=torch.float64)
    padded = torch.nn.functional.pad(clip, (0, 2, 0, 1, 0, 0), mode="replicate")
    torch.testing.assert_close(network(clip), network(padded)[..., :14, :20])


@pytest.mark.parametrize(("sizes", "message"), [({"frames": 4}, "model.frames=4"), ({"levels": 0}, "model.levels=0")])
def test_sizes_are_checked(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        unet(**sizes)
