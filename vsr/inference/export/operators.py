"""The same functions in operations that exporters know, swapped in while a network is exported.

Three functions that networks here are made of do not export as they stand. `pad_symmetric` gathers at indices modulo twice the
size, which the ONNX exporter cannot translate when the size is dynamic; `bicubic_up` is torch's antialiased interpolation, which
other runtimes compute in ways of their own; `in_windows` cuts its windows into as many groups as fit into memory, and a graph has
no loop of so many rounds. Each has an equivalent here that is the same function (tests compare them), for sizes that are not
known yet and without naming a device. Networks find them under the old names, so that they need not know of exporting, and a
new network of the same pieces exports at once.
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

from vsr.degradations.resize import CUBIC_REACH, bicubic_up, pad_symmetric
from vsr.models import srnet3d

TAPS = 2 * CUBIC_REACH + 1


def cubic_phases(scale: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Weights (scale * scale, 1, 5, 5): bicubic enlargement as one filter for each pixel of a block of `scale` x `scale`.

    Pixel p of a block stands at (p + 1/2) / scale - 1/2 LR pixels from the middle of its own LR pixel; each filter is the outer
    product of two cubic kernels (a = -1/2) at these places. Keys, "Cubic convolution interpolation", 1981.
    """
    place = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
    d = (torch.arange(-CUBIC_REACH, CUBIC_REACH + 1) - place[:, None]).abs()  # (scale, 5)
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    kernel = torch.where(d <= 1, near, torch.where(d < 2, far, 0.0))
    return torch.einsum("pi,qj->pqij", kernel, kernel).reshape(scale * scale, 1, TAPS, TAPS).to(dtype)


def mirrored(x: Tensor, n: int) -> Tensor:
    """`pad_symmetric` for frames of at least n x n pixels: (..., H, W) -> (..., H + 2n, W + 2n)."""
    for axis in (-2, -1):
        first, last = x.narrow(axis, 0, n), x.narrow(axis, x.shape[axis] - n, n)
        x = torch.cat([first.flip(axis), x, last.flip(axis)], axis)
    return x


def enlarged(lr: Tensor, scale: int, weight: Tensor) -> Tensor:
    """`bicubic_up` as a convolution with `cubic_phases` and a pixel shuffle: (N, C, h, w) -> (N, C, h * scale, w * scale)."""
    n, c = lr.shape[:2]
    planes = mirrored(lr, CUBIC_REACH).flatten(0, 1).unsqueeze(1)  # (N C, 1, h + 4, w + 4)
    frames = F.pixel_shuffle(F.conv2d(planes, weight), scale)
    return frames.unflatten(0, (n, c)).squeeze(2)


def all_windows(body: Callable[[Tensor], Tensor], clip: Tensor) -> Tensor:
    """`in_windows` with all windows at once: (B, C, T, H, W) -> (B, C', T - 4, H', W')."""
    packed = clip.unfold(2, srnet3d.WINDOW, 1).permute(0, 2, 1, 5, 3, 4)  # (B, T - 4, C, 5, H, W)
    frames = body(packed.flatten(0, 1))  # (B (T - 4), C', 1, H', W')
    return frames.squeeze(2).unflatten(0, packed.shape[:2]).transpose(1, 2)


@contextmanager
def exportable(scale: int, cubic: Tensor) -> Iterator[None]:
    """Inside, every module of vsr computes with the forms of this file; `cubic` are the `cubic_phases` of the network's `scale`.

    Not for threads that run other networks meanwhile: what it changes is one for the whole process, until it is left.
    """

    def enlarged_by(lr: Tensor, factor: int) -> Tensor:
        if factor == 1:
            return lr
        return enlarged(lr, factor, cubic if factor == scale else cubic_phases(factor, lr.dtype))

    forms = {pad_symmetric: mirrored, bicubic_up: enlarged_by, srnet3d.in_windows: all_windows}
    found = [
        (module, name, value)
        for module in _modules()
        for name, value in vars(module).items()
        if any(value is original for original in forms)
    ]
    try:
        for module, name, value in found:
            setattr(module, name, forms[value])
        yield
    finally:
        for module, name, value in found:
            setattr(module, name, value)


def _modules() -> list[ModuleType]:
    """Those of vsr that are loaded, but this one, which holds the originals."""
    own: dict[str, Any] = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "vsr"}
    return [module for name, module in own.items() if name != __name__ and isinstance(module, ModuleType)]
