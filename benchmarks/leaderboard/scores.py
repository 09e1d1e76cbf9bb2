"""evaluate.py on the checkpoints of finished runs: on the data of their training and, for some, on other families."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common.runs import ROOT, Placed, results_in
from vsr.errors import UserError
from vsr.system.jobs import Job, run_jobs

OWN = "own"


@dataclass(frozen=True)
class Test:
    """A checkpoint on some data: `where` is OWN or the family, `overrides` choose it."""

    placed: Placed
    where: str
    overrides: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Beside the checkpoints of the run."""
        return self.placed.folder / "scores" / self.where

    @property
    def done(self) -> bool:
        """results.json is written whole or not at all, and nothing else is read."""
        return (self.folder / "results.json").is_file()

    def results(self) -> dict[str, Any]:
        """What evaluate.py left. Raises UserError for a file that cannot be read."""
        return results_in(self.folder, "score")


def score(tests: Sequence[Test], at_once: int, trainer: Sequence[str], heard: Callable[[str], None]) -> int:
    """Make the scores that are missing, in single precision, and give their number.

    trainer: overrides of the node `trainer`. Raises UserError at the end, naming those that failed.
    """
    missing = [test for test in tests if not test.done]
    if not missing:
        return 0
    heard(f"{len(missing)} of {len(tests)} scores are missing; {at_once} at a time")
    jobs = [_job(test, trainer) for test in missing]
    outcomes = run_jobs(jobs, at_once, total=len(missing), label="scores")
    failed = [f"{found.job.name}: {found.error} (log: {found.job.log})" for found in outcomes if not found.ok]
    if failed:
        raise UserError("; ".join(failed))
    return len(missing)


def _job(test: Test, trainer: Sequence[str]) -> Job:
    checkpoint = test.placed.folder / "checkpoints" / "best.ckpt"
    typed = [f"checkpoint={checkpoint}", "report=false", *test.overrides, *trainer, f"hydra.run.dir={test.folder}"]
    command = [sys.executable, str(ROOT / "evaluate.py"), *typed]
    return Job(name=str(test.folder), command=command, log=test.folder.with_suffix(".log"))
