"""Client of the child process that parses foreign files: a crash of a C library there becomes a one-line error here.

One child serves all files that this process reads. The first file starts the child, and the child ends with this process.
"""

from __future__ import annotations

import atexit
import itertools
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from vsr.errors import UserError
from vsr.io.readers.isolated import child
from vsr.io.readers.isolated.messages import InvalidMessage, receive_message
from vsr.io.readers.printable import printable_bytes, printable_name

MEMORY = 2**33  # bytes that the child may allocate, at most half of the machine's
SECONDS = 120.0  # timeout without an answer or a sign of life
DAMAGED = "the file is damaged, or was made to do that; fetch or write it again, or give another one"
_numbers = itertools.count()


def run_isolated(path: Path, function: Callable[..., Any], *args: Any) -> Any:
    """Call `function(*args)` in the child process that parses files, and return the function's value.

    Args:
        path: The file that the function parses, named in error messages.
        function: A function at the top level of a module. Its value must be of a type that `messages.py` can send.
        args: Arguments that can be pickled.

    Raises:
        OSError: If the function raises OSError.
        UserError: If the function raises any other error, or the parser crashes, runs out of memory or does not answer.
    """
    return _child().ask(path, "run", function, args)


def stop_isolated_child() -> None:
    """Kill the child process that parses files, if it runs; the next file starts a new child."""
    if _current is not None:
        _current.stop()


class ChildObject:
    """Handle of an object in the child process. `make(*args)` makes the object at the first call and in each new child."""

    def __init__(self, path: Path, make: Callable[..., Any], *args: Any) -> None:
        self.path, self._make = path, (make, args)
        self._key = os.getpid(), next(_numbers)
        weakref.finalize(self, _forget, self._key).atexit = False

    def __reduce__(self) -> Any:
        return ChildObject, (self.path, self._make[0], *self._make[1])

    def call(self, name: str, *args: Any) -> Any:
        """Return the attribute `name`, or for a method the result of a call with `args`. Raise as `run_isolated` does."""
        return _child().ask(self.path, "object", self._key, self._make, name, args, None)

    def forget(self) -> None:
        """Delete the object in the child; the next call makes it again."""
        _forget(self._key)

    def iterate(self, name: str, *args: Any) -> Iterator[Any]:
        """Call the method `name` in the child and yield the items of its iterator. Raise the errors of `run_isolated`."""
        asked, key = _child(), (os.getpid(), next(_numbers))
        asked.ask(self.path, "object", self._key, self._make, name, args, key)
        try:
            while (answer := asked.answer(self.path, "next", key))[0] != "end":
                yield answer[1]
        finally:
            asked.forget(key)


class Child:
    """Connection to a newly started child process, which parses files and takes one request at a time."""

    def __init__(self) -> None:
        self.memory = min(MEMORY, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
        self._lock = threading.Lock()
        self._forgotten: list[Any] = []
        self._ready = False
        self._stderr: Any = tempfile.TemporaryFile()  # noqa: SIM115 - stderr of libraries, kept out of the user's terminal
        self._channel, theirs = socket.socketpair()
        with theirs:
            # A process group of its own, so that Ctrl-C in a terminal reaches only this process.
            self.process = subprocess.Popen(
                [sys.executable, child.__file__, str(theirs.fileno()), str(self.memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                pass_fds=[theirs.fileno()],
                process_group=0,
            )
        self._send(sys.path)

    def ask(self, path: Path, *request: Any) -> Any:
        """Send a request about the file `path` and return the value of the answer. Raise the errors of `run_isolated`."""
        return self.answer(path, *request)[1]

    def answer(self, path: Path, *request: Any) -> tuple[str, Any]:
        """Send a request; return ("value", value), or ("end", None) from an exhausted iterator. Raise as `run_isolated`."""
        with self._lock:
            kind, value = self._exchange(path, request)
        if kind == "memory":
            raise self._out_of_memory(path)
        if kind == "user":
            raise UserError(value)
        if kind == "os":
            raise OSError(*value)
        if kind == "other":
            name, text, trace = value
            first = printable_name((text.strip().splitlines() or [""])[0])
            raise UserError(f"{path}: cannot be read ({name}: {first}); {DAMAGED}") from RuntimeError(trace)
        return kind, value

    def forget(self, key: Any) -> None:
        """Delete the object or iterator `key` in the child at once or, while a request is under way, with the next request."""
        self._forgotten.append(key)
        if self.alive and self._ready and self._lock.acquire(blocking=False):
            try:
                with suppress(UserError):
                    self._exchange(Path(), ("forget",))
            finally:
                self._lock.release()

    @property
    def alive(self) -> bool:
        """Return True if the child process runs and can take requests."""
        return self._channel.fileno() >= 0 and self.process.poll() is None

    def stop(self) -> None:
        """Kill the child process and close the socket and the pipes to it."""
        self._channel.close()
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._stderr.close()

    def _exchange(self, path: Path, request: tuple[Any, ...]) -> tuple[str, Any]:
        forgotten, self._forgotten = self._forgotten, []
        try:
            self._channel.settimeout(SECONDS)
            if not self._ready:
                self._ready = receive_message(self._channel, 0)[0] == "ready"
            self._send((_current_folder(), forgotten, *request))
            while (answer := receive_message(self._channel, self.memory))[0] == "busy":
                pass
            return answer
        except TimeoutError:
            self.stop()
            why = f"{path}: its parser did not answer for {SECONDS:g} s"
            raise UserError(f"{why}; the file is damaged, or its disk hangs: copy it to another disk or fetch it again") from None
        except (EOFError, OSError):
            self._raise_crash(path)
        except InvalidMessage as error:
            self.stop()
            raise UserError(f"{path}: its parser went wrong ({error}); {DAMAGED}") from error
        except BaseException:  # Ctrl-C: the next request would read the answer to this request
            self.stop()
            raise

    def _send(self, request: Any) -> None:
        data = pickle.dumps(request)
        self._channel.sendall(struct.pack("<Q", len(data)) + data)

    def _raise_crash(self, path: Path) -> NoReturn:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        status = self.process.poll()
        text = ""
        if not self._stderr.closed:  # closed by another thread, whose request ended the child
            self._stderr.seek(0)
            text = self._stderr.read().decode("utf-8", "replace").strip()
        self.stop()
        if not self._ready:
            raise RuntimeError(f"the process that reads files did not start (status {status}): {text}")
        if status == -signal.SIGKILL:
            raise UserError(f"{path}: its parser was killed, as when memory runs out; free some, or give a smaller file")
        if "bad_alloc" in text or NO_MEMORY_LEFT in text:
            raise self._out_of_memory(path)
        name = signal.Signals(-status).name if status is not None and -status in set(signal.Signals) else f"status {status}"
        raise UserError(f"{path}: its parser crashed ({name}); {DAMAGED}")

    def _out_of_memory(self, path: Path) -> UserError:
        limit = printable_bytes(self.memory)
        return UserError(
            f"{path}: its parser ran out of memory ({limit}); the file is damaged, or its frames or blocks are too large: "
            f"write it again in smaller ones"
        )


def _current_folder() -> str | None:
    """Return the current folder, which may have changed since the child was started, or None if the folder was removed."""
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


NO_MEMORY_LEFT = "MemoryError"  # last output of an interpreter without memory for an answer
_guard = threading.Lock()
_current: Child | None = None


def _child() -> Child:
    global _current
    with _guard:
        if _current is None or not _current.alive:
            if _current is not None:
                _current.stop()
            _current = Child()
        return _current


def _forget(key: Any) -> None:
    if _current is not None:
        _current.forget(key)


def _forget_in_fork() -> None:
    """Drop the child in a forked process, because two processes with one child would take each other's answers."""
    global _current, _guard
    _guard = threading.Lock()
    if _current is not None:
        _current.process.returncode = 0  # only the original process waits for the child
    _current = None


os.register_at_fork(after_in_child=_forget_in_fork)
atexit.register(stop_isolated_child)
