"""Upscaling of arrays with named dimensions and coordinates (xarray)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.axes import axis_meanings
from vsr.io.writers.coordinates import coordinate_period, refine_coordinates


def upscale_labelled(movie: Any, scale: int, channels: int, upscale: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Upscale an xarray.DataArray along rows and columns.

    Args:
        movie: A DataArray with one dimension for rows and one for columns. It may have one for time, and has one for channels
            if the network has several. Dimensions are found by name or CF attributes. Each index of any other dimension is a
            movie of its own.
        scale: SR pixels per LR pixel.
        channels: Number of channels of the network.
        upscale: Function (T, channels, h, w) float32 -> (T, channels, h * scale, w * scale).

    Returns:
        A float32 DataArray with the same dimensions and attributes. Coordinates along rows or columns are refined by
        `vsr.io.writers.coordinates.refine_coordinates`. They are left out if they are not numbers or have only one pixel.

    Raises:
        UserError: If the dimensions of rows, columns or channels cannot be found, or the number of channels does not fit.
    """
    import xarray

    letters = _dimensions_of(movie, channels)
    own = [*letters["t"][:1], *(letters["c"][:1] if channels > 1 else []), letters["y"][0], letters["x"][0]]
    others = [name for name in movie.dims if name not in own]
    ordered = movie.transpose(*others, *own)
    values = np.ascontiguousarray(ordered.values, np.float32)
    *lead, height, width = values.shape
    if channels > 1 and lead[-1] != channels:
        raise UserError(f"{lead[-1]} channels in dimension {letters['c'][0]}, this network has {channels}")
    frames = values.shape[len(others)] if letters["t"] else 1
    sr = np.stack([upscale(each) for each in values.reshape(-1, frames, channels, height, width)])
    coords = {name: finer for name, coord in movie.coords.items() if (finer := _refine(coord, own[-2:], scale)) is not None}
    result = xarray.DataArray(
        sr.reshape(*lead, height * scale, width * scale), coords, ordered.dims, name=movie.name, attrs=movie.attrs
    )
    return result.transpose(*movie.dims)


def _dimensions_of(movie: Any, channels: int) -> dict[str, list[Any]]:
    """Return the names of the dimensions for time, channels, rows and columns as "t", "c", "y", "x". Raises UserError."""
    found = {name: axis_meanings(str(name), movie.coords[name].attrs if name in movie.coords else {}) for name in movie.dims}
    letters = {letter: [name for name, own in found.items() if own == {letter}] for letter in "tcyx"}
    dims = f"dimensions {', '.join(map(str, movie.dims))}"
    for letter, what in (("y", "rows"), ("x", "columns")):
        if len(letters[letter]) != 1:
            raise UserError(f'{dims}: which of them counts {what} is not clear; type movie.rename(NAME="{letter}") first')
    if channels > 1 and not letters["c"]:
        raise UserError(f"{dims}: none is called channel, and this network has {channels}")
    return letters


def _refine(coord: Any, spatial: list[Any], scale: int) -> Any:
    """Return a coordinate of the upscaled movie as xarray.Variable; None if the coordinate cannot be refined."""
    import xarray

    own = [dim for dim in coord.dims if dim in spatial]
    if not own:
        return coord.variable
    if coord.dtype.kind not in "iuf" or any(coord.sizes[dim] < 2 for dim in own):
        return None
    values = coord.values
    for dim in own:
        values = refine_coordinates(values, scale, coord.dims.index(dim), coordinate_period(coord.attrs))
    return xarray.Variable(coord.dims, values, coord.attrs)
