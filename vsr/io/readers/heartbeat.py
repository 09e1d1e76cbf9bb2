"""Signs of life during long work on a file, for a process that waits for the result."""

from __future__ import annotations

from collections.abc import Callable

_listener: Callable[[], None] | None = None


def listen_to_heartbeat(listener: Callable[[], None]) -> None:
    """Call `listener` at each later `send_heartbeat` in this process."""
    global _listener
    _listener = listener


def send_heartbeat() -> None:
    """Report that work goes on; call this in loops over packets or objects that may take minutes. No-op without a listener."""
    if _listener is not None:
        _listener()
