"""Run one trajectory of a shallow-water family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vsr.data.simulation.families import FAMILIES


@dataclass(frozen=True)
class Trajectory:
    """Fields of one run: h, u, v (T, H, W) and bed (H, W), float32, in the solver's units, every `sampling`-th cell."""

    h: np.ndarray
    u: np.ndarray
    v: np.ndarray
    bed: np.ndarray


@dataclass(frozen=True)
class Job:
    """Description of a run that can be sent to another process.

    Attributes:
        family: name in FAMILIES.
        seed: words of the seed.
        cells: grid cells per side.
        sampling: every sampling-th cell is kept.
        frames: number of frames.
    """

    family: str
    seed: tuple[int, ...]
    cells: int
    sampling: int
    frames: int


def simulate(job: Job, *, tick: Callable[[], None] | None = None) -> Trajectory:
    """Run one trajectory; the same job gives the same bits.

    Args:
        job: the run.
        tick: called after each frame.

    Raises:
        FloatingPointError: the flow blows up.
    """
    family = FAMILIES[job.family]
    flow = family.start(np.random.default_rng(job.seed), job.cells)
    pick = slice(job.sampling // 2, None, job.sampling)
    frames = []
    for k in range(job.frames):
        flow.run(family.spin_up + k * family.interval, family.courant)
        frames.append(np.stack([flow.h, *flow.velocity])[:, pick, pick].astype(np.float32))
        if tick is not None:
            tick()
    h, u, v = np.stack(frames, axis=1)
    return Trajectory(h, u, v, flow.bed[pick, pick].astype(np.float32))
