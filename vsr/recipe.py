"""The training recipe: all settings that must be equal when networks are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vsr.types import LossName

Over = Literal["none", "bicubic"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Loss, optimizer (Adam), schedule, batches and the form of the output.

    Attributes:
        loss: training loss on frames in the unit interval, divided by the rms of the residual when there is one.
        gradient: weight of the loss on differences of neighbouring pixels, see vsr/training/modules/losses.py.
        spectral: weight of the loss on amplitudes of Fourier modes.
        temporal: weight of the loss on differences of consecutive frames (movie networks).
        finetune: share of the planned steps, at the end, that minimise the squared error alone.
        rate: Adam's learning rate, or the peak of the schedule.
        schedule: "constant"; "cosine" from `rate` to 0; "one_cycle", up over the first tenth, then down (Smith 2018).
        batch: clips per step.
        frames: frames per training clip of movie networks; a frame network's clips have one.
        patch: side of the training patches in LR pixels; None trains on whole frames.
        steps: steps per epoch; None is one pass over the training clips.
        augment: flips and transposes, one draw per batch, where the data have the symmetry.
        residual: "bicubic" for standardised input and a residual over bicubic in units of its rms; "none" for the frame itself.
            Old configs say true for "bicubic" and false for "none".
        ema: decay of the averaged weights that are validated and kept; None for no averaging.
        clip: largest norm of the gradient; None for no clipping.
    """

    loss: LossName = "mse"
    gradient: float = 0.0
    spectral: float = 0.0
    temporal: float = 0.0
    finetune: float = 0.0
    rate: float = 4e-3
    schedule: Literal["constant", "cosine", "one_cycle"] = "one_cycle"
    batch: int = 16
    frames: int = 7
    patch: int | None = 16
    steps: int | None = 100
    augment: bool = True
    residual: Literal["none", "bicubic", True, False] = "bicubic"
    ema: float | None = 0.999
    clip: float | None = 1.0

    @property
    def over(self) -> Over:
        """`residual` by name, also for old configs."""
        if isinstance(self.residual, bool):
            return "bicubic" if self.residual else "none"
        return self.residual
