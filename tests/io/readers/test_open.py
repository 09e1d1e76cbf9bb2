"""Files of arrays: the same field from every format in the same orientation, and refusal of what must not be read."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import netcdf_file, savemat

from tests.fakes import ROOT
from tests.processes import run_process
from vsr.errors import UserError
from vsr.io.readers.axes import arrange_axes
from vsr.io.readers.open import Unspecified, open_listing, open_movie
from vsr.system.address import path_or_address

REAL = ROOT.parent / "shared" / "data" / "climate" / "A1B_north_america.nc"
T, Y, X = 7, 5, 6


def field(t: int = T, y: int = Y, x: int = X) -> np.ndarray:
    """float32 (T, Y, X); the value tells its place: 10000 t + 100 y + x."""
    index = np.meshgrid(np.arange(t), np.arange(y), np.arange(x), indexing="ij")
    return (10000 * index[0] + 100 * index[1] + index[2]).astype(np.float32)


YXT = field().transpose(1, 2, 0)


def write_matlab73(path: Path, name: str = "h", values: np.ndarray = YXT, kind: str = "single", **options: object) -> Path:
    """As MATLAB does: a user block with its header, dimensions reversed, the class as an attribute."""
    with h5py.File(path, "w", userblock_size=512) as file:
        data = file.create_dataset(name, data=values.T, **options)
        data.attrs["MATLAB_class"] = np.bytes_(kind)
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM"
    with path.open("r+b") as raw:
        raw.write(header)
    return path


def write_h5(path: Path, values: np.ndarray | None = None, **options: object) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("flow/h", data=field() if values is None else values, **options)
    return path


def write_npy(path: Path) -> Path:
    np.save(path, field())
    return path


def write_npz(path: Path, save: Callable[..., None] = np.savez) -> Path:
    save(path, h=field(), time=np.arange(T))
    return path


def write_zarr(path: Path, version: int = 2) -> Path:
    zarr = pytest.importorskip("zarr")
    target = zarr.storage.ZipStore(path, mode="w") if path.suffix == ".zip" else zarr.storage.LocalStore(path)
    group = zarr.open_group(target, mode="w", zarr_format=version)
    group.create_array("h", shape=(T, Y, X), dtype="f4", chunks=(2, Y, X))[:] = field()
    target.close()
    return path


def dataset() -> object:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    coordinates = {"time": np.arange(T), "lat": np.arange(Y), "lon": np.arange(X)}
    data = xarray.Dataset({"h": (("time", "lat", "lon"), field(), {"units": "m"})}, coordinates)
    data["bounds"] = (("lat", "two"), np.zeros((Y, 2)))
    return data


def write_nc(path: Path) -> Path:
    dataset().to_netcdf(path, engine="h5netcdf")  # type: ignore[attr-defined]
    return path


def write_classic(path: Path) -> Path:
    pytest.importorskip("xarray")
    with netcdf_file(path, "w") as file:
        for name, size in (("time", None), ("lat", Y), ("lon", X)):
            file.createDimension(name, size)
        values = file.createVariable("h", "f4", ("time", "lat", "lon"))
        values[:] = field()
        values.units = "m"
    return path


def mat5(path: Path, compressed: bool = False) -> Path:
    savemat(path, {"h": YXT, "bed": np.zeros((Y, X))}, do_compression=compressed)
    return path


FORMATS: dict[str, tuple[Callable[[Path], Path], str, str | None, str]] = {
    "v5": (mat5, "h.mat", "yxt", "MATLAB 5"),
    "v5 compressed": (lambda p: mat5(p, True), "h.mat", "yxt", "MATLAB 5"),
    "v7.3": (write_matlab73, "h.mat", "yxt", "MATLAB 7.3"),
    "v7.3 gzip": (lambda p: write_matlab73(p, compression="gzip", chunks=(1, X, Y)), "h.mat", "yxt", "MATLAB 7.3"),
    "h5": (write_h5, "h.h5", "tyx", "HDF5"),
    "h5 gzip": (lambda p: write_h5(p, chunks=(1, Y, X), compression="gzip"), "h.hdf5", "tyx", "HDF5"),
    "h5 fletcher32": (lambda p: write_h5(p, fletcher32=True), "h.h5", "tyx", "HDF5"),
    "npy": (write_npy, "h.npy", "tyx", "NumPy .npy"),
    "npz": (write_npz, "h.npz", "tyx", "NumPy .npz"),
    "npz compressed": (lambda p: write_npz(p, np.savez_compressed), "h.npz", "tyx", "NumPy .npz"),
    "zarr 2": (lambda p: write_zarr(p, 2), "h.zarr", "tyx", "Zarr"),
    "zarr 3": (lambda p: write_zarr(p, 3), "h.zarr", "tyx", "Zarr"),
    "zarr zip": (lambda p: write_zarr(p, 3), "h.zarr.zip", "tyx", "Zarr"),
    "nc": (write_nc, "h.nc", None, "NetCDF (HDF5-based)"),
    "nc classic": (write_classic, "h.nc", None, "NetCDF (classic)"),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_movie(kind: str, tmp_path: Path) -> None:
    write, name, axes, format_name = FORMATS[kind]
    path = write(tmp_path / name)
    movie = open_movie(path, variable=None, axes=axes)
    assert movie.shape == (1, 1, T, Y, X)
    assert movie.meta["format"] == open_listing(path).format == format_name
    for start, stop in ((0, T), (2, 5), (T - 1, T)):
        frames = movie.read(0, start, stop)
        assert frames.dtype == np.float32
        assert frames.flags.c_contiguous
        np.testing.assert_array_equal(frames[0], field()[start:stop])
    again = pickle.loads(pickle.dumps(movie))
    np.testing.assert_array_equal(again.read(0, 1, 3), movie.read(0, 1, 3))
    assert any(v.name.endswith("h") and len(v.shape) == 3 and v.dtype == "float32" for v in open_listing(path).variables)
    for wrong in ((1, 0, 1), (0, -1, 1), (0, 3, 3), (0, 0, T + 1)):
        with pytest.raises(IndexError):
            movie.read(*wrong)


def test_another_process_opens_its_own_handle(tmp_path: Path) -> None:
    movie = open_movie(write_h5(tmp_path / "h.h5"), variable=None, axes="tyx")
    movie.read(0, 0, 1)
    (tmp_path / "movie.pickle").write_bytes(pickle.dumps(movie))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).read(0, 2, 3)[0, 0, 1, 3])"
    done = run_process(
        [sys.executable, "-c", code, str(tmp_path / "movie.pickle")], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert float(done.stdout) == 20103


def test_only_the_wanted_frames_are_read(tmp_path: Path) -> None:
    """Frame 0 can be read although the last one is damaged."""
    path = write_h5(tmp_path / "h.h5", chunks=(1, Y, X), fletcher32=True)
    with h5py.File(path) as file:
        last = file["flow/h"].id.get_chunk_info(T - 1)
    with path.open("r+b") as raw:
        raw.seek(last.byte_offset + 3)
        raw.write(b"\xff")
    movie = open_movie(path, variable=None, axes="tyx")
    np.testing.assert_array_equal(movie.read(0, 0, T - 1)[0], field()[:-1])
    with pytest.raises(UserError, match=r"h.h5: flow/h: cannot be read \(.*filter.*damaged"):
        movie.read(0, T - 1, T)


def test_imports_are_light() -> None:
    code = "import sys, vsr.io.readers.open; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = run_process([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    heavy = {"torch", "lightning", "hydra", "h5py", "scipy", "xarray", "zarr", "pandas", "h5netcdf"}
    assert not heavy & set(done.stdout.split())


SIZES = {"n": 2, "c": 3, "t": 4, "y": 5, "x": 6}


@given(axes=st.sets(st.sampled_from("nc")).flatmap(lambda extra: st.permutations(sorted({*"tyx"} | extra))))
@settings(max_examples=50)
def test_any_order_of_axes(axes: list[str]) -> None:
    order = "".join(axes)
    full = np.arange(np.prod(list(SIZES.values()))).reshape(*SIZES.values()).astype(np.float32)
    kept = full[tuple(slice(None) if letter in order else slice(0, 1) for letter in "nctyx")]
    present = [letter for letter in "nctyx" if letter in order]
    stored = kept.reshape([SIZES[letter] for letter in present]).transpose([present.index(letter) for letter in order])
    np.testing.assert_array_equal(arrange_axes(stored, order), kept)


@given(order=st.permutations("nctyx"))
@settings(max_examples=10, deadline=None)
def test_the_same_axes_work_for_old_and_new_matlab_files(
    order: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("mat")
    axes = "".join(order)
    stored = np.random.default_rng(0).random([SIZES[letter] for letter in axes]).astype(np.float32)
    savemat(folder / "old.mat", {"h": stored})
    write_matlab73(folder / "new.mat", values=stored)
    np.save(folder / "numpy.npy", np.asfortranarray(stored))
    np.savez(folder / "numpy.npz", h=np.asfortranarray(stored))
    expected = arrange_axes(stored, axes)
    for name in ("old.mat", "new.mat", "numpy.npy", "numpy.npz"):
        movie = open_movie(folder / name, variable=None, axes=axes.upper())
        assert movie.shape == tuple(SIZES.values())
        np.testing.assert_array_equal(movie.read(1, 1, 3), expected[1, :, 1:3])


def test_several_variables_become_channels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", u=field(), v=field() + 1, w=field()[:3])
    with pytest.raises(Unspecified, match=r"several arrays.*u \(7x5x6 float32\), v \(7x5x6 float32\).*type data.variable=NAME"):
        open_movie(tmp_path / "a.npz", variable=None, axes="tyx")
    movie = open_movie(tmp_path / "a.npz", variable=["v", "u"], axes="tyx")
    assert movie.shape == (1, 2, T, Y, X)
    assert movie.meta["variable"] == ["v", "u"]
    np.testing.assert_array_equal(movie.read(0, 1, 4), np.stack([field()[1:4] + 1, field()[1:4]]))
    with pytest.raises(UserError, match="w is 3x5x6, u is 7x5x6; variables that become channels must be alike"):
        open_movie(tmp_path / "a.npz", variable=["u", "w"], axes="tyx")
    with pytest.raises(UserError, match="names no variable"):
        open_movie(tmp_path / "a.npz", variable=[], axes="tyx")
    np.savez(tmp_path / "b.npz", u=np.zeros((3, 4, 5, 6)), v=np.zeros((3, 4, 5, 6)))
    with pytest.raises(UserError, match="have channels already"):
        open_movie(tmp_path / "b.npz", variable=["u", "v"], axes="ctyx")


def test_axes_are_never_guessed(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "h.npy")
    with pytest.raises(Unspecified, match=r"type e.g. data.axes=tyx \(tyx is 7 frames of 5x6; .*yxt is 6 frames of 7x5"):
        open_movie(path, variable=None, axes=None)
    np.save(tmp_path / "h4.npy", np.zeros((3, 4, 5, 6)))
    with pytest.raises(Unspecified, match=r"tcyx is 3 frames of 5x6, 4 channels;.*any other order works"):
        open_movie(tmp_path / "h4.npy", variable=None, axes=None)
    with pytest.raises(Unspecified, match=r"type e.g. data.axes=(yxt|xyt)"):
        open_movie(mat5(tmp_path / "h.mat"), variable=None, axes=None)
    for axes, message in {
        "tyz": "unknown letter 'z'",
        "tyy": "a letter occurs twice",
        "ncx": "t, y is missing",
        "tcyx": "4 letters, the array 3 dimensions",
        "": "t, y, x is missing",
    }.items():
        with pytest.raises(UserError, match=rf"h.npy: h: data.axes={axes}.*{message}.*type e.g. data.axes=tyx"):
            open_movie(path, variable=None, axes=axes)


def test_named_dimensions_tell_the_axes(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")

    def axes(dims: dict[str, int], **coordinates: dict[str, str]) -> str:
        values = {name: (name, np.arange(dims[name]), attrs) for name, attrs in coordinates.items()}
        data = xarray.Dataset({"h": (tuple(dims), np.zeros(tuple(dims.values())))}, values)
        data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
        return open_movie(tmp_path / "a.nc", variable=None, axes=None).axes

    assert axes({"lon": 3, "lat": 4, "time": 5}) == "xyt"
    assert axes({"member": 2, "time": 3, "level": 1, "latitude": 4, "longitude": 5}) == "ntcyx"
    assert axes({"a": 3, "b": 4, "d": 5}, a={"axis": "T"}, b={"standard_name": "latitude"}, d={"units": "degrees_east"}) == "tyx"
    told = {
        r"level \(2\) is neither time, row nor column": {"time": 3, "level": 2, "lat": 4, "lon": 5},
        r"what a, b of the dimensions time, a, b \(3x4x5\) is; type e.g. data.axes=tyx \(tyx is 3 frames of 4x5; txy is": {
            "time": 3,
            "a": 4,
            "b": 5,
        },
        r"what time, t of the dimensions": {"time": 3, "t": 4, "y": 5, "x": 6},
    }
    for message, dims in told.items():
        with pytest.raises(Unspecified, match=message):
            axes(dims)
    with pytest.raises(Unspecified):  # the name says y, the attribute x
        axes({"time": 3, "lat": 4, "lon": 5}, lat={"axis": "X"})
    assert open_movie(tmp_path / "a.nc", variable="h", axes="tyx").axes == "tyx"


def test_dimension_scales_and_labels_of_hdf5(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "h.h5")
    with h5py.File(path, "a") as file:
        for i, name in enumerate(("time", "lat")):
            file[name] = np.arange((T, Y)[i])
            file[name].make_scale(name)
            file["flow/h"].dims[i].attach_scale(file[name])
        file["flow/h"].dims[2].label = "x"
        file["flow/h"].attrs.update({"units": "m", "level": 3, "big": np.zeros(100), "range": [1.0, 2.0]})
    movie = open_movie(path, variable="/flow/h", axes=None)
    assert movie.axes == "tyx"
    assert movie.meta["dims"] == ["time", "lat", "x"]
    assert movie.meta["units"] == "m"
    attrs = movie.meta["attrs"]
    assert (attrs["level"], attrs["range"]) == (3, [1.0, 2.0])
    assert "big" not in attrs


@pytest.mark.parametrize("kind", ["nc", "classic", "zarr 2", "zarr 3"])
def test_packed_values_are_decoded(kind: str, tmp_path: Path) -> None:
    packed = np.arange(T * Y * X, dtype=np.int16).reshape(T, Y, X)
    expected = packed * 0.5 + 100.0
    packed[1, 2, 3], expected[1, 2, 3] = -999, np.nan
    path = tmp_path / ("h.zarr" if "zarr" in kind else "h.nc")
    if kind == "classic":
        pytest.importorskip("xarray")
        with netcdf_file(path, "w") as file:
            for name, size in zip(("time", "y", "x"), (T, Y, X), strict=True):
                file.createDimension(name, size)
            values = file.createVariable("h", "i2", ("time", "y", "x"))
            values[:] = packed
            values.scale_factor, values.add_offset, values.missing_value = 0.5, 100.0, np.int16(-999)
    elif kind == "nc":
        data = dataset().assign(h=(("time", "lat", "lon"), expected))  # type: ignore[attr-defined]
        encoding = {"h": {"dtype": "i2", "scale_factor": 0.5, "add_offset": 100.0, "_FillValue": -999}}
        data.to_netcdf(path, engine="h5netcdf", encoding=encoding)
    else:
        zarr = pytest.importorskip("zarr")
        version = int(kind[-1])
        group = zarr.open_group(path, mode="w", zarr_format=version)
        options = {"dimension_names": ("time", "y", "x")} if version == 3 else {"fill_value": -999}
        array = group.create_array("h", shape=packed.shape, dtype="i2", chunks=(2, Y, X), **options)
        array[:] = packed
        array.attrs.update({"scale_factor": 0.5, "add_offset": 100.0})
        array.attrs.update({"_FillValue": -999} if version == 3 else {"_ARRAY_DIMENSIONS": ["time", "y", "x"]})
    movie = open_movie(path, variable=None, axes=None)
    np.testing.assert_allclose(movie.read(0, 0, T)[0], expected, rtol=1e-6)
    np.testing.assert_allclose(movie.read(0, 1, 2)[0], expected[1:2], rtol=1e-6)


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_as_xarray_writes_it(version: int, tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    values = field()
    values[3, 1, 2] = np.nan
    data = dataset().assign(h=(("time", "lat", "lon"), values, {"units": "m"}))  # type: ignore[attr-defined]
    data.to_zarr(tmp_path / "h.zarr", zarr_format=version, encoding={"h": {"_FillValue": -1.0}}, consolidated=False)
    movie = open_movie(tmp_path / "h.zarr", variable=None, axes=None)
    assert (movie.axes, movie.meta["units"]) == ("tyx", "m")
    np.testing.assert_array_equal(movie.read(0, 0, T)[0], values)


def test_groups_of_a_netcdf_file(tmp_path: Path) -> None:
    path = write_nc(tmp_path / "h.nc")
    dataset().to_netcdf(path, engine="h5netcdf", group="run/a", mode="a")  # type: ignore[attr-defined]
    assert {v.name for v in open_listing(path).variables if len(v.shape) == 3} == {"h", "run/a/h"}
    np.testing.assert_array_equal(open_movie(path, variable="run/a/h", axes=None).read(0, 1, 2)[0], field()[1:2])


def test_values_are_returned_as_they_are(tmp_path: Path) -> None:
    values = field().astype(np.float64)
    values[0, 0, :3] = np.nan, np.inf, 1e300
    np.save(tmp_path / "h.npy", values.astype(">f8"))
    with pytest.raises(UserError, match=r"values up to 1e\+300 .*data\.missing=1e\+300"):
        open_movie(tmp_path / "h.npy", variable=None, axes="tyx").read(0, 0, 1)
    assert open_movie(tmp_path / "h.npy", variable=None, axes="tyx").read(0, 0, 1, dtype=np.float64)[0, 0, 0, 2] == 1e300
    frames = open_movie(tmp_path / "h.npy", variable=None, axes="tyx", missing=1e300).read(0, 0, 1)[0, 0]
    assert np.isnan(frames[0, 0])
    assert np.isinf(frames[0, 1])
    assert np.isnan(frames[0, 2])
    np.testing.assert_array_equal(frames[1:], field()[0, 1:])


def test_a_real_climate_movie() -> None:
    if not REAL.exists():
        pytest.skip("the real climate file is not beside the project")
    pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    movie = open_movie(REAL, variable=None, axes=None)
    assert (movie.shape, movie.axes) == ((1, 1, 240, 37, 49), "tyx")
    assert (movie.meta["units"], movie.meta["variable"]) == ("K", "air_temperature")
    frames = movie.read(0, 0, 240)[0]
    assert 220 < frames.min() < frames.max() < 330
    # One year is much like the next, and it is colder in the north: rows are latitudes.
    assert np.corrcoef(frames[0].ravel(), frames[1].ravel())[0, 1] > 0.99
    assert abs(frames[:, 0].mean() - frames[:, -1].mean()) > 15


# What must be refused.


def refused(path: Path, message: str, variable: str | None = None, axes: str | None = "tyx", **options: int) -> str:
    with pytest.raises(UserError, match=message) as caught:
        open_movie(path, variable=variable, axes=axes, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert path.name in text
    return text


@pytest.mark.parametrize("suffix", [".mat", ".h5", ".hdf5", ".nc", ".npy", ".npz", ".zip", ".zarr"])
def test_empty_and_text_files(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"h{suffix}"
    path.write_bytes(b"")
    refused(path, "empty, 0 bytes; give a complete file")
    path.write_text("<!DOCTYPE html> not found\n" * 40)
    refused(path, r"text \('?<!DOCTYPE html>.*not arrays")
    path.write_bytes(bytes(range(128, 256)) * 20)
    refused(path, "not a format that is read|a pickle, which could run code")


@pytest.mark.parametrize("kind", FORMATS)
def test_files_cut_short(kind: str, tmp_path: Path) -> None:
    write, name, axes, _ = FORMATS[kind]
    path = write(tmp_path / name)
    if path.is_dir():
        meta = next(p for p in (path / "h" / ".zarray", path / "h" / "zarr.json") if p.exists())
        meta.write_text(meta.read_text()[:50])
        refused(path, "cannot be read .*damaged", axes=axes)
        return
    whole = path.read_bytes()
    for size in (20, 130, 600, len(whole) // 2, len(whole) - 100):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"^[^\n]*h\.[^\n]*;[^\n]*$"):
            open_movie(path, variable=None, axes=axes).read(0, 0, T)


@pytest.mark.parametrize("kind", FORMATS)
def test_random_damage_is_a_user_error_or_harmless(kind: str, tmp_path: Path) -> None:
    write, name, axes, _ = FORMATS[kind]
    path = write(tmp_path / name)
    file = next(p for p in (path / "h" / ".zarray", path / "h" / "zarr.json", path) if p.is_file())
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    for _ in range(30):
        raw = bytearray(whole)
        for place in rng.integers(min(len(raw), int(rng.choice([300, 3000, 10**6]))), size=rng.choice([1, 3, 10])):
            raw[place] = rng.choice([0, 255, rng.integers(256)])
        file.unlink()  # a new file: the old one may still be mapped
        file.write_bytes(raw)
        try:
            movie = open_movie(path, variable=None, axes=axes)
            movie.read(0, 0, min(T, movie.shape[2]))
        except UserError as error:
            assert "\n" not in str(error)


def test_matlab_versions_are_told_by_their_header(tmp_path: Path) -> None:
    savemat(tmp_path / "v4.mat", {"h": np.ones((Y, X))}, format="4")
    assert open_listing(tmp_path / "v4.mat").format == "MATLAB 4"
    refused(tmp_path / "v4.mat", r"no numeric array of 3 or more dimensions \(h is 5x6\)")
    refused(tmp_path / "v4.mat", "h is 5x6, of 2 dimensions", variable="h")
    mat5(tmp_path / "v5.h5")
    assert open_listing(tmp_path / "v5.h5").format == "MATLAB 5"
    write_matlab73(tmp_path / "v73.h5")
    assert open_listing(tmp_path / "v73.h5").format == "MATLAB 7.3"
    write_h5(tmp_path / "plain.mat")
    assert open_listing(tmp_path / "plain.mat").format == "HDF5"
    whole = (tmp_path / "v73.h5").read_bytes()
    (tmp_path / "short.mat").write_bytes(whole[:400])
    refused(tmp_path / "short.mat", "a MATLAB 7.3 header without the HDF5 file behind it, cut short")
    (tmp_path / "cdf5.nc").write_bytes(b"CDF\x05" + bytes(100))
    refused(tmp_path / "cdf5.nc", "nccopy -k nc4")


def test_matlab_contents_that_are_no_movie(tmp_path: Path) -> None:
    import scipy.sparse

    cell = np.empty((2, 2, 2), object)
    cell[:] = 1.0
    contents = {
        "z": field() * 1j,
        "flag": field() > 3,
        "text": "word",
        "fields": np.array([(field(),), (field(),)], [("h", object)]),
        "cells": cell,
        "sparse": scipy.sparse.eye(5).tocsc(),
        "nothing": np.zeros((0, 0)),
    }
    words = {
        "z": "is complex",
        "flag": "is boolean",
        "text": "is a string",
        "fields": r"is .*an array of structs; store a field of one element .*, e.g. h = fields\(1\).FIELD",
        "cells": r"is a cell array, .* e.g. h = cells\{1\}",
        "sparse": "is a sparse",
        "nothing": "is empty",
    }
    for compressed in (False, True):
        savemat(tmp_path / "a.mat", contents, do_compression=compressed)
        assert open_listing(tmp_path / "a.mat").variables == ()
        for name, word in words.items():
            refused(tmp_path / "a.mat", f"a.mat: {name} {word}", variable=name)
        refused(tmp_path / "a.mat", "no numeric array of 3 or more dimensions .*z is complex")
    refused(tmp_path / "a.mat", "data.variable=q: there is no such array; it holds no numeric array", variable="q")
    refused(mat5(tmp_path / "b.mat"), "data.variable=bet: there is no such array; did you mean 'bed'", variable="bet")


def test_matlab_73_contents_that_are_no_movie(tmp_path: Path) -> None:
    path = write_matlab73(tmp_path / "a.mat", "flag", (YXT > 0).astype(np.uint8), "logical")
    with h5py.File(path, "r+") as file:
        for name, kind in (("text", "char"), ("cells", "cell")):
            file.create_dataset(name, data=np.ones((2, 2, 2), np.uint16)).attrs["MATLAB_class"] = np.bytes_(kind)
        file.create_group("fields").attrs["MATLAB_class"] = np.bytes_("struct")
        file["fields/h"] = np.full((2, 1), file["text"].ref, h5py.ref_dtype)
        file.create_group("sparse").attrs["MATLAB_sparse"] = np.uint64(5)
        file["z"] = field().astype(np.complex64)
        file["#refs#/a"] = field()
        file.create_dataset("nothing", data=np.array([0, 0], np.uint64)).attrs["MATLAB_empty"] = np.uint8(1)
    assert open_listing(path).variables == ()
    for name, word in {
        "flag": "is boolean",
        "text": "is a char array",
        "cells": "is a cell array",
        "fields": r"is .*an array of structs; store a field of one element .*, e.g. h = fields\(1\).FIELD",
        "sparse": "is a sparse",
        "z": "is (complex|struct)",
        "nothing": "is empty",
    }.items():
        refused(path, f"a.mat: {name} {word}", variable=name)


def write_struct(path: Path, version: str) -> Path:
    """A struct `s` with the fields note, dt, u (yxt) and flow, a struct with the field v; and a variable w."""
    if version != "7.3":
        s = {"note": "a word", "dt": 0.5, "u": YXT, "flow": {"v": YXT + 1, "cells": np.array([[1.0, "a"]], object)}}
        savemat(path, {"w": np.ones((2, 3)), "s": s}, do_compression=version == "7")
        return path
    write_matlab73(path, "w", np.ones((2, 3)))
    with h5py.File(path, "r+") as file:
        file["#refs#/a"] = field()
        for name, values, kind in (
            ("s/note", np.array([[97]], np.uint16), "char"),
            ("s/dt", np.array([[0.5]]), "double"),
            ("s/u", YXT.T, "single"),
            ("s/flow/v", YXT.T + 1, "single"),
            ("s/flow/cells", np.full((2, 1), file["#refs#/a"].ref, h5py.ref_dtype), "cell"),
        ):
            file.create_dataset(name, data=values).attrs["MATLAB_class"] = np.bytes_(kind)
        file["s"].attrs["MATLAB_class"] = file["s/flow"].attrs["MATLAB_class"] = np.bytes_("struct")
    return path


@pytest.mark.parametrize("version", ["5", "7", "7.3"])
def test_fields_of_a_struct_are_variables(version: str, tmp_path: Path) -> None:
    path = write_struct(tmp_path / "a.mat", version)
    listing = open_listing(path)
    found = {v.name: v.shape for v in listing.variables}
    assert found == {"w": (2, 3), "s.dt": (1, 1), "s.u": (Y, X, T), "s.flow.v": (Y, X, T)}
    assert listing.refused.keys() == {"s.note", "s.flow.cells"}
    assert "s.flow.cells{1}" in listing.refused["s.flow.cells"]
    for name, expected in (("s.u", field()), ("s/u", field()), ("s.flow.v", field() + 1), ("s/flow/v", field() + 1)):
        movie = open_movie(path, variable=name, axes="yxt")
        assert movie.meta["variable"] == name.replace("/", ".")
        np.testing.assert_array_equal(movie.read(0, 1, 3)[0], expected[1:3])
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(movie)).read(0, 0, T)[0], expected)
    refused(path, r"several arrays can be the movie: s.u \(5x6x7 float32\), s.flow.v")
    refused(path, "s holds arrays and is none itself; type data.variable=s.u, or data.variable=s.flow.v", "s", "yxt")
    refused(path, "s.flow holds arrays .* type data.variable=s.flow.v", "s/flow", "yxt")
    refused(path, "s.note is a (string|char)", "s.note", "yxt")
    refused(path, "s.flow.cells is a cell array", "s/flow/cells", "yxt")


def test_structs_in_any_file_of_version_5(tmp_path: Path) -> None:
    """Fields far behind each other, single fields, empty ones, long names, names alike, and a struct without fields."""
    rng = np.random.default_rng(0)
    noise, long = rng.random((400, 900)), "n" * 31
    contents = {"a": {"far": noise, "h": YXT, long: np.zeros((0, 3)), "b": {"far": noise[:9]}}, "b": {"h": YXT * 2}, "c": {}}
    for compressed in (False, True):
        path = tmp_path / f"{compressed}.mat"
        savemat(path, contents, do_compression=compressed)
        listing = open_listing(path)
        assert [v.name for v in listing.variables] == ["a.far", "a.h", "a.b.far", "b.h"]
        assert listing.refused[f"a.{long}"].startswith("is empty")
        assert listing.refused["c"].startswith("is a struct without fields")
        reader = open_movie(path, variable="b.h", axes="yxt").reader
        np.testing.assert_array_equal(reader.read("b.h", (slice(0, 2),)), 2 * YXT[:2])
        np.testing.assert_array_equal(reader.read("a.h", (slice(1, 2),)), YXT[1:2])
        np.testing.assert_array_equal(reader.read("a.b.far", ()), noise[:9])
        np.testing.assert_array_equal(reader.read("a.far", ()), noise)
        raw = path.read_bytes()
        for cut in (200, 400, len(raw) // 2, len(raw) - 40):
            (tmp_path / "cut.mat").write_bytes(raw[:cut])
            refused(tmp_path / "cut.mat", "cannot be read", "b.h", "yxt")


def test_hdf5_contents_that_are_no_movie(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["z"] = field().astype(np.complex64)
        file["flag"] = field() > 3
        file["pairs"] = np.zeros((2, 3, 4), [("a", "f4"), ("b", "f4")])
        file["words"] = np.full((2, 3, 4), b"abc")
        file["texts"] = np.full((2, 2), "abc", h5py.string_dtype())
        file["null"] = h5py.Empty("f4")
        file["none"] = np.zeros((0, 3, 4))
        file["line"] = np.zeros(3)
        file["number"] = 1.0
        file["six"] = np.zeros((1,) * 6)
    for name, word in {
        "z": "is complex",
        "flag": "is boolean",
        "pairs": "is struct",
        "words": "is string",
        "texts": "is object",
        "null": "is empty",
        "none": "is empty",
        "line": "is 3, of 1 dimensions",
        "number": "is a single number, of 0 dimensions",
        "six": "is 1x1x1x1x1x1, of 6 dimensions; a movie has 3",
    }.items():
        refused(path, f"{name}:? {word}", variable=name)


SECRET = "a line of another file"


def assert_not_read(path: Path, secret: Path) -> None:
    """Listing the file and asking for each of its names gives no value of `secret`."""
    before = secret.stat().st_atime_ns
    try:
        names = [*(v.name for v in open_listing(path).variables), *open_listing(path).refused]
    except UserError:
        names = ["h"]
    for name in [*names, None]:
        with pytest.raises(UserError, match=r"which is not followed|virtual dataset|no numeric array|link"):
            open_movie(path, variable=name, axes="tyx")
    assert secret.stat().st_atime_ns == before


def hostile_hdf5(path: Path, attack: str, secret: Path) -> Path:
    """A file whose array `h` leads to `secret`."""
    matlab = path.suffix == ".mat"
    with h5py.File(path, "w", userblock_size=512 if matlab else 0) as file:
        if attack == "external storage":
            size = secret.stat().st_size
            file.create_dataset("h", (1, 1, size), "u1", external=[(str(secret), 0, size)])
        elif attack == "external link":
            file["h"] = h5py.ExternalLink(str(secret), "/flow/h")
        elif attack == "soft link through an external one":
            file["away"] = h5py.ExternalLink(str(secret), "/")
            file["h"] = h5py.SoftLink("/away/flow/h")
        elif attack == "virtual":
            layout = h5py.VirtualLayout((T, Y, X), "f4")
            layout[:] = h5py.VirtualSource(str(secret), "flow/h", (T, Y, X))
            file.create_virtual_dataset("h", layout)
        else:
            file["h"] = h5py.SoftLink("/loop")
            file["loop"] = h5py.SoftLink("/h")
    if matlab:
        with path.open("r+b") as raw:
            raw.write(b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM")
    return path


ATTACKS = ["external storage", "external link", "soft link through an external one", "virtual", "soft loop"]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("suffix", [".h5", ".mat", ".nc"])
def test_hdf5_leads_to_no_other_file(attack: str, suffix: str, tmp_path: Path) -> None:
    if suffix == ".nc":
        pytest.importorskip("xarray")
        pytest.importorskip("h5netcdf")
    secret = write_h5(tmp_path / "secret.h5") if attack != "external storage" else tmp_path / "secret.txt"
    if attack == "external storage":
        secret.write_text(SECRET)
    path = hostile_hdf5(tmp_path / f"h{suffix}", attack, secret)
    if attack == "external storage":
        with h5py.File(path) as file:  # the attack works where nobody looks
            assert bytes(file["h"][0, 0]) == SECRET.encode()
    assert_not_read(path, secret)


def test_hard_links_in_a_circle_end(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "h.h5")
    with h5py.File(path, "r+") as file:
        file["flow/again"] = file["/"]
        file["flow/self"] = file["flow"]
    assert [v.name for v in open_listing(path).variables] == ["flow/h"]


def test_an_array_replaced_after_opening_is_checked_again(tmp_path: Path) -> None:
    path, secret = write_h5(tmp_path / "h.h5"), write_h5(tmp_path / "secret.h5", field() + 5)
    movie = open_movie(path, variable=None, axes="tyx")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        layout = h5py.VirtualLayout((T, Y, X), "f4")
        layout[:] = h5py.VirtualSource(str(secret), "flow/h", (T, Y, X))
        file.create_group("flow").create_virtual_dataset("h", layout)
    (tmp_path / "other.h5").replace(path)
    with pytest.raises(UserError, match="virtual dataset"):
        pickle.loads(pickle.dumps(movie)).read(0, 0, 1)


def test_declared_sizes_and_chunks(tmp_path: Path) -> None:
    path = tmp_path / "h.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("huge", (2**21, 2**10, 2**10), "f4", chunks=(1, 1024, 1024))[0, 0, 0] = 1
        file.create_dataset("bomb", (4, 2**14, 2**14), "f8", chunks=(1, 2**14, 2**14), compression="gzip")
        file.create_dataset("unwritten", (T, Y, X), "f4")
    refused(path, r"huge of 2097152x1024x1024 declares 8 TiB as float32, more than the limit of 1 TiB.*data.max_bytes=87", "huge")
    refused(path, r"bomb: its chunks of 1x16384x16384 unpack to 2 GiB each, more than 1 GiB", "bomb")
    refused(path, "unwritten: declared but never written", "unwritten")
    small = write_npy(tmp_path / "a.npy")
    refused(small, r"declares 840 B as float32, more than the limit of 839 B; type data.max_bytes=840", max_bytes=839)
    assert open_movie(small, variable=None, axes="tyx", max_bytes=840).shape == (1, 1, T, Y, X)
    np.savez(tmp_path / "b.npz", u=field(), v=field())
    with pytest.raises(UserError, match="type data.max_bytes=1680"):
        open_movie(tmp_path / "b.npz", variable=["u", "v"], axes="tyx", max_bytes=840)


def test_matlab_headers_that_lie(tmp_path: Path) -> None:
    path = mat5(tmp_path / "h.mat")
    raw = bytearray(path.read_bytes())
    assert np.frombuffer(raw, "<i4", 3, 160).tolist() == [Y, X, T]
    raw[160:172] = np.array([2**20, 2**12, 2**12], "<i4").tobytes()
    path.write_bytes(raw)
    refused(path, "h is damaged: 1048576x4096x4096 values cannot be 840 bytes of type 7", "h", "yxt")
    raw[160:172] = np.array([Y, X, -T], "<i4").tobytes()
    path.write_bytes(raw)
    refused(path, "h declares an impossible shape", "h", "yxt")
    for place, byte in ((136, 1), (144, 99), (152, 6), (176, 9), (184, 0)):  # flags, class, shape, name, values
        raw = bytearray(mat5(path).read_bytes())
        raw[place] = byte
        path.write_bytes(raw)
        with pytest.raises(UserError, match="h.mat: .*damaged"):
            open_movie(path, variable="h", axes="yxt").read(0, 0, 1)
    savemat(path, {"h": np.zeros((60, 60, 60))}, do_compression=True)
    refused(path, "h of 60x60x60 declares 843.8 KiB as float32, more than the limit of 9.766 KiB", "h", "yxt", max_bytes=10000)


def test_a_name_that_occurs_twice_in_a_matlab_file(tmp_path: Path) -> None:
    raw = mat5(tmp_path / "h.mat").read_bytes()
    (tmp_path / "h.mat").write_bytes(raw + raw[128:])
    refused(tmp_path / "h.mat", "h occurs more than once", "h", "yxt")


def test_an_array_at_the_top_of_a_zarr_store(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    for version in (2, 3):
        path = tmp_path / f"depth{version}.zarr"
        zarr.create_array(path, shape=(T, Y, X), dtype="f4", zarr_format=version)[:] = field()
        movie = open_movie(path, variable=f"depth{version}", axes="tyx")
        np.testing.assert_array_equal(movie.read(0, 1, 3)[0], field()[1:3])


def test_chunk_bomb_in_netcdf(tmp_path: Path) -> None:
    path = write_nc(tmp_path / "h.nc")
    with h5py.File(path, "r+") as file:
        file.create_dataset("bomb", (1, 2**14, 2**14), "f8", chunks=(1, 2**14, 2**14), compression="gzip")
    refused(path, "bomb: its chunks of 1x16384x16384 unpack to 2 GiB", "bomb")


def test_hdf5_left_open_by_a_killed_writer(tmp_path: Path) -> None:
    path = tmp_path / "h.h5"
    for options in ("libver='latest'", "libver='earliest'"):
        code = (
            f"import h5py, numpy, os, signal; f = h5py.File({str(path)!r}, 'w', {options});"
            "d = f.create_dataset('h', (100, 64, 64), chunks=(1, 64, 64), compression='gzip');"
            "d[:50] = numpy.random.rand(50, 64, 64); os.kill(os.getpid(), signal.SIGKILL)"
        )
        run_process([sys.executable, "-c", code])
        refused(path, "cut short, or its writer was killed")
    flushed = code.replace("earliest", "latest").replace("os.kill", "f.flush(); os.kill")
    run_process([sys.executable, "-c", flushed])
    refused(path, "or was killed while it had; .*type: h5clear --status FILE")
    write_h5(path)
    with h5py.File(path, "r+"):
        code = f"from vsr.io.readers.open import open_listing; from pathlib import Path; open_listing(Path({str(path)!r}))"
        done = run_process([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "another program has it open" in done.stderr


class Marks:
    """Unpickling it leaves a mark on the disk."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    evil = np.full((2, 2, 2), None)
    evil[0, 0, 0] = Marks(mark)
    np.save(tmp_path / "a.npy", evil, allow_pickle=True)
    np.savez(tmp_path / "a.npz", h=evil, good=field())
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(Marks(mark)))
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(Marks(mark)))
    refused(tmp_path / "a.npy", "is object, not real numbers")
    refused(tmp_path / "a.npz", "h is object, not real numbers", "h")
    for name in ("raw.npy", "raw.npz"):
        refused(tmp_path / name, "not a format that is read|a pickle, which could run code")
    assert open_movie(tmp_path / "a.npz", variable=None, axes="tyx").name.endswith("a.npz:good")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("h.npy", pickle.dumps(Marks(mark)))
    refused(tmp_path / "b.npz", "h: cannot be read")
    assert not mark.exists()
    np.load(tmp_path / "a.npy", allow_pickle=True)  # the attack works where nobody looks
    assert mark.exists()


def test_numpy_headers_that_lie(tmp_path: Path) -> None:
    def npy(shape: tuple[int, ...], data: bytes, descr: str = "<f4") -> bytes:
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
        return buffer.getvalue() + data

    (tmp_path / "a.npy").write_bytes(npy((T, Y, X), bytes(100)))
    refused(tmp_path / "a.npy", "cut short: 7x5x6 values need 968 bytes, there are 228")
    (tmp_path / "a.npy").write_bytes(npy((-1, Y, X), bytes(100)))
    refused(tmp_path / "a.npy", "impossible shape")
    (tmp_path / "a.npy").write_bytes(npy((1, 2, 3), bytes(100), "<c8"))
    refused(tmp_path / "a.npy", "is complex")
    np.save(tmp_path / "a.npy", np.zeros((2, 2, 2), [("ä", "f4")]))
    refused(tmp_path / "a.npy", "is struct, not real numbers")
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
            archive.writestr("h.npy", npy((2**20, 2**10, 2**10), bytes(1000)))
        refused(tmp_path / "a.npz", "cut short: 1048576x1024x1024 values", "h")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("h.npy", npy((T, Y, X), bytes(840)))
        archive.writestr("notes.txt", "words")
    refused(tmp_path / "a.npz", "h is compressed by an unusual method", "h")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_members_that_declare_absurd_sizes(method: int, tmp_path: Path) -> None:
    """A directory entry of 4 GiB - 1 for some hundred bytes."""
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        buffer = io.BytesIO()
        np.save(buffer, field())
        archive.writestr("h.npy", buffer.getvalue())
    raw = bytearray(path.read_bytes())
    entry = raw.rindex(b"PK\x01\x02")
    raw[entry + 24 : entry + 28] = b"\xfe\xff\xff\xff"
    path.write_bytes(raw)
    refused(path, "h declares (4294967294 bytes|4 GiB)", "h")


def edited(path: Path, **changes: object) -> Path:
    """A Zarr store with other metadata of its array h; None removes a key."""
    name = ".zarray" if (path / "h" / ".zarray").exists() else "zarr.json"
    meta = json.loads((path / "h" / name).read_text()) | changes
    (path / "h" / name).write_text(json.dumps({key: value for key, value in meta.items() if value is not None}))
    return path


def test_zarr_codecs_that_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """numcodecs has a codec that unpickles chunks; its newest versions ask before they do."""
    zarr = pytest.importorskip("zarr")
    monkeypatch.setattr("numcodecs.pickles.ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)
    mark = tmp_path / "mark"
    path, pickled = write_zarr(tmp_path / "h.zarr", 2), {"id": "pickle", "protocol": 4}
    for chunk in (path / "h").glob("*.0.0"):
        chunk.write_bytes(pickle.dumps(Marks(mark)))
    for codecs in ({"compressor": pickled}, {"compressor": None, "filters": [pickled]}):
        edited(path, **codecs)
        refused(path, "h is encoded by 'pickle', which is not among the known compressions", "h")
        refused(path, "no numeric array")
    edited(path, dtype="|O", fill_value="", compressor=pickled, filters=[{"id": "vlen-utf8"}])
    refused(path, "h is object", "h")
    assert not mark.exists()
    with pytest.raises((TypeError, ValueError)) as caught:  # the attack works where nobody looks, not even zarr
        zarr.open_array(path, path="h", mode="r")[:]
    assert mark.exists() or "unpickling" in str(caught.value)
    nested = {"name": "sharding_indexed", "configuration": {"codecs": [{"name": "numcodecs.pickle"}]}}
    refused(edited(write_zarr(tmp_path / "v3.zarr", 3), codecs=[nested]), "is encoded by 'numcodecs.pickle'", "h")


def test_zarr_stores_that_lead_outside(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    for version in (2, 3):
        path = write_zarr(tmp_path / f"link{version}.zarr", version)
        chunk = next(p for p in (path / "h").rglob("*") if p.is_file() and p.name[0] in "0123456")
        chunk.unlink()
        chunk.symlink_to(secret)
        refused(tmp_path / f"link{version}.zarr", "a link out of the store, which is not followed")
    shutil.copytree(write_zarr(tmp_path / "real.zarr", 3), tmp_path / "folder.zarr")
    shutil.rmtree(tmp_path / "folder.zarr" / "h")
    (tmp_path / "folder.zarr" / "h").symlink_to(tmp_path / "real.zarr" / "h")
    refused(tmp_path / "folder.zarr", "a link out of the store")
    for i, change in enumerate(
        (
            {"kvstore": "file:///etc/"},
            {"storage_transformers": [{"name": "elsewhere"}]},
            {"consolidated_metadata": {"metadata": {"../../secret": {}}}},
        )
    ):
        path = edited(write_zarr(tmp_path / f"out{i}.zarr", 3), **change)
        refused(path, "refers (elsewhere|to ../../secret, outside)")
    path = write_zarr(tmp_path / "old.zarr", 2)
    (path / ".zmetadata").write_text(json.dumps({"metadata": {"/etc/.zarray": {}}}))
    refused(path, "refers to /etc/.zarray, outside of the store")
    with pytest.raises(UserError, match="fsspec knows no nowhere://"):
        open_movie(path_or_address("nowhere://bucket/h.zarr"), variable=None, axes="tyx")


def test_other_zarr_arrays_that_are_no_movie(tmp_path: Path) -> None:
    for version, change, message in (
        (2, {"dtype": "|O"}, "is object"),
        (2, {"dtype": [["a", "<f4"]]}, r"is of type .*'a'"),
        (2, {"dtype": "<c8"}, "is complex"),
        (3, {"data_type": "bool"}, "is boolean"),
        (3, {"data_type": {"name": "struct"}}, "is of type"),
        (3, {"chunk_grid": {"name": "rectilinear"}}, "has an unknown arrangement of chunks"),
        (2, {"dimension_separator": "/../"}, "has an unknown arrangement of chunks"),
        (2, {"shape": [-1, Y, X]}, "declares an impossible shape"),
        (2, {"shape": [T, 0, X]}, "is empty"),
    ):
        path = edited(write_zarr(tmp_path / "h.zarr", version), **change)
        refused(path, f"h {message}", "h")
        shutil.rmtree(path)
    path = edited(write_zarr(tmp_path / "h.zarr", 2), chunks=[1, 2**15, 2**14])
    refused(path, "its chunks of 1x32768x16384 unpack to 2 GiB", "h")
    path = edited(path, shape=[2**20, 2**12, 2**12])
    refused(path, "declares 64 TiB as float32", "h")
    (tmp_path / "empty.zarr").mkdir()
    refused(tmp_path / "empty.zarr", "a folder without Zarr metadata")


def test_zip_bomb_in_a_zarr_store(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "h.zarr.zip", 3)
    raw = bytearray(path.read_bytes())
    entry = raw.rindex(b"PK\x01\x02")
    raw[entry + 24 : entry + 28] = b"\xfe\xff\xff\xff"
    path.write_bytes(raw)
    refused(path, "declares")


def test_netcdf_contents_that_are_no_movie(tmp_path: Path) -> None:
    data = dataset()
    data["words"] = (("time", "lat"), np.full((T, Y), "abc"))  # type: ignore[index]
    data["flag"] = (("time", "lat", "lon"), field() > 3)  # type: ignore[index]
    data.to_netcdf(tmp_path / "h.nc", engine="h5netcdf")  # type: ignore[attr-defined]
    refused(tmp_path / "h.nc", "words is (string|object)", "words")
    refused(tmp_path / "h.nc", "flag is boolean", "flag")
    refused(tmp_path / "h.nc", "bounds is 5x2, of 2 dimensions", "bounds")


@pytest.mark.parametrize(
    ("module", "name", "extra"), [("xarray", "h.nc", "netcdf"), ("h5netcdf", "h.nc", "netcdf"), ("zarr", "h.zarr", "zarr")]
)
def test_missing_extras_are_named(module: str, name: str, extra: str, tmp_path: Path, without: Callable[[str], None]) -> None:
    path = (write_nc if extra == "netcdf" else write_zarr)(tmp_path / name)
    without(module)
    with pytest.raises(UserError, match=rf"needs {module}; type: pip install 'vsr-movies\[{extra}\]'"):
        open_movie(path, variable=None, axes="tyx")


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.h5", "no such file; check the name")
    (tmp_path / "a.txt").write_text("a")
    refused(tmp_path / "a.txt", r"text \(a ...\), not arrays")
    refused(tmp_path, "a folder without Zarr metadata")


def test_names_are_printed_safely(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"one\ntwo\x1b[31m": field()[0], "b": field()[0]})
    text = refused(tmp_path / "a.npz", "no numeric array of 3 or more dimensions")
    assert "\x1b" not in text
