"""Base class of the readers of array files (`ArrayReader`), the records that a reader returns, and checks for all readers."""

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
from vsr.io.readers.printable import printable_bytes, printable_name, printable_shape

MAX_CHUNK = 2**30  # bytes that one compressed chunk may unpack to: reading one pixel unpacks the whole chunk
DAMAGED = "the file is damaged or cut short; fetch or write it again"
Part = tuple[slice, ...]


@dataclass(frozen=True)
class Variable:
    """Numeric array in a file. `shape` and `dims` (names of dimensions) use the file's index order, or MATLAB's for .mat."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    dims: tuple[str, ...] | None
    units: str | None


@dataclass(frozen=True)
class Listing:
    """Numeric arrays of a file (`variables`), and for each other object the reason why it cannot be a movie (`refused`)."""

    format: str
    variables: tuple[Variable, ...]
    refused: Mapping[str, str]


@dataclass(frozen=True)
class ArrayAttributes:
    """Plain attributes of an array (`attrs`) and of the coordinate of each dimension (CF: axis, standard_name, units)."""

    attrs: dict[str, Any] = field(default_factory=dict)
    coordinates: tuple[Mapping[str, Any], ...] | None = None


@dataclass(frozen=True)
class AuxiliaryArray:
    """Array that lies in the file of a movie but is not part of the movie, for example a coordinate.

    Attributes:
        name: Path of the array in the file.
        dims: Name of each dimension; "" for a dimension without a name.
        shape: Length of each dimension.
        attrs: Attributes of the array.
        coordinate: True if the file attaches the array to a dimension of the movie, as HDF5 does with dimension scales.
        text: True if the values are texts or single characters.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: Mapping[str, Any]
    coordinate: bool = False
    text: bool = False

    @property
    def base(self) -> str:
        """Name of the array without its groups: "lat" for "grid/lat"."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True)
class Metadata:
    """All content of a file besides the values of a movie, to be kept in an output file.

    Attributes:
        dims: Name of each dimension of the movie, or None.
        attrs: Attributes of each array that belongs to the movie.
        groups: Path of a group -> attributes of the group; the path "" is the file itself.
        neighbours: Other arrays that an output may keep. They lie in the movie's group or the groups above it, in HDF5
            anywhere.
        storage: Options of the file format, for `OutputTemplate.storage`.
        notes: What an output cannot keep, in sentences for the user.
        unlimited: Letters of the movie's axes that can grow.
    """

    dims: tuple[str, ...] | None = None
    attrs: tuple[Mapping[str, Any], ...] = ()
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    neighbours: Sequence[AuxiliaryArray] = ()
    storage: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unlimited: str = ""


class ArrayReader(ABC):
    """Base class of the readers of array files; one object reads one file. `vsr.io.formats` lists a subclass per format.

    The file handle is opened on demand, once per process, and is not pickled. All readers are imported before any file is
    opened, so the module of a reader imports the library of its format inside of functions. All methods raise UserError for a
    file that cannot or must not be read.

    Attributes:
        name: Key of the format in `vsr.io.formats.FORMATS`.
        suffixes: File-name endings of the format, in lower case.
        isolated: True to run the reader in a child process, where a crash of a library does no harm. False is only for readers
            that check every declared size themselves before NumPy or SciPy reads a value.
        format: Name and version of the format, shown to the user.
        advice: Last part of the error message for a file that cannot be read; tells the user what to do.
        time_last: True if arrays of this format usually have time as their last index.
        superseded: True if vsr reads this version of the format but does not write it. Outputs get the current version.
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
        """Return a reader of the file, not opened yet, or None if the file has another format.

        The content decides, not the name. This method runs outside of the child process, so it must not pass the file to a
        library.

        Args:
            path: An existing file or folder.
            head: The first `vsr.io.readers.recognize.HEAD` bytes of the file; empty for a folder.

        Raises:
            UserError: If the file has this format but cannot be read.
        """

    def listing(self) -> Listing:
        """List every array of the file, and every object that cannot be a movie, without reading values."""
        variables: list[Variable] = []
        refused: dict[str, str] = {}
        with self._errors():
            for name, found in self._entries():
                if isinstance(found, Variable):
                    variables.append(found)
                else:
                    refused[name] = found
        return Listing(self.format, tuple(variables), refused)

    def details(self, name: str) -> ArrayAttributes:
        """Check that the declared storage of the listed array `name` is safe to read, and return the array's attributes."""
        return ArrayAttributes()

    @abstractmethod
    def read(self, name: str, part: Part) -> np.ndarray:
        """Return a part of an array, decoded, in any real dtype and in the index order of its `Variable`; () is the whole."""

    def metadata(self, names: Sequence[str], axes: Sequence[str]) -> Metadata:
        """Read everything that an output file keeps besides the values of the movie.

        Args:
            names: Names of the arrays that form the movie.
            axes: Letter of each index of these arrays, from n (movies), c (channels), t, y, x; "" for an index at which one
                position was selected.
        """
        return Metadata()

    def coordinate(self, name: str, dimension: int) -> np.ndarray | None:
        """Return the values of the coordinate of a dimension (by number) of the listed array `name`, or None without one."""
        return None

    def read_stored(self, name: str) -> np.ndarray:
        """Return all values of the array `name`, which is not part of the movie, as stored in the file, not decoded."""
        return self.read(name, ())

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        self._handle = None

    def _entries(self) -> Iterator[tuple[str, Variable | str]]:
        """Yield (name, array) for each usable array and (name, reason) for each other object; `listing` collects them."""
        raise TypeError(f"{type(self).__name__} has neither `listing` nor `_entries` of its own")

    def _open(self) -> Any:
        """Open the handle that is kept between reads; by default an empty dict that can keep arrays by name."""
        return {}

    def _errors(self, name: str | None = None) -> AbstractContextManager[None]:
        """Return a context that turns any error into a UserError about the file, or about the array `name` in the file."""
        return reader_errors(str(self.path) if name is None else f"{self.path}: {printable_name(name)}", self.advice)

    @property
    def handle(self) -> Any:
        """Object that `_open` returned, made again in a forked process: two processes must not share a file handle."""
        if self._handle is None or self._process != os.getpid():
            self._handle, self._process = self._open(), os.getpid()
        return self._handle

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}


@contextmanager
def reader_errors(where: str, advice: str) -> Iterator[None]:
    """Turn any error of a reading library into a UserError of the form "where: cannot be read (cause); advice".

    All kinds of errors are caught, because libraries raise nearly every kind of exception on damaged files.
    """
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


def import_reader_library(module: str, purpose: str, extra: str, package: str | None = None) -> Any:
    """Import and return a module of a library that only some users need.

    Args:
        module: Full name of the module.
        purpose: Start of the error message, which goes on with "needs PACKAGE".
        extra: Name of the extra of vsr that installs the library.
        package: Name of the package for the message; None for the module whose import failed.

    Raises:
        UserError: If the library, or a library that it imports, is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = package or error.name or module
        raise UserError(f"{purpose} needs {missing}; type: pip install 'vsr-movies[{extra}]'") from error


def reader_dtype_problem(dtype: np.dtype) -> str | None:
    """Return the reason why values of a dtype cannot be a movie, or None if the dtype is an integer or a float."""
    kinds = {"c": "complex", "b": "boolean", "O": "object", "V": "struct", "S": "string", "U": "string", "T": "string"}
    if dtype.kind in "iuf":
        return None
    fields = ", ".join(map(printable_name, (dtype.names or ())[:8]))
    advice = f"; save one of its fields ({fields}) as an array of its own" if fields else ""
    return f"is {kinds.get(dtype.kind, f'of type {dtype}')}, not real numbers{advice}"


def reader_shape_problem(shape: Sequence[int]) -> str | None:
    """Return the reason why a shape cannot be used, or None if an array of that shape holds at least one value."""
    if any(n < 0 for n in shape):
        return f"declares an impossible shape {tuple(shape)}"
    return f"is empty ({printable_shape(shape)})" if 0 in shape else None


def reader_array_problem(dtype: np.dtype, shape: Sequence[int]) -> str | None:
    """Return the reason why an array cannot be a movie, or None if the array holds at least one integer or float."""
    return reader_dtype_problem(dtype) or reader_shape_problem(shape)


def check_reader_chunk(where: str, chunk: Sequence[int] | None, itemsize: int) -> None:
    """Raise UserError about `where` if one chunk, with `itemsize` bytes per value, unpacks to more than MAX_CHUNK bytes."""
    size = math.prod(chunk) * itemsize if chunk else 0
    if size > MAX_CHUNK:
        raise UserError(
            f"{where}: its chunks of {printable_shape(chunk or ())} unpack to {printable_bytes(size)} each, more than "
            f"{printable_bytes(MAX_CHUNK)}; write the file again with one frame per chunk"
        )
