"""One look for all progress bars."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(total: int | None, label: str, unit: str, done: int = 0) -> Any:
    """A bar with an estimate of the time left (of a known total), drawn twice a second, into a file every ten seconds."""
    interval = 0.5 if sys.stderr.isatty() else 10.0
    return tqdm(total=total, initial=done, desc=label, unit=unit, mininterval=interval, maxinterval=2 * interval)
