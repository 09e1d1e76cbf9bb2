"""Checkpoint files: reading without running code from the file, checksums, renaming; without Lightning."""

from __future__ import annotations

import json
import os
import pickle
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from vsr.config.old_targets import with_current_targets
from vsr.errors import UserError
from vsr.models.weights.files import is_safetensors, verify_weight_zip
from vsr.models.weights.shipped import BESIDE, SHA256, TRAINED, read_safetensors_header, tensors_sha256
from vsr.system.checksums import check_checksum, checksum_file, file_sha256, remove_checksum, write_checksum
from vsr.system.files import sync_folder


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint of vsr, which holds tensors and plain values; no code from the file runs.

    A safetensors file that `vsr export` wrote from a checkpoint is one, too: its header has the description.

    Raises UserError for a missing, truncated or damaged file (torch itself ignores the CRCs), for a file that differs from its
    checksum, for a file that would run code, and for a file that vsr did not write.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        if is_safetensors(path):
            content: Any = _read_safetensors(path)
        else:
            verify_weight_zip(path)
            check_checksum(path)
            with warnings.catch_warnings(action="ignore"):  # torch remarks on what it then refuses
                content = torch.load(path, map_location=map_location, weights_only=True)
        if isinstance(content, dict) and "vsr" in content:
            content["vsr"] = with_current_targets(content["vsr"])
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: holds more than tensors and plain values and is not loaded, as that could run code") from error
    except UserError:
        raise
    except Exception as error:  # on damaged files zipfile and torch raise nearly every kind there is
        raise UserError(
            f"{path}: not a checkpoint, or damaged ({str(error).splitlines()[0] if str(error) else 'empty'})"
        ) from error
    if not isinstance(content, dict) or "state_dict" not in content or "vsr" not in content:
        raise UserError(f"{path}: not a checkpoint of vsr (it lacks the keys state_dict and vsr)")
    return content


def _read_safetensors(path: Path) -> dict[str, Any]:
    """Read the state dict and the description of a checkpoint from a safetensors file. Raises UserError."""
    header = read_safetensors_header(path)
    if TRAINED not in header:
        raise UserError(
            f"{path}: holds weights alone, and says neither scale nor degradation nor range; train with init=checkpoint "
            f"weights={path}, or give the checkpoint from which they were exported"
        )
    if header.get(SHA256) != tensors_sha256(path.read_bytes()):
        raise UserError(
            f"{path}: damaged (its tensors do not have the checksum in its header); export it again, or install vsr again"
        )
    tensors = {name if name.startswith(BESIDE) else f"network.{name}": tensor for name, tensor in load_file(path).items()}
    return {"state_dict": tensors, "vsr": json.loads(header[TRAINED])}


def complete_checkpoint(path: Path) -> None:
    """Write the checksum file of a readable checkpoint, if a kill has left the checkpoint without one."""
    if not checksum_file(path).is_file():
        with suppress(OSError):
            write_checksum(path, file_sha256(path))


def move_checkpoint(source: Path, target: Path) -> None:
    """Rename a checkpoint file together with its checksum file; both names are in the same folder."""
    digest = file_sha256(source)
    remove_checksum(target)
    os.replace(source, target)
    sync_folder(target.parent)
    with suppress(OSError):
        write_checksum(target, digest)
    checksum_file(source).unlink(missing_ok=True)


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint file and its checksum file, if they exist."""
    checksum_file(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
