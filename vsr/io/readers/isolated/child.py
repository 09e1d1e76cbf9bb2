"""Child process that parses files for its parent process (`parent.py`) over a socket, and ends with the parent.

The parent starts this file as a script with two arguments: the number of the socket and the memory limit in bytes. Requests are
pickles, since the child trusts its parent. Answers are plain data (`messages.py`), since the parent does not trust the child.
Standard input is a silent pipe, which closes when the parent ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import re
import resource
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

BEAT = 1.0  # seconds between two signs of life
NO_MEMORY = re.compile(r"cannot allocate|unable to allocate|allocation failed|out of memory", re.I)


def run_child(channel: socket.socket, memory: int) -> None:
    """Answer the parent's requests until the parent closes the socket `channel`; allocate at most `memory` bytes."""
    _exit_with_parent()
    _limit_memory(memory)
    sys.path[:] = pickle.loads(_receive_request(channel))
    from vsr.io.readers import heartbeat
    from vsr.io.readers.isolated import messages

    last = time.monotonic()

    def report_busy() -> None:
        nonlocal last
        if time.monotonic() - last > BEAT:
            messages.send_message(channel, "busy")
            last = time.monotonic()

    heartbeat.listen_to_heartbeat(report_busy)
    messages.send_message(channel, "ready")
    objects: dict[Any, Any] = {}
    while request := _receive_request(channel):
        last = time.monotonic()
        try:
            kind, value = _handle_request(objects, *pickle.loads(request))
            messages.send_message(channel, kind, value)
        except BrokenPipeError:
            return
        except Exception as error:
            messages.send_message(channel, *_describe_error(error))


def _handle_request(objects: dict[Any, Any], here: str | None, forget: list[Any], what: str, *rest: Any) -> tuple[str, Any]:
    """Run a function, call a method of an object (made on first use), or take the next item of an iterator, as requested."""
    if here is not None:
        with suppress(OSError):  # without access to the folder, opening the file fails with a better message
            os.chdir(here)
    for key in forget:
        objects.pop(key, None)
    if what == "run":
        function, args = rest
        return "value", function(*args)
    if what == "next":
        item = next(objects[rest[0]], objects)  # `objects` as the default marks the end
        return ("end", None) if item is objects else ("value", item)
    if what == "forget":
        return "value", None
    key, (make, made_of), method, args, iterator = rest
    if key not in objects:
        objects[key] = make(*made_of)
    value = getattr(objects[key], method)
    value = value(*args) if callable(value) else value
    if iterator is None:
        return "value", value
    objects[iterator] = value
    return "value", None


def _describe_error(error: Exception) -> tuple[str, Any]:
    """Return the kind of an error (memory, user, os or other) and its details, as the child sends them to the parent."""
    from vsr.errors import UserError

    for one in _chain(error):
        text = str(one)
        if isinstance(one, MemoryError) or (isinstance(one, OSError) and one.errno == errno.ENOMEM):
            return "memory", text
        if not isinstance(one, UserError) and NO_MEMORY.search(text):
            return "memory", text
    if isinstance(error, UserError):
        return "user", str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return "os", [error.errno, error.strerror or str(error), None if error.filename is None else str(error.filename)]
    return "other", [type(error).__name__, str(error), traceback.format_exc()]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _receive_request(channel: socket.socket) -> bytes:
    """Receive one request as bytes; return empty bytes if the parent is gone."""
    data = b""
    size = 8
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            return b""
        data += part
        if size == 8 and len(data) == 8:
            size += struct.unpack("<Q", data)[0]
    return data[8:]


def _exit_with_parent() -> None:
    """Have the system kill this process when the parent's end of the pipe closes, even while a library hangs.

    A listening thread would need the interpreter lock, which a hanging library may hold. Linux's parent-death signal comes too
    early, when the thread that started this process ends. SIGIO, the pipe's default signal, does not end a stopped process.
    """
    if hasattr(fcntl, "F_SETSIG"):  # Linux; elsewhere the signal is SIGIO, which ends a running process, too
        fcntl.fcntl(0, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([0], [], [], 0)[0]:  # the parent ended before the signal was set
        os._exit(0)


def _limit_memory(memory: int) -> None:
    """Limit allocated memory to `memory` bytes, but not addresses: threads and libraries reserve unused gigabytes."""
    for kind, limit in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        with suppress(OSError, ValueError):  # some systems lack the limit
            resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


if __name__ == "__main__":
    run_child(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
