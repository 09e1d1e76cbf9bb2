"""Rank of this process from the environment variables of torchrun and Slurm, without importing torch."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class TorchrunRank:
    """Position of this process among all processes that torchrun started.

    Attributes:
        rank: Index of the process among all processes, from 0.
        world: Number of processes.
        local: Number of processes on the same node.
        nodes: Number of nodes.
    """

    rank: int
    world: int
    local: int
    nodes: int


def torchrun_rank() -> TorchrunRank | None:
    """Return the rank of this process among all processes that torchrun started; None without torchrun."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    rank, world, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    return TorchrunRank(rank, world, local, world // local)


def count_slurm_tasks() -> int:
    """Return the number of tasks that srun started together with this process; 1 without srun."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
