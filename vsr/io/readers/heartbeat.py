"""A sign of life from long work on a file, for whoever waits for its answer in another process; nothing where nobody does."""

from __future__ import annotations

from collections.abc import Callable

_listener: Callable[[], None] | None = None


def listen(listener: Callable[[], None]) -> None:
    """Have `listener` called at each sign of life in this process."""
    global _listener
    _listener = listener


def beat() -> None:
    """Say that work goes on; for loops over packets and objects of a file that may take minutes."""
    if _listener is not None:
        _listener()
