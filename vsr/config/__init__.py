"""Config schemas, checks and overrides; imports no torch."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
CONF = PACKAGE.parent / "conf"
