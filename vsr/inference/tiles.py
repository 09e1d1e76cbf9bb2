"""Division of large frames into tiles that give, put together, the result of the whole frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, isqrt

Span = tuple[int, int]


@dataclass(frozen=True)
class Tile:
    """Rows and columns of an LR frame that a tile computes, and those that the network sees for that, counted with the border."""

    y: Span
    x: Span
    seen_y: Span
    seen_x: Span


def split_into_tiles(height: int, width: int, reach: int, area: int, border: Span = (0, 0)) -> Iterator[Tile]:
    """Cut an LR frame into tiles, each of which sees about `area` pixels at most.

    The network sees `reach` pixels more than a tile computes on each side on which the frame continues, and the border of the
    frame elsewhere. So a pixel depends on the same pixels as without tiles, and differs by rounding only. A frame that fits is
    one tile; else tiles are strips of whole rows or squares, whichever sees fewer pixels twice.

    Args:
        height, width: of the frame, in LR pixels.
        reach: LR pixels on each side on which an SR pixel depends.
        area: LR pixels that a tile may see.
        border: (y, x) pixels per side of a made-up border, which are seen and never computed.
    """
    above, left = border
    whole_height, whole_width = height + 2 * above, width + 2 * left
    if whole_height * whole_width <= area:
        rows, columns = height, width
    else:
        strip, square = (max(8, side - 2 * reach) for side in (area // whole_width, isqrt(area)))
        strips_are_better = (strip + 2 * reach) / strip <= ((square + 2 * reach) / square) ** 2
        rows, columns = (strip, width) if strips_are_better else (square, square)
    for top, bottom in _split_evenly(height, rows):
        for first, last in _split_evenly(width, columns):
            seen_y = max(0, top + above - reach), min(whole_height, bottom + above + reach)
            seen_x = max(0, first + left - reach), min(whole_width, last + left + reach)
            yield Tile((top, bottom), (first, last), seen_y, seen_x)


def _split_evenly(size: int, most: int) -> Iterator[Span]:
    """Cut 0..size into pieces of nearly equal length, none longer than `most`."""
    count = ceil(size / most)
    edges = [i * size // count for i in range(count + 1)]
    yield from pairwise(edges)
