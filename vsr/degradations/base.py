"""Interfaces of degradations, which make LR frames from HR frames, and of steps that keep the size of frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NoReturn, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from vsr.errors import UserError
from vsr.types import FrameBounds, HRFrames, LRFrames

# HR or LR frames: steps that keep the size may come before or after the step that changes the size.
Frames = Float[Tensor, "N C rows columns"]
Bounds = FrameBounds


@runtime_checkable
class Degradation(Protocol):
    """Interface of a function that makes LR frames from HR frames; the same input gives the same output."""

    name: str  # short and complete, as in results and checkpoints: "bicubic+jpeg(75)"
    temporal: bool  # whether an LR frame depends on neighbouring frames, as under a video codec

    def __call__(self, hr: HRFrames, scale: int, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> LRFrames:
        """Degrade consecutive frames of one movie, (N, C, H, W) -> (N, C, H/scale, W/scale), in physical units.

        Args:
            hr: HR frames.
            scale: HR pixels per LR pixel along each axis.
            bounds: Physical values that correspond to 0 and 1 in the unit interval: two numbers, or two tensors (C, 1, 1) for
                channels with ranges of their own.
            first: Number of the first frame in its movie; noise depends on this number.
        """
        ...

    def origin(self, scale: int) -> float:
        """Return the position of the first LR pixel along each axis, in HR pixels from the first HR pixel.

        It is (scale - 1) / 2 if each LR pixel lies in the middle of its block of HR pixels.
        """
        ...


def is_centred(degradation: Degradation, scale: int) -> bool:
    """Return True if each LR pixel lies in the middle of its block of HR pixels; otherwise, flips shift LR against HR."""
    return degradation.origin(scale) == (scale - 1) / 2


class SameSizeStep(ABC):
    """Base class of steps of a `Chain` that keep the size of frames; for `name`, `bounds` and `first` see `Degradation`."""

    name: str
    temporal = False

    @abstractmethod
    def apply(self, frames: Frames, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> Frames:
        """Return degraded copies of frames (N, C, rows, columns) in physical units."""

    def __call__(self, hr: HRFrames, scale: int, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> NoReturn:
        """Raise UserError, because a step that keeps the size makes no LR frames without a chain."""
        raise UserError(
            f"degradation={self.name}: keeps the size of frames, so that it makes no LR frames by itself; make it one of the "
            f"steps of a chain, as degradation=blur, noise, jpeg and h264 do"
        )


def format_degradation_number(number: float) -> str:
    """Format a number for the name of a degradation, with at most 15 digits; 2 and 2.0 give the same text."""
    return f"{number:.15g}"
