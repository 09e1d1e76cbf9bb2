"""Signals (SIGTERM, SIGINT, SIGUSR1) that stop a run where it can be continued."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Stopped(BaseException):
    """A signal ended the run in good order. Not an Exception, as no handler of failures may catch it.

    Attributes:
        signum: the signal's number.
        message: a line for the user, with the command that continues the run.
    """

    def __init__(self, signum: int, message: str = "") -> None:
        super().__init__(message)
        self.signum, self.message = signum, message

    @property
    def status(self) -> int:
        """The exit status that shells and schedulers expect: 143, 130 or 138."""
        return 128 + self.signum


class Signals:
    """A context manager in which signals raise Stopped: at once, or, inside `deferred`, at the next `check`.

    SIGTERM and SIGINT stop the run; a second SIGINT ends the process at once. SIGUSR1 asks for a checkpoint. In a Slurm job
    SIGUSR1, before a time limit, also stops the run; `requeue_slurm_job` then puts it back into the queue. Outside the main
    thread signals keep their handlers.

    Attributes:
        received: the signal that stops the run, None before it.
        since: time.monotonic() of that signal.
        save_now: whether a checkpoint is asked for.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.since = 0.0
        self.save_now = False
        self._deferred = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        self.listen()
        return self

    def listen(self) -> None:
        """Install the handlers, again if other code has replaced them."""
        if threading.current_thread() is threading.main_thread():
            # An ignored signal, such as Ctrl-C for the background jobs of a shell script, stays ignored.
            handled = [signum for signum in HANDLED if signal.getsignal(signum) is not signal.SIG_IGN]
            before = {signum: signal.signal(signum, self._handle) for signum in handled}
            self._before = before | self._before

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler if handler is not None else signal.SIG_DFL)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Note signals inside the block, and raise Stopped for them at its end, unless the block raises."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self.check()

    def check(self) -> None:
        """Raise Stopped when a signal was received."""
        if self.received is not None:
            raise Stopped(self.received)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGUSR1 and _slurm_job() is None:
            self.save_now = True
            return
        if self.received is not None:
            if signum == signal.SIGINT:
                os._exit(128 + signum)
            return
        self.received, self.since = signum, time.monotonic()
        if self._deferred:
            again = "; once more ends it at once" if signum == signal.SIGINT else ""
            # Not print: the handler may interrupt another print.
            os.write(2, f"\n{signal.Signals(signum).name}: stopping at the next step{again}\n".encode())
        else:
            self.check()


def _slurm_job() -> str | None:
    """Return the name of this Slurm batch job, as scontrol takes it; None outside a job and in an interactive one."""
    if os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return None
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")
    return job if re.fullmatch(r"[0-9]+(_[0-9]+)?", job) else None


def requeue_slurm_job() -> str:
    """Put this Slurm job back into the queue, and return a sentence about the result."""
    job = _slurm_job()
    assert job is not None
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"job {job} could not be put back into the queue ({error})"
    if done.returncode != 0:
        return f"job {job} could not be put back into the queue ({done.stderr.strip() or done.returncode})"
    return f"job {job} is in the queue again"
