"""Movies with named dimensions and coordinates (xarray) through a function of plain arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.axes import meanings
from vsr.io.writers.coordinates import period_of, refine


def refined(movie: Any, scale: int, channels: int, frames: Callable[[np.ndarray], np.ndarray]) -> Any:
    """An xarray.DataArray with `scale` times finer rows and columns.

    movie: one dimension each for rows and columns, by their names or CF attributes; one for time where there is one, and one for
    channels where the network has several. Any further dimension counts movies, each of which is upscaled by itself.
    frames: (T, channels, h, w) float32 -> (T, channels, h * scale, w * scale).

    Values are float32. Coordinates along rows or columns are refined by `vsr.io.writers.coordinates.refine`, those with numbers
    that cannot be (texts, one pixel) are left out; others and all attributes stay.
    Raises UserError when rows and columns cannot be told from the names.
    """
    import xarray

    found = {name: meanings(str(name), movie.coords[name].attrs if name in movie.coords else {}) for name in movie.dims}
    letters = {letter: [name for name, own in found.items() if own == {letter}] for letter in "tcyx"}
    for letter, what in (("y", "rows"), ("x", "columns")):
        if len(letters[letter]) != 1:
            raise UserError(
                f"dimensions {', '.join(map(str, movie.dims))}: which of them counts {what} is not clear; type "
                f'movie.rename(NAME="{letter}") first'
            )
    own = [*letters["t"][:1], *(letters["c"][:1] if channels > 1 else []), letters["y"][0], letters["x"][0]]
    if channels > 1 and not letters["c"]:
        raise UserError(f"dimensions {', '.join(map(str, movie.dims))}: none is called channel, and this network has {channels}")
    others = [name for name in movie.dims if name not in own]
    ordered = movie.transpose(*others, *own)
    values = np.asarray(ordered.values, np.float32)
    lead = values.shape[: len(others)]
    size = values.shape[-2:]
    if channels > 1 and values.shape[-3] != channels:
        raise UserError(f"{values.shape[-3]} channels in dimension {letters['c'][0]}, this network has {channels}")
    time = values.shape[len(others)] if letters["t"] else 1
    movies = values.reshape(-1, time, channels, *size)
    made = np.stack([frames(each) for each in movies])
    sr = made.reshape(*lead, *values.shape[len(others) : -2], size[0] * scale, size[1] * scale)
    coords = {}
    for name, coord in movie.coords.items():
        spatial = [dim for dim in coord.dims if dim in own[-2:]]
        if not spatial:
            coords[name] = coord.variable
            continue
        if coord.dtype.kind not in "iuf" or any(coord.sizes[dim] < 2 for dim in spatial):
            continue
        finer = coord.values
        for dim in spatial:
            finer = refine(finer, scale, coord.dims.index(dim), period_of(coord.attrs))
        coords[name] = xarray.Variable(coord.dims, finer, coord.attrs)
    result = xarray.DataArray(sr, coords=coords, dims=ordered.dims, name=movie.name, attrs=movie.attrs)
    return result.transpose(*movie.dims)
