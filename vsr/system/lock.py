"""Lock of a run folder, so that only one process at a time writes into the folder."""

from __future__ import annotations

import errno
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vsr.errors import UserError

LOCK = "run.lock"


class FolderInUse(UserError):
    """Error: another process writes into the folder, whose files must not be touched."""


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Lock a folder inside the `with` block. The operating system also unlocks it when the process dies.

    The file `run.lock` names the process that holds the lock. The file stays in the folder afterwards and then locks nothing.
    On a file system without locks, this function only warns.

    Args:
        folder: The folder; it is made when missing.

    Raises:
        FolderInUse: Another process holds the lock.
    """
    import fcntl  # missing on Windows, where other commands work

    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                holder = os.read(handle, 200).decode(errors="replace").strip() or "unknown"
                raise FolderInUse(
                    f"{folder}: another run writes here ({holder}); wait for it, stop it, or type hydra.run.dir=FOLDER"
                ) from None
            warnings.warn(f"{folder}: cannot be locked ({error.strerror}); do not start two runs in it", stacklevel=2)
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        except OSError:  # on a full disk the lock works without a name
            pass
        yield
    finally:
        os.close(handle)
