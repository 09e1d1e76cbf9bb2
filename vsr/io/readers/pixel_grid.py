"""Size of pixels from the coordinates of rows and columns (CF conventions 1.11, sections 4.1, 4.2 and 5.6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from vsr.geometry import DEGREE, MapAxis, PixelGrid
from vsr.io.readers.printable import printable_name

EARTH_RADIUS = 6371.0  # km, of a sphere
TOLERANCE = 0.05  # pixels that a coordinate may be off an even one, as in single precision or on Gaussian latitudes
# Rotated latitudes and longitudes are those of a sphere, too.
DEGREES = {
    "y": {"lat", "lats", "latitude", "latitudes", "rlat", "grid_latitude"},
    "x": {"lon", "lons", "long", "longitude", "longitudes", "rlon", "grid_longitude"},
}
ROTATED = {"rlat", "grid_latitude", "rlon", "grid_longitude"}
CF_DEGREES = re.compile(r"degrees?_?(n|north|e|east)")
LENGTHS = {
    **dict.fromkeys(("km", "kilometer", "kilometers", "kilometre", "kilometres"), 1.0),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1e-3),
}


class Coordinate(NamedTuple):
    """Coordinate of rows ("y") or columns ("x"): its name, its values (or None) and its attributes."""

    name: str
    values: np.ndarray | None
    attrs: Mapping[str, Any]


def grid_of_coordinates(y: Coordinate, x: Coordinate) -> PixelGrid:
    """Return the size of pixels: in km if the coordinates are latitudes and longitudes, or lengths in m or km.

    Other units are kept by name. Coordinates that are missing, count pixels, are unevenly spaced or have no unit give a grid
    without known distances, which says why.
    """
    try:
        (dy, latitudes, rows), (dx, longitudes, columns) = _axis("y", y), _axis("x", x)
        unit, other = ("km" if axis.unit == DEGREE else axis.unit for axis in (rows, columns))
        if unit != other or (latitudes is None) != (longitudes is None):
            raise _Unknown(f"{_named(y)} and {_named(x)} have different units")
    except _Unknown as problem:
        return PixelGrid(reason=str(problem))
    falling = rows.step < 0
    if latitudes is None:
        return PixelGrid(dy, dx, unit, axes=(rows, columns), falling=falling)
    if np.abs(latitudes).max() > 90 + TOLERANCE:
        return PixelGrid(reason=f"{_named(y)} has latitudes beyond 90 degrees")
    # A row at a pole keeps an area above zero: zero marks missing pixels.
    cosines = tuple(np.cos(np.radians(latitudes)).clip(1e-9).tolist())
    return PixelGrid(dy, dx, unit, cosines, axes=(rows, columns), falling=falling, closed=_closed(latitudes, longitudes))


def _closed(latitudes: np.ndarray, longitudes: np.ndarray | None) -> Literal["none", "x", "globe"]:
    """Tell whether columns go round the globe, and rows end half a pixel before both poles."""
    assert longitudes is not None
    along = abs(longitudes[-1] - longitudes[0]) / (len(longitudes) - 1)
    if abs(along * len(longitudes) - 360) > TOLERANCE * along:
        return "none"
    half = abs(latitudes[-1] - latitudes[0]) / (len(latitudes) - 1) / 2
    south, north = latitudes[[0, -1]].min() - half, latitudes[[0, -1]].max() + half
    at_poles = max(abs(south + 90), abs(north - 90)) <= 2 * TOLERANCE * half
    return "globe" if at_poles and len(longitudes) % 2 == 0 else "x"


class _Unknown(ValueError):
    """Reason why the size of pixels is not known."""


def _named(coordinate: Coordinate) -> str:
    return f"coordinate {printable_name(coordinate.name)}"


def _is_degrees(letter: str, coordinate: Coordinate) -> bool:
    """Return True for latitudes (of rows) and longitudes (of columns), by units, standard name or name."""
    units = _units(coordinate)
    if CF_DEGREES.fullmatch(units):
        return True
    named = {str(coordinate.attrs.get("standard_name", "")).lower(), coordinate.name.lower()} & DEGREES[letter]
    return bool(named) and units in ("", "degree", "degrees", "deg", "radian", "radians", "rad")


def _units(coordinate: Coordinate) -> str:
    return str(coordinate.attrs.get("units", "")).strip().lower()


def _axis(letter: str, coordinate: Coordinate) -> tuple[float, np.ndarray | None, MapAxis]:
    """Return the distance between pixels along an axis, the values in degrees of a latitude or longitude, and the axis."""
    values, units, name = coordinate.values, _units(coordinate), _named(coordinate)
    if values is None or values.dtype.kind not in "iuf" or len(values) < 2:
        raise _Unknown(f"the file has no coordinate of {letter}")
    values = values.astype(np.float64)
    first = np.arange(len(values))
    if not units and any(np.array_equal(values, first + start) for start in (0, 1)):
        raise _Unknown(f"{name} counts pixels")
    if not np.abs(values).max() < 1e30:  # NaN, too
        raise _Unknown(f"{name} is not evenly spaced")
    degrees = _is_degrees(letter, coordinate)
    if degrees and units.startswith("rad"):
        values = np.degrees(values)
    if degrees and letter == "x":
        values = np.unwrap(values, period=360)
    step = (values[-1] - values[0]) / first[-1]
    if not step or np.abs(values - values[0] - step * first).max() > TOLERANCE * abs(step):
        raise _Unknown(f"{name} is not evenly spaced")
    step = float(f"{step:.6g}")  # without the rounding of single precision
    if degrees:
        named = {str(coordinate.attrs.get("standard_name", "")).lower(), coordinate.name.lower()}
        rotated = "rotated " if named & ROTATED else ""
        axis = MapAxis(rotated + ("latitude" if letter == "y" else "longitude"), DEGREE, float(values[0]), step)
        return EARTH_RADIUS * float(np.radians(abs(step))), values, axis
    if units in LENGTHS:
        factor = LENGTHS[units]
        return abs(step) * factor, None, MapAxis(letter, "km", float(values[0]) * factor, step * factor)
    if units in ("", "1") or units.startswith("deg"):
        raise _Unknown(f"{name} has no unit of length, and is neither a latitude nor a longitude")
    unit = printable_name(str(coordinate.attrs["units"]).strip())
    return abs(step), None, MapAxis(letter, unit, float(values[0]), step)
