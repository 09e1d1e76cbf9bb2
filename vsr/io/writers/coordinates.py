"""Coordinates of a finer grid: where SR pixels lie between and around the centres of LR pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def refine(values: np.ndarray, scale: int, axis: int = 0, period: float | None = None) -> np.ndarray:
    """The coordinate of the pixel centres of a grid that is `scale` times finer along one axis.

    Pixel j of the finer grid lies at the index (j + 0.5) / scale - 0.5 of the coarse one: between two centres the coordinate is
    interpolated linearly, before the first and after the last extrapolated with the slope there, so that uniform grids stay
    uniform and smoothly stretched ones stay monotonic. A latitude with a centre on the pole is therefore continued beyond it.
    Coordinates of more dimensions (curvilinear grids) are refined along one axis after the other, which is bilinear.

    Args:
        values: numbers of any shape; integers become float64, floats keep their precision.
        scale: how many pixels come from one, at least 1.
        axis: the axis of pixels, of length 2 or more.
        period: of an angle, 360 for degrees. Where the coordinate jumps by more than half of it (0 after 359), it is interpolated
            across the jump and the result brought back to the range of the input: from -180 when it has negative values, else
            from 0. Without a jump nothing is brought back: 0, 1 ... 359 becomes -0.25, 0.25 ... 359.25. Not done where
            values are missing, nor right where rows of a curvilinear grid cross a pole.

    Raises ValueError for an axis of length 1, whose spacing nobody knows.
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


def period_of(attrs: Mapping[str, Any]) -> float | None:
    """360 for a coordinate whose CF attributes say that it is an angle in degrees that goes round, else None."""
    east = str(attrs.get("units", "")).lower() in ("degrees_east", "degree_east", "degrees_e", "degree_e")
    return 360.0 if east or attrs.get("standard_name") == "longitude" else None
