"""Plain 3x3 layers at LR and a pixel shuffle: the fast tier."""

from __future__ import annotations

from typing import Literal

from torch import nn

from vsr.geometry import Geometry
from vsr.models.base import Network
from vsr.models.blocks import build_activation, check_network_sizes, he_normal_
from vsr.types import HRFrames, LRFrames


class Plain(Network):
    """width@3x3, `depth` times width@3x3, C scale^2@3x3, pixel shuffle: nothing is computed at HR.

    Source: ESPCN of Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional
    neural network", 2016, section 3, here with 3x3 kernels and more layers. It needs fewer multiplications than the report's
    FSRCNN, all of them in layers that processors compute fast.

    Args:
        width: channels of the hidden layers, 1 or more.
        depth: layers between the first and the last, 1 or more.
        act: "silu", "relu" (a fifth less time) or "prelu".
        slope: initial slope of the PReLU.
        scale: HR pixels per LR pixel and axis: 2, 3 or 4; 1 behind another network.
        channels: of each frame.

    Raises:
        UserError: width or depth is below 1.
    """

    def __init__(
        self,
        *,
        width: int = 16,
        depth: int = 3,
        act: Literal["silu", "relu", "prelu"] = "silu",
        slope: float = 0.25,
        scale: int,
        channels: int = 1,
    ) -> None:
        super().__init__()
        check_network_sizes(width=(width, 16), depth=(depth, 3))
        self.geometry = Geometry.frame(scale)
        self.reach = depth + 2
        layers: list[nn.Module] = []
        for inputs in (channels, *[width] * depth):
            behind = nn.SiLU() if act == "silu" else build_activation(act, width, slope)
            layers += [nn.Conv2d(inputs, width, 3, padding=1), behind]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, channels * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        he_normal_(self)

    def forward(self, lr: LRFrames) -> HRFrames:
        """(N, C, h, w) -> (N, C, H, W)."""
        return self.body(lr)
