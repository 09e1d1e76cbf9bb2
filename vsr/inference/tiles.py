"""Division of large frames into tiles that, put together, give the same result as the whole frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, isqrt

Span = tuple[int, int]


@dataclass(frozen=True)
class Tile:
    """Tile of an LR frame, with the rows and columns that the network must see to compute it.

    `y` and `x` are the rows and columns to compute, counted in the frame. `seen_y` and `seen_x` are the rows and columns that
    the network sees, counted in the frame with its added border.
    """

    y: Span
    x: Span
    seen_y: Span
    seen_x: Span


def split_into_tiles(height: int, width: int, reach: int, area: int, border: Span = (0, 0)) -> Iterator[Tile]:
    """Cut an LR frame into tiles, so that the network sees at most about `area` pixels for each tile.

    For each tile, the network also sees `reach` pixels on each side, but no further than the border around the frame. So each
    SR pixel depends on the same pixels as without tiles, and differs only by rounding. A frame of at most `area` pixels is one
    tile. A larger frame is cut into strips of whole rows or into squares, whichever makes the network see fewer pixels twice.

    Args:
        height: Rows of the frame.
        width: Columns of the frame.
        reach: LR pixels on each side on which an SR pixel depends.
        area: LR pixels that the network may see for a tile.
        border: (y, x) pixels that were added on each side of the frame; they are seen but never computed.
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
    """Cut the range 0..size into spans of nearly equal length, none longer than `most`."""
    count = ceil(size / most)
    edges = [i * size // count for i in range(count + 1)]
    yield from pairwise(edges)
