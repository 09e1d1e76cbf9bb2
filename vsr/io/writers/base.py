"""Interfaces of the writers (`ArrayWriter`, `Sink`), and the record of an output's progress (`OutputProgress`)."""

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

from vsr.errors import UserError, WriteError
from vsr.io.writers.template import OutputTemplate
from vsr.system.files import sync_path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG)


class Sink(ABC):
    """Receiver of super-resolved (SR) frames, which writes them to a target path. Nothing appears there before `finish`.

    Frames are counted over all movies of the file, one movie after the other. Leaving a `with` block closes the sink.

    Attributes:
        done: Number of frames that need not be written again: the frames that an interrupted run with the same identity stored,
            and every frame passed to `write` since then.
    """

    done: int

    @abstractmethod
    def write(self, start: int, frames: np.ndarray) -> None:
        """Append frames. The sink may hold frames in memory and store them in a later call.

        Args:
            start: Number of the first frame; always equal to `done`.
            frames: (t, C, H, W) floats in physical units.
        """

    @abstractmethod
    def flush(self) -> None:
        """Sync stored frames to disk and record their number, so that they survive a later kill of the process."""

    @abstractmethod
    def finish(self) -> None:
        """Sync all frames, check that the file is complete and move it to its target, replacing an existing file.

        Raises:
            ValueError: Frames are missing.
            UserError: The file cannot be written.
        """

    @abstractmethod
    def close(self) -> None:
        """Release handles and the lock; may be called twice. Flushed frames stay for a later run unless `finish` was called."""

    @abstractmethod
    def discard(self) -> None:
        """Close the sink and delete the unfinished output."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class ArrayWriter(ABC):
    """Writer of one format of array files. Each format has a subclass; `vsr.io.formats` lists them.

    Attributes:
        name: Key of the format in `vsr.io.formats.FORMATS`.
        suffixes: File-name endings of the format, in lower case.
        title: Name and version of the format, shown to the user.
        has_attributes: True if a file can hold units, names of dimensions and other attributes.
        field_kinds: Letters of the dtype kinds (NumPy's `dtype.kind`) that an array beside the movie may have; "" if a file
            cannot hold such arrays.
        single_array: True if a file holds one array only, so that several variables become its channels.
        folder: True if an output is a folder.
        growing: True if the axes of an output can be unlimited; False where `OutputTemplate.unlimited` must be empty.
    """

    name: str
    suffixes: tuple[str, ...]
    title: str
    has_attributes: bool = True
    field_kinds: str = "iuf"
    single_array: bool = False
    folder: bool = False
    growing: bool = False

    @abstractmethod
    def sink(self, journal: OutputProgress, template: OutputTemplate) -> Sink:
        """Return a sink for the output of `journal`; the sink then owns the journal. Raises UserError if the disk has no room."""

    def needs_dims(self, origin: str) -> bool:
        """Return True if unnamed dimensions must get names when the input has the format `origin`."""
        return False

    def valid_names(self, names: Sequence[str]) -> list[str]:
        """Return one unique name that the format accepts for each given name of an array or field."""
        return list(names)

    def target_problem(self, path: Path) -> str | None:
        """Return the reason why an output must not replace an existing `path`; None if replacing is allowed."""
        return None


def check_target(target: Path, overwrite: bool) -> None:
    """Raise UserError if a target exists and must not be replaced."""
    if os.path.lexists(target) and not overwrite:
        raise UserError(f"{target}: exists; type overwrite=true to replace it, or another output=PATH")


class OutputProgress:
    """Record of the progress of one output: the run that writes it (`identity`) and the number of stored frames.

    Three files lie beside the target. `.NAME.part` is the unfinished file or folder. `.NAME.part.json` describes it and is
    replaced atomically. `.NAME.part.lock` is locked while a process writes. A kill is harmless, because data are synced to disk
    before `record` is called, and data that `record` did not confirm are not used.

    Attributes:
        partial: Path of the unfinished file or folder, to which the writer writes.
        spare: Path for writers that build the final file from the partial one. What a killed run left there is not used.
        done: Number of frames that the last `record` confirmed; 0 for a new file.
        state: Plain values that the writer recorded with `done`.
        resumed: True if an unfinished output with the same identity exists.
    """

    def __init__(self, target: Path, identity: Mapping[str, Any], *, overwrite: bool = False, folder: bool = False) -> None:
        """Lock the target and look for the unfinished output of an interrupted run.

        Args:
            target: The file or folder that appears at `finish`.
            identity: Everything that the frames depend on, as JSON values. Only an output with the same identity is continued.
            overwrite: Discard an unfinished output with another identity, and replace an existing target at `finish`.
            folder: True if the target is a folder. `finish` then replaces the whole folder, so the writer must check it first.

        Raises:
            UserError: The target exists, another process writes it, an unfinished output has another identity, or the folder
                around the target cannot be written.
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
        with writing_errors(self.target):
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
        check_target(self.target, overwrite)
        known = _journal(self.path)
        if not left or known is None:
            self.start_over()
            return
        if (differing := identity_differences(known["identity"], self.identity)) and not overwrite:
            raise UserError(
                f"{self.partial}: left by an interrupted run with another {', '.join(differing)}; "
                f"type overwrite=true to start over, or repeat the command of that run to continue it"
            )
        if differing:
            self.start_over()
        else:
            self.done, self.state, self.resumed = known["done"], known["state"], True

    def start_over(self) -> None:
        """Delete the unfinished output of an earlier run and reset the progress to 0 frames."""
        self.done, self.state, self.resumed = 0, {}, False
        with writing_errors(self.target):
            self.path.unlink(missing_ok=True)  # first: without it a partial is worth nothing
            _remove(self.partial)
            _remove(self.spare)

    def record(self, done: int, **state: Any) -> None:
        """Record durably that the first `done` frames are on disk.

        Args:
            done: Number of frames that are synced to disk.
            state: Plain values that the writer needs to continue.

        Raises:
            UserError: The disk is full, or writing is not permitted.
        """
        state = {**self.state, **state}
        text = json.dumps({"identity": self.identity, "done": done, "state": state})
        # One name for the new text, not a random one: nothing is left over however often the process is killed.
        new = self.path.with_name(f"{self.path.name}.new")
        with writing_errors(self.target, self.done):
            with new.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self.path)
            sync_path(self.path.parent)
        self.done, self.state = done, state

    def finish(self) -> None:
        """Move the complete and synced partial output to the target, delete the record and unlock the target."""
        with writing_errors(self.target, self.done):
            replace_output(self.partial, self.target)
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Unlock the target. The recorded progress stays on disk for a later run."""
        if self._lock is not None:
            with suppress(OSError):
                self._lock_path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None


@contextmanager
def writing_errors(target: Path, done: int | None = None) -> Iterator[None]:
    """Turn an OSError in the `with` block into a UserError with advice, which says that `done` frames of `target` are kept."""
    try:
        yield
    except OSError as error:
        kept = f"; {done} frames are kept, the same command continues" if done else ""
        if error.errno in FULL:
            raise WriteError(
                f"{target}: the disk is full or a limit on file sizes is reached ({os.strerror(error.errno)}){kept}",
                "free space and type the same command again, or type output=PATH on another disk",
            ) from error
        if error.errno in FORBIDDEN:
            raise WriteError(
                f"{target}: cannot be written ({os.strerror(error.errno)}){kept}", "type output=PATH where you may write"
            ) from error
        raise UserError(
            f"{target}: cannot be written ({error}){kept}; check the disk and type the same command again, or type output=PATH"
        ) from error


def replace_output(made: Path, target: Path) -> None:
    """Move a complete and synced file or folder to its target, which is replaced if it exists.

    Raises:
        OSError: It cannot be moved.
    """
    old = target.with_name(f".{target.name}.old")
    if target.is_dir() and not target.is_symlink():  # a rename does not replace a folder with files in it
        _remove(old)
        os.replace(target, old)
    elif made.is_dir():
        _remove(target)
    os.replace(made, target)
    sync_path(target.parent)
    _remove(old)


def _remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all its content. Do nothing if the path does not exist."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _locked(path: Path, target: Path) -> int:
    """Lock the lock file of a target and return its handle. The operating system unlocks it when the process ends or dies."""
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


def interrupted_identity(target: Path) -> dict[str, Any]:
    """Return the identity of the run whose unfinished output lies beside a target; {} if there is none."""
    known = _journal(target.with_name(f".{target.name}.part.json"))
    return {} if known is None else dict(known["identity"])


def _journal(path: Path) -> dict[str, Any] | None:
    """Read the record of a journal; return None if the record is missing or damaged."""
    with suppress(OSError, ValueError):
        known = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(known, dict) and known.keys() == {"identity", "done", "state"}:
            return known
    return None


def identity_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the keys whose values differ between two identities, each with both values if these are short."""
    out: list[str] = []
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            values = f"{old.get(key)}, now {new.get(key)}"
            out.append(f"{key} ({values})" if len(values) <= 60 else key)
    return out
