"""Fixed affine map between physical units and the unit interval of networks and scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Normalizer(nn.Module):
    """Affine map that takes `low` to 0 and `high` to 1. The bounds are buffers, so that checkpoints contain them.

    Args:
        low: Lower bound in physical units. It is given or measured on the training set, never on single frames or predictions.
        high: Upper bound in physical units, from the same source.

    Raises:
        ValueError: If low is not below high.
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
        """Map values in physical units to the unit interval; values outside the bounds are not clipped."""
        return (x - self.low) / (self.high - self.low)

    def inverse(self, x: Tensor) -> Tensor:
        """Map values in the unit interval to physical units."""
        return x * (self.high - self.low) + self.low

    def set(self, low: float, high: float) -> None:
        """Replace the bounds by others in physical units."""
        self.low.fill_(low)
        self.high.fill_(high)

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the bounds (low, high) in physical units."""
        return float(self.low), float(self.high)
