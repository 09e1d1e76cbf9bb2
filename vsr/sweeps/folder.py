"""Folder of a sweep, with its jobs, their outcomes and a lock."""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vsr.config.old_targets import with_current_targets
from vsr.config.resolved import matches_resolved_config
from vsr.errors import UserError
from vsr.system.files import replacing_file
from vsr.system.supervisor import GRACE

RECORD = "sweep.json"
PATIENCE = GRACE + 10  # seconds for the jobs of a sweep that was killed to end


@dataclass
class SweepRun:
    """One run of a sweep, with its swept values and its outcome.

    Attributes:
        number: Number of the run, which names its folder.
        values: Swept values, each as KEY=VALUE.
        config: Composed config, as plain values.
        state: "waiting", "ok", "failed" or "stopped".
        error: Reason why the run failed or was stopped.
        seconds: Wall time in seconds.
    """

    number: int
    values: list[str]
    config: dict[str, Any]
    state: str = "waiting"
    error: str = ""
    seconds: float = 0.0


class SweepFolder:
    """Folder of a sweep; its file `sweep.json` is the record of all runs, which `save` writes.

    Raises UserError if the record cannot be read, or if the path holds something that is not a sweep.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: list[SweepRun] = []
        self.about: dict[str, Any] = {}
        if (path / RECORD).exists():
            try:
                content = with_current_targets(json.loads((path / RECORD).read_text(encoding="utf-8")))
                self.about, self.runs = content["about"], [SweepRun(**run) for run in content["jobs"]]
            except (OSError, ValueError, TypeError, KeyError) as error:
                raise UserError(f"{path / RECORD}: cannot be read ({error}); type hydra.sweep.dir=FOLDER") from error
        elif path.exists() and (not path.is_dir() or any(entry.name != ".lock" for entry in path.iterdir())):
            raise UserError(f"{path}: holds something that is not a sweep; type hydra.sweep.dir=FOLDER to write elsewhere")

    def save(self) -> None:
        """Write the record of the sweep to `sweep.json`."""
        content = {"about": self.about, "jobs": [asdict(run) for run in self.runs]}
        try:
            with replacing_file(self.path / RECORD) as temporary:
                temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror}); type hydra.sweep.dir=FOLDER") from error

    def find_or_add(self, values: list[str], config: dict[str, Any], number: int | None = None) -> SweepRun:
        """Return the earlier run with a config (and `number`, if given), or add a run with the given or the next number."""
        for run in self.runs:
            if run.config == config and number in (None, run.number):
                return run
        taken = {run.number for run in self.runs}
        found = SweepRun(number if number is not None else max(taken, default=-1) + 1, values, config)
        self.runs.append(found)
        return found

    def run_folder(self, run: SweepRun) -> Path:
        """Return the folder of a run."""
        return self.path / str(run.number)

    def log(self, run: SweepRun) -> Path:
        """Return the log file of a run; it lies beside the run folders, because a refused run has no folder."""
        return self.path / "logs" / f"{run.number}.log"

    def results(self, run: SweepRun) -> dict[str, Any] | None:
        """Read the results.json of a run; return None for an unfinished run or for results of another config."""
        try:
            found = with_current_targets(json.loads((self.run_folder(run) / "results.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and matches_resolved_config(found, run.config) else None

    def finished(self, run: SweepRun) -> bool:
        """Return True if a run is finished: it succeeded, or its results exist although its sweep was killed."""
        if run.state != "ok" and "config" in (self.results(run) or {}):
            run.state, run.error = "ok", ""
        return run.state == "ok"

    def clear(self, run: SweepRun) -> None:
        """Remove the files of an unfinished run so that the run can start again."""
        folder = self.run_folder(run)
        if folder.is_dir() and run in self.runs:
            shutil.rmtree(folder)

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Lock the folder during the `with` block and yield the lock's file descriptor, which running jobs keep open too.

        After a sweep was killed, its jobs need some seconds to end; this method waits for them. Raises UserError when another
        sweep works in the folder or when the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / ".lock").open("w")
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror}); type hydra.sweep.dir=FOLDER") from error
        with file:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise UserError(
                            f"{self.path}: another sweep is at work here; wait for its end, or type hydra.sweep.dir=FOLDER"
                        ) from None
                    time.sleep(0.2)
            try:
                yield file.fileno()
            finally:
                # What was refused before it began leaves nothing behind.
                if [entry.name for entry in self.path.iterdir()] == [".lock"]:
                    shutil.rmtree(self.path)
