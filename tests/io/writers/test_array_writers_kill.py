"""Killed at any moment and continued: the file is as if nothing had happened. And memory, however long the movie."""

from __future__ import annotations

import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes import ROOT
from tests.io.writers.test_array_writers import stored, write_input
from tests.io.writers.test_coordinates import climate
from tests.processes import run_process, start_process
from vsr.io.readers.open import open_movie
from vsr.io.writers.template import OutputTemplate
from vsr.io.writers.template_from_movie import template_from_movie

# Writes a movie whose frames follow from their number: python -c CHILD FOLDER FILE PAUSE.
CHILD = """
import pickle, sys, time
from pathlib import Path
import numpy as np
from vsr.io.writers.open import open_array_sink
folder, name, pause = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
template = pickle.loads((folder / "template.pickle").read_bytes())
n, c, t, y, x = template.shape
with open_array_sink(folder / name, template, identity={"checkpoint": "abc"}) as sink:
    print("from", sink.done, flush=True)
    while sink.done < n * t:
        sink.write(sink.done, np.random.default_rng(sink.done).random((1, c, y, x), np.float32))
        if sink.done % 2 == 0:
            sink.flush()
        time.sleep(pause)
    sink.finish()
"""


def contents(path: Path) -> dict[str, bytes]:
    """Of a file, or of all files of a folder."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def child(folder: Path, name: str, pause: float = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(folder), name, str(pause)]
    return start_process(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def netcdf(folder: Path) -> OutputTemplate:
    climate().to_netcdf(folder / "a.nc", engine="h5netcdf")
    return template_from_movie(open_movie(folder / "a.nc", variable="h", axes=None), 4, "made finer")


def zarr_of(version: int) -> Callable[[Path], OutputTemplate]:
    def make(folder: Path) -> OutputTemplate:
        pytest.importorskip("zarr")
        chunks = {"h": {"chunks": (2, 4, 5)}}
        climate().drop_vars("name").to_zarr(folder / "a.zarr", zarr_format=version, consolidated=False, encoding=chunks)
        return template_from_movie(open_movie(folder / "a.zarr", variable="h", axes=None), 4, "made finer")

    return make


def plain(ending: str) -> Callable[[Path], OutputTemplate]:
    return lambda folder: template_from_movie(
        open_movie(write_input(folder / f"a{ending}", stored("ntyx")), variable=None, axes="ntyx"), 4, "made finer"
    )


def unlimited(folder: Path) -> OutputTemplate:
    climate().to_netcdf(folder / "a.nc", engine="h5netcdf", unlimited_dims=["time"])
    template = template_from_movie(open_movie(folder / "a.nc", variable="h", axes=None), 4, "made finer")
    assert template.unlimited == "t"
    return template


@pytest.mark.parametrize(
    ("ending", "make"),
    [(".nc", netcdf), (".nc", unlimited), (".zarr", zarr_of(2)), (".zarr", zarr_of(3))],
    ids=["nc", "unlimited nc", "zarr 2", "zarr 3"],
)
@pytest.mark.sampled(1)
def test_killed_at_random_and_continued_is_as_if_never_killed(
    ending: str, make: Callable[[Path], OutputTemplate], tmp_path: Path
) -> None:
    template = make(tmp_path)
    (tmp_path / "template.pickle").write_bytes(pickle.dumps(template))
    whole = child(tmp_path, f"whole{ending}")
    assert whole.communicate()[1] == ""
    target, rng, starts = tmp_path / f"killed{ending}", random.Random(ending), []
    for _ in range(2):
        process = child(tmp_path, target.name, 0.2)
        assert process.stdout is not None
        line = process.stdout.readline()
        starts.append(int(line.split()[1]))
        time.sleep(rng.uniform(0.25, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not target.exists()
    last = child(tmp_path, target.name)
    output, errors = last.communicate()
    assert errors == ""
    starts.append(int(output.split()[1]))
    assert starts == sorted(starts)
    assert starts[0] == 0 < starts[-1]
    assert contents(target) == contents(tmp_path / f"whole{ending}")
    assert not list(tmp_path.glob(".*"))


# Runs the same in forks that are killed at the k-th call of what changes the disk, for every k, and compares the results.
EVERY_MOMENT = """
import os, pickle, signal, sys
from pathlib import Path
import numpy as np
from vsr.io.writers.open import open_array_sink
folder, ending = Path(sys.argv[1]), sys.argv[2]
template = pickle.loads((folder / "template.pickle").read_bytes())
n, c, t, y, x = template.shape
frames = np.random.default_rng(0).random((n * t, c, y, x), np.float32)

def run(target, die_at):
    '''The exit status of a fork that writes everything or dies before its call number `die_at`.'''
    process = os.fork()
    if process:
        return os.waitpid(process, 0)[1]
    calls = 0
    def counted(original):
        def call(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)
        return call
    os.fsync = lambda handle: None  # a kill loses nothing that the operating system has
    for name in ("fsync", "replace", "pwrite", "unlink", "ftruncate", "posix_fallocate", "open"):
        setattr(os, name, counted(getattr(os, name)))
    with open_array_sink(target, template, identity={}) as sink:
        while sink.done < n * t:
            sink.write(sink.done, frames[sink.done:sink.done + 5])
            sink.flush()
        sink.finish()
    os._exit(0)

assert run(folder / f"whole{ending}", 0) == 0
expected, moments = (folder / f"whole{ending}").read_bytes(), 0
while True:
    target = folder / f"killed{moments}{ending}"
    status = run(target, moments + 1)
    if status == 0:
        break
    assert status == signal.SIGKILL, status
    if target.exists():  # killed between the move and the tidying up: complete, and the next run says so
        assert target.read_bytes() == expected
        assert run(target, 0) != 0
    else:
        assert run(target, 0) == 0, moments
        assert target.read_bytes() == expected, moments
    assert not [name for name in os.listdir(folder) if name.startswith(".")], moments
    moments += 1
print("moments", moments)
"""


@pytest.mark.parametrize("ending", [".npz", ".mat", ".h5"])
@pytest.mark.sampled(1)
def test_killed_before_every_single_change_of_the_disk(ending: str, tmp_path: Path) -> None:
    template = replace(plain(ending)(tmp_path), unlimited="t" if ending == ".h5" else "")
    (tmp_path / "template.pickle").write_bytes(pickle.dumps(template))
    command = [sys.executable, "-c", EVERY_MOMENT, str(tmp_path), ending]
    done = run_process(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) > 30


STREAMED = """
import pickle, resource, sys
from pathlib import Path
import numpy as np
from vsr.io.writers.open import open_array_sink
folder = Path(sys.argv[1])
for path in sorted(folder.glob("*.pickle")):
    template = pickle.loads(path.read_bytes())
    with open_array_sink(folder / path.stem, template, identity={}) as sink:
        frames = np.zeros((50, *(template.shape[i] for i in (1, 3, 4))), np.float32)
        sink.write(0, frames)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        while sink.done < template.frames:
            sink.write(sink.done, frames)
            if sink.done % 500 == 0:
                sink.flush()
        sink.finish()
    print(path.stem, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_two_thousand_frames_in_constant_memory(tmp_path: Path) -> None:
    template = OutputTemplate("hdf5", ("h",), "tyx", (1, 1, 2000, 128, 128), storage={"frames": 50})  # 125 MiB
    for name, other in {
        "a.h5": template,
        "b.h5": replace(template, axes="yxt", shape=(1, 1, 2000, 64, 64)),
        "c.zarr": replace(template, format="zarr"),
        "d.npz": replace(template, format="npz", shape=(1, 1, 2000, 64, 64)),
    }.items():
        (tmp_path / f"{name}.pickle").write_bytes(pickle.dumps(other))
    done = run_process([sys.executable, "-c", STREAMED, str(tmp_path)], capture_output=True, text=True, check=True, cwd=ROOT)
    grown = {line.split()[0]: int(line.split()[1]) for line in done.stdout.splitlines()}
    assert len(grown) == 4
    unit = 1024 if sys.platform == "linux" else 1
    assert all(kilobytes * unit < 24 * 2**20 for kilobytes in grown.values()), grown
    shutil.rmtree(tmp_path)  # not kept with the other folders of a test run
