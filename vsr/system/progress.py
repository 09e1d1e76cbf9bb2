"""Progress bars."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


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
