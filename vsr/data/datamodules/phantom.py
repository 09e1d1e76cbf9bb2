"""Data module of a moving Shepp-Logan head phantom: piecewise constant frames, sub-pixel motion, rendered in each run."""

from __future__ import annotations

from typing import Any, Literal

import torch

from vsr.data.base import SRDataModule
from vsr.data.simulation.phantom import BOUNDS, LARGEST_MOTION, render_phantom_movie
from vsr.data.splits import Split
from vsr.errors import UserError
from vsr.system.progress import progress_bar
from vsr.types import Movie


class PhantomDataModule(SRDataModule):
    """Movie of a moving head phantom, cut in time. A second test split, `unseen`, has another head and another motion.

    Args:
        variant: "modified" (Toft 1996, levels 0 to 1) or "original" (Shepp & Logan 1974, levels 0 to 2, faint inside the
            skull).
        size: Number of pixels per side of a frame.
        seed: Seed of both movies.
        motion: Amplitude of the motion as a fraction of the size, 0 to 0.05.
        speed: Speed of the motion; 1 is a period of about 33 frames.
        variety: How far a head differs from the published head, 0 to 1; with 0, only the motion of `unseen` is different.
        learn: Number of frames to learn from, a fifth of them for validation.
        test: Number of frames to test on; `unseen` has as many frames.
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
        learn: int = 120,
        test: int = 50,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.name, self.bounds = f"phantom-{variant}", BOUNDS[variant]
        for name, value, low, high in (("motion", motion, 0, LARGEST_MOTION), ("variety", variety, 0, 1)):
            if not low <= value <= high:
                raise UserError(f"data.{name}={value}: must lie between {low} and {high}; type data.{name}={high}")
        for name, number, least in (("size", size, 16), ("learn", learn, 2), ("test", test, 2), ("seed", seed, 0)):
            if number < least:
                raise UserError(f"data.{name}={number}: must be {least} or more; type data.{name}={least}")
        self.variant, self.size, self.phantom_seed = variant, size, seed
        self.motion, self.speed, self.variety = motion, speed, variety
        self.split = Split(learn=learn, test=test)
        self.lengths = {"main": learn + test, "unseen": test}
        self._made: dict[str, Movie] = {}

    def movies(self) -> list[Movie]:
        """Return the one movie that is cut into train, val and test."""
        return [self._rendered()["main"]]

    def extra_test_splits(self) -> dict[str, list[Movie]]:
        """Return the test split `unseen`, a movie of another seed."""
        return {"unseen": [self._rendered()["unseen"]]}

    def _rendered(self) -> dict[str, Movie]:
        if not self._made:
            with progress_bar(sum(self.lengths.values()), f"rendering {self.name}", "frame") as bar:
                for number, (part, frames) in enumerate(self.lengths.items()):
                    movie = render_phantom_movie(
                        variant=self.variant,
                        size=self.size,
                        frames=frames,
                        seed=(self.phantom_seed, number),
                        motion=self.motion,
                        speed=self.speed,
                        variety=self.variety,
                        tick=bar.update,
                    )
                    name = f"{self.name}, seed {self.phantom_seed}, {part}"
                    self._made[part] = Movie(torch.from_numpy(movie).unsqueeze(0), name, {"units": "1", "periodic": False})
        return self._made
