"""What stands around a movie in its file, and what of it goes with the finer movie: coordinates, scalars, attributes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vsr.io.writers.coordinates import period_of, refine
from vsr.io.writers.template import Field

MAX_FIELD = 2**28  # bytes of a refined coordinate; larger ones are left out
MAX_ATTRIBUTE = 60_000  # bytes; HDF5 keeps attributes in a header of 64 KiB
PACKING = ("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned")
RANGES = ("valid_range", "valid_min", "valid_max", "actual_range")
# Of a grid that is no longer this one, or naming variables that are not carried over.
STALE = ("GeoTransform", "geospatial_lat_resolution", "geospatial_lon_resolution", "ancillary_variables", "cell_measures")
GEOGRAPHIC = ("latitude", "longitude", "degrees_north", "degree_north", "degrees_east", "degree_east")


def _unread() -> np.ndarray:
    """In place of a neighbour's `read` where nobody has said yet how that is done."""
    raise ValueError("it has not been said how the values of this array are read")


@dataclass(frozen=True)
class Neighbour:
    """Another array of the input. `read` gives all of its values as they are stored."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: Mapping[str, Any]
    read: Callable[[], np.ndarray] = _unread
    coordinate: bool = False  # whether the file says so in its own way; CF's ways are looked at here

    @property
    def base(self) -> str:
        """The name without its groups."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True)
class Contents:
    """Of a file: dimension names and attributes of the movie's arrays, attributes of groups, and all other arrays near it.

    `decoded`: whether the reader has applied scale_factor, add_offset and missing values, so that they no longer hold.
    `storage`: options of the format, for a `Template`.
    """

    dims: tuple[str, ...] | None = None
    attrs: tuple[Mapping[str, Any], ...] = ()
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    neighbours: Sequence[Neighbour] = ()
    decoded: bool = False
    storage: Mapping[str, Any] = field(default_factory=dict)


def data_attrs(contents: Contents, fields: Sequence[Field]) -> tuple[dict[str, Any], ...]:
    """The attributes of the movie's arrays that still hold for float32 values on the finer grid."""
    dropped = (*RANGES, *STALE, *(PACKING if contents.decoded else ("_FillValue", "missing_value")))
    names = {entry.name.rpartition("/")[2] for entry in fields}
    out: list[dict[str, Any]] = []
    for attrs in contents.attrs:
        kept = {k: v for k, v in attrs.items() if k not in dropped and not k.startswith("_Quantize")}
        if isinstance(kept.get("coordinates"), str):
            kept["coordinates"] = " ".join(word for word in kept["coordinates"].split() if word in names)
            if not kept["coordinates"]:
                del kept["coordinates"]
        out.append(kept)
    return tuple(out)


def carried_over(contents: Contents, axes: str, scale: int, decode: bool) -> list[Field]:
    """The neighbours that go with the movie, refined along its rows and columns.

    They are: coordinates (named like their dimension, attached as a scale, named by an attribute `coordinates` or
    `grid_mapping`, or with units or standard names of latitude and longitude), bounds of those that do not change, and scalars.
    All other arrays are data of the coarse grid.

    Args:
        contents: of the input.
        axes: the meaning of the movie's dimensions.
        scale: how many pixels come from one, along rows and along columns.
        decode: unpack also what stays as it is (when the output's format does not know packing).
    """
    letters = dict(zip(contents.dims or (), axes, strict=bool(contents.dims)))
    named = _named(contents)
    fields: list[Field] = []
    bounds: set[str] = set()
    for entry in contents.neighbours:
        if entry.coordinate or _is_coordinate(entry, letters, named):
            made = _finer(entry, letters, scale, decode)
            if made is not None:
                fields.append(made)
                bounds |= {str(made.attrs[key]) for key in ("bounds", "climatology") if key in made.attrs}
    known = {entry.name for entry in fields}
    edges = [e for e in contents.neighbours if e.base in bounds and e.name not in known and not _moved(e, letters)]
    return [*fields, *(made for entry in edges if (made := _as_it_is(entry, decode)) is not None)]


def portable(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Those that every format can hold, as texts, lists of texts, numbers or one-dimensional arrays of numbers."""
    out: dict[str, Any] = {}
    for key, value in attrs.items():
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str):
            out[key] = value
            continue
        try:
            array = np.asarray(value)
        except ValueError:  # nested lists
            continue
        if array.dtype.kind == "O" and array.size and all(isinstance(item, str) for item in array.flat):
            out[key] = [str(item) for item in array.flat]
        elif array.dtype.kind in "SU" and array.size:
            texts = np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array
            out[key] = [str(item) for item in texts.flat]
        elif array.dtype.kind in "biuf" and 0 < array.nbytes < MAX_ATTRIBUTE:
            numbers = (array.astype(np.int8) if array.dtype.kind == "b" else array).ravel()
            out[key] = numbers if numbers.size > 1 else numbers[0]
    return out


def _named(contents: Contents) -> set[str]:
    """Names in the attributes `coordinates` and `grid_mapping` ("crs: x y" names all three)."""
    attrs = [*contents.attrs, *contents.groups.values()]
    texts = [str(found[key]) for found in attrs for key in ("coordinates", "grid_mapping") if key in found]
    return {word.strip(":") for text in texts for word in text.split()}


def _is_coordinate(entry: Neighbour, letters: Mapping[str, str], named: set[str]) -> bool:
    if not entry.shape or entry.base in named:
        return True
    if len(entry.dims) == 1:
        return entry.dims == (entry.base,) and entry.base in letters
    words = {str(entry.attrs.get(key, "")).lower() for key in ("units", "standard_name")}
    return bool(words & {*GEOGRAPHIC}) and set(entry.dims) <= set(letters)


def _moved(entry: Neighbour, letters: Mapping[str, str]) -> list[int]:
    """The axes along which the finer grid has other points."""
    return [axis for axis, dim in enumerate(entry.dims) if letters.get(dim) in ("y", "x")]


def _finer(entry: Neighbour, letters: Mapping[str, str], scale: int, decode: bool) -> Field | None:
    """None for what cannot be refined: texts, a single pixel, too large, dimensions without a name."""
    axes = _moved(entry, letters)
    if scale == 1 or not axes:
        return _as_it_is(entry, decode)
    size = 8 * math.prod(entry.shape) * scale ** len(axes)
    if "" in entry.dims or min(entry.shape[axis] for axis in axes) < 2 or size > MAX_FIELD:
        return None
    values = entry.read()
    if values.dtype.kind not in "iuf":
        return None
    values = _decoded(values, entry.attrs)
    for axis in axes:
        values = refine(values, scale, axis, period_of(entry.attrs))
    gone = (*PACKING, *RANGES, *STALE, "bounds")
    return Field(entry.name, entry.dims, values, {k: v for k, v in entry.attrs.items() if k not in gone})


def _as_it_is(entry: Neighbour, decode: bool) -> Field | None:
    if "" in entry.dims or 8 * math.prod(entry.shape) > MAX_FIELD:
        return None
    values = entry.read()
    attrs = {k: v for k, v in entry.attrs.items() if k not in STALE}
    if decode and values.dtype.kind in "iuf" and not {*PACKING}.isdisjoint(attrs):
        values, attrs = _decoded(values, attrs), {k: v for k, v in attrs.items() if k not in (*PACKING, *RANGES)}
    return Field(entry.name, entry.dims, values, attrs)


def _decoded(values: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    """CF's packing undone: float64, missing is NaN; values that are not packed as they are."""
    numbers = {key: attrs[key] for key in PACKING if isinstance(attrs.get(key), int | float | np.number)}
    missing = [numbers[key] for key in ("_FillValue", "missing_value") if key in numbers and not np.isnan(numbers[key])]
    if not missing and "scale_factor" not in numbers and "add_offset" not in numbers:
        return values
    out = values.astype(np.float64) * float(numbers.get("scale_factor", 1)) + float(numbers.get("add_offset", 0))
    for number in missing:
        out[values == number] = np.nan
    return out
