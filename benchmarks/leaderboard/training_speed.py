"""Measured training speeds, which turn a budget into epochs and steps.

Speeds are measured one network at a time on one core: with several threads, a small network becomes many times slower as soon as
another process runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.common.runs import ROOT, Run, plan_runs
from benchmarks.leaderboard.experiments import DATA, Cell, Selection
from vsr.config.duration import parse_duration
from vsr.errors import UserError
from vsr.system.files import write_json_file
from vsr.system.jobs import Job, run_jobs
from vsr.training.budget.plan import BudgetPlan, StepRate, plan_budget

FILE = "rates.json"
ONE_CORE = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


class TrainingSpeeds:
    """Seconds per step and per epoch of every network on every kind of data, kept in a file.

    Args:
        choice: all cells of the leaderboard.
        out: folder of rates.json.
        given: a plan for all runs instead of budgets.
        again: ignore a file that cannot be read.
        earlier: speeds of an earlier leaderboard.json; those in the file of `out` go before them.

    Raises:
        UserError: the file cannot be read and `again` is False.
    """

    def __init__(
        self,
        choice: Selection,
        out: Path,
        given: BudgetPlan | None = None,
        again: bool = False,
        earlier: Mapping[str, Any] | None = None,
    ) -> None:
        self.choice, self.out, self.given = choice, out, given
        self.path = out / FILE
        self.known: dict[str, dict[str, Any]] = {}
        self.refused: dict[Cell, str] = {}
        self._places: dict[str, tuple[Run, str]] = {}
        if given is None:
            self._places = dict(self._keys())
            try:
                here = json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}
                found = {**(earlier or {}), **here}
                self.known = {key: {**value, "rate": StepRate(value["step"], value["epoch"])} for key, value in found.items()}
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                if not again:
                    raise UserError(f"{self.path}: cannot be read ({error}); type rates=again to measure anew") from error

    def _keys(self) -> Iterator[tuple[str, tuple[Run, str]]]:
        """Yield, for each speed, the run that is measured and the digest of its config."""
        cells = {self._key(cell): cell for cell in reversed(list(self.choice.cells()))}
        runs = {key: Run(key, self.choice.overrides(cell.data, cell.model)) for key, cell in cells.items()}
        for (key, _), placed in plan_runs(list(runs.values()), 1, self.out / "rates").items():
            yield key, (runs[key], placed.folder.name)

    def _key(self, cell: Cell) -> str:
        return f"{DATA[cell.data].rate}-{cell.model}"

    def plan(self, cell: Cell) -> BudgetPlan | None:
        """Return epochs and steps of a cell; None without a measured speed or if the budget is too short (then see `refused`)."""
        if self.given is not None:
            return self.given
        key = self._key(cell)
        if not self._known(key):
            return None
        try:
            return plan_budget(self.known[key]["rate"], parse_duration(cell.budget))
        except UserError as error:
            self.refused[cell] = str(error)
            return None

    def digest(self, key: str) -> str:
        """Return the digest of the config that a speed belongs to."""
        return self._places[key][1]

    def _known(self, key: str) -> bool:
        return self.known.get(key, {}).get("of") == self.digest(key)

    def measured(self) -> dict[str, dict[str, Any]]:
        """Return the measured seconds per step and per epoch and the digest of their config, by data and network."""
        return {key: self._without_rate(key) for key in self._places if self._known(key)}

    def _without_rate(self, key: str) -> dict[str, Any]:
        return {name: value for name, value in self.known[key].items() if name != "rate"}

    def measure(self, again: bool, report_progress: Callable[[str], None]) -> None:
        """Measure the missing speeds of the chosen runs, or all of them again; save each one at once.

        Raises UserError at the end that names failed measurements.
        """
        if self.given is not None:
            return
        needed = {self._key(cell): None for cell in self.choice.cells() if self.choice.chosen(cell)}
        missing = [key for key in needed if again or not self._known(key)]
        if not missing:
            return
        report_progress(f"{len(missing)} of {len(needed)} training speeds are missing; measuring one at a time, on one core")
        failed = []
        for outcome in run_jobs([self._job(key) for key in missing], 1, total=len(missing), label="speeds"):
            key = outcome.job.name
            if not outcome.ok:
                failed.append(f"{key}: {outcome.error} (log: {outcome.job.log})")
                continue
            rate = read_rate(outcome.job.log)
            self.known[key] = {"of": self.digest(key), "step": rate.step, "epoch": rate.epoch, "rate": rate}
            self.out.mkdir(parents=True, exist_ok=True)
            write_json_file(self.path, {name: self._without_rate(name) for name in self.known})
        if failed:
            raise UserError("; ".join(failed))

    def _job(self, key: str) -> Job:
        run, digest = self._places[key]
        command = [sys.executable, "-m", "vsr", "budget", *run.overrides]
        return Job(name=key, command=command, log=self.out / "rates" / f"{key}-{digest}.log", env=ONE_CORE)


def read_rate(log: Path) -> StepRate:
    """Read the last rate that a log contains. Raises UserError for a log without a rate."""
    for line in reversed(log.read_text(encoding="utf-8", errors="replace").splitlines()):
        try:
            found = json.loads(line)
            return StepRate(float(found["step"]), float(found["epoch"]))
        except (ValueError, KeyError, TypeError):
            continue
    raise UserError(f"{log}: contains no rate; type rates=again to measure anew")
