"""Run commands in separate processes, several at a time."""

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
from vsr.system import supervisor
from vsr.system.cpu import usable_cores
from vsr.system.progress import progress_bar

POLL = 0.1  # seconds
TAIL = 1 << 16  # bytes at the end of a log, searched for an error
_NO_MORE = object()


@dataclass(frozen=True, kw_only=True)
class Job:
    """Command to run in a process of its own.

    Attributes:
        name: The job's name, for its caller.
        command: Program and arguments.
        log: The file that receives standard output and standard error.
        env: Variables added to this process's environment; the value None removes a variable.
    """

    name: str
    command: Sequence[str]
    log: Path
    env: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a job that has ended.

    Attributes:
        job: The job.
        status: Exit status of the job as in a shell: 128 + the signal's number if a signal ended the job.
        error: The line that says why the job failed or was stopped; empty after success.
        seconds: Wall time.
        stopped: True if the argument `watch` of `run_jobs` stopped the job.
    """

    job: Job
    status: int
    error: str
    seconds: float
    stopped: bool = False

    @property
    def ok(self) -> bool:
        """Return True if the job ran to its end without an error."""
        return self.status == 0 and not self.stopped


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    since: float
    reason: str | None = None  # for which `watch` stopped the job

    def send(self, word: bytes) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError, ValueError):  # the job has ended meanwhile
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
    """Run jobs and yield their outcomes in the order in which they end; a failing job does not end the others.

    Each job gets its share of the cores by OMP_NUM_THREADS, unless that variable is set. When this process is interrupted,
    terminated (SIGTERM) or fails, the jobs' process groups are terminated, and killed after `grace` seconds. When this process
    is killed, the jobs end too.

    Args:
        jobs: The jobs. Each job is taken only when it can start, so that a generator can choose it by earlier outcomes. A
            generator yields None if it must first see another outcome.
        at_once: Number of jobs that run at a time.
        total: Number of jobs, for the progress bar.
        label: Label of the progress bar; "" for no bar.
        watch: Function called with every running job a few times a second. A returned text stops the job and is its error.
        grace: Seconds between termination and kill.
        hold: File descriptors that stay open while a job runs, so that a lock lasts until all jobs have ended.

    Raises:
        UserError: `at_once` is below 1, or a log cannot be written.
    """
    if at_once < 1:
        raise UserError(f"jobs={at_once}: must be 1 or more")
    waiting, running = iter(jobs), list[_Running]()
    exhausted, redrawn = False, 0.0
    threads = str(max(1, usable_cores() // at_once))
    with _sigterm_as_exit(), progress_bar(total, label, "job") as bar:
        try:
            while running or not exhausted:
                while not exhausted and len(running) < at_once:
                    job = next(waiting, _NO_MORE)
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
                            each.send(b"end\n")
                        continue
                    running.remove(each)
                    bar.update()
                    yield _outcome(each, status)
                if running:
                    time.sleep(POLL)
                if sys.stderr.isatty() and time.monotonic() - redrawn > 1:
                    bar.refresh()  # jobs take minutes; the bar's clock advances meanwhile
                    redrawn = time.monotonic()
        finally:
            _stop(running, grace)


def _last_error(log: Path, status: int) -> str:
    """Return the text of the last log line that begins with "error: ", or else the last line with the exit status."""
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
        # Its own process group, so that Ctrl-C in a terminal reaches this process only, which then terminates the jobs. With -I
        # and -S the supervisor starts in a hundredth of a second.
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", supervisor.__file__, *job.command],
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
    with suppress(BrokenPipeError):  # the last word was not read
        each.process.stdin.close()
    status = status if status >= 0 else 128 - status
    # A job that ended well just before it was stopped is complete.
    stopped = each.reason is not None and status != 0
    error = str(each.reason) if stopped else "" if status == 0 else _last_error(each.job.log, status)
    return Outcome(job=each.job, status=status, error=error, seconds=time.monotonic() - each.since, stopped=stopped)


def _stop(running: list[_Running], grace: float) -> None:
    """Terminate the running jobs; kill them after `grace` seconds or at a second Ctrl-C."""
    for each in running:
        each.send(b"end\n")
    deadline = time.monotonic() + grace
    try:
        while any(each.process.poll() is None for each in running) and time.monotonic() < deadline:
            time.sleep(POLL)
    finally:
        for each in running:
            if each.process.poll() is None:
                each.send(b"kill\n")
                each.process.wait()


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Turn SIGTERM, which would end this process at once, into SystemExit(143) in the `with` block."""

    def exit_process(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    handled = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if handled:
        signal.signal(signal.SIGTERM, exit_process)
    try:
        yield
    finally:
        if handled:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
