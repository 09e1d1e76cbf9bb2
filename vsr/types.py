"""Types that several packages share: array shapes, movies and clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

# Capital H and W are HR sizes, small letters LR sizes; the same letter is the same size within one call.
LRFrames = Float[Tensor, "N c h w"]  # c > C where networks see planes beside the variables
HRFrames = Float[Tensor, "N C H W"]
LRClips = Float[Tensor, "B c T h w"]
HRClips = Float[Tensor, "B C F H W"]  # F <= T: movie networks return fewer frames than they take


# The training losses on frames, see vsr.training.modules.losses.
LossName = Literal["mse", "l1", "charbonnier"]

# Transforms of variables with heavy tails, see vsr.models.transform.
TransformName = Literal["log", "sqrt", "asinh"]

# Whole training frames for closed-form fits: (lr, hr, mask or None) of equal size each, mask (N, 1, H, W).
TrainingFrames = Sequence[tuple[Tensor, Tensor, Tensor | None]]


# Physical values (low, high) that are 0 and 1 in the unit interval: for all channels, or such a pair for each channel.
ValueRange = tuple[float, float]
ValueBounds = ValueRange | tuple[ValueRange, ...]
# The same beside frames: two numbers, or two tensors (C, 1, 1).
FrameBounds = tuple[float | Tensor, float | Tensor]
# The physical value that is 0 in frames, for all channels or for each.
Offset = float | tuple[float, ...]


class Movie:
    """HR frames of one movie in physical units, with metadata, in memory.

    A subclass whose frames stay in a file overrides `read` and sets `lazy`.

    Args:
        frames: (C, T, H, W), float32.
        name: Origin of the movie, for error messages and figures.
        meta: Metadata (units, dt, periodic, ...), plain values only.
    """

    lazy = False  # whether `read` takes frames from a file
    number = 0  # position among the movies of a data set
    # What networks see beside the variables; set by the data module.
    further: Movie | None = None  # variables of the same frames that are not learned
    static: Float[Tensor, "S H W"] | None = None  # static fields in physical units
    known: Mapping[str, np.ndarray] = MappingProxyType({})  # as in vsr.models.base.add_input_planes, of all frames

    def __init__(self, frames: Float[Tensor, "C T H W"], name: str, meta: dict[str, Any] | None = None) -> None:
        self.frames, self.name, self.meta = frames, name, meta or {}
        self.shape: tuple[int, int, int, int] = tuple(frames.shape)  # type: ignore[assignment]

    def read(self, start: int, stop: int) -> Float[Tensor, "C t H W"]:
        """Return frames start..stop-1 as (C, t, H, W)."""
        return self.frames[:, start:stop]


class Clip(NamedTuple):
    """Batch of aligned LR and HR clips, in physical units.

    Attributes:
        lr: (B, C, T, h, w).
        hr: (B, C, F, H, W); its F frames are the middle frames of the T frames of `lr`.
        position: (B,), index of each clip's first HR frame in its split.
        mask: (B, 1, F, H, W), 0 where HR was filled. Elsewhere 1, or in scoring the weight of a pixel, such as its area. None
            when all of HR is real and counts alike.
        follows: True if the first HR frame comes next after the last HR frame of the previous batch; scores in time need this.
        share: Number of clips in this process divided by the mean number per process, for a training batch of several
            processes.
        border: (y, x) LR pixels on each side of `lr` that lie beyond the frame, where frames continue beyond their borders.
    """

    lr: LRClips
    hr: HRClips
    position: Int[Tensor, " B"]
    mask: Float[Tensor, "B 1 F H W"] | None = None
    follows: bool = False
    share: float = 1.0
    border: tuple[int, int] = (0, 0)

    @property
    def context(self) -> int:
        """Return the number of LR frames before the first HR frame, equal to the number after the last HR frame."""
        return (self.lr.shape[2] - self.hr.shape[2]) // 2

    @property
    def own_lr(self) -> LRClips:
        """Return the LR frames of the HR frames, (B, C, F, h, w), without context and border."""
        (y, x), t = self.border, self.context
        return self.lr[:, :, t : self.lr.shape[2] - t, y : self.lr.shape[3] - y, x : self.lr.shape[4] - x]

    def first(self, device: torch.device) -> Clip:
        """Return the first clip of the batch, without its mask, on `device`."""
        return Clip(self.lr[:1].to(device), self.hr[:1].to(device), self.position[:1].to(device), border=self.border)
