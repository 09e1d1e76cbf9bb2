"""Units of work that several processes share through a folder, also on several machines (`WorkUnits`)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsr.system.address import Address
from vsr.system.files import replacing_file, sync_folder

HEARTBEAT = 20.0  # seconds between two signs of life of a claim
EXPIRY = 300.0  # seconds without a sign of life after which a claim of another machine is void
FEWEST, RECENT = 8, 64  # units that were done last, whose rate is the present one
PLAN, DONE, CLAIM, FAILED = "plan.json", ".done", ".claim", ".failed"


@dataclass(frozen=True)
class UnitsProgress:
    """Progress of the work on all units.

    Attributes:
        count: Number of units.
        done: Number of units that are done.
        running: Number of units that a live process has claimed.
        failed: Number of a unit -> the error that it ended with.
        rate: Units per second, over the units that were done last; None as long as it cannot be known.
    """

    count: int
    done: int
    running: int
    failed: dict[int, str]
    rate: float | None


class WorkUnits:
    """Numbered units of work, of which each is done once by some process.

    A process claims a unit by creating a file, which only one process can. A claim is void when its process is gone, which is
    seen at once on the same machine; a claim from another machine is void when it has shown no sign of life for `EXPIRY`
    seconds of the file system's own clock, so that the clocks of machines may differ. Work on a unit must give the same result
    when it is done twice.

    Args:
        folder: Folder that `create` made.

    Attributes:
        plan: What `create` was given.
        count: Number of units.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan: dict[str, Any] = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        self.count = int(self.plan["units"])
        self._units, self._cursor = folder / "units", 0

    @classmethod
    def create(cls, folder: Path, plan: Mapping[str, Any], fill: Any = None) -> WorkUnits:
        """Make the folder as a whole, or open the one that another process made at the same time.

        Args:
            folder: The folder.
            plan: JSON values, among them "units", the number of units.
            fill: Function that is called with a folder that will become `folder`, to put further files into it.
        """
        made = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:12]}")
        try:
            (made / "units").mkdir(parents=True)
            if fill is not None:
                fill(made)
            _write(made / PLAN, plan)
            with suppress(OSError):  # the folder is there already
                os.rename(made, folder)
                sync_folder(folder.parent)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return cls(folder)

    def claim_number(self, number: int) -> bool:
        """Claim one unit; return False if it is done, failed, or claimed by a live process."""
        state = self._states().get(number, set())
        if state & {DONE, FAILED} or (CLAIM in state and not self._void(number)):
            return False
        return self._take(number)

    def claim(self) -> int | None:
        """Claim a unit that nobody works on; None if there is none now."""
        while self._cursor < self.count:  # without a list of all files, which are many
            number, self._cursor = self._cursor, self._cursor + 1
            if not any((self._units / f"{number}{ending}").exists() for ending in (DONE, FAILED)) and self._take(number):
                return number
        states = self._states()  # what dead processes have left, what was given back, and what is tried again
        for number in range(self.count):
            state = states.get(number, set())
            if not state & {DONE, FAILED} and (CLAIM not in state or self._void(number)) and self._take(number):
                return number
        return None

    def _take(self, number: int) -> bool:
        path = self._units / f"{number}{CLAIM}"
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except (FileExistsError, FileNotFoundError):  # claimed, or another process has ended the work
            return False
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(_myself(), file)
        if (self._units / f"{number}{DONE}").exists():  # done between listing and claiming
            path.unlink(missing_ok=True)
            return False
        return True

    def _void(self, number: int) -> bool:
        """Return True if the owner of a claim is gone, and remove the claim."""
        path = self._units / f"{number}{CLAIM}"
        try:
            text, seen = path.read_text(encoding="utf-8"), path.stat().st_mtime
        except FileNotFoundError:
            return True
        owner: dict[str, Any] = {}
        with suppress(ValueError):  # being written, or torn by a kill
            owner = json.loads(text)
        if owner.get("place") == _place():
            lives = _started(int(owner["pid"])) == owner["started"]
        else:
            lives = self._clock() - seen < EXPIRY
        if lives:
            return False
        away = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}")
        with suppress(OSError):
            os.rename(path, away)  # of two processes that see this, one has the file
        away.unlink(missing_ok=True)
        return True

    def _clock(self) -> float:
        """Return the time now as the file system of the folder counts it."""
        path = self.folder / f"clock-{uuid.uuid4().hex[:12]}"
        path.touch()
        try:
            return path.stat().st_mtime
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def signs_of_life(self, number: int) -> Iterator[None]:
        """Keep the claim of a unit valid inside the `with` block, however long it takes."""
        path, stop = self._units / f"{number}{CLAIM}", threading.Event()

        def beat() -> None:
            while not stop.wait(HEARTBEAT):
                with suppress(OSError):
                    os.utime(path)

        thread = threading.Thread(target=beat, daemon=True, name="signs of life")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def complete(self, number: int) -> None:
        """Record durably that a unit is done. Its result must be on disk."""
        _write(self._units / f"{number}{DONE}", _myself())
        self.release(number)

    def fail(self, number: int, error: str) -> None:
        """Record that a unit cannot be done; nobody claims it again before `retry_failed`."""
        _write(self._units / f"{number}{FAILED}", {"error": error, **_myself()})
        self.release(number)

    def release(self, number: int) -> None:
        """Give a claim back."""
        (self._units / f"{number}{CLAIM}").unlink(missing_ok=True)

    def retry_failed(self) -> None:
        """Let failed units be claimed again."""
        for number, state in self._states().items():
            if FAILED in state:
                (self._units / f"{number}{FAILED}").unlink(missing_ok=True)

    def done(self) -> int:
        """Return the number of units that are done; all of them if another process has ended the work."""
        return sum(DONE in state for state in self._states().values()) if self.folder.exists() else self.count

    def left(self) -> bool:
        """Return True if units are neither done nor failed."""
        return self.folder.exists() and sum(bool(state & {DONE, FAILED}) for state in self._states().values()) < self.count

    def progress(self) -> UnitsProgress:
        """Return how far the work is."""
        states, failed, ended, running = self._states(), dict[int, str](), list[float](), 0
        if not self.folder.exists():  # another process has ended the work
            return UnitsProgress(self.count, self.count, 0, {}, None)
        for number, state in sorted(states.items()):
            if DONE in state:
                ended.append((self._units / f"{number}{DONE}").stat().st_mtime)
            elif FAILED in state:
                with suppress(OSError, ValueError):
                    text = (self._units / f"{number}{FAILED}").read_text(encoding="utf-8")
                    failed[number] = str(json.loads(text)["error"])
            elif CLAIM in state and not self._void(number):
                running += 1
        recent = sorted(ended)[-RECENT:]
        seconds = recent[-1] - recent[0] if len(recent) > 1 else 0.0
        rate = (len(recent) - 1) / seconds if seconds > 0 and len(recent) >= FEWEST else None
        return UnitsProgress(self.count, len(ended), running, failed, rate)

    def _states(self) -> dict[int, set[str]]:
        """Return the endings of the files of each unit that has files."""
        found: dict[int, set[str]] = {}
        with suppress(FileNotFoundError):  # another process has ended the work
            found = self._listed()
        return found

    def _listed(self) -> dict[int, set[str]]:
        found: dict[int, set[str]] = {}
        for entry in os.scandir(self._units):
            stem, dot, ending = entry.name.partition(".")
            if stem.isdigit() and dot + ending in (DONE, CLAIM, FAILED):
                found.setdefault(int(stem), set()).add(dot + ending)
        return found


def units_folder(target: Path) -> Path:
    """Return the folder of the units of an output: beside it, or in the current folder for an output at an address."""
    return _beside(target, "units")


def _beside(target: Path, ending: str) -> Path:
    if isinstance(target, Address):
        short = hashlib.sha256(str(target).encode()).hexdigest()[:8]  # of two outputs of one name
        return Path(f".{target.name}.{short}.{ending}").absolute()
    return target.with_name(f".{target.name}.{ending}")


def record_completion(target: Path, identity: Mapping[str, Any]) -> None:
    """Record durably, in a file beside an output, that it is complete.

    Args:
        target: The output, a folder.
        identity: Everything that the output depends on, as JSON values.

    Raises:
        OSError: The file cannot be written.
    """
    _write(_completion(target), {"identity": dict(identity), "files": _top_files(target)})


def completed_identity(target: Path) -> dict[str, Any] | None:
    """Return the identity of the work that completed an output; None if the output is of other origin, or was changed since."""
    folder = units_folder(target)
    with suppress(FileNotFoundError, NotADirectoryError, KeyError, ValueError):
        known = json.loads(_completion(target).read_text(encoding="utf-8"))
        if known["files"] == _top_files(target):
            return dict(known["identity"])
    with suppress(FileNotFoundError, NotADirectoryError, KeyError, ValueError):
        # A process was killed between moving the output and recording that.
        if folder.exists() and not (folder / "store").exists() and target.exists():
            return dict(WorkUnits(folder).plan["identity"])
    return None


def _completion(target: Path) -> Path:
    return _beside(target, "done.json")


def _top_files(folder: Path) -> list[list[Any]]:
    """Return name, size and time of change of the files directly in a folder, which say whether it is still the same output.

    At an address there are no such times; the content of the metadata has to do.
    """
    if isinstance(folder, Address):
        return [folder.fingerprint()]
    files = [(entry.name, entry.stat()) for entry in os.scandir(folder) if entry.is_file()]
    return [[name, about.st_size, about.st_mtime_ns] for name, about in sorted(files, key=lambda file: file[0])]


def _write(path: Path, values: Mapping[str, Any]) -> None:
    with replacing_file(path) as temporary:
        temporary.write_text(json.dumps(dict(values)), encoding="utf-8")


def _myself() -> dict[str, Any]:
    return {"place": _place(), "pid": os.getpid(), "started": _started(os.getpid())}


def _place() -> list[str]:
    """Return what tells one set of process numbers from another: the machine, its start, and the container."""
    place = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with suppress(OSError):
            place.append(os.readlink(path) if path.endswith("pid") else Path(path).read_text(encoding="utf-8").strip())
    return place


def _started(pid: int) -> str | None:
    """Return when a process of this machine was started, in ticks; "?" if that is not known, None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *rest = text.rpartition(")")[2].split()
        return None if state in "ZX" else rest[18]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except (OSError, IndexError):
        return "?"
    try:  # macOS
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "?"
