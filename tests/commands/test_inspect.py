"""The inspector: what it says of a file, and that the command it prints gives back the same file."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from scipy.io import savemat

from tests.fakes import ROOT, moving_pattern, write_y4m
from tests.processes import run_process
from vsr.__main__ import main
from vsr.commands.inspect import Decoded, inspect_sample, inspect_statistics
from vsr.config.overrides import typed_argument


def waves(frames: int = 40, height: int = 12, width: int = 16) -> np.ndarray:
    """float64 (T, H, W) that changes slowly in time and quickly in space."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    return np.sin(0.9 * y + 0.02 * t) * np.cos(0.8 * x) + np.sin(0.7 * (x + y) - 0.03 * t)


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    main(["inspect", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert not err
    return out


def failed(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["inspect", *map(str, arguments)])
    assert caught.value.code == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_help_is_fast_and_light() -> None:
    done = run_process(
        [sys.executable, "-X", "importtime", "-m", "vsr", "inspect", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert "--picture" in done.stdout
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "vsr.io.readers.open" in modules
    assert not modules & {"torch", "lightning", "hydra", "matplotlib", "h5py", "scipy", "xarray", "zarr"}


def test_a_file_that_names_its_dimensions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    data = xarray.Dataset({"h": (("time", "lat", "lon"), waves(), {"units": "m"})}, {"lat": np.arange(12)})
    data.to_netcdf(tmp_path / "h.nc", engine="h5netcdf")
    out = said(capsys, tmp_path / "h.nc")
    assert "format: NetCDF (HDF5-based)" in out
    assert "h  40x12x16  float64  (time, lat, lon)  [m]" in out
    assert "movie: 40 frames of 12x16\nsample: 40 of 40 frames" in out
    arguments = f"data=climate data.path={tmp_path}/h.nc"
    assert f"what is that worth: vsr evaluate checkpoint=pretrained:field_x2 {arguments}\n" in out
    assert f"train: vsr train preset=balanced {arguments}\n" in out
    assert f"sharpen without a training: vsr upscale input={tmp_path}/h.nc\n" in out
    assert "warning" not in out


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_histogram_shows_how_values_are_spread(tmp_path: Path, encoding: str) -> None:
    values = np.repeat([0.0, 1.0, 4.0], [600, 300, 60])
    values[0] = np.nan
    np.save(tmp_path / "a.npy", values.reshape(6, 10, 16))
    typed = [sys.executable, "-m", "vsr", "inspect", str(tmp_path / "a.npy"), "--axes", "tyx"]
    done = run_process(typed, capture_output=True, check=True, cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": encoding})
    [drawn] = [line for line in done.stdout.decode(encoding).splitlines() if line.startswith("  from min to max: ")]
    bars = drawn.removeprefix("  from min to max: |").removesuffix("|")
    marks = {"utf-8": "█▅▁", "ascii": "@+."}[encoding]
    assert len(bars) == 40
    assert bars.replace(" ", "") == marks  # of 599, 300 and 60 values
    assert (bars[0], bars[10], bars[-1]) == tuple(marks)


def test_axes_must_be_given_where_the_file_does_not_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "a.npz", u=waves(), words=np.array(["a"]))
    out = said(capsys, tmp_path / "a.npz")
    assert "u  40x12x16  float64\n  words  is string, not real numbers" in out
    assert "movie: not opened;" in out
    assert "type e.g. data.axes=tyx" in out
    assert "train:" not in out
    out = said(capsys, tmp_path / "a.npz", "--axes", "tyx")
    assert f"data.path={tmp_path}/a.npz data.axes=tyx\n" in out
    assert "warning" not in out
    assert "no such array" in failed(capsys, tmp_path / "a.npz", "--variable", "v", "--axes", "tyx")
    assert "twice" in failed(capsys, tmp_path / "a.npz", "--axes", "tyy")


def test_wrong_axes_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", waves())
    assert "warning: neighbouring frames are less alike" in said(capsys, tmp_path / "a.npy", "--axes", "ytx")
    assert "warning" not in said(capsys, tmp_path / "a.npy", "--axes", "tyx")


def test_several_variables_and_movies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = np.stack([waves(20), waves(20) + 1])
    np.savez(tmp_path / "a.npz", u=many, v=-many)
    out = said(capsys, tmp_path / "a.npz", "--variable", "u,v", "--axes", "ntyx")
    assert "movie: 20 frames of 12x16, 2 movies, 2 channels\nsample: 40 of 40 frames" in out
    assert '"data.variable=[u,v]" data.axes=ntyx' in out


def test_missing_values_and_odd_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = waves(10, 13, 15)
    values[3, :2, 0] = np.nan
    values[5, 0, 0] = np.inf
    np.save(tmp_path / "a.npy", values)
    out = said(capsys, tmp_path / "a.npy", "--axes", "tyx")
    assert "NaN: 2 values in 1 frames; Inf: 1 values in 1 frames" in out
    assert "data.axes=tyx data.mask=true\n" in out
    np.save(tmp_path / "a.npy", np.full((4, 6, 6), np.nan))
    assert "min nan" in said(capsys, tmp_path / "a.npy", "--axes", "tyx")
    np.save(tmp_path / "a.npy", np.zeros((1, 1, 1)))
    assert "movie: 1 frames of 1x1" in said(capsys, tmp_path / "a.npy", "--axes", "tyx")


def test_a_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av")
    luma = moving_pattern(12, 32, 46)
    path = write_y4m(tmp_path / "my clip.y4m", luma)
    out = said(capsys, path)
    assert "movie: 12 frames of 32x46" in out
    assert f"min {luma.min()}  max {luma.max()}  mean {luma.mean():.6g}" in out
    assert f"train: vsr train preset=balanced data=movies \"data.path='{path}'\"\n" in out
    assert "no such file" in failed(capsys, tmp_path / "none.mkv")


def test_bad_files_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.h5").write_text("words")
    assert "text (words ...), not arrays" in failed(capsys, tmp_path / "a.h5")
    assert "no such file" in failed(capsys, tmp_path / "none.h5")
    np.save(tmp_path / "flat.npy", np.zeros((3, 4)))
    assert "flat is 3x4" in failed(capsys, tmp_path / "flat.npy")
    np.savez(tmp_path / "flat.npz", words=np.array(["a"]))
    assert "words is string" in failed(capsys, tmp_path / "flat.npz")


def test_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = waves()
    values[0] = np.nan
    np.save(tmp_path / "$a$.npy", values)
    said(capsys, tmp_path / "$a$.npy", "--axes", "tyx", "--picture", tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "file").write_text("")
    assert "cannot be written" in failed(
        capsys, tmp_path / "$a$.npy", "--axes", "tyx", "--picture", tmp_path / "file" / "out.png"
    )


def test_names_the_terminal_cannot_show(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"wärme": waves(), "evil\x1b[2J": waves()})
    done = run_process(
        [sys.executable, "-m", "vsr", "inspect", str(tmp_path / "a.npz"), "--variable", "wärme", "--axes", "tyx"],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env={"PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"},
    )
    assert rb"w\xe4rme" in done.stdout
    assert b"\x1b" not in done.stdout


class Counted(Decoded):
    """Counts the frames that are read."""

    count = 0

    def read(self, movie: int, start: int, stop: int, **options: Any) -> np.ndarray:
        self.count += stop - start
        return super().read(movie, start, stop, **options)


def test_statistics_of_known_values() -> None:
    frames = Counted(np.arange(1000, dtype=np.float32)[:, None, None] * np.ones((1, 4, 6), np.float32))
    found = inspect_statistics(frames)
    assert frames.count == found.frames == 64
    assert (found.low, found.high, found.whole) == (0, 999, 1000)
    assert found.mean == pytest.approx(499.5, abs=1)
    assert found.change == pytest.approx(1 / found.std)
    few = Decoded(waves(10))
    found = inspect_statistics(few)
    assert list(inspect_sample(few)) == [(0, 0, 10)]
    assert found.std == pytest.approx(waves(10).std())
    pairs = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(waves(10)[:-1], waves(10)[1:], strict=True)]
    assert found.along["t"] == pytest.approx(np.median(pairs))


def test_sample_spans_all_movies() -> None:
    frames = Decoded(waves(50))
    frames.shape = (10, 1, 50, 12, 16)
    chosen = list(inspect_sample(frames))
    assert {movie for movie, _, _ in chosen} == set(range(10))
    assert all(0 <= start < stop <= 50 for _, start, stop in chosen)
    assert sum(stop - start for _, start, stop in chosen) == 64


ODD = st.text(st.sampled_from("ab1. '\"\\$${}[](),=:;~!#&|*?<>äß-_/@%+`"), min_size=1, max_size=12)


def understood(line: str) -> object:
    """What Hydra makes of it after the shell."""
    words = shlex.split(line)
    assert len(words) == 1
    override = OverridesParser.create().parse_override(words[0])
    return OmegaConf.to_container(OmegaConf.create({"value": override.value()}), resolve=True)["value"]  # type: ignore[index,call-overload]


@given(ODD)
@settings(max_examples=400, deadline=None)
@example("null").via("taken for a constant")
@example("1e5").via("taken for a number")
@example("a b.nc")
@example("it's ${HOME} \\")
@example("\\'${a}\\\\")
@example("C:\\data\\h.nc")
def test_commands_survive_shell_and_hydra(text: str) -> None:
    assert understood(typed_argument("data.path", text)) == text
    assert understood(typed_argument("data.variable", [text, "b"])) == [text, "b"]


def test_the_shell_agrees(tmp_path: Path) -> None:
    for text in ("a b.nc", "it's", "$HOME", "`id`", "a\\b", "h!.nc", 'say "x"', "plain/h.nc", "*"):
        line = typed_argument("data.path", text)
        done = run_process(["bash", "-c", f"printf %s {line}"], capture_output=True, text=True, check=True, cwd=tmp_path)
        assert OverridesParser.create().parse_override(done.stdout).value() == text
    assert typed_argument("data.path", "a b.nc") == "\"data.path='a b.nc'\""
    assert typed_argument("data.path", "run/h.nc") == "data.path=run/h.nc"


def test_a_movie_that_hides_in_a_struct_or_a_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A field of a struct is found; for elements of struct arrays, cells, records and planes the message says what to type."""
    movie = np.random.default_rng(0).random((6, 5, 7))
    cell = np.empty((1, 2), object)
    cell[0] = [movie, 1.0]
    contents: dict[str, tuple[dict[str, Any], str]] = {
        "array": ({"s": np.array([(movie,), (movie,)], [("u", object)])}, "of its own, e.g. h = s(1).FIELD"),
        "cell": (
            {"x": np.ones(5), "c": cell},
            "(c is a cell array, not real numbers; store its contents as a variable of its own, ",
        ),
        "planes": (
            {"s": {f"u{i}": movie[..., i] for i in range(7)}},
            "if the 7 arrays of 6x5 in s are frames, stack them in order",
        ),
    }
    for name, (content, told) in contents.items():
        savemat(tmp_path / f"{name}.mat", content)
        assert told in failed(capsys, tmp_path / f"{name}.mat")
    savemat(tmp_path / "a.mat", {"x": np.arange(5.0), "s": {"flow": {"u": movie}}})
    out = said(capsys, tmp_path / "a.mat")
    assert "  s.flow.u  6x5x7  float64" in out
    assert "s.flow.u: the file does not say which index of 6x5x7 is time; type e.g. data.axes=yxt" in out
    assert f"data.path={tmp_path}/a.mat data.axes=yxt\n" in said(capsys, tmp_path / "a.mat", "--axes", "yxt")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i in range(4):
            file[f"run/frames/{i}"] = movie[i]
        file["records"] = np.zeros((2, 3, 4), [("u", "f4"), ("v", "f4")])
    told = failed(capsys, tmp_path / "a.h5")
    assert "records is struct, not real numbers; save one of its fields (u, v) as an array of its own" in told
    assert "if the 4 arrays of 5x7 in run/frames are frames, stack them in order" in told


def test_the_command_that_trains_on_all_variables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    xarray = pytest.importorskip("xarray")
    dims = ("time", "y", "x")
    xarray.Dataset({name: (dims, waves(8)) for name in "tq"}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    out = said(capsys, tmp_path / "a.nc")
    assert "several arrays can be the movie" in out
    assert f"train on t, q: vsr train preset=balanced data=climate data.path={tmp_path}/a.nc\n" in out
