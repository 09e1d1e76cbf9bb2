"""Handling of the signals SIGTERM, SIGINT and SIGUSR1, which stop a run at a step from which it can be continued."""

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
    """Orderly end of a run after a signal. It is a BaseException, so that `except Exception` does not catch it.

    Attributes:
        signum: The signal's number.
        message: A line for the user, with the command that continues the run.
    """

    def __init__(self, signum: int, message: str = "") -> None:
        super().__init__(message)
        self.signum, self.message = signum, message

    @property
    def status(self) -> int:
        """Return the exit status that shells and schedulers expect: 128 + the signal's number."""
        return 128 + self.signum


class Signals:
    """Context manager in which signals raise Stopped: at once, or, inside `deferred`, at the next `check`.

    SIGTERM and SIGINT stop the run; a second SIGINT ends the process at once. SIGUSR1 asks for a checkpoint. In a Slurm job
    SIGUSR1 announces the time limit and also stops the run; `requeue_after_signal` then puts the job back into the queue. Outside
    the main thread signals keep their handlers.

    Attributes:
        received: Number of the signal that stops the run; None before a signal.
        since: Value of time.monotonic() at that signal.
        save_now: True if SIGUSR1 has asked for a checkpoint.
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
        """Install the signal handlers; call this method again if other code has replaced them."""
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
        """Record signals during the `with` block; if one came, raise Stopped at the block's end, unless the block raises."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self.check()

    def check(self) -> None:
        """Raise Stopped if a signal was received."""
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
    """Return the ID of this Slurm batch job as scontrol takes it; None outside a job and in an interactive job."""
    if os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return None
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")
    return job if re.fullmatch(r"[0-9]+(_[0-9]+)?", job) else None


def requeue_after_signal() -> str:
    """Put this Slurm job back into the queue, and return a sentence for the user about the result."""
    job = _slurm_job()
    assert job is not None
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"job {job} could not be put back into the queue ({error})"
    if done.returncode != 0:
        return f"job {job} could not be put back into the queue ({done.stderr.strip() or done.returncode})"
    return f"job {job} is in the queue again"
