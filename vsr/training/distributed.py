"""Start and end of the ranks (processes) of a distributed run.

Under torchrun the ranks exist already. Otherwise this process is the first rank and starts the others as fresh processes. These
receive the composed config instead of the command line, so that a sweep can start ranks for each of its jobs.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from omegaconf import DictConfig, OmegaConf

from vsr.config.plugins import open_plugins, opened_plugins
from vsr.errors import UserError
from vsr.system.cpu import usable_cores
from vsr.system.ranks import compute_on_first_rank, current_rank, join_ranks, leave_ranks, wait_for_all_ranks
from vsr.system.signals import Stopped
from vsr.system.torchrun import torchrun_rank
from vsr.training.hardware import Placement, check_hardware

HOST = "127.0.0.1"
# A rank may score one long movie, or read a slow disk, while the others wait. The death of a rank is noticed at once.
GROUP_TIMEOUT = timedelta(hours=12)
EXIT_SECONDS = 30.0  # for the other ranks to end after the first
PEER_LOST = ("closed by peer", "reset by peer", "Broken pipe", "refused by peer", "NCCL")  # torch's errors after a peer died
REPORT_DELAY = 3.0  # seconds; an error that all ranks meet is reported by the first one, which then ends the others

Work = Callable[[DictConfig, Path], Any]


@contextmanager
def distributed_ranks(cfg: DictConfig, folder: Path, work: Work, placed: Placement | None = None) -> Iterator[Path]:
    """Check the hardware, start the ranks of a run or join those of torchrun, and end or leave them after the `with` block.

    Args:
        cfg: The run's config.
        folder: This process's folder.
        work: The function that the started ranks call as `work(cfg, folder)`; it must be defined at the top level of a module,
            because it is pickled.
        placed: The hardware, if the config is not that of a training; None to find it in the config.

    Yields:
        The first rank's folder.

    Raises:
        UserError: If the hardware lacks what the config asks for, or another rank was lost.
    """
    placed = placed or check_hardware(cfg)
    outside = torchrun_rank()
    if placed.world == 1:
        yield folder
        return
    others: list[BaseProcess] = []
    threads = torch.get_num_threads()
    try:
        if outside is None:
            _start_others(cfg, folder, work, placed, others)
        else:
            _exit_with_parent(os.getppid())
            if outside.rank > 0:
                _silence()
            join_ranks(_backend(placed), timeout=GROUP_TIMEOUT)
        yield Path(compute_on_first_rank(lambda: str(folder)))
        wait_for_all_ranks()
    except RuntimeError as error:
        if any(sign in str(error) for sign in PEER_LOST):
            raise UserError(f"process {current_rank()} lost another one of this run, whose own error stands above") from error
        raise
    finally:
        raised = sys.exc_info()[1]
        if outside is None:
            _end_others(others, failed=raised is not None)
            torch.set_num_threads(threads)
        # NCCL would wait for ranks that are gone.
        if dist.is_initialized() and not (raised is not None and placed.accelerator == "cuda"):
            leave_ranks(raised)


def _start_others(cfg: DictConfig, folder: Path, work: Work, placed: Placement, others: list[BaseProcess]) -> None:
    """Start the other ranks on this machine, append them to `others`, and join the process group as the first rank."""
    # The system chooses a free port, which is taken from then on.
    store = dist.TCPStore(HOST, 0, placed.world, is_master=True, wait_for_workers=False, timeout=GROUP_TIMEOUT)
    config = OmegaConf.to_container(cfg, resolve=True)
    context = get_context("spawn")  # a forked process could use neither a GPU nor threads
    shared = (config, str(folder), work, store.port, placed.world, _backend(placed), os.getpid(), opened_plugins())
    for number in range(1, placed.world):
        process = context.Process(target=_rank_main, args=(number, *shared), name=f"rank {number}")
        process.start()
        others.append(process)
    os.environ["LOCAL_RANK"] = "0"  # keeps Lightning from starting ranks
    _set_threads(placed.world)
    join_ranks(_backend(placed), store=store, rank=0, world_size=placed.world, timeout=GROUP_TIMEOUT)


def _backend(placed: Placement) -> str:
    """Return torch's name of the communication backend; values on the CPU always go through gloo."""
    return "cpu:gloo,cuda:nccl" if placed.accelerator == "cuda" else "gloo"


def _end_others(others: list[BaseProcess], failed: bool) -> None:
    """Wait until the other ranks have ended, then kill those that still run; after a failure kill them without waiting."""
    deadline = time.monotonic() + (0.0 if failed else EXIT_SECONDS)
    for process in others:
        process.join(max(0.0, deadline - time.monotonic()))
    for process in others:
        if process.is_alive():
            process.kill()
            process.join()
    os.environ.pop("LOCAL_RANK", None)


def _rank_main(
    number: int,
    config: dict[str, Any],
    folder: str,
    work: Work,
    port: int,
    world: int,
    backend: str,
    parent: int,
    plugins: list[str],
) -> None:
    """Run `work` as rank `number` and exit without exit handlers, because gloo's threads may still be active after an error."""
    _exit_with_parent(parent)
    _silence()
    os.environ["LOCAL_RANK"] = str(number)
    status = 1
    try:
        open_plugins(plugins)
        _set_threads(world)
        store = dist.TCPStore(HOST, port, world, is_master=False, timeout=GROUP_TIMEOUT)
        join_ranks(backend, store=store, rank=number, world_size=world, timeout=GROUP_TIMEOUT)
        work(OmegaConf.create(config), Path(compute_on_first_rank(lambda: folder)))
        wait_for_all_ranks()
        leave_ranks()
        status = 0
    except UserError as error:
        time.sleep(REPORT_DELAY)
        print(f"error: {error} (process {number})", file=sys.stderr)
    except Stopped as stopped:
        status = stopped.status
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _set_threads(world: int) -> None:
    """Limit torch to this rank's share of the cores, unless the user has set OMP_NUM_THREADS."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, usable_cores() // world))


def _silence() -> None:
    """Switch off log messages and warnings of this rank; the first rank shows them."""
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")


def _exit_with_parent(parent: int) -> None:
    """Exit when the parent dies; otherwise this rank would hang in a collective."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()
