"""Readers of NumPy's .npy and .npz files.

Pickles in the files are never loaded. Declared sizes are checked against the file before values are read.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.base import ArrayReader, AuxiliaryArray, Metadata, Part, Variable, reader_array_problem
from vsr.io.readers.printable import printable_bytes, printable_name, printable_shape

DEFLATE_LIMIT = 1040  # deflate packs at best 1032 to 1: a member that claims more lies about its size


@dataclass(frozen=True)
class NumpyHeader:
    """Header of a .npy file: shape, storage order (`fortran`: by columns), dtype, and position of the array's first byte."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    start: int

    @property
    def end(self) -> int:
        return self.start + math.prod(self.shape) * self.dtype.itemsize

    def problem(self, size: int) -> str | None:
        """Return the reason why an array with this header in a file of `size` bytes cannot be used, or None."""
        if (problem := reader_array_problem(self.dtype, self.shape)) is not None:
            return problem
        if self.end > size:
            return f"is cut short: {printable_shape(self.shape)} values need {self.end} bytes, there are {size}"
        return None


def _read_header(file: IO[bytes]) -> NumpyHeader:
    """Read the header of an open .npy file; raise ValueError if the file has another format."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version[0]}.{version[1]}, as used for arrays of structs")
    return NumpyHeader(tuple(map(int, shape)), fortran, dtype, file.tell())


class NpyReader(ArrayReader):
    """Reader of a .npy file. The array is named like the file without suffix, and memory-mapped to read only used values."""

    name = "npy"
    suffixes = (".npy",)
    isolated = False
    format = "NumPy .npy"

    @classmethod
    def recognize(cls, path: Path, head: bytes) -> ArrayReader | None:
        return cls(path) if head.startswith(b"\x93NUMPY") else None

    def _open(self) -> np.ndarray:
        return np.load(self.path, mmap_mode="r", allow_pickle=False)

    def _entries(self) -> Iterator[tuple[str, Variable | str]]:
        with self.path.open("rb") as file:
            header = _read_header(file)
        problem = header.problem(self.path.stat().st_size)
        if problem is not None:
            raise UserError(f"{self.path}: {problem}; give a file with a real array in it")
        yield self.path.stem, Variable(self.path.stem, header.shape, str(header.dtype), None, None)

    def read(self, name: str, part: Part) -> np.ndarray:
        with self._errors():
            return np.asarray(self.handle[part])


class NpzReader(ArrayReader):
    """Reader of .npz (zips of .npy). Stored members are mapped; compressed ones are read whole, once per process, and kept."""

    name = "npz"
    suffixes = (".npz",)
    isolated = False
    format = "NumPy .npz"

    @classmethod
    def recognize(cls, path: Path, head: bytes) -> ArrayReader | None:
        """Return a reader for a zip file, None for any other file. The Zarr reader is asked first and takes its own zip files."""
        if not is_numpy_zip(head):
            return None
        if path.suffix.lower() != ".npz":
            with suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                if names and not any(name.endswith(".npy") for name in names):
                    shown = ", ".join(map(printable_name, names[:3])) + (" ..." if len(names) > 3 else "")
                    raise UserError(
                        f"{path}: a zip archive of {shown}, as the climate data store sends it under the name of a data file; "
                        f"type: unzip FILE, and give the file inside"
                    )
        return cls(path)

    def _entries(self) -> Iterator[tuple[str, Variable | str]]:
        with zipfile.ZipFile(self.path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if (problem := numpy_member_problem(info)) is not None:
                    yield name, problem
                elif not info.filename.endswith(".npy"):
                    yield name, "is not a .npy member"
                else:
                    with self._errors(name), archive.open(info) as file:
                        header = _read_header(file)
                    problem = header.problem(info.file_size)
                    yield name, problem or Variable(name, header.shape, str(header.dtype), None, None)

    def read(self, name: str, part: Part) -> np.ndarray:
        if name not in self.handle:
            with self._errors(name), zipfile.ZipFile(self.path) as archive:
                self.handle[name] = self._member(archive, archive.getinfo(name + ".npy"))
        return np.asarray(self.handle[name][part])

    def metadata(self, names: Sequence[str], axes: Sequence[str]) -> Metadata:
        """Return the other arrays of the file as neighbours of the movie; their dimensions have no names."""
        beside = [v for v in self.listing().variables if v.name not in names]
        return Metadata(neighbours=[AuxiliaryArray(v.name, ("",) * len(v.shape), v.shape, {}) for v in beside])

    def _member(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
        """Map or read a member of the zip, after another check: the file may have changed since it was listed."""
        with archive.open(info) as file:
            header = _read_header(file)
            if (problem := numpy_member_problem(info) or header.problem(info.file_size)) is not None:
                raise UserError(f"{self.path}: {printable_name(info.filename)} {problem}")
            if info.compress_type == zipfile.ZIP_DEFLATED:
                file.seek(0)
                return np.lib.format.read_array(file, allow_pickle=False)
        start = _data_start(self.path, info) + header.start
        shape = header.shape[::-1] if header.fortran else header.shape
        values = np.memmap(self.path, header.dtype, "r", offset=start, shape=shape)
        return values.transpose() if header.fortran else values


def is_numpy_zip(head: bytes) -> bool:
    """Return True if a file with the first bytes `head` is a zip, perhaps an empty zip."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def numpy_member_problem(info: zipfile.ZipInfo) -> str | None:
    """Return the reason why a member of a zip file must not be unpacked, or None if the member is harmless."""
    if info.flag_bits & 1:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is compressed by an unusual method ({info.compress_type}); save it with numpy.savez_compressed"
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        return f"declares {info.file_size} bytes, but {info.compress_size} are stored"
    if info.file_size > max(info.compress_size, 16) * DEFLATE_LIMIT:
        return f"declares {printable_bytes(info.file_size)} in {printable_bytes(info.compress_size)}, more than zip can pack"
    return None


def _data_start(path: Path, info: zipfile.ZipInfo) -> int:
    """Return the position of a member's data in the zip, from its local header, which may differ from the directory."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name, extra = struct.unpack("<2H", file.read(30)[26:30])
    return info.header_offset + 30 + name + extra
