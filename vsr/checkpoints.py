"""Checkpoint files: written whole or not at all, read without running anything that is in them."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from vsr.errors import UserError
from vsr.files import replacing
from vsr.weights.files import verify_zip


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files through a temporary name in the same folder: verified, then moved into place.

    Lightning's own way goes through $TMPDIR and leaves a cut file under the final name when the disk is full.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write, sync, check the CRCs, replace. Raises UserError naming the path when it cannot be written."""
        path = Path(path)
        try:
            with replacing(path) as temporary:
                torch.save(checkpoint, temporary)
                verify_zip(temporary)
        except (OSError, RuntimeError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: the checkpoint cannot be written ({error}); the previous one is kept") from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """As `read_checkpoint`; `weights_only` is ignored, it is always true."""
        return read_checkpoint(Path(path), map_location)


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """The contents of a checkpoint of this project: tensors and plain values.

    Raises UserError for a missing, truncated or damaged file (torch itself ignores the CRCs), for one that would run code, and
    for one that vsr did not write.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        verify_zip(path)
        content = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: holds more than tensors and plain values and is not loaded, as that could run code") from error
    except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: not a checkpoint, or damaged ({str(error).splitlines()[0] if str(error) else 'empty'})"
        ) from error
    if not isinstance(content, dict) or "state_dict" not in content or "vsr" not in content:
        raise UserError(f"{path}: not a checkpoint of vsr (it lacks the keys state_dict and vsr)")
    return content
