"""MATLAB files of version 4 and 5 to 7.2. (Version 7.3 is HDF5.)"""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.base import (
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
# Version 5, numbers of classes (from 1), the types that numbers are stored in, other types, flags.
CLASSES = (
    *("cell", "struct", "object", "char", "sparse", "float64", "float32"),
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "function", "opaque"),
)
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
INT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 5, 6, 14, 15
COMPLEX, LOGICAL = 0x0800, 0x0200
HEADER = 2**16  # bytes within which the values of a matrix must begin
BLOCK = 1 << 20  # bytes that are unpacked at once


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
        if name not in self.handle:
            where = f"{self.path}: {shown(name)}"
            with guarded(where, DAMAGED):
                values = _values_5(self.path, name) if self.version == 5 else _values_4(self.path, name)
                problem = kind_problem(values.dtype) if isinstance(values, np.ndarray) else "is not an array"
            if problem is not None:
                raise UserError(f"{where} {problem}")
            self.handle[name] = values
        return self.handle[name][part]


@dataclass(frozen=True)
class Matrix:
    """What the header of a matrix says. kind: a NumPy dtype, or a key of WORDS, or MATLAB's word.

    Of version 5 also where its values are: stored, their type in the file; start, the bytes of the matrix before them; at, length
    and packed, where the matrix is in the file, and whether zlib must unpack it.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    problem: str | None = None
    stored: str = ""
    start: int = 0
    at: int = 0
    length: int = 0
    packed: bool = False


def _version_4(path: Path) -> Iterator[Matrix]:
    from scipy.io import whosmat

    size = path.stat().st_size
    with warnings.catch_warnings(action="ignore"):  # SciPy remarks on what it then refuses
        found = whosmat(str(path), appendmat=False)
    for name, shape, kind in found:
        problem = None
        if math.prod(shape) > size:  # before SciPy asks for the memory
            problem = f"is cut short: {described(shape)} values are not in a file of {size} bytes; fetch or write the file again"
        yield Matrix(name, tuple(shape), {"double": "float64", "single": "float32"}.get(kind, kind), problem)


def _values_4(path: Path, name: str) -> np.ndarray:
    from scipy.io import loadmat

    with warnings.catch_warnings(action="ignore"):
        return loadmat(str(path), variable_names=[name], appendmat=False)[name]


def _values_5(path: Path, name: str) -> np.ndarray:
    """The values of a matrix in the type that they are stored in. Raises ValueError, zlib.error or StopIteration."""
    matrix = next(found for found in _version_5(path) if found.name == name and found.stored)
    if matrix.problem is not None:
        raise ValueError(matrix.problem)
    dtype, count = np.dtype(matrix.stored), math.prod(matrix.shape)
    with path.open("rb") as file:
        if matrix.packed:
            file.seek(matrix.at)
            raw = _unpacked(file, matrix.length, matrix.start + count * dtype.itemsize)
            values = np.frombuffer(raw, dtype, count, matrix.start)
        else:
            values = np.fromfile(file, dtype, count, offset=matrix.at + matrix.start)
    return values.reshape(matrix.shape, order="F")


def _unpacked(file: IO[bytes], length: int, size: int) -> bytearray:
    """`size` bytes that zlib has packed into the next `length`, and up to 7 that fill the last word up. Raises ValueError."""
    unpacker, raw = zlib.decompressobj(), bytearray()
    while length and not unpacker.eof:
        piece = file.read(min(length, BLOCK))
        length -= len(piece)
        # One byte more than there may be: what declares less than it unpacks to is not unpacked to its end.
        raw += unpacker.decompress(piece, max(1, size + 8 - len(raw)))
        if len(raw) >= size + 8 or not piece:
            break
    if not unpacker.eof or len(raw) < size:
        raise ValueError(f"unpacks to {'more' if len(raw) >= size else 'less'} than the {size} bytes that it declares")
    return raw


def _version_5(path: Path) -> Iterator[Matrix]:
    """The matrices of a file, by their headers. SciPy is not asked: it crashes on wrong ones. Raises UserError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        order = "<" if file.read(128)[126:128] == b"IM" else ">"
        while tag := file.read(8):
            kind, length = struct.unpack(order + "2I", tag) if len(tag) == 8 else (0, size)
            end = file.tell() + length
            if end > size:
                raise UserError(f"{path}: cut short, {size} bytes of at least {end}; fetch or write the file again")
            at, packed = file.tell(), kind == COMPRESSED
            head = file.read(min(length, HEADER))
            if packed:
                head = zlib.decompressobj().decompress(head, HEADER)
                kind, head = struct.unpack(order + "I", head[:4])[0], head[8:]
            if kind != MATRIX:
                raise UserError(f"{path}: holds something that is not a matrix (type {kind}); {DAMAGED}")
            matrix = _matrix(head, order)
            matrix = replace(matrix, at=at, length=length, packed=packed, start=matrix.start + 8 * packed)
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
    if not word.startswith(("float", "int", "uint")) or shape_problem(shape) is not None:
        return Matrix(name, shape, word)
    kind, length, start = _element(head, _after(start, length), order)
    if kind not in STORED or np.dtype(STORED[kind]).itemsize * math.prod(shape) != length:
        problem = f"is damaged: {described(shape)} values cannot be {length} bytes of type {kind}; fetch or write the file again"
    return Matrix(name, shape, word, problem, order + STORED.get(kind, "i1"), start)


def _element(head: bytes, at: int, order: str) -> tuple[int, int, int]:
    """(type, bytes, where they begin) of an element; short ones have both numbers in one word and their bytes behind it."""
    word, length = struct.unpack_from(order + "2I", head, at)
    return (word & 0xFFFF, word >> 16, at + 4) if word >> 16 else (word, length, at + 8)


def _after(start: int, length: int) -> int:
    """Where the next element begins: at a multiple of 8 bytes."""
    return -(-(start + length) // 8) * 8
