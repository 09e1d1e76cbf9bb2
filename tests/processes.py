"""Start processes in tests: none outlives its test or pytest, and time limits grow with the load of the machine."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import torch.multiprocessing as mp

from vsr.system.cpu import usable_cores

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
STARTED: list[subprocess.Popen[Any]] = []  # not yet ended by `end_processes`

Found = TypeVar("Found")


def slowness() -> float:
    """Return how many times longer than on a quiet machine a process takes now, by the load of the last minute."""
    return max(1.0, os.getloadavg()[0] / usable_cores())


def deadline(seconds: float) -> float:
    """Return a time limit in seconds, from the one for a quiet machine."""
    return seconds * slowness()


def wait_until(done: Callable[[], Found], seconds: float = 60, process: subprocess.Popen[Any] | None = None) -> Found:
    """Wait until `done` returns something true, and return that.

    Args:
        done: is called some twenty times a second.
        seconds: the limit on a quiet machine; on a busy one, time counts less.
        process: must not end before.
    """
    left = seconds
    while not (found := done()):
        assert process is None or process.poll() is None, f"the process ended with status {process.returncode}"  # type: ignore[union-attr]
        assert left > 0, f"did not happen within {seconds} s of a quiet machine"
        time.sleep(0.05)
        left -= 0.05 / slowness()
    return found


def alive(pid: int) -> bool:
    """Return whether a process exists and has not ended."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(done.stdout.strip()) and not done.stdout.strip().startswith("Z")


def die_with_parent() -> None:
    """Have Linux kill this process when its parent dies, however that happens."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start_process(command: list[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a command in a process group of its own, which `end_processes` ends at the end of the test."""
    if "process_group" not in options:
        options["start_new_session"] = True
    process = subprocess.Popen(command, preexec_fn=die_with_parent, **options)
    STARTED.append(process)
    return process


def run_process(command: list[str], timeout: float | None = None, **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run a command as `subprocess.run` does; its whole process group has ended afterwards.

    Args:
        command: program and arguments.
        timeout: seconds on a quiet machine; None leaves the limit to pytest.
        options: as for `subprocess.run`.
    """
    check, given = options.pop("check", False), options.pop("input", None)
    if options.pop("capture_output", False):
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if given is not None:
        options["stdin"] = subprocess.PIPE
    process = start_process(command, **options)
    try:
        output, errors = process.communicate(given, timeout=None if timeout is None else deadline(timeout))
    finally:
        end_process(process)
    done = subprocess.CompletedProcess(command, process.returncode, output, errors)
    if check:
        done.check_returncode()
    return done


def end_process(process: subprocess.Popen[Any]) -> None:
    """Kill a started process with its group, if it still runs, and close its pipes."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    STARTED.remove(process)


def end_processes(kept: list[subprocess.Popen[Any]]) -> None:
    """End all started processes but those in `kept`."""
    for process in [each for each in STARTED if each not in kept]:
        end_process(process)


def run_ranks(work: Callable[..., None], *arguments: Any, world: int = 2) -> None:
    """Call `work(rank, *arguments)` in `world` fresh processes; an error in one of them is raised here, and none is left."""
    context = mp.spawn(work, args=arguments, nprocs=world, join=False)
    try:
        while not context.join():
            pass
    finally:
        for process in context.processes:
            process.kill()
            process.join()
