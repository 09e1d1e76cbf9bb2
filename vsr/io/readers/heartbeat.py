"""Signs of life from a process that works long on a file, for another process that waits for the result."""

from __future__ import annotations

from collections.abc import Callable

_listener: Callable[[], None] | None = None


def listen_to_heartbeat(listener: Callable[[], None]) -> None:
    """Register `listener`, which every later call of `send_heartbeat` in this process calls."""
    global _listener
    _listener = listener


def send_heartbeat() -> None:
    """Tell the listener, if any, that work goes on; call this in loops over packets or objects that may take minutes."""
    if _listener is not None:
        _listener()
