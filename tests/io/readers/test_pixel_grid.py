"""Size of pixels from coordinates, in the formats that have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vsr.geometry import PixelGrid
from vsr.io.readers.open import open_movie
from vsr.io.readers.pixel_grid import Coordinate, grid_of_coordinates

DEGREE = 111.19492664455873  # km: 2 pi 6371 / 360
LAT = np.linspace(60, 50, 6, dtype=np.float32)
LON = np.array([357.0, 358.5, 0.0, 1.5])


def grid(y: tuple, x: tuple) -> PixelGrid:
    """The grid of (name, values, units[, standard_name]) of each axis."""
    keys = ("units", "standard_name")
    return grid_of_coordinates(*(Coordinate(n, v, dict(zip(keys, more, strict=False))) for n, v, *more in (y, x)))


@pytest.mark.parametrize(
    ("y", "x"),
    [
        (("lat", LAT), ("lon", LON)),
        (("y", LAT, "degrees_north"), ("x", LON, "degrees_east")),
        (("j", LAT, "degrees", "latitude"), ("i", LON, "degrees", "longitude")),
        (("rlat", LAT, "degrees"), ("rlon", LON, "degrees")),
        (("lat", np.radians(LAT), "radians"), ("lon", np.radians(LON), "radians")),
    ],
)
def test_latitudes_and_longitudes_are_on_a_sphere(y: tuple, x: tuple) -> None:
    found = grid(y, x)
    assert (found.unit, found.reason) == ("km", "")
    assert (found.dy, found.dx) == pytest.approx((2 * DEGREE, 1.5 * DEGREE))
    np.testing.assert_allclose(found.cosines, np.cos(np.radians(LAT)), rtol=1e-6)
    assert found.mean_dx == pytest.approx(1.5 * DEGREE * np.cos(np.radians(LAT)).mean())
    turned = found.turned("y", len(LAT), len(LON)).between(0, 2)
    np.testing.assert_allclose(turned.cosines, np.cos(np.radians([50, 52])), rtol=1e-6)
    assert found.axes is not None
    assert turned.axes is not None
    rows, columns = found.axes
    name = "rotated latitude" if y[0] == "rlat" else "latitude"
    assert (rows.name, rows.unit, rows.first, rows.step) == (name, "°", pytest.approx(LAT[0]), pytest.approx(LAT[1] - LAT[0]))
    assert (columns.unit, columns.first, columns.step) == ("°", pytest.approx(LON[0]), pytest.approx(LON[1] - LON[0]))
    assert (turned.axes[0].first, turned.axes[0].step) == (pytest.approx(LAT[-1]), pytest.approx(LAT[0] - LAT[1]))
    assert turned.axes[1] == columns


@pytest.mark.parametrize(
    ("units", "dy", "unit"), [(("m", "km"), 4.0, "km"), (("metres", "m"), 4.0, "km"), (("mm", "mm"), 4000.0, "mm")]
)
def test_lengths_are_in_km_or_in_the_unit_of_the_file(units: tuple[str, str], dy: float, unit: str) -> None:
    east = np.arange(500, 530, 3) * (1.0 if units[1] == "km" else 1000.0)
    found = grid(("y", 4000.0 * np.arange(9, 0, -1), units[0]), ("x", east, units[1]))
    assert (found.dy, found.dx, found.unit) == (dy, 3.0 if unit == "km" else 3000.0, unit)
    assert found.cosines is None
    assert found.axes is not None
    assert found.axes[0][:2] == ("y", unit)
    assert found.axes[0][2:] == pytest.approx((9 * dy, -dy))
    assert found.between(3, 5).axes == (found.axes[0]._replace(first=pytest.approx(6 * dy)), found.axes[1])


@pytest.mark.parametrize(
    ("y", "x", "reason"),
    [
        (("y", None), ("x", LON, "km"), "no coordinate of y"),
        (("lat", np.arange(6)), ("lon", np.arange(8)), "lat counts pixels"),
        (("y", np.array([0.0, 1.0, 3.0]), "m"), ("x", LON[:2], "m"), "y is not evenly spaced"),
        (("y", np.array([0.0, np.nan, 2.0]), "m"), ("x", LON[:2], "m"), "y is not evenly spaced"),
        (("lat", LAT), ("lon", np.array([0.0, np.inf, 2.0])), "lon is not evenly spaced"),
        (("y", np.array([1.0, 3.0])), ("x", np.array([1.0, 3.0])), "no unit of length"),
        (("y", np.array([1.0, 3.0]), "degrees"), ("x", np.array([1.0, 3.0]), "degrees"), "neither a latitude"),
        (("y", np.array([1.0, 3.0]), "mm"), ("x", np.array([1.0, 3.0]), "cells"), "different units"),
        (("lat", np.array([1.0, 3.0])), ("x", np.array([1.0, 3.0]), "km"), "different units"),
        (("lat", np.array([80.0, 100.0])), ("lon", np.array([1.0, 3.0])), "beyond 90"),
    ],
)
def test_other_coordinates_leave_scores_per_pixel_and_say_why(y: tuple, x: tuple, reason: str) -> None:
    found = grid(y, x)
    assert not found.known
    assert found.describe() == "per pixel"
    assert (found.dy, found.dx) == (1, 1)
    assert reason in found.reason


def test_gaussian_latitudes_count_as_even() -> None:
    gaussian = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(96)[0]))[8:-8]
    assert grid(("lat", gaussian), ("lon", LON)).known


@pytest.mark.parametrize("ending", ["nc", "npz", "zarr"])
def test_files_know_their_grid(ending: str, tmp_path: Path) -> None:
    path, values = tmp_path / f"a.{ending}", np.random.default_rng(0).random((3, 6, 4))
    if ending == "npz":
        np.savez(path, t2m=values, lat=LAT, lon=LON)
    else:
        xarray = pytest.importorskip("xarray")
        made = xarray.DataArray(values, {"time": range(3), "lat": LAT, "lon": LON}, ("time", "lat", "lon"), name="t2m")
        made.lat.attrs["units"] = "degrees_north"
        if ending == "zarr":
            pytest.importorskip("zarr")
            made.to_dataset().to_zarr(path, zarr_format=2)
        else:
            made.to_netcdf(path, engine="h5netcdf")
    found = open_movie(path, variable="t2m", axes="tyx").pixel_grid
    assert found.dy == pytest.approx(2 * DEGREE)
    assert found.cosines is not None
