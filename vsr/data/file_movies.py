"""Movies that stay in array files (.mat, HDF5, NetCDF, Zarr, .npy, .npz) until their frames are needed."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vsr.errors import UserError
from vsr.io.readers.joined import JoinedMovie, open_movies, time_runs
from vsr.io.readers.open import ArrayMovie
from vsr.io.readers.selection import frame_span
from vsr.types import Movie, Offset

COARSE = 1e-5  # of the range of values: a coarser float32 needs an offset
SMALLEST_RANGE = 1e-34  # of values in float32: below, their differences have less than six digits
SAMPLED_MOVIES, SAMPLED_FRAMES = 8, 4  # that are read to find the range

log = logging.getLogger(__name__)


class FileMovie(Movie):
    """Frames start..stop-1 of movie number `which` of array files, read on demand.

    Reading raises UserError for a damaged file.

    Attributes:
        offset: Value that is taken off every physical value before it becomes float32, or one per variable; set by
            `set_common_offset`.
    """

    lazy = True
    offset: Offset = 0.0

    def __init__(self, array: ArrayMovie | JoinedMovie, which: int, start: int, stop: int) -> None:
        self.array, self.which, self.start, self.meta = array, which, start, array.meta
        movies, channels, length, height, width = array.shape
        self.shape = (channels, stop - start, height, width)
        self.name = f"{array.name}[{which}]" if movies > 1 else array.name
        if stop - start < length:
            self.name += f", frames {start} to {stop - 1}"

    def read(self, start: int, stop: int) -> torch.Tensor:
        """Read frames start..stop-1, (C, t, H, W) float32, in physical units minus `offset`."""
        values = self.array.read(self.which, self.start + start, self.start + stop, self.offset)
        # Arrays that are mapped from a file are not writable, which torch does not accept: those are copied.
        return torch.from_numpy(np.require(values, requirements="W"))


def variables_of(movies: Sequence[FileMovie]) -> tuple[str, ...]:
    """Return the names of the variables that are the channels of the movies; empty for movies of one variable."""
    names = movies[0].meta["variable"]
    return () if isinstance(names, str) else tuple(names)


def set_common_offset(movies: Sequence[FileMovie]) -> Offset:
    """Choose one offset for all movies such that float32 can hold their differences, set it in each movie and return it.

    Float32 holds a pressure of 101325 Pa to 0.008 Pa. Where that is coarse against the range of the values, a round value near
    their middle is taken off while they are float64. For most data the offset is 0.

    Returns:
        The offset; one per variable where several variables need different ones.

    Raises:
        UserError: If the range of the values is too small for float32.
    """
    names = variables_of(movies)
    low, high = np.full(max(1, len(names)), np.inf), np.full(max(1, len(names)), -np.inf)
    for movie in [movies[i] for i in np.unique(np.linspace(0, len(movies) - 1, SAMPLED_MOVIES).astype(int))]:
        for frame in np.unique(np.linspace(0, movie.shape[1] - 1, SAMPLED_FRAMES).astype(int)).tolist():
            at = movie.start + frame
            values = movie.array.read(movie.which, at, at + 1, dtype=np.float64)
            for i, own in enumerate(values if names else [values]):
                finite = own[np.isfinite(own)]
                if finite.size:
                    low[i], high[i] = min(low[i], finite.min()), max(high[i], finite.max())
    for i, (least, most) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        if 0 < most - least < SMALLEST_RANGE:
            of = f" of {names[i]}" if names else ""
            raise UserError(
                f"{movies[0].name}: values{of} from {least:.3g} to {most:.3g} differ by {most - least:.1g}, less than float32 "
                f"can tell, in which networks compute; give other units"
            )
    each = tuple(offset_for_range(*pair) for pair in zip(low.tolist(), high.tolist(), strict=True))
    offset: Offset = each[0] if len(set(each)) == 1 else each
    for movie in movies:
        movie.offset = offset
    return offset


def offset_for_range(low: float, high: float) -> float:
    """Return a round value near the middle of a range if float32 is coarse against the range, otherwise 0."""
    largest = max(abs(low), abs(high))
    if not low < high or largest > float(np.finfo(np.float32).max) or np.spacing(np.float32(largest)) <= COARSE * (high - low):
        return 0.0
    return round((low + high) / 2, -math.floor(math.log10(high - low)))


def file_movies(
    path: str | Sequence[str],
    variable: str | list[str] | None,
    axes: str | None,
    select: Mapping[Any, Any] | None,
    missing: float | Sequence[float] | None,
    frames: int | Sequence[int] | None,
    max_bytes: int,
) -> list[FileMovie]:
    """Return the movies of array files without reading their frames; a movie ends at a gap in time.

    `open_movies` and, for `frames`, `frame_span` explain the arguments and errors. A warning names gaps and repeated times.
    """
    found: list[FileMovie] = []
    for array in open_movies(path, variable=variable, axes=axes, select=select, missing=missing, max_bytes=max_bytes):
        runs, notes = time_runs(array.times(), array.shape[2], str(array.time_attrs.get("units", "")))
        for note in notes:
            log.warning("%s: %s", array.name, note)
        first, end = frame_span(frames, array.shape[2], array.name)
        kept = [(max(start, first), min(stop, end)) for start, stop in runs if max(start, first) < min(stop, end)]
        found += [FileMovie(array, which, *run) for which in range(array.shape[0]) for run in kept]
    if not found:  # `frames` lies in a gap in time
        raise UserError(f"data.frames={frames}: no two of these frames follow each other in time; type other frames")
    return found
