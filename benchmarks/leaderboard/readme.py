"""The README's first table, between two marks, out of the same facts as the leaderboard's page."""

from __future__ import annotations

from typing import Any

from benchmarks.common.markdown import table
from benchmarks.common.marks import replaced as marked
from benchmarks.leaderboard.board import Board, number, signed, speed

BEGIN = "<!-- written by make leaderboard from docs/results/leaderboard.json -->"
DATA = "tide"


def block(content: dict[str, Any]) -> str:
    """A row per network that was run: its cost, and what it gains over the linear filter at each budget on the default data."""
    board = Board(content)
    if not board.runs:
        return "Not made yet: `make leaderboard`."
    splits = board.splits(DATA)
    budgets = [budget for budget in board.budgets if any(board.seeds(DATA, budget, model) for model in board.models)]
    header = ["model", "preset", "parameters", "frames/s", *(f"over `linear`, {budget}" for budget in budgets)]
    rows = []
    for model in board.models:
        if not any(board.seeds(DATA, budget, model) for budget in budgets):
            continue
        gains = [signed(board.over_linear(DATA, b, model, splits[-1]) if splits else []) for b in budgets]
        marks = ", ".join(filter(None, (board.presets(budget, model) for budget in board.budgets)))
        cost = [number(board.cost(model, "parameters")), speed(board.cost(model, "frames_per_second"))]
        rows.append([f"`{model}`", marks, *cost, *gains])
    return table(header, rows)


def replaced(readme: str, content: dict[str, Any]) -> str:
    """The README with its table as the facts say. Raises UserError where the marks are not there."""
    return marked("README.md", readme, BEGIN, block(content))
