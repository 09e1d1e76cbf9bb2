"""Colour planes of video frames: chroma resampling, R'G'B' conversion, and one rounding to integer codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vsr.io.writers.video.layout import Layout


def resample_planes(x: Tensor, dim: int, count: int, step: float, offset: float) -> Tensor:
    """Resample values along one axis with an antialiased cubic kernel (a = -0.5) and a symmetric border.

    The result equals `resize_bicubic_up` and `resize_bicubic_down` for the ratios that these functions cover. Source: Keys,
    "Cubic convolution interpolation", 1981.

    Args:
        x: (..., rows, columns).
        dim: -2 or -1.
        count: Number of values to compute.
        step: Distance of two computed values, in indices of `x`.
        offset: Position of the first computed value, in indices of `x`.
    """
    if step == 1 and offset == 0 and count == x.shape[dim]:
        return x
    if dim == -1:  # whole rows are gathered several times as fast
        return resample_planes(x.mT.contiguous(), -2, count, step, offset).mT.contiguous()
    wide = max(1.0, step)
    at = offset + step * torch.arange(count, dtype=torch.float64)
    index = (at - 2 * wide).floor()[:, None] + torch.arange(1, 2 + int(np.ceil(4 * wide)))
    d = ((index - at[:, None]) / wide).abs()
    weights = torch.where(d <= 1, (1.5 * d - 2.5) * d**2 + 1, torch.where(d < 2, ((-0.5 * d + 2.5) * d - 4) * d + 2, 0.0))
    weights = (weights / weights.sum(1, keepdim=True)).to(x.dtype)
    size = x.shape[-2]
    folded = index.long() % (2 * size)
    folded = torch.minimum(folded, 2 * size - 1 - folded)
    out = x.new_zeros(*x.shape[:-2], count, x.shape[-1])
    for taps, weight in zip(folded.T, weights.T, strict=True):
        if weight.any():
            out.addcmul_(x.index_select(-2, taps), weight[:, None])
    return out


def resample_chroma_planes(planes: Tensor, source: Layout, target: Layout, size: tuple[int, int], scale: int = 1) -> Tensor:
    """Resample chroma planes to the size and sample positions of a target layout.

    Args:
        planes: (..., rows, columns), chroma of one frame.
        source: layout of the frame.
        target: layout of the result.
        size: (rows, columns) of the target's luma.
        scale: target luma pixels per source luma pixel.
    """
    rows, columns = target.plane_size(*size, 1)
    for dim, count, axis in ((-2, rows, 0), (-1, columns, 1)):
        old, new = source.chroma[axis], target.chroma[axis]
        # Where the first sample lies, in luma pixels from the border.
        first_old, first_new = 0.5 + (old - 1) * source.siting[axis], 0.5 + (new - 1) * target.siting[axis]
        planes = resample_planes(planes, dim, count, new / (scale * old), (first_new / scale - first_old) / old)
    return planes


def planes_to_rgb(y: Tensor, chroma: Sequence[Tensor] | Tensor, layout: Layout) -> Tensor:
    """Convert luma and chroma signals of one size to R'G'B'.

    Args:
        y: (..., rows, columns), luma in 0..1.
        chroma: The two chroma planes, each (..., rows, columns) in -0.5..0.5.
        layout: Layout with the luma weights.

    Returns:
        R'G'B' signals (..., 3, rows, columns); nominally 0..1, not clipped.
    """
    red_share, blue_share = layout.luma_weights
    blue = y + 2 * (1 - blue_share) * chroma[0]
    red = y + 2 * (1 - red_share) * chroma[1]
    green = (y - red_share * red - blue_share * blue) / (1 - red_share - blue_share)
    return torch.stack([red, green, blue], -3)


def planes_from_rgb(rgb: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """Convert R'G'B' to luma and chroma at full resolution.

    Args:
        rgb: (..., 3, rows, columns) in 0..1.
        layout: Layout with the luma weights.

    Returns:
        Luma (..., rows, columns), and the two chroma planes stacked on a new first axis, (2, ..., rows, columns).
    """
    red_share, blue_share = layout.luma_weights
    red, green, blue = rgb.unbind(-3)
    y = red_share * red + (1 - red_share - blue_share) * green + blue_share * blue
    return y, torch.stack([(blue - y) / (2 * (1 - blue_share)), (red - y) / (2 * (1 - red_share))])


@dataclass(frozen=True)
class Colours:
    """Conversion between colour planes and network channels: splits LR frames, and joins SR frames with the kept chroma.

    Attributes:
        source: Layout of LR frames.
        target: Layout of SR frames.
        channels: Input of the network: "luma" or "rgb".
        scale: SR pixels per LR pixel along each axis.
    """

    source: Layout
    target: Layout
    channels: Literal["luma", "rgb"]
    scale: int

    def split(self, planes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        """Split the planes of an LR frame (codes 0..255) into the part for the network and the chroma to keep.

        R'G'B' frames get their luma by BT.601 in full range, as in the training data.

        Returns:
            Frame (C, h, w) in 0..255 for the network, float32; and chroma signals (2, rows, columns), or None if none are kept.
        """
        source = self.source
        if self.channels == "rgb":
            if source.kind != "yuv":
                return np.stack(planes if source.kind == "rgb" else [planes[0]] * 3), None
            y, chroma = source.signal(torch.from_numpy(planes[0]), 0), self._chroma(planes)
            chroma = resample_chroma_planes(chroma, source, Layout("yuv"), (y.shape[0], y.shape[1]))
            return (planes_to_rgb(y, chroma, source) * 255).numpy(), None
        if source.kind == "rgb":
            y, chroma = planes_from_rgb(torch.from_numpy(np.stack(planes)) / 255, source)
            return (y * 255).numpy()[None], chroma.numpy()
        return planes[0][None], self._chroma(planes).numpy() if source.kind == "yuv" else None

    def join(self, sr: np.ndarray, beside: np.ndarray | None) -> list[np.ndarray]:
        """Combine SR (C, H, W) in 0..255 and the chroma of its LR frame into integer planes of the target layout."""
        source, target = self.source, self.target
        values, size = torch.from_numpy(np.ascontiguousarray(sr, np.float32)), (sr.shape[1], sr.shape[2])
        chroma = None if beside is None else torch.from_numpy(beside)
        if self.channels == "luma" and source.kind != "rgb" and target.kind != "rgb":
            if (source.bits, source.full) == (target.bits, target.full):
                luma = target.rounded(values[0] * ((2**target.bits - 1) / 255))
            else:
                luma = target.codes(source.signal(values[0], 0), 0)
            if target.kind == "gray":
                return [luma]
            if chroma is None:
                chroma = torch.zeros(2, *target.plane_size(*size, 1))
            else:
                chroma = resample_chroma_planes(chroma, source, target, size, self.scale)
            return [luma, *(target.codes(plane, n) for n, plane in enumerate(chroma, 1))]
        rgb = values / 255
        if chroma is not None:
            chroma = resample_chroma_planes(chroma, source, Layout("rgb"), size, self.scale)
            rgb = planes_to_rgb(source.signal(values[0], 0), chroma, source)
        if target.kind == "rgb":
            return [target.codes(plane, n) for n, plane in enumerate(rgb)]
        y, chroma = planes_from_rgb(rgb, target)
        if target.kind == "gray":
            return [target.codes(y, 0)]
        chroma = resample_chroma_planes(chroma, Layout("yuv"), target, size)
        return [target.codes(plane, n) for n, plane in enumerate([y, *chroma])]

    def _chroma(self, planes: Sequence[np.ndarray]) -> Tensor:
        return torch.stack([self.source.signal(torch.from_numpy(plane), 1) for plane in planes[1:]])
