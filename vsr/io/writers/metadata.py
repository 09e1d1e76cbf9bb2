"""Selection of the coordinates, scalars and attributes that the output takes over from the file of a movie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vsr.io.readers.base import ArrayReader, AuxiliaryArray, Metadata
from vsr.io.writers.coordinates import coordinate_period, refine_coordinates
from vsr.io.writers.template import AuxiliaryField

MAX_FIELD = 2**28  # bytes of a refined coordinate; larger ones are left out
PACKING = ("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned")
RANGES = ("valid_range", "valid_min", "valid_max", "actual_range")
# Of a grid that is no longer this one, or naming variables that are not carried over.
STALE = ("GeoTransform", "geospatial_lat_resolution", "geospatial_lon_resolution", "ancillary_variables", "cell_measures")
GEOGRAPHIC = ("latitude", "longitude", "degrees_north", "degree_north", "degrees_east", "degree_east")


def metadata_attributes(metadata: Metadata, fields: Sequence[AuxiliaryField]) -> tuple[dict[str, Any], ...]:
    """Return, for each array of the movie, the attributes that are still true of float32 values on the finer grid."""
    dropped = (*RANGES, *STALE, *(PACKING if metadata.decoded else ("_FillValue", "missing_value")))
    names = {entry.name.rpartition("/")[2] for entry in fields}
    out: list[dict[str, Any]] = []
    for attrs in metadata.attrs:
        kept = {k: v for k, v in attrs.items() if k not in dropped and not k.startswith("_Quantize")}
        if isinstance(kept.get("coordinates"), str):
            kept["coordinates"] = " ".join(word for word in kept["coordinates"].split() if word in names)
            if not kept["coordinates"]:
                del kept["coordinates"]
        out.append(kept)
    return tuple(out)


def carried_over_metadata(reader: ArrayReader, metadata: Metadata, axes: str, scale: int, decode: bool) -> list[AuxiliaryField]:
    """Return the arrays of the file that accompany the movie into the output, refined along rows and columns.

    These are scalars, coordinates, and the cell bounds of coordinates that are not refined. An array is a coordinate if it has
    the name of its dimension, is attached as an HDF5 dimension scale, is named by an attribute `coordinates` or `grid_mapping`,
    or has units or a standard name of latitude or longitude. All other arrays are data on the coarse grid and stay behind.

    Args:
        reader: The reader of the input.
        metadata: The metadata of the movie.
        axes: The letter of each of the movie's dimensions.
        scale: Output pixels per input pixel, along rows and along columns.
        decode: True to unpack also the arrays that are not refined, for an output in another format than the input.
    """
    letters = dict(zip(metadata.dims or (), axes, strict=bool(metadata.dims)))
    named = _named(metadata)
    fields: list[AuxiliaryField] = []
    bounds: set[str] = set()
    for entry in metadata.neighbours:
        if entry.coordinate or _is_coordinate(entry, letters, named):
            made = _finer(reader, entry, letters, scale, decode)
            if made is not None:
                fields.append(made)
                bounds |= {str(made.attrs[key]) for key in ("bounds", "climatology") if key in made.attrs}
    known = {entry.name for entry in fields}
    edges = [e for e in metadata.neighbours if e.base in bounds and e.name not in known and not _moved(e, letters)]
    return [*fields, *(made for entry in edges if (made := _as_it_is(reader, entry, decode)) is not None)]


def _named(metadata: Metadata) -> set[str]:
    """Return all names in the attributes `coordinates` and `grid_mapping`; "crs: x y" gives three names."""
    attrs = [*metadata.attrs, *metadata.groups.values()]
    texts = [str(found[key]) for found in attrs for key in ("coordinates", "grid_mapping") if key in found]
    return {word.strip(":") for text in texts for word in text.split()}


def _is_coordinate(entry: AuxiliaryArray, letters: Mapping[str, str], named: set[str]) -> bool:
    if not entry.shape or entry.base in named:
        return True
    if len(entry.dims) == 1:
        return entry.dims == (entry.base,) and entry.base in letters
    words = {str(entry.attrs.get(key, "")).lower() for key in ("units", "standard_name")}
    return bool(words & {*GEOGRAPHIC}) and set(entry.dims) <= set(letters)


def _moved(entry: AuxiliaryArray, letters: Mapping[str, str]) -> list[int]:
    """Return the axes of an array that are refined: rows and columns."""
    return [axis for axis, dim in enumerate(entry.dims) if letters.get(dim) in ("y", "x")]


def _finer(
    reader: ArrayReader, entry: AuxiliaryArray, letters: Mapping[str, str], scale: int, decode: bool
) -> AuxiliaryField | None:
    """Read and refine an array. Return None for texts, a single pixel, unnamed dimensions, or too large arrays."""
    axes = _moved(entry, letters)
    if scale == 1 or not axes:
        return _as_it_is(reader, entry, decode)
    size = 8 * math.prod(entry.shape) * scale ** len(axes)
    if "" in entry.dims or min(entry.shape[axis] for axis in axes) < 2 or size > MAX_FIELD:
        return None
    values = reader.read_stored(entry.name)
    if values.dtype.kind not in "iuf":
        return None
    values = _decoded(values, entry.attrs)
    for axis in axes:
        values = refine_coordinates(values, scale, axis, coordinate_period(entry.attrs))
    gone = (*PACKING, *RANGES, *STALE, "bounds")
    return AuxiliaryField(entry.name, entry.dims, values, {k: v for k, v in entry.attrs.items() if k not in gone})


def _as_it_is(reader: ArrayReader, entry: AuxiliaryArray, decode: bool) -> AuxiliaryField | None:
    if "" in entry.dims or 8 * math.prod(entry.shape) > MAX_FIELD:
        return None
    values = reader.read_stored(entry.name)
    attrs = {k: v for k, v in entry.attrs.items() if k not in STALE}
    if decode and values.dtype.kind in "iuf" and not {*PACKING}.isdisjoint(attrs):
        values, attrs = _decoded(values, attrs), {k: v for k, v in attrs.items() if k not in (*PACKING, *RANGES)}
    return AuxiliaryField(entry.name, entry.dims, values, attrs)


def _decoded(values: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    """Undo CF packing: return float64 values, NaN where missing. Values that are not packed are returned unchanged."""
    numbers = {key: attrs[key] for key in PACKING if isinstance(attrs.get(key), int | float | np.number)}
    missing = [numbers[key] for key in ("_FillValue", "missing_value") if key in numbers and not np.isnan(numbers[key])]
    if not missing and "scale_factor" not in numbers and "add_offset" not in numbers:
        return values
    out = values.astype(np.float64) * float(numbers.get("scale_factor", 1)) + float(numbers.get("add_offset", 0))
    for number in missing:
        out[values == number] = np.nan
    return out
