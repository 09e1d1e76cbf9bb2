"""Bicubic resizing as in MATLAB's imresize: antialiased, a = -0.5, symmetric border.

`torch.nn.functional.interpolate(antialias=True)` has the same kernel but renormalises it at the border. Mirroring the frame
first makes the two equal to 1e-13 in float64. Sources: Keys, "Cubic convolution interpolation", 1981; MATLAB imresize.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vsr.geometry import Alignment, Origin, lr_position
from vsr.types import HRClips, HRFrames, LRClips, LRFrames

CUBIC_RADIUS = 2  # LR pixels around its own that an enlarged pixel depends on
Interpolate = Literal["nearest", "bilinear", "bicubic"]
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


def resize_aligned(lr: LRFrames, scale: int, alignment: Alignment, method: Interpolate = "bicubic") -> HRFrames:
    """Upscale whole frames (N, C, h, w) to (N, C, h*scale, w*scale) by interpolation at the places of the HR pixels.

    Args:
        lr: Whole frames; a patch does not tell where it lies.
        scale: HR pixels per LR pixel along each axis.
        alignment: Place of the LR pixels on the HR grid along y and x; see `vsr.geometry.lr_position`.
        method: "nearest", "bilinear" or "bicubic" with Keys' kernel. Frames go on linearly beyond shared end points, and are
            mirrored beyond other borders.
    """
    rows, columns = (
        _interpolation_matrix(size, scale, origin, method).to(lr) for size, origin in zip(lr.shape[-2:], alignment, strict=True)
    )
    return rows @ lr @ columns.T


def _interpolation_matrix(size: int, scale: int, origin: Origin, method: Interpolate) -> Tensor:
    """Return the weights (size * scale, size) of interpolation along one axis, float64."""
    position = torch.tensor(lr_position(size, scale, origin), dtype=torch.float64)
    reach = {"nearest": 0, "bilinear": 1, "bicubic": CUBIC_RADIUS}[method]
    # A hair to the right, so that rounding does not decide which of two equally near pixels is taken.
    base = torch.floor(position + (0.5 + 1e-9 if method == "nearest" else 1e-9)).long()
    matrix = torch.zeros(len(position), size, dtype=torch.float64)
    row = torch.arange(len(position))
    for shift in range(1 - reach, reach + 1) if reach else [0]:
        tap = base + shift
        away = (position - tap).abs()
        if method == "nearest":
            weight = torch.ones_like(away)
        elif method == "bilinear":
            weight = 1 - away
        else:  # Keys' kernel with a = -0.5
            near, far = (1.5 * away - 2.5) * away.square() + 1, ((-0.5 * away + 2.5) * away - 4) * away + 2
            weight = torch.where(away <= 1, near, far)
        if origin == "node" and size > 1:
            edge = tap.clamp(0, size - 1)
            beyond = (tap - edge).double()  # f(-1) = 2 f(0) - f(1)
            inner = edge - torch.sign(beyond).long()
            matrix.index_put_((row, edge), weight * (1 + beyond.abs()), accumulate=True)
            matrix.index_put_((row, inner), -weight * beyond.abs(), accumulate=True)
        else:
            index = tap % (2 * size)
            matrix.index_put_((row, torch.minimum(index, 2 * size - 1 - index)), weight, accumulate=True)
    return matrix


def skip_planes(lr: LRFrames, scale: int, alignment: Alignment) -> Tensor:
    """Return the bicubic frames of whole LR frames (N, C, h, w) as planes (N, C scale^2, h, w), which patches can be cut from."""
    return F.pixel_unshuffle(resize_aligned(lr, scale, alignment), scale)
