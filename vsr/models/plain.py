"""Network for fast inference: plain 3x3 convolutions at LR and a pixel shuffle."""

from __future__ import annotations

from typing import Literal

from torch import nn

from vsr.geometry import Geometry
from vsr.models.base import Network
from vsr.models.blocks import build_activation, check_block_sizes, init_block_he_normal_
from vsr.types import HRFrames, LRFrames


class Plain(Network):
    """Network of 3x3 convolutions at LR and a pixel shuffle; nothing is computed at HR.

    Layers (channels@kernel): width@3x3, `depth` times width@3x3, C scale^2@3x3, pixel shuffle. Source: ESPCN of Shi et al.,
    "Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural network", 2016, section
    3, here with 3x3 kernels and more layers. The network needs fewer multiplications than the report's FSRCNN, all of them in
    layers that processors compute fast.

    Args:
        width: Number of channels of the hidden layers, 1 or more.
        depth: Number of layers between the first and the last, 1 or more.
        act: "silu", "relu" (takes a fifth less time) or "prelu".
        slope: Initial slope of the PReLU.
        scale: HR pixels per LR pixel along each axis, or 1 for the second network of a `Cascade`.
        channels: Number of channels of each frame.
        inputs: Number of channels of each LR frame; None for `channels`.

    Raises:
        UserError: If width or depth is below 1.
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
        inputs: int | None = None,
    ) -> None:
        super().__init__()
        check_block_sizes(width=(width, 16), depth=(depth, 3))
        self.geometry = Geometry.frame(scale)
        self.reach = depth + 2
        layers: list[nn.Module] = []
        for before in (inputs or channels, *[width] * depth):
            behind = nn.SiLU() if act == "silu" else build_activation(act, width, slope)
            layers += [nn.Conv2d(before, width, 3, padding=1), behind]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, channels * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        init_block_he_normal_(self)

    def forward(self, lr: LRFrames) -> HRFrames:
        """Return the HR frames (N, C, H, W) of LR frames (N, C, h, w)."""
        return self.body(lr)
