"""Bad inputs and faults, each met by a command in a process of its own: exit status, the one line that is said, nothing lost.

A row is a function that makes what is bad and returns the command that meets it. What the row made must be there afterwards, byte
for byte, and nothing besides; no mark that hostile content would leave.
"""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_array

from tests.data.test_arrays import write_matlab73
from tests.data.test_climate_files import flow
from tests.fakes import moving_pattern, write_video, write_y4m
from tests.test_checkpoints import Mark
from tests.warm import Done, Warm
from vsr.checkpoints import read_checkpoint

TINY = ["data=climate", "data.size=24", "data.sampling=3", "data.learn=20", "data.test=10"]
FAST = ["recipe.patch=8", "recipe.steps=2", "epochs=1", "strategy=cpu"]
PEAK = 1800  # MiB that no command needs


class Bench:
    """Where a row is played: `path` holds what it makes, commands run in the empty folder `here`."""

    def __init__(self, path: Path, trained: Path, warm: Warm) -> None:
        self.path, self.trained, self.warm = path, trained, warm
        self.here, self.mark = path / "here", path / "mark"
        self.here.mkdir()
        self.before, self.environment = "", dict[str, str]()  # Python that the process begins with, and what it finds set
        self.after: Callable[[Bench], Any] = lambda bench: None  # what must hold then
        self.lock: int | None = None

    def run(self) -> Path:
        """A finished run, a copy of the one that all rows share."""
        return Path(shutil.copytree(self.trained, self.path / "run", dirs_exist_ok=True))

    def checkpoint(self) -> Path:
        """Its best checkpoint."""
        return self.run() / "checkpoints" / "best.ckpt"


Make = Callable[[Bench], list[str]]


@dataclass(frozen=True)
class Row:
    """A fault: how it is made, what must be said, with which status the command ends. writes: whether it may leave files."""

    make: Make
    says: tuple[str, ...]
    status: int
    writes: bool


ROWS: dict[str, Row] = {}


def fault(name: str, *says: str, status: int = 1, writes: bool | None = None) -> Callable[[Make], Make]:
    """Add a row; one that ends well may write, others may not."""

    def add(make: Make) -> Make:
        assert name not in ROWS
        ROWS[name] = Row(make, says, status, status == 0 if writes is None else writes)
        return make

    return add


def train(*arguments: str) -> list[str]:
    """A few steps."""
    return ["train", *arguments, *FAST]


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    process = Warm()
    yield process
    process.close()


@pytest.fixture(scope="session")
def trained(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    done = warm.run(folder, *train(*TINY, "model=fsrcnn_s", "hydra.run.dir=run"))
    assert done.status == 0, done.stderr
    return folder / "run"


@pytest.fixture
def bench(warm: Warm, trained: Path, tmp_path: Path) -> Bench:
    return Bench(tmp_path, trained, warm)


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every file, link and empty folder below a folder."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes() if path.stat().st_mode & 0o400 else "unreadable"
        elif not any(path.iterdir()):
            found[name] = "empty folder"
    return found


def judge(done: Done, status: int, says: tuple[str, ...]) -> None:
    """Exit status, no traceback, and one line with all that must be said; in what was printed, where the command ended well."""
    assert done.status == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert "Error executing job" not in done.stderr
    assert done.peak_mib < PEAK
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    said = done.stdout + done.stderr
    if status == 1:
        assert len(lines) == 1, done.stderr
        assert done.stderr.rstrip().endswith(lines[0]), done.stderr
        said = lines[0]
    else:
        assert not lines
    for part in says:
        assert part in said


def field(path: Path, *extra: str, axes: str | None = "tyx") -> list[str]:
    """Train on an array file."""
    return train("data=climate", f"data.path='{path}'", *([f"data.axes={axes}"] if axes else []), *extra)


def hdf5(bench: Bench, name: str = "a.h5", **options: Any) -> Path:
    with h5py.File(bench.path / name, "w") as file:
        file.create_dataset("h", data=flow(), **options)
    return bench.path / name


def cut(path: Path, share: float = 0.5) -> Path:
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    return path


def flip(path: Path, pattern: bytes) -> Path:
    """One bit of the first byte of a pattern in a file."""
    raw = bytearray(path.read_bytes())
    at = raw.find(pattern)
    assert at > 0
    raw[at] ^= 4
    path.write_bytes(raw)
    return path


def npy(bench: Bench, values: np.ndarray, *extra: str, axes: str | None = "tyx") -> list[str]:
    np.save(bench.path / "a.npy", values, allow_pickle=True)
    return field(bench.path / "a.npy", *extra, axes=axes)


def mat(bench: Bench, compressed: bool = False, **variables: Any) -> Path:
    savemat(bench.path / "a.mat", variables, do_compression=compressed)
    return bench.path / "a.mat"


def upscale(bench: Bench, path: Path, *extra: str) -> list[str]:
    return ["upscale", f"checkpoint={bench.checkpoint()}", f"input={path}", "device=cpu", *extra]


@fault("01-truncated-hdf5", "a.h5: cut short", "fetch or write the file again")
def _(bench: Bench) -> list[str]:
    return field(cut(hdf5(bench)))


@fault("01-truncated-hdf5-evaluated", "a.h5: cut short")
def _(bench: Bench) -> list[str]:
    return ["evaluate", f"checkpoint={bench.checkpoint()}", *field(cut(hdf5(bench)))[1:4], "strategy=cpu"]


@fault("01-truncated-hdf5-upscaled", "a.h5: cut short")
def _(bench: Bench) -> list[str]:
    return upscale(bench, cut(hdf5(bench)), "axes=tyx")


@fault("01-header-alone", "a.h5", "write or fetch it again")
def _(bench: Bench) -> list[str]:
    (bench.path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    return field(bench.path / "a.h5")


@fault("02-flip-under-a-checksum", "a.h5", "h: cannot be read", "write or fetch it again")
def _(bench: Bench) -> list[str]:
    return field(flip(hdf5(bench, fletcher32=True, chunks=(12, 24, 32)), flow().tobytes()[5000:5040]))


@fault("02-flip-without-one-is-another-value", "fsrcnn", status=0)
def _(bench: Bench) -> list[str]:
    return field(flip(hdf5(bench), flow().tobytes()[5000:5040]))


@fault("02-flip-in-compressed-values", "a.h5", "h: cannot be read")
def _(bench: Bench) -> list[str]:
    path = hdf5(bench, compression="gzip", chunks=(12, 24, 32))
    with h5py.File(path) as file:
        place = file["h"].id.get_chunk_info(0)
    raw = bytearray(path.read_bytes())
    raw[place.byte_offset + place.size // 2] ^= 255
    path.write_bytes(raw)
    return field(path)


@fault("03-left-open-by-a-kill", "a.h5", "its writer was killed")
def _(bench: Bench) -> list[str]:
    code = "import h5py, numpy, os, signal; f = h5py.File('a.h5', 'w'); f['h'] = numpy.zeros((9, 24, 24)); "
    code += "os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", code], cwd=bench.path, check=False)
    assert done.returncode == -9
    return field(bench.path / "a.h5")


@fault("03-killed-writer-that-had-flushed", "a.h5", "close that program, or type: h5clear")
def _(bench: Bench) -> list[str]:
    code = "import h5py, numpy, os, signal; f = h5py.File('a.h5', 'w', libver='latest'); f['h'] = numpy.zeros((9, 24, 24)); "
    code += "f.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", code], cwd=bench.path, check=False)
    return field(bench.path / "a.h5")


@fault("04-empty-mat", "a.mat: empty, 0 bytes")
def _(bench: Bench) -> list[str]:
    (bench.path / "a.mat").write_bytes(b"")
    return field(bench.path / "a.mat")


@fault("04-text-mat", "a.mat: text (", "give a complete file of the kind that its name (.mat) promises")
def _(bench: Bench) -> list[str]:
    (bench.path / "a.mat").write_text("not a mat file\n" * 40)
    return field(bench.path / "a.mat")


@fault("04-truncated-mat", "a.mat: cut short")
def _(bench: Bench) -> list[str]:
    return field(cut(mat(bench, H=flow().transpose(1, 2, 0))), axes="yxt")


@fault("04-truncated-compressed-mat", "a.mat: cut short")
def _(bench: Bench) -> list[str]:
    return field(cut(mat(bench, compressed=True, H=flow().transpose(1, 2, 0))), axes="yxt")


@fault("04-flip-in-a-compressed-mat", "a.mat", "fetch or write it again")
def _(bench: Bench) -> list[str]:
    path = mat(bench, compressed=True, H=flow().transpose(1, 2, 0))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 255
    path.write_bytes(raw)
    return field(path, axes="yxt")


@fault("04-mat-of-version-4-cut-short", "a.mat")
def _(bench: Bench) -> list[str]:
    savemat(bench.path / "a.mat", {"H": flow()[0]}, format="4")
    return field(cut(bench.path / "a.mat"))


@fault("04-mat-of-version-4-that-declares-a-tebibyte", "H is cut short: 262144x524288 values")
def _(bench: Bench) -> list[str]:
    header = struct.pack("<5i", 0, 2**18, 2**19, 0, 2)  # doubles, rows, columns, no imaginary part, length of the name
    (bench.path / "a.mat").write_bytes(header + b"H\0" + bytes(1000))
    return field(bench.path / "a.mat", "data.variable=H")


@fault("04-mat-whose-shape-does-not-fit-its-values", "a.mat", "is damaged")
def _(bench: Bench) -> list[str]:
    path = mat(bench, H=flow().transpose(1, 2, 0))
    shape = struct.pack("<3i", 24, 32, 12)
    path.write_bytes(path.read_bytes().replace(shape, struct.pack("<3i", 24, 32, 2**20), 1))
    return field(path, axes="yxt")


@fault("05-version-7.3-under-any-name", "fsrcnn", status=0)
def _(bench: Bench) -> list[str]:
    return field(write_matlab73(bench.path / "v5.mat", "H", flow().transpose(1, 2, 0)), axes="yxt")


@fault("05-version-5-under-another-name", "fsrcnn", status=0)
def _(bench: Bench) -> list[str]:
    return field(Path(shutil.move(mat(bench, H=flow().transpose(1, 2, 0)), bench.path / "a.h5")), axes="yxt")


@fault("05-version-7.3-cut-to-its-header", "a.mat", "a MATLAB 7.3 header without the HDF5 file behind it")
def _(bench: Bench) -> list[str]:
    path = write_matlab73(bench.path / "a.mat", "H", flow().transpose(1, 2, 0))
    path.write_bytes(path.read_bytes()[:512])
    return field(path, axes="yxt")


@fault("06-cell-array", "a.mat: no numeric array of 3 or more dimensions (H is a cell array")
def _(bench: Bench) -> list[str]:
    return field(mat(bench, H=np.array([[flow(), 1]], dtype=object)))


@fault("06-struct", "H is a struct, not an array; store its field as a variable of its own")
def _(bench: Bench) -> list[str]:
    return field(mat(bench, H={"a": flow()}), "data.variable=H")


@fault("06-sparse", "H is a sparse matrix; store it with full()")
def _(bench: Bench) -> list[str]:
    return field(mat(bench, H=csc_array(np.eye(30))), "data.variable=H")


@fault("06-complex-mat", "H is complex, not real numbers")
def _(bench: Bench) -> list[str]:
    return field(mat(bench, H=flow().astype(complex)), "data.variable=H")


@fault("06-complex-npy", "a.npy: is complex, not real numbers")
def _(bench: Bench) -> list[str]:
    return npy(bench, flow().astype(complex))


@fault("06-strings-hdf5", "h is object, not real numbers")
def _(bench: Bench) -> list[str]:
    with h5py.File(bench.path / "a.h5", "w") as file:
        file["h"] = np.array([[["a", "b"]]], dtype=h5py.string_dtype())
    return field(bench.path / "a.h5", "data.variable=h")


@fault("06-pickled-objects-npy", "a.npy: is object, not real numbers")
def _(bench: Bench) -> list[str]:
    np.save(bench.path / "a.npy", np.array([Mark(bench.mark)] * 2, dtype=object), allow_pickle=True)
    return field(bench.path / "a.npy")


@fault("06-pickled-objects-npz", "h is object, not real numbers")
def _(bench: Bench) -> list[str]:
    np.savez(bench.path / "a.npz", h=np.array([Mark(bench.mark)] * 2, dtype=object))
    return field(bench.path / "a.npz", "data.variable=h")


@fault("06-pickle-under-an-array-name", "a.npy: not a format that is read")
def _(bench: Bench) -> list[str]:
    (bench.path / "a.npy").write_bytes(pickle.dumps(Mark(bench.mark)))
    return field(bench.path / "a.npy")


@fault("06-pickle-in-an-npz-member", "a.npz", "h")
def _(bench: Bench) -> list[str]:
    with zipfile.ZipFile(bench.path / "a.npz", "w") as archive:
        archive.writestr("h.npy", pickle.dumps(Mark(bench.mark)))
    return field(bench.path / "a.npz")


def matlab_5(kind: int, body: bytes = b"") -> bytes:
    """A version 5 file with one matrix H of a class that SciPy does not write: functions (16), objects (3, 17)."""
    name = struct.pack("<2I", 1, 1) + b"H".ljust(8, b"\0")
    content = struct.pack("<4I", 6, 8, kind, 0) + struct.pack("<2I2i", 5, 8, 1, 1) + name + body
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<2I", 14, len(content)) + content


@fault("06-function-handle", "H is of MATLAB's type function, not real numbers")
def _(bench: Bench) -> list[str]:
    (bench.path / "a.mat").write_bytes(matlab_5(16))
    return field(bench.path / "a.mat", "data.variable=H")


@fault("06-object-of-a-class", "H is of MATLAB's type object, not real numbers")
def _(bench: Bench) -> list[str]:
    (bench.path / "a.mat").write_bytes(matlab_5(3, struct.pack("<2I", 1, 8) + b"evilclas"))
    return field(bench.path / "a.mat", "data.variable=H")


def linked(bench: Bench, link: Callable[[h5py.File], None]) -> list[str]:
    """An HDF5 file beside another one with a movie in it."""
    with h5py.File(bench.path / "other.h5", "w") as other:
        other["h"] = flow()
    with h5py.File(bench.path / "a.h5", "w") as file:
        link(file)
    return field(bench.path / "a.h5", "data.variable=h")


@fault("07-external-storage", "h has its values in another file", "secret", "which is not followed")
def _(bench: Bench) -> list[str]:
    (bench.path / "secret").write_bytes(flow().tobytes())
    outside = [(str(bench.path / "secret"), 0, h5py.h5f.UNLIMITED)]
    return linked(bench, lambda file: file.create_dataset("h", (12, 24, 32), "f4", external=outside) and None)


@fault("07-external-link", "h is a link into another file", "other.h5", "which is not followed")
def _(bench: Bench) -> list[str]:
    return linked(bench, lambda file: file.__setitem__("h", h5py.ExternalLink(str(bench.path / "other.h5"), "/h")))


@fault("07-external-link-to-a-group", "a.h5: data.variable=g/h: there is no such array")
def _(bench: Bench) -> list[str]:
    command = linked(bench, lambda file: file.__setitem__("g", h5py.ExternalLink("../other.h5", "/")))
    return [argument.replace("data.variable=h", "data.variable=g/h") for argument in command]


@fault("07-soft-link-loop", "h is a link to /g, which is not followed")
def _(bench: Bench) -> list[str]:
    def loop(file: h5py.File) -> None:
        file["h"], file["g"] = h5py.SoftLink("/g"), h5py.SoftLink("/h")

    return linked(bench, loop)


@fault("07-groups-in-a-circle", "a.h5: data.variable=h: there is no such array")
def _(bench: Bench) -> list[str]:
    def circle(file: h5py.File) -> None:
        file.create_group("a/b")
        file["a/b/c"] = file["a"]

    return linked(bench, circle)


@fault("07-virtual-dataset", "h is a virtual dataset, made of other files")
def _(bench: Bench) -> list[str]:
    layout = h5py.VirtualLayout((12, 24, 32), "f4")
    layout[:] = h5py.VirtualSource(str(bench.path / "other.h5"), "h", (12, 24, 32))
    return linked(bench, lambda file: file.create_virtual_dataset("h", layout) and None)


@fault("07-external-link-in-netcdf", "a.nc", "h is a link into another file")
def _(bench: Bench) -> list[str]:
    command = linked(bench, lambda file: file.__setitem__("h", h5py.ExternalLink(str(bench.path / "other.h5"), "/h")))
    (bench.path / "a.h5").rename(bench.path / "a.nc")
    return [argument.replace("a.h5", "a.nc") for argument in command]


@fault("07-external-link-in-matlab-7.3", "h is a link into another file")
def _(bench: Bench) -> list[str]:
    with h5py.File(bench.path / "other.h5", "w") as other:
        other["h"] = flow()
    path = write_matlab73(bench.path / "a.mat", "g", flow().transpose(1, 2, 0))
    with h5py.File(path, "r+") as file:
        file["h"] = h5py.ExternalLink("other.h5", "/h")
    return field(path, "data.variable=h")


@fault("07-external-storage-upscaled", "h has its values in another file", "which is not followed")
def _(bench: Bench) -> list[str]:
    (bench.path / "secret").write_bytes(flow().tobytes())
    outside = [("secret", 0, h5py.h5f.UNLIMITED)]
    linked(bench, lambda file: file.create_dataset("h", (12, 24, 32), "f4", external=outside) and None)
    return upscale(bench, bench.path / "a.h5", "variable=h", "axes=tyx")


@fault("07-zarr-chunk-is-a-link-out", "a link out of the store, which is not followed")
def _(bench: Bench) -> list[str]:
    path = store(bench)
    chunk = next(p for p in path.rglob("*") if p.is_file() and "zarr" not in p.name)
    shutil.move(chunk, bench.path / "secret")
    chunk.symlink_to(bench.path / "secret")
    return field(path)


@fault("07-zarr-refers-elsewhere", "refers elsewhere (kvstore)")
def _(bench: Bench) -> list[str]:
    path = store(bench)
    described = json.loads((path / "zarr.json").read_text())
    (path / "zarr.json").write_text(json.dumps({**described, "kvstore": "file:///etc/"}))
    return field(path)


@fault("07-zarr-codec-that-unpickles", "is encoded by 'numcodecs.pickle', which is not among the known compressions")
def _(bench: Bench) -> list[str]:
    path = store(bench)
    described = json.loads((path / "zarr.json").read_text())
    (path / "zarr.json").write_text(json.dumps({**described, "codecs": [{"name": "numcodecs.pickle"}]}))
    for chunk in path.rglob("c/*/*/*"):
        chunk.write_bytes(pickle.dumps(Mark(bench.mark)))
    return field(path)


@fault("07-zarr-zip-with-names-that-climb-is-read-in-place", "fsrcnn", status=0)
def _(bench: Bench) -> list[str]:
    inside = store(bench)
    with zipfile.ZipFile(bench.path / "a.zarr.zip", "w") as archive:
        for path in inside.rglob("*"):
            if path.is_file():
                archive.write(path, str(path.relative_to(inside)))
        archive.writestr("../mark", "here")
    return field(bench.path / "a.zarr.zip")


@fault("07-address-instead-of-a-file", "data.path=https://example.org/h.nc: no such file")
def _(bench: Bench) -> list[str]:
    return train("data=climate", "data.path=https://example.org/h.nc", "data.axes=tyx")


def store(bench: Bench) -> Path:
    """A Zarr folder with one array at its top."""
    import zarr

    array = zarr.create_array(str(bench.path / "a.zarr"), shape=(12, 24, 32), chunks=(6, 24, 32), dtype="f4")
    array[:] = flow()
    return bench.path / "a.zarr"


@fault("08-hdf5-of-8-tebibytes", "declares 8 TiB as float32", "type data.max_bytes=8796093022208")
def _(bench: Bench) -> list[str]:
    with h5py.File(bench.path / "a.h5", "w") as file:
        file.create_dataset("h", (2**21, 1024, 1024), "f4", chunks=(1, 64, 64))
    return field(bench.path / "a.h5")


@fault("08-hdf5-of-800-gibibytes-below-the-limit", "a.h5: h: declared but never written")
def _(bench: Bench) -> list[str]:
    with h5py.File(bench.path / "a.h5", "w") as file:
        file.create_dataset("h", (2**18, 1024, 800), "f4", chunks=(1, 64, 64))
    return field(bench.path / "a.h5")


@fault("08-npy-of-8-tebibytes", "a.npy: is cut short")
def _(bench: Bench) -> list[str]:
    with (bench.path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**21, 1024, 1024)})
        file.write(bytes(1000))
    return field(bench.path / "a.npy")


@fault("08-zarr-of-8-tebibytes", "declares 8 TiB as float32")
def _(bench: Bench) -> list[str]:
    path = store(bench)
    described = json.loads((path / "zarr.json").read_text())
    (path / "zarr.json").write_text(json.dumps({**described, "shape": [2**21, 1024, 1024]}))
    return field(path)


@fault("08-sparse-hdf5-upscaled", "declares 8 TiB as float32", "type max_bytes=8796093022208")
def _(bench: Bench) -> list[str]:
    with h5py.File(bench.path / "a.h5", "w") as file:
        file.create_dataset("h", (2**21, 1024, 1024), "f4", chunks=(1, 64, 64))
    return upscale(bench, bench.path / "a.h5", "axes=tyx")


@fault("09-chunk-bomb-hdf5", "h: its chunks of 4x16384x16384 unpack to 4 GiB each", "one frame per chunk")
def _(bench: Bench) -> list[str]:
    with h5py.File(bench.path / "a.h5", "w") as file:
        file.create_dataset("h", (8, 16384, 16384), "f4", chunks=(4, 16384, 16384))
    return field(bench.path / "a.h5")


@fault("09-zip-bomb-npz", "h declares 3.999 GiB", "more than zip can pack")
def _(bench: Bench) -> list[str]:
    np.savez_compressed(bench.path / "a.npz", h=np.zeros((12, 24, 32), np.float32))
    raw = bytearray((bench.path / "a.npz").read_bytes())
    entry = raw.rindex(b"PK\x01\x02")
    raw[entry + 24 : entry + 28] = struct.pack("<I", 0xFFF00000)
    (bench.path / "a.npz").write_bytes(raw)
    return field(bench.path / "a.npz")


@fault("09-bomb-in-a-compressed-mat", "a.mat", "fetch or write")
def _(bench: Bench) -> list[str]:
    """300 KB that declare 24x32x12 values and unpack to 300 MB."""
    path = mat(bench, H=flow().transpose(1, 2, 0))
    raw = path.read_bytes()
    packed = zlib.compress(raw[128:] + bytes(300 << 20))
    path.write_bytes(raw[:128] + struct.pack("<2I", 15, len(packed)) + packed)
    return field(path, axes="yxt")


@fault("09-picture-bomb", "a.png: declares more than 178956970 pixels; cut it into smaller pictures")
def _(bench: Bench) -> list[str]:
    (bench.path / "frames").mkdir()
    Image.new("1", (8, 8)).save(bench.path / "frames" / "a.png")
    path = bench.path / "frames" / "a.png"
    raw = bytearray(path.read_bytes())
    raw[16:24] = struct.pack(">2I", 60000, 60000)
    raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
    path.write_bytes(raw)
    return train("data=movies", f"data.path={bench.path}/frames")


def with_value(value: float) -> np.ndarray:
    values = flow()
    values[3, 4, 5] = value
    return values


@fault("10-nan", "a.npy:a: 1 of the frames 0 to", "hold NaN or infinite values, the first is frame 3", "data.mask=true")
def _(bench: Bench) -> list[str]:
    return npy(bench, with_value(np.nan))


@fault("10-infinity", "hold NaN or infinite values, the first is frame 3")
def _(bench: Bench) -> list[str]:
    return npy(bench, with_value(-np.inf))


@fault("10-nan-everywhere", "holds no finite value")
def _(bench: Bench) -> list[str]:
    return npy(bench, np.full((12, 24, 32), np.nan, np.float32), "data.mask=true")


@fault("10-a-double-beyond-float32", "hold NaN or infinite values, the first is frame 3")
def _(bench: Bench) -> list[str]:
    return npy(bench, np.where(np.isnan(with_value(np.nan)), 1e300, flow().astype(np.float64)))


@fault("10-minus-zero-and-denormals", "fsrcnn", status=0)
def _(bench: Bench) -> list[str]:
    values = flow()
    values[3, 4, 5], values[3, 4, 6] = -0.0, 1e-42
    return npy(bench, values)


@fault("10-infinity-upscaled-stays-where-it-is", "result", status=0)
def _(bench: Bench) -> list[str]:
    np.save(bench.path / "a.npy", with_value(np.inf))
    return upscale(bench, bench.path / "a.npy", "axes=tyx", f"output={bench.here}/b.npy")


@fault("11-constant", "every value is 3; a constant field")
def _(bench: Bench) -> list[str]:
    return npy(bench, np.full((12, 24, 32), 3, np.float32))


@fault("11-one-constant-frame", "fsrcnn", status=0)
def _(bench: Bench) -> list[str]:
    values = flow()
    values[4] = 0.5
    return npy(bench, values)


@fault("12-two-dimensions", "a.npy: no numeric array of 3 or more dimensions (a is 24x32)")
def _(bench: Bench) -> list[str]:
    return npy(bench, flow()[0])


@fault("12-six-dimensions", "of 6 dimensions; a movie has 3")
def _(bench: Bench) -> list[str]:
    return npy(bench, flow()[None, None, None])


@fault("12-unknown-axes", "type e.g. data.axes=tyx", "tyx is 12 frames of 24x32", "yxt is 32 frames of 12x24")
def _(bench: Bench) -> list[str]:
    return npy(bench, flow(), axes=None)


@fault("12-axes-that-repeat", "data.axes=tyxx: a letter occurs twice")
def _(bench: Bench) -> list[str]:
    return npy(bench, flow(), axes="tyxx")


@fault("12-time-taken-for-a-column", "type recipe.patch=6")
def _(bench: Bench) -> list[str]:
    return npy(bench, flow(), axes="xty")


@fault("12-one-frame", "one frame is not a movie")
def _(bench: Bench) -> list[str]:
    return npy(bench, flow(1))


@fault("13-too-few-frames", "too few for the split")
def _(bench: Bench) -> list[str]:
    return npy(bench, flow(3))


@fault("13-more-wanted-than-there-are", "there are 20; type data.learn=0.7")
def _(bench: Bench) -> list[str]:
    return npy(bench, flow(20), "data.learn=120", "data.test=50")


@fault("13-four-frames-for-a-network-of-five", "fsrcnn", status=0)
def _(bench: Bench) -> list[str]:
    return npy(bench, flow(5), "data.learn=3", "data.test=2", "data.val=0.34")


@fault("13-a-movie-network-on-five-frames", "srnet3d", status=0)
def _(bench: Bench) -> list[str]:
    return npy(bench, flow(5), "model=srnet3d", "data.learn=3", "data.test=2", "data.val=0.34", "recipe.frames=6")


@fault("13-clips-longer-than-the-movie", "recipe.frames")
def _(bench: Bench) -> list[str]:
    return npy(bench, flow(12), "model=srnet3d", "recipe.frames=40")


@fault("14-not-divisible", "25x32 are not divisible by scale=2; type data.crop=true")
def _(bench: Bench) -> list[str]:
    return npy(bench, flow(12, 25, 32))


@fault("14-smaller-than-the-patch", "type recipe.patch=6")
def _(bench: Bench) -> list[str]:
    return npy(bench, flow(12, 12, 32))


@fault("14-smaller-than-the-scores-window", "SSIM needs 11x11")
def _(bench: Bench) -> list[str]:
    return npy(bench, flow(12, 16, 32))


@fault("14-smaller-than-the-kernel-upscaled", "result", status=0)
def _(bench: Bench) -> list[str]:
    np.save(bench.path / "a.npy", flow(6, 2, 3))
    return upscale(bench, bench.path / "a.npy", "axes=tyx", f"output={bench.here}/b.npy")


def pictures(bench: Bench, images: Mapping[str, np.ndarray | Image.Image | bytes]) -> list[str]:
    """Train on a folder of frames."""
    (bench.path / "frames").mkdir()
    for name, image in images.items():
        path = bench.path / "frames" / name
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path)
    return train("data=movies", f"data.path={bench.path}/frames")


def frames(count: int, height: int = 32, width: int = 48) -> list[np.ndarray]:
    return list(moving_pattern(count, height, width))


@fault("15-mixed-sizes", "img5.png: is 30x48, img0.png is 32x48")
def _(bench: Bench) -> list[str]:
    return pictures(bench, {f"img{i}.png": image for i, image in enumerate([*frames(5), *frames(1, 30)])})


@fault("16-grey-alpha-palette-and-colour", "fsrcnn", status=0)
def _(bench: Bench) -> list[str]:
    modes = ["L", "LA", "P", "RGB", "RGBA", "1", "CMYK"] * 3
    images = [Image.fromarray(image).convert(mode) for image, mode in zip(frames(21), modes, strict=True)]
    return pictures(bench, {f"img{i}.{'tif' if image.mode == 'CMYK' else 'png'}": image for i, image in enumerate(images)})


@fault("16-sixteen-bits", "fsrcnn", status=0)
def _(bench: Bench) -> list[str]:
    return pictures(bench, {f"img{i}.png": image.astype(np.uint16) * 257 for i, image in enumerate(frames(20))})


@fault("16-float-tiff", "fsrcnn", status=0)
def _(bench: Bench) -> list[str]:
    return pictures(bench, {f"img{i}.tif": image.astype(np.float32) for i, image in enumerate(frames(20))})


@fault("16-float-tiff-with-nan", "hold NaN or infinite values")
def _(bench: Bench) -> list[str]:
    images = [image.astype(np.float32) for image in frames(20)]
    images[2][3, 4] = np.nan
    return pictures(bench, {f"img{i}.tif": image for i, image in enumerate(images)})


@fault("16-cut-png", "img3.png: cannot be read as a picture")
def _(bench: Bench) -> list[str]:
    command = pictures(bench, {f"img{i}.png": image for i, image in enumerate(frames(20))})
    cut(bench.path / "frames" / "img3.png")
    return command


@fault("17-names-without-leading-zeros", "fsrcnn", status=0)
def _(bench: Bench) -> list[str]:
    return pictures(bench, {f"img{i}.png": image for i, image in enumerate(frames(20), 2)})


@fault("17-gap-in-the-numbers", "frames 3 to 8 are missing before img9.png; number them without gaps")
def _(bench: Bench) -> list[str]:
    return pictures(bench, {f"img{i}.png": image for i, image in zip([1, 2, 9, 10, 11], frames(5), strict=True)})


@fault("17-the-same-number-twice", "img2", "number")
def _(bench: Bench) -> list[str]:
    names = [f"img{i}.png" for i in range(12)] + ["img02.png"]
    return pictures(bench, dict(zip(names, frames(13), strict=True)))


@fault("18-empty-folder", "frames: holds neither videos (.y4m")
def _(bench: Bench) -> list[str]:
    return pictures(bench, {})


@fault("18-only-hidden-files", "frames: holds neither videos (.y4m")
def _(bench: Bench) -> list[str]:
    return pictures(bench, {".DS_Store": b"x", ".a.png": b"x", "Thumbs.db": b"x"})


@fault("18-hidden-files-beside-frames", "fsrcnn", status=0)
def _(bench: Bench) -> list[str]:
    return pictures(
        bench, {".DS_Store": b"x", "._img1.png": b"x", **{f"img{i}.png": image for i, image in enumerate(frames(20))}}
    )


@fault("18-zero-byte-picture", "img5.png: not a picture, or damaged")
def _(bench: Bench) -> list[str]:
    return pictures(bench, {**{f"img{i}.png": image for i, image in enumerate(frames(5))}, "img5.png": b""})


@fault("18-a-folder-called-like-a-picture", "img5.png")
def _(bench: Bench) -> list[str]:
    command = pictures(bench, {f"img{i}.png": image for i, image in enumerate(frames(5))})
    (bench.path / "frames" / "img5.png").mkdir()
    return command


def video(path: Path) -> list[str]:
    return train("data=movies", f"data.path={path}")


@fault("19-y4m-cut-short", "a.y4m: cut short", "type data.frames=19 to use these")
def _(bench: Bench) -> list[str]:
    return video(cut(write_y4m(bench.path / "a.y4m", moving_pattern(20)), 0.99))


@fault("19-mkv-cut-short", "a.mkv: cut short")
def _(bench: Bench) -> list[str]:
    return video(cut(write_video(bench.path / "a.mkv", moving_pattern(20), "ffv1", "gray"), 0.7))


@fault("19-mp4-cut-short", "a.mp4: holds no video stream; not a video, or cut short")
def _(bench: Bench) -> list[str]:
    return video(cut(write_video(bench.path / "a.mp4", moving_pattern(20), "libx264", "yuv420p"), 0.7))


@fault("19-odd-size", "not divisible by scale=2; type data.crop=true")
def _(bench: Bench) -> list[str]:
    return video(write_y4m(bench.path / "a.y4m", moving_pattern(20, 31, 48)))


@fault("19-text", "a.mp4: not a readable video")
def _(bench: Bench) -> list[str]:
    (bench.path / "a.mp4").write_text("not a video")
    return video(bench.path / "a.mp4")


@fault("19-text-upscaled", "a.mp4: not a readable video")
def _(bench: Bench) -> list[str]:
    (bench.path / "a.mp4").write_text("not a video")
    return upscale(bench, bench.path / "a.mp4")


@fault("19-y4m-of-a-billion-pixels", "a.y4m: not a readable video")
def _(bench: Bench) -> list[str]:
    (bench.path / "a.y4m").write_bytes(b"YUV4MPEG2 W32768 H32768 F25:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(1000))
    return video(bench.path / "a.y4m")


def reader_of(bench: Bench, text: str, name: str = "a.mp4") -> list[str]:
    """A text that makes a player open other files, with a real video beside it."""
    write_y4m(bench.path / "secret.y4m", moving_pattern(20))
    write_video(bench.path / "secret.mkv", moving_pattern(20), "ffv1", "gray")
    (bench.path / name).write_text(text.replace("HERE", str(bench.path)))
    return video(bench.path / name)


@fault("19-playlist-of-a-file", "a.mp4: not a readable video")
def _(bench: Bench) -> list[str]:
    return reader_of(bench, "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nHERE/secret.mkv\n#EXT-X-ENDLIST\n")


@fault("19-playlist-of-an-address", "a.mkv: not a readable video")
def _(bench: Bench) -> list[str]:
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    return reader_of(bench, text, "a.mkv")


@fault("19-list-of-files-to-join", "a.mp4: not a readable video")
def _(bench: Bench) -> list[str]:
    return reader_of(bench, "ffconcat version 1.0\nfile secret.mkv\n")


@fault("19-list-of-files-to-join-upscaled", "a.mp4: not a readable video")
def _(bench: Bench) -> list[str]:
    reader_of(bench, "ffconcat version 1.0\nfile secret.mkv\n")
    return upscale(bench, bench.path / "a.mp4")


@fault("19-session-that-listens-to-the-network", "a.mp4: not a readable video")
def _(bench: Bench) -> list[str]:
    return reader_of(bench, "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n")


@fault("19-dash-manifest", "a.mkv: not a readable video")
def _(bench: Bench) -> list[str]:
    text = '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet><Representation '
    text += 'id="1" bandwidth="1"><BaseURL>file://HERE/secret.mkv</BaseURL></Representation></AdaptationSet></Period></MPD>'
    return reader_of(bench, text, "a.mkv")


@fault("19-protocol-in-the-name", "data.path=concat:", "no such file")
def _(bench: Bench) -> list[str]:
    write_y4m(bench.path / "secret.y4m", moving_pattern(20))
    return train("data=movies", f"data.path='concat:{bench.path}/secret.y4m'")


@fault("20-the-same-clip-in-train-and-test", "are also among the training frames", "remove the copies")
def _(bench: Bench) -> list[str]:
    (bench.path / "clips").mkdir()
    write_y4m(bench.path / "clips" / "a.y4m", moving_pattern(9))
    for copy in "bcd":
        shutil.copy(bench.path / "clips" / "a.y4m", bench.path / "clips" / f"{copy}.y4m")
    return train("data=movies", f"data.path={bench.path}/clips")


def typed(name: str, *says: str, arguments: list[str]) -> None:
    """A row of nothing but a command line."""
    fault(name, *says)(lambda bench: train(*arguments))


typed("21-typo", "recipe.rat: unknown key; did you mean 'rate'?", arguments=["recipe.rat=1"])
typed("21-unknown-group", "modle: unknown key; did you mean 'model'?", arguments=["modle=fsrcnn"])
typed("21-unknown-choice", "model=fsrcn: there is none; did you mean 'fsrcnn'?", arguments=["model=fsrcn"])
typed("21-wrong-type", "scale: Value 'two'", arguments=["scale=two"])
typed("21-wrong-type-in-a-group", "recipe.batch=many: must be int", arguments=["recipe.batch=many"])
typed("21-out-of-range", "recipe.batch=-1: must be positive", arguments=["recipe.batch=-1"])
typed("21-infinite-rate", "recipe.rate=inf: must be positive and finite", arguments=["recipe.rate=inf"])
typed("21-rate-that-is-no-number", "recipe.rate=nan: must be positive and finite", arguments=["recipe.rate=nan"])
typed("21-interpolation-loop", "name", arguments=["name=${monitor}", "monitor=${name}"])
typed("21-interpolation-of-nothing", "nothing", arguments=["name=${nothing}"])
typed("21-two-values", "type -m to sweep over them", arguments=["seed=1,2"])
typed("21-foreign-target", "model._target_=os.system: not a class that a config may name", arguments=["model._target_=os.system"])
typed("21-unfinished-quote", "cannot be parsed", arguments=["name='a"])
typed("21-huge-number", "seed=99999999999999999999: must be 4294967295 or less", arguments=["seed=99999999999999999999"])


@fault("21-missing-value", "checkpoint: needed; type checkpoint=VALUE")
def _(bench: Bench) -> list[str]:
    return ["evaluate"]


@fault("21-missing-value-upscaled", "input: needed; type input=VALUE")
def _(bench: Bench) -> list[str]:
    return ["upscale", f"checkpoint={bench.checkpoint()}"]


def changed(bench: Bench, change: Callable[[dict[str, Any]], None]) -> Path:
    """The checkpoint with other contents, and no checksum beside it."""
    path = bench.checkpoint()
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    path.with_name("best.ckpt.sha256").unlink()
    return path


def evaluate(path: Path, *extra: str) -> list[str]:
    return ["evaluate", f"checkpoint={path}", "strategy=cpu", *extra]


@fault("23-another-model", "best.ckpt: its tensors are not those of the network that it names")
def _(bench: Bench) -> list[str]:
    return evaluate(changed(bench, lambda c: c["vsr"]["config"].update(model={"_target_": "vsr.nets.srcnn.SRCNN"})))


@fault("23-another-model-to-start-from", "best.ckpt: none of its 14 tensors fits this network")
def _(bench: Bench) -> list[str]:
    return train(*TINY, "model=srcnn", "init=checkpoint", f"init.path={bench.checkpoint()}")


@fault("23-another-scale-to-start-from", "best.ckpt", "scale", "mismatch=")
def _(bench: Bench) -> list[str]:
    return train(*TINY, "model=fsrcnn_s", "scale=3", "init=checkpoint", f"init.path={bench.checkpoint()}")


@fault("23-another-model-to-resume", "run: holds a finished run with", "type hydra.run.dir=FOLDER")
def _(bench: Bench) -> list[str]:
    return train(*TINY, "model=srcnn", f"hydra.run.dir={bench.run()}", "resume=auto")


@fault("23-a-newer-version", "its description is incomplete", "it was not written by this version")
def _(bench: Bench) -> list[str]:
    def newer(content: dict[str, Any]) -> None:
        content["vsr"] = {"version": "99.0", "settings": content["vsr"]["config"]}

    return evaluate(changed(bench, newer))


@fault("23-a-newer-recipe", "recipe.warp: unknown")
def _(bench: Bench) -> list[str]:
    return evaluate(changed(bench, lambda c: c["vsr"]["config"]["recipe"].update(warp=1)))


@fault("23-weights-alone", "best.ckpt: not a checkpoint of vsr (it lacks the keys state_dict and vsr)")
def _(bench: Bench) -> list[str]:
    path = bench.checkpoint()
    torch.save(torch.load(path, weights_only=True)["state_dict"], path)
    path.with_name("best.ckpt.sha256").unlink()
    return evaluate(path)


@fault("23-a-network-of-a-trillion-weights", "best.ckpt: its tensors are not those of the network that it names")
def _(bench: Bench) -> list[str]:
    def large(content: dict[str, Any]) -> None:
        content["vsr"]["config"]["model"] = {"_target_": "vsr.nets.edsr.EDSR", "width": 100_000, "blocks": 100}

    return evaluate(changed(bench, large))


@fault("23-values-that-are-no-numbers", "fsrcnn_s: puts out values that are not finite", "train it again")
def _(bench: Bench) -> list[str]:
    def nan(content: dict[str, Any]) -> None:
        next(v for k, v in content["state_dict"].items() if k.startswith("network.")).fill_(float("nan"))

    return evaluate(changed(bench, nan))


@fault("23-values-that-are-no-numbers-upscaled", "not finite")
def _(bench: Bench) -> list[str]:
    def nan(content: dict[str, Any]) -> None:
        next(v for k, v in content["state_dict"].items() if k.startswith("network.")).fill_(float("nan"))

    np.save(bench.path / "a.npy", flow())
    return ["upscale", f"checkpoint={changed(bench, nan)}", f"input={bench.path}/a.npy", "axes=tyx"]


def damaged(name: str, damage: Callable[[bytes], bytes], said: str) -> None:
    """Rows of a checkpoint that is damaged, met by each script."""

    def harm(bench: Bench) -> Path:
        path = bench.checkpoint()
        path.write_bytes(damage(path.read_bytes()))
        return path

    fault(f"24-{name}-evaluated", "best.ckpt: ", said)(lambda bench: evaluate(harm(bench)))

    def upscaled(bench: Bench) -> list[str]:
        np.save(bench.path / "a.npy", flow())
        return ["upscale", f"checkpoint={harm(bench)}", f"input={bench.path}/a.npy", "axes=tyx"]

    fault(f"24-{name}-upscaled", "best.ckpt: ", said)(upscaled)
    start = [*TINY, "model=fsrcnn_s", "init=checkpoint"]
    fault(f"24-{name}-to-start-from", "best.ckpt: ")(lambda bench: train(*start, f"init.path={harm(bench)}"))

    def resumed(bench: Bench) -> list[str]:
        run = bench.run()
        (run / "results.json").unlink()
        last = run / "checkpoints" / "last.ckpt"
        last.write_bytes(damage(last.read_bytes()))
        return ["train", f"resume={run}"]

    fault(f"24-{name}-resumed", "last.ckpt: ", said, writes=True)(resumed)


def bit(raw: bytes) -> bytes:
    at = len(raw) // 3
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


damaged("truncated", lambda raw: raw[: len(raw) // 2], "not a checkpoint, or damaged")
damaged("empty", lambda raw: b"", "not a checkpoint, or damaged")
damaged("flipped", bit, "damaged")


def pickled(bench: Bench) -> Path:
    path = bench.checkpoint()
    content = torch.load(path, weights_only=True)
    torch.save({**content, "callbacks": Mark(bench.mark)}, path)
    path.with_name("best.ckpt.sha256").unlink()
    return path


CODE = ("holds more than tensors", "could run code")


@fault("25-pickle-evaluated", "best.ckpt: ", *CODE)
def _(bench: Bench) -> list[str]:
    return evaluate(pickled(bench))


@fault("25-pickle-upscaled", "best.ckpt: ", *CODE)
def _(bench: Bench) -> list[str]:
    np.save(bench.path / "a.npy", flow())
    return ["upscale", f"checkpoint={pickled(bench)}", f"input={bench.path}/a.npy", "axes=tyx"]


@fault("25-pickle-to-start-from", "best.ckpt: ", "code")
def _(bench: Bench) -> list[str]:
    return train(*TINY, "model=fsrcnn_s", "init=checkpoint", f"init.path={pickled(bench)}")


@fault("25-pickle-of-the-old-kind-to-start-from", "a.pt: ")
def _(bench: Bench) -> list[str]:
    (bench.path / "a.pt").write_bytes(pickle.dumps({"network.w": Mark(bench.mark)}))
    return train(*TINY, "model=fsrcnn_s", "init=checkpoint", f"init.path={bench.path}/a.pt")


@fault("25-pickle-resumed", "last.ckpt: ", *CODE, writes=True)
def _(bench: Bench) -> list[str]:
    run = bench.run()
    (run / "results.json").unlink()
    shutil.move(pickled(bench), run / "checkpoints" / "last.ckpt")
    (run / "results.json").unlink()
    (run / "checkpoints" / "last.ckpt.sha256").unlink()
    return ["train", f"resume={run}"]


@fault("25-exported-program-to-start-from", "a.pt2", "give a .ckpt, .pt, .pth or .safetensors file")
def _(bench: Bench) -> list[str]:
    (bench.path / "a.pt2").write_bytes(pickle.dumps(Mark(bench.mark)))
    return train(*TINY, "model=fsrcnn_s", "init=checkpoint", f"init.path={bench.path}/a.pt2")


def payload(bench: Bench, target: str = "os.system") -> dict[str, Any]:
    return {"_target_": target, "command": f"touch {bench.mark}"}


for node in ("model", "degradation", "recipe", "data"):

    def named(bench: Bench, node: str = node) -> list[str]:
        return evaluate(changed(bench, lambda c: c["vsr"]["config"].update({node: payload(bench)})))

    fault(f"25-target-in-{node}", f"{node}._target_=os.system: not a class that a config may name")(named)


@fault("25-target-deep-inside", "degradation.steps.a._target_=torch.utils.collect_env.run: not a class that a config may name")
def _(bench: Bench) -> list[str]:
    steps = {"_target_": "vsr.degradations.chain.Chain", "steps": {"a": payload(bench, "torch.utils.collect_env.run")}}
    return evaluate(changed(bench, lambda c: c["vsr"]["config"].update(degradation=steps)))


@fault("25-target-of-a-function-of-ours", "there is no such class")
def _(bench: Bench) -> list[str]:
    target = {"_target_": "vsr.data.fetch.fetch", "name": "a", "frames": 1, "folder": str(bench.mark)}
    return evaluate(changed(bench, lambda c: c["vsr"]["config"].update(degradation=target)))


@fault("25-target-through-a-module-of-ours", "there is no such class")
def _(bench: Bench) -> list[str]:
    target = payload(bench, "vsr.data.fetch.sys.modules")
    return evaluate(changed(bench, lambda c: c["vsr"]["config"].update(degradation=target)))


@fault("25-target-by-interpolation", "best.ckpt: its config holds '${", "which is not filled in here")
def _(bench: Bench) -> list[str]:
    said = {"_target_": "${name}", "command": f"touch {bench.mark}"}
    return evaluate(changed(bench, lambda c: c["vsr"]["config"].update(name="os.system", degradation=said)))


@fault("25-secret-of-the-environment", "best.ckpt: its config holds '${", "which is not filled in here")
def _(bench: Bench) -> list[str]:
    return evaluate(changed(bench, lambda c: c["vsr"]["config"].update(name="${oc.env:HOME}")))


@fault("25-instantiator-and-class-path", "fsrcnn_s", status=0)
def _(bench: Bench) -> list[str]:
    def hidden(content: dict[str, Any]) -> None:
        content["hyper_parameters"] = {"_instantiator": "os.system", "_class_path": "os.system", **payload(bench)}
        content["hparams_name"] = content["hparams_type"] = "os.system"

    return evaluate(changed(bench, hidden))


@fault("25-instantiator-resumed", "fsrcnn_s", status=0)
def _(bench: Bench) -> list[str]:
    run = bench.run()
    (run / "results.json").unlink()
    last = run / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    hidden = {"_instantiator": "os.system", "_class_path": "os.system", **payload(bench)}
    torch.save({**content, "hyper_parameters": hidden, "datamodule_hyper_parameters": hidden}, last)
    last.with_name("last.ckpt.sha256").unlink()
    shutil.move(run, bench.here / "run")
    return ["train", "resume=run"]


def resumed_with(name: str, *overrides: str) -> None:
    """A row of a run folder from elsewhere, in whose record more stands than train.py writes there."""

    def make(bench: Bench) -> list[str]:
        run = bench.run()
        (run / "results.json").unlink()
        record = json.loads((run / "run.json").read_text())
        record["overrides"] += [each.replace("MARK", str(bench.mark)) for each in overrides]
        (run / "run.json").write_text(json.dumps(record))
        return ["train", f"resume={run}"]

    fault(f"25-record-with-{name}", "run.json: ", "type the command that started the run")(make)


resumed_with("a-callback-of-hydra", "+hydra.callbacks.a={_target_: torch.utils.collect_env.run, command: 'touch MARK'}")
resumed_with("a-log-handler", "+hydra.job_logging.handlers.a={'()': os.system, command: 'touch MARK'}")
resumed_with("a-config-folder", "--config-dir=/tmp")
resumed_with("a-sweep", "-m")
resumed_with("a-search-path", "hydra.searchpath=[file:///tmp]")
resumed_with("a-group-of-hydra", "hydra/launcher=submitit_local")
resumed_with("a-package-of-hydra", "+recipe@hydra.callbacks=default")


@fault("25-record-with-a-target", "degradation._target_=os.system: not a class that a config may name")
def _(bench: Bench) -> list[str]:
    run = bench.run()
    (run / "results.json").unlink()
    record = json.loads((run / "run.json").read_text())
    record["overrides"] += ["degradation._target_=os.system"]
    (run / "run.json").write_text(json.dumps(record))
    return ["train", f"resume={run}"]


@fault("25-hydras-notes-in-a-run-folder", "fsrcnn_s", status=0)
def _(bench: Bench) -> list[str]:
    """What Hydra wrote down of a run is for people; nothing reads it back."""
    run = bench.run()
    (run / "results.json").unlink()
    text = yaml.safe_dump({"hydra": {"callbacks": {"a": payload(bench)}}, "degradation": payload(bench)})
    for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
        (run / ".hydra" / name).write_text(text)
    shutil.move(run, bench.here / "run")
    return ["train", "resume=run"]


@fault("26-no-last-checkpoint", "was stopped before its first checkpoint, there is nothing to resume; start it again")
def _(bench: Bench) -> list[str]:
    run = bench.run()
    (run / "results.json").unlink()
    (run / "checkpoints" / "last.ckpt").unlink()
    return ["train", f"resume={run}"]


@fault("26-no-run", "holds no run, there is nothing to resume")
def _(bench: Bench) -> list[str]:
    return ["train", f"resume={bench.here}"]


@fault("26-no-folder", "resume=nowhere: there is no such folder or checkpoint")
def _(bench: Bench) -> list[str]:
    return ["train", "resume=nowhere"]


@fault("26-finished", "the run is finished, there is nothing to resume; see")
def _(bench: Bench) -> list[str]:
    return ["train", f"resume={bench.run()}"]


@fault("26-half-a-record", "run.json: cannot be read; type the command that started the run")
def _(bench: Bench) -> list[str]:
    run = bench.run()
    (run / "results.json").unlink()
    cut(run / "run.json")
    return ["train", f"resume={run}"]


def here(bench: Bench, *overrides: str) -> list[str]:
    """A run of three epochs in the folder `here/run`."""
    return ["train", *TINY, *FAST, "model=fsrcnn_s", "epochs=3", "recipe.steps=4", "hydra.run.dir=run", *overrides]


def at_step(number: int, action: str, method: str = "training_step") -> str:
    """Python that does something in the middle of training."""
    return f"""
import os, shutil, signal
import torch
from vsr.modules.sr import SRModule
def strike(*arguments, real=SRModule.{method}, count=[0], **options):
    count[0] += 1
    if count[0] == {number}:
        {action}
    return real(*arguments, **options)
SRModule.{method} = strike
"""


@fault("22-no-gpu", "strategy=gpu: no GPU here", "type strategy=cpu")
def _(bench: Bench) -> list[str]:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    return ["train", *TINY, "strategy=gpu"]


@fault("22-no-gpu-upscaled", "device=cuda", "type device=cpu")
def _(bench: Bench) -> list[str]:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    np.save(bench.path / "a.npy", flow())
    return [*upscale(bench, bench.path / "a.npy", "axes=tyx")[:-2], "axes=tyx", "device=cuda"]


typed("22-half-precision-on-a-cpu", "precision=16: for GPUs", "type precision=bf16", arguments=["precision=16"])


@fault("22-bf16-on-a-cpu", "fsrcnn_s", status=0)
def _(bench: Bench) -> list[str]:
    return here(bench, "precision=bf16")


@fault("22-out-of-gpu-memory", "out of memory (CUDA out of memory. Tried", "type a smaller recipe.batch=N", writes=True)
def _(bench: Bench) -> list[str]:
    said = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.00 GiB"
    bench.before = at_step(3, f"raise torch.OutOfMemoryError({said!r})")
    return here(bench)


def limited(size: int) -> str:
    """Python after which no file may grow beyond so many bytes, as on a full disk."""
    return f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"


@fault("27-disk-full-while-checkpointing", ".ckpt: the checkpoint cannot be written", "make room", writes=True)
def _(bench: Bench) -> list[str]:
    bench.before = limited(20_000)
    return here(bench)


@fault("27-disk-full-while-upscaling", "b.npy", "disk is full")
def _(bench: Bench) -> list[str]:
    np.save(bench.path / "a.npy", flow())
    bench.before = limited(9000)
    return upscale(bench, bench.path / "a.npy", "axes=tyx", f"output={bench.here}/b.npy")


@fault("27-disk-full-while-evaluating", "cannot be written", "type hydra.run.dir=FOLDER", writes=True)
def _(bench: Bench) -> list[str]:
    bench.before = limited(4000)
    return evaluate(bench.checkpoint())


# Root may write anywhere; without its capabilities it may not.
POWERLESS = """
import ctypes
assert ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()) == 0
"""


def locked_up(bench: Bench) -> Path:
    folder = bench.path / "sealed"
    folder.mkdir()
    folder.chmod(0o555)
    bench.before = POWERLESS
    return folder


@fault("28-read-only-output-folder", "sealed", "Permission denied", "type hydra.run.dir=FOLDER")
def _(bench: Bench) -> list[str]:
    return train(*TINY, f"hydra.run.dir={locked_up(bench)}/run")


@fault("28-read-only-folder-upscaled", "sealed", "output=")
def _(bench: Bench) -> list[str]:
    np.save(bench.path / "a.npy", flow())
    command = upscale(bench, bench.path / "a.npy", "axes=tyx", f"output={locked_up(bench)}/b.npy")
    return command


@fault("28-read-only-folder-for-generated-data", "sealed", "data.cache=")
def _(bench: Bench) -> list[str]:
    return train(*TINY, "data.seed=77", f"data.cache={locked_up(bench)}")


@fault("28-unreadable-input", "a.npy", "check its permissions")
def _(bench: Bench) -> list[str]:
    np.save(bench.path / "a.npy", flow())
    (bench.path / "a.npy").chmod(0)
    bench.before = POWERLESS
    return field(bench.path / "a.npy")


@fault("28-unreadable-video", "a.y4m", "check its permissions")
def _(bench: Bench) -> list[str]:
    write_y4m(bench.path / "a.y4m", moving_pattern(20)).chmod(0)
    bench.before = POWERLESS
    return video(bench.path / "a.y4m")


@fault("28-unreadable-checkpoint", "best.ckpt")
def _(bench: Bench) -> list[str]:
    path = bench.checkpoint()
    path.chmod(0)
    bench.before = POWERLESS
    return evaluate(path)


@fault("28-output-folder-is-a-file", "taken: File exists", "type hydra.run.dir=FOLDER")
def _(bench: Bench) -> list[str]:
    (bench.here / "taken").write_text("mine")
    return train(*TINY, "hydra.run.dir=taken")


@fault("28-output-is-a-folder-upscaled", "taken.npy", "output")
def _(bench: Bench) -> list[str]:
    np.save(bench.path / "a.npy", flow())
    (bench.here / "taken.npy").mkdir()
    return upscale(bench, bench.path / "a.npy", "axes=tyx", "output=taken.npy")


@fault("28-output-that-exists-is-kept", "b.npy: exists", "overwrite=true")
def _(bench: Bench) -> list[str]:
    np.save(bench.path / "a.npy", flow())
    (bench.here / "b.npy").write_bytes(b"mine")
    return upscale(bench, bench.path / "a.npy", "axes=tyx", "output=b.npy")


@fault("28-output-folder-removed-while-running", "fsrcnn_s", status=0)
def _(bench: Bench) -> list[str]:
    """It is made again; what later steps write is there."""
    bench.after = whole
    bench.before = at_step(6, "shutil.rmtree('run')")
    return here(bench)


def whole(bench: Bench) -> None:
    """The newest checkpoint can be read."""
    read_checkpoint(bench.here / "run" / "checkpoints" / "last.ckpt")


for sent, number in (("SIGTERM", 143), ("SIGINT", 130), ("SIGKILL", -9)):
    for place in ("training_step", "validation_step"):

        def stopped(bench: Bench, sent: str = sent, place: str = place) -> list[str]:
            bench.before = at_step(6, f"os.kill(os.getpid(), signal.{sent})", place)
            bench.after = whole
            return here(bench, "checkpoint_steps=2")

        told = () if sent == "SIGKILL" else (f"stopped by {sent}", "to continue: python train.py resume=run")
        fault(f"29-{sent.lower()}-in-{place.replace('_', '-')}", *told, status=number, writes=True)(stopped)


@fault("29-sigkill-in-a-checkpoint", status=-9, writes=True)
def _(bench: Bench) -> list[str]:
    bench.before = """
import os, signal
def strike(*arguments, real=os.replace, count=[0], **options):
    if str(arguments[1]).endswith("last.ckpt"):
        count[0] += 1
        if count[0] == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
os.replace = strike
"""
    bench.after = whole
    return here(bench, "checkpoint_steps=2")


@fault("30-more-memory-than-there-is", "memory", "a.npy")
def _(bench: Bench) -> list[str]:
    with (bench.path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (400, 1024, 1024)})
        file.truncate(file.tell() + 4 * 400 * 1024 * 1024)
    bench.before = "import resource; size = int(open('/proc/self/statm').read().split()[0]) * 4096 + (3 << 29)\n"
    bench.before += "resource.setrlimit(resource.RLIMIT_AS, (size, size))"
    return field(bench.path / "a.npy", "data.memory=4096")


@fault("31-exploding-loss", "the loss is", "try a lower recipe.rate than 1e+30", writes=True)
def _(bench: Bench) -> list[str]:
    return here(bench, "recipe.rate=1e30", "recipe.clip=null")


@fault("31-loss-that-is-no-number", "the loss is nan in epoch 2", "the checkpoints of earlier epochs are kept", writes=True)
def _(bench: Bench) -> list[str]:
    bench.before = at_step(6, "[weight.data.fill_(float('nan')) for weight in arguments[0].network.parameters()]")
    bench.after = whole
    return here(bench, "checkpoint_steps=2")


NAMES = ["a b", "ü", "a=1", "a,b", "a[1]", "x" * 200, "a'b", "a{b}", "$HOME", "50%s", "-a", "#a", "a:b", "a;b", "~a", "a\\b"]

for title in NAMES:

    def upscaled_in(bench: Bench, title: str = title) -> list[str]:
        """Typed in a shell as it is called."""
        folder = bench.path / title
        folder.mkdir()
        np.save(folder / f"{title}.npy", flow())
        run = shutil.move(bench.run(), folder / "run")
        files = [f"checkpoint={run}/checkpoints/best.ckpt", f"input={folder}/{title}.npy", f"output={bench.here}/{title}.npy"]
        bench.after = lambda bench: np.load(bench.here / f"{title}.npy") is None
        return ["upscale", *files, "axes=tyx", "device=cpu"]

    fault(f"32-upscaled-{title[:9]}", "result", status=0)(upscaled_in)

    def trained_in(bench: Bench, title: str = title) -> list[str]:
        """In Hydra's grammar, in quotes."""
        folder = bench.path / title
        folder.mkdir()
        np.save(folder / "a.npy", flow())
        name = title.replace("'", "\\'")
        return [*field(Path(f"{bench.path}/{name}/a.npy")), f"hydra.run.dir='{name}'"]

    fault(f"32-trained-{title[:9]}", "fsrcnn", status=0)(trained_in)


@fault("32-home", "result", status=0)
def _(bench: Bench) -> list[str]:
    np.save(bench.path / "a.npy", flow())
    bench.run()
    bench.environment = {"HOME": str(bench.path)}
    return ["upscale", "checkpoint=~/run/checkpoints/best.ckpt", "input=~/a.npy", "output=b.npy", "axes=tyx", "device=cpu"]


@fault("32-relative-and-symlinked", "result", status=0)
def _(bench: Bench) -> list[str]:
    np.save(bench.path / "a.npy", flow())
    (bench.path / "link.npy").symlink_to("a.npy")
    bench.run()
    return ["upscale", "checkpoint=../run/checkpoints/best.ckpt", "input=../link.npy", "output=b.npy", "axes=tyx", "device=cpu"]


@fault("32-symlink-to-nothing", "link.npy: no such file")
def _(bench: Bench) -> list[str]:
    (bench.path / "link.npy").symlink_to("nothing.npy")
    return upscale(bench, bench.path / "link.npy", "axes=tyx")


@fault("32-name-beyond-what-the-system-takes", "File name too long", "hydra.run.dir=FOLDER")
def _(bench: Bench) -> list[str]:
    return train(*TINY, f"hydra.run.dir={'x' * 300}")


@fault("32-input-name-beyond-what-the-system-takes", "data.path=xxx")
def _(bench: Bench) -> list[str]:
    return train("data=climate", f"data.path={'x' * 300}.npy")


@fault("33-two-runs-in-a-folder", "another run writes here (process 1 on elsewhere)", "type hydra.run.dir=FOLDER")
def _(bench: Bench) -> list[str]:
    run = bench.run()
    (run / "results.json").unlink()
    (run / "run.lock").write_text("process 1 on elsewhere\n")
    bench.lock = os.open(run / "run.lock", os.O_RDWR)
    fcntl.flock(bench.lock, fcntl.LOCK_EX)
    return train(*TINY, f"hydra.run.dir={run}")


@fault("34-the-same-second-twice", "holds a run already; type hydra.run.dir=FOLDER to write elsewhere")
def _(bench: Bench) -> list[str]:
    bench.before = "import datetime, types; import hydra.core.utils as u; moment = datetime.datetime(2001, 9, 9, 1, 46, 40)\n"
    bench.before += "u.datetime = types.SimpleNamespace(now=lambda: moment)"
    folder = bench.here / "runs" / "fsrcnn-climate" / "2001-09-09_01-46-40"
    folder.parent.mkdir(parents=True)
    shutil.move(bench.run(), folder)
    return train(*TINY)


@fault("34-clock-that-runs-backwards", "fsrcnn_s", status=0)
def _(bench: Bench) -> list[str]:
    bench.before = "import itertools, time; steps = itertools.count(); time.time = lambda: 2e9 - 10.0 * next(steps)"
    return here(bench)


@fault("36-sweep-under-torchrun", "-m: torchrun starts one run; type python train.py -m strategy=ddp_spawn trainer.devices=N")
def _(bench: Bench) -> list[str]:
    bench.environment = {"TORCHELASTIC_RUN_ID": "a", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    return ["train", "-m", "seed=1,2", *TINY, "strategy=ddp"]


@fault("36-more-devices-than-the-strategy-takes", "this strategy is for one; type strategy=ddp trainer.devices=2")
def _(bench: Bench) -> list[str]:
    return ["train", *TINY, "strategy=cpu", "trainer.devices=2"]


@fault("36-sharded-weights", "strategy=fsdp: ", "type strategy=ddp")
def _(bench: Bench) -> list[str]:
    return ["train", *TINY, "strategy=fsdp"]


# What takes a third of a second each and guards against code and foreign files; of everything else the first row of an item.
ALWAYS = ("07", "19", "25", "26", "28")
FIRST = {name[:2]: name for name in reversed(ROWS)}


def marked(name: str) -> Any:
    """A row, `long` unless it is one of those that every run of the tests has."""
    quick = FIRST[name[:2]] == name or (name[:2] in ALWAYS and ROWS[name].status != 0)
    return pytest.param(name, marks=[] if quick and name[:2] != "30" else pytest.mark.long)


@pytest.mark.parametrize("name", [marked(name) for name in ROWS])
def test_fault(name: str, bench: Bench) -> None:
    row = ROWS[name]
    command = row.make(bench)
    before = contents(bench.path)
    done = bench.warm.run(bench.here, *command, before=bench.before, **bench.environment)
    if bench.lock is not None:
        os.close(bench.lock)
    judge(done, row.status, row.says)
    assert not bench.mark.exists()
    after = contents(bench.path)

    def kept(found: dict[str, bytes | str]) -> dict[str, bytes | str]:
        # Hydra's notes of how a command was typed are those of the latest one; a run that goes on in `here` writes there.
        notes = [name for name in found if "/.hydra/" in name or name.endswith(("train.log", "run.lock"))]
        return {name: found[name] for name in found if name in before and name not in notes and not name.startswith("here")}

    assert kept(after) == kept(before)
    bench.after(bench)
    unfinished = [name for name in after if name.endswith((".part", ".tmp"))]
    assert not unfinished or row.status == -9
    if not row.writes:
        assert after.keys() == before.keys()


@pytest.mark.long
def test_35_a_failing_trial_does_not_stop_a_sweep(bench: Bench) -> None:
    """By the real command: a sweep starts its runs as processes of their own."""
    command = ["train", "-m", *here(bench)[1:-1], "recipe.patch=8,4000", "hydra.sweep.dir=sweep"]
    done = bench.warm.run(bench.here, *command)
    assert done.status == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert (bench.here / "sweep" / "0" / "results.json").is_file()
    assert not (bench.here / "sweep" / "1" / "results.json").exists()
    assert "type recipe.patch=" in done.stdout + done.stderr
