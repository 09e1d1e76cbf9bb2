"""Training losses on frames in the unit interval."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

LossName = Literal["mse", "l1", "charbonnier"]


def loss_function(kind: LossName, sr: Tensor, hr: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over all pixels: squared error, absolute error, or Charbonnier's sqrt(e^2 + eps^2) with eps = 1e-3.

    `mask` broadcasts against the frames; the mean is then over the pixels where it is 1. Charbonnier: Lai et al., "Deep Laplacian
    Pyramid Networks", 2017, eq. 2. Raises ValueError for another name.
    """
    error = sr - hr
    if kind == "mse":
        error = error.square()
    elif kind == "l1":
        error = error.abs()
    elif kind == "charbonnier":
        error = torch.sqrt(error.square() + 1e-6)
    else:
        raise ValueError(f"unknown loss '{kind}'")
    if mask is None:
        return error.mean()
    weight = mask.expand_as(error)
    return (error * weight).sum() / weight.sum().clamp_min(1)
