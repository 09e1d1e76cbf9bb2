"""Hour, day of the year, latitude and longitude of frames, from the coordinates of a file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.base import import_reader_library
from vsr.io.readers.joined import JoinedMovie, known_units
from vsr.io.readers.open import ArrayMovie
from vsr.io.readers.pixel_grid import Coordinate
from vsr.io.readers.printable import printable_name
from vsr.io.writers.coordinates import coordinate_period, is_latitude


def coordinates_of(array: ArrayMovie | JoinedMovie) -> dict[str, Coordinate]:
    """Return the coordinates "t", "y" and "x" of a movie as its file has them."""
    first = array.parts[0] if isinstance(array, JoinedMovie) else array
    found = {"t": Coordinate("time", array.times(), array.time_attrs)}
    for letter in "yx":
        name, attrs = first.coordinate_attributes(letter)
        found[letter] = Coordinate(name, first.coordinate(letter), attrs)
    return found


def time_and_place(words: Collection[str], of: Mapping[str, Coordinate], where: str) -> dict[str, np.ndarray]:
    """Return what the words of `data.inputs` mean for the frames of a movie.

    Args:
        words: Of "hour", "day_of_year", "latitude" and "longitude"; other words are ignored.
        of: Coordinates "t", "y" and "x".
        where: The movie, for messages.

    Returns:
        "hour": part of the day (UTC) of each frame, (T,), 0 to 1; "day_of_year": part of the year of its calendar, (T,), 0 to 1;
        "latitude" of each row and "longitude" of each column in degrees.

    Raises:
        UserError: If the file has no such coordinate.
    """
    found: dict[str, np.ndarray] = {}
    if {"hour", "day_of_year"} & set(words):
        word = "hour" if "hour" in words else "day_of_year"
        found["hour"], found["day_of_year"] = _parts_of_day_and_year(
            of["t"].values, of["t"].attrs, f"{where}: data.inputs=[{word}]"
        )
    for word, letter, known in (("latitude", "y", is_latitude), ("longitude", "x", coordinate_period)):
        if word not in words:
            continue
        name, values, attrs = of[letter]
        rotated = str(attrs.get("standard_name", "")).startswith("grid_") or name.lower() in ("rlat", "rlon")
        degrees = known(attrs, name) in (True, 360.0)
        if values is None or values.ndim != 1 or values.dtype.kind not in "iuf" or not degrees or rotated:
            has = "" if values is None else f" (it has {printable_name(name)})"
            raise UserError(
                f"{where}: data.inputs=[{word}]: the file has no {word}s in degrees along "
                f"{'rows' if letter == 'y' else 'columns'}{has}; leave {word} out, or give a file with them"
            )
        found[word] = values.astype(np.float64)
    return {word: found[word] for word in words if word in found}


def _parts_of_day_and_year(times: np.ndarray | None, attrs: Mapping[str, Any], where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of the day and of the year that has passed at each time. Raises UserError for times that are no dates."""
    units, calendar = str(attrs.get("units", "")), str(attrs.get("calendar", "standard")).lower()
    if times is None or times.dtype.kind not in "iuf" or " since " not in units or not np.isfinite(times).all():
        said = "no times" if times is None else f"times in '{units}'" if units else "times without a unit"
        raise UserError(f"{where}: the file has {said}, not dates ('hours since 2000-01-01'); leave the word out, or give dates")
    cftime = import_reader_library("cftime", "reading dates", "netcdf")
    try:
        dates = cftime.num2date(*known_units(times.astype(np.float64), units, calendar), only_use_cftime_datetimes=True)
        days, years = [], []
        for date in dates:
            days.append((date.hour + (date.minute + (date.second + date.microsecond / 1e6) / 60) / 60) / 24)
            first, last = (cftime.datetime(date.year + more, 1, 1, calendar=date.calendar) for more in (0, 1))
            years.append((date - first) / (last - first))
    except (ValueError, OverflowError) as error:
        raise UserError(f"{where}: '{units}' with the calendar {calendar} is no date ({error}); leave the word out") from error
    return np.array(days), np.array(years)


def at_lr_pixels(coordinate: Coordinate, size: int, scale: int, origin: float) -> Coordinate:
    """Return the coordinate of LR pixels along an axis of HR pixels.

    Args:
        coordinate: That of the HR pixels.
        size: Number of LR pixels.
        scale: HR pixels per LR pixel.
        origin: LR pixel i lies at HR pixel origin + i * scale.
    """
    values = coordinate.values
    if values is None or values.dtype.kind not in "iuf" or len(values) < size * scale:
        return coordinate
    period = coordinate_period(coordinate.attrs, coordinate.name)
    values = values.astype(np.float64) if period is None else np.unwrap(values.astype(np.float64), period=period)
    return coordinate._replace(values=np.interp(origin + scale * np.arange(size), np.arange(len(values)), values))
