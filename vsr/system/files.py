"""Atomic file writes."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vsr.errors import WriteError

_UMASK = os.umask(0)
os.umask(_UMASK)


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Replace a file atomically: the `with` block writes a temporary file, which is then synced and moved to `path`.

    When the block raises, the temporary file is removed and `path` stays unchanged.

    Args:
        path: The file; its folder is made when missing.

    Yields:
        The temporary file's path, in the same folder.

    Raises:
        OSError: The file cannot be written. `writing_file` raises WriteError instead.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_UMASK)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Sync the list of names in a folder to disk, where the file system supports it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems refuse to sync folders
            os.fsync(handle)
    finally:
        os.close(handle)


def remove_unfinished_files(folder: Path) -> None:
    """Remove temporary files that killed processes left in a folder; no other process may be writing there."""
    for leftover in folder.glob(".*-*.part"):
        leftover.unlink(missing_ok=True)


def write_json_file(path: Path, content: dict[str, Any]) -> None:
    """Write a dict to a JSON file atomically. Raises WriteError with the path if the file cannot be written."""
    with writing_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")


@contextmanager
def writing_file(path: Path) -> Iterator[Path]:
    """Replace a file atomically, like `replacing_file`. Raises WriteError with the path if the file cannot be written."""
    try:
        with replacing_file(path) as temporary:
            yield temporary
    except OSError as error:
        raise WriteError(
            f"{path}: cannot be written ({error.strerror})", "type hydra.run.dir=FOLDER to write elsewhere"
        ) from error


def sync_path(path: Path) -> None:
    """Sync the content of a file, or the list of names in a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
