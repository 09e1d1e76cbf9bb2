"""Coordinates of a finer grid: the positions of SR pixels between and around the centres of LR pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

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
    (curvilinear grids) are refined along one axis after the other, which is bilinear. Coordinates of one dimension that are
    even up to rounding are written in one of `WAYS`, so that they equal those of a file that is written so.

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
    origin = (scale - 1) / 2 if origin is None else origin
    if values.ndim == 1 and not jumps and (even := _refine_even(values.astype(kept), scale, origin)) is not None:
        return even.astype(kept)
    position = np.asarray(lr_position(length, scale, origin))
    left = np.clip(np.floor(position).astype(int), 0, length - 2)
    fine = coarse[..., left] + (position - left) * steps[..., left]
    # A value beyond the last centre is measured from that centre: behind a jump, the step before it ends elsewhere.
    beyond = position >= length - 1
    fine[..., beyond] = coarse[..., -1:] + (position[beyond] - (length - 1)) * steps[..., -1:]
    if jumps and period is not None:
        low = -period / 2 if np.nanmin(coarse) < 0 else 0.0
        fine = (fine - low) % period + low
    return np.moveaxis(fine, -1, axis).astype(kept)


class _EvenAxis(NamedTuple):
    """Evenly spaced coordinate: its numbers as they may stand in the program that wrote it.

    Attributes:
        size: Number of values.
        first: The first value.
        last: The last value.
        step: Distance of two values.
        low: Edge of the cell around the first value.
        high: Edge of the cell around the last value.
    """

    size: int
    first: float
    last: float
    step: float
    low: float
    high: float

    @property
    def number(self) -> np.ndarray:
        """The numbers of the values, (size,)."""
        return np.arange(self.size)

    @property
    def edges(self) -> np.ndarray:
        """Edges of the cells around the values, (size + 1,)."""
        return np.linspace(self.low, self.high, self.size + 1)


# How programs write evenly spaced coordinates. The results differ in the last bits.
WAYS: tuple[Callable[[_EvenAxis], np.ndarray], ...] = (
    lambda axis: np.linspace(axis.first, axis.last, axis.size),
    lambda axis: axis.low + (axis.number + 0.5) * axis.step,
    lambda axis: axis.low + (axis.number + 0.5) * (axis.high - axis.low) / axis.size,
    lambda axis: (axis.number + round(2 * axis.first / axis.step) / 2) * axis.step,
    lambda axis: axis.first + axis.number * axis.step,
    lambda axis: axis.first + axis.number * (axis.first + axis.step - axis.first),  # numpy.arange(first, end, step)
    lambda axis: (axis.edges[1:] + axis.edges[:-1]) / 2,
)


def _refine_even(values: np.ndarray, scale: int, origin: Origin) -> np.ndarray | None:
    """Refine an evenly spaced coordinate in the first of `WAYS` that gives the coarse values to the last bit.

    Args:
        values: Floats (N,).
        scale: As in `refine_coordinates`.
        origin: As in `refine_coordinates`.

    Returns:
        Values (N * scale,) in float64; those of `numpy.linspace` if no way gives the coarse ones, and None if they are not even
        up to rounding.
    """
    count = len(values)
    # A number in single precision stands for the shortest decimal that is rounded to it.
    first, last = (float(str(value)) for value in values[[0, -1]])
    step, unit = (last - first) / (count - 1), float(np.spacing(np.abs(values).max()))
    rounding, uneven = 4 * unit, np.abs(np.linspace(first, last, count) - values).max()
    if not (abs(step) > rounding and uneven <= count * unit):  # errors of numpy.arange grow
        return None
    plain = WAYS[0](_finer_axis(_even_axis(count, first, last, step, 0.0), scale, origin, 0.0))
    # Where several ways give the coarse values: cells are rather written as parts of the whole, corners as multiples of a step.
    before = {"node": 0, (scale - 1) / 2: 3}.get(origin, len(WAYS))
    ways = (*WAYS[1:before], WAYS[0], *WAYS[max(1, before) :])
    for tolerance in (rounding, 0.0):
        coarse = _even_axis(count, first, last, step, tolerance)
        fine = _finer_axis(coarse, scale, origin, tolerance)
        for way in ways:
            made = way(fine)
            if np.array_equal(way(coarse).astype(values.dtype), values) and np.abs(made - plain).max() <= 2 * len(made) * unit:
                return made
    return plain if uneven <= rounding else None


def _even_axis(count: int, first: float, last: float, step: float, tolerance: float) -> _EvenAxis:
    """Return an axis with numbers that are as short as the tolerance allows."""
    low, high = (_short(end, tolerance) for end in (first - step / 2, last + step / 2))
    length = _short(count * step, tolerance)
    return _EvenAxis(count, first, last, _short(length / count, tolerance / count), low, high)


def _finer_axis(coarse: _EvenAxis, scale: int, origin: Origin, tolerance: float) -> _EvenAxis:
    """Return the axis of `scale` times as many values that lie as `origin` says."""
    count = coarse.size * scale
    if origin == "node":
        step = (coarse.last - coarse.first) / (count - 1)
        return _even_axis(count, coarse.first, coarse.last, step, tolerance)
    step = _short(_short(coarse.size * coarse.step, tolerance) / count, tolerance / count)
    if origin == (scale - 1) / 2:  # the edges stay
        ends = coarse.low + step / 2, coarse.high - step / 2
        return _EvenAxis(count, _short(ends[0], tolerance), _short(ends[1], tolerance), step, coarse.low, coarse.high)
    first, last = coarse.first - origin * step, coarse.last + (scale - 1 - origin) * step
    return _even_axis(count, _short(first, tolerance), _short(last, tolerance), step, tolerance)


def _short(value: float, tolerance: float) -> float:
    """Return a short decimal, or a short part of pi, that is within the tolerance; the value itself if there is none.

    Short decimals are so few that chance does not bring one that near.
    """
    if not tolerance or abs(value) <= tolerance:
        return 0.0 if tolerance else value
    digits = min(12, int(math.log10(abs(value) / tolerance)) - 2)
    for unit in (1.0, math.pi) if digits > 0 else ():
        short = float(f"{value / unit:.{digits}g}") * unit
        if abs(short - value) <= tolerance:
            return short
    return value


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
