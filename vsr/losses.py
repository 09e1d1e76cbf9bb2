"""Training losses on frames in the unit interval."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

LossName = Literal["mse", "l1", "charbonnier"]


def loss_function(kind: LossName, sr: Tensor, hr: Tensor) -> Tensor:
    """Mean over all pixels: squared error, absolute error, or Charbonnier's sqrt(e^2 + eps^2) with eps = 1e-3.

    Charbonnier: Lai et al., "Deep Laplacian Pyramid Networks", 2017, eq. 2.
    """
    if kind == "mse":
        return F.mse_loss(sr, hr)
    if kind == "l1":
        return F.l1_loss(sr, hr)
    if kind == "charbonnier":
        return torch.sqrt((sr - hr).square() + 1e-6).mean()
    raise ValueError(f"unknown loss '{kind}'")
