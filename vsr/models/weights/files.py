"""Reader of tensor files (.ckpt, .pt, .pth, .safetensors) that never runs code, and a table of their content."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from vsr.errors import UserError
from vsr.models.parameter_names import printable_parameter_name
from vsr.models.weights.authors import read_authors_weights
from vsr.models.weights.shipped import BESIDE, TRAINED
from vsr.system.checksums import check_checksum

PREFIX = "network."  # of the network's tensors in a checkpoint of vsr
OWN = "checkpoint of vsr"
EXPORTED = {"version": "vsr", "run": "name", "scale": "scale", "data": "data"}  # fact -> key in the header of an exported file
ADVICE = "give a .ckpt, .pt, .pth or .safetensors file"


@dataclass(frozen=True, eq=False)
class WeightFile:
    """Content of a file of tensors.

    Attributes:
        kind: Kind of the file, in words for display.
        tensors: Tensors by name, on the CPU.
        facts: Further facts on the network (scale, data, epochs), as text.
    """

    kind: str
    tensors: dict[str, Tensor]
    facts: dict[str, str]


def read_weight_tensors(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a weight file by name; for formats and errors see `read_weight_file`."""
    return read_weight_file(path).tensors


def read_weight_file(path: str | Path) -> WeightFile:
    """Read a checkpoint (Lightning's `state_dict`), a plain state dict or a safetensors file, recognised by its first bytes.

    From a checkpoint of vsr, only the network's tensors are read, and the prefix `network.` is removed from their names. The
    normalizer and the reference filter are left out. Zip files have checksums that reveal a changed bit; safetensors files have
    none.

    Args:
        path: Path of the file.

    Raises:
        UserError: If the file is missing, is damaged, is of another kind or could run code. Also if a tensor holds anything but
            finite numbers.
    """
    path = Path(path)
    head = _head(path)
    if not head:
        raise UserError(f"{path}: empty; {ADVICE}")
    if head.startswith((b"MATLAB", b"\x89HDF")):
        raise UserError(f"{path}: a MATLAB or HDF5 file; {ADVICE} here")
    if head.startswith(b"PK\x03\x04"):
        file = _read_zip(path)
    elif is_safetensors(path):
        file = _read_safetensors(path)
    elif head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise UserError(
            f"{path}: a bare pickle, or torch's format from before 1.6, and not loaded, as that could run code; {ADVICE}"
        )
    else:
        raise UserError(f"{path}: not a file of tensors, or damaged; {ADVICE}")
    if not file.tensors:
        raise UserError(f"{path}: holds no tensor")
    for name, tensor in file.tensors.items():
        if (problem := _problem(tensor)) is not None:
            raise UserError(f"{path}: {printable_parameter_name(name)} {problem}; it is of no use as weights")
    return file


def describe_weight_file(path: str | Path) -> str:
    """Return a table of the content of a weight file or a released .mat file. Raises UserError as the readers do."""
    path = Path(path)
    if _head(path).startswith((b"MATLAB", b"\x89HDF")):
        weights = read_authors_weights(path)
        parts = [(f"{n.name}, {part}", getattr(n, part)) for n in weights.layers for part in ("weight", "bias", "slope")]
        tensors = {name: tensor for name, tensor in parts if tensor is not None}
        file, known = WeightFile("weights of the authors (MATLAB 5)", tensors, {}), weights.architecture
    else:
        file = read_weight_file(path)
        known = architecture_in_weight_file(file.tensors) or "not recognised"
    numbers = sum(tensor.numel() for tensor in file.tensors.values())
    facts = {"kind": file.kind, "architecture": known, **file.facts, "tensors": f"{len(file.tensors)} with {numbers:,} numbers"}
    rows = [("tensor", "shape", "dtype", "mean", "std")]
    for name, tensor in file.tensors.items():
        std, mean = (f"{x.item():.4g}" for x in torch.std_mean(tensor.double(), correction=0))
        shape = "x".join(map(str, tensor.shape)) or "1"
        rows.append((printable_parameter_name(name), shape, str(tensor.dtype).removeprefix("torch."), mean, std))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [str(path), *(f"  {key:<14}{value}" for key, value in facts.items()), ""]
    for row in rows:
        texts = [
            cell.ljust(width) if i < 3 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(("  " + "  ".join(texts)).rstrip())
    return "\n".join(lines)


def architecture_in_weight_file(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the architecture of an SRCNN or FSRCNN by the names and shapes of its tensors; None if it is not recognised."""
    if {"mean", "std", "rms"} <= tensors.keys():
        inner = architecture_in_weight_file(
            {name.removeprefix(PREFIX): t for name, t in tensors.items() if name.startswith(PREFIX)}
        )
        return inner and f"{inner}, standardized residual"
    sizes = {name.removesuffix(".weight"): tuple(t.shape) for name, t in tensors.items() if t.ndim == 4}
    features = [f"features.{2 * i}" for i in range(sum(name.startswith("features.") for name in sizes))]
    layers = [f"body.{2 * i}" for i in range(len(sizes))]
    # Plain, whose layers have the same names, ends with the channels of a pixel shuffle.
    if len(layers) >= 3 and sizes.keys() == set(layers) and sizes[layers[-1]][0] == sizes[layers[0]][1]:
        return "SRCNN " + "-".join(str(sizes[layer][-1]) for layer in layers)
    if len(features) == 4 and sizes.keys() == {*features, "enlarge", "out"}:
        side = sizes["enlarge"][-1]
        return f"FSRCNN of the report, {f'x{side}' if side <= 4 else f'deconvolution {side}x{side}'}"
    if len(features) > 3 and sizes.keys() == {*features, "enlarge"}:
        return f"FSRCNN({sizes['features.0'][0]},{sizes['features.2'][0]},{len(features) - 3})"
    return None


def verify_weight_zip(path: Path) -> None:
    """Raise zipfile.BadZipFile for a truncated zip file, a compressed entry (torch writes none) or a wrong checksum."""
    if not zipfile.is_zipfile(path):
        raise zipfile.BadZipFile("not a zip container, or cut short")
    with zipfile.ZipFile(path) as container:
        for entry in container.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise zipfile.BadZipFile(f"packed entry {printable_parameter_name(entry.filename)}")
        if (bad := container.testzip()) is not None:
            raise zipfile.BadZipFile(f"wrong CRC in {printable_parameter_name(bad)}")


def is_safetensors(path: Path) -> bool:
    """Return True for a safetensors file, by its first bytes. Raises UserError if the file cannot be read."""
    return _head(path)[8:9] == b"{"


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(16)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; {ADVICE}") from error


def _read_zip(path: Path) -> WeightFile:
    """Read a checkpoint or a state dict that torch.save wrote. Raises UserError."""
    try:
        verify_weight_zip(path)
        check_checksum(path)
        with warnings.catch_warnings(action="ignore"):  # torch also warns about files that it refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: holds more than tensors and plain values and is not loaded, as that could run code; "
            "ask whoever made it for the state dict alone"
        ) from error
    except Exception as error:  # zipfile and torch raise errors of many kinds on damaged files
        detail = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: not a file of torch, or damaged ({printable_parameter_name(detail)}); {ADVICE}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a dictionary of tensors; {ADVICE}")
    if not isinstance(content.get("state_dict"), dict):
        return WeightFile("state dict (torch)", _tensors(path, content), {})
    tensors = _tensors(path, content["state_dict"])
    if any(name.startswith(PREFIX) for name in tensors):
        tensors = {name.removeprefix(PREFIX): t for name, t in tensors.items() if name.startswith(PREFIX)}
    if not isinstance(content.get("vsr"), dict):
        return WeightFile("checkpoint (Lightning)", tensors, {})
    return WeightFile(OWN, tensors, _facts(content))


def _read_safetensors(path: Path) -> WeightFile:
    """Read a safetensors file and the header that vsr.inference.export wrote. Raises UserError."""
    try:
        with safe_open(path, "pt") as file:
            said = file.metadata() or {}
        tensors = dict(sorted(load_file(path, device="cpu").items(), key=_natural))
        if TRAINED in said:
            tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(BESIDE)}
        facts = {
            fact: printable_parameter_name(said[key]) for fact, key in EXPORTED.items() if "checkpoint" in said and key in said
        }
        return WeightFile("safetensors", tensors, facts)
    except Exception as error:  # SafetensorError, and errors of torch for unknown types
        detail = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: not a safetensors file, or damaged ({printable_parameter_name(detail)}); {ADVICE}") from error


def _natural(item: tuple[str, Tensor]) -> list[tuple[int, str]]:
    """Return a sort key of a (name, tensor) pair that puts features.2 before features.10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in item[0].split(".")]


def _tensors(path: Path, content: dict[Any, Any]) -> dict[str, Tensor]:
    """Return a dictionary's tensors without gradients. Raises UserError unless the dictionary maps names to tensors only."""
    for name, value in content.items():
        if not isinstance(name, str):
            raise UserError(
                f"{path}: has tensors under {printable_parameter_name(str(name))}, which is not a name; save a state dict"
            )
        if not isinstance(value, Tensor):
            what = type(value).__name__
            raise UserError(
                f"{path}: {printable_parameter_name(name)} is of type {what}, not a tensor; save the state dict alone"
            )
    return {name: tensor.detach() for name, tensor in content.items()}


def weight_file_tensor_problem(tensor: Tensor) -> str | None:
    """Return the reason why a tensor does not hold real values in memory; None for a plain tensor."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested or tensor.device.type != "cpu":
        return "is sparse, quantized, nested or without data, not a plain tensor"
    if tensor.is_complex():
        return "is complex, not real numbers"
    # A stride of zero lets a small file declare a tensor that no memory holds.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"declares {tensor.numel()} values, more than the file holds"
    return None


def _problem(tensor: Tensor) -> str | None:
    """Return the reason why a tensor cannot be used as weights; None for a usable tensor."""
    if (problem := weight_file_tensor_problem(tensor)) is not None:
        return problem
    if tensor.numel() == 0:
        return "is empty"
    if not torch.isfinite(tensor.double()).all():
        return f"holds {int((~torch.isfinite(tensor.double())).sum())} NaN or infinite values"
    return None


def _facts(content: dict[str, Any]) -> dict[str, str]:
    """Return the facts on a run from its checkpoint; facts that are missing or of another type are left out."""
    card = content["vsr"]
    found = {
        "version": _plain(card, "version"),
        "run": _plain(card, "config", "name"),
        "scale": _plain(card, "config", "scale"),
        "data": _plain(card, "data", "name"),
        "epochs": _plain(card, "config", "epochs"),
        "steps": _plain(content, "global_step"),
    }
    epoch = content.get("epoch")
    if found["epochs"] is not None and isinstance(epoch, int):
        # Lightning counts epochs from zero; a checkpoint without a step belongs to no epoch.
        found["epochs"] = f"{epoch + (found['steps'] not in (None, '0'))} of {found['epochs']}"
    return {key: printable_parameter_name(text) for key, text in found.items() if text is not None}


def _plain(value: Any, *keys: str) -> str | None:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return str(value) if isinstance(value, str | int | float) else None
