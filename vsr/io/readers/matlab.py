"""MATLAB files of version 4 and 5 to 7.2. (Version 7.3 is HDF5.)"""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

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
from vsr.system.matlab5 import Matrix, list_matrices, read_numbers

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
            found = list(list_matrices(self.path) if self.version == 5 else _version_4(self.path))
        names = [matrix.name for matrix in found]
        for matrix in found:
            kind = "repeated" if names.count(matrix.name) > 1 else matrix.kind
            if kind in WORDS or not kind.startswith(("float", "int", "uint")):
                refused[matrix.name] = WORDS.get(kind, f"is of MATLAB's type {kind}, not real numbers")
            elif matrix.problem is not None:
                refused[matrix.name] = f"{matrix.problem}; fetch or write the file again"
            elif (problem := shape_problem(matrix.shape)) is not None:
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


def _version_4(path: Path) -> Iterator[Matrix]:
    from scipy.io import whosmat

    size = path.stat().st_size
    with warnings.catch_warnings(action="ignore"):  # SciPy remarks on what it then refuses
        found = whosmat(str(path), appendmat=False)
    for name, shape, kind in found:
        problem = None
        if math.prod(shape) > size:  # before SciPy asks for the memory
            problem = f"is cut short: {described(shape)} values are not in a file of {size} bytes"
        yield Matrix(name, tuple(shape), {"double": "float64", "single": "float32"}.get(kind, kind), size, problem=problem)


def _values_4(path: Path, name: str) -> np.ndarray:
    from scipy.io import loadmat

    with warnings.catch_warnings(action="ignore"):
        return loadmat(str(path), variable_names=[name], appendmat=False)[name]


def _values_5(path: Path, name: str) -> np.ndarray:
    return read_numbers(path, next(found for found in list_matrices(path) if found.name == name))
