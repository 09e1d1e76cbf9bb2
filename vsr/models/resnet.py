"""Residual blocks with a smooth activation, all of it at LR: what the blocks of EDSR give at half of its work."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vsr.geometry import Geometry
from vsr.models.base import Network
from vsr.models.blocks import he_normal_, refuse_sizes
from vsr.models.edsr import SMALL
from vsr.types import HRFrames, LRFrames


class ResNet(Network):
    """width@3x3, residual blocks, width@3x3 and a skip over all of them, C scale^2@3x3, pixel shuffle.

    EDSR (Lim et al. 2017) with SiLU in the place of ReLU (Elfwing et al., "Sigmoid-weighted linear units ...", 2018) and its last
    layer at LR, as ESPCN has it (Shi et al. 2016): fields are smooth between their fronts, and nothing is computed at HR.

    Args:
        width: channels inside.
        blocks: residual blocks.
        scale, channels: as in every network.

    Raises UserError for a width or a number of blocks below 1.
    """

    def __init__(self, *, width: int = 32, blocks: int = 6, scale: int, channels: int = 1) -> None:
        super().__init__()
        refuse_sizes(width=(width, 32), blocks=(blocks, 6))
        self.geometry = Geometry.frame(scale)
        self.reach = layers_reach(blocks)
        self.layers = Layers(channels, width, blocks, channels, scale)

    def forward(self, lr: LRFrames) -> HRFrames:
        """(N, C, h, w) -> (N, C, H, W)."""
        return self.layers(lr)


class Layers(nn.Module):
    """The layers, on frames.

    Args:
        inputs, outputs: channels at LR and at HR.
        width, blocks, scale: as in ResNet.
    """

    def __init__(self, inputs: int, width: int, blocks: int, outputs: int, scale: int) -> None:
        super().__init__()
        residual = [SmoothBlock(width) for _ in range(blocks)]
        last = nn.Conv2d(width, outputs * scale**2, 3, padding=1)
        self.head = nn.Conv2d(inputs, width, 3, padding=1)
        self.body = nn.Sequential(*residual)
        self.join = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Sequential(last, nn.PixelShuffle(scale))
        he_normal_(self)
        with torch.no_grad():
            for layer in (last, *(block.conv2 for block in residual)):
                layer.weight.mul_(SMALL)

    def forward(self, x: LRFrames) -> HRFrames:
        """(N, inputs, h, w) -> (N, outputs, H, W)."""
        first = self.head(x)
        return self.out(first + self.join(self.body(first)))


class SmoothBlock(nn.Module):
    """x + conv(silu(conv(x))), 3x3 each, zeros beyond the border."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.act = nn.SiLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, h, w) -> the same."""
        return x + self.conv2(self.act(self.conv1(x)))


def layers_reach(blocks: int) -> int:
    """LR pixels that `Layers` look around: the first, two of each block, the one before the skip and the last."""
    return 1 + 2 * blocks + 1 + 1
