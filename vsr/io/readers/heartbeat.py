"""Signs of life during long work on a file, for a process that waits for the result."""

from __future__ import annotations

from collections.abc import Callable

_listener: Callable[[], None] | None = None


def listen(listener: Callable[[], None]) -> None:
    """Call `listener` at each later `beat` in this process."""
    global _listener
    _listener = listener


def beat() -> None:
    """Report that work goes on; call this in loops over packets or objects that may take minutes. No-op without a listener."""
    if _listener is not None:
        _listener()
