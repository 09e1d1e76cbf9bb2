"""Safe display of names from other people's files."""

from __future__ import annotations


def escape_name(name: str, length: int | None = None) -> str:
    """Replace line breaks, control characters and direction marks in a name, and cut the name to `length` characters."""
    name = "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in name)
    return name if length is None or len(name) <= length else f"{name[: length - 1]}\N{HORIZONTAL ELLIPSIS}"
