"""One process at a time in a run's folder."""

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
    """Another process writes into this folder; nothing in it may be touched."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; the system lets go of it when the process ends, however it ends.

    The file `run.lock` stays behind; it says who holds the folder, and only counts while someone does. Where the file system has
    no locks, a warning is all. Raises FolderInUse.
    """
    import fcntl  # not on every system; here, so that other commands work there

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
        except OSError:  # a full disk: the lock holds without a name in it
            pass
        yield
    finally:
        os.close(handle)
