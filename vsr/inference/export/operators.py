"""Replacements of three functions by operations that exporters know, for use during an export.

The ONNX exporter refuses `pad_symmetric` for a dynamic size, because the function gathers at indices modulo twice the size.
`resize_bicubic_up` is torch's antialiased interpolation; other runtimes compute it differently. `srnet3d_windows` splits
windows into groups that fit into memory, and a graph cannot hold a loop of varying length. The replacements give the same
values (tests compare them) for any size and name no device. Networks find the replacements under the old names, so networks
need no code for their export.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vsr.degradations.resize import CUBIC_RADIUS, pad_symmetric, resize_bicubic_up
from vsr.models import srnet3d

TAPS = 2 * CUBIC_RADIUS + 1


def exportable_cubic_phases(scale: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Compute the filters (scale * scale, 1, 5, 5) of bicubic upsampling, one for each pixel of a scale x scale block.

    Along an axis, pixel p of a block lies (p + 1/2) / scale - 1/2 LR pixels from the middle of its LR pixel. Each filter is the
    outer product of two cubic kernels (a = -1/2) that are centred there (Keys, "Cubic convolution interpolation", 1981).
    """
    place = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
    d = (torch.arange(-CUBIC_RADIUS, CUBIC_RADIUS + 1) - place[:, None]).abs()  # (scale, 5)
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    kernel = torch.where(d <= 1, near, torch.where(d < 2, far, 0.0))
    return torch.einsum("pi,qj->pqij", kernel, kernel).reshape(scale * scale, 1, TAPS, TAPS).to(dtype)


def exportable_mirror_pad(x: Tensor, n: int) -> Tensor:
    """Mirror-pad frames of at least n x n pixels like `pad_symmetric`: (..., H, W) -> (..., H + 2n, W + 2n)."""
    for axis in (-2, -1):
        first, last = x.narrow(axis, 0, n), x.narrow(axis, x.shape[axis] - n, n)
        x = torch.cat([first.flip(axis), x, last.flip(axis)], axis)
    return x


def exportable_bicubic_upsample(lr: Tensor, scale: int, weight: Tensor) -> Tensor:
    """Upsample like `resize_bicubic_up`, by `exportable_cubic_phases` and a pixel shuffle: (N, C, h, w) -> (N, C, H, W)."""
    n, c = lr.shape[:2]
    planes = exportable_mirror_pad(lr, CUBIC_RADIUS).flatten(0, 1).unsqueeze(1)  # (N C, 1, h + 4, w + 4)
    frames = F.pixel_shuffle(F.conv2d(planes, weight), scale)
    return frames.unflatten(0, (n, c)).squeeze(2)


def exportable_windows(body: Callable[[Tensor], Tensor], clip: Tensor) -> Tensor:
    """Apply a network to all 5-frame windows at once, like `srnet3d_windows`: (B, C, T, H, W) -> (B, C', T - 4, H', W')."""
    packed = clip.unfold(2, srnet3d.WINDOW, 1).permute(0, 2, 1, 5, 3, 4)  # (B, T - 4, C, 5, H, W)
    frames = body(packed.flatten(0, 1))  # (B (T - 4), C', 1, H', W')
    return frames.squeeze(2).unflatten(0, packed.shape[:2]).transpose(1, 2)


@contextmanager
def exportable_operators(scale: int, cubic: Tensor) -> Iterator[None]:
    """Replace three functions, in all modules of vsr, by equivalents that exporters know, until the `with` block ends.

    The whole process is affected, so no other thread may run a network in the meantime.

    Args:
        scale: SR pixels per LR pixel of the exported network.
        cubic: The filters from `exportable_cubic_phases(scale)`.
    """

    def upsample(lr: Tensor, factor: int) -> Tensor:
        if factor == 1:
            return lr
        return exportable_bicubic_upsample(lr, factor, cubic if factor == scale else exportable_cubic_phases(factor, lr.dtype))

    equivalents = {
        pad_symmetric: exportable_mirror_pad,
        resize_bicubic_up: upsample,
        srnet3d.srnet3d_windows: exportable_windows,
    }
    found = [
        (module, name, value)
        for module in _modules()
        for name, value in vars(module).items()
        if any(value is original for original in equivalents)
    ]
    try:
        for module, name, value in found:
            setattr(module, name, equivalents[value])
        yield
    finally:
        for module, name, value in found:
            setattr(module, name, value)


def _modules() -> list[ModuleType]:
    """Return the loaded modules of vsr except this module, which keeps the original functions."""
    own: dict[str, Any] = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "vsr"}
    return [module for name, module in own.items() if name != __name__ and isinstance(module, ModuleType)]
