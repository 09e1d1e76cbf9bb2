"""The ranks (processes) of a distributed run: joining and leaving the group, shares of the work, sums over all ranks.

Without a process group there is one rank, and every function here works without communication.
"""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Value = TypeVar("Value")


def current_rank() -> int:
    """Return the rank of this process in the distributed run, from 0; 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def rank_count() -> int:
    """Return the number of ranks (processes) of the distributed run; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def join_ranks(backend: str, **where: Any) -> None:
    """Create the process group, and make gloo's network thread give way to other threads.

    On Linux the network thread gets the scheduling policy SCHED_BATCH. With the default policy, a network thread that finds its
    lock held spins until its time slice of some 3 ms is used up. With one core per rank this delays many steps
    (benchmarks/ddp.py).

    Args:
        backend: Backend of `torch.distributed.init_process_group`, such as "gloo" or "nccl".
        where: Further arguments of `init_process_group`, by which the ranks find each other.
    """
    # Functions of this module have the group of their import as a default argument. Imported later, the module would keep the
    # group and its threads alive until the interpreter exits, where a thread that frees a tensor aborts the process.
    importlib.import_module("torch.distributed.nn.functional")
    dist.init_process_group(backend, **where)
    for thread in Path("/proc/self/task").glob("*"):
        with suppress(OSError):  # the thread has ended, or the system does not allow the change
            if (thread / "comm").read_text().strip() == "gloo_tcp_loop":
                os.sched_setscheduler(int(thread.name), os.SCHED_BATCH, os.sched_param(0))


def leave_ranks(error: BaseException | None = None) -> None:
    """Destroy the process group, which also ends its threads.

    Args:
        error: The exception that ends the run, or None. The frames of its traceback hold the group and are cleared.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    dist.destroy_process_group()


def rank_share(count: int, rank: int, world: int) -> tuple[int, int]:
    """Return (start, stop) of one rank's part of `count` items; sizes differ by at most 1, and no part exceeds rank 0's."""
    return -(-count * rank // world), -(-count * (rank + 1) // world)


def assign_sequences_to_ranks(lengths: Iterable[int], world: int) -> list[int]:
    """Assign sequences to ranks without cutting a sequence.

    All sequences, laid end to end, are divided into equal parts, one per rank. A sequence goes to the rank whose part contains
    the middle of the sequence.

    Args:
        lengths: The length of each sequence.
        world: The number of ranks.

    Returns:
        The rank of each sequence, in the order of the sequences; the ranks never decrease.
    """
    lengths = list(lengths)
    total, before, ranks = sum(lengths), 0, []
    for length in lengths:
        ranks.append(max(0, -(-world * (2 * before + length) // (2 * total)) - 1) if total else 0)
        before += length
    return ranks


def sum_over_ranks(value: Tensor) -> Tensor:
    """Return the sum of the tensors that all ranks pass, the same on each rank; the argument is not changed."""
    if rank_count() == 1:
        return value
    value = value.detach().clone()
    dist.all_reduce(value)
    return value


def wait_for_all_ranks() -> None:
    """Wait until every rank has called this function. If a rank leaves while others work, gloo may abort it or them."""
    sum_over_ranks(torch.zeros(1))


@torch.no_grad()
def average_over_ranks(parameters: Iterable[Tensor]) -> None:
    """Replace the gradient of each parameter by its mean over all ranks."""
    if rank_count() > 1:
        for parameter in parameters:
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= rank_count()


@torch.no_grad()
def copy_from_first_rank(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors, on any device, with the tensors of rank 0, bit by bit."""
    if rank_count() > 1:
        own = list(tensors)
        values = compute_on_first_rank(lambda: [mine.detach().cpu() for mine in own])
        for tensor, value in zip(own, values, strict=True):
            tensor.copy_(value)


def gather_from_ranks(value: Value) -> list[Value]:
    """Return the values that all ranks pass, in the order of the ranks, the same on each rank; they must be picklable."""
    if rank_count() == 1:
        return [value]
    values: list[Value | None] = [None] * rank_count()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def compute_on_first_rank(make: Callable[[], Value]) -> Value:
    """Call `make` on rank 0 only, and return its value on every rank; the value must be picklable."""
    if rank_count() == 1:
        return make()
    values: list[Value | None] = [make() if current_rank() == 0 else None]
    dist.broadcast_object_list(values, src=0)
    return values[0]  # type: ignore[return-value]
