"""Nearest, bilinear and bicubic interpolation as baseline networks without parameters."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F

from vsr.degradations.resize import CUBIC_RADIUS, resize_bicubic_up
from vsr.geometry import Geometry
from vsr.models.base import Network
from vsr.types import HRFrames, LRFrames


class Interpolation(Network):
    """Network for nearest, bilinear or bicubic upscaling; bicubic with MATLAB's kernel and a symmetric border.

    Args:
        method: "nearest", "bilinear" or "bicubic".
        scale: HR pixels per LR pixel along each axis.
        channels: Number of channels of each frame; all channels are treated alike.
    """

    def __init__(self, *, method: Literal["nearest", "bilinear", "bicubic"], scale: int, channels: int = 1) -> None:
        super().__init__()
        self.method, self.scale, self.channels = method, scale, channels
        self.geometry = Geometry.frame(scale)
        self.reach = {"nearest": 0, "bilinear": 1, "bicubic": CUBIC_RADIUS}[method]

    def forward(self, lr: LRFrames) -> HRFrames:
        """Return the HR frames (N, C, H, W) of LR frames (N, C, h, w)."""
        if self.method == "nearest":
            return F.interpolate(lr, scale_factor=self.scale, mode="nearest")
        if self.method == "bilinear":
            return F.interpolate(lr, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return resize_bicubic_up(lr, self.scale)
