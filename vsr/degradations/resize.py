"""Bicubic resizing as in MATLAB's imresize: antialiased, a = -0.5, symmetric border.

`torch.nn.functional.interpolate(antialias=True)` has the same kernel but renormalises it at the border. Mirroring the frame
first makes the two equal to 1e-13 in float64. Sources: Keys, "Cubic convolution interpolation", 1981; MATLAB imresize.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vsr.types import HRClips, HRFrames, LRClips, LRFrames

CUBIC_RADIUS = 2  # LR pixels around its own that an enlarged pixel depends on
REACH = 4  # LR pixels: half of the antialiased cubic kernel is 2, the rest keeps the cut on the grid


def pad_symmetric(x: Tensor, n: int) -> Tensor:
    """Pad frames (..., H, W) by n mirrored pixels per side, as numpy's "symmetric"; n may exceed H and W."""
    for axis in (-2, -1):
        size = x.shape[axis]
        index = torch.arange(-n, size + n, device=x.device) % (2 * size)
        x = x.index_select(axis, torch.minimum(index, 2 * size - 1 - index))
    return x


def check_resize_divisible(hr: HRFrames, scale: int) -> tuple[int, int]:
    """Return the height and width of frames. Raises ValueError if `scale` does not divide both."""
    height, width = hr.shape[-2:]
    if height % scale or width % scale:
        raise ValueError(f"{height}x{width} is not divisible by {scale}")
    return height, width


def resize_bicubic_down(hr: HRFrames, scale: int) -> LRFrames:
    """Downscale frames (N, C, H, W) to (N, C, H/scale, W/scale). Raises ValueError if scale does not divide H and W."""
    height, width = check_resize_divisible(hr, scale)
    padded = pad_symmetric(hr, REACH * scale)
    size = (height // scale + 2 * REACH, width // scale + 2 * REACH)
    return F.interpolate(padded, size=size, mode="bicubic", antialias=True)[..., REACH:-REACH, REACH:-REACH]


def resize_bicubic_up(lr: LRFrames, scale: int) -> HRFrames:
    """Upscale frames (N, C, h, w) to (N, C, h*scale, w*scale) by bicubic interpolation."""
    if scale == 1:
        return lr
    padded = pad_symmetric(lr, REACH)
    size = (padded.shape[-2] * scale, padded.shape[-1] * scale)
    cut = REACH * scale
    # antialias=True switches torch's kernel from a = -0.75 to a = -0.5, so it is set for upscaling too.
    return F.interpolate(padded, size=size, mode="bicubic", antialias=True)[..., cut:-cut, cut:-cut]


def resize_clips_bicubic_up(lr: LRClips, scale: int) -> HRClips:
    """Upscale every frame of clips (B, C, T, h, w) to (B, C, T, h*scale, w*scale) by bicubic interpolation."""
    frames = resize_bicubic_up(lr.transpose(1, 2).flatten(0, 1), scale)
    return frames.unflatten(0, (lr.shape[0], lr.shape[2])).transpose(1, 2)
