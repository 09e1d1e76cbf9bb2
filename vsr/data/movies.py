"""Real movies: the luma of a video file."""

from __future__ import annotations

from pathlib import Path

import torch

from vsr.data.base import SRDataModule
from vsr.data.readers.video import SUFFIXES, read_luma
from vsr.data.splits import Split
from vsr.degradations import Degradation
from vsr.errors import UserError
from vsr.recipe import Recipe
from vsr.types import Movie


class MovieDataModule(SRDataModule):
    """The luma of one video file, split in time; code values 0..255 become 0..1.

    Args:
        path: y4m, mp4, mkv or avi.
        frames: use only the first so many; None for all, which also checks that the file is complete.
        learn, test: frames or shares (below 1) to learn from and to test on; val: share of the learning frames.
        gap: frames left out between train, val and test.
        scale, degradation, recipe, crop: as in `SRDataModule`.

    Raises UserError for files that cannot be used.
    """

    bounds = (0.0, 255.0)

    def __init__(
        self,
        *,
        path: str | None = None,
        frames: int | None = None,
        learn: float = 0.7,
        test: float = 0.3,
        val: float = 0.2,
        gap: int = 0,
        scale: int,
        degradation: Degradation,
        recipe: Recipe,
        draw: int = 0,
        crop: bool = False,
    ) -> None:
        super().__init__(scale=scale, degradation=degradation, recipe=recipe, seed=draw, crop=crop)
        if path is None:
            raise UserError("data=movies needs a file; type data.path=FILE (y4m, mp4, mkv or avi)")
        self.path, self.limit = Path(path).expanduser(), frames
        self.name = self.path.name
        self.split = Split(learn=learn, test=test, val=val, gap=gap)
        if self.path.suffix.lower() not in SUFFIXES:
            raise UserError(f"{path}: not one of {', '.join(SUFFIXES)}")

    def movies(self) -> list[Movie]:
        """The file as one movie."""
        return [Movie(torch.from_numpy(read_luma(self.path, self.limit)).unsqueeze(0), str(self.path), {"units": "luma"})]
