"""Trajectories of a family on as many processes as there are cores, with one progress bar."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from typing import Any

import numpy as np

from vsr.physics.families import FAMILIES
from vsr.progress import progress_bar

_progress: Any = None  # in a worker: frames done so far, over all workers
_stop: Any = None  # in a worker: set when the others should not finish either


@dataclass(frozen=True)
class Trajectory:
    """One run of a solver: h, u, v (T, H, W) and bed (H, W), float32, in the solver's units, sampled every `sampling` cells."""

    h: np.ndarray
    u: np.ndarray
    v: np.ndarray
    bed: np.ndarray


@dataclass(frozen=True)
class Job:
    """What to run: family, seed words, grid cells per side, sampling of the grid, frames."""

    family: str
    seed: tuple[int, ...]
    cells: int
    sampling: int
    frames: int


def simulate(job: Job) -> Trajectory:
    """Run one trajectory; the same job gives the same bits. Raises FloatingPointError when the flow blows up."""
    family = FAMILIES[job.family]
    flow = family.start(np.random.default_rng(job.seed), job.cells)
    pick = slice(job.sampling // 2, None, job.sampling)
    frames = []
    for k in range(job.frames):
        flow.run(family.spin_up + k * family.interval, family.courant)
        frames.append(np.stack([flow.h, *flow.velocity])[:, pick, pick].astype(np.float32))
        if _progress is not None:
            with _progress.get_lock():
                _progress.value += 1
            if _stop.is_set():
                break
    h, u, v = np.stack(frames, axis=1)
    return Trajectory(h, u, v, flow.bed[pick, pick].astype(np.float32))


def simulate_all(jobs: list[Job], label: str) -> list[Trajectory]:
    """All jobs, in order, in parallel. An interrupt stops the workers too."""
    context = get_context("spawn")  # forking a process that has started torch's threads can deadlock
    progress: Synchronized[int] = context.Value("i", 0)
    stop = context.Event()
    total = sum(job.frames for job in jobs)
    workers = min(len(jobs), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    with (
        progress_bar(total, label, "frame") as bar,
        ProcessPoolExecutor(workers, context, initializer=_share, initargs=(progress, stop)) as pool,
    ):
        try:
            running = [pool.submit(simulate, job) for job in jobs]
            while not all(future.done() for future in running):
                time.sleep(0.1)
                bar.update(progress.value - bar.n)
                if any(future.done() and future.exception() for future in running):
                    break
            results = [future.result() for future in running]
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        bar.update(total - bar.n)
    return results


def _share(progress: Any, stop: Any) -> None:
    global _progress, _stop
    _progress, _stop = progress, stop
