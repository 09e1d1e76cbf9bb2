"""Text for names, shapes and sizes from files, in messages and listings."""

from __future__ import annotations

import math
from collections.abc import Sequence


def printable_name(name: str) -> str:
    """Return a name from a file in a form safe to print: line breaks, terminal codes and broken text become escapes."""
    return name if name.isprintable() else ascii(name)


def printable_shape(shape: Sequence[int]) -> str:
    """Return a shape as text: (3, 4, 5) gives "3x4x5", and () gives "a single number"."""
    return "x".join(map(str, shape)) or "a single number"


def printable_value(value: float, spread: float) -> str:
    """Return a number as text, with so many digits that differences of 1e-4 of `spread` show: 101325.02 for a spread of 0.02."""
    ratio = abs(value) / spread if spread > 0 and math.isfinite(value) else 1
    return f"{value:.{max(6, 4 + math.ceil(math.log10(ratio or 1)))}g}"


def printable_bytes(size: float) -> str:
    """Return a number of bytes as text with a unit: 1536 gives "1.5 KiB"."""
    power = max(0, min(4, (int(size).bit_length() - 1) // 10))
    return f"{size / 1024**power:.4g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
