"""Generated arrays: made once, on several processes, and kept in a file; no torch, so that these processes start quickly."""

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
from vsr.system.files import replacing
from vsr.system.jobs import cores
from vsr.system.progress import progress_bar

_done: Any = None  # in a worker: frames made so far, over all workers
_stop: Any = None  # in a worker: set when the others should not finish either

Result = TypeVar("Result")

log = logging.getLogger(__name__)
Made = TypeVar("Made")


def cache_path(folder: str | None, label: str, parameters: dict[str, Any]) -> Path:
    """LABEL-KEY.h5 in `folder`, or in $VSR_CACHE or ~/.cache/vsr; KEY is a hash of `parameters`, plain values.

    They must hold everything that the values depend on, a version of the generator included.
    """
    key = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:12]
    return Path(folder or os.environ.get("VSR_CACHE") or Path.home() / ".cache" / "vsr").expanduser() / f"{label}-{key}.h5"


def cached(path: Path, names: list[str], make: Callable[[], list[np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of these names from the file; where there is none or a damaged one, `make` gives them and they are written.

    The file appears whole or not at all. Of several processes one makes it, and the others wait. Raises UserError when it cannot
    be written; what `make` raises comes through.
    """
    if (found := _read(path, names)) is not None:
        return found
    try:
        with _one_at_a_time(path):
            if (found := _read(path, names)) is not None:  # by the one that was waited for
                return found
            if path.is_file():
                log.warning("%s is damaged; generating it again", path)
            with replacing(path) as temporary:
                arrays = dict(zip(names, make(), strict=True))
                with h5py.File(temporary, "w") as file:
                    for name, values in arrays.items():
                        file.create_dataset(name, data=values, fletcher32=True)
    except OSError as error:
        raise UserError(f"data.cache={path.parent}: cannot be written ({error}); type data.cache=FOLDER") from error
    return arrays


def _read(path: Path, names: list[str]) -> dict[str, np.ndarray] | None:
    """What the file holds; None where there is none or a damaged one."""
    if not path.is_file():
        return None
    try:
        with h5py.File(path, "r") as file:
            return {name: file[name][()] for name in names}
    except (OSError, KeyError):
        return None


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock on the file's name, which the system lets go when a process ends, however it does.

    On a disk that cannot lock, several processes may make the same file; the last one's stays.
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
            if not same:  # whoever held it has removed it: it locks nothing any more
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def run_in_parallel(make: Callable[..., Made], calls: list[tuple[Any, ...]], frames: int, label: str) -> list[Made]:
    """make(*call, tick=...) for each call, in order, on as many processes as there are cores, under one progress bar.

    `make` must be importable, and call `tick` after each of its frames, `frames` over all calls. An interrupt, or an error of
    one call, which comes through, stops the others at their next frame.
    """
    context = get_context("spawn")  # forking a process that has started torch's threads can deadlock
    done = context.Value("i", 0)
    stop = context.Event()
    with (
        progress_bar(frames, label, "frame") as bar,
        ProcessPoolExecutor(min(len(calls), cores()), context, initializer=_share, initargs=(done, stop)) as pool,
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


def _call(make: Callable[..., Made], call: tuple[Any, ...]) -> Made:
    return make(*call, tick=_tick)


def _tick() -> None:
    with _done.get_lock():
        _done.value += 1
    if _stop.is_set():
        raise RuntimeError("another process has stopped")
