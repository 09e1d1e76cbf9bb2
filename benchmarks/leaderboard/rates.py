"""How long each network trains in its budget: measured once, one after the other on one core, and then fixed in steps.

On one core, as threads that wait for each other make small networks many times slower as soon as anything else runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.common.runs import ROOT, Run, place
from benchmarks.leaderboard.plan import DATA, Cell, Choice
from vsr.config.duration import seconds_of
from vsr.errors import UserError
from vsr.system.files import write_json
from vsr.system.jobs import Job, run_jobs
from vsr.training.budget.plan import Plan, Rate, plan

FILE = "rates.json"
ONE_CORE = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


class Rates:
    """Seconds per step and per epoch of every network on every kind of data, kept in a file.

    Args:
        choice: what is compared. out: folder of the file. given: a plan for all runs instead of budgets.

        again: a file that cannot be read is one that is not there.

    Raises UserError for a file that cannot be read.
    """

    def __init__(self, choice: Choice, out: Path, given: Plan | None = None, again: bool = False) -> None:
        self.choice, self.out, self.given = choice, out, given
        self.path = out / FILE
        self.known: dict[str, dict[str, Any]] = {}
        self.refused: dict[Cell, str] = {}
        self._places: dict[str, tuple[Run, str]] = {}
        if given is None:
            self._places = dict(self._keys())
            if self.path.is_file():
                try:
                    found = json.loads(self.path.read_text(encoding="utf-8"))
                    self.known = {key: {**value, "rate": Rate(value["step"], value["epoch"])} for key, value in found.items()}
                except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                    if not again:
                        raise UserError(f"{self.path}: cannot be read ({error}); type rates=again to measure anew") from error

    def _keys(self) -> Iterator[tuple[str, tuple[Run, str]]]:
        """Of each kind: the run that stands for it, and the digest of its config, without which a rate is of another run."""
        cells = {self._key(cell): cell for cell in reversed(list(self.choice.cells()))}
        runs = {key: Run(key, self.choice.overrides(cell.data, cell.model)) for key, cell in cells.items()}
        for (key, _), placed in place(list(runs.values()), 1, self.out / "rates").items():
            yield key, (runs[key], placed.folder.name)

    def _key(self, cell: Cell) -> str:
        return f"{DATA[cell.data].rate}-{cell.model}"

    def plan(self, cell: Cell) -> Plan | None:
        """Epochs and steps per epoch; None where the rate is not known or the budget has no time for a step (`refused`)."""
        if self.given is not None:
            return self.given
        key = self._key(cell)
        if not self._known(key):
            return None
        try:
            return plan(self.known[key]["rate"], seconds_of(cell.budget))
        except UserError as error:
            self.refused[cell] = str(error)
            return None

    def digest(self, key: str) -> str:
        """Of the config that a rate is of."""
        return self._places[key][1]

    def _known(self, key: str) -> bool:
        return self.known.get(key, {}).get("of") == self.digest(key)

    def seconds(self) -> dict[str, dict[str, float]]:
        """Per step and per epoch, as measured, by kind of data and network."""
        keys = [key for key in self._places if self._known(key)]
        return {key: {name: float(f"{self.known[key][name]:.4g}") for name in ("step", "epoch")} for key in keys}

    def measure(self, again: bool, heard: Callable[[str], None]) -> None:
        """Measure what the chosen runs need and is not known, or all of it again; what was measured is kept at once.

        Raises UserError naming those that failed, after the others.
        """
        if self.given is not None:
            return
        needed = {self._key(cell): None for cell in self.choice.cells() if self.choice.chosen(cell)}
        missing = [key for key in needed if again or not self._known(key)]
        if not missing:
            return
        heard(f"{len(missing)} of {len(needed)} training speeds are to be measured; one at a time, on one core")
        failed = []
        for outcome in run_jobs([self._job(key) for key in missing], 1, total=len(missing), label="speeds"):
            key = outcome.job.name
            if not outcome.ok:
                failed.append(f"{key}: {outcome.error} (log: {outcome.job.log})")
                continue
            rate = printed(outcome.job.log)
            self.known[key] = {"of": self.digest(key), "step": rate.step, "epoch": rate.epoch, "rate": rate}
            kept = {name: {k: v for k, v in value.items() if k != "rate"} for name, value in self.known.items()}
            self.out.mkdir(parents=True, exist_ok=True)
            write_json(self.path, kept)
        if failed:
            raise UserError("; ".join(failed))

    def _job(self, key: str) -> Job:
        run, digest = self._places[key]
        command = [sys.executable, "-m", "vsr", "budget", *run.overrides]
        return Job(name=key, command=command, log=self.out / "rates" / f"{key}-{digest}.log", env=ONE_CORE)


def printed(log: Path) -> Rate:
    """The rate in the last line of a log that is one. Raises UserError where none is."""
    for line in reversed(log.read_text(encoding="utf-8", errors="replace").splitlines()):
        try:
            found = json.loads(line)
            return Rate(float(found["step"]), float(found["epoch"]))
        except (ValueError, KeyError, TypeError):
            continue
    raise UserError(f"{log}: no line of it is a rate; type rates=again to measure anew")
