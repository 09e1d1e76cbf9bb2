"""MATLAB files of version 4 and 5 to 7.2. (Version 7.3 is HDF5.)"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vsr.data.readers.source import (
    Details,
    Listing,
    Part,
    Source,
    Variable,
    described,
    guarded,
    kind_problem,
    shape_problem,
    shown,
)
from vsr.errors import UserError

DAMAGED = "the file is damaged or cut short; fetch or write it again"
WORDS = {
    "logical": "is boolean (logical), not real numbers; store it with single()",
    "sparse": "is a sparse matrix; store it with full()",
    "struct": "is a struct, not an array; store its field as a variable of its own",
    "cell": "is a cell array, not real numbers; store its contents as a variable of its own",
    "char": "is a string (char), not real numbers",
    "complex": "is complex, not real numbers; store its real and imaginary part as two variables",
    "repeated": "occurs more than once in the file; save it again",
}
# Version 5, numbers of classes (from 1), bytes per value of the types that numbers are stored in, other types, flags.
CLASSES = (
    *("cell", "struct", "object", "char", "sparse", "float64", "float32"),
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "function", "opaque"),
)
STORED = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
INT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 5, 6, 14, 15
COMPLEX, LOGICAL = 0x0800, 0x0200
HEADER = 2**16  # bytes within which the values of a matrix must begin


def looks_like_v4(head: bytes) -> bool:
    """Whether the first 20 bytes are a version 4 header: type MOPT, rows, columns, imaginary, length of name."""
    for order in "<>":
        if len(head) >= 20:
            kind, rows, columns, imaginary, length = struct.unpack(order + "5i", head[:20])
            digits = kind // 1000, kind // 100 % 10, kind // 10 % 10, kind % 10
            known = digits[0] in range(5) and digits[1] == 0 and digits[2] in range(6) and digits[3] in range(3)
            if kind >= 0 and known and rows >= 0 and columns >= 0 and imaginary in (0, 1) and 1 < length < 4096:
                return True
    return False


class MatlabSource(Source):
    """Version 4 or 5. The format cannot be read in parts: the variable is read whole, once per process, and kept."""

    def __init__(self, path: Path, version: int) -> None:
        super().__init__(path)
        self.version, self.format = version, f"MATLAB {version}"

    def _open(self) -> dict[str, np.ndarray]:
        return {}

    def listing(self) -> Listing:
        variables: list[Variable] = []
        refused: dict[str, str] = {}
        with guarded(str(self.path), DAMAGED):
            found = list(_version_5(self.path) if self.version == 5 else _version_4(self.path))
        names = [matrix.name for matrix in found]
        for matrix in found:
            kind = "repeated" if names.count(matrix.name) > 1 else matrix.kind
            if kind in WORDS or not kind.startswith(("float", "int", "uint")):
                refused[matrix.name] = WORDS.get(kind, f"is of MATLAB's type {kind}, not real numbers")
            elif (problem := matrix.problem or shape_problem(matrix.shape)) is not None:
                refused[matrix.name] = problem
            else:
                variables.append(Variable(matrix.name, matrix.shape, kind, None, None))
        return Listing(self.format, tuple(variables), refused)

    def details(self, name: str) -> Details:
        return Details()

    def read(self, name: str, part: Part) -> np.ndarray:
        from scipy.io import loadmat

        if name not in self.handle:
            where = f"{self.path}: {shown(name)}"
            with guarded(where, DAMAGED):
                values = loadmat(str(self.path), variable_names=[name], appendmat=False)[name]
                problem = kind_problem(values.dtype) if isinstance(values, np.ndarray) else "is not an array"
            if problem is not None:
                raise UserError(f"{where} {problem}")
            self.handle[name] = values
        return self.handle[name][part]


@dataclass(frozen=True)
class Matrix:
    """What the header of a matrix says. kind: a NumPy dtype, or a key of WORDS, or MATLAB's word."""

    name: str
    shape: tuple[int, ...]
    kind: str
    problem: str | None = None


def _version_4(path: Path) -> Iterator[Matrix]:
    from scipy.io import whosmat

    for name, shape, kind in whosmat(str(path), appendmat=False):
        yield Matrix(name, tuple(shape), {"double": "float64", "single": "float32"}.get(kind, kind))


def _version_5(path: Path) -> Iterator[Matrix]:
    """The matrices of a file, by their headers, which are checked because SciPy crashes on wrong ones. Raises UserError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        order = "<" if file.read(128)[126:128] == b"IM" else ">"
        while tag := file.read(8):
            kind, length = struct.unpack(order + "2I", tag) if len(tag) == 8 else (0, size)
            end = file.tell() + length
            if end > size:
                raise UserError(f"{path}: cut short, {size} bytes of at least {end}; fetch or write the file again")
            head = file.read(min(length, HEADER))
            if kind == COMPRESSED:
                head = zlib.decompressobj().decompress(head, HEADER)
                kind, head = struct.unpack(order + "I", head[:4])[0], head[8:]
            if kind != MATRIX:
                raise UserError(f"{path}: holds something that is not a matrix (type {kind}); {DAMAGED}")
            matrix = _matrix(head, order)
            if matrix.name:  # MATLAB's own workspace has none
                yield matrix
            file.seek(end)


def _matrix(head: bytes, order: str) -> Matrix:
    """From the bytes after its tag. Raises struct.error or ValueError for what is none."""
    kind, length, start = _element(head, 0, order)
    flags = struct.unpack_from(order + "I", head, start)[0]
    number = flags & 0xFF
    if (kind, length) != (UINT32, 8) or not 1 <= number <= len(CLASSES):
        raise ValueError("a matrix without a class")
    word = CLASSES[number - 1]
    kind, length, start = _element(head, start + 8, order)
    if word == "opaque":  # an object of a class: its name stands where others have their shape
        return Matrix(head[start : start + length].decode("latin-1"), (), word)
    if kind != INT32 or length % 4 or not 8 <= length <= 128:
        raise ValueError("a matrix without a shape")
    shape = struct.unpack_from(f"{order}{length // 4}i", head, start)
    kind, length, start = _element(head, _after(start, length), order)
    if kind != INT8 or start + length > len(head):
        raise ValueError("a matrix without a name")
    name = head[start : start + length].decode("latin-1")
    if flags & LOGICAL or flags & COMPLEX:
        return Matrix(name, shape, "logical" if flags & LOGICAL else "complex")
    problem = None
    if word.startswith(("float", "int", "uint")) and shape_problem(shape) is None:
        kind, length, start = _element(head, _after(start, length), order)
        if STORED.get(kind, 0) * math.prod(shape) != length:
            problem = (
                f"is damaged: {described(shape)} values cannot be {length} bytes of type {kind}; fetch or write the file again"
            )
    return Matrix(name, shape, word, problem)


def _element(head: bytes, at: int, order: str) -> tuple[int, int, int]:
    """(type, bytes, where they begin) of an element; short ones have both numbers in one word and their bytes behind it."""
    word, length = struct.unpack_from(order + "2I", head, at)
    return (word & 0xFFFF, word >> 16, at + 4) if word >> 16 else (word, length, at + 8)


def _after(start: int, length: int) -> int:
    """Where the next element begins: at a multiple of 8 bytes."""
    return -(-(start + length) // 8) * 8
