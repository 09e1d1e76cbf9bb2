"""Movies that stay in array files (.mat, HDF5, NetCDF, Zarr, .npy, .npz) until their frames are needed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vsr.io.readers.joined import JoinedMovie, open_movies, time_runs
from vsr.io.readers.open import ArrayMovie
from vsr.types import Movie

log = logging.getLogger(__name__)


class FileMovie(Movie):
    """Frames start..stop-1 of movie number `which` of array files, read on demand.

    Reading raises UserError for a damaged file.
    """

    lazy = True

    def __init__(self, array: ArrayMovie | JoinedMovie, which: int, start: int, stop: int) -> None:
        self.array, self.which, self.start, self.meta = array, which, start, array.meta
        movies, channels, length, height, width = array.shape
        self.shape = (channels, stop - start, height, width)
        self.name = f"{array.name}[{which}]" if movies > 1 else array.name
        if stop - start < length:
            self.name += f", frames {start} to {stop - 1}"

    def read(self, start: int, stop: int) -> torch.Tensor:
        """Read frames start..stop-1, (C, t, H, W) float32."""
        values = self.array.read(self.which, self.start + start, self.start + stop)
        # Arrays that are mapped from a file are not writable, which torch does not accept: those are copied.
        return torch.from_numpy(np.require(values, requirements="W"))


def file_movies(
    path: str | Sequence[str],
    variable: str | list[str] | None,
    axes: str | None,
    select: Mapping[Any, Any] | None,
    missing: float | Sequence[float] | None,
    max_bytes: int,
) -> list[Movie]:
    """Return the movies of array files without reading their frames; a movie ends at a gap in time.

    `open_movies` explains the arguments and errors. A warning names gaps and repeated times.
    """
    found: list[Movie] = []
    for array in open_movies(path, variable=variable, axes=axes, select=select, missing=missing, max_bytes=max_bytes):
        runs, notes = time_runs(array.times(), array.shape[2], str(array.time_attrs.get("units", "")))
        for note in notes:
            log.warning("%s: %s", array.name, note)
        found += [FileMovie(array, which, *run) for which in range(array.shape[0]) for run in runs]
    return found
