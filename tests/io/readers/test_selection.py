"""Selection of levels and members from arrays with more dimensions than a movie, and the names that tell dimensions apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.fakes import TINY_CLIMATE, train_here, upscale_here
from vsr.commands.inspect import inspect_command
from vsr.errors import UserError
from vsr.io.readers.open import ArrayMovie, Unspecified, open_movie
from vsr.io.writers.open import open_array_sink
from vsr.io.writers.template_from_movie import template_from_movie

T, L, Y, X = 5, 3, 4, 6
VALUES = np.arange(2.0 * T * L * Y * X).reshape(2, T, L, Y, X).astype(np.float32)
LEVELS = np.array([500.0, 700.0, 850.0])


def dataset() -> Any:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    coordinates = {
        "member": ("member", np.array(["r1i1p1", "r2i1p1"], dtype=object)),
        "time": ("time", np.arange(T), {"units": "days since 2000-01-01"}),
        "level": ("level", LEVELS, {"units": "hPa"}),
        "lat": ("lat", np.linspace(60, 45, Y), {"units": "degrees_north"}),
        "lon": ("lon", np.arange(X) * 1.0, {"units": "degrees_east"}),
    }
    return xarray.Dataset({"t": (("member", "time", "level", "lat", "lon"), VALUES, {"units": "K"})}, coordinates)


@pytest.fixture(params=["nc", "h5", "zarr2", "zarr3"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A variable with members and levels, in every format that names its dimensions."""
    data = dataset()
    if request.param.startswith("zarr"):
        pytest.importorskip("zarr")
        data = data.assign_coords(member=[1, 2])  # texts are not read from Zarr
        data.to_zarr(tmp_path / "a.zarr", zarr_format=int(request.param[-1]), consolidated=False)
        return tmp_path / "a.zarr"
    data.to_netcdf(tmp_path / f"a.{request.param}", engine="h5netcdf")
    return tmp_path / f"a.{request.param}"


def first_member(path: Path) -> Any:
    return 1 if path.suffix == ".zarr" else "r1i1p1"


def test_by_value_by_position_and_as_movies(path: Path) -> None:
    member = first_member(path)
    movie = open_movie(path, variable="t", axes=None, select={"level": 700, "member": member})
    assert (movie.shape, movie.axes, movie.meta["dims"]) == ((1, 1, T, Y, X), "tyx", ["time", "lat", "lon"])
    np.testing.assert_array_equal(movie.read(0, 1, 4)[0], VALUES[0, 1:4, 1])
    last = open_movie(path, variable="t", axes=None, select={"level": {"index": 2}, "member": {"index": 1}})
    np.testing.assert_array_equal(last.read(0, 0, T)[0], VALUES[1, :, 2])
    every = open_movie(path, variable="t", axes=None, select={"level": "all", "member": member})
    assert (every.shape, every.axes) == ((L, 1, T, Y, X), "tnyx")
    np.testing.assert_array_equal(every.read(2, 1, 3)[0], VALUES[0, 1:3, 2])
    some = open_movie(path, variable="t", axes=None, select={"level": [850, 500], "member": member})
    assert some.shape[0] == 2
    np.testing.assert_array_equal(some.read(0, 0, 2)[0], VALUES[0, :2, 2])
    channels = open_movie(path, variable="t", axes="tcyx", select={"member": member})
    assert channels.shape == (1, L, T, Y, X)
    np.testing.assert_array_equal(channels.read(0, 2, 3), VALUES[0, 2:3].swapaxes(0, 1))
    members = open_movie(path, variable="t", axes=None, select={"level": 500})
    assert (members.shape, members.axes) == ((2, 1, T, Y, X), "ntyx")


def test_mistakes_name_what_the_file_has(path: Path) -> None:
    with pytest.raises(
        Unspecified, match=r"level \(3: 500, 700, 850\) is neither time, row nor column; type 'data.select=\{level:500\}'"
    ):
        open_movie(path, variable="t", axes=None)
    mistakes: dict[str, tuple[dict[str, Any], str]] = {
        "value": ({"level": 501}, r"level has no such value; it has 500, 700, 850; type one of them"),
        "text": ({"level": "low"}, "level has no such value"),
        "dimension": ({"levle": 500}, "no such dimension; did you mean 'level'"),
        "position": ({"level": {"index": 3}}, "must be a position from 0 to 2"),
        "form": ({"level": {"value": 3}}, r"type \{level: VALUE\} or \{level: \{index: 0\}\}"),
        "nothing": ({"level": []}, "names nothing"),
        "two": ({"level": "all", "member": "all"}, "several positions of 2 dimensions"),
    }
    for select, message in mistakes.values():
        with pytest.raises(UserError, match=message):
            open_movie(path, variable="t", axes=None, select=select)
    with pytest.raises(UserError, match="c where data.select gives several positions"):
        open_movie(path, variable="t", axes="tcyx", select={"level": "all", "member": first_member(path)})


def test_an_output_keeps_what_was_selected(path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    options: dict[str, Any] = {"engine": "zarr", "consolidated": False} if path.suffix == ".zarr" else {"engine": "h5netcdf"}
    for select, shape in (({"level": 700}, (T, 2 * Y, 2 * X)), ({"level": [850, 500]}, (T, 2, 2 * Y, 2 * X))):
        movie = open_movie(path, variable="t", axes=None, select={**select, "member": first_member(path)})
        target = path.with_name(f"b{len(shape)}{path.suffix}")
        write(movie, target)
        with xarray.open_dataset(target, **options) as found:
            assert found["t"].shape == shape
            assert found["t"].units == "K"
            np.testing.assert_array_equal(found["level"], [850, 500] if len(shape) == 4 else 700)
            np.testing.assert_array_equal(found["time"], xarray.decode_cf(dataset())["time"])
            assert found["lat"].shape == (2 * Y,)
            expected = VALUES[0, :, 1] if len(shape) == 3 else VALUES[0][:, [2, 0]]
            np.testing.assert_array_equal(found["t"].values[..., ::2, ::2], expected)


def write(movie: ArrayMovie, target: Path) -> None:
    frames = np.concatenate([movie.read(k, 0, movie.shape[2]).swapaxes(0, 1) for k in range(movie.shape[0])])
    with open_array_sink(target, template_from_movie(movie, 2), identity={}) as sink:
        sink.write(0, frames.repeat(2, 2).repeat(2, 3))
        sink.finish()


def test_dimensions_without_names_are_numbered(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    movie = open_movie(tmp_path / "a.npy", variable=None, axes="tyx", select={0: 1, "2": 0})
    np.testing.assert_array_equal(movie.read(0, 0, T)[0], VALUES[1, :, 0])
    with pytest.raises(UserError, match="have no names; type their number, from 0 to 4"):
        open_movie(tmp_path / "a.npy", variable=None, axes="tyx", select={"level": 1})
    with pytest.raises(UserError, match="two times|twice"):
        open_movie(tmp_path / "a.npy", variable=None, axes="tyx", select={0: 1, "0": 0})
    np.save(tmp_path / "six.npy", VALUES[None])
    with pytest.raises(UserError, match=r"of 6 dimensions; a movie has 3 .* to 5; .*e.g. data.select=\{0: 0\}"):
        open_movie(tmp_path / "six.npy", variable=None, axes=None)


KNOWN = {
    "ROMS": (("ocean_time", "eta_rho", "xi_rho"), "tyx"),
    "WRF": (("Time", "south_north", "west_east"), "tyx"),
    "CMIP": (("time", "j", "i"), "tyx"),
    "NEMO": (("time_counter", "y", "x"), "tyx"),
    "POP": (("time", "nlat", "nlon"), "tyx"),
    "GFDL": (("time", "grid_yt", "grid_xt"), "tyx"),
    "HDF-EOS": (("time", "YDim:Grid", "XDim:Grid"), "tyx"),
    "forecast": (("step", "latitude", "longitude"), "tyx"),
}


@pytest.mark.parametrize(("dims", "axes"), KNOWN.values(), ids=KNOWN)
def test_names_of_models_need_no_axes(tmp_path: Path, dims: tuple[str, ...], axes: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["v"] = VALUES[0, :, 0]
        for i, name in enumerate(dims):
            file["v"].dims[i].label = name
    assert open_movie(tmp_path / "a.h5", variable=None, axes=None).axes == axes


def test_time_is_told_by_its_units_and_coordinates_are_no_movies(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    field = VALUES[0, :, 0]
    data = xarray.Dataset(
        {"T2": (("Zeit", "south_north", "west_east"), field, {"coordinates": "XLONG XLAT"})},
        {
            "Zeit": ("Zeit", np.arange(T), {"units": "hours since 2000-01-01"}),
            "XLAT": (("Zeit", "south_north", "west_east"), field, {"units": "degree_north"}),
            "XLONG": (("Zeit", "south_north", "west_east"), field),
        },
    )
    data.to_netcdf(tmp_path / "wrfout_d01_2020-01-01_00:00:00", engine="h5netcdf")
    movie = open_movie(tmp_path / "wrfout_d01_2020-01-01_00:00:00", variable=None, axes=None)
    assert (movie.meta["variable"], movie.axes) == ("T2", "tyx")
    np.testing.assert_array_equal(movie.read(0, 0, T)[0], field)


def test_inspect_takes_selections_and_suggests_them(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    member = first_member(path)
    inspect_command([str(path), "--variable", "t", "--select", "level=700", "--select", f"member={member}"])
    out = capsys.readouterr().out
    assert f"movie: {T} frames of {Y}x{X}" in out
    assert f'"data.select={{level:700,member:{member}}}"' in out
    with pytest.raises(UserError, match="must be DIMENSION=VALUE"):
        inspect_command([str(path), "--select", "level"])


FOREIGN = {
    "a.fits": (b"SIMPLE  =                    T", "FITS, which is not read; astropy"),
    "a.nii": (bytes(344) + b"n+1\0" + bytes(100), "NIfTI, which is not read; nibabel"),
    "a.vtk": (b"# vtk DataFile Version 3.0\n", "VTK, which is not read; meshio"),
    "a.hdf": (b"\x0e\x03\x13\x01" + bytes(60), "HDF4, which is not read; convert it: h4toh5"),
    "a.nc.gz": (b"\x1f\x8b\x08\x00" + bytes(60), "compressed by gzip, which is not read; type: gunzip"),
    "a.png": (b"\x89PNG" + bytes(60), "a PNG picture"),
    "a.pkl": (b"\x80\x04\x95" + bytes(60), "a pickle, which could run code"),
    "a.csv": (b"time,lat,lon\n1,2,3\n", "text"),
    "nothing": (b"", "empty, 0 bytes"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_formats_are_named_with_their_converter(tmp_path: Path, name: str) -> None:
    content, message = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_movie(tmp_path / name, variable=None, axes=None)


def test_a_zip_under_the_name_of_a_data_file_is_called_a_zip(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "download.nc", "w") as archive:
        archive.writestr("data_stream-oper_stepType-instant.nc", b"\x89HDF")
        archive.writestr("data_stream-oper_stepType-accum.nc", b"\x89HDF")
    with pytest.raises(UserError, match=r"download.nc: a zip archive of data_stream-oper_stepType-instant.nc, .*type: unzip"):
        open_movie(tmp_path / "download.nc", variable=None, axes=None)


def test_upscale_selects_by_the_command_line(path: Path) -> None:
    run = path.parent / "run"
    train_here(run, [*TINY_CLIMATE, "recipe.patch=6", "recipe.steps=2"])
    member = first_member(path)
    typed = [f"checkpoint={run}", f"input={path}", "variable=t", f"select={{level:700,member:{member}}}", "guard=off"]
    result = upscale_here(typed)
    assert open_movie(result, variable="t", axes=None).shape == (1, 1, T, 2 * Y, 2 * X)
    with pytest.raises(UserError, match=r"select=700: must name a dimension and a value; type 'select=\{level:500\}'"):
        upscale_here([*typed[:2], "select=700"])
    with pytest.raises(UserError, match=r"has 3 channel\(s\), .* type 'select=\{level:\{index:0\}\}' for one channel"):
        upscale_here([*typed[:3], "axes=tcyx", f"select={{member:{member}}}", f"output={path.parent}/c{path.suffix}"])
