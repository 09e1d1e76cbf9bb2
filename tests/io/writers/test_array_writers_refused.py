"""Refused and damaged outputs: second writers, other runs, existing files, full disks, closed folders."""

from __future__ import annotations

import errno
import json
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import ROOT
from tests.io.writers.test_array_writers import enlarged, frames_of, stored, write_all, write_input
from tests.processes import run_process
from vsr.errors import UserError
from vsr.io.readers.open import open_movie
from vsr.io.writers.base import OutputProgress
from vsr.io.writers.open import open_array_sink
from vsr.io.writers.template import OutputTemplate
from vsr.io.writers.template_from_movie import template_from_movie


@pytest.fixture
def movie(tmp_path: Path) -> tuple[Path, OutputTemplate, np.ndarray]:
    """A target, its template and its frames."""
    source = write_input(tmp_path / "a.npy", stored("tyx"))
    return (
        tmp_path / "b.npy",
        template_from_movie(open_movie(source, variable=None, axes="tyx"), 2),
        enlarged(frames_of(source, None, "tyx")),
    )


def test_a_second_writer_is_refused(movie: tuple[Path, OutputTemplate, np.ndarray]) -> None:
    path, template, frames = movie
    with open_array_sink(path, template, identity={}) as sink:
        sink.write(0, frames[:3])
        for overwrite in (False, True):
            with pytest.raises(UserError, match=r"b\.npy: another process is writing it; wait for it"):
                open_array_sink(path, template, identity={}, overwrite=overwrite)
        sink.flush()
    with open_array_sink(path, template, identity={}) as sink:
        assert sink.done == 3


def test_another_identity_is_refused_and_named(movie: tuple[Path, OutputTemplate, np.ndarray]) -> None:
    path, template, frames = movie
    with open_array_sink(path, template, identity={"scale": 2, "checkpoint": "a" * 64}) as sink:
        sink.write(0, frames[:3])
        sink.flush()
        sink.write(3, frames[3:4])  # not flushed: not believed
    for identity, message in (
        ({"scale": 3, "checkpoint": "a" * 64}, r"another scale \(2, now 3\);"),
        ({"scale": 2, "checkpoint": "b" * 64}, "another checkpoint;"),
        ({"scale": 2}, "another checkpoint;"),
    ):
        with pytest.raises(UserError, match=rf"\.b\.npy\.part: .*{message} type overwrite=true to start over"):
            open_array_sink(path, template, identity=identity)
    with pytest.raises(UserError, match="another layout of the file"):
        open_array_sink(path, replace(template, shape=(1, 1, 7, 8, 12)), identity={"scale": 2, "checkpoint": "a" * 64})
    later = replace(template, history="another line", notes=("a note",))
    for overwrite in (False, True):  # the same identity goes on, also where an old target would be replaced
        with open_array_sink(path, later, identity={"checkpoint": "a" * 64, "scale": 2}, overwrite=overwrite) as sink:
            assert sink.done == 3
    with open_array_sink(path, template, identity={"scale": 3}, overwrite=True) as sink:
        assert sink.done == 0
        sink.write(0, frames)
        sink.finish()
    np.testing.assert_array_equal(frames_of(path, None, "tyx"), frames)


@pytest.mark.parametrize("ending", [".npy", ".zarr"])
def test_an_existing_target_is_replaced_on_demand_and_at_the_end(ending: str, tmp_path: Path) -> None:
    source = write_input(tmp_path / f"a{ending}", stored("tyx"))
    path, template = tmp_path / f"b{ending}", template_from_movie(open_movie(source, variable=None, axes="tyx"), 2)
    frames = enlarged(frames_of(source, None, "tyx"))
    write_all(path, template, frames)
    with pytest.raises(UserError, match="exists; type overwrite=true to replace it"):
        open_array_sink(path, template, identity={"checkpoint": "abc"})
    assert not list(tmp_path.glob(".*"))
    with open_array_sink(path, template, identity={}, overwrite=True) as sink:
        sink.write(0, -frames)
        sink.flush()
        np.testing.assert_array_equal(frames_of(path, None, "tyx"), frames)
        sink.finish()
    np.testing.assert_array_equal(frames_of(path, None, "tyx"), -frames)
    assert not list(tmp_path.glob(".*"))


def test_folders_are_not_replaced_by_mistake(movie: tuple[Path, OutputTemplate, np.ndarray]) -> None:
    path, template, _ = movie
    path.mkdir()
    (path / "thesis.tex").write_text("years")
    with pytest.raises(UserError, match="is a folder; type output=FILE"):
        open_array_sink(path, template, identity={}, overwrite=True)
    folder = path.rename(path.with_suffix(".zarr"))
    with pytest.raises(UserError, match="a folder that is no Zarr store is not replaced"):
        open_array_sink(folder, replace(template, format="zarr"), identity={}, overwrite=True)
    assert (folder / "thesis.tex").exists()


def test_a_partial_that_somebody_changed_is_not_continued(movie: tuple[Path, OutputTemplate, np.ndarray]) -> None:
    path, template, frames = movie
    partial = path.with_name(".b.npy.part")
    for damage in (lambda: os.truncate(partial, 200), partial.unlink, lambda: Path(f"{partial}.json").write_text("{")):
        with open_array_sink(path, template, identity={}) as sink:
            sink.write(0, frames[:3])
            sink.flush()
        damage()
        with open_array_sink(path, template, identity={}) as sink:
            assert sink.done == 0
    with open_array_sink(path, template, identity={}) as sink:
        sink.write(0, frames)
        sink.flush()
        os.truncate(partial, 200)
        with pytest.raises(UserError, match="is no longer .* bytes long"):
            sink.finish()
    assert not path.exists()


def test_a_folder_that_cannot_be_written(movie: tuple[Path, OutputTemplate, np.ndarray], tmp_path: Path) -> None:
    _, template, _ = movie
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    folder = Path("/sys") if os.geteuid() == 0 else closed  # root may write where it likes, but not there
    with pytest.raises(UserError, match=rf"{folder}/b\.npy: cannot be written \(Permission denied\); type output=PATH"):
        open_array_sink(folder / "b.npy", template, identity={})
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        open_array_sink(tmp_path / "file" / "b.npy", template, identity={})
    with pytest.raises(UserError, match="File name too long"):
        open_array_sink(tmp_path / f"{'b' * 249}.npy", template, identity={})


def test_a_full_disk_is_found_at_the_start(
    movie: tuple[Path, OutputTemplate, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, template, _ = movie

    def full(handle: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(UserError, match=r"b\.npy: the disk is full.*free space and type the same command again"):
            open_array_sink(path, template, identity={})
    huge = replace(template, shape=(1, 1, 7, 2**28, 2**28))
    with pytest.raises(UserError, match=r"are free, b\.npy needs .*; free space, or type output=PATH on another disk"):
        open_array_sink(path, huge, identity={})
    with open_array_sink(path, template, identity={}) as sink:
        assert sink.done == 0


LIMITED = """
import pickle, resource, sys
from pathlib import Path
import numpy as np
from vsr.errors import UserError
from vsr.io.writers.open import open_array_sink
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
folder = Path(sys.argv[1])
for path in sorted(folder.glob("*.pickle")):
    template = pickle.loads(path.read_bytes())
    try:
        with open_array_sink(folder / path.stem, template, identity={}) as sink:
            for i in range(template.frames):
                frame = np.zeros((100, 200)) if i < 3 else np.random.default_rng(i).random((100, 200))
                sink.write(i, frame.astype(np.float32)[None, None])
                sink.flush()
    except UserError as error:
        print(error)
print("alive")
"""


def test_a_limit_on_file_sizes_is_an_error_that_crashes_nothing(tmp_path: Path) -> None:
    template = OutputTemplate("npy", ("h",), "tyx", (1, 1, 4, 100, 200), storage={"frames": 1})
    for ending, name in ((".npy", "npy"), (".h5", "hdf5"), (".nc", "netcdf"), (".mat", "matlab"), (".zarr", "zarr")):
        (tmp_path / f"b{ending}.pickle").write_bytes(pickle.dumps(replace(template, format=name)))
    done = run_process([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    lines = done.stdout.splitlines()
    assert lines[-1] == "alive", done.stderr
    assert len(lines) == 6
    assert all("a limit on file sizes is reached (File too large)" in line for line in lines[:-1])
    assert "3 frames are kept, the same command continues" in lines[-2]  # Zarr, whose chunks are files of their own
    with open_array_sink(tmp_path / "b.zarr", replace(template, format="zarr"), identity={}) as sink:
        assert sink.done == 3
        sink.write(3, np.zeros((1, 1, 100, 200), np.float32))
        sink.finish()
    assert frames_of(tmp_path / "b.zarr", "h", "tyx").shape == (4, 1, 100, 200)


def test_a_disk_that_fills_up_keeps_what_is_there(
    movie: tuple[Path, OutputTemplate, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, template, frames = movie

    def full(handle: int, values: object, at: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with open_array_sink(path, template, identity={}) as sink:
        sink.write(0, frames[:4])
        sink.flush()
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(UserError, match="the disk is full.*4 frames are kept, the same command continues; free space"):
            sink.write(4, frames[4:])
    monkeypatch.undo()
    with open_array_sink(path, template, identity={}) as sink:
        assert sink.done == 4
        sink.write(4, frames[4:])
        sink.finish()
    np.testing.assert_array_equal(frames_of(path, None, "tyx"), frames)


def test_what_the_journal_says(tmp_path: Path) -> None:
    """The part of the contract that other writers build on."""
    target = tmp_path / "deep" / "movie.mkv"
    journal = OutputProgress(target, {"options": (1, 2)})
    assert (journal.done, journal.resumed, journal.state) == (0, False, {})
    journal.partial.mkdir()
    (journal.partial / "0").write_text("a")
    journal.record(3, pieces=1)
    journal.record(5, last=9)
    assert json.loads(journal.path.read_text())["state"] == {"pieces": 1, "last": 9}
    journal.close()
    journal.close()
    journal = OutputProgress(target, {"options": [1, 2]})
    assert (journal.done, journal.resumed, journal.state) == (5, True, {"pieces": 1, "last": 9})
    journal.start_over()
    assert (journal.done, journal.resumed, journal.state) == (0, False, {})
    assert not journal.partial.exists()
    journal.partial.write_text("b")
    journal.record(7)
    journal.finish()
    assert target.read_text() == "b"
    assert os.listdir(target.parent) == ["movie.mkv"]
