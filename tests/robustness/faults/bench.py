"""Rows of the list of faults: how they are made, and where they are played."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import savemat

from tests.data.datamodules.test_climate_files import flow
from tests.warm import Warm

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

    def stopped_run(self) -> Path:
        """The same run without its results, as if it had been stopped."""
        (self.run() / "results.json").unlink()
        return self.path / "run"

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


# What the rows are about: the first two digits of a row's name are the number of its item.
ITEMS = {
    "01": "a file of arrays cut short",
    "02": "a flipped bit",
    "03": "a file left open by a kill",
    "04": "a damaged MATLAB file",
    "05": "MATLAB's versions mixed up",
    "06": "arrays that are no movie",
    "07": "links and storage out of a file",
    "08": "declared sizes",
    "09": "unpacked sizes",
    "10": "values that are no numbers",
    "11": "constant fields",
    "12": "rank and order of axes",
    "13": "too few frames",
    "14": "sizes that do not fit",
    "15": "mixed sizes in a folder",
    "16": "kinds of pictures",
    "17": "names of frames",
    "18": "empty folders and hidden files",
    "19": "damaged videos",
    "20": "the same frames in training and test",
    "21": "mistakes in a command line",
    "22": "hardware that is not there",
    "23": "another checkpoint",
    "24": "a damaged checkpoint",
    "25": "code in data",
    "26": "nothing to resume",
    "27": "full disks",
    "28": "folders that cannot be written",
    "29": "signals",
    "30": "memory, and processes of a run that are killed",
    "31": "a loss that explodes",
    "32": "names of files",
    "33": "two runs in one folder",
    "34": "clocks",
    "35": "failing and foreign sweeps",
    "36": "sweeps of several processes",
}
ROWS: dict[str, Row] = {}


def fault(name: str, *says: str, status: int = 1, writes: bool | None = None) -> Callable[[Make], Make]:
    """Add a row; one that ends well may write, others may not."""

    def add(make: Make) -> Make:
        assert name not in ROWS
        assert name[:2] in ITEMS
        assert name[2] == "-"
        ROWS[name] = Row(make, says, status, status == 0 if writes is None else writes)
        return make

    return add


def train(*arguments: str) -> list[str]:
    """A few steps."""
    return ["train", *arguments, *FAST]


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


def write(bench: Bench, name: str, content: bytes | str) -> Path:
    path = bench.path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def save(bench: Bench, values: np.ndarray) -> Path:
    np.save(bench.path / "a.npy", values, allow_pickle=True)
    return bench.path / "a.npy"


def npy(bench: Bench, values: np.ndarray, *extra: str, axes: str | None = "tyx") -> list[str]:
    return field(save(bench, values), *extra, axes=axes)


def mat(bench: Bench, compressed: bool = False, **variables: Any) -> Path:
    savemat(bench.path / "a.mat", variables, do_compression=compressed)
    return bench.path / "a.mat"


def upscale(bench: Bench, path: Path, *extra: str) -> list[str]:
    return ["upscale", f"checkpoint={bench.checkpoint()}", f"input={path}", "device=cpu", *extra]


def typed(name: str, *says: str, arguments: list[str]) -> None:
    """A row of nothing but a command line."""
    fault(name, *says)(lambda bench: train(*arguments))


def evaluate(path: Path, *extra: str) -> list[str]:
    return ["evaluate", f"checkpoint={path}", "strategy=cpu", *extra]


def here(bench: Bench, *overrides: str) -> list[str]:
    """A run of three epochs in the folder `here/run`."""
    return ["train", *TINY, *FAST, "model=fsrcnn_s", "epochs=3", "recipe.steps=4", "hydra.run.dir=run", *overrides]


def at_step(number: int, action: str, method: str = "training_step") -> str:
    """Python that does something in the middle of training."""
    return f"""
import os, shutil, signal
import torch
from vsr.training.modules.base import SRModule
def strike(*arguments, real=SRModule.{method}, count=[0], **options):
    count[0] += 1
    if count[0] == {number}:
        {action}
    return real(*arguments, **options)
SRModule.{method} = strike
"""


def video(path: Path, *more: str) -> list[str]:
    return train("data=movies", f"data.path={path}", *more)
