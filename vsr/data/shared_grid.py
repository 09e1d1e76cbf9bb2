"""Pixel grid that all movies of a data module share, and the borders of their frames: continued, mirrored or walls."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NoReturn

import numpy as np

from vsr.degradations.border import Border, Periodic, choose_periodic
from vsr.errors import UserError
from vsr.geometry import PixelGrid
from vsr.io.readers.printable import printable_shape
from vsr.models.base import LRLayout
from vsr.types import Movie, Offset


def find_shared_grid(grids: Sequence[PixelGrid]) -> PixelGrid:
    """Return the size of the pixels that all movies share; a grid of unknown size with a reason if they differ."""
    grid = grids[0] if len(set(grids)) == 1 else PixelGrid(reason="its movies have different grids")
    if len({each.axes for each in grids}) > 1:  # pixels of one size in different places
        grid = replace(grid, axes=None)
    return grid


def find_border(
    name: str,
    typed: Periodic | None,
    grid: PixelGrid,
    *,
    widths: Collection[int],
    scale: int,
    layout: LRLayout,
    vectors: Sequence[tuple[int, int]],
    offset: Offset,
    walls: bool,
) -> tuple[Border, str | None]:
    """Return how frames continue beyond their borders, as typed or by coordinates, and a sentence on what was not typed.

    Args:
        name: Name of the data, for messages.
        typed: What the user typed; None for what the coordinates say.
        grid: The pixels of HR frames.
        widths: Numbers of columns of the movies.
        scale: HR pixels per LR pixel.
        layout: Channels of LR frames.
        vectors: Channels (u, v) of each vector.
        offset: The physical value that is 0 in frames, or one per channel.
        walls: True if the outermost rows and columns are walls.

    Returns:
        The border, and the sentence; None where nothing is to be said.

    Raises:
        UserError: If what is typed contradicts the coordinates, the inputs or the number of columns, if vectors cannot turn, or
            if frames go on beyond walls.
    """
    cut, told = any(width % scale for width in widths), None
    on_grid = replace(grid, closed="none") if cut else grid
    periodic = choose_periodic(typed, on_grid, min(widths, key=lambda width: width % 2 == 0), name, "data.periodic")
    if periodic != "none" and layout.bordered:
        if typed is not None:
            raise UserError(
                f"{name}: data.periodic={periodic}: with data.inputs=[position], frames say where their borders are; "
                f"leave one of the two out"
            )
        told, periodic = "frames are mirrored at their borders, as data.inputs=[position] says where these are", "none"
    elif periodic == "globe" and (odd := [width // scale for width in widths if width // scale % 2]):
        if typed is not None:
            raise UserError(
                f"{name}: data.periodic=globe: a row beyond a pole is turned by half a circle, and LR frames have "
                f"{odd[0]} columns, which is odd; type data.periodic=x"
            )
        told = f"longitudes go round the globe, and rows are mirrored at the poles: {odd[0]} LR columns are odd"
        periodic = "x"
    elif typed is None and periodic != "none":
        poles = ", and rows go on beyond the poles" if periodic == "globe" else ""
        told = f"longitudes go round the globe{poles} (data.periodic=none if not)"
    elif cut and grid.closed != "none":
        told = f"longitudes go round the globe, but scale={scale} cuts columns: frames are mirrored there"
    if have_offsets(vectors, offset):
        raise UserError(
            f"{name}: data.vectors: these components hardly differ from a number that is not 0, they do not turn; "
            f"leave the key out"
        )
    if walls and periodic != "none":
        raise UserError(
            f"{name}: data.walls=true: its frames go on beyond their borders (data.periodic={periodic}); leave data.walls out, "
            f"or type data.periodic=none"
        )
    return Border(periodic, {channel: 0.0 for pair in vectors for channel in pair}, layout.packed), told


def parse_walls(given: bool | None, vectors: Sequence[tuple[int, int]], name: str) -> bool:
    """Return True if the outermost rows and columns are walls. Raises UserError for walls if no velocity is known.

    Args:
        given: What the user gives; None for no walls.
        vectors: Channels (u, v) of each vector that is scored.
        name: Name of the data, for messages.
    """
    if given and not vectors:
        raise UserError(
            f"{name}: data.walls=true: is for velocities, and no two variables are known to be components of one; type "
            f"data.vectors=[[u,v]] with their names"
        )
    return bool(given)


def refuse_cut_walls(movie: Movie, whole: Sequence[int], scale: int) -> NoReturn:
    """Raise UserError for a movie with walls whose frames are cut to `whole` (H, W) for the scale."""
    raise UserError(
        f"{movie.name}: data.walls=true: frames of {printable_shape(movie.shape[2:])} are cut to {printable_shape(whole)} for "
        f"scale={scale}, without the wall at the end; leave data.walls out"
    )


def have_offsets(vectors: Sequence[tuple[int, int]], offset: Offset) -> bool:
    """Return True if a component of a vector is not 0 in frames where it is 0."""
    offsets = np.ravel(offset)
    return any(offsets[channel if len(offsets) > 1 else 0] != 0 for pair in vectors for channel in pair)
