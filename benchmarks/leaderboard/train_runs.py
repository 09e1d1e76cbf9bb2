"""Run the trainings and evaluations of the leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.common.runs import Run, SeededRun, plan_runs, run_missing
from benchmarks.leaderboard.collect import CollectedResults, facts
from benchmarks.leaderboard.command_line import Options
from benchmarks.leaderboard.experiments import (
    BASELINES,
    BUDGETS,
    CONFIRMATION,
    DATA,
    FAMILIES,
    MODELS,
    REGIMES,
    Cell,
    Preset,
    Selection,
    presets,
)
from benchmarks.leaderboard.score_runs import CONFIRMED, OWN, Test, score
from benchmarks.leaderboard.training_speed import ONE_CORE, TrainingSpeeds
from vsr.commands.fetch import fetched_overrides
from vsr.config.duration import parse_duration
from vsr.system.cpu import cpu_computes_bf16
from vsr.training.budget.plan import BudgetPlan

Heard = Callable[[str], None]


class LeaderboardRuns:
    """All runs of the leaderboard: planned, trained, scored and collected.

    Args:
        options: the options of the command line.
        earlier: content of the leaderboard.json of earlier sittings, whose runs are not repeated; empty for none.
    """

    def __init__(self, options: Options, earlier: Mapping[str, Any] | None = None) -> None:
        self.options, self.earlier = options, earlier or {}
        typed = dict(options.typed)
        if not any(each.startswith("data.path=") for each in typed.get("movies", ())):
            typed["movies"] = (*fetched_overrides(), *typed.get("movies", ()))
        budgets = [f"{options.plan.epochs}x{options.plan.steps}"] if options.plan else options.budgets or list(BUDGETS)
        further = {name: (f"model={name}",) for name in options.models if name not in MODELS}
        self.choice = Selection(
            models={**MODELS, **further},
            budgets=BUDGETS if set(budgets) <= set(BUDGETS) else budgets,
            chosen_models=options.models or list(MODELS),
            chosen_data=options.data or list(DATA),
            chosen_budgets=budgets,
            precision=options.precision or ("bf16" if cpu_computes_bf16() else "32"),
            typed=typed,
            every=tuple(options.every),
        )
        self.preset_models = {preset.model for preset in presets().values()}
        self.rates = TrainingSpeeds(self.choice, options.out, options.plan, options.rates, self.earlier.get("rates"))

    def _placed(self, chosen: bool) -> Iterator[tuple[Cell, BudgetPlan, int, SeededRun]]:
        """Yield every run with a known plan, or only the chosen ones."""
        plans = {cell: plan for cell in self.choice.cells() if (plan := self.rates.plan(cell))}
        wanted = {cell.name: (cell, plan) for cell, plan in plans.items() if not chosen or self.choice.chosen(cell)}
        runs = [Run(name, self.choice.run(cell, plan)) for name, (cell, plan) in wanted.items()]
        for (name, seed), placed in plan_runs(runs, self.options.seeds, self.options.out).items():
            yield (*wanted[name], seed, placed)

    def train(self, report_progress: Heard) -> None:
        """Train the chosen runs that are missing. Raises UserError that names failed runs."""
        placed = [placed for cell, _, _, placed in self._placed(chosen=True) if self._earlier(cell, placed) is None]
        run_missing(placed, self.options.jobs, report_progress, ONE_CORE)

    def _earlier(self, cell: Cell, placed: SeededRun) -> dict[str, Any] | None:
        """Return the result of this run in an earlier leaderboard.json; None for a run that exists here or nowhere."""
        seeds = self.earlier.get("runs", {}).get(cell.data, {}).get(cell.budget, {}).get(cell.model, {}).get("seeds", [])
        return None if placed.done else next((seed for seed in seeds if seed.get("of") == placed.folder.name), None)

    def score(self, report_progress: Heard) -> None:
        """Run evaluate.py on the chosen runs. Raises UserError that names failed evaluations."""
        done = [(cell, placed) for cell, _, _, placed in self._placed(chosen=True) if placed.done]
        tests = [Test(placed, OWN) for _, placed in done]
        longest: dict[tuple[str, str], str] = {}
        for cell, _ in done:
            longest[cell.data, cell.model] = cell.budget  # cells come in ascending order of the budget
        for cell, placed in done:
            if self.options.families and longest[cell.data, cell.model] == cell.budget:
                tests += self._other_families(cell, placed)
            tests += self._confirmation(cell, placed)
        trainer = [override for override in self.options.every if override.startswith("trainer.")]
        score(tests, self.options.jobs, trainer, report_progress)

    def _other_families(self, cell: Cell, placed: SeededRun) -> Iterator[Test]:
        """Yield the tests of a preset's network on the families that it was not trained on."""
        if cell.data in FAMILIES and cell.model in self.preset_models:
            for family in (*FAMILIES, *REGIMES):
                if family != cell.data:
                    yield Test(placed, family, self.choice.test_family(family))

    def _confirmation(self, cell: Cell, placed: SeededRun) -> Iterator[Test]:
        """Yield the test of a preset's run on trajectories that no choice has seen."""
        if cell.data in FAMILIES and Preset(cell.model, cell.budget) in presets().values():
            yield Test(placed, CONFIRMED, (*self.choice.test_family(cell.data), *CONFIRMATION))

    def collect(self) -> CollectedResults:
        """Collect the scores of all finished runs, chosen or not. Raises UserError for runs that are not comparable."""
        found = CollectedResults()
        known = list(self._placed(chosen=False))
        for cell, plan, seed, placed in known:
            own = Test(placed, OWN)
            if placed.done and own.done:
                found.add(cell, seed, own, plan)
                for test in self._other_families(cell, placed):
                    if test.done:
                        found.add_other_family(cell, seed, test)
                for test in self._confirmation(cell, placed):
                    if test.done:
                        found.add_confirmation(cell, seed, test)
        for cell, *_, placed in known:
            if (seed_result := self._earlier(cell, placed)) is not None:
                found.add_earlier(cell, seed_result, self.earlier)
        return found

    def models_to_time(self, collected: CollectedResults) -> dict[str, tuple[str, ...]]:
        """Return the overrides of all networks with a run, and of the baselines."""
        there = {model for budgets in collected.runs.values() for models in budgets.values() for model in models}
        models = {label: typed for label, typed in self.choice.models.items() if label in there}
        return {**{name: (f"model={name}",) for name in BASELINES}, **models} if models else {}

    def facts(self, collected: CollectedResults, costs: dict[str, Any], command: str) -> dict[str, Any]:
        """Return the content of leaderboard.json."""
        seconds = None if self.options.plan else parse_duration
        return facts(
            collected,
            costs,
            self.rates.measured(),
            budgets=[(name, seconds(name) if seconds else None) for name in self.choice.budgets],
            models=list(self.choice.models),
            seeds=self.options.seeds,
            jobs=self.options.jobs,
            precision=self.choice.precision,
            command=command,
        )
