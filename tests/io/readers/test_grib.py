"""GRIB files: what the reader finds, and the NetCDF that upscaling makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vsr.errors import UserError
from vsr.io.output_names import default_output
from vsr.io.readers.open import open_listing, open_movie
from vsr.io.writers.open import open_array_sink
from vsr.io.writers.template_from_movie import template_from_movie

T, Y, X = 4, 6, 8
FIELD = 280 + np.random.default_rng(0).standard_normal((T, Y, X))


def message(name: str, level: int | None, day: int, values: np.ndarray) -> bytes:
    eccodes = pytest.importorskip("eccodes")
    handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2" if level is None else "regular_ll_pl_grib2")
    rows, columns = values.shape
    grid: dict[str, Any] = {
        **{"Ni": columns, "Nj": rows, "iDirectionIncrementInDegrees": 1.0, "jDirectionIncrementInDegrees": 1.0},
        **{"latitudeOfFirstGridPointInDegrees": 60.0, "latitudeOfLastGridPointInDegrees": 61.0 - rows},
        **{"longitudeOfFirstGridPointInDegrees": 0.0, "longitudeOfLastGridPointInDegrees": columns - 1.0},
        **{"dataDate": 20200101 + day, "dataTime": 0, "shortName": name, "bitsPerValue": 24},
        **({} if level is None else {"level": level}),
        **{"bitmapPresent": 1, "missingValue": 9999.0},
    }
    for key, value in grid.items():
        eccodes.codes_set(handle, key, value)
    eccodes.codes_set_values(handle, np.where(np.isnan(values), 9999.0, values).ravel())
    content = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    return content


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """Temperature at 2 m, with a gap."""
    pytest.importorskip("cfgrib")
    values = FIELD.copy()
    values[:, 0, 0] = np.nan
    path = tmp_path / "one.grib"
    path.write_bytes(b"".join(message("2t", None, k, values[k]) for k in range(T)))
    return path


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """Temperature on two levels beside that at 2 m, under a name without an ending."""
    pytest.importorskip("cfgrib")
    levels = [message("t", level, k, FIELD[k] + level) for k in range(T) for level in (850, 500)]
    path = tmp_path / "ECMWF_20200101"
    path.write_bytes(b"".join([*levels, *(message("2t", None, k, FIELD[k]) for k in range(T))]))
    return path


def test_a_variable_with_its_dimensions_units_and_gaps(one: Path) -> None:
    movie = open_movie(one, variable=None, axes=None)
    assert (movie.axes, movie.shape, movie.meta["units"]) == ("tyx", (1, 1, T, Y, X), "K")
    read = movie.read(0, 0, T)[0]
    assert np.isnan(read[:, 0, 0]).all()
    np.testing.assert_allclose(read[:, 1:], FIELD[:, 1:], rtol=1e-5)
    times = movie.times()
    assert times is not None
    np.testing.assert_array_equal(np.diff(times), 86400)
    assert [path.name for path in one.parent.iterdir()] == ["one.grib"]  # no index file


def test_levels_are_selected(several: Path) -> None:
    assert {v.name for v in open_listing(several).variables} >= {"isobaricInhPa/t", "heightAboveGround/t2m"}
    with pytest.raises(UserError, match=r"isobaricInhPa \(2: 850, 500\) is neither time, row nor column"):
        open_movie(several, variable="isobaricInhPa/t", axes=None)
    movie = open_movie(several, variable="isobaricInhPa/t", axes=None, select={"isobaricInhPa": 500})
    np.testing.assert_allclose(movie.read(0, 1, 3)[0], FIELD[1:3] + 500, rtol=1e-5)


@pytest.mark.parametrize("kind", ["one", "several"])
def test_the_output_is_netcdf(kind: str, request: pytest.FixtureRequest) -> None:
    xarray = pytest.importorskip("xarray")
    path = request.getfixturevalue(kind)
    name, select = ("t2m", {}) if kind == "one" else ("isobaricInhPa/t", {"isobaricInhPa": 850})
    target = default_output(path, 2)
    assert target.name == f"{path.stem}_x2.nc"
    movie = open_movie(path, variable=name, axes=None, select=select)
    template = template_from_movie(movie, 2, suffix=".nc")
    assert "GRIB becomes NetCDF-4" in template.notes
    with open_array_sink(target, template, identity={}) as sink:
        sink.write(0, movie.read(0, 0, T).swapaxes(0, 1).repeat(2, 2).repeat(2, 3))
        sink.finish()
    group, _, short = name.rpartition("/")
    with xarray.open_dataset(target, group=group or None, engine="h5netcdf") as found:
        assert found[short].shape == (T, 2 * Y, 2 * X)
        assert found[short].attrs["GRIB_shortName"] == ("2t" if kind == "one" else "t")
        assert "GRIB_Nx" not in found[short].attrs
        np.testing.assert_allclose(found["latitude"][:2], [60.25, 59.75])
        assert str(found["time"].values[1])[:10] == "2020-01-02"
        if kind == "several":
            assert float(found["isobaricInhPa"]) == 850


def test_without_cfgrib_the_extra_is_named(tmp_path: Path, without: Any) -> None:
    without("cfgrib")
    (tmp_path / "a.grib").write_bytes(b"GRIB\x00\x00\x00\x02" + bytes(100))
    with pytest.raises(UserError, match=r"reading GRIB needs cfgrib; type: pip install 'vsr-movies\[grib\]'"):
        open_movie(tmp_path / "a.grib", variable=None, axes=None)


def test_what_stands_between_messages_is_no_damage(one: Path) -> None:
    content, length = one.read_bytes(), len(one.read_bytes()) // T
    expected = open_movie(one, variable=None, axes="tyx").read(0, 0, T)
    parts = [content[n * length : (n + 1) * length] for n in range(T)]
    for filler in (b"\x01\r\r\n123\r\r\nHTXX01 EDZW 010000\r\r\n", bytes(526), b"\r\r\n\x03"):
        one.write_bytes(filler.join(parts) + b"\0\0")
        np.testing.assert_array_equal(open_movie(one, variable=None, axes="tyx").read(0, 0, T), expected)


def test_damaged_files_are_one_line(one: Path) -> None:
    content = one.read_bytes()
    for cut in (len(content) - 3, len(content) // 2 + 30, 40, 8):
        one.write_bytes(content[:cut])
        with pytest.raises(UserError, match="one.grib: cut short"):
            open_movie(one, variable=None, axes="tyx")
    length = len(content) // T
    for damaged in (
        content[: 2 * length - 30] + content[2 * length :],  # the end of the second message is missing
        content[:length] + b"gRIB" + content[length + 4 :],
        content[:length] + content[length + 10 :],
    ):
        one.write_bytes(damaged)
        with pytest.raises(UserError, match=r"one.grib: damaged after byte 3\d\d; fetch the file again"):
            open_movie(one, variable=None, axes="tyx")
    one.write_bytes(content[:60] + bytes(40) + content[100:])
    with pytest.raises(UserError, match="one.grib"):
        open_movie(one, variable=None, axes="tyx")
