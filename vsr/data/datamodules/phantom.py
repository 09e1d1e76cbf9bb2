"""Data module of a moving Shepp-Logan head phantom: piecewise constant frames, sub-pixel motion, rendered in each run."""

from __future__ import annotations

from typing import Any, Literal

import torch

from vsr.data.base import SRDataModule
from vsr.data.simulation.phantom import BOUNDS, LARGEST_MOTION, render_phantom_movie
from vsr.data.splits import TRAJECTORY, Split, count_trajectories
from vsr.errors import UserError
from vsr.system.progress import progress_bar
from vsr.types import Movie

VERSION = 2  # raise it when the same arguments give other frames or splits


class PhantomDataModule(SRDataModule):
    """Movies of a moving head phantom, each of another head and another motion, and wholly in one split.

    Args:
        variant: "modified" (Toft 1996, levels 0 to 1) or "original" (Shepp & Logan 1974, levels 0 to 2, faint inside the
            skull).
        size: Number of pixels per side of a frame.
        seed: Seed of all movies.
        motion: Amplitude of the motion as a fraction of the size, 0 to 0.05.
        speed: Speed of the motion; 1 is a period of about 33 frames.
        variety: How far a head differs from the published head, 0 to 1; with 0, only the motion differs.
        frames: Number of frames of each movie.
        learn: Number of frames to learn from, a fifth of them for validation.
        test: Number of frames to test on.
        shared: Arguments of `SRDataModule`.

    Raises:
        UserError: If a value is out of range.
    """

    # Motion has no preferred side and a head is nearly symmetric about its vertical axis, but not about the horizontal one.
    symmetries = ("flip_x",)

    def __init__(
        self,
        *,
        variant: Literal["original", "modified"] = "modified",
        size: int = 120,
        seed: int = 0,
        motion: float = 0.02,
        speed: float = 1.0,
        variety: float = 0.5,
        frames: int = TRAJECTORY,
        learn: int = 150,
        test: int = 80,
        **shared: Any,
    ) -> None:
        super().__init__(**{"crop": False, **shared})
        self.name, self.bounds = f"phantom-{variant}-{VERSION}", BOUNDS[variant]
        for name, value, low, high in (("motion", motion, 0, LARGEST_MOTION), ("variety", variety, 0, 1)):
            if not low <= value <= high:
                raise UserError(f"data.{name}={value}: must lie between {low} and {high}; type data.{name}={high}")
        for name, number, least in (("size", size, 16), ("seed", seed, 0)):
            if number < least:
                raise UserError(f"data.{name}={number}: must be {least} or more; type data.{name}={least}")
        self.variant, self.size, self.phantom_seed, self.frames = variant, size, seed, frames
        self.motion, self.speed, self.variety = motion, speed, variety
        self.split = Split(by="trajectory", learn=learn, test=test)
        self.counts = count_trajectories(learn, test, frames)
        self._made: list[Movie] = []

    def movies(self) -> list[Movie]:
        """Return the movies, first those to learn from, then those to test on."""
        if not self._made:
            seeds = [(self.phantom_seed, number, k) for number in range(2) for k in range(self.counts[number])]
            with progress_bar(len(seeds) * self.frames, f"rendering {self.name}", "frame") as bar:
                for seed in seeds:
                    movie = render_phantom_movie(
                        variant=self.variant,
                        size=self.size,
                        frames=self.frames,
                        seed=seed,
                        motion=self.motion,
                        speed=self.speed,
                        variety=self.variety,
                        tick=bar.update,
                    )
                    name = f"{self.name}, seed {seed}"
                    self._made.append(Movie(torch.from_numpy(movie).unsqueeze(0), name, {"units": "1", "periodic": False}))
        return self._made
