"""Movies that stay in an array file (.mat, HDF5, NetCDF, Zarr, .npy, .npz) until their frames are needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vsr.io.readers.open import ArrayMovie, open_movie
from vsr.types import Movie


class FileMovie(Movie):
    """Movie number `which` of an array file, read on demand. Reading raises UserError for a damaged file."""

    lazy = True

    def __init__(self, array: ArrayMovie, which: int) -> None:
        self.array, self.which, self.meta = array, which, array.meta
        self.shape = array.shape[1:]
        self.name = f"{array.name}[{which}]" if array.shape[0] > 1 else array.name

    def read(self, start: int, stop: int) -> torch.Tensor:
        """Read frames start..stop-1, (C, t, H, W) float32."""
        # Arrays that are mapped from a file are not writable, which torch does not accept: those are copied.
        return torch.from_numpy(np.require(self.array.read(self.which, start, stop), requirements="W"))


def file_movies(path: str, variable: str | list[str] | None, axes: str | None, max_bytes: int) -> list[Movie]:
    """Return the movies of an array file without reading their frames; see `open_movie` for the arguments and errors."""
    array = open_movie(Path(path).expanduser(), variable=variable, axes=axes, max_bytes=max_bytes)
    return [FileMovie(array, which) for which in range(array.shape[0])]
