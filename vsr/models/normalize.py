"""Fixed affine map between physical units and the unit interval of networks and scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from vsr.types import FrameBounds, ValueBounds


def frame_bounds(bounds: Sequence[float] | Sequence[Sequence[float]], offset: float | Sequence[float] = 0.0) -> FrameBounds:
    """Return the values of frames that are 0 and 1 in the unit interval.

    Args:
        bounds: The same values in physical units, for all channels or for each.
        offset: The physical value that is 0 in the frames, for all channels or for each.

    Returns:
        (low, high): two numbers, or two tensors (C, 1, 1) where channels have ranges of their own.
    """
    if not np.ndim(offset) and np.ndim(bounds) == 1:
        low, high = (bound - offset for bound in bounds)  # type: ignore[operator]
        return low, high
    pairs = np.reshape(bounds, (-1, 2)).astype(np.float64) - np.reshape(offset, (-1, 1))
    low, high = torch.from_numpy(pairs).float()[..., None, None].unbind(1)
    return low, high


class Normalizer(nn.Module):
    """Affine map that takes `low` to 0 and `high` to 1. The bounds are buffers, so that checkpoints contain them.

    Frames are (N, C, H, W), clips (B, C, T, H, W). Bounds are of shape () for all channels, or (C,) with a range per channel.

    Args:
        low: Lower bound in physical units, or one per channel. It is given or measured on the training set, never on single
            frames or predictions.
        high: Upper bound in physical units, from the same source.

    Raises:
        ValueError: If low is not below high.
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: float | Sequence[float] | Tensor, high: float | Sequence[float] | Tensor) -> None:
        super().__init__()
        least, most = _levels(low), _levels(high)
        if not (least < most).all():
            raise ValueError(f"the bounds of a normaliser must be finite and ascending, not ({low}, {high})")
        self.register_buffer("low", least.float())
        self.register_buffer("high", most.float())

    def forward(self, x: Tensor) -> Tensor:
        """Map values in physical units to the unit interval; values outside the bounds are not clipped."""
        low, high = self._beside(x)
        return (x - low) / (high - low)

    def inverse(self, x: Tensor) -> Tensor:
        """Map values in the unit interval to physical units."""
        low, high = self._beside(x)
        return x * (high - low) + low

    def inverse_in_place(self, x: Tensor) -> Tensor:
        """Do what `inverse` does in the memory of `x`, which a large frame needs only once then."""
        low, high = self._beside(x)
        return x.mul_(high - low).add_(low)

    def set(self, low: float | Sequence[float] | Tensor, high: float | Sequence[float] | Tensor) -> None:
        """Replace the bounds by others in physical units, for all channels or for each."""
        self.low, self.high = _levels(low).to(self.low), _levels(high).to(self.high)

    @property
    def bounds(self) -> ValueBounds:
        """Return the bounds (low, high) in physical units; one such pair per channel where channels have their own."""
        if not self.low.ndim:
            return float(self.low), float(self.high)
        return tuple(zip(self.low.tolist(), self.high.tolist(), strict=True))

    def _beside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bounds in a shape that broadcasts against frames or clips."""
        if not self.low.ndim:
            return self.low, self.high
        shape = (-1, *(1,) * (x.ndim - 2))
        return self.low.view(shape), self.high.view(shape)


def _levels(value: float | Sequence[float] | Tensor) -> Tensor:
    levels = torch.as_tensor(value, dtype=torch.float64)
    return levels.flatten() if levels.ndim else levels
