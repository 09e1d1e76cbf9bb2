"""The parser of MATLAB 5 files against SciPy's writer, and files that lie about their sizes."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from vsr.system.matlab5 import DAMAGE, Matrix, list_matlab5_matrices, read_matlab5_entries, read_matlab5_numbers


@pytest.mark.parametrize("compressed", [False, True])
def test_every_class_of_variable_is_listed_and_read(compressed: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    numbers = {f"v_{dtype}": rng.integers(0, 100, (2, 3, 4)).astype(dtype) for dtype in ("f8", "f4", "i1", "u2", "i4", "u8")}
    cell = np.empty((1, 3), dtype=object)
    cell[0] = [rng.normal(size=(2, 5)), "a word", np.zeros((0, 1))]
    others = {"cell": cell, "char": "a word", "struct": {"a": 1.0}, "complex": np.ones(3) * 1j, "logical": np.ones(3) > 0}
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {**numbers, **others}, do_compression=compressed)
    found = {matrix.name: matrix for matrix in list_matlab5_matrices(path)}
    assert list(found) == [*numbers, *others]
    for name, values in numbers.items():
        assert (found[name].shape, found[name].kind) == (values.shape, values.dtype.name)
        np.testing.assert_array_equal(read_matlab5_numbers(path, found[name]), values)
    for name in others:
        assert found[name].kind == name
        with pytest.raises(DAMAGE, match=f"no numbers but {name}"):
            read_matlab5_numbers(path, found[name])
    first, word, empty = read_matlab5_entries(path, found["cell"])
    np.testing.assert_array_equal(first, cell[0, 0])
    assert isinstance(word, Matrix)
    assert word.kind == "char"
    assert isinstance(empty, np.ndarray)
    assert empty.shape == (0, 1)


def matrix_bytes(order: str, values: np.ndarray, shape: tuple[int, int]) -> bytes:
    flags = struct.pack(order + "4I", 6, 8, 6, 0)  # class 6: double
    sizes = struct.pack(order + "2I2i", 5, 8, *shape)
    name = struct.pack(order + "2I", 1, 1) + b"h" + bytes(7)
    numbers = struct.pack(order + "2I", 9, values.nbytes) + values.astype(order + "f8").tobytes(order="F")
    return flags + sizes + name + numbers


def element(order: str, kind: int, content: bytes) -> bytes:
    return struct.pack(order + "2I", kind, len(content)) + content


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders(order: str, tmp_path: Path) -> None:
    values = np.arange(6.0).reshape(2, 3)
    plain = element(order, 14, matrix_bytes(order, values, (2, 3)))
    head = b"MATLAB 5.0".ljust(124) + struct.pack(order + "2H", 0x0100, 0x4D49)
    path = tmp_path / "a.mat"
    path.write_bytes(head + plain + element(order, 15, zlib.compress(plain)))
    for matrix in list_matlab5_matrices(path):
        np.testing.assert_array_equal(read_matlab5_numbers(path, matrix), values)


def test_sizes_that_lie_are_damage(tmp_path: Path) -> None:
    values, path = np.arange(6.0).reshape(2, 3), tmp_path / "a.mat"
    head = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    content = matrix_bytes("<", values, (2, 3))
    too_many = element("<", 14, matrix_bytes("<", values, (2**20, 2**20)))
    longer, shorter = (element("<", 14, content + bytes(n))[:8] + content for n in (64, 0))
    for raw in (too_many, element("<", 15, zlib.compress(longer)), element("<", 15, zlib.compress(shorter + bytes(64)))):
        path.write_bytes(head + raw)
        with pytest.raises(DAMAGE, match="cannot be 48 bytes|unpacks to (less|more) than"):
            read_matlab5_numbers(path, next(list_matlab5_matrices(path)))
    path.write_bytes(head + element("<", 14, content)[:-1])
    with pytest.raises(DAMAGE, match="bytes of at least"):
        list(list_matlab5_matrices(path))
