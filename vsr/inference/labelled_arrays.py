"""Upscaling of arrays with named dimensions and coordinates (xarray)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vsr.errors import UserError
from vsr.geometry import Alignment
from vsr.inference.lazy_arrays import is_lazy
from vsr.io.readers.axes import axis_meanings, is_geographic
from vsr.io.readers.pixel_grid import Coordinate
from vsr.io.writers.coordinates import refine_field


def upscale_labelled(
    movie: Any,
    scale: int,
    channels: int,
    upscale: Callable[[Any, str, Mapping[str, Coordinate]], Any],
    alignment: Alignment,
    variables: Sequence[str] = (),
    kept: Sequence[str] = (),
) -> Any:
    """Upscale an xarray.DataArray, or the only movie of an xarray.Dataset, along rows and columns.

    Args:
        movie: A DataArray, or a Dataset with one, with one dimension for rows and one for columns. It may have one for time, and
            has one for channels if the network has several. Dimensions are found by name or CF attributes. Each index of any
            other dimension is a movie of its own.
        scale: SR pixels per LR pixel.
        channels: Number of channels of the network.
        upscale: Function of an array, the letters of its last axes (such as "tcyx") and the coordinates "t", "y" and "x" of the
            movie, which gives the array with `scale` times its rows and columns; a Dask array for a Dask array.
        alignment: Place of the LR pixels on the SR grid along y and x.
        variables: Names of the variables that are the channels of the network, in its order. They are taken from a Dataset, and
            from a DataArray whose channels have names, by name.
        kept: Names along the first axis that `upscale` adds, of members (numbers) or statistics; empty if it adds none.

    Returns:
        A DataArray with the same dimensions and attributes, or a Dataset with it. `kept` is a first dimension, "member" or
        "statistic". Coordinates along rows or columns are
        refined by `vsr.io.writers.coordinates.refine_field`. They are left out if they are not numbers or have only one pixel.

    Raises:
        UserError: If the dimensions of rows, columns or channels cannot be found, if the number or names of the channels do
            not fit, or if the movie has the dimension that `kept` adds.
    """
    import xarray

    if isinstance(movie, xarray.Dataset) and variables and len(movie.data_vars) > 1:
        return _upscale_variables(movie, scale, upscale, alignment, variables, kept)
    if isinstance(movie, xarray.Dataset):
        name = _movie_of(movie)
        finer = upscale_labelled(movie[name], scale, channels, upscale, alignment, variables, kept)
        return finer.to_dataset(name=name).assign_attrs(movie.attrs)
    letters = _dimensions_of(movie, channels)
    first = (("member" if kept[0].isdecimal() else "statistic"),) if kept else ()
    if taken := [name for name in first if name in (*movie.dims, *movie.coords)]:
        raise UserError(f'{taken[0]}: is in the movie already, and keep adds it; type movie.rename({taken[0]}="of_lr") first')
    if variables and letters["c"] and (names := movie.coords.get(letters["c"][0])) is not None and names.dtype.kind in "UOT":
        given = [str(name) for name in names.values]
        _check_names(given, variables)
        if given != list(variables):
            finer = movie.sel({letters["c"][0]: list(variables)})
            finer = upscale_labelled(finer, scale, channels, upscale, alignment, variables, kept)
            return finer.sel({letters["c"][0]: given})
    own = [*letters["t"][:1], *(letters["c"][:1] if channels > 1 else []), letters["y"][0], letters["x"][0]]
    others = [name for name in movie.dims if name not in own]
    ordered = movie.transpose(*others, *own)
    if channels > 1 and (given := ordered.shape[-3]) != channels:
        raise UserError(f"{given} channels in dimension {letters['c'][0]}, this network has {channels}")
    of = {letter: _coordinate(movie, letters[letter][:1]) for letter in "tyx"}
    axes = ("t" if letters["t"] else "") + ("c" if channels > 1 else "") + "yx"
    sr = upscale(ordered.data if is_lazy(ordered.data) else ordered.values, axes, of)
    coords = {
        name: finer for name, coord in movie.coords.items() if (finer := _refine(coord, own[-2:], scale, alignment)) is not None
    }
    coords |= {name: xarray.Variable(name, [int(word) for word in kept] if name == "member" else list(kept)) for name in first}
    result = xarray.DataArray(sr, coords, (*first, *ordered.dims), name=movie.name, attrs=movie.attrs)
    return result.transpose(*first, *movie.dims)


def _upscale_variables(
    dataset: Any,
    scale: int,
    upscale: Callable[[Any, str, Mapping[str, Coordinate]], Any],
    alignment: Alignment,
    variables: Sequence[str],
    kept: Sequence[str],
) -> Any:
    """Upscale the variables of a Dataset together, as the channels of a network; other arrays are left out."""
    _check_names([name for name in map(str, dataset.data_vars) if name in variables], variables)
    first = dataset[variables[0]]
    for name in variables:
        if (dims := dataset[name].dims) != first.dims:
            raise UserError(f"{name} has the dimensions {dims}, {variables[0]} has {first.dims}; variables must be alike")
    stacked = dataset[list(variables)].to_array("channel")
    finer = upscale_labelled(stacked, scale, len(variables), upscale, alignment, variables, kept).to_dataset("channel")
    for name in variables:
        finer[name].attrs = dict(dataset[name].attrs)
    return finer.assign_attrs(dataset.attrs)


def _check_names(given: Sequence[str], variables: Sequence[str]) -> None:
    """Raise UserError if the names of channels are not those of a network's variables."""
    if sorted(given) != sorted(variables):
        raise UserError(
            f"variables {', '.join(given) or 'of other names'}: this network was trained on {', '.join(variables)}; rename them, "
            f'as in movie.rename(temperature="{variables[0]}")'
        )


def movies_of_dataset(dataset: Any) -> list[Any]:
    """Return the names of the arrays of a Dataset that have rows and columns."""
    names = []
    for name, array in dataset.data_vars.items():
        found = [axis_meanings(str(d), array.coords[d].attrs if d in array.coords else {}) for d in array.dims]
        if array.dtype.kind in "iuf" and {"y"} in found and {"x"} in found and not is_geographic(str(name), array.attrs):
            names.append(name)
    return names


def _movie_of(dataset: Any) -> Any:
    """Return the name of the only array of a Dataset that has rows and columns. Raises UserError if there are others."""
    names = movies_of_dataset(dataset)
    if len(names) == 1:
        return names[0]
    known = names or list(dataset.data_vars)
    example = f"; type network.upscale(dataset[{known[0]!r}])" if known else ""
    raise UserError(f"a Dataset with {len(names)} movies (its arrays: {', '.join(map(str, known))}){example}")


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


def _coordinate(movie: Any, names: Sequence[Any]) -> Coordinate:
    """Return the coordinate of a dimension as a file would have it; without values if there is none."""
    import xarray

    if not names or names[0] not in movie.coords:
        return Coordinate(str(names[0]) if names else "", None, {})
    plain = xarray.conventions.encode_cf_variable(movie.coords[names[0]].variable)  # dates as numbers with units
    return Coordinate(str(names[0]), np.asarray(plain.values), plain.attrs)


def _refine(coord: Any, spatial: list[Any], scale: int, alignment: Alignment) -> Any:
    """Return a coordinate of the upscaled movie as xarray.Variable; None if the coordinate cannot be refined."""
    import xarray

    own = [dim for dim in coord.dims if dim in spatial]
    if not own:
        return coord.variable
    if coord.dtype.kind not in "iuf" or any(coord.sizes[dim] < 2 for dim in own):
        return None
    axes = [coord.dims.index(dim) for dim in own]
    origins = [alignment[spatial.index(dim)] for dim in own]
    values, _ = refine_field(str(coord.name), coord.attrs, coord.values, axes, scale, origins)
    return xarray.Variable(coord.dims, values, coord.attrs)
