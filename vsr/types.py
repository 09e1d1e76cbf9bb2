"""The few types that the layers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Capital H and W are HR, small ones LR; within one call the same letter is the same size.
LRFrames = Float[Tensor, "N C h w"]
HRFrames = Float[Tensor, "N C H W"]
LRClips = Float[Tensor, "B C T h w"]
HRClips = Float[Tensor, "B C F H W"]  # movie networks give fewer frames than they get


# The training losses on frames, see vsr.training.modules.losses.
LossName = Literal["mse", "l1", "charbonnier"]

# Whole training frames for closed-form fits: (lr, hr, mask or None) of equal size each, mask (N, 1, H, W).
TrainingFrames = Sequence[tuple[Tensor, Tensor, Tensor | None]]


class Movie:
    """What a source yields: HR frames in physical units with what is known of them, in memory.

    Args:
        frames: (C, T, H, W), float32.
        name: where it comes from, for errors and figures.
        meta: units, dt, periodic, ... plain values only.

    A source whose frames stay in a file overrides `read` and sets `stored`.
    """

    stored = False
    number = 0  # among the movies of a data set

    def __init__(self, frames: Float[Tensor, "C T H W"], name: str, meta: dict[str, Any] | None = None) -> None:
        self.frames, self.name, self.meta = frames, name, meta or {}
        self.shape: tuple[int, int, int, int] = tuple(frames.shape)  # type: ignore[assignment]

    def read(self, start: int, stop: int) -> Float[Tensor, "C t H W"]:
        """Frames start..stop-1."""
        return self.frames[:, start:stop]


class Clip(NamedTuple):
    """What a batch holds, in physical units.

    lr: (B,C,T,h,w), hr: (B,C,F,H,W), its frames those in the middle of LR's, position: (B,) of each clip's first HR frame in its
    split, mask: (B,1,F,H,W), 1 where HR is real and 0 where it was filled, or None when all of it is real. `follows`: the first
    HR frame is the next one after the last of the batch before (clips of one segment that are scored in pieces). `part`: of a
    training batch that several processes share, the clips here over the mean number of clips per process.
    """

    lr: LRClips
    hr: HRClips
    position: Int[Tensor, " B"]
    mask: Float[Tensor, "B 1 F H W"] | None = None
    follows: bool = False
    part: float = 1.0

    @property
    def around(self) -> int:
        """LR frames before, and after, those of HR."""
        return (self.lr.shape[2] - self.hr.shape[2]) // 2

    def one(self, device: torch.device) -> Clip:
        """The first clip alone, on a device."""
        return Clip(self.lr[:1].to(device), self.hr[:1].to(device), self.position[:1].to(device))
