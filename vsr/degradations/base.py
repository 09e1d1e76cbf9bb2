"""The two kinds of degradation: those that make LR frames of HR frames, and those that keep the size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NoReturn, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from vsr.errors import UserError
from vsr.types import HRFrames, LRFrames

# HR or LR: steps that keep the size work on both sides of the one that changes it.
Frames = Float[Tensor, "N C rows columns"]
Bounds = tuple[float, float]


@runtime_checkable
class Degradation(Protocol):
    """HR frames (N, C, H, W) in physical units -> LR frames (N, C, H/scale, W/scale); the same input gives the same output.

    The N frames are consecutive frames of one movie, the first of them its frame number `first`; `bounds` are the physical
    values that become 0 and 1. `name` is short and complete ("bicubic+jpeg(75)"): results and checkpoints say it.
    """

    name: str
    temporal: bool  # whether a frame's LR depends on the frames around it, as a video codec's does

    def __call__(self, hr: HRFrames, scale: int, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> LRFrames: ...

    def centred(self, scale: int) -> bool:
        """Whether an LR pixel lies in the middle of its block: where it does not, flipping a pair moves LR against HR."""
        ...


class SameSizeStep(ABC):
    """A step of a `Chain` that keeps the size: (N, C, rows, columns) -> the same shape, in physical units.

    Frames, `bounds`, `first` and `name` mean what they mean for a `Degradation`.
    """

    name: str
    temporal = False

    @abstractmethod
    def apply(self, frames: Frames, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> Frames:
        """The degraded frames; the argument is left as it is."""

    def __call__(self, hr: HRFrames, scale: int, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> NoReturn:
        """Raises UserError: what stands where a `Degradation` belongs would otherwise fail as "not callable"."""
        raise UserError(
            f"degradation={self.name}: keeps the size of frames, so that it makes no LR frames by itself; make it one of the "
            f"steps of a chain, as degradation=blur, noise, jpeg and h264 do"
        )


def short(number: float) -> str:
    """A number as it stands in a name: the same for 2 and 2.0, with all the digits that were typed."""
    return f"{number:.15g}"
