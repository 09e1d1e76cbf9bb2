"""The interfaces of degradations: from HR frames to LR frames, and steps that keep the size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NoReturn, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from vsr.errors import UserError
from vsr.types import HRFrames, LRFrames

# HR or LR frames: steps that keep the size may come before or after the step that changes the size.
Frames = Float[Tensor, "N C rows columns"]
Bounds = tuple[float, float]


@runtime_checkable
class Degradation(Protocol):
    """Makes LR frames from HR frames; the same input gives the same output."""

    name: str  # short and complete, as in results and checkpoints: "bicubic+jpeg(75)"
    temporal: bool  # whether an LR frame depends on neighbouring frames, as under a video codec

    def __call__(self, hr: HRFrames, scale: int, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> LRFrames:
        """Degrade consecutive frames of one movie, (N, C, H, W) -> (N, C, H/scale, W/scale), in physical units.

        Args:
            hr: the frames.
            scale: HR pixels per LR pixel.
            bounds: physical values that become 0 and 1.
            first: number of the first frame in its movie; noise depends on it.
        """
        ...

    def centred(self, scale: int) -> bool:
        """Whether an LR pixel lies in the middle of its block of HR pixels; if not, a flip shifts LR against HR."""
        ...


class SameSizeStep(ABC):
    """A step of a `Chain` that keeps the size of frames; `name`, `bounds` and `first` are those of `Degradation`."""

    name: str
    temporal = False

    @abstractmethod
    def apply(self, frames: Frames, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> Frames:
        """Degrade frames (N, C, rows, columns) in physical units; the argument is not changed."""

    def __call__(self, hr: HRFrames, scale: int, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> NoReturn:
        """Raise UserError, because a step that keeps the size is no `Degradation` on its own."""
        raise UserError(
            f"degradation={self.name}: keeps the size of frames, so that it makes no LR frames by itself; make it one of the "
            f"steps of a chain, as degradation=blur, noise, jpeg and h264 do"
        )


def format_degradation_number(number: float) -> str:
    """Format a number for a name: equal for 2 and 2.0, with all digits that were typed."""
    return f"{number:.15g}"
