"""Commands in processes of their own, several at a time: nothing that one of them does reaches another."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vsr.errors import UserError
from vsr.system import supervisor as supervise
from vsr.system.progress import progress_bar

POLL = 0.1  # seconds
TAIL = 1 << 16  # bytes of a log in which an error is looked for
_END = object()


@dataclass(frozen=True, kw_only=True)
class Job:
    """A command, the file that takes both of its outputs, and what its environment has besides this process's own.

    A variable whose value is None is taken out of the environment.
    """

    name: str
    command: Sequence[str]
    log: Path
    env: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a job: `status` 0 or as a shell gives it, `error` the line that says why it failed or was stopped."""

    job: Job
    status: int
    error: str
    seconds: float
    stopped: bool = False

    @property
    def ok(self) -> bool:
        """Whether it ran to its end without an error."""
        return self.status == 0 and not self.stopped


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    since: float
    reason: str | None = None  # why it was asked to end

    def say(self, word: bytes) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError, ValueError):  # it has ended meanwhile
            self.process.stdin.write(word)
            self.process.stdin.flush()


def run_jobs(
    jobs: Iterable[Job | None],
    at_once: int = 1,
    *,
    total: int | None = None,
    label: str = "jobs",
    watch: Callable[[Job], str | None] | None = None,
    grace: float = 30.0,
    hold: Sequence[int] = (),
) -> Iterator[Outcome]:
    """Run every job and give the outcomes in the order in which they end; one that fails does not end the others.

    A job is taken from `jobs` only when there is room for it, so that a generator can decide from earlier outcomes what comes
    next; None means that it has to wait for one of them. `watch` is asked about every running job a few times a second; the text
    that it returns stops the job and is its error.
    The CPU's cores are shared out by OMP_NUM_THREADS, where that is not set. When this process is interrupted, is asked to end
    (SIGTERM) or fails, the jobs' process groups are asked to end, killed after `grace` seconds, and the interruption goes on;
    when it is killed, the jobs end too. File descriptors in `hold` stay open while a job runs: a lock is not free before its
    jobs have ended. Raises UserError for fewer than one at once and for a log that cannot be written.
    """
    if at_once < 1:
        raise UserError(f"jobs={at_once}: must be 1 or more")
    waiting, running = iter(jobs), list[_Running]()
    exhausted, drawn = False, 0.0
    threads = str(max(1, cores() // at_once))
    with _terminable(), progress_bar(total, label, "job") as bar:
        try:
            while running or not exhausted:
                while not exhausted and len(running) < at_once:
                    job = next(waiting, _END)
                    if job is None:
                        assert running, "waits for jobs, and there are none"
                        break
                    if isinstance(job, Job):
                        running.append(_start(job, threads, hold))
                    else:
                        exhausted = True
                for each in list(running):
                    status = each.process.poll()
                    if status is None:
                        if watch is not None and each.reason is None and (reason := watch(each.job)) is not None:
                            each.reason = reason
                            each.say(b"end\n")
                        continue
                    running.remove(each)
                    bar.update()
                    yield _outcome(each, status)
                if running:
                    time.sleep(POLL)
                if sys.stderr.isatty() and time.monotonic() - drawn > 1:
                    bar.refresh()  # jobs take minutes: the clock on the bar goes on
                    drawn = time.monotonic()
        finally:
            _end(running, grace)


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def last_error(log: Path, status: int) -> str:
    """The line of a log that says what went wrong: the last one that starts with "error: ", else the last one."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        text = file.read().decode("utf-8", "replace")
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    for line in reversed(lines):
        if line.startswith("error: "):
            return line.removeprefix("error: ")
    by = f"ended by {signal.Signals(status - 128).name}" if status - 128 in set(signal.Signals) else f"exit status {status}"
    return f"{lines[-1]} ({by})" if lines else by


def _start(job: Job, threads: str, hold: Sequence[int]) -> _Running:
    env = {"OMP_NUM_THREADS": threads, **os.environ, **job.env}
    try:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        output = job.log.open("wb")
    except OSError as error:
        raise UserError(f"{job.log}: cannot be written ({error.strerror})") from error
    with output:
        # A group of its own: Ctrl-C in a terminal reaches this process only, which then asks the jobs to end. -I and -S: it
        # needs nothing of the environment, and starts in a hundredth of a second.
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", supervise.__file__, *job.command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={key: value for key, value in env.items() if value is not None},
            process_group=0,
            pass_fds=hold,
        )
    return _Running(job, process, time.monotonic())


def _outcome(each: _Running, status: int) -> Outcome:
    assert each.process.stdin is not None
    with suppress(BrokenPipeError):  # a word that was not read any more
        each.process.stdin.close()
    status = status if status >= 0 else 128 - status
    # A job that ran to its end just before it was asked to stop is whole.
    stopped = each.reason is not None and status != 0
    error = str(each.reason) if stopped else "" if status == 0 else last_error(each.job.log, status)
    return Outcome(job=each.job, status=status, error=error, seconds=time.monotonic() - each.since, stopped=stopped)


def _end(running: list[_Running], grace: float) -> None:
    """Ask what still runs to end, and insist after a while or at a second Ctrl-C."""
    for each in running:
        each.say(b"end\n")
    deadline = time.monotonic() + grace
    try:
        while any(each.process.poll() is None for each in running) and time.monotonic() < deadline:
            time.sleep(POLL)
    finally:
        for each in running:
            if each.process.poll() is None:
                each.say(b"kill\n")
                each.process.wait()


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, which would end this process at once, becomes SystemExit(143) inside the block."""

    def leave(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    handled = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if handled:
        signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        if handled:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
