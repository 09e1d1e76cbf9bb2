"""Data module that trains on one source and tests on another source, to measure generalisation to other equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from vsr.data.base import SRDataModule
from vsr.data.splits import Segment
from vsr.errors import UserError
from vsr.geometry import PixelGrid
from vsr.types import Movie


class CrossDataModule(SRDataModule):
    """Training and validation frames of one data module, with test frames of another data module.

    The test splits of `test` keep their names; the test frames of `train` become the split `own`. When both sources declare
    bounds, values of `test` are mapped from its bounds to the bounds of `train`, so that the network sees the unit interval for
    both sources. Otherwise, the values of `test` are taken as values in the units of `train`.

    Args:
        train: Source of the training and validation frames.
        test: Source of the test frames.
        shared: Arguments of `SRDataModule`; by default, `crop`, `mask` and `memory` follow from those of the two sources.
    """

    test_split_name = "own"

    def __init__(self, *, train: SRDataModule, test: SRDataModule, **shared: Any) -> None:
        crops, masks = {train.crop, test.crop}, {train.mask, test.mask}
        of_both = {
            "crop": False if False in crops else None if None in crops else True,
            "mask": True if True in masks else None if None in masks else False,
            "memory": max(train.memory, test.memory),
        }
        super().__init__(**(of_both | shared))
        self.choices = list(dict.fromkeys([*train.choices, *test.choices]))
        self.train, self.test = train, test
        self.name = f"{train.name} to {test.name}"
        self.physical, self.geostrophic = train.physical and test.physical, test.geostrophic
        self.split, self.symmetries, self.bounds = train.split, train.symmetries, train.bounds
        self.variables, self.declared, self.transforms = train.variables, train.declared, train.transforms
        self.vectors, self.periodic = train.vectors, train.periodic
        if given := [key for key in ("inputs", "lr_variables", "static_names") if getattr(train, key) or getattr(test, key)]:
            key = {"lr_variables": "lr_variable", "static_names": "static"}.get(given[0], given[0])
            raise UserError(f"{self.name}: data.train.{key} or data.test.{key}: two sources share no such inputs; leave it out")
        if train.variables != test.variables and train.variables and test.variables:
            raise UserError(
                f"{self.name}: {', '.join(train.variables)} to learn from, {', '.join(test.variables)} to test on; give both "
                f"sources one data.variable"
            )

    def movies(self) -> list[Movie]:
        """Return the movies of `train`."""
        found = self.train.movies()
        self.bounds, self.offset = self.train.bounds, self.train.offset
        return found

    def extra_test_splits(self) -> dict[str, list[Movie]]:
        """Return the test splits of `test`, in the units of `train`. Raises UserError if the numbers of channels differ."""
        movies = self.test.movies()
        parts = self.test.split.cut([movie.shape[1] for movie in movies], self.test.name).get("test", [])
        tests = {"test": [(movies[part.movie], part) for part in parts]} if parts else {}
        for name, further in self.test.extra_test_splits().items():
            tests[name] = [(movie, Segment(i, 0, movie.shape[1])) for i, movie in enumerate(further)]
        for (movie, _), *_ in tests.values():
            if movie.shape[0] != (own := self.train.movies()[0].shape[0]):
                raise UserError(
                    f"{self.name}: {own} channels to learn from, {movie.shape[0]} to test on; give sources of as many"
                )
        return {name: [self._mapped(movie, part) for movie, part in found] for name, found in tests.items()}

    def pixel_grid_of(self, movie: Movie) -> PixelGrid:
        """Return the size of the pixels of a movie, as its own source knows it."""
        return self.test.pixel_grid_of(movie.movie) if isinstance(movie, PartOfMovie) else self.train.pixel_grid_of(movie)

    def _mapped(self, movie: Movie, part: Segment) -> Movie:
        if self.bounds is None or self.test.bounds is None:
            return PartOfMovie(movie, part, 1.0, np.subtract(self.test.offset, self.offset))
        (low, high), (test_low, test_high) = (map(np.asarray, each.frame_bounds) for each in (self, self.test))
        gain = (high - low) / (test_high - test_low)
        return PartOfMovie(movie, part, gain, low - gain * test_low)


class PartOfMovie(Movie):
    """Consecutive frames of a movie whose values are mapped to gain * value + offset, numbers or one per channel."""

    def __init__(self, movie: Movie, part: Segment, gain: ArrayLike, offset: ArrayLike) -> None:
        self.movie, self.part = movie, part
        self.gain, self.offset = (torch.from_numpy(np.reshape(x, (-1, 1, 1, 1)).astype(np.float64)) for x in (gain, offset))
        self.name, self.meta, self.lazy = movie.name, movie.meta, movie.lazy
        channels, _, height, width = movie.shape
        self.shape = (channels, len(part), height, width)

    def read(self, start: int, stop: int) -> torch.Tensor:
        """Read frames start..stop-1, counted from the first frame of the part."""
        frames = self.movie.read(start + self.part.start, stop + self.part.start)
        mapped = bool((self.gain != 1).any() or (self.offset != 0).any())
        return (frames * self.gain.float() + self.offset.float()) if mapped else frames
