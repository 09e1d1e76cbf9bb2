"""Parser of MATLAB 5 files: headers of the variables and of the fields of structs, real numbers, and entries of cell arrays.

SciPy is not used: its reader crashes the process on one damaged file in a few hundred. Each declared size is compared with the
size of the file before a value is read, and no code in a file is run. Source: MathWorks, "MAT-file format", version 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

DAMAGE = (ValueError, struct.error, zlib.error)  # everything that a damaged file raises

CLASSES = (  # in MATLAB's numbering, from 1
    *("cell", "struct", "object", "char", "sparse", "float64", "float32"),
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "function", "opaque"),
)
NUMBER_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
INT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 5, 6, 14, 15
NUMERIC = ("float", "int", "uint")  # beginnings of the classes of real numbers
TAG_BYTES = 8
COMPLEX, LOGICAL = 0x0800, 0x0200
HEADER_BYTES = 2**16  # within these the values of a matrix must begin
BLOCK_BYTES = 1 << 20  # unpacked at once
MAX_FIELDS = 2**12  # of one struct


@dataclass(frozen=True)
class Matrix:
    """Header of a variable in a MATLAB 5 file.

    Args:
        name: Name as in the file, not yet safe to print.
        shape: Length of each dimension, in MATLAB's index order.
        kind: Name of a NumPy dtype, or one of cell, struct, object, char, sparse, logical, complex, function, opaque.
        problem: The reason why the values cannot be read, or None.
        size: Number of bytes of the unpacked matrix, without its tag (type and length).
        start: Number of bytes of the unpacked matrix that precede the values or entries.
        dtype: Type of the numbers as stored, with its byte order; empty for a matrix without numbers.
        offset, length: Position and size of the matrix in the file, in bytes.
        compressed: True if the matrix is stored as a zlib stream.
        order: Byte order, "<" or ">".
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    size: int
    start: int = 0
    problem: str | None = None
    dtype: str = ""
    offset: int = 0
    length: int = 0
    compressed: bool = False
    order: str = "<"


def list_matlab5_matrices(path: Path) -> Iterator[Matrix]:
    """Yield the header of every variable of a MATLAB 5 file, without reading its values.

    Raises:
        DAMAGE: (ValueError, struct.error or zlib.error.) The file is damaged or cut short.
    """
    file_size = path.stat().st_size
    with path.open("rb") as file:
        order = "<" if file.read(128)[126:128] == b"IM" else ">"
        while tag := file.read(8):
            kind, length = struct.unpack(order + "2I", tag) if len(tag) == 8 else (0, file_size)
            offset = file.tell()
            if offset + length > file_size:
                raise ValueError(f"{file_size} bytes of at least {offset + length}")
            head = file.read(min(length, HEADER_BYTES))
            compressed, size = kind == COMPRESSED, length
            if compressed:
                head = zlib.decompressobj().decompress(head, HEADER_BYTES)
                kind, size = struct.unpack_from(order + "2I", head)
                head = head[8:]
            if kind != MATRIX:
                raise ValueError(f"an element of type {kind} where a variable is expected")
            matrix = _parse_header(head, size, order)
            if matrix.name:  # MATLAB's own workspace has none
                yield replace(matrix, offset=offset, length=length, compressed=compressed)
            file.seek(offset + length)


def list_matlab5_fields(path: Path, parent: Matrix) -> Iterator[Matrix]:
    """Yield the header of every field of a single struct, named "s.u", without reading its values.

    A field that is a single struct itself is followed by its own fields, "s.flow.u".

    Raises:
        DAMAGE: (ValueError, struct.error or zlib.error.) The file is damaged or cut short.
    """
    with path.open("rb") as file:
        yield from _fields(_Unpacked(file, parent), parent, parent.start)


def read_matlab5_numbers(path: Path, matrix: Matrix) -> np.ndarray:
    """Read the values of a matrix of real numbers, in the type and the index order of the file.

    Raises:
        DAMAGE: (ValueError, struct.error or zlib.error.) The file is damaged or cut short, or the matrix holds no real numbers.
    """
    values = _numbers(_content(path, matrix), matrix)
    return values if 2 * values.nbytes > matrix.size else values.copy()  # one field must not keep a whole struct in memory


def read_matlab5_entries(path: Path, matrix: Matrix) -> list[Matrix | np.ndarray]:
    """Read the entries of a cell array in column-major order: arrays of real numbers, and headers of everything else.

    Raises:
        DAMAGE: (ValueError, struct.error or zlib.error.) The file is damaged or cut short.
    """
    content, at = _content(path, matrix), matrix.start
    entries: list[Matrix | np.ndarray] = []
    for _ in range(math.prod(matrix.shape)):
        kind, length, start = _parse_tag(content, at, matrix.order)
        if kind != MATRIX or start + length > len(content):
            raise ValueError(f"an entry of a cell array of type {kind} and {length} bytes")
        entries.append(_entry(content[start : start + length], matrix.order))
        at = _aligned(start + length)
    return entries


class _Unpacked:
    """Unpacked bytes of a matrix, without its tag. They are read forwards: what precedes the last position is forgotten."""

    def __init__(self, file: IO[bytes], matrix: Matrix) -> None:
        self._file, self._offset = file, matrix.offset
        self._unpacker = zlib.decompressobj() if matrix.compressed else None
        self._bytes, self._start = bytearray(), -TAG_BYTES
        file.seek(matrix.offset)

    def take(self, at: int, count: int) -> bytes:
        """Return `count` bytes from position `at` on, or fewer at the end."""
        if self._unpacker is None:
            self._file.seek(self._offset + at)
            return self._file.read(count)
        while self._start + len(self._bytes) < at + count and not self._unpacker.eof:
            packed = self._unpacker.unconsumed_tail or self._file.read(BLOCK_BYTES)
            if not packed:
                break
            gone = min(at - self._start, len(self._bytes))
            del self._bytes[:gone]
            self._start += gone
            self._bytes += self._unpacker.decompress(packed, BLOCK_BYTES)
        return bytes(self._bytes[at - self._start : at - self._start + count])


def _fields(content: _Unpacked, parent: Matrix, at: int) -> Iterator[Matrix]:
    """Yield the fields of a single struct, whose own part of the unpacked bytes begins at `at` with the names of the fields."""
    kind, length, start = _parse_tag(content.take(at, TAG_BYTES), 0, parent.order)
    if (kind, length) != (INT32, 4):
        raise ValueError("a struct without a length of names")
    width = struct.unpack(parent.order + "i", content.take(at + start, 4))[0]
    at = _aligned(at + start + length)
    kind, length, start = _parse_tag(content.take(at, TAG_BYTES), 0, parent.order)
    if kind != INT8 or width < 1 or not 0 <= length <= MAX_FIELDS * width <= MAX_FIELDS * 64:
        raise ValueError(f"a struct whose names of fields are {length} bytes of type {kind}")
    names = content.take(at + start, length)
    at = _aligned(at + start + length)
    for i in range(0, length, width):
        name = f"{parent.name}.{names[i : i + width].split(bytes(1))[0].decode('latin-1')}"
        kind, size, start = _parse_tag(content.take(at, TAG_BYTES), 0, parent.order)
        start += at
        if kind != MATRIX or start + size > parent.size:
            raise ValueError(f"a field of a struct of type {kind} and {size} bytes")
        at = _aligned(start + size)
        if not size:  # how MATLAB stores an empty field
            yield Matrix(name, (0, 0), "float64", 0)
            continue
        header = _parse_header(content.take(start, min(size, HEADER_BYTES)), size, parent.order)
        field = replace(parent, name=name, shape=header.shape, kind=header.kind, problem=header.problem, dtype=header.dtype)
        first = start + header.start
        if parent.compressed or not header.dtype:
            yield replace(field, start=first)
        else:
            yield replace(
                field, start=0, offset=parent.offset + first, size=np.dtype(header.dtype).itemsize * math.prod(header.shape)
            )
        if header.kind == "struct" and math.prod(header.shape) == 1:
            yield from _fields(content, replace(field, size=start + size), first)


def _entry(content: memoryview, order: str) -> Matrix | np.ndarray:
    if not content:
        return np.zeros((1, 0))  # how MATLAB stores an empty entry
    matrix = _parse_header(content, len(content), order)
    return _numbers(content, matrix) if matrix.kind.startswith(NUMERIC) else matrix


def _numbers(content: memoryview, matrix: Matrix) -> np.ndarray:
    """Return the values of a matrix from its unpacked bytes (without the tag)."""
    if matrix.problem is not None:
        raise ValueError(matrix.problem)
    if not matrix.kind.startswith(NUMERIC) or min(matrix.shape) < 0:
        raise ValueError(f"no numbers but {matrix.kind} of shape {matrix.shape}")
    count = math.prod(matrix.shape)
    values = np.frombuffer(content, matrix.dtype, count, matrix.start) if count else np.zeros(0, matrix.kind)
    return values.reshape(matrix.shape, order="F")


def _content(path: Path, matrix: Matrix) -> memoryview:
    """Return the unpacked bytes of a matrix, without its tag."""
    with path.open("rb") as file:
        file.seek(matrix.offset)
        if matrix.compressed:
            return memoryview(_unpack(file, matrix.length, TAG_BYTES + matrix.size))[TAG_BYTES:]
        content = bytearray(matrix.size)
        file.readinto(content)
        return memoryview(content)


def _unpack(file: IO[bytes], length: int, size: int) -> bytearray:
    """Unpack `size` bytes, and up to 7 bytes of padding, from a zlib stream of `length` bytes. Raises ValueError."""
    unpacker, raw = zlib.decompressobj(), bytearray()
    while length and not unpacker.eof:
        piece = file.read(min(length, BLOCK_BYTES))
        length -= len(piece)
        # One byte more than allowed: a stream longer than declared is not unpacked to its end.
        raw += unpacker.decompress(piece, max(1, size + 8 - len(raw)))
        if len(raw) >= size + 8 or not piece:
            break
    if not unpacker.eof or len(raw) < size:
        raise ValueError(f"unpacks to {'more' if len(raw) >= size else 'less'} than the {size} bytes that it declares")
    return raw


def _parse_header(content: bytes | memoryview, size: int, order: str) -> Matrix:
    """Parse the header of a matrix of `size` bytes from its first bytes after the tag. Raises one of DAMAGE."""
    kind, length, start = _parse_tag(content, 0, order)
    flags = struct.unpack_from(order + "I", content, start)[0]
    number = flags & 0xFF
    if (kind, length) != (UINT32, 8) or not 1 <= number <= len(CLASSES):
        raise ValueError("a matrix without a class")
    word = CLASSES[number - 1]
    kind, length, start = _parse_tag(content, start + 8, order)
    if word == "opaque":  # an object of a class: its name stands where others have their shape
        return Matrix(str(content[start : start + length], "latin-1"), (), word, size)
    if kind != INT32 or length % 4 or not 8 <= length <= 128:
        raise ValueError("a matrix without a shape")
    shape = struct.unpack_from(f"{order}{length // 4}i", content, start)
    kind, length, start = _parse_tag(content, _aligned(start + length), order)
    if kind != INT8 or start + length > len(content):
        raise ValueError("a matrix without a name")
    name = str(content[start : start + length], "latin-1")
    if flags & (LOGICAL | COMPLEX):
        word = "logical" if flags & LOGICAL else "complex"
    matrix = Matrix(name, shape, word, size, _aligned(start + length), order=order)
    if not word.startswith(NUMERIC) or min(shape) < 1:
        return matrix
    kind, length, start = _parse_tag(content, matrix.start, order)
    dtype = np.dtype(order + NUMBER_TYPES.get(kind, "V1"))
    problem = None
    if kind not in NUMBER_TYPES or dtype.itemsize * math.prod(shape) != length or start + length > size:
        sizes = "x".join(map(str, shape))
        problem = f"is damaged: {sizes} values cannot be {length} bytes of type {kind}"
    return replace(matrix, start=start, problem=problem, dtype=dtype.str)


def _parse_tag(content: bytes | memoryview, at: int, order: str) -> tuple[int, int, int]:
    """Return (type, bytes, start of the data) of an element; in a short element, type and size share one word."""
    word, length = struct.unpack_from(order + "2I", content, at)
    if not word >> 16:
        return word, length, at + TAG_BYTES
    if word >> 16 > 4:
        raise ValueError("a short element of more than 4 bytes")
    return word & 0xFFFF, word >> 16, at + 4


def _aligned(at: int) -> int:
    """Return the start of the next element: `at`, rounded up to a multiple of 8 bytes."""
    return -(-at // 8) * 8
