"""Progress bars."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(total: int | None, label: str, unit: str, done: int = 0) -> Any:
    """Return a tqdm bar with the time left (if `total` is known), redrawn twice a second on a terminal, else every 10 s."""
    interval = 0.5 if sys.stderr.isatty() else 10.0
    return tqdm(total=total, initial=done, desc=label, unit=unit, mininterval=interval, maxinterval=2 * interval)
