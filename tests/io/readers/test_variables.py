"""The variables of a file where none is named: those of one grid, and the vectors among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vsr.errors import UserError
from vsr.io.readers.axes import Unspecified
from vsr.io.readers.joined import open_movies
from vsr.io.readers.variables import variables_on_one_grid, vectors_among

xarray = pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")


def write(path: Path, **arrays: tuple[str, Any]) -> str:
    """Write arrays of 6 frames of 8x10, at 3 levels where dimensions say so."""
    size = {"time": 6, "level": 3, "lat": 8, "lon": 10, "y": 4, "x": 5}
    made = {}
    for name, (dims, dtype) in arrays.items():
        names = dims.split()
        made[name] = (names, np.arange(np.prod([size[d] for d in names])).reshape([size[d] for d in names]).astype(dtype))
    xarray.Dataset(made, {"level": [500.0, 700.0, 850.0]}).to_netcdf(path, engine="h5netcdf")
    return str(path)


PLANES, LEVELS, OTHER = ("time lat lon", "f4"), ("time level lat lon", "f4"), ("time y x", "f4")


def test_all_variables_of_one_grid_are_taken_without_flags_and_coordinates(tmp_path: Path) -> None:
    arrays = {"t": PLANES, "q": PLANES, "quality": ("time lat lon", "i1"), "latitude": ("lat lon", "f8")}
    path = write(tmp_path / "a.nc", **arrays, time_bnds=("time lat lon", "f8"))
    assert variables_on_one_grid(path) == (["t", "q"], ["quality"])
    packed = xarray.Dataset({name: (["time", "y", "x"], np.ones((6, 4, 5), np.float32)) for name in "ab"})
    packed.to_netcdf(tmp_path / "b.nc", engine="h5netcdf", encoding={"a": {"dtype": "i2", "scale_factor": 0.1}})
    assert variables_on_one_grid(str(tmp_path / "b.nc")) == (["a", "b"], [])


def test_where_nothing_is_to_choose_nothing_is_chosen(tmp_path: Path) -> None:
    assert variables_on_one_grid(write(tmp_path / "a.nc", t=PLANES)) == ([], [])
    edges = {"t": ("lat lon", "f4"), "lat_bnds": ("lat lon time", "f8"), "lon_bnds": ("lat lon time", "f8")}
    assert variables_on_one_grid(write(tmp_path / "edges.nc", **edges)) == ([], [])
    np.savez(tmp_path / "a.npz", train=np.ones((6, 8, 8)), test=np.ones((6, 8, 8)))  # equal sizes say nothing
    assert variables_on_one_grid(str(tmp_path / "a.npz")) == ([], [])
    with pytest.raises(Unspecified, match="several arrays can be the movie"):
        open_movies(str(tmp_path / "a.npz"), variable=None, axes="tyx")


def test_a_selection_decides_between_grids(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nc", t=LEVELS, q=LEVELS, sp=PLANES)
    with pytest.raises(Unspecified) as caught:
        variables_on_one_grid(path)
    told = "its arrays lie on 2 grids: t, q (time 6, level 3, lat 8, lon 10) and sp (time 6, lat 8, lon 10)"
    assert f"{told}; type data.variable=[t,q], or data.variable=sp" in str(caught.value)
    assert variables_on_one_grid(path, {"level": 700}) == (["t", "q"], ["sp"])
    with pytest.raises(
        UserError, match=r"data.select=\{level:500\}' for one of them, or 'data.select=\{level:all\}' for a movie"
    ) as caught:
        open_movies(path, variable=["t", "q"], axes=None)
    assert "for channels" not in str(caught.value)


def test_two_grids_are_refused_with_what_chooses_each(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nc", sst=OTHER, t=PLANES, q=PLANES)
    with pytest.raises(Unspecified, match=r"lie on 2 grids: .* type data.variable=\[t,q\], or data.variable=sst$"):
        variables_on_one_grid(path)


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ({"u": "m s-1", "v": "m s-1", "t": "K"}, [["u", "v"]]),
        ({"V10": "m/s", "U10": "m/s"}, [["U10", "V10"]]),
        ({"u": "m s-1", "v": "m3"}, []),
        ({"u": "m s-1"}, []),
        ({"a": "northward_wind", "b": "eastward_wind"}, [["b", "a"]]),
        ({"a": "eastward_wind", "b": "northward_sea_water_velocity"}, []),
        ({"uo": "x_velocity", "vo": "y_velocity", "u": "m", "v": "m"}, [["uo", "vo"], ["u", "v"]]),
    ],
)
def test_vectors_have_two_components_of_one_unit(attributes: dict[str, str], found: list[list[str]]) -> None:
    given = [{"standard_name": word} if "_" in word else {"units": word} for word in attributes.values()]
    assert vectors_among(list(attributes), given) == found
