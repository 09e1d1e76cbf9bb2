"""Broken, hostile and unsuitable data through train.py: the exit status, the one line that the user sees, nothing left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_array

from tests.data.test_arrays import write_matlab73
from tests.data.test_climate_files import flow
from tests.fakes import ROOT, moving_pattern, write_y4m
from vsr.cli import launch

Make = Callable[[Path], list[str]]
FAST = ["recipe.patch=8", "recipe.steps=2", "epochs=1", "strategy=cpu"]


def train(folder: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """train.py in this process, in an empty folder; its exit status."""
    sys.path.insert(0, str(ROOT))
    from train import task

    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments, *FAST])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    try:
        launch(str(ROOT / "train.py"), task)
    except SystemExit as status:
        return int(status.code or 0)
    return 0


def field(path: Path, *extra: str) -> list[str]:
    return ["data=climate", f"data.path='{path}'", "data.axes=tyx", *extra]


def hdf5(change: Callable[[h5py.File, Path], None]) -> Make:
    def make(folder: Path) -> list[str]:
        with h5py.File(folder / "a.h5", "w") as file:
            change(file, folder)
        return field(folder / "a.h5", "data.variable=h")

    return make


def cut(folder: Path) -> list[str]:
    with h5py.File(folder / "a.h5", "w") as file:
        file["h"] = flow()
    raw = (folder / "a.h5").read_bytes()
    (folder / "a.h5").write_bytes(raw[: len(raw) // 2])
    return field(folder / "a.h5")


def flipped(folder: Path) -> list[str]:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("h", data=flow(), fletcher32=True, chunks=(12, 24, 32))
    raw = bytearray((folder / "a.h5").read_bytes())
    raw[raw.find(flow().tobytes()[5000:5040])] ^= 4
    (folder / "a.h5").write_bytes(raw)
    return field(folder / "a.h5")


def killed(folder: Path) -> list[str]:
    code = f"import h5py, numpy, os; f = h5py.File({str(folder / 'a.h5')!r}, 'w'); f['h'] = numpy.zeros((9, 24, 24)); os._exit(1)"
    subprocess.run([sys.executable, "-c", code], check=False)
    return field(folder / "a.h5")


def mat(content: bytes | None, **variables: object) -> Make:
    def make(folder: Path) -> list[str]:
        path = folder / "a.mat"
        if variables:
            savemat(path, variables)
            content_ = path.read_bytes()
            path.write_bytes(content_ if content is None else content_[: len(content_) // 2])
        else:
            path.write_bytes(content or b"")
        return ["data=climate", f"data.path={path}", "data.axes=yxt"]

    return make


def npy(values: np.ndarray, *extra: str, axes: str | None = "tyx") -> Make:
    def make(folder: Path) -> list[str]:
        np.save(folder / "a.npy", values, allow_pickle=True)
        return ["data=climate", f"data.path={folder}/a.npy", *([f"data.axes={axes}"] if axes else []), *extra]

    return make


def external_storage(file: h5py.File, folder: Path) -> None:
    (folder / "secret").write_bytes(os.urandom(4 * 12 * 24 * 32))
    file.create_dataset("h", (12, 24, 32), "f4", external=[(str(folder / "secret"), 0, h5py.h5f.UNLIMITED)])


def external_link(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["h"] = flow()
    file["h"] = h5py.ExternalLink(str(folder / "other.h5"), "/h")


def virtual(file: h5py.File, folder: Path) -> None:
    external_link(file, folder)
    del file["h"]
    layout = h5py.VirtualLayout((12, 24, 32), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "h", (12, 24, 32))
    file.create_virtual_dataset("h", layout)


def loop(file: h5py.File, _: Path) -> None:
    file["h"] = h5py.SoftLink("/g")
    file["g"] = h5py.SoftLink("/h")


def frames(sizes: list[tuple[int, int]], numbers: list[int] | None = None, extra: dict[str, bytes] | None = None) -> Make:
    def make(folder: Path) -> list[str]:
        (folder / "frames").mkdir()
        for number, (h, w) in zip(numbers or range(len(sizes)), sizes, strict=True):
            Image.fromarray(moving_pattern(1, h, w, number)[0]).save(folder / "frames" / f"img{number}.png")
        for name, content in (extra or {}).items():
            (folder / "frames" / name).write_bytes(content)
        return ["data=movies", f"data.path={folder}/frames"]

    return make


def twice(folder: Path) -> list[str]:
    (folder / "clips").mkdir()
    write_y4m(folder / "clips" / "a.y4m", moving_pattern(9))
    for copy in "bcd":
        shutil.copy(folder / "clips" / "a.y4m", folder / "clips" / f"{copy}.y4m")
    return ["data=movies", f"data.path={folder}/clips"]


nan = flow()
nan[3, 4, 5] = np.nan
FAULTS: dict[str, tuple[Make, str]] = {
    "1 truncated HDF5": (cut, "cut short"),
    "2 bit flip under a checksum": (flipped, "a.h5"),
    "3 HDF5 of a killed writer": (killed, "a.h5"),
    "4 empty mat": (mat(b""), "a.mat"),
    "4 text mat": (mat(b"not a mat file\n" * 40), "a.mat"),
    "4 truncated mat": (mat(b"", H=flow().transpose(1, 2, 0)), "a.mat"),
    "6 cell array": (mat(None, H=np.array([[flow(), 1]], dtype=object)), "no numeric array"),
    "6 struct": (mat(None, H={"a": flow()}), "no numeric array"),
    "6 sparse": (mat(None, H=csc_array(np.eye(30))), "no numeric array"),
    "6 complex": (npy(flow().astype(complex)), "complex"),
    "6 pickled objects": (npy(np.array([flow(), None], dtype=object)), "a.npy"),
    "7 external storage": (hdf5(external_storage), "which is not followed"),
    "7 external link": (hdf5(external_link), "link"),
    "7 virtual dataset": (hdf5(virtual), "virtual"),
    "7 soft-link loop": (hdf5(loop), "h"),
    "8 declared 8 TiB": (
        hdf5(lambda f, _: f.create_dataset("h", (2**21, 1024, 1024), "f4", chunks=(1, 64, 64)) and None),
        "data.max_bytes",
    ),
    "9 chunk bomb": (
        hdf5(lambda f, _: f.create_dataset("h", (8, 16384, 16384), "f4", chunks=(4, 16384, 16384)) and None),
        "chunk",
    ),
    "10 NaN": (npy(nan), "the first is frame 3; fill them, or type data.mask=true"),
    "10 infinity": (npy(np.where(np.isnan(nan), np.inf, nan)), "NaN or infinite"),
    "11 constant": (npy(np.full((12, 24, 32), 3, np.float32)), "every value is 3; a constant field"),
    "12 two dimensions": (npy(flow()[0]), "dimensions"),
    "12 unknown axes": (npy(flow(), axes=None), "data.axes="),
    "12 wrong axes": (npy(flow(), axes="tyxx"), "axes"),
    "12 one frame": (npy(flow(1)), "one frame is not a movie"),
    "13 too few frames": (npy(flow(3)), "too few for the split"),
    "13 too few for the numbers": (npy(flow(20), "data.learn=120", "data.test=50"), "there are 20; type data.learn=0.7"),
    "14 not divisible": (npy(flow(12, 25, 32)), "25x32 are not divisible by scale=2; type data.crop=true"),
    "14 smaller than the patch": (npy(flow(12, 12, 32)), "type recipe.patch=6"),
    "14 smaller than the window": (npy(flow(12, 16, 32)), "SSIM needs 11x11"),
    "15 mixed sizes": (frames([(32, 48)] * 5 + [(30, 48)]), "img5.png: is 30x48, img0.png is 32x48"),
    "17 gap in the numbers": (frames([(32, 48)] * 5, [1, 2, 9, 10, 11]), "frames 3 to 8 are missing before img9.png"),
    "18 only hidden files": (frames([], extra={".DS_Store": b"x", ".a.png": b"x"}), "holds neither videos"),
    "18 zero-byte picture": (frames([(32, 48)] * 5, extra={"img5.png": b""}), "img5.png: not a picture"),
    "20 the same clip in train and test": (twice, "are also among the training frames"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_line(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    make, message = FAULTS[fault]
    status = train(tmp_path, make(tmp_path), monkeypatch)
    errors = capfd.readouterr().err
    last = errors.strip().splitlines()[-1]
    assert status == 1, errors
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in errors
    assert list((tmp_path / "here").iterdir()) == []


def test_sound_files_of_odd_kinds_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2: without a checksum a flipped bit is another value. 5: either MATLAB version. 13: five frames. 32: any path."""
    write_matlab73(tmp_path / "v5 by name.mat", "H", flow(5).transpose(1, 2, 0))
    folder = tmp_path / "a b" / "ü=1,[x]"
    folder.mkdir(parents=True)
    shutil.move(tmp_path / "v5 by name.mat", folder)
    path = folder / "v5 by name.mat"
    overrides = ["data=climate", f"data.path='{path}'", "data.axes=yxt", "data.learn=3", "data.test=2", "data.val=0.34"]
    assert train(tmp_path, [*overrides, "hydra.run.dir='out = 1'"], monkeypatch) == 0
    assert (tmp_path / "here" / "out = 1" / "results.json").is_file()
