"""The weights that the authors of SRCNN and FSRCNN released: MATLAB 5 files, read here without SciPy.

SciPy's reader crashes the process on one damaged file in a few hundred; the authors' layout needs little of the format.
Sources: Dong et al. 2014/2016 (SRCNN), 2016 (FSRCNN), and their MATLAB code; MathWorks, "MAT-file format", version 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vsr.errors import UserError

MAX_BYTES = 2**26  # of a file, and of what a variable unpacks to; the largest of the authors' files unpacks to half a megabyte
CLASSES = (
    *("cell", "struct", "object", "char", "sparse", "float64", "float32"),
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "function", "opaque"),
)
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
INT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 5, 6, 14, 15
COMPLEX, LOGICAL = 0x0800, 0x0200
ADVICE = "give a file that the authors of SRCNN or FSRCNN released"

# A variable: its numbers as float64, the contents of a cell array in order, or in words what it is instead.
Value = np.ndarray | list["Value"] | str


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution and the activation behind it, float64.

    weight: (out, in, k, k), for the deconvolution (in, out, k, k) as in ConvTranspose2d; bias: (out,); slope: (1,), that of the
    PReLU, zero for a ReLU, None where there is no activation.
    """

    name: str
    weight: Tensor
    bias: Tensor
    slope: Tensor | None


@dataclass(frozen=True, eq=False)
class AuthorsWeights:
    """What a file of the authors holds; `architecture` is for people: "SRCNN 9-1-5", "FSRCNN(56,12,4)", ...

    Layers of SRCNN: extraction, mapping, reconstruction. Of FSRCNN: extraction, shrinking, mapping 1, mapping 2, ..., expanding,
    deconvolution. The scale is not in the file.
    """

    path: Path
    kind: Literal["srcnn", "fsrcnn"]
    architecture: str
    layers: tuple[Layer, ...]


def read_authors(path: str | Path) -> AuthorsWeights:
    """The weights in torch's layout: the file's k*k axis is column-major, its kernels are correlated without a flip.

    Both networks take luma in the unit interval: SRCNN enlarged by bicubic, FSRCNN as it is. Their convolutions replicate the
    border; so does the deconvolution, which apart from that is ConvTranspose2d with padding 4 and output padding scale - 1.

    Raises UserError for a file that is not of version 5, is damaged, lacks a variable, or whose variables are no finite real
    numbers of the shapes that the networks have.
    """
    path = Path(path)
    variables = _variables(path)
    if "weights_conv1" in variables:
        return _srcnn(path, variables)
    if "weights_conv" in variables:
        return _fsrcnn(path, variables)
    raise UserError(
        f"{path}: has neither weights_conv1 (SRCNN) nor weights_conv (FSRCNN) but {_listed(variables) or 'no variable'}; {ADVICE}"
    )


def shown(name: str) -> str:
    """A name from a file, safe to print: line breaks, terminal codes and broken text as escapes; 100 letters at most."""
    return name[:100] if name[:100].isprintable() else ascii(name[:100])


# --- the two networks -----------------------------------------------------------------------------------------------------


def _srcnn(path: Path, variables: dict[str, Value]) -> AuthorsWeights:
    """Three weights (k*k, out), (in, k*k, out), (in, k*k), three biases."""
    weights = []
    for number, axes in ((1, 2), (2, 3), (3, 2)):
        key = f"weights_conv{number}"
        values = _numbers(path, key, _get(path, variables, key))
        if values.ndim != axes:
            raise _refused(path, key, f"has {values.ndim} axes ({_sizes(values)}), SRCNN has {axes}")
        if axes == 2:
            values = values[None] if number == 1 else values[:, :, None]
        weights.append(values)
    layers: list[Layer] = []
    for number, (name, values) in enumerate(zip(("extraction", "mapping", "reconstruction"), weights, strict=True), 1):
        key = f"biases_conv{number}"
        inputs = layers[-1].weight.shape[0] if layers else 1
        weight = _kernels(path, f"weights_conv{number}", values, inputs)
        bias = _bias(path, key, _get(path, variables, key), values.shape[2])
        layers.append(Layer(name, weight, bias, torch.zeros(1, dtype=torch.float64) if number < 3 else None))
    sizes = "-".join(str(layer.weight.shape[-1]) for layer in layers)
    return AuthorsWeights(path, "srcnn", f"SRCNN {sizes}", tuple(layers))


def _fsrcnn(path: Path, variables: dict[str, Value]) -> AuthorsWeights:
    """Three cell arrays with an entry per layer: weights (in, k*k, out), the last one (out, k*k, in); biases; slopes."""
    cells: list[list[Value]] = []
    for key in ("weights_conv", "biases_conv", "prelu_conv"):
        cell = _get(path, variables, key)
        if not isinstance(cell, list):
            raise _refused(path, key, f"is {cell if isinstance(cell, str) else 'an array of numbers'}, not a cell array")
        cells.append(cell)
    weights, biases, slopes = cells
    count = len(weights)
    if count < 5 or len(biases) != count or len(slopes) != count:
        lengths = f"{count}, {len(biases)} and {len(slopes)} entries"
        raise _refused(path, "weights_conv, biases_conv, prelu_conv", f"have {lengths}, not 5 or more and equally many")
    maps = count - 4
    names = ("extraction", "shrinking", *(f"mapping {i + 1}" for i in range(maps)), "expanding", "deconvolution")
    layers: list[Layer] = []
    for i, (name, size) in enumerate(zip(names, (5, 1, *[3] * maps, 1, 9), strict=True)):
        last = i == count - 1
        key = f"weights_conv{{{i + 1}}}"
        values = _numbers(path, key, weights[i])
        if values.ndim != 3 or values.shape[1] != size * size:
            raise _refused(path, key, f"is {_sizes(values)}, where FSRCNN has (.., {size * size}, ..)")
        # The deconvolution is stored (out, k*k, in): what is its last axis feeds it.
        given = values.swapaxes(0, 2) if last else values
        weight = _kernels(path, key, given, layers[-1].weight.shape[0] if layers else 1)
        if last:
            weight = weight.transpose(0, 1).contiguous()
        bias = _bias(path, f"biases_conv{{{i + 1}}}", biases[i], given.shape[2])
        layers.append(Layer(name, weight, bias, _slope(path, f"prelu_conv{{{i + 1}}}", slopes[i], last)))
    if layers[-1].bias.numel() != 1:
        raise _refused(path, f"weights_conv{{{count}}}", f"gives {layers[-1].bias.numel()} channels; the networks work on luma")
    d, s = layers[0].bias.numel(), layers[1].bias.numel()
    architecture = f"FSRCNN({d},{s},{maps})"
    return AuthorsWeights(
        path, "fsrcnn", f"FSRCNN-s = {architecture}" if (d, s, maps) == (32, 5, 1) else architecture, tuple(layers)
    )


def _kernels(path: Path, key: str, values: np.ndarray, inputs: int) -> Tensor:
    """(in, k*k, out), rows running fastest, -> (out, in, k, k). Raises UserError for even k or another number of inputs."""
    k = math.isqrt(values.shape[1])
    if values.shape[0] != inputs or k * k != values.shape[1] or k % 2 == 0:
        raise _refused(path, key, f"is {_sizes(values)} as (in, k*k, out), where {inputs} inputs and an odd k are expected")
    return torch.from_numpy(np.ascontiguousarray(values.reshape(inputs, k, k, -1).transpose(3, 0, 2, 1)))


def _bias(path: Path, key: str, value: Value, outputs: int) -> Tensor:
    values = _numbers(path, key, value)
    if values.size != outputs or max(values.shape) != outputs:
        raise _refused(path, key, f"is {_sizes(values)}, its layer has {outputs} filters")
    return torch.from_numpy(values.reshape(outputs).copy())


def _slope(path: Path, key: str, value: Value, last: bool) -> Tensor | None:
    if last and isinstance(value, np.ndarray) and value.size == 0:
        return None
    values = _numbers(path, key, value)
    if last or values.size != 1:
        raise _refused(path, key, f"is {_sizes(values)}, where {'nothing' if last else 'one slope'} is expected")
    return torch.from_numpy(values.reshape(1).copy())


def _get(path: Path, variables: dict[str, Value], key: str) -> Value:
    if key not in variables:
        raise UserError(f"{path}: lacks {key}, holds {_listed(variables)}; {ADVICE}")
    return variables[key]


def _numbers(path: Path, key: str, value: Value) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise _refused(path, key, f"is {value if isinstance(value, str) else 'a cell array'}, not real numbers")
    if value.size == 0:
        raise _refused(path, key, f"is empty ({_sizes(value)})")
    if not np.isfinite(value).all():
        raise _refused(path, key, f"holds {np.count_nonzero(~np.isfinite(value))} NaN or infinite values")
    return value


def _refused(path: Path, key: str, what: str) -> UserError:
    return UserError(f"{path}: {key} {what}; {ADVICE}")


def _sizes(values: np.ndarray) -> str:
    return "x".join(map(str, values.shape))


def _listed(variables: dict[str, Value]) -> str:
    return ", ".join(map(shown, list(variables)[:8])) + (", ..." if len(variables) > 8 else "")


# --- the format -----------------------------------------------------------------------------------------------------------


def _variables(path: Path) -> dict[str, Value]:
    """Every variable of the file. Raises UserError for what is not of version 5, too large, or damaged."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(f"{path}: {size} bytes are more than any of the authors' files has; {ADVICE}")
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; {ADVICE}") from error
    if raw.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise UserError(f"{path}: is MATLAB 7.3 (HDF5); save it again in MATLAB with save(..., '-v7')")
    if not raw.startswith(b"MATLAB 5.0") or raw[126:128] not in (b"IM", b"MI"):
        raise UserError(f"{path}: not a MATLAB 5 file; {ADVICE}")
    order = "<" if raw[126:128] == b"IM" else ">"
    found: dict[str, Value] = {}
    try:
        at = 128
        while at < len(raw):
            kind, body, at = _element(raw, at, order, padded=False)
            if kind == COMPRESSED:
                unpacking = zlib.decompressobj()
                unpacked = unpacking.decompress(body, MAX_BYTES)
                if not unpacking.eof:
                    raise ValueError("a variable that is cut short or too large")
                kind, body, _ = _element(unpacked, 0, order)
            if kind != MATRIX:
                raise ValueError(f"an element of type {kind} where a variable is expected")
            name, value = _matrix(body, order)
            if name in found:
                raise ValueError(f"{shown(name)} occurs twice")
            if name:  # MATLAB's own workspace has none
                found[name] = value
    except (ValueError, struct.error, zlib.error) as error:
        raise UserError(f"{path}: damaged or cut short ({error}); fetch it again") from error
    return found


def _element(data: bytes, at: int, order: str, *, padded: bool = True) -> tuple[int, bytes, int]:
    """(type, contents, where the next begins) of the element at `at`. Raises ValueError when it is longer than the data."""
    word, length = struct.unpack_from(order + "2I", data, at)
    if word >> 16:  # a short one: both numbers in one word, the contents behind it
        kind, length, start, after = word & 0xFFFF, word >> 16, at + 4, at + 8
        length = length if length <= 4 else len(data)
    else:
        kind, start = word, at + 8
        after = start + (-(-length // 8) * 8 if padded else length)
    if start + length > len(data):
        raise ValueError("an element that goes beyond its end")
    return kind, data[start : start + length], after


def _matrix(data: bytes, order: str, *, inside: bool = False) -> tuple[str, Value]:
    """(name, value) from the contents of an element. Raises ValueError or struct.error for what is damaged."""
    if inside and not data:
        return "", np.zeros((1, 0))  # how MATLAB stores an empty entry of a cell array
    kind, flags, at = _element(data, 0, order)
    bits = struct.unpack(order + "I", flags[:4])[0]
    number = bits & 0xFF
    if (kind, len(flags)) != (UINT32, 8) or not 1 <= number <= len(CLASSES):
        raise ValueError("a variable without a class")
    word = CLASSES[number - 1]
    if word == "opaque":  # an object of a class: its name stands where others have their shape
        return _element(data, at, order)[1].decode("latin-1"), "an object"
    kind, sizes, at = _element(data, at, order)
    if kind != INT32 or len(sizes) % 4 or not 8 <= len(sizes) <= 32:
        raise ValueError("a variable without a shape")
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    kind, raw, at = _element(data, at, order)
    if kind != INT8 or min(shape) < 0:
        raise ValueError("a variable without a name or with an impossible shape")
    name = raw.decode("latin-1")
    if word == "cell":
        return name, "a cell array" if inside else _entries(data, at, order, math.prod(shape))
    if not word.startswith(("float", "int", "uint")):
        return name, "an object" if word == "object" else f"a {word}{' matrix' if word == 'sparse' else ''}"
    if bits & (COMPLEX | LOGICAL):
        return name, "complex" if bits & COMPLEX else "logical (true or false)"
    kind, raw, _ = _element(data, at, order)
    if kind not in STORED or np.dtype(STORED[kind]).itemsize * math.prod(shape) != len(raw):
        raise ValueError(f"{len(raw)} bytes of type {kind} for {'x'.join(map(str, shape))} values")
    return name, np.frombuffer(raw, order + STORED[kind]).astype(np.float64).reshape(shape, order="F")


def _entries(data: bytes, at: int, order: str, count: int) -> list[Value]:
    """The entries of a cell array; a cell array among them is named, not read."""
    entries: list[Value] = []
    for _ in range(count):
        kind, body, at = _element(data, at, order)
        if kind != MATRIX:
            raise ValueError(f"an entry of a cell array of type {kind}")
        entries.append(_matrix(body, order, inside=True)[1])
    return entries
