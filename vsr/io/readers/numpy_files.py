"""NumPy's .npy and .npz. Pickles inside are never loaded, and declared sizes are checked against the file before reading."""

from __future__ import annotations

import math
import struct
import zipfile
from dataclasses import dataclass
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
    bytes_text,
    described,
    guarded,
    kind_problem,
    shape_problem,
    shown,
)

DAMAGED = "the file is damaged or cut short; fetch or write it again"
DEFLATE_LIMIT = 1040  # deflate packs at best 1032 to 1: a member that claims more lies about its size


@dataclass(frozen=True)
class Header:
    """What stands before the values: shape, Fortran order, dtype, and where the values begin."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    start: int

    @property
    def end(self) -> int:
        return self.start + math.prod(self.shape) * self.dtype.itemsize

    def problem(self, size: int) -> str | None:
        """Why an array with this header in `size` bytes cannot be used."""
        if (problem := kind_problem(self.dtype) or shape_problem(self.shape)) is not None:
            return problem
        if self.end > size:
            return f"is cut short: {described(self.shape)} values need {self.end} bytes, there are {size}"
        return None


def read_header(file: IO[bytes]) -> Header:
    """Of an opened .npy. Raises ValueError for what is none."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version[0]}.{version[1]}, as used for arrays of structs")
    return Header(tuple(map(int, shape)), fortran, dtype, file.tell())


class NpySource(Source):
    """One array, called by the file's name without suffix; mapped, so that only what is used is read."""

    format = "NumPy .npy"

    @property
    def name(self) -> str:
        return self.path.stem

    def _open(self) -> np.ndarray:
        return np.load(self.path, mmap_mode="r", allow_pickle=False)

    def listing(self) -> Listing:
        with guarded(str(self.path), DAMAGED), self.path.open("rb") as file:
            header = read_header(file)
        problem = header.problem(self.path.stat().st_size)
        if problem is not None:
            raise UserError(f"{self.path}: {problem}; give a file with a real array in it")
        return Listing(self.format, (Variable(self.name, header.shape, str(header.dtype), None, None),), {})

    def details(self, name: str) -> Details:
        return Details()

    def read(self, name: str, part: Part) -> np.ndarray:
        with guarded(str(self.path), DAMAGED):
            return np.asarray(self.handle[part])


class NpzSource(Source):
    """A zip of .npy files. Stored members are mapped; compressed ones are read whole, once per process, and kept."""

    format = "NumPy .npz"

    def _open(self) -> dict[str, np.ndarray]:
        return {}

    def listing(self) -> Listing:
        variables: list[Variable] = []
        refused: dict[str, str] = {}
        with guarded(str(self.path), DAMAGED), zipfile.ZipFile(self.path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                problem = member_problem(info)
                if problem is None and info.filename.endswith(".npy"):
                    with guarded(f"{self.path}: {shown(name)}", DAMAGED), archive.open(info) as file:
                        header = read_header(file)
                    problem = header.problem(info.file_size)
                    variable = Variable(name, header.shape, str(header.dtype), None, None)
                elif problem is None:
                    problem = "is not a .npy member"
                if problem is None:
                    variables.append(variable)
                else:
                    refused[name] = problem
        return Listing(self.format, tuple(variables), refused)

    def details(self, name: str) -> Details:
        return Details()

    def read(self, name: str, part: Part) -> np.ndarray:
        if name not in self.handle:
            with guarded(f"{self.path}: {shown(name)}", DAMAGED), zipfile.ZipFile(self.path) as archive:
                self.handle[name] = self._member(archive, archive.getinfo(name + ".npy"))
        return np.asarray(self.handle[name][part])

    def _member(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
        """Mapped or read; checked again, since the file may have changed since it was listed."""
        with archive.open(info) as file:
            header = read_header(file)
            if (problem := member_problem(info) or header.problem(info.file_size)) is not None:
                raise UserError(f"{self.path}: {shown(info.filename)} {problem}")
            if info.compress_type == zipfile.ZIP_DEFLATED:
                file.seek(0)
                return np.lib.format.read_array(file, allow_pickle=False)
        start = _data_start(self.path, info) + header.start
        shape = header.shape[::-1] if header.fortran else header.shape
        values = np.memmap(self.path, header.dtype, "r", offset=start, shape=shape)
        return values.transpose() if header.fortran else values


def member_problem(info: zipfile.ZipInfo) -> str | None:
    """Why a member of a zip must not be unpacked; None for one that may be."""
    if info.flag_bits & 1:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is compressed by an unusual method ({info.compress_type}); save it with numpy.savez_compressed"
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        return f"declares {info.file_size} bytes, but {info.compress_size} are stored"
    if info.file_size > max(info.compress_size, 16) * DEFLATE_LIMIT:
        return f"declares {bytes_text(info.file_size)} in {bytes_text(info.compress_size)}, more than zip can pack"
    return None


def _data_start(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a member begin: behind its local header, whose name and extra field may differ from the directory's."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name, extra = struct.unpack("<2H", file.read(30)[26:30])
    return info.header_offset + 30 + name + extra
