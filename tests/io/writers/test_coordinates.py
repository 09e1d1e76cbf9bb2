"""Coordinates and conventions: what xarray finds in the output is what it found in the input, on the finer grid."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator
from scipy.io import netcdf_file, savemat

from tests.io.readers.test_open import REAL
from tests.io.writers.test_array_writers import convert, stored
from vsr.degradations import Area, Bicubic, Chain, GaussianBlur, Subsample
from vsr.degradations.base import is_centred
from vsr.io.readers.open import open_movie
from vsr.io.writers.coordinates import coordinate_period, refine_bounds, refine_coordinates, refine_field
from vsr.io.writers.template_from_movie import template_from_movie

T, Y, X = 7, 4, 5
PAIRS = REAL.parent.parent / "pairs"


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
    # Beside a gap, too, a jump is gone the short way round.
    both = refine_coordinates(np.array([357.0, np.nan, 357.0, 359.0, 1.0, 3.0]), 2, period=360)
    np.testing.assert_allclose(both[5:], [357.5, 358.5, 359.5, 0.5, 1.5, 2.5, 3.5])
    plane = np.where(np.arange(48) == 3, np.nan, np.tile((np.arange(48.0) + 340) % 360, (36, 1)))
    fine = refine_coordinates(refine_coordinates(plane, 2, 0, 360), 2, 1, 360)
    np.testing.assert_allclose(fine[0, 36:44], [357.75, 358.25, 358.75, 359.25, 359.75, 0.25, 0.75, 1.25])


@pytest.mark.parametrize(
    ("name", "attrs", "period"),
    [
        ("lon", {}, 360),
        ("grid/longitude", {}, 360),
        ("XLONG", {}, 360),
        ("nav_lon", {"units": ""}, 360),
        ("a", {"units": "degrees_east"}, 360),
        ("a", {"standard_name": "grid_longitude", "units": "degrees"}, 360),
        ("a", {"axis": "X", "units": "degrees"}, 360),
        ("lon", {"units": "radians"}, 2 * np.pi),
        ("x", {"axis": "X", "units": "m"}, None),
        ("lat", {"units": "degrees_north"}, None),
        ("lon", {"units": "m"}, None),
        ("x", {}, None),
    ],
)
def test_longitudes_are_told_by_name_units_or_axis(name: str, attrs: dict[str, str], period: float | None) -> None:
    assert coordinate_period(attrs, name) == period


@given(origin=st.floats(-1, 4), scale=st.integers(2, 4), start=st.floats(-100, 100), step=st.floats(0.1, 10))
def test_an_lr_pixel_lies_at_its_origin(origin: float, scale: int, start: float, step: float) -> None:
    fine = start + step * np.arange(12 * scale)
    coarse = np.interp(np.arange(12) * scale + origin, np.arange(12 * scale), fine)
    coarse = start + step * (np.arange(12) * scale + origin)
    np.testing.assert_allclose(refine_coordinates(coarse, scale, origin=origin), fine, atol=1e-6)


@pytest.mark.parametrize(
    ("scale", "rows"), [(2, [90, 87.5, 82.5]), (3, [90, 88.333333, 86.666667]), (4, [90, 89.375, 88.75, 86.25])]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_latitudes_stay_between_the_poles(scale: int, rows: list[float], sign: int) -> None:
    coarse = sign * np.linspace(90, -90, 19)
    fine, beyond = refine_field("lat", {}, coarse, [0], scale)
    np.testing.assert_allclose(fine[: len(rows)], sign * np.array(rows), atol=1e-5)
    np.testing.assert_allclose(fine, -fine[::-1], atol=1e-12)
    assert (np.abs(fine) <= 90).all()
    assert (np.diff(sign * fine) < 0).all()
    assert beyond == 2 * (scale // 2)
    bounds = np.clip(np.stack([coarse + sign * 5, coarse - sign * 5], 1), -90, 90)
    edges = refine_bounds(bounds, scale, fine)
    np.testing.assert_allclose(edges[1:, 0], edges[:-1, 1], atol=1e-9)  # no gap and no overlap
    assert (np.abs(edges[[0, -1], [0, 1]]) == 90).all()
    assert ((edges.min(1) - 1e-9 <= fine) & (fine <= edges.max(1) + 1e-9)).all()
    other, none = refine_field("y", {"units": "m"}, coarse, [0], scale)
    assert none == 0
    assert np.abs(other).max() > 90


@pytest.mark.parametrize(
    ("name", "attrs", "first"),
    [
        ("lat", {}, 90),
        ("a", {"standard_name": "latitude"}, 90),
        ("a", {"units": "degrees_north"}, 90),
        ("lat", {"units": "m"}, 92.5),
        ("a", {"standard_name": "height"}, 92.5),
    ],
)
def test_a_grid_may_end_at_one_pole(name: str, attrs: dict[str, str], first: float) -> None:
    fine, beyond = refine_field(name, attrs, np.linspace(90, 0, 10), [0], 2)
    np.testing.assert_allclose(fine[[0, 1, 2, -1]], [first, 87.5, 82.5, -2.5])
    assert beyond == (first == 90)
    far, beyond = refine_field("lat", {}, np.array([0.0, 100.0, 200.0]), [0], 2)  # no latitudes
    np.testing.assert_allclose(far, [-25, 25, 75, 125, 175, 225])
    assert beyond == 0


@pytest.mark.parametrize("step", [150.0, 180.0])
def test_half_a_period_is_no_jump(step: float) -> None:
    fine = refine_coordinates(step * np.arange(3), 2, period=360)
    np.testing.assert_allclose(fine, step * np.array([-0.25, 0.25, 0.75, 1.25, 1.75, 2.25]))


def test_bounds_divide_cells() -> None:
    bounds = np.array([[0.0, 1.0], [1.0, 3.0], [3.0, 7.0]])
    centres = refine_coordinates(bounds.mean(1), 2)
    edges = refine_bounds(bounds, 2, centres)
    np.testing.assert_allclose(edges[:, 0], [0, 0.5, 1, 2, 3, 5])
    np.testing.assert_allclose(edges[:, 1], [0.5, 1, 2, 3, 5, 7])


@pytest.mark.parametrize(
    ("degradation", "scale", "origin"),
    [
        (Bicubic(), 2, 0.5),
        (Area(), 4, 1.5),
        (Subsample(), 2, 0.0),
        (Subsample(1), 3, 1.0),
        (Subsample(2), 4, 2.0),
        (Chain(steps={"blur": GaussianBlur(1.2), "subsample": Subsample()}), 4, 0.0),
    ],
    ids=lambda x: getattr(x, "name", None),
)
def test_the_origin_is_where_the_degradation_puts_a_linear_field(degradation: Any, scale: int, origin: float) -> None:
    """On a field that is its own coordinate, LR is the coordinate of LR pixels, up to what blur and border do."""
    assert degradation.origin(scale) == origin
    x = torch.arange(24.0 * scale).expand(1, 1, 24 * scale, -1)
    lr = degradation(x, scale)[0, 0, 0].numpy()
    np.testing.assert_allclose(lr[6:-6], (np.arange(24) * scale + origin)[6:-6], atol=1e-3)
    assert is_centred(degradation, scale) == (origin == (scale - 1) / 2)


def test_types_of_coordinates() -> None:
    assert refine_coordinates(np.arange(4), 2).dtype == np.float64
    assert refine_coordinates(np.arange(4, dtype=np.float32), 2).dtype == np.float32
    with pytest.raises(ValueError, match="no spacing"):
        refine_coordinates(np.zeros(1), 2)


# How programs write the coordinate of a grid of n cells of an axis from a to b.
WRITTEN = {
    "node": lambda a, b, n: np.linspace(a, b, n),
    "node by steps": lambda a, b, n: a + np.arange(n) * ((b - a) / (n - 1)),
    "cell": lambda a, b, n: (np.arange(n) + 0.5) * ((b - a) / n) + a,
    "cell by parts": lambda a, b, n: a + (np.arange(n) + 0.5) * (b - a) / n,
    "cell linspace": lambda a, b, n: np.linspace(a + (b - a) / n / 2, b - (b - a) / n / 2, n),
    "middles": lambda a, b, n: (np.linspace(a, b, n + 1)[1:] + np.linspace(a, b, n + 1)[:-1]) / 2,
    "corner": lambda a, b, n: np.linspace(a, b, n, endpoint=False),
}


@pytest.mark.parametrize(("way", "least"), [(way, 1.0 if way in ("node", "cell") else 0.8) for way in WRITTEN])
def test_an_even_grid_is_refined_to_the_last_bit_of_one_that_is_written_so(way: str, least: float) -> None:
    """The fine grid is equal in all cases, or in most where some coarse grids can be written in several ways."""
    found = []
    for ends, count, scale in itertools.product(
        ((0, 1e6), (0, 1), (0, 0.7), (-90, 90), (0, 2 * np.pi), (500, 1250.5)), (16, 30, 32, 48, 60, 144), (2, 3, 4, 8)
    ):
        origin: Any = {"node": "node", "corner": 0.0}.get(way.split()[0], (scale - 1) / 2)
        coarse, fine = (WRITTEN[way](*ends, n) for n in (count, count * scale))
        made = refine_coordinates(coarse, scale, origin=origin)
        np.testing.assert_allclose(made, fine, rtol=1e-13, atol=1e-13 * ends[1])
        found.append(np.array_equal(made, fine))
        single = refine_coordinates(coarse.astype(np.float32), scale, origin=origin)
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, fine, rtol=3e-7, atol=3e-7 * ends[1])
    assert np.mean(found) >= least


def test_the_real_pair_has_the_coordinates_of_its_fine_file() -> None:
    if not PAIRS.exists():
        pytest.skip("the real pairs are not beside the project")
    xarray = pytest.importorskip("xarray")
    with xarray.open_dataset(PAIRS / "coarse_32.nc") as coarse, xarray.open_dataset(PAIRS / "fine_128.nc") as fine:
        for name in "yx":
            np.testing.assert_array_equal(refine_coordinates(coarse[name].values, 4, origin="node"), fine[name].values)


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
        "lat_bnds": (("lat", "bnds"), np.stack([39 + 2.0 * np.arange(Y), 41 + 2.0 * np.arange(Y)], 1)),
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
    assert set(template.left_out) == {"cell"} | ({"name"} if ending == ".zarr" else set())
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
        assert after["crs"].attrs == {"grid_mapping_name": "latitude_longitude", "GeoTransform": "0 0.5 0 0 0 0.5"}
        assert after["lat"].attrs == {"units": "degrees_north", "bounds": "lat_bnds"}
        np.testing.assert_allclose(after["lat_bnds"], np.stack([39 + np.arange(2.0 * Y), 40 + np.arange(2.0 * Y)], 1))
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
    assert template.left_out == ("cell",)
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
    template = template_from_movie(open_movie(tmp_path / "packed.zarr.zip", variable="h", axes="tyx"), 2, suffix=".zarr")
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
    assert (template.left_out, template.notes, template.unlimited) == ((), (), "t")
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
    assert template.notes[0] == "NetCDF (classic) becomes NetCDF-4"
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
    template = template_from_movie(open_movie(tmp_path / "a.nc", variable="h", axes=None), 2)
    assert template.left_out == ("x", "y")
    assert [entry.name for entry in template.fields] == ["time"]


def test_what_wrf_says_of_its_grid(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    h5netcdf = pytest.importorskip("h5netcdf")
    dates = np.array([list(f"2020-01-0{i + 1}_00:00:00") for i in range(T)], "S1")
    with h5netcdf.File(tmp_path / "a.nc", "w") as file:
        file.dimensions = {"Time": T, "DateStrLen": 19, "south_north": Y, "west_east": X}
        file.create_variable("Times", ("Time", "DateStrLen"), data=dates)
        file.create_variable("T2", ("Time", "south_north", "west_east"), data=stored("tyx"))
        numbers = {"DX": np.float32(9000), "DY": np.float32(9000)}
        sizes = {"WEST-EAST_GRID_DIMENSION": np.int32(X + 1), "SOUTH-NORTH_GRID_DIMENSION": np.int32(Y + 1)}
        patch = {"WEST-EAST_PATCH_END_UNSTAG": np.int32(X)}
        file.attrs.update({"TITLE": " OUTPUT FROM WRF V4", **numbers, **sizes, **patch})
    template = convert(tmp_path / "a.nc", tmp_path / "b.nc", "T2")
    with xarray.open_dataset(tmp_path / "b.nc", decode_times=False) as after:
        assert [bytes(x).decode() for x in after["Times"].values][1] == "2020-01-02_00:00:00"
        assert after.attrs["DX"] == 4500
        assert after.attrs["DX"].dtype == np.float32
        assert after.attrs["WEST-EAST_GRID_DIMENSION"] == 2 * X + 1
        assert "WEST-EAST_PATCH_END_UNSTAG" not in after.attrs
    told = " ".join(template.notes)
    assert "now describe the finer grid: DX, DY, WEST-EAST_GRID_DIMENSION" in told
    assert "are left out: WEST-EAST_PATCH_END_UNSTAG" in told


def test_bounds_in_the_other_order_and_time_that_grows(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    data = climate().drop_vars("name")
    data["lat_bnds"] = data["lat_bnds"].transpose("bnds", "lat")
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", unlimited_dims=["time"])
    template = convert(tmp_path / "a.nc", tmp_path / "b.nc", "h")
    assert not any("unlimited" in note for note in template.notes)
    with xarray.open_dataset(tmp_path / "b.nc") as after:
        assert after.encoding["unlimited_dims"] == {"time"}
        assert after["h"].encoding["chunksizes"] == (1, 2 * Y, 2 * X)
        np.testing.assert_allclose(after["lat_bnds"], np.stack([39 + np.arange(2.0 * Y), 40 + np.arange(2.0 * Y)]))
    template = convert(tmp_path / "a.nc", tmp_path / "b.npz", "h", "tyx")
    assert "time has a fixed length in the output; it was unlimited" in template.notes


@pytest.mark.parametrize("axes", ["tyx", "ntyx", "yxt", "ctyx", "xtcy"])
@pytest.mark.parametrize("names", ["h", ["h", "g"]])
def test_an_unlimited_dimension_stays_unlimited(axes: str, names: str | list[str], tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    if isinstance(names, list) and "c" in axes:
        return
    dims = [{"n": "member", "c": "channel", "t": "time"}.get(letter, letter) for letter in axes]
    data = xarray.Dataset({name: (dims, stored(axes, i)) for i, name in enumerate(["h", "g"])}, {"time": np.arange(7.0)})
    data["label"] = ("time", np.array([f"m{i}" for i in range(T)], dtype=object))
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", unlimited_dims=["time"])
    for ending in (".nc", ".h5"):
        convert(tmp_path / "a.nc", tmp_path / f"b{ending}", names)
        with xarray.open_dataset(tmp_path / f"b{ending}", engine="h5netcdf") as after:
            # In HDF5 every vector is a scale, which xarray takes for a dimension.
            assert after.encoding["unlimited_dims"] == {"time"} | ({"label"} if ending == ".h5" else set())
            assert after["h"].dims == tuple(dims)
            np.testing.assert_array_equal(after["time"], np.arange(7.0))
            assert list(after["label"].values) == [f"m{i}" for i in range(T)]
            before = stored(axes).repeat(2, axes.index("y")).repeat(2, axes.index("x"))
            along = [-1 if letter == "x" else 1 for letter in axes]
            np.testing.assert_array_equal(after["h"], before + np.arange(2 * X, dtype=np.float32).reshape(along))
    with h5py.File(tmp_path / "b.nc", "r+") as file:  # and it does grow
        file["h"].resize(9, axes.index("t"))
        assert np.isnan(file["h"][()]).sum() == 2 * file["h"].size // 9


def test_what_grows_in_plain_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("u", data=stored("tyx"), maxshape=(None, Y, X))
        file.create_dataset("t", data=np.arange(7.0), maxshape=(None,))
    convert(tmp_path / "a.h5", tmp_path / "b.h5", "u", "tyx")
    convert(tmp_path / "a.h5", tmp_path / "b.nc", "u", "tyx")
    for name in ("b.h5", "b.nc"):
        with h5py.File(tmp_path / name) as file:
            assert (file["u"].maxshape, file["t"].maxshape) == ((None, 2 * Y, 2 * X), (None,))
            assert file["u"].chunks == (1, 2 * Y, 2 * X)
    template = convert(tmp_path / "a.h5", tmp_path / "b.mat", "u", "tyx")
    assert template.notes[1] == "t has a fixed length in the output; it was unlimited"


def test_scales_keep_their_names_and_domain_sizes_go(tmp_path: Path) -> None:
    """As in Dedalus, where a dimension t has the scales sim_time, iteration, ..., and in NEMO."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["tasks/u"] = stored("tyx")
        file["scales/sim_time"] = np.arange(float(T))
        file["scales/sim_time"].make_scale("sim_time")
        file["scales/sim_time"].attrs["NAME"] = "sim_time"  # a text of variable length, as some programs write it
        file["tasks/u"].dims[0].attach_scale(file["scales/sim_time"])
        for i, name in enumerate("tyx"):
            file["tasks/u"].dims[i].label = name
        file.attrs.update({"DOMAIN_size_global": [5, 4], "ni": 5})
    times = open_movie(tmp_path / "a.h5", variable="tasks/u", axes=None).times()
    np.testing.assert_array_equal(times, np.arange(T))
    template = convert(tmp_path / "a.h5", tmp_path / "b.h5", "tasks/u")
    assert any("are left out: DOMAIN_size_global, ni" in note for note in template.notes)
    with h5py.File(tmp_path / "b.h5") as file:
        np.testing.assert_array_equal(file["tasks/u"].dims[0]["sim_time"][()], np.arange(T))
        assert file["tasks/u"].dims[0].label == "t"
        assert not {*file.attrs} & {"DOMAIN_size_global", "ni"}


def test_netcdf_content_under_another_name_can_be_opened_again(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    climate().drop_vars("name").to_netcdf(tmp_path / "a.h5", engine="h5netcdf")
    convert(tmp_path / "a.h5", tmp_path / "b.h5", "h")
    with xarray.open_dataset(tmp_path / "b.h5", engine="h5netcdf") as after:
        assert after["h"].dims == ("time", "lat", "lon")
        np.testing.assert_array_equal(after["time_bnds"].shape, (T, 2))


def write_plain(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A file that names no dimensions."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".mat":
        savemat(path, arrays)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values
    else:
        zarr = pytest.importorskip("zarr")
        group = zarr.open_group(path, mode="w", zarr_format=2)
        for name, values in arrays.items():
            group.create_array(name, data=values)
    return path


def read_plain(path: Path, name: str) -> np.ndarray:
    if path.suffix in (".h5", ".mat"):
        with h5py.File(path) as file:
            return file[name][()].T if path.suffix == ".mat" else file[name][()]
    if path.suffix == ".npz":
        with np.load(path) as file:
            return file[name]
    return np.asarray(pytest.importorskip("zarr").open_group(path, mode="r")[name])


X_FINE = np.array([-0.25, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4.25])  # of arange(5)
Y_FINE = 10 + np.array([-0.5, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5])  # of 10, 12, 14, 16


@pytest.mark.parametrize("ending", [".npz", ".h5", ".mat", ".zarr"])
def test_vectors_beside_the_movie_are_coordinates_by_their_names(ending: str, tmp_path: Path) -> None:
    arrays = {"u": stored("tyx"), "t": np.arange(7) * 0.5, "x": np.arange(5), "y": 10 + 2.0 * np.arange(4)}
    arrays |= {"z": np.arange(5.0), "lat": np.arange(3.0), "lon": np.array([357.0, 359, 1, 3, 5])}
    source = write_plain(tmp_path / f"a{ending}", arrays)
    movie = open_movie(source, variable=None, axes="tyx")
    assert movie.coordinates == {"t": "t", "x": "x", "y": "y", "lon": "x"}
    np.testing.assert_array_equal(movie.times(), np.arange(7) * 0.5)
    template = (
        convert(source, tmp_path / f"b{ending}", None, "tyx")
        if ending == ".npz"
        else convert(source, tmp_path / f"b{ending}", "u", "tyx")
    )
    assert sorted(template.left_out) == ["lat", "z"]
    made = {name: read_plain(tmp_path / f"b{ending}", name).squeeze() for name in ("t", "x", "y", "lon")}
    np.testing.assert_array_equal(made["t"], arrays["t"])
    np.testing.assert_allclose(made["x"], X_FINE)
    np.testing.assert_allclose(made["y"], Y_FINE)
    np.testing.assert_allclose(made["lon"], [356.5, 357.5, 358.5, 359.5, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5])


@pytest.mark.parametrize("axes", ["yxt", "xyt", "tyx"])
def test_planes_of_meshgrid_are_coordinates(axes: str, tmp_path: Path) -> None:
    order = "".join(letter for letter in axes if letter != "t")
    planes = dict(zip("XY", np.meshgrid(np.arange(5.0), 10 + 2.0 * np.arange(4)), strict=True))
    expected = dict(zip("XY", np.meshgrid(X_FINE, Y_FINE), strict=True))
    if order == "xy":
        planes, expected = ({name: plane.T for name, plane in found.items()} for found in (planes, expected))
    for ending in (".mat", ".npz", ".h5"):
        source = write_plain(
            tmp_path / f"a{ending}", {"u": stored(axes), "time": np.arange(7.0), **planes, "nav_lat": planes["Y"]}
        )
        convert(source, tmp_path / f"b{ending}", "u", axes)
        for name in "XY":
            np.testing.assert_allclose(read_plain(tmp_path / f"b{ending}", name), expected[name])
        template = convert(source, tmp_path / "b.nc", "u", axes)
        assert template.left_out == ()
        with pytest.importorskip("xarray").open_dataset(tmp_path / "b.nc", decode_times=False) as after:
            assert after["X"].dims == tuple(order)
            np.testing.assert_allclose(after["nav_lat"], expected["Y"])
            np.testing.assert_array_equal(after["time"], np.arange(7.0))
        (tmp_path / "b.nc").unlink()


def test_rows_columns_and_fields_of_structs(tmp_path: Path) -> None:
    s = {"u": stored("yxt"), "t": np.arange(7.0)[:, None], "x": np.arange(5.0)[None], "dt": 0.5, "grid": {"y": np.arange(4.0)}}
    savemat(tmp_path / "a.mat", {"s": s, "y": 10 + 2.0 * np.arange(4)})
    movie = open_movie(tmp_path / "a.mat", variable="s.u", axes="yxt")
    assert movie.coordinates == {"s.t": "t", "s.x": "x", "y": "y"}
    assert movie.times_by_name == "s.t"
    template = convert(tmp_path / "a.mat", tmp_path / "b.mat", "s.u", "yxt")
    assert template.left_out == ("s.grid.y",)
    assert read_plain(tmp_path / "b.mat", "s_t").shape == (7, 1)
    np.testing.assert_allclose(read_plain(tmp_path / "b.mat", "s_x"), X_FINE[None])
    template = convert(tmp_path / "a.mat", tmp_path / "b.npz", "s.u", "yxt")
    np.testing.assert_allclose(read_plain(tmp_path / "b.npz", "s.x"), X_FINE)
    again = open_movie(tmp_path / "b.npz", variable="s.u", axes="yxt")
    assert again.coordinates == {"s.t": "t", "s.x": "x", "y": "y"}


def test_names_that_do_not_tell_are_left_out(tmp_path: Path) -> None:
    square = np.random.default_rng(0).random((4, 4, 4)).astype(np.float32)
    vectors = {name: np.arange(4.0) for name in ("a", "position", "x", "month", "time2")}
    others = {"y": np.arange(5.0), "t": np.ones((2, 2)), "run/x": np.arange(4.0)}
    write_plain(tmp_path / "a.h5", {"u": square, **vectors, **others})
    movie = open_movie(tmp_path / "a.h5", variable="u", axes="tyx")
    assert movie.coordinates == {"month": "t", "x": "x"}
    assert movie.times() is None
    template = convert(tmp_path / "a.h5", tmp_path / "b.h5", "u", "tyx")
    assert sorted(template.left_out) == ["a", "position", "run/x", "t", "time2", "y"]
    np.testing.assert_allclose(read_plain(tmp_path / "b.h5", "x"), X_FINE[:8])
    write_plain(tmp_path / "b.npz", {"u": square, "t": np.arange(4), "time": np.arange(4.0)})
    assert open_movie(tmp_path / "b.npz", variable=None, axes="tyx").times() is None  # two that tell of time
    write_plain(tmp_path / "c.npz", {"u": stored("tyx"), "t": np.arange(7.0).reshape(1, 1, 7)})
    np.testing.assert_array_equal(open_movie(tmp_path / "c.npz", variable=None, axes="tyx").times(), np.arange(7.0))


def test_names_win_nothing_over_what_a_file_says_itself(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["u"], file["t"], file["seconds"] = stored("tyx"), np.arange(7.0) * 9, np.arange(7.0)
        file["seconds"].make_scale("seconds")
        file["u"].dims[0].attach_scale(file["seconds"])
        file["t"].attrs["units"] = "days"
    movie = open_movie(tmp_path / "a.h5", variable="u", axes="tyx")
    np.testing.assert_array_equal(movie.times(), np.arange(7.0))
    xarray = pytest.importorskip("xarray")
    data = xarray.Dataset({"u": (("a", "b", "c"), stored("tyx")), "t": ("other", np.arange(7.0))})
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    movie = open_movie(tmp_path / "a.nc", variable="u", axes="tyx")
    assert movie.times() is None
    assert template_from_movie(movie, 2).left_out == ("t",)
