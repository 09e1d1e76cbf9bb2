"""Files are parsed in a child process: what breaks there is one line here, and what is read is the same to the bit."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.fakes import ROOT, moving_pattern, write_y4m
from tests.processes import start_process
from vsr.errors import UserError
from vsr.io.readers.base import ArrayReader, Variable
from vsr.io.readers.hdf5 import HDF5Reader
from vsr.io.readers.isolated import messages as answers
from vsr.io.readers.isolated import parent as isolated
from vsr.io.readers.isolated.proxies import IsolatedReader, IsolatedVideo
from vsr.io.readers.matlab import Matlab73Reader
from vsr.io.readers.netcdf import NetCDFReader
from vsr.io.readers.open import open_listing, open_movie
from vsr.io.readers.pictures import read_picture, read_picture_alpha, read_picture_facts
from vsr.io.readers.video_stream import VideoStream
from vsr.io.readers.zarr_store import ZarrReader

PARSER = str(Path(isolated.__file__).with_name("child.py"))


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    isolated.stop_isolated_child()
    yield
    isolated.stop_isolated_child()


def children(pid: int) -> list[int]:
    """Processes of a process that parse its files."""
    found = []
    with suppress(OSError):  # ended meanwhile
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            for number in task.read_text().split():
                if PARSER in Path(f"/proc/{number}/cmdline").read_text().split("\0"):
                    found.append(int(number))  # noqa: PERF401 - those before one that is gone are kept
    return found


def gone(pid: int, seconds: float = 5) -> bool:
    """Whether a process ends in time; a zombie has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def write_h5(path: Path, shape: tuple[int, ...] = (12, 20, 24), kind: str = "<f4", **options: object) -> Path:
    values = np.random.default_rng(0).normal(size=shape).astype(kind)
    with h5py.File(path, "w") as file:
        file.create_dataset("run/h", data=values, **options)
        file["run/h"].attrs.update({"units": "m", "note": "größe", "range": np.array([0.5, 1.5])})
        file["empty"] = h5py.Empty("f4")
        file["names"] = ["a", "b"]
    return path


def write_73(path: Path) -> Path:
    with h5py.File(path, "w", userblock_size=512) as file:
        dataset = file.create_dataset("movie", data=np.random.default_rng(1).random((12, 24, 20)))
        dataset.attrs["MATLAB_class"] = np.bytes_("double")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM")
    return path


def write_nc(path: Path, engine: str) -> Path:
    xarray = pytest.importorskip("xarray")
    values = (("time", "lat", "lon"), np.random.default_rng(2).integers(0, 9, (12, 20, 24)) / 10)
    dataset = xarray.Dataset({"h": values}, coords={"time": np.arange(12.0), "lat": np.arange(20.0)})
    dataset.h.attrs["units"] = "m"
    dataset.to_netcdf(path, engine=engine, encoding={"h": {"scale_factor": 0.1, "_FillValue": 3, "dtype": "i2"}})
    return path


def write_zarr(path: Path) -> Path:
    zarr = pytest.importorskip("zarr")
    array = zarr.open_group(str(path), mode="w").create_array(
        "h", shape=(12, 20, 24), chunks=(5, 20, 24), dtype="f4", fill_value=7
    )
    array[:10] = np.random.default_rng(3).normal(size=(10, 20, 24))
    return path


SOURCES: dict[str, Callable[[Path], ArrayReader]] = {
    "float32": lambda folder: HDF5Reader(write_h5(folder / "a.h5")),
    "big-endian, compressed": lambda folder: HDF5Reader(
        write_h5(folder / "a.h5", kind=">f8", chunks=(5, 7, 9), compression="gzip")
    ),
    "int16, one value": lambda folder: HDF5Reader(write_h5(folder / "a.h5", shape=(1, 1, 1), kind="<i2")),
    "MATLAB 7.3": lambda folder: Matlab73Reader(write_73(folder / "a.mat")),
    "NetCDF-4": lambda folder: NetCDFReader(write_nc(folder / "a.nc", "h5netcdf"), "h5netcdf"),
    "Zarr": lambda folder: ZarrReader(write_zarr(folder / "a.zarr")),
    "NetCDF classic": lambda folder: NetCDFReader(write_nc(folder / "a.nc", "scipy"), "scipy"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_arrays_come_through_the_child_as_they_are_read_directly(name: str, tmp_path: Path) -> None:
    direct = SOURCES[name](tmp_path)
    apart = IsolatedReader(direct)
    assert apart.listing() == direct.listing()
    assert apart.format == direct.format
    for variable in direct.listing().variables:
        assert repr(apart.details(variable.name)) == repr(direct.details(variable.name))  # NaN is not equal to NaN
        for part in (tuple(slice(None) for _ in variable.shape), tuple(slice(0, 1) for _ in variable.shape)):
            expected, found = direct.read(variable.name, part), apart.read(variable.name, part)
            assert found.dtype == expected.dtype
            assert found.shape == expected.shape
            assert found.tobytes() == expected.tobytes()
    assert len(children(os.getpid())) == 1


def test_a_long_movie_is_read_in_blocks_of_the_same_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_h5(tmp_path / "a.h5", (2, 23, 8, 9))
    movie = open_movie(path, variable=None, axes="ctyx")
    whole = movie.read(0, 1, 22)
    monkeypatch.setattr("vsr.io.readers.array_movie.BLOCK_BYTES", 4 * 2 * 8 * 9 * 5)
    np.testing.assert_array_equal(movie.read(0, 1, 22), whole)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(whole, file["run/h"][:, 1:22])


def test_the_errors_of_a_reader_come_through(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(write_h5(tmp_path / "b.h5").read_bytes()[:3000])
    with pytest.raises(UserError, match="a.h5: cut short, or its writer was killed"):
        open_listing(tmp_path / "a.h5")
    (tmp_path / "a.y4m").write_bytes(b"YUV4MPEG2 nonsense\n")
    with pytest.raises(UserError, match="no frame can be decoded|not a readable video"):
        IsolatedVideo(tmp_path / "a.y4m")


def test_a_source_is_read_by_another_process_too(tmp_path: Path) -> None:
    movie = open_movie(write_h5(tmp_path / "a.h5"), variable=None, axes="tyx")
    expected = movie.read(0, 2, 5)
    copy = pickle.loads(pickle.dumps(movie))
    np.testing.assert_array_equal(copy.read(0, 2, 5), expected)
    pid = os.fork()
    if not pid:  # has a child of its own, not half of the answers to ours
        same = np.array_equal(movie.read(0, 2, 5), expected) and children(os.getpid()) != []
        isolated.stop_isolated_child()
        os._exit(0 if same else 1)
    assert os.waitpid(pid, 0)[1] == 0
    np.testing.assert_array_equal(movie.read(0, 2, 5), expected)


def test_threads_do_not_take_each_others_answers(tmp_path: Path) -> None:
    movie = open_movie(write_h5(tmp_path / "a.h5"), variable=None, axes="tyx")
    expected = [movie.read(0, k, k + 1) for k in range(12)]
    wrong: list[int] = []

    def read(first: int) -> None:
        order = [(first + n) % 12 for n in range(60)]
        wrong.extend(k for k in order if not np.array_equal(movie.read(0, k, k + 1), expected[k]))

    threads = [threading.Thread(target=read, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_file_is_let_go_when_nobody_reads_it_any_more(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5")
    movie = open_movie(path, variable=None, axes="tyx")
    movie.read(0, 0, 1)
    (parser,) = children(os.getpid())

    def held() -> bool:
        return str(path) in [os.readlink(link) for link in Path(f"/proc/{parser}/fd").iterdir() if link.is_symlink()]

    assert held()
    del movie
    assert not held()
    write_h5(path)  # which HDF5 refuses while another process has it open


def test_pictures_come_through_the_child(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    facts = read_picture_facts(tmp_path / "a.png")
    assert (facts.height, facts.width, facts.alpha, facts.deep) == (20, 30, True, False)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png", "rgb").values, values[..., :3].transpose(2, 0, 1))
    np.testing.assert_array_equal(read_picture_alpha(tmp_path / "a.png", facts), values[None, ..., 3])
    for n in range(5):
        Image.fromarray(values).save(tmp_path / f"{n}.png")
        read_picture(tmp_path / f"{n}.png", "luma")
    assert len(children(os.getpid())) == 1


def test_relative_paths_begin_where_this_process_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, level in (("first", 10), ("second", 20)):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((8, 8), level, np.uint8)).save(tmp_path / name / "a.png")
    for name, level in (("first", 10), ("second", 20)):
        monkeypatch.chdir(tmp_path / name)
        assert read_picture(Path("a.png"), "luma").values.max() == level
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert read_picture(tmp_path / "first" / "a.png", "luma").values.max() == 10


def test_videos_come_through_the_child(tmp_path: Path) -> None:
    path = write_y4m(tmp_path / "a.y4m", moving_pattern(9, 32, 48))
    direct, apart = VideoStream(path), IsolatedVideo(path)
    assert apart.facts == direct.facts
    assert apart.times() == direct.times()
    for start in (0, 4):
        for expected, found in zip(direct.read(start), apart.read(start), strict=True):
            assert (found.number, found.pts) == (expected.number, expected.pts)
            assert [plane.tobytes() for plane in found.planes] == [plane.tobytes() for plane in expected.planes]
    first, second = iter(apart), iter(apart)  # two at once
    assert [next(first).number, next(first).number, next(second).number, next(first).number] == [0, 1, 0, 2]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_parser_that_crashes_is_one_line_and_the_next_file_is_read(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_h5(tmp_path / "a.h5", (40, 512, 512))
    movie = open_movie(path, variable=None, axes="tyx")
    expected = movie.read(0, 0, 1)
    (parser,) = children(os.getpid())
    send = isolated.Child._send

    def send_and_crash(child: isolated.Child, request: Any) -> None:
        os.kill(parser, signal.SIGSTOP)  # so that the signal finds it with a request before it
        send(child, request)
        os.kill(parser, number)
        os.kill(parser, signal.SIGCONT)

    monkeypatch.setattr(isolated.Child, "_send", send_and_crash)
    with pytest.raises(UserError) as caught:
        movie.read(0, 0, 40)
    monkeypatch.undo()
    said = "its parser was killed, as when memory runs out" if number == signal.SIGKILL else f"its parser crashed ({number.name})"
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(movie.read(0, 0, 1), expected)


def test_a_video_whose_parser_crashes_between_two_frames_is_not_taken_for_a_short_one(tmp_path: Path) -> None:
    frames = iter(IsolatedVideo(write_y4m(tmp_path / "a.y4m", moving_pattern(9, 32, 48))))
    next(frames)
    (parser,) = children(os.getpid())
    os.kill(parser, signal.SIGSEGV)
    with pytest.raises(UserError, match=r"a.y4m: its parser crashed \(SIGSEGV\)"):
        next(frames)


def test_a_parser_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_h5(tmp_path / "a.h5")
    open_listing(path)
    (parser,) = children(os.getpid())
    monkeypatch.setattr(isolated, "SECONDS", 0.5)
    os.kill(parser, signal.SIGSTOP)
    with pytest.raises(UserError, match="a.h5: its parser did not answer for 0.5 s") as caught:
        open_listing(path)
    assert "\n" not in str(caught.value)
    assert gone(parser)


def test_a_file_that_needs_more_memory_than_the_limit_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "MEMORY", 2**29)
    path = tmp_path / "large.h5"
    with h5py.File(path, "w") as file:  # one frame of 1 GiB, of which 80 KiB are there: a real one, and a small file
        file.create_dataset("h", (3, 2**14, 2**14), "f4", chunks=(1, 128, 128))[0, 0] = 1.0
    movie = open_movie(path, variable=None, axes="tyx")
    with pytest.raises(UserError, match=r"large.h5: its parser ran out of memory \(512 MiB\)") as caught:
        movie.read(0, 0, 1)
    assert "\n" not in str(caught.value)
    Image.new("L", (2**14, 2**13)).save(tmp_path / "large.png")
    with pytest.raises(UserError, match=r"large.png: its parser ran out of memory"):
        read_picture(tmp_path / "large.png", "luma")
    assert open_listing(path).variables[0].shape == (3, 2**14, 2**14)


def test_inspecting_a_file_whose_parser_crashes_ends_with_one_line_and_status_1(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:  # takes so long to list that the child is met at work
        for n in range(5000):
            file[f"{n}"] = np.zeros(3)
    process = start_process(
        [sys.executable, "-m", "vsr", "inspect", str(path), "--axes", "tyx"], cwd=ROOT, stderr=subprocess.PIPE
    )
    parser = _met(process.pid)
    os.kill(parser, signal.SIGSEGV)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.decode() == (
        f"error: {path}: its parser crashed (SIGSEGV); the file is damaged, or was made to do that; fetch or write it again, "
        f"or give another one\n"
    )


READING = """
import re, sys, threading, time
from pathlib import Path
from typing import Any
from vsr.io.readers.open import open_listing
from vsr.io.readers.isolated.parent import run_isolated
open_listing(Path(sys.argv[1]))
if sys.argv[2] == "hangs":  # in C, and the interpreter with it, for centuries
    threading.Thread(target=run_isolated, args=(Path("a"), re.match, "(a+)+$", "a" * 99 + "b"), daemon=True).start()
print("read", flush=True)
time.sleep(60)
"""


def reading(path: Path, parser: str = "waits") -> tuple[subprocess.Popen[str], int]:
    """A process that has read a file and goes on with something else, and its child."""
    command = [sys.executable, "-c", READING, str(path), parser]
    process = start_process(command, cwd=ROOT, stdout=-1, stderr=-1, text=True, process_group=0)
    assert process.stdout is not None
    assert process.stdout.readline() == "read\n"
    return process, children(process.pid)[0]


@pytest.fixture
def reaper() -> Iterator[None]:
    """Orphans become this process's: a stopped one, in no group of orphans then, is not continued by the system either."""
    adopt = partial(ctypes.CDLL(None).prctl, 36)  # PR_SET_CHILD_SUBREAPER, which Python does not name
    assert adopt(1) == 0
    yield
    adopt(0)


@pytest.mark.usefixtures("reaper")
@pytest.mark.parametrize("parser", ["waits", "hangs", "is stopped"])
def test_the_child_ends_with_its_parent_however_that_ends(parser: str, tmp_path: Path) -> None:
    process, found = reading(write_h5(tmp_path / "a.h5"), parser)
    if parser == "is stopped":
        os.kill(found, signal.SIGSTOP)
    if parser == "hangs":
        time.sleep(1)
        assert Path(f"/proc/{found}/stat").read_text().rpartition(")")[2].split()[0] == "R"
    process.kill()
    process.communicate()
    assert gone(found)
    os.waitpid(found, 0)


def test_ctrl_c_is_for_the_parent_and_the_child_says_nothing(tmp_path: Path) -> None:
    process, parser = reading(write_h5(tmp_path / "a.h5"))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    _, said = process.communicate(timeout=30)
    assert said.count("Traceback") == 1  # the script's own
    assert "child.py" not in said
    assert gone(parser)


def test_ctrl_c_during_a_read_leaves_no_answer_for_the_next_one(tmp_path: Path) -> None:
    movie = open_movie(write_h5(tmp_path / "a.h5"), variable=None, axes="tyx")
    expected = movie.read(0, 3, 4)
    (parser,) = children(os.getpid())
    os.kill(parser, signal.SIGSTOP)
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        movie.read(0, 5, 6)
    np.testing.assert_array_equal(movie.read(0, 3, 4), expected)


def test_no_torch_where_files_are_parsed(tmp_path: Path) -> None:
    from tests.io.writers.video.fakes import enlarge

    path = write_y4m(tmp_path / "a.y4m", moving_pattern(3, 32, 48))
    enlarge(path, tmp_path / "b.mkv")
    read_picture_facts(_picture(tmp_path / "a.png"))
    open_listing(write_h5(tmp_path / "a.h5"))
    (parser,) = children(os.getpid())
    assert "libtorch" not in Path(f"/proc/{parser}/maps").read_text()


@pytest.mark.parametrize(
    "text",
    [
        b'["value", ["c", "subprocess:Popen", ["d", ["args", "true"]]], []]',
        b'["value", ["a", 0], [["<f4", [1000000, 1000000], false]]]',
        b'["value", ["a", 0], [["|O", [1], false]]]',
        b'["value", ["a", 0], [["<f4", [-1, -4], false]]]',
        b'["value", ["a", 3], []]',
        b"\xff not JSON",
    ],
)
def test_what_a_broken_child_says_is_not_believed(text: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(len(text).to_bytes(8, "little") + text)
        with pytest.raises(answers.InvalidMessage):
            answers.receive_message(ours, 2**30)


def test_an_answer_arrives_as_it_was_sent() -> None:
    texts = np.array(["größe", b"bytes", "", None], object).reshape(2, 2)
    sent = {
        "plain": [None, True, 3, -0.0, float("inf"), "\udcff ü\n", (1, [2, (3,)]), b"\x00\xff", {}],
        "numbers": (np.float32(0.1), np.int64(2**62), np.bool_(True)),
        "arrays": [
            np.arange(6, dtype=">i4").reshape(2, 3).T,
            np.empty((0, 3), "f8"),
            np.array(1.5, "f2"),
            np.array([b"ab", b"c"]),
        ],
        "texts": texts,
        "classes": Variable("h", (1, 2), "float32", ("t", "y"), None),
    }
    ours, theirs = socket.socketpair()
    with ours, theirs:
        answers.send_message(theirs, "value", sent)
        kind, found = answers.receive_message(ours, 2**20)
    assert kind == "value"
    assert (found["plain"], found["numbers"], found["classes"]) == (sent["plain"], sent["numbers"], sent["classes"])
    assert [type(number) for number in found["numbers"]] == [np.float32, np.int64, np.bool_]
    for one, other in zip(found["arrays"], sent["arrays"], strict=True):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())  # type: ignore[attr-defined]
    assert found["texts"].tolist() == texts.tolist()


def _picture(path: Path) -> Path:
    Image.fromarray(moving_pattern(1, 20, 24)[0]).save(path)
    return path


def _met(pid: int) -> int:
    """The child of a process, as soon as it has opened a file."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for parser in children(pid):
            try:
                if any(os.readlink(link).endswith(".h5") for link in Path(f"/proc/{parser}/fd").iterdir()):
                    return parser
            except OSError:
                continue
    raise AssertionError("no child")
