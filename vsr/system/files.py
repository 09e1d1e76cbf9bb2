"""Files that appear whole or not at all, and checksums beside them."""

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
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name in the folder of `path` to write to; on leaving, sync it and move it to `path`.

    When the block raises, the temporary file goes and `path` is as it was. OSError comes through, for the caller to say what
    could not be written.
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
    """Make the names in a folder durable, where the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems refuse to sync folders
            os.fsync(handle)
    finally:
        os.close(handle)


def remove_unfinished(folder: Path) -> None:
    """Remove what `replacing` left in a folder when its process was killed; only for who alone writes there."""
    for leftover in folder.glob(".*-*.part"):
        leftover.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum_file(path: Path) -> Path:
    """Where the checksum of a file stands; `sha256sum -c` reads it."""
    return path.with_name(f"{path.name}.sha256")


def write_checksum(path: Path, digest: str) -> None:
    """Write down the checksum of a file beside it; not synced, as one that a power cut empties is taken for none."""
    temporary = checksum_file(path).with_name(f".{path.name}-sha256.part")
    try:
        temporary.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
        os.replace(temporary, checksum_file(path))
    finally:
        temporary.unlink(missing_ok=True)


def forget_checksum(path: Path) -> None:
    """Remove the checksum of a file, durably: what replaces the file next must never be judged by it."""
    with suppress(FileNotFoundError):
        checksum_file(path).unlink()
        sync_folder(path.parent)


def check_checksum(path: Path) -> None:
    """Raise UserError when a checksum stands beside a file and is not its own; a file without one is not judged."""
    while (noted := _noted(path)) is not None:
        if sha256(path) == noted:
            return
        # A run that goes on may have replaced the file in between; then it has taken the checksum away, or renewed it, too.
        if _noted(path) == noted:
            raise UserError(
                f"{path}: is damaged, or not what {checksum_file(path).name} was written for; take another copy, or remove "
                f"{checksum_file(path).name} if you replaced the file on purpose"
            )


def _noted(path: Path) -> str | None:
    """The checksum beside a file; None where there is none, or nothing in it (after a power cut)."""
    try:
        found = re.match(r"[0-9a-f]{64}\b", checksum_file(path).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return found[0] if found else None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file whole or not at all. Raises WriteError naming the path when it cannot be written."""
    with written(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """As `replacing`, with a WriteError naming the path when it cannot be written."""
    try:
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise WriteError(
            f"{path}: cannot be written ({error.strerror})", "type hydra.run.dir=FOLDER to write elsewhere"
        ) from error
