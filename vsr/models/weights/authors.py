"""Reader of the weights that the authors of SRCNN and FSRCNN released as MATLAB 5 files.

SciPy's reader is not used, because it crashes the process on one damaged file in a few hundred. Sources: Dong et al. 2014/2016
(SRCNN), 2016 (FSRCNN), and their MATLAB code; MathWorks, "MAT-file format", version 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vsr.errors import UserError
from vsr.models.parameter_names import printable_parameter_name
from vsr.system.matlab5 import DAMAGE, Matrix, list_matlab5_matrices, read_matlab5_entries, read_matlab5_numbers

MAX_BYTES = 2**26  # limit of a file and of an unpacked variable; the authors' largest file unpacks to half a megabyte
ADVICE = "give a file that the authors of SRCNN or FSRCNN released"

KINDS = {
    "cell": "a cell array",
    "struct": "a struct",
    "object": "an object",
    "opaque": "an object",
    "function": "a function",
    "char": "a char",
    "sparse": "a sparse matrix",
    "logical": "logical (true or false)",
    "complex": "complex",
}

# A variable: numbers as float64, the entries of a cell array, or the name of another kind in words.
Value = np.ndarray | list["Value"] | str


@dataclass(frozen=True, eq=False)
class Layer:
    """Convolution and the activation that follows it, as float64 tensors.

    Attributes:
        name: Role of the layer, for example "mapping 1".
        weight: Kernels (out, in, k, k); for the deconvolution (in, out, k, k) as in ConvTranspose2d.
        bias: Biases (out,).
        slope: Slope (1,) of the PReLU, zero for a ReLU; None without an activation.
    """

    name: str
    weight: Tensor
    bias: Tensor
    slope: Tensor | None


@dataclass(frozen=True, eq=False)
class AuthorsWeights:
    """Weights in a file published by the authors of SRCNN or FSRCNN. Such a file does not contain the scale.

    Attributes:
        path: Path of the file.
        kind: "srcnn" or "fsrcnn".
        architecture: Name for display, for example "SRCNN 9-1-5" or "FSRCNN(56,12,4)".
        layers: SRCNN: extraction, mapping, reconstruction. FSRCNN: extraction, shrinking, mapping 1, mapping 2, ..., expanding,
            deconvolution.
    """

    path: Path
    kind: Literal["srcnn", "fsrcnn"]
    architecture: str
    layers: tuple[Layer, ...]


def read_authors_weights(path: str | Path) -> AuthorsWeights:
    """Read a weight file that the authors of SRCNN or FSRCNN released, and return the weights in torch's layout.

    The file's k*k axis is column-major, and the kernels are meant for correlation, without a flip. Both networks take luma in
    the unit interval: SRCNN upscaled by bicubic interpolation, FSRCNN at LR. Convolutions replicate the border. The
    deconvolution replicates the border too, and is otherwise a ConvTranspose2d with padding 4 and output padding scale - 1.

    Args:
        path: Path of the .mat file.

    Raises:
        UserError: If the file is not a MATLAB 5 file, is damaged or lacks a variable. Also if a variable has a wrong shape or
            holds anything but finite real numbers.
    """
    path = Path(path)
    variables = _read_variables(path)
    if "weights_conv1" in variables:
        return _srcnn(path, variables)
    if "weights_conv" in variables:
        return _fsrcnn(path, variables)
    raise UserError(
        f"{path}: has neither weights_conv1 (SRCNN) nor weights_conv (FSRCNN) but {_listed(variables) or 'no variable'}; {ADVICE}"
    )


# --- the two networks -----------------------------------------------------------------------------------------------------


def _srcnn(path: Path, variables: dict[str, Value]) -> AuthorsWeights:
    """Build SRCNN's layers from three biases and from weights (k*k, out), (in, k*k, out) and (in, k*k)."""
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
    """Build FSRCNN's layers from cell arrays: weights (in, k*k, out) (last layer: (out, k*k, in)), biases and slopes."""
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
        # The deconvolution is stored as (out, k*k, in).
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
    """Convert column-major kernels (in, k*k, out) to (out, in, k, k). Raises UserError for even k or a wrong number of inputs."""
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
    return ", ".join(map(printable_parameter_name, list(variables)[:8])) + (", ..." if len(variables) > 8 else "")


# --- the file -------------------------------------------------------------------------------------------------------------


def _read_variables(path: Path) -> dict[str, Value]:
    """Read every variable of a MATLAB 5 file. Raises UserError for another version, a large file, or a damaged file."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(f"{path}: {size} bytes are more than any of the authors' files has; {ADVICE}")
        with path.open("rb") as file:
            head = file.read(128)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; {ADVICE}") from error
    if head.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise UserError(f"{path}: is MATLAB 7.3 (HDF5); save it again in MATLAB with save(..., '-v7')")
    if not head.startswith(b"MATLAB 5.0") or head[126:128] not in (b"IM", b"MI"):
        raise UserError(f"{path}: not a MATLAB 5 file; {ADVICE}")
    found: dict[str, Value] = {}
    try:
        for matrix in list_matlab5_matrices(path):
            if matrix.name in found:
                raise ValueError(f"{printable_parameter_name(matrix.name)} occurs twice")
            if matrix.size > MAX_BYTES:
                raise ValueError(f"{printable_parameter_name(matrix.name)} is too large, {matrix.size} bytes")
            found[matrix.name] = _read_value(path, matrix)
    except DAMAGE as error:
        raise UserError(f"{path}: damaged or cut short ({error}); fetch it again") from error
    return found


def _read_value(path: Path, matrix: Matrix) -> Value:
    if matrix.kind == "cell":
        entries = read_matlab5_entries(path, matrix)
        return [entry.astype(np.float64) if isinstance(entry, np.ndarray) else KINDS[entry.kind] for entry in entries]
    return KINDS[matrix.kind] if matrix.kind in KINDS else read_matlab5_numbers(path, matrix).astype(np.float64)
