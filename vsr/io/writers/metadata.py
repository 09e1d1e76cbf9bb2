"""Selection of the coordinates, scalars and attributes that the output takes over from the file of a movie."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vsr.geometry import Alignment, is_cell
from vsr.io.readers.axes import DIMENSION_NAMES, is_geographic, may_be_times
from vsr.io.readers.base import ArrayReader, AuxiliaryArray, Metadata
from vsr.io.readers.packing import PACKING_KEYS, RANGE_KEYS, coordinate_values
from vsr.io.readers.selection import Positions
from vsr.io.writers.coordinates import refine_bounds, refine_field
from vsr.io.writers.template import AuxiliaryField

MAX_FIELD = 2**28  # bytes of a refined coordinate; larger ones are left out
RANGES = (*RANGE_KEYS, "actual_range")
STALE = ("ancillary_variables", "cell_measures")  # names of variables that are not carried over
# Attributes with the size or the spacing of the grid, in upper case: spacings are divided by the scale, sizes of WRF's staggered
# grid are multiplied, and what describes the coarse grid in another way is left out.
SPACINGS = (
    "DX",
    "DY",
    "GEOSPATIAL_LAT_RESOLUTION",
    "GEOSPATIAL_LON_RESOLUTION",
    "CELLSIZE",
    "CELL_SIZE",
    "XCELLSIZE",
    "YCELLSIZE",
)
STAGGERED_SIZES = ("WEST-EAST_GRID_DIMENSION", "SOUTH-NORTH_GRID_DIMENSION")
COARSE = (
    *("NX", "NY", "NI", "NJ", "NLON", "NLAT", "NCOLS", "NROWS", "RESOLUTION", "SPATIAL_RESOLUTION", "GRID_RESOLUTION"),
    *("GRIDHEADER", "NODATA_VALUE"),
)


class FinerGrid:
    """The finer grid of an output, and what changes in the attributes of a file on the coarse grid.

    Args:
        scale: Output pixels per input pixel, along rows and along columns.
        alignment: Place of the input pixels on the output grid along y and x; None for the middle of their blocks.
    """

    def __init__(self, scale: int, alignment: Alignment | None = None) -> None:
        self.scale, self.alignment = scale, alignment
        self.beyond_poles: dict[str, int] = {}
        self._scaled: list[str] = []
        self._dropped: list[str] = []

    @property
    def centred(self) -> bool:
        """Return True if each input pixel lies in the middle of its block of output pixels."""
        return self.alignment is None or is_cell(self.alignment, self.scale)

    def attributes(self, attrs: Mapping[str, Any]) -> dict[str, Any]:
        """Return attributes of a file, group or variable with sizes and spacings of the finer grid."""
        if self.scale == 1:
            return dict(attrs)
        out: dict[str, Any] = {}
        for key, value in attrs.items():
            made = self._attribute(key.upper(), value)
            if made is None:
                self._dropped.append(key)
                continue
            if made is not value:
                self._scaled.append(key)
            out[key] = made
        return out

    def _attribute(self, key: str, value: Any) -> Any:
        """Return the value of an attribute on the finer grid: the same object if it stays, None if it has to go."""
        number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if key in SPACINGS:
            return value / self.scale if number and "node" not in (self.alignment or ()) else None
        if key in STAGGERED_SIZES:
            return type(value)((int(value) - 1) * self.scale + 1) if number else None
        if key == "GEOTRANSFORM":
            return self._geotransform(value)
        if key in COARSE or key.startswith("DOMAIN_") or ("PATCH" in key and key.startswith(("WEST-EAST_", "SOUTH-NORTH_"))):
            return None
        return value

    def _geotransform(self, value: Any) -> Any:
        """Return GDAL's affine transform of the finer grid: its corner stays, its steps are divided."""
        try:
            numbers = [float(x) for x in (value.split() if isinstance(value, str) else np.asarray(value).ravel())]
        except (TypeError, ValueError):
            return None
        if len(numbers) != 6 or not self.centred:
            return None
        finer = [x if i in (0, 3) else x / self.scale for i, x in enumerate(numbers)]
        return " ".join(f"{x:.15g}" for x in finer) if isinstance(value, str) else np.asarray(finer)

    def notes(self) -> list[str]:
        """Return sentences on what changed, for the user."""
        notes = [
            f"{name}: {count} latitudes beyond a pole are moved to it, so that the outermost cells are half as high"
            for name, count in self.beyond_poles.items()
        ]
        changed = {"now describe the finer grid": self._scaled, "describe the coarse grid and are left out": self._dropped}
        notes += [f"attributes that {text}: {', '.join(dict.fromkeys(keys))}" for text, keys in changed.items() if keys]
        return notes


def metadata_attributes(metadata: Metadata, fields: Sequence[AuxiliaryField], grid: FinerGrid) -> tuple[dict[str, Any], ...]:
    """Return, for each array of the movie, the attributes that are still true of float32 values on the finer grid."""
    dropped = (*RANGES, *STALE, *PACKING_KEYS)
    names = {entry.name.rpartition("/")[2] for entry in fields}
    out: list[dict[str, Any]] = []
    for attrs in metadata.attrs:
        kept = {k: v for k, v in grid.attributes(attrs).items() if k not in dropped and not k.startswith("_Quantize")}
        if isinstance(kept.get("coordinates"), str):
            kept["coordinates"] = " ".join(word for word in kept["coordinates"].split() if word in names)
            if not kept["coordinates"]:
                del kept["coordinates"]
        out.append(kept)
    return tuple(out)


def carried_over_metadata(
    reader: ArrayReader,
    metadata: Metadata,
    axes: Sequence[str],
    grid: FinerGrid,
    decode: bool,
    positions: Mapping[int, Positions] | None = None,
) -> list[AuxiliaryField]:
    """Return the arrays of the file that accompany the movie into the output, refined along rows and columns.

    These are scalars, coordinates, the cell bounds of one-dimensional coordinates, and texts along time. An array is a coordinate
    if it has the name of its dimension, is attached as an HDF5 dimension scale, is named by an attribute `coordinates` or
    `grid_mapping`, or has a name, units or a standard name of latitude or longitude. All other arrays are data on the coarse grid
    and stay behind.

    Args:
        reader: The reader of the input.
        metadata: The metadata of the movie.
        axes: The letter of each of the movie's dimensions; "" where one position was selected.
        grid: The finer grid; it collects notes on what changes.
        decode: True to unpack also the arrays that are not refined, for an output in another format than the input.
        positions: The selected positions along the movie's dimensions, by the number of the dimension.
    """
    dims = metadata.dims or ()
    letters = {dim: letter for dim, letter in zip(dims, axes, strict=bool(dims)) if letter}
    selected = {dims[i]: at if isinstance(at, int) else list(at) for i, at in (positions or {}).items() if dims}
    named = _named(metadata)
    neighbours = [_Neighbour(reader, entry, selected) for entry in metadata.neighbours]
    fields: list[AuxiliaryField] = []
    for entry in neighbours:
        if entry.coordinate or _is_coordinate(entry, letters, named):
            made = _finer(entry, letters, grid, decode)
            if made is not None:
                fields.append(made)
    known = {entry.name for entry in fields}
    for coordinate in list(fields):
        bounds = {str(coordinate.attrs[key]) for key in ("bounds", "climatology") if key in coordinate.attrs}
        edges = [e for e in neighbours if e.base in bounds and e.name not in known]
        made_edges = [made for e in edges if (made := _finer_bounds(e, coordinate, letters, grid, decode)) is not None]
        fields += made_edges
        known |= {entry.name for entry in made_edges}
        if bounds and not made_edges:
            kept = {key: value for key, value in coordinate.attrs.items() if key not in ("bounds", "climatology")}
            fields[[entry.name for entry in fields].index(coordinate.name)] = replace(coordinate, attrs=kept)
    return fields


def attach_coordinates_by_name(
    metadata: Metadata,
    coordinates: Mapping[str, str],
    names: Sequence[str],
    axes: Sequence[str],
    vectors: bool,
) -> Metadata:
    """Return the metadata with the arrays that are coordinates by their names as coordinates of named dimensions.

    Args:
        metadata: The metadata of a movie in a file that does not name its dimensions.
        coordinates: As `vsr.io.readers.axes.coordinates_by_name` returns them.
        names: The arrays of the movie.
        axes: As in `carried_over_metadata`.
        vectors: True to make 1xN and Nx1 arrays one-dimensional, for an output in another format than the input.
    """
    known = sorted(coordinates.items(), key=lambda item: may_be_times(item[0]))  # rather `time` than `month`
    own = {letter: re.split(r"[/.]", name)[-1] for name, letter in known if len(letter) == 1}
    vector = {name for name, letters in coordinates.items() if len(letters) == 1}
    # A variable with the name of one of its dimensions would be taken for its coordinate.
    others = {name.rpartition("/")[2] for name in (*names, *(entry.name for entry in metadata.neighbours)) if name not in vector}
    found = [own.get(letter, DIMENSION_NAMES.get(letter, f"dim_{i}")) for i, letter in enumerate(axes)]
    dims = metadata.dims or tuple(f"{name}_dim" if name in others else name for name in found)
    name_of = dict(zip(axes, dims, strict=True))
    neighbours = []
    for entry in metadata.neighbours:
        if entry.name in coordinates and not entry.coordinate and not any(entry.dims):
            letters = iter(coordinates[entry.name])
            of, shape = tuple(name_of[next(letters)] if n > 1 else "one" for n in entry.shape), entry.shape
            if vectors:
                of, shape = tuple(dim for dim in of if dim != "one"), tuple(n for n in shape if n > 1)
            entry = replace(entry, dims=of, shape=shape, coordinate=True)
        neighbours.append(entry)
    return replace(metadata, dims=dims, neighbours=neighbours)


class _Neighbour:
    """An array beside the movie, at the selected positions: an index at which one position was selected is gone."""

    def __init__(self, reader: ArrayReader, entry: AuxiliaryArray, selected: Mapping[str, int | list[int]]) -> None:
        self._reader, self._index = reader, tuple(selected.get(dim, slice(None)) for dim in entry.dims)
        self._shape = entry.shape
        self.name, self.base, self.attrs = entry.name, entry.base, entry.attrs
        self.coordinate, self.text = entry.coordinate, entry.text
        kept = [i for i, at in enumerate(self._index) if not isinstance(at, int)]
        sizes = [len(at) if isinstance(at, list) else n for at, n in zip(self._index, entry.shape, strict=True)]
        self.dims, self.shape = tuple(entry.dims[i] for i in kept), tuple(sizes[i] for i in kept)

    def read(self) -> np.ndarray:
        return np.asarray(self._reader.read_stored(self.name).reshape(self._shape)[self._index])


def _named(metadata: Metadata) -> set[str]:
    """Return all names in the attributes `coordinates` and `grid_mapping`; "crs: x y" gives three names."""
    attrs = [*metadata.attrs, *metadata.groups.values()]
    texts = [str(found[key]) for found in attrs for key in ("coordinates", "grid_mapping") if key in found]
    return {word.strip(":") for text in texts for word in text.split()}


def _is_coordinate(entry: _Neighbour, letters: Mapping[str, str], named: set[str]) -> bool:
    if not entry.shape or entry.base in named:
        return True
    if entry.text and letters.get(entry.dims[0]) == "t" and not set(entry.dims[1:]) & set(letters):
        return True  # dates as texts, such as WRF's Times
    if len(entry.dims) == 1:
        return entry.dims == (entry.base,) and entry.base in letters
    return is_geographic(entry.base, entry.attrs) and set(entry.dims) <= set(letters)


def _moved(entry: _Neighbour, letters: Mapping[str, str]) -> list[int]:
    """Return the axes of an array that are refined: rows and columns."""
    return [axis for axis, dim in enumerate(entry.dims) if letters.get(dim) in ("y", "x")]


def _finer(entry: _Neighbour, letters: Mapping[str, str], grid: FinerGrid, decode: bool) -> AuxiliaryField | None:
    """Read and refine an array. Return None for texts, a single pixel, unnamed dimensions, or too large arrays."""
    axes = _moved(entry, letters)
    if grid.scale == 1 or not axes:
        return _as_it_is(entry, decode, grid)
    size = 8 * math.prod(entry.shape) * grid.scale ** len(axes)
    if "" in entry.dims or min(entry.shape[axis] for axis in axes) < 2 or size > MAX_FIELD:
        return None
    values = entry.read()
    if values.dtype.kind not in "iuf":
        return None
    values = coordinate_values(values, entry.attrs)
    origins = [None if grid.alignment is None else grid.alignment["yx".index(letters[entry.dims[axis]])] for axis in axes]
    values, beyond = refine_field(entry.name.replace(".", "/"), entry.attrs, values, axes, grid.scale, origins)
    if beyond:
        grid.beyond_poles[entry.base] = beyond
    gone = (*PACKING_KEYS, *RANGES, *STALE)
    kept = {k: v for k, v in grid.attributes(entry.attrs).items() if k not in gone}
    return AuxiliaryField(entry.name, entry.dims, values, kept)


def _finer_bounds(
    entry: _Neighbour, coordinate: AuxiliaryField, letters: Mapping[str, str], grid: FinerGrid, decode: bool
) -> AuxiliaryField | None:
    """Read the cell bounds (N, 2) of a coordinate and refine them; return None for other bounds of a refined coordinate."""
    if grid.scale == 1 or not _moved(entry, letters):
        return _as_it_is(entry, decode, grid)
    turned = entry.dims[-1:] == coordinate.dims  # (2, N) in place of (N, 2)
    one_dimensional = len(entry.shape) == 2 and coordinate.dims[0] in entry.dims and entry.shape[0 if turned else 1] == 2
    if not one_dimensional or len(coordinate.dims) != 1 or not grid.centred or "" in entry.dims:
        return None
    values = entry.read()
    if values.dtype.kind not in "iuf":
        return None
    bounds = coordinate_values(values, entry.attrs)
    finer = refine_bounds(bounds.T if turned else bounds, grid.scale, coordinate.values)
    finer = finer.T if turned else finer
    kept = {k: v for k, v in entry.attrs.items() if k not in (*PACKING_KEYS, *RANGES, *STALE)}
    return AuxiliaryField(entry.name, entry.dims, finer, kept)


def _as_it_is(entry: _Neighbour, decode: bool, grid: FinerGrid) -> AuxiliaryField | None:
    if "" in entry.dims or 8 * math.prod(entry.shape) > MAX_FIELD:
        return None
    values = entry.read()
    attrs = {k: v for k, v in grid.attributes(entry.attrs).items() if k not in STALE}
    if decode and values.dtype.kind in "iuf" and not {*PACKING_KEYS}.isdisjoint(attrs):
        values = coordinate_values(values, attrs)
        attrs = {k: v for k, v in attrs.items() if k not in (*PACKING_KEYS, *RANGES)}
    return AuxiliaryField(entry.name, entry.dims, values, attrs)
