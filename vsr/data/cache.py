"""File cache of generated arrays, and the generation of arrays in parallel processes.

This module imports no torch, so that worker processes start quickly.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from vsr.errors import UserError
from vsr.system.cpu import usable_cores
from vsr.system.files import replacing_file
from vsr.system.progress import progress_bar

_done: Any = None  # in a worker: number of finished frames of all workers
_stop: Any = None  # in a worker: set when all workers should stop

log = logging.getLogger(__name__)
Result = TypeVar("Result")


def cache_path(folder: str | None, label: str, parameters: dict[str, Any]) -> Path:
    """Return the path of a cached file, FOLDER/LABEL-KEY.h5, where KEY is a hash of the parameters.

    Args:
        folder: Folder of cached files; None for $VSR_CACHE or ~/.cache/vsr.
        label: Readable part of the file name.
        parameters: Plain values that the contents depend on, including a version of the generator.
    """
    key = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:12]
    return cache_folder(folder) / f"{label}-{key}.h5"


def cache_folder(folder: str | None = None) -> Path:
    """Return the folder of cached files: the given one, $VSR_CACHE or ~/.cache/vsr."""
    return Path(folder or os.environ.get("VSR_CACHE") or Path.home() / ".cache" / "vsr").expanduser()


def load_cached_or_generate(path: Path, names: list[str], generate: Callable[[], list[np.ndarray]]) -> dict[str, np.ndarray]:
    """Read arrays from a cached file; generate and write them when the file is missing or damaged.

    The file is written atomically. When several processes ask at once, one process generates the arrays and all others wait.

    Args:
        path: Path of the cached file, from `cache_path`.
        names: Names of the arrays in the file.
        generate: Function that returns the arrays in the order of `names`; its errors pass through.

    Raises:
        UserError: If the file cannot be written.
    """
    if (found := _read(path, names)) is not None:
        return found
    try:
        with _locked(path):
            if (found := _read(path, names)) is not None:  # written by another process in the meantime
                return found
            if path.is_file():
                log.warning("%s is damaged; generating it again", path)
            with replacing_file(path) as temporary:
                arrays = dict(zip(names, generate(), strict=True))
                with h5py.File(temporary, "w") as file:
                    for name, values in arrays.items():
                        file.create_dataset(name, data=values, fletcher32=True)
    except OSError as error:
        raise UserError(f"data.cache={path.parent}: cannot be written ({error}); type data.cache=FOLDER") from error
    return arrays


def _read(path: Path, names: list[str]) -> dict[str, np.ndarray] | None:
    """Return the arrays of a cached file by name; None when the file is missing or damaged."""
    if not path.is_file():
        return None
    try:
        with h5py.File(path, "r") as file:
            return {name: file[name][()] for name in names}
    except (OSError, KeyError):
        return None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for a lock beside a file and hold the lock; the system releases it when the process ends.

    On a file system without locks, several processes may generate the same file, and the file written last stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    while True:
        with lock.open("w") as file:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            try:
                same = os.path.samestat(os.fstat(file.fileno()), lock.stat())
            except FileNotFoundError:
                same = False
            if not same:  # its last holder has removed the lock file, so it locks nothing
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def generate_in_parallel(make: Callable[..., Result], calls: list[tuple[Any, ...]], frames: int, label: str) -> list[Result]:
    """Call a function several times in parallel, on as many processes as there are cores, under one progress bar.

    An interrupt, or an error in one call, stops all other calls at their next frame; the error passes through.

    Args:
        make: Importable function, called as make(*call, tick=...); it must call `tick` after each frame.
        calls: Positional arguments of each call.
        frames: Number of frames in all calls together.
        label: Text of the progress bar.

    Returns:
        The results in the order of `calls`.
    """
    context = get_context("spawn")  # forking a process that has started torch's threads can deadlock
    done = context.Value("i", 0)
    stop = context.Event()
    with (
        progress_bar(frames, label, "frame") as bar,
        ProcessPoolExecutor(min(len(calls), usable_cores()), context, initializer=_share, initargs=(done, stop)) as pool,
    ):
        try:
            running = [pool.submit(_call, make, call) for call in calls]
            while not all(future.done() for future in running):
                time.sleep(0.1)
                bar.update(done.value - bar.n)
                for future in running:
                    if future.done():
                        future.result()
            results = [future.result() for future in running]
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        bar.update(frames - bar.n)
    return results


def _share(done: Any, stop: Any) -> None:
    global _done, _stop
    _done, _stop = done, stop


def _call(make: Callable[..., Result], call: tuple[Any, ...]) -> Result:
    return make(*call, tick=_tick)


def _tick() -> None:
    with _done.get_lock():
        _done.value += 1
    if _stop.is_set():
        raise RuntimeError("another process has stopped")
