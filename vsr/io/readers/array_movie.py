"""Movies in the arrays of one file of any format: lazy reading of their frames, times and coordinates."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from vsr.errors import UserError
from vsr.geometry import PixelGrid
from vsr.io.readers import axes as axis_rules
from vsr.io.readers.base import ArrayAttributes, ArrayReader, Variable
from vsr.io.readers.packing import Packing, coordinate_values, missing_mask
from vsr.io.readers.pixel_grid import Coordinate, grid_of_coordinates
from vsr.io.readers.printable import printable_name
from vsr.io.readers.selection import Positions

BLOCK_BYTES = 2**28  # of float32 that are read at once: the memory that reading needs does not grow with the movie


class ArrayMovie:
    """Independent movies in one array of a file, or in several arrays that are the channels. Frames are read on demand.

    An `ArrayMovie` can be pickled, and opens the file once per process.

    Args:
        reader: Reader of the file.
        variables: The arrays, one per channel, or one array.
        axes: Letter of each index of the arrays, without the indices at which one position was selected.
        details: Attributes of each array.
        positions: Number of an index -> its selected position, or a tuple of positions that are a movie each.
        missing: Physical values that mean "missing", besides those that the file declares.
        coordinates: As `coordinates_by_name` returns them.

    Attributes:
        name: File and variables, for error messages and figures.
        shape: (movies, C, T, H, W).
        axes: Meaning of each index of the array that was not selected away, e.g. "tyx".
        letters: Letter of each index of the file's array; "" for an index at which one position was selected.
        positions: As given.
        coordinates: As given.
        times_by_name: Name of the array that is the coordinate of time by its name; None if the file attaches one, or has none.
        time_attrs: Attributes of the coordinate of time.
        meta: Format, variable, axes, units, dims and attrs of the file; plain values only.
        reader: Reader of the file.
        first: Number in the file of the first frame.
    """

    first = 0

    def __init__(
        self,
        reader: ArrayReader,
        variables: Sequence[Variable],
        axes: str,
        details: Sequence[ArrayAttributes],
        positions: Mapping[int, Positions] | None = None,
        missing: Sequence[float] = (),
        coordinates: Mapping[str, str] | None = None,
    ) -> None:
        first, names = variables[0], [variable.name for variable in variables]
        self.reader, self._names, self.axes, self.missing = reader, names, axes, tuple(missing)
        self.positions = dict(positions or {})
        letters = iter(axes)
        self.letters = ["" if isinstance(self.positions.get(i), int) else next(letters) for i in range(len(first.shape))]
        size = {letter: n for letter, n in zip(self.letters, first.shape, strict=True) if letter}
        several = [at for at in self.positions.values() if isinstance(at, tuple)]
        self._movies = several[0] if several else tuple(range(size.get("n", 1)))
        self.name = f"{reader.path}:{','.join(map(printable_name, names))}"
        self.shape = (len(self._movies), size.get("c", len(names)), size.get("t", 1), size["y"], size["x"])
        units = [variable.units for variable in variables]
        dims = [name for name, letter in zip(first.dims or (), self.letters, strict=bool(first.dims)) if letter]
        self.meta: dict[str, Any] = {
            "format": reader.format,
            "variable": names if len(names) > 1 else names[0],
            "axes": axes,
            "units": units[0] if len(set(units)) == 1 else units,
            "dims": dims or None,
            "attrs": details[0].attrs,
        }
        attached = details[0].coordinates
        at = self.letters.index("t") if "t" in axes else len(self.letters)  # a single frame has no index of time
        self.time_attrs: Mapping[str, Any] = attached[at] if attached and at < len(attached) else {}
        self.coordinates = dict(coordinates or {})
        named = [name for name, letter in self.coordinates.items() if letter == "t" and axis_rules.may_be_times(name)]
        alone = "t" in axes and len(named) == 1 and reader.coordinate(names[0], at) is None
        self.times_by_name = named[0] if alone else None
        if self.times_by_name is not None:
            self.time_attrs = reader.details(self.times_by_name).attrs
        each = zip(variables, details, strict=True)
        self._stored = [(np.dtype(v.dtype), Packing.from_attributes(d.attrs, np.dtype(v.dtype)).scale) for v, d in each]
        packing = Packing.from_attributes(details[0].attrs, np.dtype(first.dtype)).describe(details[0].attrs)
        if packing:
            self.meta["packing"] = packing

    def read(
        self, movie: int, start: int, stop: int, offset: float | Sequence[float] = 0.0, dtype: DTypeLike = np.float32
    ) -> np.ndarray:
        """Read the frames start..stop-1 of the movie with index `movie`.

        From .npy, uncompressed .npz, HDF5, MATLAB 7.3 and NetCDF, only these frames are read; from Zarr, the chunks that hold
        them. From compressed .npz and older MATLAB files, the whole array is read at the first call.

        Args:
            movie: Number of the movie.
            start: Number of the first frame.
            stop: Number after the last frame.
            offset: Value that is taken off every physical value, in float64, before the values become `dtype`; or such a value
                for each channel.
            dtype: Type of the returned values.

        Returns:
            (C, T, H, W) in physical units minus `offset`, NaN at missing values.

        Raises:
            UserError: If the file is damaged, or a value is too large for the type.
            IndexError: If the file has no such movie or frames.
        """
        if not (0 <= movie < self.shape[0] and 0 <= start < stop <= self.shape[2]):
            raise IndexError(f"{self.name}: frames {start}..{stop} of movie {movie} are not in {self.shape}")
        _, channels, _, height, width = self.shape
        step = max(1, BLOCK_BYTES // (4 * channels * height * width))
        if stop - start <= step:
            return self._block(movie, start, stop, offset, dtype)
        values = np.empty((channels, stop - start, height, width), dtype)
        for first in range(start, stop, step):
            last = min(first + step, stop)
            values[:, first - start : last - start] = self._block(movie, first, last, offset, dtype)
        return values

    def part(self, start: int, stop: int) -> ArrayMovie:
        """Return a movie of the frames start..stop-1 alone."""
        found = copy.copy(self)
        found.first = self.first + start
        found.shape = (*self.shape[:2], stop - start, *self.shape[3:])
        return found

    def times(self) -> np.ndarray | None:
        """Return the time of each frame as the file has it, with the units in `time_attrs`, or None without times."""
        times: np.ndarray | None
        if "t" not in self.axes:
            return None
        if self.times_by_name is not None:
            times = coordinate_values(self.reader.read_stored(self.times_by_name).ravel(), self.time_attrs)
        else:
            times = self.reader.coordinate(self._names[0], self.letters.index("t"))
        return None if times is None else times[self.first : self.first + self.shape[2]]

    def coordinate(self, letter: str) -> np.ndarray | None:
        """Return the one-dimensional coordinate of the axis "n", "y" or "x" as the file has it, or None without one."""
        at = self.letters.index(letter)
        named = [name for name, axes in self.coordinates.items() if axes == letter]
        values = self.reader.coordinate(self._names[0], at)
        if values is None and len(named) == 1:
            attrs = self.reader.details(named[0]).attrs
            values = coordinate_values(self.reader.read_stored(named[0]).ravel(), attrs)
        if values is None or values.ndim != 1:
            return None
        chosen = self.positions.get(at)
        return values[list(chosen)] if isinstance(chosen, tuple) else values

    def coordinate_attributes(self, letter: str) -> tuple[str, Mapping[str, Any]]:
        """Return the name and the attributes of the coordinate of the axis "y" or "x"; {} if the file has none."""
        at = self.letters.index(letter)
        named = [name for name, axes in self.coordinates.items() if axes == letter]
        if len(named) == 1 and self.reader.coordinate(self._names[0], at) is None:
            return re.split(r"[/.]", named[0])[-1], self.reader.details(named[0]).attrs
        attached, dims = self.reader.details(self._names[0]).coordinates, self.meta["dims"]
        name = str(dims[self.axes.index(letter)]) if dims else letter
        return name, attached[at] if attached and at < len(attached) else {}

    def coordinate_units(self, letter: str) -> str:
        """Return the units of the coordinate of the axis "y" or "x", or "" if the file does not say them."""
        return str(self.coordinate_attributes(letter)[1].get("units", ""))

    @cached_property
    def pixel_grid(self) -> PixelGrid:
        """The size of the pixels, from the coordinates of rows and columns."""
        known = {letter: self.coordinate_attributes(letter) for letter in "yx"}
        return grid_of_coordinates(*(Coordinate(name, self.coordinate(letter), attrs) for letter, (name, attrs) in known.items()))

    def storage_step(self, variable: int, largest: float) -> float:
        """Return the distance between neighbouring values as they are stored, in physical units.

        Args:
            variable: Number of the variable.
            largest: Size of the values, on which the step of floats depends.
        """
        dtype, factor = self._stored[variable if len(self._stored) > 1 else 0]
        factor = abs(factor) or 1.0
        return factor if dtype.kind in "iu" else factor * float(np.spacing(dtype.type(largest / factor)))

    def _block(self, movie: int, start: int, stop: int, offset: float | Sequence[float], dtype: DTypeLike) -> np.ndarray:
        at = self._movies[movie]
        wanted = {"n": slice(at, at + 1), "t": slice(self.first + start, self.first + stop)}
        single = {i: slice(p, p + 1) for i, p in self.positions.items() if isinstance(p, int)}
        part = tuple(single.get(i, wanted.get(letter, slice(None))) for i, letter in enumerate(self.letters))
        if "c" in self.axes and np.ndim(offset):
            whole = self._block(movie, start, stop, 0.0, np.float64)
            return (whole - np.reshape(offset, (-1, 1, 1, 1))).astype(dtype)
        channels = []
        for name, less in zip(self._names, np.broadcast_to(offset, len(self._names)), strict=True):
            values = self.reader.read(name, part)
            if self.missing and (gone := missing_mask(values, self.missing)).any():
                values = values.astype(values.dtype if values.dtype.kind == "f" else np.float64)
                values[gone] = np.nan
            if less:
                values = values.astype(np.float64) - less
            try:
                channels.append(axis_rules.arrange_axes(values.squeeze(tuple(single)), self.axes, dtype)[0])
            except FloatingPointError:
                raise self._too_large(values, start) from None
        return channels[0] if len(channels) == 1 else np.concatenate(channels)

    def _too_large(self, values: np.ndarray, start: int) -> UserError:
        largest = np.abs(values[np.isfinite(values)]).max()
        return UserError(
            f"{self.name}: values up to {largest:.3g} in the frames from {start} on, beyond the range of float32 "
            f"({np.finfo(np.float32).max:.2g}), in which networks compute; give other units, or type data.missing={largest:.7g} "
            f"data.mask=true if that means missing"
        )
