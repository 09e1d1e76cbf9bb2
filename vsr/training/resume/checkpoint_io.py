"""Lightning's writers of checkpoints: plain values alone, verified before the former file is replaced."""

from __future__ import annotations

import copy
import io
import time
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from vsr.errors import UserError, WriteError
from vsr.models.weights.files import verify_weight_zip
from vsr.system.checksums import checksum_file, file_sha256, remove_checksum, write_checksum
from vsr.system.files import replacing_file
from vsr.training.resume.checkpoints import read_checkpoint

PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writer of checkpoints that verifies a temporary file in the same folder and then renames it to the final name.

    The previous file stays until the new file was read back. Lightning's own writer goes through $TMPDIR, and leaves a
    truncated file under the final name if the disk is full. Each checkpoint has a checksum file (SHA-256) beside it. A kill at
    any moment leaves a checkpoint with its own checksum or without one, never with the checksum of another file.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint to a temporary file, sync it, check its CRCs, read it back, and rename it to `path`.

        Raises WriteError with the path if it cannot be written, TypeError for values that a checkpoint must not hold.
        """
        path = Path(path)
        content = _plain(checkpoint, "checkpoint")
        try:
            with replacing_file(path) as temporary:
                written = io.BytesIO()  # torch, writing files itself, does not say that the disk is full
                torch.save(content, written)
                temporary.write_bytes(written.getbuffer())
                verify_weight_zip(temporary)
                torch.load(temporary, map_location="cpu", weights_only=True)
                digest = file_sha256(temporary)
                remove_checksum(path)
        except (OSError, RuntimeError, zipfile.BadZipFile) as error:
            kept = f"; the previous one, of {_moment(path)}, is kept" if path.exists() else ""
            what = f"{path}: the checkpoint cannot be written ({error.strerror if isinstance(error, OSError) else error}){kept}"
            raise WriteError(what, "make room, or type hydra.run.dir=FOLDER to write elsewhere") from error
        with suppress(OSError):  # a checkpoint without its checksum is still one: it has CRCs inside
            write_checksum(path, digest)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint with `read_checkpoint`, which never runs code from the file; `weights_only` has no effect."""
        return read_checkpoint(Path(path), map_location or "cpu")

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint file and its checksum file."""
        super().remove_checkpoint(path)
        checksum_file(Path(path)).unlink(missing_ok=True)


class PatientCheckpointIO(AtomicCheckpointIO):
    """Writer of checkpoints that writes `best.ckpt` at most once every few seconds; `flush` writes a pending one.

    An epoch of a tiny network takes less time than writing a checkpoint. A kill loses nothing. The pending `best.ckpt` is
    written before each `last.ckpt`, from which a run resumes; the resumed run repeats the epochs after it.

    Args:
        apart: Seconds between two writes of `best.ckpt`.
    """

    def __init__(self, apart: float) -> None:
        super().__init__()
        self.apart, self._written = apart, float("-inf")
        self._waiting: tuple[dict[str, Any], Path] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint, or keep a copy of `best.ckpt` for `flush`. Raises the errors of `AtomicCheckpointIO`."""
        if Path(path).name != "best.ckpt":
            super().save_checkpoint(checkpoint, path)
        elif time.monotonic() - self._written < self.apart:
            self._waiting = copy.deepcopy(checkpoint), Path(path)
        else:
            self._waiting = None
            super().save_checkpoint(checkpoint, path)
            self._written = time.monotonic()

    def flush(self) -> None:
        """Write the pending `best.ckpt`, if any. Raises WriteError if it cannot be written."""
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            super().save_checkpoint(*waiting)
            self._written = time.monotonic()


def _plain(value: Any, where: str) -> Any:
    """Convert a checkpoint to tensors and plain Python values, the types that torch reads back without running code.

    Scalars of numpy become Python numbers. Raises TypeError for every other type; the message names the place.
    """
    if isinstance(value, np.generic):  # before float, which np.float64 is, too
        return _plain(value.item(), where)
    if isinstance(value, Tensor) or type(value) in PLAIN:
        return value
    if type(value) in (dict, OrderedDict):
        found = {_plain(key, f"{where}, a key"): _plain(item, f"{where}.{key}") for key, item in value.items()}
        return value if all(found[key] is value[key] for key in value) else found
    if type(value) in (list, tuple, set):
        return type(value)(_plain(item, f"{where}[{i}]") for i, item in enumerate(value))
    raise TypeError(f"{where}: a {type(value).__module__}.{type(value).__qualname__} would make the checkpoint unreadable")


def _moment(path: Path) -> str:
    """Return the training step of a checkpoint in words ("step 300"), or "earlier" if the file cannot be read."""
    try:
        return f"step {read_checkpoint(path)['global_step']}"
    except (UserError, KeyError):
        return "earlier"
