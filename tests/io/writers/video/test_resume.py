"""Runs that are killed, run out of disk or are stopped, and go on with the same command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import ROOT
from tests.io.writers.video.fakes import decoded, enlarge, nearest, noise, packets, write
from tests.processes import run_process
from vsr.errors import UserError
from vsr.io.writers.open import open_writer_pair

COUNT = 600  # small frames go 256 to a piece

CHILD = """
import os, resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.io.writers.video.fakes import nearest
from vsr.errors import UserError
from vsr.io.writers.open import open_writer_pair

source, target, stop, flush, limit = Path(sys.argv[2]), Path(sys.argv[3]), *map(int, sys.argv[4:])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
lr, sink = open_writer_pair(source, target, scale=2, channels="luma", identity={"network": "nearest"})
print(sink.done, flush=True)
try:
    for start, frames in lr.blocks(7, sink.done):
        sink.write(start, nearest(frames, 2))
        if flush and start >= flush:
            sink.flush()
        if stop and start >= stop:
            os.kill(os.getpid(), signal.SIGKILL)
    sink.finish()
except UserError as error:
    print(error, flush=True)
"""


def child(source: Path, target: Path, *, stop: int = 0, flush: int = 0, limit: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CHILD, str(ROOT), str(source), str(target), str(stop), str(flush), str(limit)]
    return run_process(command, capture_output=True, text=True, cwd=ROOT)


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = noise("yuv420p", 24, 32, COUNT, low=0.45, high=0.55)
    return write(
        tmp_path_factory.mktemp("movie") / "in.mp4", frames, "yuv420p", "libx264", audio="aac", options={"g": "30", "crf": "30"}
    )


def half(source: Path, target: Path) -> None:
    """A run that ends within its second piece."""
    lr, sink = open_writer_pair(source, target, scale=2, channels="luma", identity={"network": "nearest"})
    with sink:
        for start, frames in lr.blocks(50):
            sink.write(start, nearest(frames, 2))
            if start >= 250:
                break


def same(one: Path, other: Path) -> bool:
    return all(
        a[0] == b[0] and all(np.array_equal(p, q) for p, q in zip(a[1], b[1], strict=True))
        for a, b in zip(decoded(one), decoded(other), strict=True)
    )


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
@pytest.mark.sampled(1)
def test_a_killed_run_goes_on_and_gives_the_same_file(name: str, movie: Path, tmp_path: Path) -> None:
    enlarge(movie, tmp_path / f"whole{name}")
    killed = child(movie, tmp_path / name, stop=300)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / name).exists()
    _, sink = open_writer_pair(movie, tmp_path / name, scale=2, channels="luma", identity={"network": "nearest"})
    assert sink.done == 256
    sink.close()
    with pytest.raises(UserError, match=r"interrupted run with another network"):
        open_writer_pair(movie, tmp_path / name, scale=2, channels="luma", identity={"network": "other"})
    again = child(movie, tmp_path / name, stop=530)  # and once more
    assert (again.returncode, again.stdout.strip()) == (-signal.SIGKILL, "256")
    enlarge(movie, tmp_path / name, block=5)
    assert same(tmp_path / name, tmp_path / f"whole{name}")
    assert packets(tmp_path / name, "audio") == packets(movie, "audio")
    assert [path.name for path in sorted(tmp_path.iterdir())] == [name, f"whole{name}"]


@pytest.mark.long
def test_flush_keeps_lossless_frames_from_a_kill(movie: Path, tmp_path: Path) -> None:
    killed = child(movie, tmp_path / "out.mkv", stop=28, flush=20)
    assert killed.returncode == -signal.SIGKILL
    journal = json.loads((tmp_path / ".out.mkv.part.json").read_text())
    assert journal["done"] == 35  # blocks of 7, the last begins at 28
    enlarge(movie, tmp_path / "out.mkv")
    enlarge(movie, tmp_path / "whole.mkv")
    assert same(tmp_path / "out.mkv", tmp_path / "whole.mkv")


def test_a_movie_network_may_look_back_when_it_goes_on(movie: Path, tmp_path: Path) -> None:
    half(movie, tmp_path / "out.mkv")
    lr, sink = open_writer_pair(movie, tmp_path / "out.mkv", scale=2, channels="luma", identity={"network": "nearest"})
    whole, _ = open_writer_pair(movie, tmp_path / "other.mkv", scale=2, channels="luma", identity={})
    with sink, _:
        expected = {start + n: frame for start, block in whole.blocks(8) for n, frame in enumerate(block)}
        for start, block in lr.blocks(8, sink.done - 2):
            for n, frame in enumerate(block):
                np.testing.assert_array_equal(frame, expected[start + n])
        sink.write(256, expected[256][None].repeat(2, -1).repeat(2, -2))  # what stands beside frame 256 was kept
        with pytest.raises(ValueError, match="frame 300 cannot follow 256"):
            sink.write(300, expected[300][None])


@pytest.mark.parametrize(("limit", "flush", "kept"), [(200_000, 0, 0), (600_000, 20, 90)])
@pytest.mark.sampled(1)
def test_a_full_disk_is_one_line_and_costs_no_finished_frame(limit: int, flush: int, kept: int, tmp_path: Path) -> None:
    noisy = write(tmp_path / "in.mkv", noise("yuv420p", 48, 64, 90), "yuv420p")
    full = child(noisy, tmp_path / "out.mkv", flush=flush, limit=limit)
    assert (full.returncode, full.stderr) == (0, "")
    first, message = full.stdout.splitlines()
    assert first == "0"
    assert "out.mkv: the disk is full or a limit on file sizes is reached" in message
    assert ("90 frames are kept" in message) == bool(kept)
    assert not (tmp_path / "out.mkv").exists()
    _, sink = open_writer_pair(noisy, tmp_path / "out.mkv", scale=2, channels="luma", identity={"network": "nearest"})
    sink.close()
    assert sink.done == kept
    enlarge(noisy, tmp_path / "out.mkv")
    enlarge(noisy, tmp_path / "whole.mkv")
    assert same(tmp_path / "out.mkv", tmp_path / "whole.mkv")


def test_two_runs_at_once_are_refused(movie: Path, tmp_path: Path) -> None:
    _, sink = open_writer_pair(movie, tmp_path / "out.mkv", scale=2, channels="luma", identity={})
    with sink, pytest.raises(UserError, match="another process is writing it"):
        open_writer_pair(movie, tmp_path / "out.mkv", scale=2, channels="luma", identity={})


def test_pieces_that_somebody_deleted_are_computed_again(movie: Path, tmp_path: Path) -> None:
    half(movie, tmp_path / "out.mkv")
    (tmp_path / ".out.mkv.part" / "000000.nut").unlink()
    enlarge(movie, tmp_path / "out.mkv")
    assert len(decoded(tmp_path / "out.mkv")) == COUNT
