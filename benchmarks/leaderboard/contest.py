"""The runs of a leaderboard: where they lie, making those that are missing, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.common.runs import Placed, Run, complete, place
from benchmarks.leaderboard.facts import Gathered, facts
from benchmarks.leaderboard.order import Order
from benchmarks.leaderboard.plan import BASELINES, BUDGETS, DATA, FAMILIES, MODELS, REGIMES, Cell, Choice, presets
from benchmarks.leaderboard.rates import ONE_CORE, Rates
from benchmarks.leaderboard.scores import OWN, Test, score
from vsr.commands.fetch import fetched_overrides
from vsr.config.duration import seconds_of
from vsr.system.cpu import computes_bf16
from vsr.training.budget.plan import Plan

Heard = Callable[[str], None]


class Contest:
    """What was ordered, and where it stands."""

    def __init__(self, order: Order) -> None:
        self.order = order
        typed = dict(order.typed)
        if not any(each.startswith("data.path=") for each in typed.get("movies", ())):
            typed["movies"] = (*fetched_overrides(), *typed.get("movies", ()))
        budgets = [f"{order.plan.epochs}x{order.plan.steps}"] if order.plan else order.budgets or list(BUDGETS)
        further = {name: (f"model={name}",) for name in order.models if name not in MODELS}
        self.choice = Choice(
            models={**MODELS, **further},
            budgets=BUDGETS if set(budgets) <= set(BUDGETS) else budgets,
            chosen_models=order.models or list(MODELS),
            chosen_data=order.data or list(DATA),
            chosen_budgets=budgets,
            precision=order.precision or ("bf16" if computes_bf16() else "32"),
            typed=typed,
            every=tuple(order.every),
        )
        self.preset_models = {preset.model for preset in presets().values()}
        self.rates = Rates(self.choice, order.out, order.plan, again=order.rates)

    def _placed(self, chosen: bool) -> Iterator[tuple[Cell, Plan, int, Placed]]:
        """Every run whose length is known, or only those that are chosen."""
        plans = {cell: plan for cell in self.choice.cells() if (plan := self.rates.plan(cell))}
        wanted = {cell.name: (cell, plan) for cell, plan in plans.items() if not chosen or self.choice.chosen(cell)}
        runs = [Run(name, self.choice.run(cell, plan)) for name, (cell, plan) in wanted.items()]
        for (name, seed), placed in place(runs, self.order.seeds, self.order.out).items():
            yield (*wanted[name], seed, placed)

    def train(self, heard: Heard) -> None:
        """The chosen runs. Raises UserError naming those that failed."""
        complete([placed for *_, placed in self._placed(chosen=True)], self.order.jobs, heard, ONE_CORE)

    def score(self, heard: Heard) -> None:
        """Everything of the chosen runs that is shown. Raises UserError naming what failed."""
        done = [(cell, placed) for cell, _, _, placed in self._placed(chosen=True) if placed.done]
        tests = [Test(placed, OWN) for _, placed in done]
        longest: dict[tuple[str, str], str] = {}
        for cell, _ in done:
            longest[cell.data, cell.model] = cell.budget  # the cells are in the order of the budgets
        for cell, placed in done:
            if self.order.families and longest[cell.data, cell.model] == cell.budget:
                tests += self._elsewhere(cell, placed)
        trainer = [override for override in self.order.every if override.startswith("trainer.")]
        score(tests, self.order.jobs, trainer, heard)

    def _elsewhere(self, cell: Cell, placed: Placed) -> Iterator[Test]:
        """Other families for the networks of the presets that learned from one."""
        if cell.data in FAMILIES and cell.model in self.preset_models:
            for family in (*FAMILIES, *REGIMES):
                if family != cell.data:
                    yield Test(placed, family, self.choice.elsewhere(family))

    def gathered(self) -> Gathered:
        """The scores of all runs that are done, chosen or not. Raises UserError for those that do not go into one table."""
        found = Gathered()
        for cell, plan, seed, placed in self._placed(chosen=False):
            own = Test(placed, OWN)
            if placed.done and own.done:
                found.add(cell, seed, own, plan)
                for test in self._elsewhere(cell, placed):
                    if test.done:
                        found.elsewhere(cell, seed, test)
        return found

    def with_speed(self, gathered: Gathered) -> dict[str, tuple[str, ...]]:
        """The networks that have a run, and the baselines beside them."""
        there = {model for budgets in gathered.runs.values() for models in budgets.values() for model in models}
        models = {label: typed for label, typed in self.choice.models.items() if label in there}
        return {**{name: (f"model={name}",) for name in BASELINES}, **models} if models else {}

    def facts(self, gathered: Gathered, costs: dict[str, Any], command: str) -> dict[str, Any]:
        """For the page."""
        seconds = None if self.order.plan else seconds_of
        return facts(
            gathered,
            costs,
            self.rates.seconds(),
            budgets=[(name, seconds(name) if seconds else None) for name in self.choice.budgets],
            models=list(self.choice.models),
            seeds=self.order.seeds,
            jobs=self.order.jobs,
            precision=self.choice.precision,
            command=command,
        )
