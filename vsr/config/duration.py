"""Parser of typed durations (90s, 5min, 1.5h), and check of the config key `budget`."""

from __future__ import annotations

import re

from vsr.errors import UserError

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
LEAST = 5.0  # seconds
PLAN = "plan.json"
FOLLOWS = ("epochs", "recipe.steps")  # what a plan decides


def parse_duration(text: str) -> float:
    """Convert the typed duration of a time budget to seconds.

    Args:
        text: Number with a unit, such as "90s", "5min" or "1.5h"; 5 seconds or more.

    Raises:
        UserError: If the text is no duration, has no unit, or is too short.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)", str(text).strip())
    if found is None or (found[2] and found[2] not in UNITS):
        raise UserError(f"budget={text}: must be a time; type budget=90s, budget=5min or budget=1.5h")
    if not found[2]:
        raise UserError(f"budget={text}: seconds, minutes or hours? type budget={found[1]}s, budget={found[1]}min or {found[1]}h")
    seconds = float(found[1]) * UNITS[found[2]]
    if seconds < LEAST:
        raise UserError(f"budget={text}: must be {LEAST:g} seconds or more; type budget={LEAST:g}s")
    return seconds


def check_duration(text: str | None, given: set[str]) -> None:
    """Check the config key `budget`, the time that a training run may take.

    Args:
        text: Budget as typed; None for a run without a budget.
        given: Keys that the command line overrides.

    Raises:
        UserError: If the text is not a duration, or if `given` has a key that the budget decides (`FOLLOWS`).
    """
    if text is None:
        return
    parse_duration(text)
    for key in FOLLOWS:
        if key in given:
            raise UserError(f"{key}: follows from budget={text}; leave it out, or type budget=null")
