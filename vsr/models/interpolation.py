"""Interpolation as networks of zero parameters, so that baselines go through the same path as everything else."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F

from vsr.degradations.resize import CUBIC_RADIUS, bicubic_up
from vsr.geometry import Geometry
from vsr.models.base import Network
from vsr.types import HRFrames, LRFrames


class Interpolation(Network):
    """Nearest, bilinear or bicubic (MATLAB's kernel, symmetric border) enlargement.

    Args:
        method: which of the three.
        scale, channels: as in every network; channels are treated alike.
    """

    def __init__(self, *, method: Literal["nearest", "bilinear", "bicubic"], scale: int, channels: int = 1) -> None:
        super().__init__()
        self.method, self.scale, self.channels = method, scale, channels
        self.geometry = Geometry.frame(scale)
        self.reach = {"nearest": 0, "bilinear": 1, "bicubic": CUBIC_RADIUS}[method]

    def forward(self, lr: LRFrames) -> HRFrames:
        """(N, C, h, w) -> (N, C, H, W)."""
        if self.method == "nearest":
            return F.interpolate(lr, scale_factor=self.scale, mode="nearest")
        if self.method == "bilinear":
            return F.interpolate(lr, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return bicubic_up(lr, self.scale)
