"""The fast tier: a few plain 3x3 layers at LR and a pixel shuffle (Shi et al., "Real-time single image and video ...", 2016)."""

from __future__ import annotations

from typing import Literal

from torch import nn

from vsr.geometry import Geometry
from vsr.models.base import Network
from vsr.models.blocks import activation, he_normal_, refuse_sizes
from vsr.types import HRFrames, LRFrames


class Plain(Network):
    """width@3x3, `depth` times width@3x3, C scale^2@3x3, pixel shuffle: nothing is computed at HR.

    Fewer multiplications than the report's FSRCNN, all of them in the kind of layer that processors are best at. The layout is
    that of ESPCN (Shi et al. 2016, section 3) with 3x3 kernels throughout and more layers between the first and the last.

    Args:
        width: filters of every layer but the last.
        depth: layers between the first and the last.
        act: "silu", "relu" (a fifth less time) or "prelu"; slope: where the PReLU's slopes start.
        scale, channels: as in every network.

    Raises UserError for a width or depth below 1.
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
        refuse_sizes(width=(width, 16), depth=(depth, 3))
        self.geometry = Geometry.frame(scale)
        self.reach = depth + 2
        layers: list[nn.Module] = []
        for inputs in (channels, *[width] * depth):
            behind = nn.SiLU() if act == "silu" else activation(act, width, slope)
            layers += [nn.Conv2d(inputs, width, 3, padding=1), behind]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, channels * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        he_normal_(self)

    def forward(self, lr: LRFrames) -> HRFrames:
        """(N, C, h, w) -> (N, C, H, W)."""
        return self.body(lr)
