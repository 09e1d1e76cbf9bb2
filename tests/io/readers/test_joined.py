"""Many files as one movie: the order, gaps and repeats of time, and what does not fit together."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.fakes import TINY_CLIMATE, train_here, upscale_here
from tests.io.writers.test_coordinates import write_plain
from vsr.commands.inspect import inspect_command
from vsr.data.file_movies import file_movies
from vsr.errors import UserError
from vsr.io.readers import joined
from vsr.io.readers.joined import JoinedMovie, files_of_movie, open_movies

Y, X = 12, 14
FIELD = np.random.default_rng(0).standard_normal((40, Y, X)).astype(np.float32)


def write(path: Path, times: np.ndarray, values: np.ndarray | None = None, **attrs: Any) -> Path:
    """A NetCDF of the frames FIELD[times]."""
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    units = {"units": "days since 2000-01-01", **attrs}
    frames = FIELD[times.astype(int)] if values is None else values
    coordinates = {"time": ("time", times, units), "lat": np.linspace(60, 50, frames.shape[1]), "lon": np.arange(float(X))}
    path.parent.mkdir(parents=True, exist_ok=True)
    xarray.Dataset({"v": (("time", "lat", "lon"), frames)}, coordinates).to_netcdf(path, engine="h5netcdf")
    return path


def movies(path: str | list[str], **options: Any) -> list[Any]:
    given = {"variable": None, "axes": None, "select": None, "missing": None, "frames": None, "max_bytes": 2**40}
    return file_movies(path, **{**given, **options})


@pytest.fixture
def months(tmp_path: Path) -> Path:
    """Three files whose names are not in the order of their times."""
    for name, start, stop in (("c.nc", 0, 10), ("a.nc", 10, 25), ("b.nc", 25, 40)):
        write(tmp_path / "months" / name, np.arange(start, stop))
    return tmp_path / "months"


def test_a_folder_a_pattern_and_a_list_are_joined_in_the_order_of_time(months: Path) -> None:
    listed = [str(months / name) for name in ("b.nc", "c.nc", "a.nc")]
    for given in (str(months), f"{months}/*.nc", listed):
        [movie] = movies(given)
        assert movie.shape == (1, 40, Y, X)
        np.testing.assert_array_equal(movie.read(0, 40)[0], FIELD)
        np.testing.assert_array_equal(movie.read(8, 27)[0], FIELD[8:27])
    assert "and 2 more files" in movie.name


def test_few_files_are_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined, "OPEN_FILES", 3)
    for k in range(20):
        np.save(tmp_path / f"step{k}.npy", FIELD[2 * k : 2 * k + 2])
    [movie] = open_movies(f"{tmp_path}/step*.npy", variable=None, axes="tyx")
    assert isinstance(movie, JoinedMovie)
    np.testing.assert_array_equal(movie.read(0, 0, 40)[0], FIELD)  # step2 comes before step10
    assert sum(part.reader._handle is not None for part in movie.parts) <= 3
    with pytest.raises(IndexError):
        movie.read(0, 39, 41)


def test_other_units_of_time_and_calendars_are_compared(tmp_path: Path) -> None:
    pytest.importorskip("cftime")
    write(tmp_path / "b.nc", np.arange(10), units="days since 2000-01-01", calendar="360_day")
    write(tmp_path / "a.nc", np.arange(10), FIELD[10:20], units="days since 2000-01-11", calendar="360_day")
    [movie] = movies(str(tmp_path))
    np.testing.assert_array_equal(movie.read(0, 20)[0], FIELD[:20])


def test_repeated_frames_at_the_seam_are_used_once(tmp_path: Path) -> None:
    write(tmp_path / "a.nc", np.arange(0, 12))
    write(tmp_path / "b.nc", np.arange(10, 20))
    [movie] = movies(str(tmp_path))
    np.testing.assert_array_equal(movie.read(0, 20)[0], FIELD[:20])


def test_a_movie_ends_at_a_gap(tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a.nc", np.arange(0, 12))
    write(tmp_path / "b.nc", np.arange(16, 30))
    with caplog.at_level(logging.WARNING):
        found = movies(str(tmp_path))
    assert [movie.shape[1] for movie in found] == [12, 14]
    np.testing.assert_array_equal(found[1].read(0, 14)[0], FIELD[16:30])
    assert "1 gaps in time, where about 4 frames are missing, first behind frame 11" in caplog.text
    inspect_command([str(tmp_path)])
    assert "note: 1 gaps in time" in capsys.readouterr().out
    # The same in one file; months of 28 to 31 days are no gaps; a frame alone between two gaps is left out.
    write(tmp_path / "one" / "a.nc", np.array([0, 1, 2, 6, 7, 12, 16, 17, 18]))
    assert [movie.shape[1] for movie in movies(str(tmp_path / "one"))] == [3, 2, 3]
    days = np.cumsum([0, 31, 28, 31, 30, 31, 30])
    write(tmp_path / "monthly" / "a.nc", days, FIELD[:7])
    assert [movie.shape[1] for movie in movies(str(tmp_path / "monthly"))] == [7]


def test_frames_that_are_alone_between_gaps_make_no_movie(tmp_path: Path) -> None:
    write(tmp_path / "a.nc", np.r_[0:5, 9, 14:20])
    with pytest.raises(UserError, match=r"data.frames=\[5, 6\]: no two of these frames follow each other in time"):
        movies(str(tmp_path / "a.nc"), frames=[5, 6])


def test_dates_as_numbers_have_no_gaps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dates = np.array([20200129.0, 20200130, 20200131, 20200201, 20200202])
    with caplog.at_level(logging.WARNING):
        [movie] = movies(str(write(tmp_path / "a.nc", dates, FIELD[:5], units="day as %Y%m%d.%f")))
    assert movie.shape[1] == 5
    assert not caplog.text


def test_time_that_repeats_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "a.nc", np.array([0, 1, 2, 2, 3, 4]))
    with caplog.at_level(logging.WARNING):
        assert movies(str(tmp_path / "a.nc"))[0].shape[1] == 6
    assert "time repeats or goes back 1 times, first at frame 3" in caplog.text


def test_files_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    first = str(write(tmp_path / "a.nc", np.arange(0, 10)))
    other = str(write(tmp_path / "b" / "b.nc", np.arange(10, 20), FIELD[10:20, :10]))
    with pytest.raises(UserError, match=r"b.nc:v .*does not continue .*a.nc:v"):
        movies([first, other])
    within = str(write(tmp_path / "c.nc", np.array([3.5, 4.5])))
    with pytest.raises(UserError, match=r"its times lie within those of"):
        movies([first, within])
    backwards = str(write(tmp_path / "d.nc", np.array([20, 19, 21])))
    with pytest.raises(UserError, match=r"d.nc:v: time goes back or repeats at frame 1"):
        movies([first, backwards])
    mistakes = {
        f"{tmp_path}/*.h5": "no file fits this pattern",
        f"{tmp_path}/empty": "a folder without a file of arrays",
        f"{tmp_path}/video": "a folder of videos or pictures, not of arrays; type data=movies",
    }
    (tmp_path / "empty").mkdir()
    (tmp_path / "video").mkdir()
    (tmp_path / "video" / "a.mp4").touch()
    for path, message in mistakes.items():
        with pytest.raises(UserError, match=message):
            movies(path)
    with pytest.raises(UserError, match="names no file"):
        movies([])


def test_arrays_of_groups_are_movies(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bench.h5", "w") as file:
        for k in range(12):
            file[f"{k:04d}/data"] = FIELD[k : k + 5, :, :, None]
            file[f"{k:04d}/grid/x"] = np.arange(X)
    found = movies(str(tmp_path / "bench.h5"), variable="*/data", axes="tyxc")
    assert len(found) == 12
    np.testing.assert_array_equal(found[11].read(0, 5)[0], FIELD[11:16])
    with pytest.raises(UserError, match="no array has such a name; it has 0000/data"):
        movies(str(tmp_path / "bench.h5"), variable="*/u", axes="tyxc")


def test_names_decide_the_order_without_times(tmp_path: Path) -> None:
    for name in ("snapshots_s10.h5", "snapshots_s2.h5", "snapshots_s1.h5"):
        (tmp_path / name).touch()
    assert [path.name for path in files_of_movie(str(tmp_path))] == [f"snapshots_s{k}.h5" for k in (1, 2, 10)]
    (tmp_path / "wrf").mkdir()
    for day in (2, 1):
        (tmp_path / "wrf" / f"wrfout_d01_2020-01-0{day}_00:00:00").touch()
    assert [path.name[-11:-9] for path in files_of_movie(str(tmp_path / "wrf"))] == ["01", "02"]


def test_many_files_train_and_are_upscaled_one_by_one(months: Path, tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    run = tmp_path / "run"
    train_here(run, [*TINY_CLIMATE[:1], f"data.path='{months}/*.nc'", "recipe.patch=4", "recipe.steps=2", "window=[0,0,0]"])
    checkpoint = f"checkpoint={run}/checkpoints/best.ckpt"
    folder = upscale_here([checkpoint, f"input={months}", "guard=off"])
    assert folder == tmp_path / "months_x2"
    assert sorted(path.name for path in folder.iterdir()) == ["a_x2.nc", "b_x2.nc", "c_x2.nc"]
    with xarray.open_dataset(folder / "a_x2.nc") as found:
        assert found["v"].shape == (15, 2 * Y, 2 * X)
    before = (folder / "b_x2.nc").stat().st_mtime_ns
    (folder / "a_x2.nc").unlink()
    upscale_here([checkpoint, f"input='{months}/*.nc'", f"output={folder}", "guard=off"])
    assert (folder / "a_x2.nc").exists()
    assert (folder / "b_x2.nc").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="must be a folder for 3 inputs"):
        upscale_here([checkpoint, f"input={months}", f"output={tmp_path}/all.nc"])


@pytest.mark.parametrize("ending", [".npz", ".mat", ".h5"])
def test_times_beside_arrays_without_names_of_dimensions(
    ending: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gap ends a movie, files come in the order of their times, and times that begin anew in each file are no error."""
    gap = np.r_[0:10, 15:20] * 0.25
    write_plain(tmp_path / f"gap{ending}", {"v": FIELD[:15], "t": gap})
    caplog.set_level(logging.WARNING)
    first, second = movies(str(tmp_path / f"gap{ending}"), variable="v", axes="tyx")
    assert (first.shape[1], second.shape[1]) == (10, 5)
    np.testing.assert_array_equal(second.read(0, 5)[0], FIELD[10:15])
    assert "1 gaps in time, where about 5 frames are missing" in caplog.text
    inspect_command([str(tmp_path / f"gap{ending}"), "--variable", "v", "--axes", "tyx"])
    told = capsys.readouterr().out
    assert "note: 1 gaps in time" in told
    assert "coordinates by their names: t\n" in told
    for name, start, stop, begin in (("b", 0, 10, 0), ("a", 10, 25, 10), ("anew", 10, 25, 0)):
        write_plain(tmp_path / f"{name}{ending}", {"v": FIELD[start:stop], "t": np.arange(float(stop - start)) + begin})
    both = [str(tmp_path / f"{name}{ending}") for name in ("b", "anew")]
    [movie] = movies([str(tmp_path / f"a{ending}"), both[0]], variable="v", axes="tyx")
    np.testing.assert_array_equal(movie.read(0, 25)[0], FIELD[:25])
    caplog.clear()
    [movie] = movies(both, variable="v", axes="tyx")
    np.testing.assert_array_equal(movie.read(0, 25)[0], FIELD[:25])
    assert "time repeats or goes back 1 times, first at frame 10" in caplog.text
