"""The process in which files are parsed: it does what `isolated` asks over a socket, and ends with the process that asks.

Started as a script with the number of the socket and its limit of memory in bytes. Requests are pickles of the parent, which is
trusted; answers are not (`answers`). Standard input is a pipe on which nothing comes: its end says that the parent is gone.
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


def main(channel: socket.socket, memory: int) -> None:
    """Answer until nobody asks any more."""
    _end_with_parent()
    _limit(memory)
    sys.path[:] = pickle.loads(_request(channel))
    from vsr.io.readers import heartbeat as pulse
    from vsr.io.readers.isolated import messages as answers

    last = time.monotonic()

    def busy() -> None:
        nonlocal last
        if time.monotonic() - last > BEAT:
            answers.send(channel, "busy")
            last = time.monotonic()

    pulse.listen(busy)
    answers.send(channel, "ready")
    objects: dict[Any, Any] = {}
    while request := _request(channel):
        last = time.monotonic()
        try:
            kind, value = _handle_request(objects, *pickle.loads(request))
            answers.send(channel, kind, value)
        except BrokenPipeError:
            return
        except Exception as error:
            answers.send(channel, *_problem(error))


def _handle_request(objects: dict[Any, Any], here: str | None, forget: list[Any], what: str, *rest: Any) -> tuple[str, Any]:
    """What a request asks for: run a function, ask an object that is made when it is not there yet, or go on with an iterator."""
    if here is not None:
        with suppress(OSError):  # not allowed there: the paths that are asked for will say so
            os.chdir(here)
    for key in forget:
        objects.pop(key, None)
    if what == "run":
        function, args = rest
        return "value", function(*args)
    if what == "next":
        item = next(objects[rest[0]], objects)  # a value that no iterator gives
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


def _problem(error: Exception) -> tuple[str, Any]:
    """The kind of an error, and what is to be said about it."""
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


def _request(channel: socket.socket) -> bytes:
    """Empty when the other side is gone."""
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


def _end_with_parent() -> None:
    """Have the system kill this process when the parent's end of the pipe closes, whatever a library is doing at that time.

    A thread that listens would need the interpreter, which a library that hangs holds; Linux's signal for the death of a parent
    comes when the thread ends that started this process; the pipe's own signal, SIGIO, does not end a process that is stopped.
    """
    if hasattr(fcntl, "F_SETSIG"):  # Linux; elsewhere SIGIO, whose default action is the end as well
        fcntl.fcntl(0, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([0], [], [], 0)[0]:  # gone before
        os._exit(0)


def _limit(memory: int) -> None:
    """Of what is allocated, not of addresses: threads and libraries reserve gigabytes of those that they never use."""
    for kind, limit in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        with suppress(OSError, ValueError):  # systems that do not know it
            resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
