"""Plays files as commands do, one after the other in a forked process that is replaced when it crashes, hangs or has grown old.

    python -m tests.robustness.fuzz.runner

imports what the commands import and then answers a line of JSON for each on its standard input.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.fakes import ROOT
from tests.processes import deadline, die_with_parent, end_process, start_process

LIMIT = 40.0  # seconds after which an example hangs
ANSWER = 15.0  # seconds that a parser has, with its imports: damaged references keep HDF5 going round for ever
ROOM = 2 << 30  # bytes of address space that one may take beyond what the imports have
OLD = 100  # examples that one process plays


@dataclass(frozen=True)
class Played:
    """An example that was played. status: negative for a signal, None when it hung."""

    status: int | None
    stdout: str
    stderr: str
    seconds: float
    peak_mib: float

    @property
    def fine(self) -> bool:
        """Whether it ended as it may: read, or refused in one line that is safe to print."""
        return self.status == 0 or self.refused

    @property
    def refused(self) -> bool:
        line = self.stderr.removesuffix("\n")
        return self.status == 1 and line.startswith("error: ") and line.isprintable()


class Player:
    """The process that answers."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
        environment.pop("HYDRA_FULL_ERROR", None)
        command = [sys.executable, "-m", "tests.robustness.fuzz.runner"]
        self.process = start_process(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def play(self, folder: Path, job: str, *arguments: str) -> Played:
        """A job of `tests.robustness.fuzz.jobs` in a folder. An unexpected end is played again in a fresh process."""
        found = self._ask(folder, job, arguments, fresh=False)
        return found if found.fine else self._ask(folder, job, arguments, fresh=True)

    def _ask(self, folder: Path, job: str, arguments: tuple[str, ...], *, fresh: bool) -> Played:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {"cwd": str(folder), "job": job, "arguments": arguments, "fresh": fresh}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return Played(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        """End it."""
        end_process(self.process)


class Worker:
    """A forked process that plays examples, with a limit on its memory."""

    def __init__(self) -> None:
        self.played = 0
        self.texts = os.memfd_create("stdout"), os.memfd_create("stderr")
        asks, self.ask = os.pipe()
        self.answer, answers = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.ask)
            os.close(self.answer)
            _serve(os.fdopen(asks), os.fdopen(answers, "w"), self.texts)
        os.close(asks)
        os.close(answers)

    def play(self, line: str) -> dict[str, Any]:
        """One example."""
        began = time.monotonic()
        os.write(self.ask, line.encode())
        ready, _, _ = select.select([self.answer], [], [], deadline(LIMIT))
        found = json.loads(os.read(self.answer, 4096) or b"{}") if ready else {}
        self.played += 1
        if "status" not in found:
            found = {"status": self.end() if ready else None, "peak_mib": 0.0}
            self.end()
        return {**found, **self._texts(), "seconds": time.monotonic() - began}

    def _texts(self) -> dict[str, str]:
        found = [os.pread(file, 1 << 20, 0).decode(errors="replace") for file in self.texts]
        return {"stdout": found[0], "stderr": found[1]}

    def end(self) -> int:
        """Its exit status; it is killed when it still lives."""
        if self.pid:
            gone, status = os.waitpid(self.pid, os.WNOHANG)
            for _ in range(100):
                if gone:
                    break
                time.sleep(0.01)  # a crash closes the pipe a moment before the process is gone
                gone, status = os.waitpid(self.pid, os.WNOHANG) if self.pid else (0, 0)
            if not gone:
                os.killpg(self.pid, signal.SIGKILL)
                _, status = os.waitpid(self.pid, 0)
            self.pid, self.left = 0, os.waitstatus_to_exitcode(status)
            for file in (self.ask, self.answer):
                os.close(file)
        return self.left

    def close(self) -> None:
        """Let it go."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
        self.end()
        for file in self.texts:
            os.close(file)


def _serve(requests: IO[str], answers: IO[str], texts: tuple[int, int]) -> None:
    """What a worker does until it is killed."""
    from tests.robustness.fuzz import jobs
    from vsr.io.readers.isolated import parent as isolated

    isolated.SECONDS = deadline(ANSWER)
    os.setsid()
    die_with_parent()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(texts[0], 1)
    os.dup2(texts[1], 2)
    for file in texts:  # written from the beginning of what is left after each truncation
        os.set_inheritable(file, False)
    here = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (here + ROOM, here + ROOM))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 28, 1 << 28))
    for line in requests:
        request = json.loads(line)
        for file in texts:
            os.ftruncate(file, 0)
            os.lseek(file, 0, os.SEEK_SET)
        os.chdir(request["cwd"])
        with open("/proc/self/clear_refs", "w") as file:  # the peak begins anew
            file.write("5")
        status: Any = 0
        try:
            getattr(jobs, request["job"])(*request["arguments"])
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
            status = 70
        sys.stdout.flush()
        sys.stderr.flush()
        peak = next(
            int(text.split()[1]) for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM")
        )
        print(json.dumps({"status": status, "peak_mib": peak / 1024}), file=answers, flush=True)
    os._exit(0)


def main() -> None:
    """Import, then answer each line."""
    import tests.robustness.fuzz.jobs  # noqa: F401

    worker: Worker | None = None
    for line in sys.stdin:
        if worker is None or not worker.pid or worker.played >= OLD or json.loads(line)["fresh"]:
            if worker is not None:
                worker.close()
            worker = Worker()
        print(json.dumps(worker.play(line)), flush=True)
    if worker is not None:
        worker.close()
    sys.stdout.flush()
    os._exit(0)  # tearing down what was imported takes seconds


if __name__ == "__main__":
    main()
