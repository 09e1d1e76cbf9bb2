"""The processes of a distributed run: they are started, find each other, and go together.

Under torchrun they are there already. Else this one is the first, and starts the others itself as fresh processes with the same
config: nothing is typed anew, so that a sweep may do so once per job, and nobody composes another run.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from omegaconf import DictConfig, OmegaConf

from vsr.errors import UserError
from vsr.system.jobs import cores
from vsr.system.ranks import from_first, meet, wait_for_all
from vsr.system.signals import Stopped
from vsr.system.torchrun import started
from vsr.training.hardware import Placement, check_hardware

HOST = "127.0.0.1"
# A process may score one long movie, or read a slow disk, while the others wait. One that dies is noticed at once all the same.
PATIENCE = timedelta(hours=12)
LEAVE = 30.0  # seconds that the other processes have to end after the first
LOST = ("closed by peer", "reset by peer", "Broken pipe", "refused by peer", "NCCL")  # what torch says of a process that went
ALIKE = 3.0  # seconds after which a mistake that the first process has not told is this one's own


@contextmanager
def joined(cfg: DictConfig, folder: Path) -> Iterator[Path]:
    """Check the hardware, and for the block let all processes of the run work together; gives the first one's folder.

    Raises UserError for what the hardware lacks, and when another process was lost.
    """
    placed = check_hardware(cfg)
    outside = started()
    if placed.world == 1:
        yield folder
        return
    others: list[BaseProcess] = []
    threads = torch.get_num_threads()
    if outside is not None:
        _go_with(os.getppid())
        if outside.rank > 0:
            _quiet()
        meet(_backend(placed), timeout=PATIENCE)
    else:
        others = _start(cfg, folder, placed)
    try:
        yield Path(from_first(lambda: str(folder)))
        wait_for_all()
    except RuntimeError as error:
        if any(sign in str(error) for sign in LOST):
            raise UserError(f"process {dist.get_rank()} lost another one of this run, whose own error stands above") from error
        raise
    finally:
        failed = sys.exc_info()[0] is not None
        if others:
            _end(others, failed)
            torch.set_num_threads(threads)
        # With others gone, NCCL would wait for them.
        if dist.is_initialized() and not (failed and placed.accelerator == "cuda"):
            dist.destroy_process_group()


def _start(cfg: DictConfig, folder: Path, placed: Placement) -> list[BaseProcess]:
    """Start the others of this machine and meet them; this process becomes the first."""
    # Its port is chosen by the system and taken from then on.
    store = dist.TCPStore(HOST, 0, placed.world, is_master=True, wait_for_workers=False, timeout=PATIENCE)
    config = OmegaConf.to_container(cfg, resolve=True)
    context = get_context("spawn")  # a forked process could not use a GPU, nor threads
    backend = _backend(placed)
    shared = (config, str(folder), store.port, placed.world, backend, os.getpid())
    others: list[BaseProcess] = [
        context.Process(target=_other, args=(number, *shared), name=f"rank {number}") for number in range(1, placed.world)
    ]
    for process in others:
        process.start()
    os.environ["LOCAL_RANK"] = "0"  # so that Lightning starts no others
    _set_threads(placed.world)
    meet(backend, store=store, rank=0, world_size=placed.world, timeout=PATIENCE)
    return others


def _backend(placed: Placement) -> str:
    """Plain values always go through gloo."""
    return "cpu:gloo,cuda:nccl" if placed.accelerator == "cuda" else "gloo"


def _end(others: list[BaseProcess], failed: bool) -> None:
    """Let the others finish, or stop them; none is left behind."""
    deadline = time.monotonic() + (0.0 if failed else LEAVE)
    for process in others:
        process.join(max(0.0, deadline - time.monotonic()))
    for process in others:
        if process.is_alive():
            process.kill()
            process.join()
    os.environ.pop("LOCAL_RANK", None)


def _other(number: int, config: dict[str, Any], folder: str, port: int, world: int, backend: str, parent: int) -> None:
    """What process `number` does."""
    _go_with(parent)
    _quiet()
    os.environ["LOCAL_RANK"] = str(number)
    _set_threads(world)
    store = dist.TCPStore(HOST, port, world, is_master=False, timeout=PATIENCE)
    meet(backend, store=store, rank=number, world_size=world, timeout=PATIENCE)
    from vsr.training.run import run

    try:
        run(OmegaConf.create(config), Path(from_first(lambda: folder)))
        wait_for_all()
    except UserError as error:
        time.sleep(ALIKE)
        print(f"error: {error} (process {number})", file=sys.stderr, flush=True)
        os._exit(1)
    except Stopped as stopped:
        os._exit(stopped.status)
    except KeyboardInterrupt:
        os._exit(130)
    dist.destroy_process_group()


def _set_threads(world: int) -> None:
    """A share of the cores for each, unless the user has decided."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, cores() // world))


def _quiet() -> None:
    """What the first process says is said for all."""
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")


def _go_with(parent: int) -> None:
    """End this process as soon as its parent is gone, however that ended: it would wait for the others forever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()
