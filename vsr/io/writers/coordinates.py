"""Coordinates of a finer grid: the positions of SR pixels between and around the centres of LR pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vsr.geometry import Origin, lr_position
from vsr.io.readers.axes import GEOGRAPHIC

POLE = 90.0  # degrees
EAST = ("degrees_east", "degree_east", "degrees_e", "degree_e")
NORTH = ("degrees_north", "degree_north", "degrees_n", "degree_n")


def refine_coordinates(
    values: np.ndarray, scale: int, axis: int = 0, period: float | None = None, origin: Origin | None = None
) -> np.ndarray:
    """Compute the coordinates of pixel centres on a grid that is `scale` times finer along one axis.

    `vsr.geometry.lr_position` says where pixels of the finer grid lie in the coarse grid. Between two coarse centres,
    coordinates are interpolated linearly. Before the first and after the last centre, they are extrapolated with the slope at
    that end. So uniform grids stay uniform, and stretched grids stay monotonic. Coordinates with several dimensions
    (curvilinear grids) are refined along one axis after the other, which is bilinear.

    Args:
        values: Numbers of any shape; integers become float64, floats keep their precision.
        scale: Pixels of the finer grid per pixel of the coarse grid.
        axis: The axis to refine.
        period: Period of an angle, 360 for degrees. Where an angle jumps by more than half a period, e.g. from 359 to 1, it is
            interpolated the short way round, also beside missing values. None for other coordinates.
        origin: Position of the first coarse pixel, in fine pixels from the first fine pixel; "node" for shared end points; None
            for (scale - 1) / 2, where each coarse pixel lies in the middle of its block (see
            `vsr.degradations.base.Degradation.origin`).

    Raises:
        ValueError: The axis has fewer than two pixels.
    """
    length = values.shape[axis]
    if length < 2:
        raise ValueError("one pixel alone has no spacing")
    kept = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
    coarse = np.moveaxis(values.astype(np.float64), axis, -1)
    steps, jumps = np.diff(coarse), False
    if period is not None:
        with np.errstate(invalid="ignore"):
            jumps = bool((np.abs(steps) > period / 2).any())
            steps = np.where(np.abs(steps) > period / 2, (steps + period / 2) % period - period / 2, steps)
    position = np.asarray(lr_position(length, scale, (scale - 1) / 2 if origin is None else origin))
    left = np.clip(np.floor(position).astype(int), 0, length - 2)
    fine = coarse[..., left] + (position - left) * steps[..., left]
    # A value beyond the last centre is measured from that centre: behind a jump, the step before it ends elsewhere.
    beyond = position >= length - 1
    fine[..., beyond] = coarse[..., -1:] + (position[beyond] - (length - 1)) * steps[..., -1:]
    if jumps and period is not None:
        low = -period / 2 if np.nanmin(coarse) < 0 else 0.0
        fine = (fine - low) % period + low
    return np.moveaxis(fine, -1, axis).astype(kept)


def refine_field(
    name: str,
    attrs: Mapping[str, Any],
    values: np.ndarray,
    axes: Sequence[int],
    scale: int,
    origins: Sequence[Origin | None] | None = None,
) -> tuple[np.ndarray, int]:
    """Refine the coordinate `name` along the axes that count rows or columns; latitudes stay between the poles.

    Args:
        name: Name of the coordinate.
        attrs: Attributes of the coordinate.
        values: Values of the coordinate, not packed.
        axes: Axes to refine.
        scale: Pixels of the finer grid per pixel of the coarse grid.
        origins: `origin` of `refine_coordinates` for each of the axes; None for the middle of blocks.

    Returns:
        The refined values, and the number of latitudes that would lie beyond a pole.
    """
    period = coordinate_period(attrs, name)
    inside = is_latitude(attrs, name) and bool(np.nanmax(np.abs(values), initial=0) <= POLE)
    for axis, origin in zip(axes, origins or [None] * len(axes), strict=True):
        values = refine_coordinates(values, scale, axis, period, origin)
    if not inside or not (beyond := int((np.abs(values) > POLE).sum())):
        return values, 0
    return (_before_the_poles(values) if values.ndim == 1 else np.clip(values, -POLE, POLE)), beyond


def _before_the_poles(latitudes: np.ndarray) -> np.ndarray:
    """Move latitudes beyond a pole: the outermost onto the pole, the others evenly between it and the last one inside."""
    moved = latitudes.copy()
    for sign in (-1, 1):
        outside = np.flatnonzero(sign * latitudes >= POLE)
        if not len(outside) or not (sign * latitudes > POLE).any():
            continue
        first = outside[0] == 0  # the rows at the beginning, otherwise those at the end
        count = len(outside)
        inner = latitudes[count] if first else latitudes[-count - 1]
        spread = np.linspace(sign * POLE, inner, count + 1)[:-1]
        moved[outside] = spread if first else spread[::-1]
    return moved


def refine_bounds(bounds: np.ndarray, scale: int, centres: np.ndarray) -> np.ndarray:
    """Divide each cell of a one-dimensional grid into `scale` cells.

    Args:
        bounds: Edges of the coarse cells, (N, 2).
        scale: Fine cells per coarse cell.
        centres: Centres of the fine cells, (N * scale,). Latitudes at a pole are not in the middle of their equal parts; their
            cells are bounded halfway between centres.

    Returns:
        Edges of the fine cells, (N * scale, 2).
    """
    coarse = bounds.astype(np.float64)
    share = np.arange(scale + 1) / scale
    edges = coarse[:, :1] + (coarse[:, 1:] - coarse[:, :1]) * share
    rows = centres.reshape(len(coarse), scale)
    low, high = edges.min(1), edges.max(1)
    between = (rows[:, 1:] + rows[:, :-1]) / 2
    # A centre on the edge of its part belongs to rows that were moved from beyond the pole.
    part_low, part_high = np.minimum(edges[:, :-1], edges[:, 1:]), np.maximum(edges[:, :-1], edges[:, 1:])
    tolerance = 1e-9 * (high - low)[:, None]
    misplaced = ((rows <= part_low + tolerance) | (rows >= part_high - tolerance)).any(1)
    edges[misplaced, 1:-1] = np.clip(between[misplaced], low[misplaced, None], high[misplaced, None])
    kept = bounds.dtype if bounds.dtype.kind == "f" else np.dtype(np.float64)
    return np.stack([edges[:, :-1].ravel(), edges[:, 1:].ravel()], 1).astype(kept)


def coordinate_period(attrs: Mapping[str, Any], name: str = "") -> float | None:
    """Return 360.0 for a coordinate whose name or CF attributes say longitude (2 pi for radians), else None."""
    units, standard = (str(attrs.get(key, "")).lower() for key in ("units", "standard_name"))
    east = units in EAST or standard in ("longitude", "grid_longitude")
    named = name.rpartition("/")[2].lower()
    east = east or (named in GEOGRAPHIC and "lon" in named and units not in NORTH and not units.startswith(("m", "km")))
    east = east or (str(attrs.get("axis", "")).lower() == "x" and units.startswith("degree"))
    if not east:
        return None
    return 2 * math.pi if units.startswith("rad") else 360.0


def is_latitude(attrs: Mapping[str, Any], name: str = "") -> bool:
    """Return True for a coordinate whose name or CF attributes say latitude in degrees."""
    units, standard = (str(attrs.get(key, "")).lower() for key in ("units", "standard_name"))
    named = name.rpartition("/")[2].lower()
    in_degrees = not units or units.startswith("degree")
    return in_degrees and (
        units in NORTH or standard in ("latitude", "grid_latitude") or (named in GEOGRAPHIC and "lat" in named)
    )
