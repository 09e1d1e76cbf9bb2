"""Neighbouring frames as channels: what a frame network sees, of several frames at once (Caballero et al., VESPCN, 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vsr.errors import UserError
from vsr.geometry import Geometry
from vsr.nets.base import Network
from vsr.nets.blocks import he_normal_
from vsr.nets.edsr import SMALL, refuse_no_layers
from vsr.types import HRClips, HRFrames, LRClips, LRFrames


class Stacked(Network):
    """width@3x3 over `frames` LR frames at once, residual blocks, width@3x3 and a skip, C scale^2@3x3, pixel shuffle.

    The "early fusion" of Caballero et al., "Real-time video super-resolution with spatio-temporal networks and motion
    compensation", 2017, section 3.1, without their motion compensation: time costs one wider layer, all others work on one frame
    each. Nothing is computed at HR.

    Args:
        frames: LR frames that one HR frame is made of, its own in the middle; 1, 3, 5, ...
        width: channels inside.
        blocks: residual blocks.
        scale, channels: as in every network.

    Raises UserError for an even number of frames, and for a width or a number of blocks below 1.
    """

    kind = "movie"

    def __init__(self, *, frames: int = 5, width: int = 32, blocks: int = 6, scale: int, channels: int = 1) -> None:
        super().__init__()
        refuse_no_layers(width, blocks)
        if frames < 1 or frames % 2 == 0:
            raise UserError(f"model.frames={frames}: must be odd, an HR frame stands in the middle; type model.frames=5")
        self.frames, self.context = frames, frames // 2
        self.geometry = Geometry((1, scale, scale), (self.context, 0, 0))
        self.reach = 1 + 2 * blocks + 1 + 1
        self.layers = Layers(frames * channels, width, blocks, channels, scale)

    def forward(self, lr: LRClips) -> HRClips:
        """(B, C, T, h, w) -> (B, C, T - frames + 1, H, W)."""
        windows = lr.unfold(2, self.frames, 1).permute(0, 2, 1, 5, 3, 4)  # (B, T', C, frames, h, w)
        hr = self.layers(windows.flatten(2, 3).flatten(0, 1))
        return hr.unflatten(0, windows.shape[:2]).transpose(1, 2)


class Layers(nn.Module):
    """The layers, on frames: residual blocks at LR and a pixel shuffle behind the last layer.

    Args:
        inputs, outputs: channels at LR and at HR.
        width, blocks, scale: as in Stacked.
    """

    def __init__(self, inputs: int, width: int, blocks: int, outputs: int, scale: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(inputs, width, 3, padding=1)
        residual = [SmoothBlock(width) for _ in range(blocks)]
        self.body = nn.Sequential(*residual)
        self.join = nn.Conv2d(width, width, 3, padding=1)
        last = nn.Conv2d(width, outputs * scale**2, 3, padding=1)
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
