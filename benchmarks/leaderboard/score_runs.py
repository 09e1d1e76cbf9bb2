"""Run evaluate.py on finished runs: on their own data and, for the presets' networks, on other families."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common.runs import ROOT, SeededRun, read_results
from vsr.errors import UserError
from vsr.system.jobs import Job, run_jobs

OWN, CONFIRMED = "own", "confirmed"


@dataclass(frozen=True)
class Test:
    """An evaluation of a checkpoint.

    Attributes:
        placed: the run.
        where: OWN for the data of the training, CONFIRMED for new trajectories of them, else the name of the family.
        overrides: overrides of evaluate.py that choose the data.
    """

    placed: SeededRun
    where: str
    overrides: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Folder of the scores, beside the checkpoints of the run."""
        return self.placed.folder / "scores" / self.where

    @property
    def done(self) -> bool:
        """True once results.json exists; it is written atomically."""
        return (self.folder / "results.json").is_file()

    def results(self) -> dict[str, Any]:
        """Read results.json. Raises UserError for a file that cannot be read."""
        return read_results(self.folder, "score")


def score(tests: Sequence[Test], at_once: int, trainer: Sequence[str], report_progress: Callable[[str], None]) -> int:
    """Run the missing evaluations in single precision and return their number.

    Args:
        tests: all evaluations.
        at_once: evaluations at a time.
        trainer: overrides of the node `trainer`.
        report_progress: receives messages.

    Raises:
        UserError: evaluations failed; raised at the end, with their names.
    """
    missing = [test for test in tests if not test.done]
    if not missing:
        return 0
    report_progress(f"{len(missing)} of {len(tests)} scores are missing; {at_once} at a time")
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
