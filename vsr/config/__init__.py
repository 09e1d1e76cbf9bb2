"""Schemas, checks and overrides of configs; the package imports no torch."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# The configs are vsr/conf in an installed package and conf/ beside vsr/ in a checkout.
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"
