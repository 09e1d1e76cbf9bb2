"""Lazy reading of float movies from array files of all formats in `vsr.io.formats`, behind one interface.

The content of a file decides its format, not its name. Axes are never guessed: the user gives them, or the file names them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from vsr.errors import UserError, error_suggestion
from vsr.io.formats import load_format_readers, readable_suffixes
from vsr.io.readers import axes as axis_rules
from vsr.io.readers.axes import Unspecified
from vsr.io.readers.base import ArrayAttributes, ArrayReader, Listing, Variable
from vsr.io.readers.isolated.proxies import IsolatedReader
from vsr.io.readers.printable import printable_bytes, printable_name, printable_shape

__all__ = ["ArrayMovie", "Listing", "Unspecified", "Variable", "open_listing", "open_movie"]

BLOCK_BYTES = 2**28  # of float32 that are read at once: the memory that reading needs does not grow with the movie
HEAD = 2**13  # bytes by which readers recognise a file


class ArrayMovie:
    """Independent movies in one array of a file, or in several arrays that are the channels. Frames are read on demand.

    An `ArrayMovie` can be pickled, and opens the file once per process.

    Attributes:
        name: File and variables, for error messages and figures.
        shape: (movies, C, T, H, W).
        axes: Meaning of each index of the array in the file, e.g. "tyx".
        meta: Format, variable, axes, units, dims and attrs of the file; plain values only.
        reader: Reader of the file.
    """

    def __init__(self, reader: ArrayReader, variables: Sequence[Variable], axes: str, details: Sequence[ArrayAttributes]) -> None:
        first, names = variables[0], [variable.name for variable in variables]
        self.reader, self._names, self.axes = reader, names, axes
        size = dict(zip(axes, first.shape, strict=True))
        self.name = f"{reader.path}:{','.join(map(printable_name, names))}"
        self.shape = (size.get("n", 1), size.get("c", len(names)), size["t"], size["y"], size["x"])
        units = [variable.units for variable in variables]
        self.meta: dict[str, Any] = {
            "format": reader.format,
            "variable": names if len(names) > 1 else names[0],
            "axes": axes,
            "units": units[0] if len(set(units)) == 1 else units,
            "dims": list(first.dims) if first.dims else None,
            "attrs": details[0].attrs,
        }

    def read(self, movie: int, start: int, stop: int) -> np.ndarray:
        """Read the frames start..stop-1 of the movie with index `movie`.

        From .npy, uncompressed .npz, HDF5, MATLAB 7.3 and NetCDF, only these frames are read; from Zarr, the chunks that hold
        them. From compressed .npz and older MATLAB files, the whole array is read at the first call.

        Returns:
            (C, T, H, W) float32 in physical units, NaN at missing values.

        Raises:
            UserError: If the file is damaged.
            IndexError: If the file has no such movie or frames.
        """
        if not (0 <= movie < self.shape[0] and 0 <= start < stop <= self.shape[2]):
            raise IndexError(f"{self.name}: frames {start}..{stop} of movie {movie} are not in {self.shape}")
        _, channels, _, height, width = self.shape
        step = max(1, BLOCK_BYTES // (4 * channels * height * width))
        if stop - start <= step:
            return self._block(movie, start, stop)
        values = np.empty((channels, stop - start, height, width), np.float32)
        for first in range(start, stop, step):
            last = min(first + step, stop)
            values[:, first - start : last - start] = self._block(movie, first, last)
        return values

    def _block(self, movie: int, start: int, stop: int) -> np.ndarray:
        wanted = {"n": slice(movie, movie + 1), "t": slice(start, stop)}
        part = tuple(wanted.get(letter, slice(None)) for letter in self.axes)
        channels = [axis_rules.arrange_axes(self.reader.read(name, part), self.axes)[0] for name in self._names]
        return channels[0] if len(channels) == 1 else np.concatenate(channels)


def open_listing(path: Path) -> Listing:
    """List the arrays in a file of any known format; raise UserError if the file cannot or must not be read."""
    return open_reader(Path(path)).listing()


def open_movie(path: Path, *, variable: str | list[str] | None, axes: str | None, max_bytes: int = 2**40) -> ArrayMovie:
    """Open the movie in an array file without reading any value.

    Args:
        path: A local file or Zarr folder.
        variable: Name of the array. Several names of arrays of one shape give one channel each. None is allowed if the file has
            only one array of 3 or more dimensions.
        axes: One letter for each index, in the file's index order (for .mat, MATLAB's): n (movies), c (channels), t, y or x.
            None is allowed if the file names its dimensions.
        max_bytes: Most bytes that the arrays may take as float32, by their declared shape.

    Raises:
        UserError: If the file, the variable or the axes cannot be used.
        Unspecified: If the user must give the variable or the axes; a subclass of UserError.
    """
    reader = open_reader(Path(path))
    listing = reader.listing()
    names = [variable] if isinstance(variable, str) else list(variable) if variable is not None else [_only(reader, listing)]
    if not names:
        raise UserError(f"{path}: data.variable=[] names no variable; type data.variable=NAME")
    variables = [_find(reader, listing, name) for name in names]
    first = variables[0]
    for other in variables:
        where = f"{path}: {printable_name(other.name)}"
        if not 3 <= len(other.shape) <= 5:
            raise UserError(
                f"{where} is {printable_shape(other.shape)}, of {len(other.shape)} dimensions; a movie has 3 (time, rows, "
                f"columns) to 5; type data.variable=NAME of another one"
            )
        if (other.shape, other.dims) != (first.shape, first.dims):
            raise UserError(
                f"{where} is {printable_shape(other.shape)}{_dims_text(other)}, {printable_name(first.name)} is "
                f"{printable_shape(first.shape)}{_dims_text(first)}; variables that become channels must be alike"
            )
    total = 4 * sum(prod(v.shape) for v in variables)
    if total > max_bytes:
        raise UserError(
            f"{path}: {', '.join(map(printable_name, names))} of {printable_shape(first.shape)} declares "
            f"{printable_bytes(total)} as float32, more than the limit of {printable_bytes(max_bytes)}; "
            f"type data.max_bytes={total} if it is that large"
        )
    where = f"{path}: {printable_name(first.name)}"
    details = [reader.details(v.name) for v in variables]
    if axes is not None:
        letters = axis_rules.check_axes(axes, first, where)
    else:
        letters = axis_rules.infer_axes(first, details[0].coordinates, where, reader.time_last)
    if len(variables) > 1 and "c" in letters:
        raise UserError(
            f"{where}: axes {letters} have channels already; type one variable, data.variable={printable_name(first.name)}"
        )
    return ArrayMovie(reader, variables, letters, details)


def open_reader(path: Path) -> ArrayReader:
    """Return the reader of a file, chosen by the file's content. An `isolated` reader runs in the child process.

    Raises:
        UserError: If no reader fits, or the file cannot be opened.
    """
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(path)):
        raise UserError(f"{path}: an address is not read; download it and give the local file")
    if not path.exists():
        raise UserError(f"{path}: no such file; type data.path=FILE")
    if not path.is_dir() and (not path.is_file() or path.suffix.lower() not in readable_suffixes()):
        raise UserError(f"{path}: not one of {', '.join(readable_suffixes())}")
    try:
        head = b"" if path.is_dir() else _head(path)
        for kind in load_format_readers():
            if (reader := kind.recognize(path, head)) is not None:
                return IsolatedReader(reader) if reader.isolated else reader
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}); check its permissions") from error
    if path.is_dir():
        raise UserError(f"{path}: a folder without Zarr metadata; give a file or a .zarr folder")
    raise UserError(f"{path}: {_unknown(head)}; give a complete file of the kind that its name ({path.suffix}) promises")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _unknown(head: bytes) -> str:
    """Describe a file that no reader recognises, by its first bytes `head`."""
    if not head:
        return "empty, 0 bytes"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head[:64]):
        return f"text ({printable_name(head[:20].decode())} ...), not arrays"
    return "not a format that is read, or damaged at its beginning"


def _only(reader: ArrayReader, listing: Listing) -> str:
    """Return the name of the only array that can be a movie; raise Unspecified with all candidates if several arrays can."""
    candidates = [v for v in listing.variables if len(v.shape) >= 3]
    if len(candidates) == 1:
        return candidates[0].name
    if candidates:
        found = ", ".join(f"{printable_name(v.name)} ({printable_shape(v.shape)} {v.dtype})" for v in candidates[:20])
        more = f" and {len(candidates) - 20} more" if len(candidates) > 20 else ""
        raise Unspecified(f"{reader.path}: several arrays can be the movie: {found}{more}; type data.variable=NAME")
    others = [f"{printable_name(v.name)} is {printable_shape(v.shape)}" for v in listing.variables]
    others += [f"{printable_name(name)} {problem}" for name, problem in listing.refused.items()]
    found = "; ".join(others[:8]) or "nothing else either"
    raise UserError(f"{reader.path}: no numeric array of 3 or more dimensions ({found}); give another file")


def _find(reader: ArrayReader, listing: Listing, name: str) -> Variable:
    for found in listing.variables:
        if found.name == name.strip("/"):
            return found
    if (problem := listing.refused.get(name.strip("/"))) is not None:
        raise UserError(f"{reader.path}: {printable_name(name)} {problem}")
    known = [printable_name(v.name) for v in listing.variables]
    hint = error_suggestion(printable_name(name), known) if known else "; it holds no numeric array"
    raise UserError(f"{reader.path}: data.variable={printable_name(name)}: there is no such array{hint}")


def _dims_text(variable: Variable) -> str:
    return f" ({', '.join(map(printable_name, variable.dims))})" if variable.dims else ""
