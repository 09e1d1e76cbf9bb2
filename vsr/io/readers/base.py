"""Interface of the readers of array files: `ArrayReader`, and the values that a reader returns."""

from __future__ import annotations

import importlib
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vsr.errors import UserError

MAX_CHUNK = 2**30  # bytes that one compressed chunk may unpack to: reading one pixel unpacks the whole chunk
MAX_ATTRIBUTE = 60_000  # bytes; HDF5 keeps attributes in a header of 64 KiB
DAMAGED = "the file is damaged or cut short; fetch or write it again"
Part = tuple[slice, ...]


@dataclass(frozen=True)
class Variable:
    """A numeric array in a file. `shape` and `dims` are in the index order of the file (for .mat: MATLAB's order)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    dims: tuple[str, ...] | None
    units: str | None


@dataclass(frozen=True)
class Listing:
    """The numeric arrays of a file, and the reason for each other object why it cannot be a movie."""

    format: str
    variables: tuple[Variable, ...]
    refused: Mapping[str, str]


@dataclass(frozen=True)
class Details:
    """The plain attributes of an array, and of the coordinate of each of its dimensions (CF: axis, standard_name, units)."""

    attrs: dict[str, Any] = field(default_factory=dict)
    coordinates: tuple[Mapping[str, Any], ...] | None = None


@dataclass(frozen=True)
class Neighbour:
    """Another array of the file of a movie.

    Attributes:
        name: path in the file.
        dims: name of each dimension; "" for a dimension without a name.
        shape: length of each dimension.
        attrs: attributes.
        coordinate: the file declares the array a coordinate of the movie in its own way (HDF5: as a dimension scale).
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: Mapping[str, Any]
    coordinate: bool = False

    @property
    def base(self) -> str:
        """The name without its groups."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True)
class Metadata:
    """All that a file holds beside the values of a movie, for an output that shall hold the same.

    Attributes:
        dims: name of each dimension of the movie's arrays, or None.
        attrs: attributes of each of the movie's arrays.
        groups: attributes by path of the group; "" is the file.
        neighbours: all other arrays of the movie's group and of the groups above it.
        decoded: the reader has applied scale_factor, add_offset and missing values: these attributes no longer hold.
        storage: options of the format, for `Template.storage`.
    """

    dims: tuple[str, ...] | None = None
    attrs: tuple[Mapping[str, Any], ...] = ()
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    neighbours: Sequence[Neighbour] = ()
    decoded: bool = False
    storage: Mapping[str, Any] = field(default_factory=dict)


class ArrayReader(ABC):
    """Reader of one file. A subclass per format; `vsr.io.formats` lists them.

    The handle is opened on demand, once per process, and is not pickled. A module with a reader imports the library of its format
    inside of functions: all readers are imported before any file is opened. All methods raise UserError for a file that cannot or
    must not be read.

    Attributes:
        name: the key of the format in `vsr.io.formats.FORMATS`.
        suffixes: endings of the names of such files, in small letters.
        isolated: run this reader in a child process, where a crash of a library does no harm. False only for readers that check
            every declared size themselves before NumPy or SciPy reads a value.
        format: name of the format, and of its version, for the user.
        advice: what to do with a file that cannot be read; the end of error messages.
        time_last: arrays usually have time as their last index.
        superseded: files of this version are only read; outputs get the current version of the format.
    """

    name: str
    suffixes: tuple[str, ...]
    isolated: bool = True
    format: str
    advice: str = DAMAGED
    time_last: bool = False
    superseded: bool = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: Any = None
        self._process = 0

    @classmethod
    @abstractmethod
    def recognize(cls, path: Path, head: bytes) -> ArrayReader | None:
        """The reader of a file, unopened; None for a file of another format.

        The content decides, not the name. This method runs outside of the child process: it must not hand the file to a library.

        Args:
            path: an existing file or folder.
            head: the first `vsr.io.readers.open.HEAD` bytes of the file; none of a folder.

        Raises:
            UserError: the file is of this format, but cannot be read.
        """

    def listing(self) -> Listing:
        """List every array. Reads no values."""
        variables: list[Variable] = []
        refused: dict[str, str] = {}
        with self._errors():
            for name, found in self._entries():
                if isinstance(found, Variable):
                    variables.append(found)
                else:
                    refused[name] = found
        return Listing(self.format, tuple(variables), refused)

    def details(self, name: str) -> Details:
        """Check the declared storage of an array of the listing, so that it can be read safely, and return its details."""
        return Details()

    @abstractmethod
    def read(self, name: str, part: Part) -> np.ndarray:
        """Decoded values of a part of an array, of any real dtype, in the index order of its `Variable`; () is the whole."""

    def metadata(self, names: Sequence[str], axes: str) -> Metadata:
        """Read everything that an output keeps besides the values of the movie.

        Args:
            names: of the arrays that form the movie.
            axes: the letter of each of their indices, from n, c, t, y, x.
        """
        return Metadata()

    def read_stored(self, name: str) -> np.ndarray:
        """All values of a `Neighbour`, not decoded."""
        return self.read(name, ())

    def _entries(self) -> Iterator[tuple[str, Variable | str]]:
        """Yield (name, array) of each usable array, and (name, reason) of each other object, for `listing`."""
        raise NotImplementedError

    def _open(self) -> Any:
        """Open the handle that is kept between reads; by default a place for arrays by name."""
        return {}

    def _errors(self, name: str | None = None) -> AbstractContextManager[None]:
        """Turn any error into a UserError about the file, or about its array `name`."""
        return reader_errors(str(self.path) if name is None else f"{self.path}: {printable_name(name)}", self.advice)

    @property
    def handle(self) -> Any:
        """The result of `_open`; opened again in a forked process, since two processes must not share a file handle."""
        if self._handle is None or self._process != os.getpid():
            self._handle, self._process = self._open(), os.getpid()
        return self._handle

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}


@contextmanager
def reader_errors(where: str, advice: str) -> Iterator[None]:
    """Turn any error of a reading library into a UserError: on damaged files they raise nearly every kind of exception."""
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{where}: does not fit into memory; give fewer or smaller frames") from error
    except Exception as error:
        lines = str(error).strip().splitlines()
        cause = printable_name(lines[0]) if lines else type(error).__name__
        raise UserError(f"{where}: cannot be read ({cause}); {advice}") from error


def import_optional(module: str, purpose: str, extra: str, package: str | None = None) -> Any:
    """Import a library that only some users need.

    Args:
        module: full name of the module.
        purpose: the start of the error message, which goes on with "needs PACKAGE".
        extra: the extra of vsr that installs the library.
        package: name of the package for the message; None for the module whose import failed.

    Raises:
        UserError: the library, or a library that it imports, is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = package or error.name or module
        raise UserError(f"{purpose} needs {missing}; type: pip install 'vsr-movies[{extra}]'") from error


def printable_name(name: str) -> str:
    """A name from a file, safe to print: line breaks, terminal codes and broken text become escapes."""
    return name if name.isprintable() else ascii(name)


def shape_text(shape: Sequence[int]) -> str:
    """(3, 4, 5) -> "3x4x5"."""
    return "x".join(map(str, shape)) or "a single number"


def bytes_text(size: float) -> str:
    """1536 -> "1.5 KiB"."""
    power = max(0, min(4, (int(size).bit_length() - 1) // 10))
    return f"{size / 1024**power:.4g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def dtype_problem(dtype: np.dtype) -> str | None:
    """Why values of a dtype cannot be a movie; None for integers and floats."""
    kinds = {"c": "complex", "b": "boolean", "O": "object", "V": "struct", "S": "string", "U": "string", "T": "string"}
    if dtype.kind in "iuf":
        return None
    return f"is {kinds.get(dtype.kind, f'of type {dtype}')}, not real numbers"


def shape_problem(shape: Sequence[int]) -> str | None:
    """Why a shape cannot be used; None for a shape that holds at least one value."""
    if any(n < 0 for n in shape):
        return f"declares an impossible shape {tuple(shape)}"
    return f"is empty ({shape_text(shape)})" if 0 in shape else None


def movie_array_problem(dtype: np.dtype, shape: Sequence[int]) -> str | None:
    """Why an array cannot be a movie; None for at least one value of integers or floats."""
    return dtype_problem(dtype) or shape_problem(shape)


def check_chunk(where: str, chunk: Sequence[int] | None, itemsize: int) -> None:
    """Raise UserError when one chunk of an array unpacks to more than MAX_CHUNK bytes."""
    size = math.prod(chunk) * itemsize if chunk else 0
    if size > MAX_CHUNK:
        raise UserError(
            f"{where}: its chunks of {shape_text(chunk or ())} unpack to {bytes_text(size)} each, more than "
            f"{bytes_text(MAX_CHUNK)}; write the file again with one frame per chunk"
        )


def plain_attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Select the attributes that are numbers, texts or short lists of numbers, as Python's own types."""
    out: dict[str, Any] = {}
    for key, value in attrs.items():
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        elif isinstance(value, np.ndarray) and value.size <= 16 and value.dtype.kind in "biufU":
            value = value.tolist()
        elif isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, str | int | float) or (isinstance(value, list) and len(value) <= 16):
            out[str(key)] = value
    return out


def portable_attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that every format can hold: texts, lists of texts, numbers, one-dimensional arrays of numbers."""
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


def units_of(attrs: Mapping[str, Any]) -> str | None:
    """The text of the attribute `units`; None without one."""
    units = plain_attributes({"units": attrs["units"]}).get("units") if "units" in attrs else None
    return units if isinstance(units, str) else None
