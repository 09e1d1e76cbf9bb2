"""What every format gives to `arrays`: a list of its arrays, the details of one, and parts of it. No format is known here."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vsr.errors import UserError

MAX_CHUNK = 2**30  # bytes that one compressed block may unpack to: one pixel costs the whole block
Part = tuple[slice, ...]


@dataclass(frozen=True)
class Variable:
    """A numeric array in a file. `shape` and `dims` are in the file's own index order (for .mat: MATLAB's)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    dims: tuple[str, ...] | None
    units: str | None


@dataclass(frozen=True)
class Listing:
    """What a file holds: numeric arrays, and by name why anything else cannot be a movie."""

    format: str
    variables: tuple[Variable, ...]
    refused: Mapping[str, str]


@dataclass(frozen=True)
class Details:
    """Of one array: its plain attributes, and those of each dimension's coordinate (CF: axis, standard_name, units)."""

    attrs: dict[str, Any] = field(default_factory=dict)
    coordinates: tuple[Mapping[str, Any], ...] | None = None


class Source(ABC):
    """One file. Its handle is opened on demand, once per process, and is not pickled.

    All methods raise UserError for what cannot or must not be read.
    """

    format: str

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: Any = None
        self._process = 0

    @abstractmethod
    def listing(self) -> Listing:
        """Every array, without reading a value of any."""

    @abstractmethod
    def details(self, name: str) -> Details:
        """Of an array of the listing, after checking that its declared storage can be read safely."""

    @abstractmethod
    def read(self, name: str, part: Part) -> np.ndarray:
        """The values of a part of an array, in the index order of its `Variable`, of any real dtype."""

    def _open(self) -> Any:
        """The handle that is kept between reads; None for formats that keep none."""
        return None

    @property
    def handle(self) -> Any:
        """What `_open` gave; again in a forked process, since file handles must not be shared between two."""
        if self._handle is None or self._process != os.getpid():
            self._handle, self._process = self._open(), os.getpid()
        return self._handle

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}


@contextmanager
def guarded(where: str, advice: str) -> Iterator[None]:
    """Turn any error of a reading library into a UserError: on damaged files they raise nearly every kind there is."""
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{where}: does not fit into memory; give fewer or smaller frames") from error
    except Exception as error:
        lines = str(error).strip().splitlines()
        raise UserError(f"{where}: cannot be read ({shown(lines[0]) if lines else type(error).__name__}); {advice}") from error


def shown(name: str) -> str:
    """A name from a file, safe to print: line breaks, terminal codes and broken text as escapes."""
    return name if name.isprintable() else ascii(name)


def described(shape: Sequence[int]) -> str:
    """(3, 4, 5) -> "3x4x5"."""
    return "x".join(map(str, shape)) or "a single number"


def bytes_text(size: float) -> str:
    """1536 -> "1.5 KiB"."""
    power = max(0, min(4, (int(size).bit_length() - 1) // 10))
    return f"{size / 1024**power:.4g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def kind_problem(dtype: np.dtype) -> str | None:
    """None for integers and floats, else what it is."""
    kinds = {"c": "complex", "b": "boolean", "O": "object", "V": "struct", "S": "string", "U": "string", "T": "string"}
    if dtype.kind in "iuf":
        return None
    return f"is {kinds.get(dtype.kind, f'of type {dtype}')}, not real numbers"


def shape_problem(shape: Sequence[int]) -> str | None:
    """None for a shape that holds at least one value, else what is wrong with it."""
    if any(n < 0 for n in shape):
        return f"declares an impossible shape {tuple(shape)}"
    return f"is empty ({described(shape)})" if 0 in shape else None


def check_chunk(where: str, chunk: Sequence[int] | None, itemsize: int) -> None:
    """Raises UserError when one block of a chunked array unpacks to more than MAX_CHUNK."""
    size = math.prod(chunk) * itemsize if chunk else 0
    if size > MAX_CHUNK:
        raise UserError(
            f"{where}: its chunks of {described(chunk or ())} unpack to {bytes_text(size)} each, more than "
            f"{bytes_text(MAX_CHUNK)}; write the file again with one frame per chunk"
        )


def plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that are numbers, texts or short lists of numbers, as Python's own types."""
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


def units_of(attrs: Mapping[str, Any]) -> str | None:
    """The text of the attribute `units`."""
    units = plain({"units": attrs["units"]}).get("units") if "units" in attrs else None
    return units if isinstance(units, str) else None
