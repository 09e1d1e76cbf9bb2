"""Names that come from other people's files, as one line that shows what it is."""

from __future__ import annotations


def plain(name: str, length: int | None = None) -> str:
    """A name without line breaks, control and direction marks, cut to `length` characters."""
    name = "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in name)
    return name if length is None or len(name) <= length else f"{name[: length - 1]}\N{HORIZONTAL ELLIPSIS}"
