"""What torchrun (or whoever starts processes as it does) says of this process; read before torch is imported."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Started:
    """One of several processes that were started from outside.

    Attributes:
        rank, world: its number among all processes, and how many there are. local: how many on its node. nodes: of them.
    """

    rank: int
    world: int
    local: int
    nodes: int


def started() -> Started | None:
    """By torchrun, or None."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    rank, world, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    return Started(rank, world, local, world // local)


def slurm_tasks() -> int:
    """How many tasks the srun that started this process started; 1 where there was none."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
