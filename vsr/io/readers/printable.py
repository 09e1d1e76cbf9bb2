"""Text for names, shapes and sizes from files, in messages and listings."""

from __future__ import annotations

from collections.abc import Sequence


def printable_name(name: str) -> str:
    """Return a name from a file in a form safe to print: line breaks, terminal codes and broken text become escapes."""
    return name if name.isprintable() else ascii(name)


def printable_shape(shape: Sequence[int]) -> str:
    """Return a shape as text: (3, 4, 5) gives "3x4x5", and () gives "a single number"."""
    return "x".join(map(str, shape)) or "a single number"


def printable_bytes(size: float) -> str:
    """Return a number of bytes as text with a unit: 1536 gives "1.5 KiB"."""
    power = max(0, min(4, (int(size).bit_length() - 1) // 10))
    return f"{size / 1024**power:.4g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
