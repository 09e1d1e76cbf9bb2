"""Lazy reading of float movies from array files of all formats in `vsr.io.formats`, behind one interface.

The content of a file decides its format, not its name. Axes are never guessed: the user gives them, or the file names them.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from vsr.errors import UserError, error_suggestion
from vsr.geometry import PixelGrid
from vsr.io.formats import load_format_readers, readable_suffixes
from vsr.io.readers import axes as axis_rules
from vsr.io.readers.axes import Unspecified, is_geographic
from vsr.io.readers.base import ArrayAttributes, ArrayReader, Listing, Variable
from vsr.io.readers.hdf5 import is_hdf5, open_remote_file
from vsr.io.readers.isolated.proxies import IsolatedReader
from vsr.io.readers.packing import Packing, coordinate_values, missing_mask
from vsr.io.readers.pixel_grid import Coordinate, grid_of_coordinates
from vsr.io.readers.printable import printable_bytes, printable_name, printable_shape
from vsr.io.readers.selection import Positions, example_value, selected_positions
from vsr.io.readers.video import SUFFIXES as VIDEO_SUFFIXES
from vsr.io.readers.zarr_store import is_zarr_store
from vsr.system.address import Address, path_or_address

__all__ = ["ArrayMovie", "Listing", "Unspecified", "Variable", "open_listing", "open_movie"]

BLOCK_BYTES = 2**28  # of float32 that are read at once: the memory that reading needs does not grow with the movie
HEAD = 2**13  # bytes by which readers recognise a file
EDGES = re.compile(r"(^|/)bounds_|_(bnds|bounds|vertices|corners)$")  # names of cell edges
MOST_EXAMINED = 200  # arrays whose attributes are read to find the only one that is not a coordinate


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


def open_listing(path: Path) -> Listing:
    """List the arrays in a file of any known format; raise UserError if the file cannot or must not be read."""
    return open_reader(path).listing()


def open_movie(
    path: Path,
    *,
    variable: str | list[str] | None,
    axes: str | None,
    select: Mapping[Any, Any] | None = None,
    missing: float | Sequence[float] | None = None,
    max_bytes: int = 2**40,
    frame: bool = False,
) -> ArrayMovie:
    """Open the movie in an array file without reading any value of it.

    Args:
        path: A file or Zarr folder, or the address of one (`vsr.system.address`).
        variable: Name of the array. Several names of arrays of one shape give one channel each. None is allowed if the file has
            only one array of 3 or more dimensions that is not a coordinate.
        axes: One letter for each index that `select` leaves, in the file's index order (for .mat, MATLAB's): n (movies), c
            (channels), t, y or x. None is allowed if the file names its dimensions.
        select: Dimension -> value, for arrays with more dimensions than a movie; see `selected_positions`.
        missing: Physical value, or values, that mean "missing", besides those that the file declares.
        max_bytes: Most bytes that the arrays may take as float32, by their declared shape.
        frame: Take an array of two dimensions, rows and columns, for a movie of one frame, whose axes have no t.

    Raises:
        UserError: If the file, the variable, the selection or the axes cannot be used.
        Unspecified: If the user must give the variable, the axes or a selection; a subclass of UserError.
    """
    reader = open_reader(path)
    listing = reader.listing()
    variable = _only(reader, listing, frame) if variable is None else variable
    names = [variable] if isinstance(variable, str) else list(variable)
    if not names:
        raise UserError(f"{path}: data.variable=[] names no variable; type data.variable=NAME")
    variables = [_find(reader, listing, name) for name in names]
    first = variables[0]
    where = f"{path}: {printable_name(first.name)}"

    def coordinate(at: int) -> np.ndarray | None:
        return reader.coordinate(first.name, at)

    positions = selected_positions(select or {}, first, coordinate, where)
    movies = [i for i, at in positions.items() if isinstance(at, tuple)]
    if len(movies) > 1:
        raise UserError(f"{where}: data.select gives several positions of {len(movies)} dimensions; give several of one only")
    kept = [i for i in range(len(first.shape)) if not isinstance(positions.get(i), int)]
    for other in variables:
        if not (2 if frame else 3) <= len(other.shape) - (len(first.shape) - len(kept)) <= 5:
            rest = f" and data.select leaves {len(kept)}" if positions else ""
            raise UserError(
                f"{path}: {printable_name(other.name)} is {printable_shape(other.shape)}, of {len(other.shape)} dimensions"
                f"{rest}; a movie has 3 (time, rows, columns) to 5; type data.variable=NAME of another one"
                f"{_select_advice(other, len(first.shape), coordinate)}"
            )
        if (other.shape, other.dims) != (first.shape, first.dims):
            raise UserError(
                f"{path}: {printable_name(other.name)} is {printable_shape(other.shape)}{_dims_text(other)}, "
                f"{printable_name(first.name)} is {printable_shape(first.shape)}{_dims_text(first)}; variables that become "
                f"channels must be alike"
            )
    total = 4 * sum(prod(v.shape[i] for i in kept) for v in variables)
    if total > max_bytes:
        raise UserError(
            f"{path}: {', '.join(map(printable_name, names))} of {printable_shape(first.shape)} declares "
            f"{printable_bytes(total)} as float32, more than the limit of {printable_bytes(max_bytes)}; "
            f"type data.max_bytes={total} if it is that large"
        )
    details = [reader.details(v.name) for v in variables]
    reduced = replace(
        first,
        shape=tuple(first.shape[i] for i in kept),
        dims=None if first.dims is None else tuple(first.dims[i] for i in kept),
    )
    if axes is not None:
        letters = axis_rules.check_axes(axes, reduced, where)
        if movies and letters[kept.index(movies[0])] != "n":
            letter = letters[kept.index(movies[0])]
            raise UserError(
                f"{where}: data.axes={letters} has {letter} where data.select gives several positions, which are movies; "
                f"type n there"
            )
    else:
        known = details[0].coordinates
        letters = axis_rules.infer_axes(
            reduced,
            None if known is None else [known[i] for i in kept],
            where,
            reader.time_last,
            [kept.index(i) for i in movies],
            lambda i: coordinate(kept[i]),
            alone=len(variables) == 1,
        )
    if len(variables) > 1 and "c" in letters:
        raise UserError(
            f"{where}: axes {letters} have channels already; type one variable, data.variable={printable_name(first.name)}"
        )
    numbers = [] if missing is None else missing if isinstance(missing, Sequence) else [missing]
    spread = iter(letters)
    every = [next(spread) if i in kept else "" for i in range(len(first.shape))]
    named = axis_rules.coordinates_by_name((v for v in listing.variables if v.name not in names), first, every)
    return ArrayMovie(reader, variables, letters, details, positions, numbers, named)


def _select_advice(variable: Variable, rank: int, coordinate: Callable[[int], np.ndarray | None]) -> str:
    """Return advice to select along the first dimension of an array with more dimensions than a movie."""
    if len(variable.shape) < 6 or len(variable.shape) != rank:
        return ""
    name = variable.dims[0] if variable.dims else "0"
    return f", or one position of the others, e.g. data.select={{{printable_name(name)}: {example_value(coordinate(0))}}}"


def open_reader(path: Path) -> ArrayReader:
    """Return the reader of a file, chosen by the file's content. An `isolated` reader runs in the child process.

    Raises:
        UserError: If no reader fits, or the file cannot be opened.
    """
    path = path_or_address(path)
    if isinstance(path, Address):
        return _open_address(path)
    if not path.exists():
        raise UserError(f"{path}: no such file; check the name")
    if not path.is_dir() and not path.is_file():
        raise UserError(f"{path}: not a file or folder; type data.path=FILE")
    try:
        head = b"" if path.is_dir() else _head(path)
        for kind in load_format_readers():
            if (reader := kind.recognize(path, head)) is not None:
                return IsolatedReader(reader) if reader.isolated else reader
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}); check its permissions") from error
    if path.is_dir():
        raise UserError(f"{path}: a folder without Zarr metadata; give a file or a .zarr folder")
    raise UserError(f"{path}: {_unknown(path, head)}")


def _open_address(address: Address) -> ArrayReader:
    """Return the reader of a Zarr store, or of a file of NetCDF-4 or HDF5, at an address. Raises UserError for anything else."""
    kinds = {kind.name: kind for kind in load_format_readers()}
    reader: ArrayReader | None = kinds["zarr"](address) if is_zarr_store(address) else None
    if reader is None:
        head = open_remote_file(address).read(HEAD)
        found = (kinds[name].recognize(address, head) for name in ("netcdf", "hdf5") if is_hdf5(head))
        reader = next((each for each in found if each is not None), None)
    if reader is None:
        raise UserError(f"{address}: neither a Zarr store nor a file of NetCDF-4 or HDF5; download it and give the local file")
    # What lies in the memory of this process is not there in another.
    return IsolatedReader(reader) if reader.isolated and address.scheme != "memory" else reader


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


# Formats that are not read, by their first bytes: (position, bytes, name, what to do).
FOREIGN_FORMATS = (
    (0, b"SIMPLE  =", "FITS", "astropy.io.fits reads it: numpy.save('movie.npy', data)"),
    (344, b"n+1\0", "NIfTI", "nibabel reads it: numpy.save('movie.npy', image.get_fdata())"),
    (344, b"ni1\0", "NIfTI", "nibabel reads it: numpy.save('movie.npy', image.get_fdata())"),
    (0, b"# vtk DataFile", "VTK", "meshio or pyvista reads it: numpy.save('movie.npy', values)"),
    (0, b"<VTKFile", "VTK", "meshio or pyvista reads it: numpy.save('movie.npy', values)"),
    (0, b'<?xml version="1.0"?>\n<VTKFile', "VTK", "meshio or pyvista reads it: numpy.save('movie.npy', values)"),
    (0, b"\x0e\x03\x13\x01", "HDF4", "convert it: h4toh5 FILE, or gdal_translate -of netCDF"),
    (0, b"\xcd\xf3\x00\x01", "CDF of NASA", "convert it: cdf2nc FILE, or read it with cdflib"),
    (0, b"\x1f\x8b", "compressed by gzip", "type: gunzip FILE"),
    (0, b"BZh", "compressed by bzip2", "type: bunzip2 FILE"),
    (0, b"\xfd7zXZ\0", "compressed by xz", "type: unxz FILE"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd", "type: unzstd FILE"),
    (257, b"ustar", "a tar archive", "unpack it: tar xf FILE"),
    (0, b"PAR1", "Parquet, a table", "save the movie as an array: numpy.save('movie.npy', values)"),
    (0, b"\x80\x04", "a pickle, which could run code", "save the array: numpy.save('movie.npy', values)"),
    (0, b"\x80\x05", "a pickle, which could run code", "save the array: numpy.save('movie.npy', values)"),
    (0, b"%PDF", "PDF", "give the data, not their picture"),
    (0, b"\x89PNG", "a PNG picture", "type data=images, or a folder of pictures as input="),
)


def _unknown(path: Path, head: bytes) -> str:
    """Describe a file that no reader recognises, by its first bytes `head`, and say what to do."""
    promised = f"give a complete file of the kind that its name ({path.suffix or path.name}) promises"
    if not head:
        return f"empty, 0 bytes; {promised}"
    for position, start, name, advice in FOREIGN_FORMATS:
        if head[position : position + len(start)] == start:
            return f"{name}, which is not read; {advice}"
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return "a video, not arrays; type data=movies"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head[:64]):
        return f"text ({printable_name(head[:20].decode())} ...), not arrays; {promised}"
    known = ", ".join(dict.fromkeys(readable_suffixes()))
    return f"not a format that is read ({known}), or damaged at its beginning; {promised}"


def _only(reader: ArrayReader, listing: Listing, frame: bool) -> str:
    """Return the name of the only array that can be a movie; raise Unspecified with all candidates if several arrays can.

    With `frame`, arrays of two dimensions count in a file without larger ones.
    """
    candidates = [v for v in listing.variables if len(v.shape) >= 3]
    if frame and not candidates:
        candidates = [v for v in listing.variables if len(v.shape) == 2 and min(v.shape) > 1]
    if len(candidates) > 1:
        candidates = without_coordinates(reader, candidates) or candidates
    if len(candidates) == 1:
        return candidates[0].name
    if candidates:
        found = ", ".join(f"{printable_name(v.name)} ({printable_shape(v.shape)} {v.dtype})" for v in candidates[:20])
        more = f" and {len(candidates) - 20} more" if len(candidates) > 20 else ""
        raise Unspecified(f"{reader.path}: several arrays can be the movie: {found}{more}; type data.variable=NAME")
    others = [f"{printable_name(name)} {problem}" for name, problem in listing.refused.items()]
    others += [f"{printable_name(v.name)} is {printable_shape(v.shape)}" for v in listing.variables]
    found = "; ".join(others[:8]) or "nothing else either"
    raise UserError(f"{reader.path}: no numeric array of 3 or more dimensions ({found}); {_advice_on_planes(listing)}")


def _advice_on_planes(listing: Listing) -> str:
    """Return advice for a file without a movie: three or more equal planes of a group or struct may be the frames of one."""
    planes = [v for v in listing.variables if len(v.shape) == 2 and min(v.shape) > 1]
    places = Counter((re.sub(r"[/.]?[^/.]*$", "", v.name), v.shape) for v in planes)
    for (group, shape), count in places.most_common(1):
        if count > 2:
            where = f" in {printable_name(group)}" if group else ""
            return (
                f"if the {count} arrays of {printable_shape(shape)}{where} are frames, stack them in order and give the result: "
                f"numpy.save('movie.npy', numpy.stack(frames))"
            )
    return "store the movie as one array of real numbers, or give another file"


def without_coordinates(reader: ArrayReader, candidates: Sequence[Variable]) -> list[Variable]:
    """Leave out coordinates of others: longitudes, latitudes, 1x1xN times, and what an attribute `coordinates` names."""
    attrs = {v.name: reader.details(v.name).attrs for v in candidates[:MOST_EXAMINED]}
    words = {word for found in attrs.values() for word in str(found.get("coordinates", "")).split()}
    return [
        v
        for v in candidates
        if v.name.rpartition("/")[2] not in words
        and not EDGES.search(v.name)
        and not (sum(n > 1 for n in v.shape) < 2 and axis_rules.axis_meanings(re.split(r"[/.]", v.name)[-1], {}))
        and not is_geographic(v.name.rpartition("/")[2], attrs.get(v.name, {}))
    ]


def _find(reader: ArrayReader, listing: Listing, name: str) -> Variable:
    for form in (lambda path: path, lambda path: path.replace("/", ".")):  # s/u and s.u are the same field of a struct
        wanted = form(name.strip("/"))
        for found in listing.variables:
            if form(found.name) == wanted:
                return found
        for refused, problem in listing.refused.items():
            if form(refused) == wanted:
                raise UserError(f"{reader.path}: {printable_name(refused)} {problem}")
    inside = [v for v in listing.variables if v.name.replace("/", ".").startswith(f"{wanted}.")]
    if inside:
        inside.sort(key=lambda v: len(v.shape) < 3)
        choices = ", or ".join(f"data.variable={printable_name(v.name)}" for v in inside[:3])
        raise UserError(f"{reader.path}: {printable_name(name)} holds arrays and is none itself; type {choices}")
    known = [printable_name(v.name) for v in listing.variables]
    hint = error_suggestion(printable_name(name), known) if known else "; it holds no numeric array"
    raise UserError(f"{reader.path}: data.variable={printable_name(name)}: there is no such array{hint}")


def _dims_text(variable: Variable) -> str:
    return f" ({', '.join(map(printable_name, variable.dims))})" if variable.dims else ""
