"""Array movies as outputs: every format, read again by the project's readers and by the plain libraries."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from tests.fakes import ROOT
from tests.processes import run_process
from vsr.errors import UserError
from vsr.io.readers.open import open_movie
from vsr.io.writers import contiguous
from vsr.io.writers.open import open_array_sink
from vsr.io.writers.template import OutputTemplate
from vsr.io.writers.template_from_movie import template_from_movie

SIZES = {"n": 2, "c": 3, "t": 7, "y": 4, "x": 5}
SCALE = 2
ENDINGS = (".npy", ".npz", ".h5", ".mat", ".zarr", ".nc")


def stored(axes: str, seed: int = 0) -> np.ndarray:
    """float32 of SIZES in the order of `axes`."""
    return np.random.default_rng(seed).random([SIZES[letter] for letter in axes]).astype(np.float32)


def write_input(path: Path, values: np.ndarray) -> Path:
    """A file with one array `h`, without names of dimensions but in NetCDF, which has no arrays without."""
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, h=values)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["flow/h"] = values
    elif path.suffix == ".mat":
        savemat(path, {"h": values, "dt": 0.25})
    elif path.suffix == ".zarr":
        zarr = pytest.importorskip("zarr")
        zarr.open_group(path, mode="w", zarr_format=3).create_array("h", data=values)
    else:
        xarray = pytest.importorskip("xarray")
        pytest.importorskip("h5netcdf")
        xarray.Dataset({"h": ([f"d{i}" for i in range(values.ndim)], values)}).to_netcdf(path, engine="h5netcdf")
    return path


def frames_of(path: Path, variable: str | list[str] | None, axes: str | None) -> np.ndarray:
    """(all frames of all movies, C, H, W)."""
    movie = open_movie(path, variable=variable, axes=axes)
    return np.concatenate([movie.read(i, 0, movie.shape[2]).transpose(1, 0, 2, 3) for i in range(movie.shape[0])])


def enlarged(frames: np.ndarray, scale: int = SCALE) -> np.ndarray:
    """Each pixel scale x scale times, and different ones."""
    large = frames.repeat(scale, 2).repeat(scale, 3)
    return large + np.arange(scale * frames.shape[3], dtype=np.float32)


def write_all(path: Path, template: OutputTemplate, frames: np.ndarray, block: int = 3, **options: Any) -> None:
    with open_array_sink(path, template, identity={"checkpoint": "abc"}, **options) as sink:
        assert sink.done == 0
        while sink.done < len(frames):
            sink.write(sink.done, frames[sink.done : sink.done + block])
            if sink.done % 2:
                sink.flush()
            assert not path.exists()
        sink.finish()


def convert(source: Path, target: Path, variable: str | list[str] | None = None, axes: str | None = None) -> OutputTemplate:
    """Result of template_from_movie and open_array_sink, as a reader finds it; it must be what was written, alone."""
    template = template_from_movie(open_movie(source, variable=variable, axes=axes), SCALE, "made finer", suffix=target.suffix)
    frames = enlarged(frames_of(source, variable, axes))
    write_all(target, template, frames)
    again = None if target.suffix == ".npy" else list(template.names)
    np.testing.assert_array_equal(
        frames_of(target, again if again is None or len(again) > 1 else again[0], template.axes if axes else None), frames
    )
    assert not list(target.parent.glob(".*"))
    return template


def plain_array(path: Path, template: OutputTemplate) -> np.ndarray:
    """The array as the format's own library gives it, in the order of its axes."""
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".npz":
        with np.load(path) as members:
            return members[template.names[0]]
    if path.suffix == ".zarr":
        zarr = pytest.importorskip("zarr")
        return np.asarray(zarr.open_group(path, mode="r")[template.names[0]][...])
    if path.suffix == ".nc":
        xarray = pytest.importorskip("xarray")
        with xarray.open_dataset(path, engine="h5netcdf") as data:
            return data[template.names[0]].values
    with h5py.File(path) as file:
        values = file[template.names[0]][...]
    return values.T if path.suffix == ".mat" else values


@pytest.mark.parametrize("axes", ["tyx", "yxt", "xtcy", "nctyx", "tnyx", "yxtcn"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_output_has_the_axes_of_the_input(ending: str, axes: str, tmp_path: Path) -> None:
    source, target = write_input(tmp_path / f"a{ending}", stored(axes)), tmp_path / f"b{ending}"
    template = convert(source, target, axes=axes)
    sizes = SIZES | {"y": SIZES["y"] * SCALE, "x": SIZES["x"] * SCALE}
    assert template.array_shape == tuple(sizes[letter] for letter in axes)
    values = stored(axes).repeat(SCALE, axes.index("y")).repeat(SCALE, axes.index("x"))
    shape = [-1 if letter == "x" else 1 for letter in axes]
    expected = values + np.arange(sizes["x"], dtype=np.float32).reshape(shape)
    array = plain_array(target, template)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("origin", ENDINGS)
def test_every_format_becomes_every_other(origin: str, ending: str, tmp_path: Path) -> None:
    template = convert(write_input(tmp_path / f"a{origin}", stored("tyx")), tmp_path / f"b{ending}", axes="tyx")
    changed = origin != ending or origin == ".mat"  # version 5 becomes 7.3
    assert any(" becomes " in note for note in template.notes) == changed


@given(
    axes=st.sets(st.sampled_from("nc")).flatmap(lambda extra: st.permutations(sorted({*"tyx"} | extra))),
    band=st.sampled_from([64, 1000, 2**24]),
    run=st.sampled_from([4, 64, 2**12]),
    blocks=st.lists(st.integers(1, 9), min_size=1, max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_any_order_and_any_way_of_writing_give_the_same_file(
    axes: list[str], band: int, run: int, blocks: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    order = "".join(axes)
    folder = tmp_path_factory.mktemp("order")
    n, c = (SIZES[letter] if letter in order else 1 for letter in "nc")
    values = np.random.default_rng(0).random((n, c, SIZES["t"], 4, 5)).astype(np.float32)
    frames = values.transpose(0, 2, 1, 3, 4).reshape(-1, c, 4, 5)
    template = OutputTemplate("hdf5", ("h",), order, (n, c, SIZES["t"], 4, 5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contiguous, "BAND", band)
        patch.setattr(contiguous, "RUN", run)
        with open_array_sink(folder / "a.h5", template, identity={}) as sink:
            while sink.done < len(frames):
                for block in blocks:
                    sink.write(sink.done, frames[sink.done : sink.done + block])
            sink.finish()
    kept = values[tuple(slice(None) if letter in order else 0 for letter in "nctyx")]
    present = [letter for letter in "nctyx" if letter in order]
    with h5py.File(folder / "a.h5") as file:
        np.testing.assert_array_equal(file["h"], kept.transpose([present.index(letter) for letter in order]))


def test_several_variables_stay_several_variables(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", u=stored("tyx"), v=stored("tyx", 1), dt=0.5, time=np.arange(7))
    for ending in ENDINGS[1:]:
        template = convert(tmp_path / "a.npz", tmp_path / f"b{ending}", ["v", "u"], "tyx")
        assert template.names == ("v", "u")
        assert template.left_out == ()
        assert [entry.name for entry in template.fields] == ["dt", "time"]
        assert float(plain_array(tmp_path / f"b{ending}", replace(template, names=("dt",))).squeeze()) == 0.5
    template = convert(tmp_path / "a.npz", tmp_path / "b.npy", ["v", "u"], "tyx")
    assert template.axes == "tcyx"
    assert any("axes=tcyx" in note for note in template.notes)
    assert template.left_out == ("dt", "time")
    first = np.load(tmp_path / "b.npy")
    with h5py.File(tmp_path / "b.h5") as file:
        np.testing.assert_array_equal(first, np.stack([file["v"], file["u"]], 1))


def test_matlab_files_are_as_matlab_wants_them(tmp_path: Path) -> None:
    """Of what MATLAB itself writes as 7.3: header, version and byte order, classes, reversed dimensions, two at least."""
    template = convert(write_input(tmp_path / "a.mat", stored("yxt")), tmp_path / "b.mat", "h", "yxt")
    assert template.notes == ("MATLAB 5 becomes MATLAB 7.3",)
    head = (tmp_path / "b.mat").read_bytes()[:520]
    assert head.startswith(b"MATLAB 7.3 MAT-file, ")
    assert head[124:128] == b"\x00\x02IM"
    assert head[512:] == b"\x89HDF\r\n\x1a\n"
    with h5py.File(tmp_path / "b.mat") as file:
        assert file.userblock_size == 512
        assert file["h"].shape == (7, 2 * 5, 2 * 4)
        assert file["h"].attrs["MATLAB_class"] == b"single"
        assert (file["dt"].shape, file["dt"][0, 0], file["dt"].attrs["MATLAB_class"]) == ((1, 1), 0.25, b"double")


def test_names_that_matlab_does_not_take(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["run/2 h"], file["x2_h"] = stored("tyx"), 3.0
    template = convert(tmp_path / "a.h5", tmp_path / "b.mat", "run/2 h", "tyx")
    assert template.names == ("x2_h",)
    assert [entry.name for entry in template.fields] == ["x2_h2"]


@pytest.mark.parametrize("compressed", [False, True])
def test_fields_of_a_struct_are_flattened(compressed: bool, tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"s": {"u": stored("yxt"), "dt": 0.25, "v": stored("yxt", 1)}}, do_compression=compressed)
    template = convert(tmp_path / "a.mat", tmp_path / "b.mat", "s.u", "yxt")
    assert template.names == ("s_u",)
    assert template.notes[-1] == "names that MATLAB 7.3 takes: s.u is s_u, s.dt is s_dt"
    assert template.left_out == ("s.v",)
    with h5py.File(tmp_path / "b.mat") as file:
        assert (file["s_dt"][0, 0], file["s_u"].shape) == (0.25, (7, 10, 8))
    for ending in (".nc", ".h5", ".npz"):
        template = convert(tmp_path / "a.mat", tmp_path / f"b{ending}", ["s.u", "s.v"], "yxt")
        assert template.names == ("s.u", "s.v")
        assert plain_array(tmp_path / f"b{ending}", replace(template, names=("s.dt",))) == 0.25


def test_frames_lie_together_where_the_format_allows(tmp_path: Path) -> None:
    for ending in (".npy", ".npz"):
        convert(write_input(tmp_path / f"a{ending}", stored("yxt")), tmp_path / f"b{ending}", axes="yxt")
    array = np.load(tmp_path / "b.npy", mmap_mode="r")
    assert array[:, :, 0].flags.f_contiguous
    convert(write_input(tmp_path / "a.h5", stored("tyx")), tmp_path / "b.h5", axes="tyx")
    with h5py.File(tmp_path / "b.h5") as file:
        assert file["flow/h"].chunks is None


def test_what_an_npz_holds_can_be_mapped_and_has_no_date(tmp_path: Path) -> None:
    import zipfile

    convert(write_input(tmp_path / "a.npz", stored("tyx")), tmp_path / "b.npz", axes="tyx")
    with zipfile.ZipFile(tmp_path / "b.npz") as archive:
        assert archive.testzip() is None
        (info,) = archive.infolist()
    assert (info.compress_type, info.date_time[0]) == (zipfile.ZIP_STORED, 1980)


def test_hdf5_keeps_scales_labels_attributes_and_scalars(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("flow/h", data=stored("tyx").astype(">f8"), chunks=(1, 4, 5), compression="gzip")
        for i, (name, values) in enumerate((("grid/time", np.arange(7) * 0.1), ("grid/lat", np.arange(4) + 10.0))):
            file[name] = values
            file[name].make_scale(name.split("/")[1])
            file[name].attrs["units"] = ("s", "degrees_north")[i]
            data.dims[i].attach_scale(file[name])
        data.dims[2].label = "x"
        data.attrs.update({"units": "m", "level": np.int16(3), "names": ["one", "two"], "valid_range": [0.0, 1.0]})
        file.attrs["title"], file["flow"].attrs["solver"] = "waves", np.bytes_("fv")
        file["g"], file["mask"] = 9.81, np.ones((4, 5))
        file["link"] = h5py.SoftLink("/flow/h")
    template = convert(tmp_path / "a.h5", tmp_path / "b.h5", "flow/h")
    assert template.left_out == ("mask", "link")
    assert template.notes == ()
    assert template.dtype == "<f8"
    with h5py.File(tmp_path / "b.h5") as file:
        data = file["flow/h"]
        assert [data.dims[0][0].name, data.dims[1][0].name, data.dims[2].label] == ["/grid/time", "/grid/lat", "x"]
        np.testing.assert_array_equal(file["grid/time"], np.arange(7) * 0.1)
        np.testing.assert_array_equal(file["grid/lat"], 10 + (np.arange(8) + 0.5) / 2 - 0.5)
        assert file["grid/lat"].attrs["units"] == "degrees_north"
        assert {key: data.attrs[key] for key in ("units", "level")} == {"units": "m", "level": 3}
        assert list(data.attrs["names"]) == ["one", "two"]
        assert "valid_range" not in data.attrs
        assert (file.attrs["title"], file["flow"].attrs["solver"], file["g"][()]) == ("waves", "fv", 9.81)
        assert file.attrs["history"] == "made finer"


def test_an_ending_that_is_not_written(tmp_path: Path) -> None:
    source = write_input(tmp_path / "a.npy", stored("tyx"))
    for suffix in (".zip", ".grib", ""):
        with pytest.raises(UserError, match=r"names no format that is written; type output=NAME with one of \.npy, .*\.zarr"):
            template_from_movie(open_movie(source, variable=None, axes="tyx"), 2, suffix=suffix)
    with pytest.raises(UserError, match="names no format"):
        open_array_sink(tmp_path / "b.zip", template_from_movie(open_movie(source, variable=None, axes="tyx"), 2), identity={})


def test_frames_that_do_not_belong_are_refused(tmp_path: Path) -> None:
    for template in (
        OutputTemplate("npy", ("h",), "tyx", (1, 1, 4, 2, 3)),
        OutputTemplate("zarr", ("h",), "tyx", (1, 1, 4, 2, 3)),
    ):
        with open_array_sink(tmp_path / f"a.{template.format}", template, identity={}) as sink:
            frames = np.zeros((2, 1, 2, 3), np.float32)
            sink.write(0, frames)
            for start, wrong in ((0, frames), (2, frames[:, :, :1]), (2, np.zeros((3, 1, 2, 3), np.float32))):
                with pytest.raises(ValueError, match="frames"):
                    sink.write(start, wrong)
            with pytest.raises(ValueError, match="2 of 4 frames"):
                sink.finish()
    for wrong in (
        OutputTemplate("npy", ("h",), "tyx", (1, 2, 4, 2, 3)),
        OutputTemplate("hdf5", ("u", "v"), "tyx", (1, 3, 4, 2, 3)),
        OutputTemplate("hdf5", ("h",), "yx", (1, 1, 2, 2, 3)),
    ):
        with pytest.raises(ValueError, match="axes|arrays"):
            open_array_sink(tmp_path / f"b.{wrong.format[:3]}".replace("hdf", "h5"), wrong, identity={})


def test_imports_are_light() -> None:
    code = "import sys, vsr.io.writers.open; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = run_process([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"torch", "lightning", "hydra", "h5py", "scipy", "xarray", "zarr", "h5netcdf"} & set(done.stdout.split())
