"""upscale.py as a user runs it: files in, sharper files of the same kind out, one line for each mistake."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from scipy.io import savemat

import vsr
from tests.commands.test_app import Script, refused
from tests.fakes import ROOT, TINY_CLIMATE, moving_pattern, train_here, upscale_here, write_video, write_y4m
from tests.processes import run_process
from vsr.errors import UserError
from vsr.inference.labelled_arrays import upscale_labelled
from vsr.io.readers.open import open_movie

xarray = pytest.importorskip("xarray")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    movie = folder / "colours.y4m"
    write_y4m(movie, moving_pattern(16))
    quick = ["recipe.patch=8", "recipe.steps=2"]
    what = {
        "fields": [*TINY_CLIMATE, *quick, "model=fsrcnn"],
        "movie": [*TINY_CLIMATE, *quick, "model=srnet3d", "recipe.batch=1"],
        "luma": ["data=movies", f"data.path={movie}", *quick, "model=fsrcnn_s"],
        "shifted": [*TINY_CLIMATE, *quick, "model=linear", "degradation=subsample"],
    }
    for name, overrides in what.items():
        train_here(folder / name, overrides)
    return {name: folder / name / "checkpoints" / "best.ckpt" for name in what}


def fields(frames: int = 9, height: int = 14, width: int = 20) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (5 * np.sin(rng.standard_normal((frames, height, width)).cumsum(1).cumsum(2) / 4)).astype(np.float32)


def labelled(path: Path) -> None:
    coords = {"time": np.arange(9) * 0.5, "lat": np.linspace(-39, 39, 14), "lon": np.linspace(0, 95, 20)}
    array = xarray.DataArray(fields(), coords, ["time", "lat", "lon"], name="h", attrs={"units": "m"})
    array.to_dataset().assign_attrs(title="a flow").to_netcdf(path, engine="h5netcdf")


def test_some_frames_of_an_array_file_are_upscaled_with_their_times(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    labelled(tmp_path / "a.nc")
    whole, part, first = (tmp_path / f"{name}.nc" for name in ("whole", "part", "first"))
    typed = [f"checkpoint={checkpoints['fields']}", f"input={tmp_path}/a.nc", "guard=off"]
    for output, frames in ((whole, "null"), (part, "[3,7]"), (first, "2")):
        upscale_here([*typed, f"output={output}", f"frames={frames}"])
    with xarray.open_dataset(whole) as every, xarray.open_dataset(part) as some, xarray.open_dataset(first) as two:
        xarray.testing.assert_allclose(some.drop_attrs(), every.isel(time=slice(3, 7)).drop_attrs())
        xarray.testing.assert_allclose(two.drop_attrs(), every.isel(time=slice(0, 2)).drop_attrs())
        assert some.time.values.tolist() == [1.5, 2.0, 2.5, 3.0]
    with pytest.raises(UserError, match=r"the frames 5 to 9 are asked for, it has 9; type frames=\[5,9\]"):
        upscale_here([*typed, f"output={tmp_path}/b.nc", "frames=[5,10]"])
    with pytest.raises(UserError, match=r"frames=\[7, 3\]: must be a number of frames, or \[START,STOP\]"):
        upscale_here([*typed, f"output={tmp_path}/b.nc", "frames=[7,3]"])


def test_a_netcdf_file_becomes_a_finer_one(script: Script, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    labelled(tmp_path / "a=b, c.nc")
    done = script("upscale", f"checkpoint={checkpoints['movie']}", "input=a=b, c.nc")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a=b, c.nc", "a=b, c_x2.nc"]
    assert "9 frames, 14x20 to 28x40" in done.stdout
    with xarray.open_dataset(tmp_path / "a=b, c_x2.nc") as found, xarray.open_dataset(tmp_path / "a=b, c.nc") as given:
        np.testing.assert_allclose(found.lat, np.linspace(-39 - 1.5, 39 + 1.5, 28))
        np.testing.assert_array_equal(found.time, given.time)
        assert found.h.attrs["units"] == "m"
        assert found.attrs["title"] == "a flow"
        assert "srnet3d x2 (checkpoint " in found.attrs["history"]
        expected = vsr.load(checkpoints["movie"]).upscale(given.h)
        xarray.testing.assert_allclose(found.h, expected, atol=1e-5)
        assert expected.dims == given.h.dims
        np.testing.assert_allclose(expected.lon, found.lon)


def test_coordinates_are_those_of_the_pixels_that_subsampling_kept(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """LR pixel (i, j) is SR pixel (2i, 2j), in files and in memory."""
    labelled(tmp_path / "a.nc")
    made = upscale_here([f"checkpoint={checkpoints['shifted']}", f"input={tmp_path}/a.nc"])
    upscaler = vsr.load(checkpoints["shifted"])
    with xarray.open_dataset(made) as found, xarray.open_dataset(tmp_path / "a.nc") as given:
        for finer in (found, upscaler.upscale(given), upscaler.upscale(given.h)):
            for name, step in (("lat", 6.0), ("lon", 5.0)):
                np.testing.assert_allclose(finer[name][::2], given[name])
                np.testing.assert_allclose(finer[name][1::2], given[name] + step / 2)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".h5", ".zarr"])
def test_every_kind_of_array_file(checkpoints: dict[str, Path], tmp_path: Path, suffix: str) -> None:
    import h5py
    import scipy.io
    import zarr

    movie, path = fields(), tmp_path / f"movie{suffix}"
    if suffix == ".npy":
        np.save(path, movie)
    elif suffix == ".npz":
        np.savez(path, h=movie)
    elif suffix == ".mat":
        scipy.io.savemat(path, {"h": movie})
    elif suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["h"] = movie
    else:
        zarr.create_array(store=str(path), name="h", data=movie)
    made = upscale_here([f"checkpoint={checkpoints['fields']}", f"input={path}", "axes=tyx"])
    assert made == tmp_path / f"movie_x2{suffix}"
    from vsr.io.readers.open import open_movie

    found = open_movie(made, variable=None, axes="tyx").read(0, 0, 9)[0]
    np.testing.assert_allclose(found, vsr.load(checkpoints["fields"]).upscale(movie), atol=1e-5)


def test_numpy_torch_and_xarray_give_the_same(checkpoints: dict[str, Path]) -> None:
    upscaler = vsr.load(checkpoints["fields"], device="cpu")
    movie = fields()
    expected = upscaler.upscale(movie)
    assert isinstance(expected, np.ndarray)
    assert expected.shape == (9, 28, 40)
    tensor = upscaler.upscale(torch.from_numpy(movie))
    assert torch.equal(tensor, torch.from_numpy(expected))
    np.testing.assert_allclose(upscaler.upscale(movie[0]), expected[0], atol=1e-5)
    array = xarray.DataArray(np.stack([movie, movie[::-1]]).transpose(2, 0, 3, 1), dims=["y", "member", "x", "time"])
    found = upscaler.upscale(array)
    assert found.dims == array.dims
    np.testing.assert_allclose(found.sel(member=0).transpose("time", "y", "x"), expected, atol=1e-5)
    np.testing.assert_allclose(found.sel(member=1).transpose("time", "y", "x"), expected[::-1], atol=1e-5)
    with pytest.raises(UserError, match="1 channel"):
        upscaler.upscale(movie[None, None])
    with pytest.raises(UserError, match="rename"):
        upscaler.upscale(xarray.DataArray(movie, dims=["time", "a", "b"]))
    with pytest.raises(UserError, match="not list"):
        upscaler.upscale([1.0])  # type: ignore[type-var]
    with pytest.raises(UserError, match="no such option"):
        vsr.load(checkpoints["fields"], ensembel=True)


def enlarged(clip: np.ndarray, axes: str, coordinates: Any) -> np.ndarray:
    return clip.repeat(2, -1).repeat(2, -2)


@pytest.mark.parametrize("origin", [0.5, 0.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_labelled_arrays_keep_their_dimensions_and_get_finer_coordinates(channels: int, origin: float) -> None:
    sizes = {"x": 5, "member": 2, "y": 4, "channel": channels, "time": 3}
    values = np.random.default_rng(0).random(tuple(sizes.values()))
    coords = {
        "x": 10.0 * np.arange(5),
        "y": ("y", [1, 3, 5, 7], {"units": "km"}),
        "time": [0, 5, 7],
        "member": ["a", "b"],
        "place": (("x", "y"), np.add.outer(np.arange(5.0), 100 * np.arange(4.0))),
        "letter": ("x", list("abcde")),
        "height": 2.0,
    }
    array = xarray.DataArray(values, coords, tuple(sizes), name="h", attrs={"units": "m"})
    if channels == 1:
        array = array.isel(channel=0)
    shapes = set()

    def upscale(clips: np.ndarray, axes: str, coordinates: Any) -> np.ndarray:
        shapes.add((axes, clips.shape[-len(axes) :]))
        return enlarged(clips, axes, coordinates)

    found = upscale_labelled(array, 2, channels, upscale, (origin, origin))
    inner = "cyx"[2 - channels :]
    size = (2, 4, 5)[2 - channels :]
    assert shapes == {(f"t{inner}", (3, *size))}
    assert (found.dims, found.name, found.attrs) == (array.dims, "h", {"units": "m"})
    assert set(found.coords) == set(coords) - {"letter"}
    np.testing.assert_array_equal(found, array.values.repeat(2, 0).repeat(2, 2))
    x, y = ((np.arange(2 * n) - origin) / 2 for n in (5, 4))
    np.testing.assert_allclose(found.x, 10 * x)
    np.testing.assert_allclose(found.y, 1 + 2 * y)
    np.testing.assert_allclose(found.place.transpose("x", "y"), np.add.outer(x, 100 * y), atol=1e-12)
    assert found.y.attrs == {"units": "km"}
    for name in ("time", "member", "height"):
        xarray.testing.assert_equal(found[name].variable, array[name].variable)
    others = {
        "count": ("time", [1.0, 2.0, 3.0]),
        "nav_lat": (("y", "x"), np.ones((4, 5))),
        "text": (("y", "x"), np.full((4, 5), "a")),
    }
    data = array.to_dataset().assign(others).assign_attrs(title="a flow")
    made = upscale_labelled(data, 2, channels, upscale, (origin, origin))
    assert (list(made.data_vars), made.attrs) == (["h"], {"title": "a flow"})
    xarray.testing.assert_identical(made.h, found)
    still = upscale_labelled(array.isel(time=1), 2, channels, upscale, (origin, origin))
    assert shapes == {(f"t{inner}", (3, *size)), (inner, size)}
    xarray.testing.assert_identical(still, found.isel(time=1))
    named = array.rename(x="a").assign_coords(a=("a", coords["x"], {"axis": "X"}))
    for each in (named, named.to_dataset()):
        np.testing.assert_array_equal(upscale_labelled(each, 2, channels, upscale, (origin, origin)).a, found.x)
    one = upscale_labelled(array.isel(y=slice(1)), 2, channels, upscale, (origin, origin))
    assert set(one.coords) == {"x", "time", "member", "height"}  # one pixel alone has no spacing


@pytest.mark.parametrize(
    ("dims", "channels", "said"),
    [
        ("tyab", 1, "which of them counts columns is not clear; type movie.rename"),
        ("tabx", 1, "which of them counts rows is not clear"),
        ("tyx", 2, "none is called channel, and this network has 2"),
        ("tcyx", 3, "2 channels in dimension channel, this network has 3"),
    ],
)
def test_labelled_arrays_that_do_not_fit_are_refused(dims: str, channels: int, said: str) -> None:
    names = [{"t": "time", "c": "channel"}.get(letter, letter) for letter in dims]
    array = xarray.DataArray(np.zeros((2,) * len(dims)), dims=names)
    with pytest.raises(UserError, match=said):
        upscale_labelled(array, 2, channels, enlarged, (0.5, 0.5))
    if channels == 1:
        return
    for data, more in (
        ({"a": array, "b": array}, r"2 movies \(its arrays: a, b\); type network.upscale\(dataset\['a'\]\)"),
        ({}, "0 movies"),
    ):
        with pytest.raises(UserError, match=more):
            upscale_labelled(xarray.Dataset(data), 2, channels, enlarged, (0.5, 0.5))


def test_a_video_keeps_its_colours_and_a_picture_its_kind(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    import av
    from PIL import Image

    write_video(tmp_path / "film.mkv", moving_pattern(6), "ffv1", "yuv420p")
    upscale_here([f"checkpoint={checkpoints['luma']}", f"input={tmp_path}/film.mkv"])
    with av.open(str(tmp_path / "film_x2.mkv")) as container:
        frames = [frame.to_ndarray() for frame in container.decode(video=0)]
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    assert np.stack(frames).shape == (6, 96, 96)  # 64 rows of luma, 32 of chroma
    luma = moving_pattern(6).astype(np.float32)
    expected = vsr.load(checkpoints["luma"]).upscale(luma).clip(0, 255).round()
    assert np.abs(np.stack(frames)[:, :64].astype(np.float32) - expected).max() <= 1
    assert (np.stack(frames)[:, 64:] == 128).all()
    upscale_here([f"checkpoint={checkpoints['luma']}", f"input={tmp_path}/film.mkv", f"output={tmp_path}/b.mkv", "frames=[2,5]"])
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert np.array_equal([frame.to_ndarray() for frame in container.decode(video=0)], frames[2:5])
    typed = [f"checkpoint={checkpoints['luma']}", "guard=off"]
    upscale_here([*typed, f"input={tmp_path}/film.mkv", f"output={tmp_path}/frames/", "frames=[2,5]"])
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == ["000002.png", "000003.png", "000004.png"]
    upscale_here([*typed, f"input={tmp_path}/frames/", f"output={tmp_path}/c.mkv", "fps=30000/1001"])
    with av.open(str(tmp_path / "c.mkv")) as container:
        assert [frame.to_ndarray(format="rgb24").shape for frame in container.decode(video=0)] == [(128, 192, 3)] * 3
    with pytest.raises(UserError, match=r"fps=fast: must be the frames per second, up to 1000; type fps=25"):
        upscale_here([*typed, f"input={tmp_path}/frames/", f"output={tmp_path}/d.mkv", "fps=fast"])

    Image.fromarray(moving_pattern(1)[0]).save(tmp_path / "p.png")
    upscale_here([f"checkpoint={checkpoints['luma']}", f"input={tmp_path}/p.png", f"output={tmp_path}/sharper.png"])
    assert Image.open(tmp_path / "sharper.png").size == (96, 64)


KILLED = """
import os, runpy, signal, sys
import vsr.inference.stream as stream
from vsr.inference.engine import Engine

stream.FLUSH_SECONDS = 0.0
compute, calls = Engine.__call__, []

def dying(self, lr, **options):
    calls.append(len(lr))
    if sum(calls) > 120:
        os.kill(os.getpid(), signal.SIGKILL)
    return compute(self, lr, **options)

Engine.__call__ = dying
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.long
@pytest.mark.parametrize("kind", [pytest.param("movie.h5", marks=pytest.mark.long), "film.mkv"])
def test_a_killed_run_goes_on_and_gives_the_same(
    checkpoints: dict[str, Path], tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    import av
    import h5py

    frames, path = 160, tmp_path / kind
    if kind == "film.mkv":
        write_video(path, moving_pattern(frames), "ffv1", "yuv420p")
    else:
        with h5py.File(path, "w") as file:
            file["h"] = fields(frames)
    checkpoint = checkpoints["luma" if kind == "film.mkv" else "movie"]
    options = [f"checkpoint={checkpoint}", f"input={path}", "memory=1", *(["axes=tyx"] if kind == "movie.h5" else [])]
    whole, target = (tmp_path / f"{name}{path.suffix}" for name in ("whole", "part"))
    upscale_here([*options, f"output={whole}"])
    command = [sys.executable, "-c", KILLED, str(ROOT / "upscale.py"), *options, f"output={target}"]
    died = run_process(command, cwd=tmp_path, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert not target.exists()
    assert (tmp_path / f".{target.name}.part").exists()
    with pytest.raises(UserError, match="another ensemble"):
        upscale_here([*options, f"output={target}", "ensemble=true"])
    with pytest.raises(UserError, match="another consistency"):
        upscale_here([*options, f"output={target}", "consistency=backprojection"])
    with caplog.at_level(logging.INFO):
        upscale_here([*options, f"output={target}"])
    assert "frames are there already" in caplog.text
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([kind, whole.name, target.name])
    if kind == "movie.h5":
        assert target.read_bytes() == whole.read_bytes()
        return
    pictures = []
    for film in (whole, target):
        with av.open(str(film)) as container:
            pictures.append(np.stack([frame.to_ndarray() for frame in container.decode(video=0)]))
    assert pictures[0].shape == (frames, 96, 96)
    assert np.array_equal(*pictures)


def test_each_mistake_is_one_line(script: Script, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", fields())
    np.save(tmp_path / "two.npy", np.stack([fields(), fields()], 1))
    fine, movie = f"checkpoint={checkpoints['fields']}", [f"input={tmp_path}/a.npy", "axes=tyx"]
    (tmp_path / "a_x2.npy").write_bytes(b"mine")
    for overrides, said in (
        ([f"input={tmp_path}/a.npy"], "a.npy.*axes=tyx"),
        ([f"input={tmp_path}/b.npy"], "b.npy: no such file; did you mean 'a.npy'"),
        ([f"input={tmp_path}/two.npy", "axes=tcyx"], r"2 channel\(s\).*trained on 1"),
        ([*movie, f"output={tmp_path}/a.npy"], "is the input"),
        ([*movie, f"output={tmp_path}/b.xyz"], "b.xyz|xyz"),
        ([*movie, f"output={tmp_path}/no.mp4"], "mp4"),
        ([*movie, "precision=fp16"], "precision=bf16"),
        ([*movie, "precision=half"], "precision=half; known: auto, bf16, fp16, fp32"),
        ([*movie, "device=tpu"], "device=tpu; did you mean 'cpu'"),
        (movie, "a_x2.npy: exists.*overwrite=true"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            upscale_here([fine, *overrides])
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="ensemble=true"):
        upscale_here([f"checkpoint={checkpoints['shifted']}", *movie, "ensemble=true"])
    assert (tmp_path / "a_x2.npy").read_bytes() == b"mine"
    upscale_here([fine, *movie, "overwrite=true"])
    assert np.load(tmp_path / "a_x2.npy").shape == (9, 28, 40)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npy", "a_x2.npy", "two.npy"]
    refused(script("upscale", fine, "input=a.npy", "axes=tyx"), "a_x2.npy: exists", "overwrite=true")


@pytest.mark.long
def test_another_quantity_is_refused_unless_the_guard_is_off(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    array = xarray.DataArray(280 + fields(), dims=["time", "y", "x"], name="t", attrs={"units": "K"})
    array.to_dataset().to_netcdf(tmp_path / "kelvin.nc", engine="h5netcdf")
    typed = [f"checkpoint={checkpoints['fields']}", f"input={tmp_path}/kelvin.nc", f"output={tmp_path}/fine.nc"]
    with pytest.raises(
        UserError, match=r"kelvin\.nc.*has values from 2\d\d.* K, and .*: another quantity, or other units; .*guard=off"
    ):
        upscale_here(typed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kelvin.nc"]
    upscale_here([*typed, "guard=off"])
    assert (tmp_path / "fine.nc").is_file()


def test_a_file_system_that_refuses_is_one_line_too(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", fields())
    code = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)); sys.argv = sys.argv[1:]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    options = [f"checkpoint={checkpoints['fields']}", "input=a.npy", "axes=tyx"]
    command = [sys.executable, "-c", code, str(ROOT / "upscale.py"), *options]
    refused(run_process(command, cwd=tmp_path, capture_output=True, text=True), "a_x2.npy", "disk is full")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]  # nothing takes up the room that is missing


@pytest.mark.parametrize("suffix", ["npy", "npz", "nc", "h5", "mat", "zarr", "tif"])
def test_a_field_of_one_frame_stays_one_frame(checkpoints: dict[str, Path], tmp_path: Path, suffix: str) -> None:
    frame = fields(1)[0]
    path, made = tmp_path / f"a.{suffix}", tmp_path / f"a_x2.{suffix}"
    if suffix in ("npy", "npz"):
        np.save(path, frame) if suffix == "npy" else np.savez(path, h=frame)
    elif suffix in ("nc", "zarr"):
        dataset = xarray.Dataset({"h": (("y", "x"), frame)}, {"y": np.arange(len(frame)), "x": np.arange(frame.shape[1])})
        dataset.to_netcdf(path, engine="h5netcdf") if suffix == "nc" else dataset.to_zarr(path)
    elif suffix == "h5":
        with h5py.File(path, "w") as file:
            file["h"] = frame
    elif suffix == "mat":
        savemat(path, {"h": frame})
    else:
        pytest.importorskip("tifffile").imwrite(path, frame)
    upscale_here([f"checkpoint={checkpoints['fields']}", f"input={path}", "page=true"])
    expected = vsr.load(checkpoints["fields"]).upscale(frame)
    movie = open_movie(made, variable=None, axes=None, frame=True)
    assert movie.axes == ("tyx" if suffix == "tif" else "yx")  # a page of a TIFF file is a frame
    np.testing.assert_allclose(np.asarray(movie.read(0, 0, 1)).reshape(expected.shape), expected, atol=1e-5)
    if suffix != "tif":
        with pytest.raises(UserError, match="no numeric array of 3 or more dimensions"):
            open_movie(path, variable=None, axes=None)
    if suffix == "nc":
        with xarray.open_dataset(made) as found:
            assert found.h.dims == ("y", "x")
            np.testing.assert_allclose(found.x[:3], [-0.25, 0.25, 0.75])


def test_one_bad_file_does_not_end_the_others(script: Script, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", fields())
    for name, kept in {"a": 0, "b": 500}.items():
        (tmp_path / f"{name}.npy").write_bytes((tmp_path / f"{name}.npy").read_bytes()[:kept])
    typed = [f"checkpoint={checkpoints['fields']}", "input=*.npy", "axes=tyx", "output=fine"]
    done = script("upscale", *typed)
    refused(done, "1 of 3 files are in fine, 2 failed: a.npy, b.npy; mend them and type the same command again")
    assert done.stdout.count("failed    ") == 2
    assert [path.name for path in (tmp_path / "fine").iterdir()] == ["c_x2.npy"]
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", fields())
    done = script("upscale", *typed)
    assert done.returncode == 0
    assert "kept      fine/c_x2.npy is there already" in done.stdout
    assert sorted(path.name for path in (tmp_path / "fine").iterdir()) == ["a_x2.npy", "b_x2.npy", "c_x2.npy"]
    (tmp_path / "file").write_text("")
    refused(script("upscale", *typed[:3], "output=file/fine"), "file/fine: cannot be written", "type output=PATH")


def test_options_are_reported(checkpoints: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.save(tmp_path / "a.npy", 30 + fields(3))
    with caplog.at_level(logging.INFO):
        upscale_here([f"checkpoint={checkpoints['movie']}", f"input={tmp_path}/a.npy", "axes=tyx", "precision=bf16"])
    said = caplog.text
    assert "precision bf16 against fp32" in said
    assert "trained on -10 to 10" in said
    assert "what lies beyond the ends is made up" in said


def test_gaps_that_stay_are_counted_in_one_note(
    checkpoints: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    movie = fields()
    movie[2:5, 3, :7] = np.nan
    np.save(tmp_path / "a.npy", movie)
    np.save(tmp_path / "whole.npy", fields())
    for name, model in (("a", "fields"), ("a", "movie"), ("whole", "fields")):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            made = upscale_here(
                [
                    f"checkpoint={checkpoints[model]}",
                    f"input={tmp_path}/{name}.npy",
                    f"output={tmp_path}/{model}_{name}.npy",
                    "axes=tyx",
                ]
            )
        told = [record.getMessage() for record in caplog.records if "have NaN" in record.getMessage()]
        note = "note      3 of 9 frames have NaN in LR, 0.83 % of all pixels: the result is NaN there, too"
        assert told == ([note] if name == "a" else [])
        assert np.isnan(np.load(made)).sum() == (3 * 7 * 4 if name == "a" else 0)
    with caplog.at_level(logging.INFO):
        vsr.load(checkpoints["fields"]).upscale(movie)
    assert "3 of 9 frames have NaN in LR" in caplog.text


def test_history_names_the_input_and_the_command(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    labelled(tmp_path / "a.nc")
    typed = [f"checkpoint={checkpoints['fields']}", f"input={tmp_path}/a.nc", "ends=reflect", "guard=off", "tile=8"]
    made = upscale_here([*typed, f"output={tmp_path}/b.nc", "frames=[2,5]"])
    with xarray.open_dataset(made) as found:
        first, *others = found.attrs["history"].splitlines()
    assert first.startswith("vsr ")
    assert "fsrcnn x2 (checkpoint " in first
    assert first.endswith('): vsr upscale checkpoint=best.ckpt input=a.nc ends=reflect guard=off "frames=[2,5]"')
    assert str(tmp_path) not in first
    assert not others
