"""Packed and missing values: the same physical values from every format, and constants that no attribute declares."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vsr.commands.inspect import inspect_command
from vsr.data.datamodules.climate import ClimateDataModule
from vsr.degradations.scaling import Bicubic
from vsr.errors import UserError
from vsr.io.readers.open import open_movie
from vsr.io.readers.packing import ExtremeValues, Packing
from vsr.io.writers.template_from_movie import template_from_movie
from vsr.recipe import Recipe

SHAPE = (6, 16, 20)
GAP = np.zeros(SHAPE, bool)
GAP[:, :3, :4] = True


def smooth() -> np.ndarray:
    """float64 (6, 16, 20), 270 to 300."""
    t, y, x = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    return 285 + 15 * np.sin(0.3 * t + 0.4 * y) * np.cos(0.5 * x)


def write_netcdf(path: Path, stored: np.ndarray, attrs: dict[str, Any]) -> Path:
    h5netcdf = pytest.importorskip("h5netcdf")
    with h5netcdf.File(path, "w") as file:
        file.dimensions = dict(zip(("time", "lat", "lon"), SHAPE, strict=True))
        attrs = dict(attrs)
        fill = attrs.pop("_FillValue", None)
        file.create_variable("v", ("time", "lat", "lon"), data=stored, fillvalue=fill).attrs.update(attrs)
    return path


def write_hdf5(path: Path, stored: np.ndarray, attrs: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("grid/v", data=stored).attrs.update(attrs)
    return path


def write_zarr(path: Path, stored: np.ndarray, attrs: dict[str, Any], version: int) -> Path:
    zarr = pytest.importorskip("zarr")
    plain = {key: np.asarray(value).tolist() for key, value in attrs.items()}
    array = zarr.create_array(
        path, shape=stored.shape, chunks=(2, 16, 20), dtype=stored.dtype, zarr_format=version, attributes=plain, fill_value=None
    )
    array[...] = stored
    return path


Writer = Callable[[Path, np.ndarray, dict[str, Any]], Path]
WRITERS: dict[str, Writer] = {
    "nc": lambda folder, *a: write_netcdf(folder / "a.nc", *a),
    "h5": lambda folder, *a: write_hdf5(folder / "a.h5", *a),
    "hdf5": lambda folder, *a: write_hdf5(folder / "3B-HHR.HDF5", *a),
    "he5": lambda folder, *a: write_hdf5(folder / "a.he5", *a),
    "zarr2": lambda folder, *a: write_zarr(folder / "a.zarr", *a, version=2),
    "zarr3": lambda folder, *a: write_zarr(folder / "a.zarr", *a, version=3),
}


def _packed_int16() -> tuple[np.ndarray, dict[str, Any]]:
    stored = np.where(GAP, -32767, np.round((smooth() - 285) / 0.001)).astype(np.int16)
    return stored, {"scale_factor": 0.001, "add_offset": 285.0, "_FillValue": np.int16(-32767)}


def _unsigned_bytes() -> tuple[np.ndarray, dict[str, Any]]:
    codes = np.where(GAP, 255, np.round((smooth() - 270) / 0.12)).astype(np.uint8)
    return codes.view(np.int8), {"_Unsigned": "true", "scale_factor": 0.12, "add_offset": 270.0, "_FillValue": np.int8(-1)}


def _double_missing_on_float() -> tuple[np.ndarray, dict[str, Any]]:
    return np.where(GAP, 1e20, smooth()).astype(np.float32), {"missing_value": np.float64(1e20)}


def _float_missing_on_double() -> tuple[np.ndarray, dict[str, Any]]:
    return np.where(GAP, 1e20, smooth()), {"missing_value": np.float32(1e20)}


def _several_missing() -> tuple[np.ndarray, dict[str, Any]]:
    stored = np.where(GAP, -999.9, smooth()).astype(np.float32)
    stored[:, 0, 0] = -888.8
    return stored, {"missing_value": np.array([-999.9, -888.8])}


def _missing_as_text() -> tuple[np.ndarray, dict[str, Any]]:
    return np.where(GAP, -9999, smooth()).astype(np.float32), {"missing_value": "-9999"}


def _valid_range_of_stored() -> tuple[np.ndarray, dict[str, Any]]:
    stored = np.where(GAP, 32000, np.round((smooth() - 285) / 0.001)).astype(np.int16)
    return stored, {"scale_factor": 0.001, "add_offset": 285.0, "valid_range": np.array([-16000, 16000], np.int16)}


def _valid_range_of_physical() -> tuple[np.ndarray, dict[str, Any]]:
    stored = np.where(GAP, 32000, np.round((smooth() - 285) / 0.001)).astype(np.int16)
    return stored, {"scale_factor": 0.001, "add_offset": 285.0, "valid_range": np.array([200.0, 310.0])}


def _valid_min() -> tuple[np.ndarray, dict[str, Any]]:
    return np.where(GAP, -5, smooth()).astype(np.float32), {"valid_min": 0.0}


def _valid_max() -> tuple[np.ndarray, dict[str, Any]]:
    return np.where(GAP, 1e36, smooth()).astype(np.float32), {"valid_max": 400}


def _hdf_eos() -> tuple[np.ndarray, dict[str, Any]]:
    stored = np.where(GAP, -30000, np.round((smooth() - 285) / 0.01)).astype(np.int16)
    return stored, {"ScaleFactor": 0.01, "Offset": 285.0, "MissingValue": np.int16(-30000)}


DECLARED = [
    *(_packed_int16, _unsigned_bytes, _double_missing_on_float, _float_missing_on_double, _several_missing, _missing_as_text),
    *(_valid_range_of_stored, _valid_range_of_physical, _valid_min, _valid_max, _hdf_eos),
]


@pytest.mark.parametrize("declare", DECLARED, ids=lambda declare: declare.__name__)
@pytest.mark.parametrize("writer", WRITERS)
def test_every_format_gives_physical_values_and_nan(
    tmp_path: Path, writer: str, declare: Callable[[], tuple[np.ndarray, dict[str, Any]]]
) -> None:
    stored, attrs = declare()
    path = WRITERS[writer](tmp_path, stored, attrs)
    movie = open_movie(path, variable=None, axes="tyx")
    read = movie.read(0, 1, 5)[0]
    np.testing.assert_array_equal(np.isnan(read), GAP[1:5])
    step = max(attrs.get("scale_factor", 0), attrs.get("ScaleFactor", 0), 1e-4)
    np.testing.assert_allclose(read[~GAP[1:5]], smooth()[1:5][~GAP[1:5]], atol=0.51 * step)
    left = template_from_movie(movie, 2, suffix=".h5" if writer == "he5" else None).attrs_of(0)
    assert not {*left} & {*attrs}  # an output of floats is not packed


def test_attributes_that_declare_nothing_change_nothing(tmp_path: Path) -> None:
    stored = smooth().astype(np.float32)
    attrs = {"scale_factor": "none", "missing_value": np.float32(np.nan), "units": "K", "Offset": 3.0, "valid_range": "0, 400"}
    movie = open_movie(write_hdf5(tmp_path / "a.h5", stored, attrs), variable=None, axes="tyx")
    np.testing.assert_array_equal(movie.read(0, 0, 6)[0], stored)
    integers = open_movie(write_hdf5(tmp_path / "b.h5", stored.astype(np.int16), {}), variable=None, axes="tyx")
    np.testing.assert_array_equal(integers.read(0, 0, 6)[0], stored.astype(np.int16))


@settings(max_examples=60, deadline=None)
@given(
    stored=hnp.arrays(st.sampled_from([np.int8, np.int16, np.int32, np.uint8]), (4, 5), elements=st.integers(0, 100)),
    scale=st.floats(1e-3, 1e3),
    offset=st.floats(-1e4, 1e4),
    fill=st.integers(0, 100),
)
def test_packing_agrees_with_xarray(stored: np.ndarray, scale: float, offset: float, fill: int) -> None:
    xarray = pytest.importorskip("xarray")
    attrs = {"scale_factor": scale, "add_offset": offset, "_FillValue": stored.dtype.type(fill)}
    expected = xarray.decode_cf(xarray.Dataset({"v": (("y", "x"), stored, attrs)})).v.values
    found = Packing.from_attributes(attrs, stored.dtype).decode(stored)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * abs(offset))


@settings(max_examples=60, deadline=None)
@given(
    values=hnp.arrays(np.float64, st.integers(2, 40), elements=st.integers(-5, 5).map(float) | st.just(float("nan"))),
    cut=st.integers(0, 40),
)
def test_extreme_values_do_not_depend_on_the_pieces(values: np.ndarray, cut: int) -> None:
    whole, pieces = ExtremeValues(), ExtremeValues()
    whole.add(values)
    pieces.add(values[:cut])
    pieces.add(values[cut:])
    assert (pieces.lowest, pieces.highest, pieces.count) == (whole.lowest, whole.highest, whole.count)
    distinct, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    assert whole.lowest == list(zip(distinct.tolist(), counts.tolist(), strict=True))[:2]


SUSPICIOUS = {
    "-9999 once": ([-9999.0], 1),
    "1e20": ([1e20], 50),
    "9.96921e36": ([9.96921e36], 3),
    "a number of somebody": ([12345.0], 7),
    "-32768 and 1e30": ([-32768.0, 1e30], 4),
}


@pytest.mark.parametrize(("values", "count"), SUSPICIOUS.values(), ids=SUSPICIOUS)
def test_undeclared_constants_are_found(values: list[float], count: int) -> None:
    field = smooth().ravel()
    for i, value in enumerate(values):
        field[i * count : (i + 1) * count] = value
    extremes = ExtremeValues()
    extremes.add(field)
    assert extremes.undeclared_missing() == [(value, count) for value in values]
    typed = f"data.missing={values[0]:.7g} " if len(values) == 1 else "data.missing=[-32768,1e+30] "
    assert typed in str(extremes.describe())


def test_fields_with_outliers_are_not_suspected() -> None:
    tracer = np.zeros(100)
    tracer[10:20] = 1.0
    rain = np.random.default_rng(0).lognormal(0, 2, 5000)
    spike = smooth().ravel()
    spike[7] = 9000.0  # once, and no constant in use
    for field in (smooth(), tracer, rain, spike, np.full(9, -9999.0), np.clip(smooth(), 280, 290)):
        extremes = ExtremeValues()
        extremes.add(field)
        assert extremes.describe() is None


def climate(path: Path, **options: Any) -> ClimateDataModule:
    return ClimateDataModule(
        path=str(path), axes="tyx", scale=2, degradation=Bicubic(), recipe=Recipe(patch=4), test=2, learn=4, val=0.25, **options
    )


def test_training_and_inspect_name_undeclared_constants_with_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", np.where(GAP, 1e20, smooth()))
    with caplog.at_level(logging.WARNING):
        climate(tmp_path / "a.npy").setup()
    assert "a.npy: 72 of 1920 values are 1e+20, far outside of the rest" in caplog.text
    with pytest.raises(UserError, match="type data.mask=true"):
        climate(tmp_path / "a.npy", missing=1e20, mask=False).setup()
    data = climate(tmp_path / "a.npy", missing=[1e20], mask=True)
    data.setup()
    assert data.bounds is not None
    assert data.bounds[1] < 301
    inspect_command([str(tmp_path / "a.npy"), "--axes", "tyx"])
    out = capsys.readouterr().out
    assert "warning: 72 of 1920 values are 1e+20" in out
    assert "data.missing=1e+20 data.mask=true" in out
    inspect_command([str(tmp_path / "a.npy"), "--axes", "tyx", "--missing", "1e20"])
    out = capsys.readouterr().out
    assert "NaN: 72 values in 6 frames" in out
    assert "far outside of the rest" not in out


def test_the_default_fill_value_of_zarr_is_no_gap_in_a_coordinate(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    for name, values, dims in (
        ("v", smooth() - 285, ["time", "lat", "lon"]),
        ("lon", np.arange(20.0), ["lon"]),
        ("lat", np.arange(16.0), ["lat"]),
    ):
        array = group.create_array(name, data=values, fill_value=0.0)
        array.attrs["_ARRAY_DIMENSIONS"] = dims
    movie = open_movie(tmp_path / "a.zarr", variable="v", axes=None)
    assert movie.meta["packing"] == "_FillValue 0"  # as xarray has it, and told
    fields = {entry.name: entry.values for entry in template_from_movie(movie, 2).fields}
    np.testing.assert_allclose(fields["lon"][:4], [-0.25, 0.25, 0.75, 1.25])
