"""Readers of MATLAB files: version 4, version 5 to 7.2, and version 7.3, which is HDF5 with reversed dimensions.

A field of a single struct is a variable, "s.u". Arrays of structs, cells and objects are named as refused.
"""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.attributes import plain_attributes
from vsr.io.readers.base import (
    ArrayAttributes,
    ArrayReader,
    AuxiliaryArray,
    Metadata,
    Part,
    Variable,
    reader_dtype_problem,
    reader_shape_problem,
)
from vsr.io.readers.hdf5 import HDF5Reader, hdf5_attributes, is_hdf5, walk_hdf5
from vsr.io.readers.printable import printable_name, printable_shape
from vsr.system.matlab5 import Matrix, list_matlab5_fields, list_matlab5_matrices, read_matlab5_numbers

if TYPE_CHECKING:
    import h5py

VERSION_5, VERSION_73 = (b"\x00\x01IM", b"\x01\x00MI"), (b"\x00\x02IM", b"\x02\x00MI")  # bytes 124 to 127
REFUSED = {
    "logical": "is boolean (logical), not real numbers; store it with single()",
    "sparse": "is a sparse matrix; store it with full()",
    "struct": "is a struct without fields or an array of structs; store a field of one element as a variable of its own, "
    "e.g. h = NAME(1).FIELD",
    "cell": "is a cell array, not real numbers; store its contents as a variable of its own, e.g. h = NAME{1}",
    "char": "is a string (char), not real numbers",
    "complex": "is complex, not real numbers; store its real and imaginary part as two variables",
    "repeated": "occurs more than once in the file; save it again",
}


class _Workspace(ArrayReader):
    """Base class of the readers of MATLAB files. What stands beside the movie has no dimensions with names."""

    name = "matlab"
    suffixes = (".mat",)
    time_last = True

    def metadata(self, names: Sequence[str], axes: Sequence[str]) -> Metadata:
        beside = [(v.name, () if v.shape == (1, 1) else v.shape) for v in self.listing().variables if v.name not in names]
        return Metadata(neighbours=[AuxiliaryArray(name, ("",) * len(shape), shape, {}) for name, shape in beside])

    def read_stored(self, name: str) -> np.ndarray:
        return self.read(name, ())


class MatlabReader(_Workspace):
    """Reader of MATLAB files before version 7.3. Each variable is read whole, once per process, and kept in memory."""

    isolated = False
    superseded = True  # older versions hold 2 GB at most and cannot be written piece by piece

    def __init__(self, path: Path, version: int) -> None:
        super().__init__(path)
        self.version, self.format = version, f"MATLAB {version}"

    @classmethod
    def recognize(cls, path: Path, head: bytes) -> ArrayReader | None:
        """Return a reader of a MATLAB file of any version (for version 7.3 a `Matlab73Reader`), or None for another format."""
        if is_hdf5(head):
            return Matlab73Reader(path) if head[124:128] in VERSION_73 else None
        if head[124:128] in VERSION_73:
            raise UserError(
                f"{path}: a MATLAB 7.3 header without the HDF5 file behind it, cut short; "
                f"give a complete file of the kind that its name ({path.suffix}) promises"
            )
        if head[124:128] in VERSION_5:
            return cls(path, 5)
        return cls(path, 4) if path.suffix.lower() == ".mat" and _is_version_4(head) else None

    def _entries(self) -> Iterator[tuple[str, Variable | str]]:
        found = list(_list_version_5(self.path) if self.version == 5 else _list_version_4(self.path))
        names = [matrix.name for matrix in found]
        for matrix in found:
            kind = "repeated" if names.count(matrix.name) > 1 else matrix.kind
            if kind in REFUSED or not kind.startswith(("float", "int", "uint")):
                yield matrix.name, _refusal(matrix.name, kind) or f"is of MATLAB's type {kind}, not real numbers"
            elif matrix.problem is not None:
                yield matrix.name, f"{matrix.problem}; fetch or write the file again"
            elif (problem := reader_shape_problem(matrix.shape)) is not None:
                yield matrix.name, problem
            else:
                yield matrix.name, Variable(matrix.name, matrix.shape, kind, None, None)

    def read(self, name: str, part: Part) -> np.ndarray:
        if name not in self.handle:
            with self._errors(name):
                values = _read_version_5(self.path, name) if self.version == 5 else _read_version_4(self.path, name)
                problem = reader_dtype_problem(values.dtype) if isinstance(values, np.ndarray) else "is not an array"
            if problem is not None:
                raise UserError(f"{self.path}: {printable_name(name)} {problem}")
            self.handle[name] = values
        return self.handle[name][part]


class Matlab73Reader(_Workspace, HDF5Reader):
    """Reader of MATLAB 7.3 files. Shapes and parts are in MATLAB's index order, the reverse of the order in h5py."""

    name = "matlab"
    suffixes = (".mat",)
    format = "MATLAB 7.3"

    def _walk(self) -> Iterator[tuple[str, h5py.Dataset | h5py.Group | None, str | None]]:
        for name, item, problem in walk_hdf5(self.handle, _is_struct):  # in other groups lie the parts of cells and objects
            if not name.startswith("#"):
                yield name.replace("/", "."), item, problem

    def _problem(self, item: h5py.Dataset | h5py.Group | None) -> str | None:
        import h5py

        if item is None:
            return None
        attrs = hdf5_attributes(item)
        kind = plain_attributes(attrs).get("MATLAB_class", "")
        if "MATLAB_sparse" in attrs:
            return REFUSED["sparse"]
        if isinstance(item, h5py.Group):
            if kind == "struct":
                return None if _is_struct(item) else _refusal(item.name.strip("/").replace("/", "."), kind)
            return f"is a {printable_name(str(kind) or 'group')}, not an array; store its field as a variable of its own"
        if kind in ("logical", "cell"):
            return _refusal(item.name.strip("/").replace("/", "."), kind)
        if kind in ("char", "struct", "function_handle", "table"):
            return f"is a {kind} array, not real numbers"
        return "is empty" if "MATLAB_empty" in attrs else super()._problem(item)

    def _variable(self, name: str, item: h5py.Dataset) -> Variable:
        return Variable(name, item.shape[::-1], str(item.dtype), None, None)

    def _dataset(self, name: str) -> h5py.Dataset:
        """Return the dataset of a variable, or of a field: "s.u" lies at "s/u"."""
        return super()._dataset(name if self.handle.get(name, getlink=True) is not None else name.replace(".", "/"))

    def details(self, name: str) -> ArrayAttributes:
        return ArrayAttributes(super().details(name).attrs)

    def read(self, name: str, part: Part) -> np.ndarray:
        return super().read(name, part[::-1]).transpose()


def _refusal(name: str, kind: str) -> str | None:
    """Return the reason why a variable of a class of MATLAB cannot be a movie, with advice, or None for an unknown class."""
    return REFUSED[kind].replace("NAME", printable_name(name)) if kind in REFUSED else None


def _is_struct(group: h5py.Group) -> bool:
    """Return True for a single struct with fields. The fields of an array of structs are references without a class."""
    import h5py

    if plain_attributes(hdf5_attributes(group)).get("MATLAB_class") != "struct":
        return False
    fields = [group[key] for key in group if isinstance(group.get(key, getlink=True), h5py.HardLink)]
    return bool(fields) and not any(
        isinstance(field, h5py.Dataset) and h5py.check_ref_dtype(field.dtype) and "MATLAB_class" not in field.attrs
        for field in fields
    )


def _is_version_4(head: bytes) -> bool:
    """Return True if the first 20 bytes are a version 4 header: type MOPT, rows, columns, imaginary flag, length of name."""
    for order in "<>":
        if len(head) >= 20:
            kind, rows, columns, imaginary, length = struct.unpack(order + "5i", head[:20])
            digits = kind // 1000, kind // 100 % 10, kind // 10 % 10, kind % 10
            known = digits[0] in range(5) and digits[1] == 0 and digits[2] in range(6) and digits[3] in range(3)
            if kind >= 0 and known and rows >= 0 and columns >= 0 and imaginary in (0, 1) and 1 < length < 4096:
                return True
    return False


def _list_version_4(path: Path) -> Iterator[Matrix]:
    from scipy.io import whosmat

    size = path.stat().st_size
    with warnings.catch_warnings(action="ignore"):  # SciPy warns about matrices that it then refuses
        found = whosmat(str(path), appendmat=False)
    for name, shape, kind in found:
        problem = None
        if math.prod(shape) > size:  # before SciPy asks for the memory
            problem = f"is cut short: {printable_shape(shape)} values are not in a file of {size} bytes"
        yield Matrix(name, tuple(shape), {"double": "float64", "single": "float32"}.get(kind, kind), size, problem=problem)


def _read_version_4(path: Path, name: str) -> np.ndarray:
    from scipy.io import loadmat

    with warnings.catch_warnings(action="ignore"):
        return loadmat(str(path), variable_names=[name], appendmat=False)[name]


def _list_version_5(path: Path) -> Iterator[Matrix]:
    """Yield the variables; in place of a single struct its fields, and so on for structs in it."""
    for matrix in list_matlab5_matrices(path):
        fields = list(list_matlab5_fields(path, matrix)) if _is_single_struct(matrix) else []
        yield from [field for field in fields if not _is_single_struct(field)] or [matrix]


def _is_single_struct(matrix: Matrix) -> bool:
    return matrix.kind == "struct" and math.prod(matrix.shape) == 1


def _read_version_5(path: Path, name: str) -> np.ndarray:
    return read_matlab5_numbers(path, next(found for found in _list_version_5(path) if found.name == name))
