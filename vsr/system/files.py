"""Atomic file writes and SHA-256 side files."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vsr.errors import UserError, WriteError

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


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum_file(path: Path) -> Path:
    """Return the path of the side file that holds a file's SHA-256, in the format of `sha256sum -c`."""
    return path.with_name(f"{path.name}.sha256")


def write_checksum(path: Path, digest: str) -> None:
    """Write a file's SHA-256 to its side file, without a sync. A power cut may leave it empty, which counts as missing."""
    temporary = checksum_file(path).with_name(f".{path.name}-sha256.part")
    try:
        temporary.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
        os.replace(temporary, checksum_file(path))
    finally:
        temporary.unlink(missing_ok=True)


def remove_checksum(path: Path) -> None:
    """Remove a file's SHA-256 side file and sync the folder; to be called before the file itself is replaced."""
    with suppress(FileNotFoundError):
        checksum_file(path).unlink()
        sync_folder(path.parent)


def check_checksum(path: Path) -> None:
    """Raise UserError if a file differs from the SHA-256 in its side file; a file without a side file passes."""
    while (expected := _read_checksum(path)) is not None:
        if file_sha256(path) == expected:
            return
        # A running process may have replaced the file meanwhile, and has then removed or renewed the checksum too.
        if _read_checksum(path) == expected:
            raise UserError(
                f"{path}: is damaged, or not what {checksum_file(path).name} was written for; take another copy, or remove "
                f"{checksum_file(path).name} if you replaced the file on purpose"
            )


def _read_checksum(path: Path) -> str | None:
    """Return the SHA-256 from a file's side file; None if the side file is missing or empty."""
    try:
        found = re.match(r"[0-9a-f]{64}\b", checksum_file(path).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return found[0] if found else None


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
