"""SHA-256 checksum files beside files."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

from vsr.errors import UserError
from vsr.system.files import sync_folder


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
