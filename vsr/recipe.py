"""Training recipe: all settings that must be equal when networks are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vsr.types import LossName

Over = Literal["none", "bicubic"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of training: loss, optimizer (Adam), schedule, batches and the form of the output.

    Attributes:
        loss: Training loss on frames in the unit interval; with `residual="bicubic"`, on frames in units of the residual's rms.
            A name, or a `torch.nn.Module` of a plugin with forward(sr, hr, mask) that returns the mean over pixels with mask 1.
        gradient: Weight of the loss on differences of neighbouring pixels, see vsr/training/modules/losses.py.
        spectral: Weight of the loss on amplitudes of Fourier modes.
        temporal: Weight of the loss on differences of consecutive frames (movie networks).
        weights: Weight of some of several variables in the loss, by name; the others have 1. None for equal weights. Variables
            count in their own ranges, so that equal weights suit variables of different size.
        area: True to weight the pixels of latitudes and longitudes by their area in the loss, as scores do.
        finetune: Fraction of the planned steps, at the end of training, in which only the squared error is minimised.
        rate: Learning rate of Adam; the largest value if the schedule varies the rate.
        schedule: "constant"; "cosine" from `rate` to 0; "one_cycle", up over the first tenth, then down (Smith 2018).
        batch: Clips per step.
        frames: Frames per training clip of movie networks; clips of a frame network have one frame.
        patch: Side of the training patches in LR pixels; None trains on whole frames.
        steps: Steps per epoch; None is one pass over the training clips.
        augment: Flip, transpose or turn each batch at random, as far as the data have these symmetries, and make up neighbours in
            time for some clips as at the ends of movies. See `PatchLoader`.
        mix: Share of the clips, 0 to 1, that are mixed with clips of two other training trajectories at the same time, by random
            weights; None for no mixing. See `PatchLoader`.
        residual: "bicubic": the input is standardised, and the network adds a residual in units of its rms to the bicubic
            frame. "none": the network makes the frame itself. Old configs have true for "bicubic" and false for "none".
        ema: Decay of the averaged weights that are validated and kept; None for no averaging.
        clip: Largest norm of the gradient; None for no clipping.
    """

    loss: LossName = "mse"
    gradient: float = 0.0
    spectral: float = 0.0
    temporal: float = 0.0
    weights: dict[str, float] | None = None
    area: bool | None = None
    finetune: float = 0.0
    rate: float = 4e-3
    schedule: Literal["constant", "cosine", "one_cycle"] = "one_cycle"
    batch: int = 16
    frames: int = 7
    patch: int | None = 16
    steps: int | None = 100
    augment: bool = True
    mix: float | None = None
    residual: Literal["none", "bicubic", True, False] = "bicubic"
    ema: float | None = 0.999
    clip: float | None = 1.0

    @property
    def over(self) -> Over:
        """Return `residual` as "bicubic" or "none", also if an old config has true or false."""
        if isinstance(self.residual, bool):
            return "bicubic" if self.residual else "none"
        return self.residual
