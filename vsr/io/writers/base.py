"""Interfaces of the writers: `ArrayWriter` for a format, `Sink` for an output, `Journal` for progress that outlives a kill."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from vsr.errors import UserError
from vsr.io.writers.template import Template

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG)


class Sink(ABC):
    """Where SR frames go. Created for a target path; nothing appears under that path until `finish`.

    Frames are counted over all movies of the file, one movie after the other. Leaving a `with` block closes the sink.

    Attributes:
        done: frames that need not be written (again): those that an interrupted run with the same identity stored, 0 for a new
            one, and from then on every frame handed to `write`.
    """

    done: int

    @abstractmethod
    def write(self, start: int, frames: np.ndarray) -> None:
        """Append float32 frames (t, C, H, W) in physical units; `start` is always `done`. They may still be in flight after."""

    @abstractmethod
    def flush(self) -> None:
        """Make what was written durable, and record how far that is: a kill from now on costs only later frames."""

    @abstractmethod
    def finish(self) -> None:
        """Make all frames durable, check the size and move the file to its target, replacing what is there.

        Raises ValueError when frames are missing, UserError when the disk does not take the file.
        """

    @abstractmethod
    def close(self) -> None:
        """Give up handles and lock. What was flushed stays for a later run, unless `finish` was called; may be called twice."""

    @abstractmethod
    def discard(self) -> None:
        """Close, and delete what was written: it is worth nothing to a later run."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class ArrayWriter(ABC):
    """Writer of one format of array files. A subclass per format; `vsr.io.formats` lists them.

    Attributes:
        name: the key of the format in `vsr.io.formats.FORMATS`.
        suffixes: endings of the names of such files, in small letters.
        title: name of the format, and of its version, for the user.
        has_attributes: a file holds units, names of dimensions and other attributes.
        field_kinds: kinds of NumPy's dtypes that a `Field` may have; "" for a format without fields.
        single_array: a file holds one array, so that several variables become its channels.
        folder: an output is a folder.
    """

    name: str
    suffixes: tuple[str, ...]
    title: str
    has_attributes: bool = True
    field_kinds: str = "iuf"
    single_array: bool = False
    folder: bool = False

    @abstractmethod
    def sink(self, journal: Journal, template: Template) -> Sink:
        """Open the output of a journal, which belongs to the sink from now on. Raises UserError when the disk has no room."""

    def needs_dims(self, origin: str) -> bool:
        """Whether dimensions without a name must get one, in the output of an input of the format `origin`."""
        return False

    def valid_names(self, names: Sequence[str]) -> list[str]:
        """Names that the format accepts, all different, in place of the names of arrays and fields."""
        return list(names)

    def target_problem(self, path: Path) -> str | None:
        """Why an output must not replace `path`; None for a path that it may replace."""
        return None


class Journal:
    """Of one target: who writes it, what was agreed (`identity`) and how far it came, beside it in the same folder.

    The unfinished file or folder is `.NAME.part`; `.NAME.part.json` says what it is and is itself written whole or not at all;
    `.NAME.part.lock` is locked while a process writes. Order that makes a kill harmless: first the data are made durable, then
    `record` is called; what `record` did not say is not believed.

    Attributes:
        partial: where to write; a file or a folder.
        spare: a second name, for writers that make the final file out of the partial; means nothing after a kill.
        done: frames that the last `record` called durable; 0 for a new file.
        state: what the writer recorded beside it, plain values.
        resumed: whether there is a partial of the same identity. Otherwise nothing is there.
    """

    def __init__(self, target: Path, identity: Mapping[str, Any], *, overwrite: bool = False, folder: bool = False) -> None:
        """Lock the target and look for what an interrupted run left.

        Args:
            target: the file or folder to appear at `finish`.
            identity: all that the frames depend on, as JSON can hold it: only a partial with the same is continued.
            overwrite: start over when there is a partial with another identity, and replace an existing target (at `finish`).
            folder: whether the result is a folder; then `finish` replaces a whole folder, so the writer must look into it first.

        Raises UserError when the target exists, another process writes it, a partial is of another identity, or the folder
        around it cannot be written.
        """
        self.target = Path(target)
        self.partial = self.target.with_name(f".{self.target.name}.part")
        self.spare = self.target.with_name(f".{self.target.name}.part.new")
        self.path = self.target.with_name(f".{self.target.name}.part.json")
        self._lock_path = self.target.with_name(f".{self.target.name}.part.lock")
        self.identity = json.loads(json.dumps(dict(identity)))
        self.done = 0
        self.state: dict[str, Any] = {}
        self.resumed = False
        if self.target.is_dir() and not folder:
            raise UserError(f"{self.target}: is a folder; type output=FILE")
        with writing(self.target):
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._lock: int | None = _locked(self._lock_path, self.target)
        try:
            self._look(overwrite)
        except BaseException:
            self.close()
            raise

    def _look(self, overwrite: bool) -> None:
        left = os.path.lexists(self.partial)
        if not left:
            self.path.unlink(missing_ok=True)  # killed between moving the file and forgetting how it was made
        if os.path.lexists(self.target) and not overwrite:
            raise UserError(f"{self.target}: exists; type overwrite=true to replace it, or another output=PATH")
        known = _journal(self.path)
        if not left or known is None:
            self.start_over()
            return
        if (differing := _differences(known["identity"], self.identity)) and not overwrite:
            raise UserError(
                f"{self.partial}: left by an interrupted run with another {', '.join(differing)}; "
                f"type overwrite=true to start over, or repeat the command of that run to continue it"
            )
        if differing:
            self.start_over()
        else:
            self.done, self.state, self.resumed = known["done"], known["state"], True

    def start_over(self) -> None:
        """Forget and delete what an earlier run left."""
        self.done, self.state, self.resumed = 0, {}, False
        with writing(self.target):
            self.path.unlink(missing_ok=True)  # first: without it a partial is worth nothing
            remove(self.partial)
            remove(self.spare)

    def record(self, done: int, **state: Any) -> None:
        """Say that `done` frames are durable, and what else the writer must know to go on. Raises UserError on a full disk."""
        state = {**self.state, **state}
        text = json.dumps({"identity": self.identity, "done": done, "state": state})
        # One name for the new text, not a random one: nothing is left over however often the process is killed.
        new = self.path.with_name(f"{self.path.name}.new")
        with writing(self.target, self.done):
            with new.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self.path)
            sync(self.path.parent)
        self.done, self.state = done, state

    def finish(self) -> None:
        """Move the partial, which must be complete and synced, to the target, forget the rest and unlock."""
        old = self.target.with_name(f".{self.target.name}.old")
        with writing(self.target, self.done):
            if self.target.is_dir() and not self.target.is_symlink():  # a rename does not replace a folder with files in it
                remove(old)
                os.replace(self.target, old)
            elif self.partial.is_dir():
                remove(self.target)
            os.replace(self.partial, self.target)
            sync(self.target.parent)
            remove(old)
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Unlock; what was recorded stays for a later run."""
        if self._lock is not None:
            with suppress(OSError):
                self._lock_path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None


@contextmanager
def writing(target: Path, done: int | None = None) -> Iterator[None]:
    """Turn what the file system refuses into a UserError that says what to type; `done`: frames that are kept."""
    try:
        yield
    except OSError as error:
        kept = f"; {done} frames are kept, the same command continues" if done else ""
        if error.errno in FULL:
            raise UserError(
                f"{target}: the disk is full or a limit on file sizes is reached ({os.strerror(error.errno)}){kept}; "
                f"free space and type the same command again, or type output=PATH on another disk"
            ) from error
        if error.errno in FORBIDDEN:
            raise UserError(
                f"{target}: cannot be written ({os.strerror(error.errno)}){kept}; type output=PATH where you may write"
            ) from error
        raise UserError(
            f"{target}: cannot be written ({error}){kept}; check the disk and type the same command again, or type output=PATH"
        ) from error


def sync(path: Path) -> None:
    """Make a file's contents durable, or a folder's list of names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """A file, link or folder with all that is in it, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _locked(path: Path, target: Path) -> int:
    """The handle of the lock file, locked; the operating system unlocks it when the process ends, however it ends."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The other process may have deleted the file between our opening and locking it: such a lock keeps nobody away.
            if os.path.exists(path) and os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        except BlockingIOError:
            os.close(handle)
            raise UserError(f"{target}: another process is writing it; wait for it, or type another output=PATH") from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _journal(path: Path) -> dict[str, Any] | None:
    """What it says; None when there is none that can be believed."""
    with suppress(OSError, ValueError):
        known = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(known, dict) and known.keys() == {"identity", "done", "state"}:
            return known
    return None


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The keys whose values differ, with the values where they are short."""
    out: list[str] = []
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            values = f"{old.get(key)}, now {new.get(key)}"
            out.append(f"{key} ({values})" if len(values) <= 60 else key)
    return out
