"""What SIGTERM, SIGINT and SIGUSR1 do to a run: it stops where it can be continued."""

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
    """A signal ended the run in good order. Not an Exception: nothing on the way up may take it for a failure.

    Attributes:
        signum: which signal. message: for the user, with the command that continues the run.
    """

    def __init__(self, signum: int, message: str = "") -> None:
        super().__init__(message)
        self.signum, self.message = signum, message

    @property
    def status(self) -> int:
        """The exit status by which shells and schedulers know it: 143, 130, 138."""
        return 128 + self.signum


class Signals:
    """While it is entered, signals stop the run: at once, or, inside `deferred`, when `check` is called next.

    SIGTERM and SIGINT stop it; a second SIGINT ends the process there and then. SIGUSR1 asks for a checkpoint; in a Slurm job it
    also stops the run, as the time is over, and `requeue` puts the job back into the queue. Outside the main thread signals
    cannot be handled and stay as they are.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.since = 0.0  # time.monotonic() of the signal
        self.save_now = False  # a checkpoint is asked for
        self._deferred = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        self.listen()
        return self

    def listen(self) -> None:
        """Handle the signals from now on, whoever has handled them since."""
        if threading.current_thread() is threading.main_thread():
            # What is ignored from the start, as Ctrl-C is by jobs in the background of a shell script, stays ignored.
            heard = [signum for signum in HANDLED if signal.getsignal(signum) is not signal.SIG_IGN]
            before = {signum: signal.signal(signum, self._handle) for signum in heard}
            self._before = before | self._before

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler if handler is not None else signal.SIG_DFL)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, a signal is only noted; on leaving without an error, it takes effect."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self.check()

    def check(self) -> None:
        """Raise Stopped when a signal came."""
        if self.received is not None:
            raise Stopped(self.received)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGUSR1 and slurm_job() is None:
            self.save_now = True
            return
        if self.received is not None:
            if signum == signal.SIGINT:
                os._exit(128 + signum)
            return
        self.received, self.since = signum, time.monotonic()
        if self._deferred:
            again = "; once more ends it at once" if signum == signal.SIGINT else ""
            # Not print: a handler may run inside one.
            os.write(2, f"\n{signal.Signals(signum).name}: stopping at the next step{again}\n".encode())
        else:
            self.check()


def slurm_job() -> str | None:
    """The Slurm batch job that this is, as scontrol names it; None outside one and in an interactive one."""
    if os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return None
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")
    return job if re.fullmatch(r"[0-9]+(_[0-9]+)?", job) else None


def requeue() -> str:
    """Put this Slurm job back into the queue; what came of it, in words."""
    job = slurm_job()
    assert job is not None
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"job {job} could not be put back into the queue ({error})"
    if done.returncode != 0:
        return f"job {job} could not be put back into the queue ({done.stderr.strip() or done.returncode})"
    return f"job {job} is in the queue again"
