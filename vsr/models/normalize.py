"""The fixed affine map between physical units and the unit interval in which networks and scores work."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Normalizer(nn.Module):
    """low -> 0, high -> 1. Bounds are physical or those of the training set, never those of a frame or a prediction.

    They are buffers of the module that holds them and so travel in its checkpoint. Raises ValueError unless low < high.
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        if not low < high:
            raise ValueError(f"the bounds of a normaliser must be finite and ascending, not ({low}, {high})")
        self.register_buffer("low", torch.tensor(float(low)))
        self.register_buffer("high", torch.tensor(float(high)))

    def forward(self, x: Tensor) -> Tensor:
        """Physical units -> unit interval (values outside the bounds are not clipped)."""
        return (x - self.low) / (self.high - self.low)

    def inverse(self, x: Tensor) -> Tensor:
        """Unit interval -> physical units."""
        return x * (self.high - self.low) + self.low

    def set(self, low: float, high: float) -> None:
        """Take other bounds."""
        self.low.fill_(low)
        self.high.fill_(high)

    @property
    def bounds(self) -> tuple[float, float]:
        """(low, high)."""
        return float(self.low), float(self.high)
