"""Nearest, bilinear and bicubic interpolation as baseline networks without parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import nn

from vsr.degradations.resize import CUBIC_RADIUS, Interpolate, resize_aligned, resize_bicubic_up
from vsr.geometry import Alignment, Geometry
from vsr.models.base import Network
from vsr.types import HRFrames, LRFrames


class Interpolation(Network):
    """Network for nearest, bilinear or bicubic upscaling; bicubic with MATLAB's kernel and a symmetric border.

    Args:
        method: "nearest", "bilinear" or "bicubic".
        scale: HR pixels per LR pixel along each axis.
        channels: Number of channels of each frame; all channels are treated alike. Further channels of LR are ignored.
        alignment: Place of the LR pixels on the HR grid; None for the middle of their blocks.
    """

    def __init__(self, *, method: Interpolate, scale: int, channels: int = 1, alignment: Alignment | None = None) -> None:
        super().__init__()
        self.alignment, self.whole_frames = alignment, alignment is not None
        self.method, self.scale, self.channels = method, scale, channels
        self.geometry = Geometry.frame(scale)
        self.reach = {"nearest": 0, "bilinear": 1, "bicubic": CUBIC_RADIUS}[method]

    def forward(self, lr: LRFrames) -> HRFrames:
        """Return the HR frames (N, C, H, W) of LR frames (N, C, h, w)."""
        lr = lr[:, : self.channels]
        if self.alignment is not None:
            return resize_aligned(lr, self.scale, self.alignment, self.method)
        if self.method == "nearest":
            return F.interpolate(lr, scale_factor=self.scale, mode="nearest")
        if self.method == "bilinear":
            return F.interpolate(lr, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return resize_bicubic_up(lr, self.scale)

    def replace_layers(self, replace: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Return the network itself: all of it is what other networks add their layers to."""
        return self
