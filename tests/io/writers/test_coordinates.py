"""Coordinates and conventions: what xarray finds in the output is what it found in the input, on the finer grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator
from scipy.io import netcdf_file

from tests.io.readers.test_open import REAL
from tests.io.writers.test_array_writers import convert, stored
from vsr.io.writers.coordinates import refine_coordinates
from vsr.io.writers.template_from_file import template_from_file

T, Y, X = 7, 4, 5


@given(start=st.floats(-1e3, 1e3), step=st.floats(-50, 50), length=st.integers(2, 9), scale=st.integers(1, 5))
def test_a_uniform_grid_stays_uniform_and_covers_the_same_stretch(start: float, step: float, length: int, scale: int) -> None:
    coarse = start + step * np.arange(length)
    fine = refine_coordinates(coarse, scale)
    assert fine.shape == (length * scale,)
    np.testing.assert_allclose(np.diff(fine), step / scale, rtol=1e-9, atol=1e-9)
    # A pixel of the coarse grid lies in the middle of those that it becomes.
    np.testing.assert_allclose(fine.reshape(length, scale).mean(1), coarse, rtol=1e-12, atol=1e-9)


@given(scale=st.integers(2, 4), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_curvilinear_coordinates_are_bilinear(scale: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.random((2, Y, X)).cumsum(1).cumsum(2)  # a first axis that is no axis of pixels
    fine = refine_coordinates(refine_coordinates(coarse, scale, 1), scale, 2)
    places = [(np.arange(n * scale) + 0.5) / scale - 0.5 for n in (Y, X)]
    grid = np.stack(np.meshgrid(*places, indexing="ij"), -1)
    for before, after in zip(coarse, fine, strict=True):
        reference = RegularGridInterpolator((np.arange(Y), np.arange(X)), before, bounds_error=False, fill_value=None)
        np.testing.assert_allclose(after, reference(grid), rtol=1e-10, atol=1e-10)


def test_longitudes_that_jump() -> None:
    across = refine_coordinates(np.array([357.0, 359.0, 1.0, 3.0]), 2, period=360)
    np.testing.assert_allclose(across, [356.5, 357.5, 358.5, 359.5, 0.5, 1.5, 2.5, 3.5])
    date_line = refine_coordinates(np.array([178.0, 180.0, -178.0]), 2, period=360)
    np.testing.assert_allclose(date_line, [177.5, 178.5, 179.5, -179.5, -178.5, -177.5])
    np.testing.assert_allclose(
        refine_coordinates(np.arange(360.0), 2, period=360), (np.arange(720) + 0.5) / 2 - 0.5
    )  # no jump: as it is
    np.testing.assert_allclose(refine_coordinates(np.array([0.0, 300.0]), 2), [-75, 75, 225, 375])  # no angle
    with_gap = refine_coordinates(np.array([350.0, np.nan, 10.0]), 2, period=360)
    assert np.isnan(with_gap[1:5]).all()


def test_types_of_coordinates() -> None:
    assert refine_coordinates(np.arange(4), 2).dtype == np.float64
    assert refine_coordinates(np.arange(4, dtype=np.float32), 2).dtype == np.float32
    with pytest.raises(ValueError, match="no spacing"):
        refine_coordinates(np.zeros(1), 2)


def climate(values: np.ndarray | None = None) -> Any:
    """A dataset with all that CF has around a variable."""
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    variables = {
        "h": (
            ("time", "lat", "lon"),
            stored("tyx").astype(np.float64) if values is None else values,
            {"units": "K", "long_name": "warmth", "grid_mapping": "crs", "cell_methods": "time: mean", "valid_range": [0.0, 1.0]},
        ),
        "lat_bnds": (("lat", "bnds"), np.zeros((Y, 2))),
        "time_bnds": (("time", "bnds"), np.arange(2.0 * T).reshape(T, 2)),
        "crs": ((), np.int32(0), {"grid_mapping_name": "latitude_longitude", "GeoTransform": "0 1 0 0 0 1"}),
        "cell": (("lat", "lon"), np.ones((Y, X))),
    }
    coordinates = {
        "time": ("time", 30 * np.arange(T), {"units": "days since 2000-01-01", "bounds": "time_bnds", "axis": "T"}),
        "lat": ("lat", np.linspace(40, 46, Y), {"units": "degrees_north", "bounds": "lat_bnds"}),
        "lon": ("lon", (350 + 5 * np.arange(X)).astype(np.float32) % 360, {"units": "degrees_east"}),
        "height": ((), 2.0, {"units": "m"}),
        "place": (("lat", "lon"), np.add.outer(10.0 * np.arange(Y), np.arange(X))),
        "name": ("time", np.array([f"m{i}" for i in range(T)], dtype=object)),
    }
    return xarray.Dataset(variables, coordinates, {"title": "a run", "history": "made", "Conventions": "CF-1.8"})


PACKED = {"h": {"dtype": "i2", "scale_factor": 1e-4, "_FillValue": -999, "zlib": True}, "time": {"dtype": "i4"}}


@pytest.mark.parametrize("ending", [".nc", ".zarr"])
def test_xarray_finds_the_same_movie_on_a_finer_grid(ending: str, tmp_path: Path) -> None:
    data = climate()
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding=PACKED, unlimited_dims=["time"])
    import xarray

    template = convert(tmp_path / "a.nc", tmp_path / f"b{ending}", "h")
    assert set(template.left_out) == {"lat_bnds", "cell"} | ({"name"} if ending == ".zarr" else set())
    assert template.notes[0] == "h is int16 in a.nc, float32 in the output"
    with xarray.open_dataset(tmp_path / "a.nc") as before, xarray.open_dataset(tmp_path / f"b{ending}") as after:
        assert after["h"].dims == ("time", "lat", "lon")
        assert after["time"].dtype.kind == "M"
        np.testing.assert_array_equal(after["time"], before["time"])
        np.testing.assert_array_equal(after["time_bnds"], before["time_bnds"])
        np.testing.assert_allclose(after["lat"], 39.5 + np.arange(2 * Y), rtol=1e-14)
        np.testing.assert_array_equal(after["lon"], np.float32((348.75 + 2.5 * np.arange(2 * X)) % 360))
        assert after["lon"].dtype == np.float32
        rows, columns = ((np.arange(2 * n) + 0.5) / 2 - 0.5 for n in (Y, X))
        np.testing.assert_allclose(after["place"], np.add.outer(10 * rows, columns), atol=1e-12)
        assert {"height", "time", "lat", "lon", "place"} <= set(after.coords)
        assert float(after["height"]) == 2
        assert after["h"].attrs == {key: before["h"].attrs[key] for key in ("units", "long_name", "grid_mapping", "cell_methods")}
        assert after["crs"].attrs == {"grid_mapping_name": "latitude_longitude"}
        assert after["lat"].attrs == {"units": "degrees_north"}
        assert after["time"].attrs == before["time"].attrs
        assert after.attrs == {"title": "a run", "history": "made finer\nmade", "Conventions": "CF-1.8"}
        if ending == ".nc":
            assert np.isnan(after["h"].encoding["_FillValue"])
            assert list(after["name"].values) == list(before["name"].values)


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_store_stays_one_of_its_kind(version: int, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    import xarray

    numcodecs = pytest.importorskip("numcodecs")
    codec = numcodecs.Blosc("zstd", 3) if version == 2 else zarr.codecs.BloscCodec(cname="zstd", clevel=3, typesize=2)
    encoding = {"h": {**PACKED["h"], "compressors": codec, "chunks": (2, Y, X)}}
    del encoding["h"]["zlib"]
    data = climate().drop_vars("name")
    data.to_zarr(tmp_path / "a.zarr", zarr_format=version, encoding=encoding, consolidated=version == 2)
    template = convert(tmp_path / "a.zarr", tmp_path / "b.zarr", "h")
    array = zarr.open_group(tmp_path / "b.zarr", mode="r")["h"]
    assert array.metadata.zarr_format == version
    assert array.chunks == (2, 2 * Y, 2 * X)
    stored_as = array.compressors[0]
    assert (stored_as.to_dict()["configuration"] if version == 3 else stored_as.get_config())["clevel"] == 3
    if version == 3:
        assert stored_as.typesize == 4
    assert template.left_out == ("cell", "lat_bnds")
    before, after = (xarray.open_zarr(tmp_path / name, consolidated=version == 2) for name in ("a.zarr", "b.zarr"))
    assert after["time"].dtype.kind == "M"
    np.testing.assert_array_equal(after["time"], before["time"])
    np.testing.assert_allclose(after["lat"], 39.5 + np.arange(2 * Y), rtol=1e-14)
    assert (after["h"].units, after.attrs["title"]) == ("K", "a run")
    again = convert(tmp_path / "b.zarr", tmp_path / "c.nc", "h")  # and from it to NetCDF
    assert again.left_out == ()
    with xarray.open_dataset(tmp_path / "c.nc") as third:
        np.testing.assert_array_equal(third["time"], after["time"])
        assert third["h"].shape == (T, 4 * Y, 4 * X)


@pytest.mark.parametrize("version", [2, 3])
def test_other_ways_to_store_a_zarr_array(version: int, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.create_array(str(tmp_path / "alone.zarr"), data=stored("tyx"), zarr_format=version)
    assert convert(tmp_path / "alone.zarr", tmp_path / "b.zarr", axes="tyx").names == ("alone",)
    store = zarr.storage.ZipStore(tmp_path / "packed.zarr.zip", mode="w")
    zarr.open_group(store, mode="w", zarr_format=version).create_array("h", data=stored("tyx"), compressors=None)
    store.close()
    template = template_from_file(tmp_path / "packed.zarr.zip", "h", "tyx", 2, suffix=".zarr")
    assert template.storage["compressors"] is None
    if version == 3:
        array = zarr.open_group(tmp_path / "shards.zarr", mode="w").create_array(
            "h", shape=(8, Y, X), dtype="i2", chunks=(2, Y, X), shards=(4, Y, X), dimension_names=("time", "y", "x")
        )
        array[...] = 3
        convert(tmp_path / "shards.zarr", tmp_path / "c.zarr")
        whole = zarr.open_group(tmp_path / "c.zarr", mode="r")["h"]
        assert (whole.shards, whole.chunks[0], whole.compressors) == (None, 4, array.compressors)


def test_the_real_climate_movie(tmp_path: Path) -> None:
    if not REAL.exists():
        pytest.skip("the real climate file is not beside the project")
    xarray = pytest.importorskip("xarray")
    template = convert(REAL, tmp_path / "b.nc")
    assert (template.left_out, template.notes) == ((), ())
    with (
        xarray.open_dataset(REAL, decode_times=False) as before,
        xarray.open_dataset(tmp_path / "b.nc", decode_times=False) as after,
    ):
        assert {*before.variables} == {*after.variables}
        assert after["time"].attrs == before["time"].attrs
        np.testing.assert_allclose(after["latitude"], 15 + 1.25 * ((np.arange(74) + 0.5) / 2 - 0.5), rtol=1e-6)


def test_missing_pixels_are_missing_for_xarray(tmp_path: Path) -> None:
    values = stored("tyx").astype(np.float64)
    values[2, 1, 3] = np.nan
    climate(values).to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding=PACKED)
    import xarray

    for ending in (".nc", ".zarr"):
        convert(tmp_path / "a.nc", tmp_path / f"b{ending}", "h")
        with xarray.open_dataset(tmp_path / f"b{ending}") as data:
            assert int(data["h"].isnull().sum()) == 4


def test_a_group_of_a_netcdf_file(tmp_path: Path) -> None:
    climate().drop_vars("h").to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    climate().drop_vars(["lat", "lat_bnds"]).to_netcdf(tmp_path / "a.nc", engine="h5netcdf", group="run/a", mode="a")
    import xarray

    template = convert(tmp_path / "a.nc", tmp_path / "b.nc", "run/a/h")
    assert {"run/a/lon", "lat", "run/a/time"} <= {entry.name for entry in template.fields}
    with xarray.open_dataset(tmp_path / "b.nc", group="run/a") as data:
        assert data["h"].shape == (T, 2 * Y, 2 * X)
        assert data["time"].dtype.kind == "M"
        assert data.attrs["title"] == "a run"


def test_a_classic_file_becomes_netcdf_4(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    with netcdf_file(tmp_path / "a.nc", "w") as file:
        for name, size in (("time", None), ("lat", Y), ("lon", X)):
            file.createDimension(name, size)
        for name, values in (("time", np.arange(T)), ("lat", np.arange(Y) * 10)):
            coordinate = file.createVariable(name, "i2", (name,))
            coordinate[:] = values
        file.variables["time"].units = "hours since 1999-12-31"
        packed = file.createVariable("lon", "i2", ("lon",))
        packed[:], packed.scale_factor, packed.add_offset = np.arange(X), 0.5, 100.0
        file.createVariable("h", "f4", ("time", "lat", "lon"))[:] = stored("tyx")
    template = convert(tmp_path / "a.nc", tmp_path / "b.nc")
    assert template.notes == ("NetCDF (classic) becomes NetCDF-4",)
    with xarray.open_dataset(tmp_path / "b.nc") as data:
        assert str(data["time"].values[1]) == "1999-12-31T01:00:00.000000000"
        np.testing.assert_allclose(data["lon"], 100 + 0.5 * ((np.arange(2 * X) + 0.5) / 2 - 0.5))
        np.testing.assert_allclose(data["lat"], 10 * ((np.arange(2 * Y) + 0.5) / 2 - 0.5))


@pytest.mark.parametrize("ending", [".nc", ".h5", ".zarr"])
def test_attributes_of_every_kind(ending: str, tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    kinds = {"words": ["one", "two"], "empty": "", "list": [1.5, 2.5], "small": np.int16(3), "text": "grün"}
    data = xarray.Dataset({"h": (("time", "y", "x"), stored("tyx"), kinds)}, attrs=kinds)
    data["y"] = (
        "y",
        np.arange(Y, dtype=np.int16),
        {"scale_factor": [0.5], "add_offset": np.float32(10), "big": np.zeros(10_000)},
    )
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    (tmp_path / "a.nc").rename(tmp_path / "a.h5")  # read as plain HDF5: attributes of one number are arrays there
    template = convert(tmp_path / "a.h5", tmp_path / f"b{ending}", "h")
    (refined,) = (entry for entry in template.fields if entry.name == "y")
    np.testing.assert_allclose(refined.values, 10 + 0.5 * ((np.arange(2 * Y) + 0.5) / 2 - 0.5))
    assert dict(refined.attrs) == {}
    if ending != ".h5":
        with xarray.open_dataset(tmp_path / f"b{ending}") as after:
            for attrs in (after.attrs, after["h"].attrs):
                assert all(attrs[key] == kinds[key] for key in ("words", "small", "text"))
                assert list(attrs["list"]) == [1.5, 2.5]


def test_coordinates_that_cannot_be_refined_are_named(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    line = xarray.Dataset(
        {"h": (("time", "y", "x"), stored("tyx")[:, :, :1])},
        {"time": np.arange(T), "x": [3.0], "y": ("y", np.array(list("abcd"), dtype=object))},
    )
    line.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    template = template_from_file(tmp_path / "a.nc", "h", None, 2)
    assert template.left_out == ("x", "y")
    assert [entry.name for entry in template.fields] == ["time"]
