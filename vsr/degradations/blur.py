"""Degradation step that blurs frames with a Gaussian kernel."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from vsr.degradations.base import Bounds, Frames, SameSizeStep, format_degradation_number
from vsr.degradations.resize import pad_symmetric
from vsr.errors import UserError

TRUNCATE = 4.0  # standard deviations at which the kernel ends, as in scipy: 13 taps for sigma = 1.6


class GaussianBlur(SameSizeStep):
    """Isotropic Gaussian blur with a mirrored border.

    Followed by `Subsample`, this blur is the "BD" degradation of the literature (sigma 1.6 for scale 4): Jo et al., "Deep Video
    Super-Resolution Network Using Dynamic Upsampling Filters", CVPR 2018.

    Args:
        sigma: Standard deviation in pixels of the blurred frames: HR pixels before the step that changes the size, LR pixels
            after it.

    Raises:
        UserError: If sigma is not positive and finite.
    """

    def __init__(self, sigma: float) -> None:
        if not 0 < sigma < math.inf:
            raise UserError(f"sigma={sigma} of GaussianBlur: must be positive (pixels); type degradation.steps.blur.sigma=1.6")
        self.sigma = sigma
        self.name = f"blur({format_degradation_number(sigma)})"

    def apply(self, frames: Frames, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> Frames:
        radius = int(TRUNCATE * self.sigma + 0.5)
        taps = torch.arange(-radius, radius + 1, dtype=torch.float64)
        kernel = torch.exp(-0.5 * (taps / self.sigma).square())
        kernel = (kernel / kernel.sum()).to(frames)
        n, c, rows, columns = frames.shape
        planes = pad_symmetric(frames, radius).reshape(n * c, 1, rows + 2 * radius, columns + 2 * radius)
        planes = F.conv2d(F.conv2d(planes, kernel[None, None, :, None]), kernel[None, None, None, :])
        return planes.reshape(n, c, rows, columns)
