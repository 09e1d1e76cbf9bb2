"""Coordinates of a finer grid: the positions of SR pixels between and around the centres of LR pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def refine_coordinates(values: np.ndarray, scale: int, axis: int = 0, period: float | None = None) -> np.ndarray:
    """Compute the coordinates of pixel centres on a grid that is `scale` times finer along one axis.

    Pixel j of the finer grid lies at index (j + 0.5) / scale - 0.5 of the coarse grid. Between two coarse centres, coordinates
    are interpolated linearly. Before the first and after the last centre, they are extrapolated with the slope at that end. So
    uniform grids stay uniform, stretched grids stay monotonic, and a latitude with a centre on the pole continues beyond the
    pole. Coordinates with several dimensions (curvilinear grids) are refined along one axis after the other, which is bilinear.

    Args:
        values: Numbers of any shape; integers become float64, floats keep their precision.
        scale: Pixels of the finer grid per pixel of the coarse grid.
        axis: The axis to refine.
        period: Period of an angle, 360 for degrees. Where an angle jumps by a period, e.g. from 359 to 1, it is interpolated
            the short way round. None for other coordinates.

    Raises:
        ValueError: The axis has fewer than two pixels.
    """
    length = values.shape[axis]
    if length < 2:
        raise ValueError("one pixel alone has no spacing")
    kept = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
    coarse = np.moveaxis(values.astype(np.float64), axis, -1)
    jumps = period is not None and bool(np.isfinite(coarse).all() and (np.abs(np.diff(coarse)) > period / 2).any())
    if jumps and period is not None:
        low = -period / 2 if coarse.min() < 0 else 0.0
        coarse = np.unwrap(coarse, period=period)
    position = (np.arange(length * scale) + 0.5) / scale - 0.5
    left = np.clip(np.floor(position).astype(int), 0, length - 2)
    fine = coarse[..., left] + (position - left) * (coarse[..., left + 1] - coarse[..., left])
    if jumps and period is not None:
        fine = (fine - low) % period + low
    return np.moveaxis(fine, -1, axis).astype(kept)


def coordinate_period(attrs: Mapping[str, Any]) -> float | None:
    """Return 360.0 for a coordinate whose CF attributes declare a longitude, else None."""
    east = str(attrs.get("units", "")).lower() in ("degrees_east", "degree_east", "degrees_e", "degree_e")
    return 360.0 if east or attrs.get("standard_name") == "longitude" else None
