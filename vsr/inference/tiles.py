"""How a frame that is too large is cut so that the pieces, put together, are what the whole would have given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, isqrt

Span = tuple[int, int]


@dataclass(frozen=True)
class Tile:
    """What of the output a tile gives (y, x, in LR pixels) and what of the frame it must see for that."""

    y: Span
    x: Span
    seen_y: Span
    seen_x: Span


def tiles(height: int, width: int, reach: int, area: int, border: Span = (0, 0)) -> Iterator[Tile]:
    """Tiles of an LR frame of height x width, each of which sees about `area` pixels at most.

    A tile sees `reach` pixels more than it gives on every side where the frame goes on; where it does not, the network meets the
    frame's own border, as it does with whole frames. So every pixel depends on what it depends on without tiles, and differs by
    float rounding only. `border` counts pixels (y, x) per side of a made-up border, which are seen and never given.

    Whole frames where they fit; else strips of whole rows or squares, whichever sees fewer pixels more than once.
    """
    above, left = border
    whole_height, whole_width = height + 2 * above, width + 2 * left
    if whole_height * whole_width <= area:
        rows, columns = height, width
    else:
        strip, square = (max(8, side - 2 * reach) for side in (area // whole_width, isqrt(area)))
        strips_are_better = (strip + 2 * reach) / strip <= ((square + 2 * reach) / square) ** 2
        rows, columns = (strip, width) if strips_are_better else (square, square)
    for a, b in _evenly(height, rows):
        for c, d in _evenly(width, columns):
            seen_y = max(0, a + above - reach), min(whole_height, b + above + reach)
            seen_x = max(0, c + left - reach), min(whole_width, d + left + reach)
            yield Tile((a, b), (c, d), seen_y, seen_x)


def _evenly(size: int, most: int) -> Iterator[Span]:
    """0..size in pieces of nearly equal length, none longer than `most`."""
    count = ceil(size / most)
    edges = [i * size // count for i in range(count + 1)]
    yield from pairwise(edges)
