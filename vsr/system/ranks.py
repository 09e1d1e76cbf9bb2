"""The processes of a distributed run, as all layers see them: who this one is, what its share is, sums over all.

Without a process group there is one process, and everything here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Told = TypeVar("Told")


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def meet(backend: str, **where: Any) -> None:
    """Make the process group, by `torch.distributed.init_process_group`.

    On Linux, gloo's thread that waits for the network then no longer takes the core from others of this process (the policy
    SCHED_BATCH). When it woke while another one held the lock that it needs, it asked for it in a loop until its time slice of
    some 3 ms was used up: with one core for each process, that was added to many steps (benchmarks/ddp.py).
    """
    dist.init_process_group(backend, **where)
    for thread in Path("/proc/self/task").glob("*"):
        with suppress(OSError):  # it has ended, or this system does not allow it
            if (thread / "comm").read_text().strip() == "gloo_tcp_loop":
                os.sched_setscheduler(int(thread.name), os.SCHED_BATCH, os.sched_param(0))


def share(count: int, rank: int, world: int) -> tuple[int, int]:
    """(start, stop) of this process's run of `count` things: all runs are equal but for one thing, the first is never empty."""
    return -(-count * rank // world), -(-count * (rank + 1) // world)


def whole_shares(lengths: Iterable[int], world: int) -> list[int]:
    """For each thing in a row of them, which process has it: none is cut, order is kept, and each goes where its middle falls."""
    lengths = list(lengths)
    total, before, found = sum(lengths), 0, []
    for length in lengths:
        found.append(max(0, -(-world * (2 * before + length) // (2 * total)) - 1) if total else 0)
        before += length
    return found


def total(value: Tensor) -> Tensor:
    """The sum over all processes, on each of them."""
    if world() == 1:
        return value
    value = value.detach().clone()
    dist.all_reduce(value)
    return value


def wait_for_all() -> None:
    """Return when all processes are here: one that leaves while others still work may be aborted by gloo, or abort them."""
    total(torch.zeros(1))


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace gradients by their means over all processes."""
    if world() > 1:
        for parameter in parameters:
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= world()


@torch.no_grad()
def copy_first(tensors: Iterable[Tensor]) -> None:
    """Give every process the values that the first one has, bit by bit; they may be on any device."""
    if world() > 1:
        own = list(tensors)
        values = from_first(lambda: [mine.detach().cpu() for mine in own])
        for tensor, value in zip(own, values, strict=True):
            tensor.copy_(value)


def from_first(make: Callable[[], Told]) -> Told:
    """What `make` gives in the first process, in all of them; the others do not call it."""
    if world() == 1:
        return make()
    told: list[Told | None] = [make() if rank() == 0 else None]
    dist.broadcast_object_list(told, src=0)
    return told[0]  # type: ignore[return-value]
