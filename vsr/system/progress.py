"""Output on a terminal: progress bars and colours."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

BOLD, YELLOW, RED, PLAIN = "\x1b[1m", "\x1b[33m", "\x1b[31m", "\x1b[0m"
BEST = re.compile(r"^\S+ \* .*$", re.M)  # the row of a table whose name has a star


class TerminalFormatter(logging.Formatter):
    """Formatter of messages that names warnings, and prints them and the best row of a table in colour on a terminal.

    Files and pipes get the plain message, and so does a terminal where the environment variable NO_COLOR is set (no-color.org).
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the message of a record."""
        text = super().format(record)
        if record.levelno == logging.WARNING and not text.startswith("warning"):
            text = f"warning   {text}"
        if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
            return text
        if record.levelno >= logging.WARNING:
            return f"{RED if record.levelno >= logging.ERROR else YELLOW}{text}{PLAIN}"
        return BEST.sub(lambda row: f"{BOLD}{row[0]}{PLAIN}", text)


@contextmanager
def printing() -> Iterator[None]:
    """Print to a reader that may end before the output does (`| head`): what it does not read is dropped."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # nothing can be written at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def progress_bar(total: int | None, label: str, unit: str, done: int = 0) -> Any:
    """Return a tqdm bar with the time left (if `total` is known), redrawn twice a second on a terminal, else every 10 s.

    A bar without a label shows nothing.
    """
    interval = 0.5 if sys.stderr.isatty() else 10.0
    return tqdm(
        total=total, initial=done, desc=label, unit=unit, mininterval=interval, maxinterval=2 * interval, disable=not label
    )


def duration_text(seconds: float) -> str:
    """Return a duration in words, such as "90 s", "12 min" or "3.5 hours"."""
    for unit, length in (("days", 86400), ("hours", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.0f} s"
