"""Write the leaderboard table of the README from leaderboard.json."""

from __future__ import annotations

from typing import Any

from benchmarks.common.markdown import replace_block, table
from benchmarks.leaderboard.results import NONE, Leaderboard, format_number, format_speed

BEGIN = "<!-- written by make leaderboard from docs/results/leaderboard.json -->"
DATA = "tide"


def render_table(content: dict[str, Any]) -> str:
    """Render one row per network: its cost, and its gain over the linear filter at each budget on the default data."""
    board = Leaderboard(content)
    if not board.runs:
        return "Not made yet: `make leaderboard`."
    splits = board.splits(DATA)
    budgets = [budget for budget in board.budgets if any(board.seeds(DATA, budget, model) for model in board.models)]
    header = ["model", "preset", "parameters", "frames/s", *(f"over `linear`, {budget}" for budget in budgets)]
    rows = []
    for model in board.models:
        if not any(board.seeds(DATA, budget, model) for budget in budgets):
            continue
        gains = [board.gain(DATA, b, model, splits[-1]) if splits else NONE for b in budgets]
        marks = ", ".join(filter(None, (board.presets(budget, model) for budget in board.budgets)))
        cost = [format_number(board.cost(model, "parameters")), format_speed(board.cost(model, "frames_per_second"))]
        rows.append([f"`{model}`", marks, *cost, *gains])
    return f"{_caption(board, splits[-1])}\n\n{table(header, rows)}" if splits else table(header, rows)


def _caption(board: Leaderboard, split: str) -> str:
    """Describe the data, trajectories, seeds and intervals of the table."""
    data = board.content["protocols"][DATA]["data"]
    movies = board.baseline(DATA, "linear", split, "segments")
    frames = f"{data['frames'][split]} frames{f' of {movies:.0f} trajectories' if movies else ''} of the split `{split}`"
    seeds = max(len(board.seeds(DATA, budget, model)) for budget in board.budgets for model in board.models)
    brackets = "; in brackets, the 95% interval over the trajectories" if movies else ""
    return f"Data `{data['name']}` at x2, {frames}; up to {seeds} seed{'s' * (seeds > 1)}{brackets}."


def update_readme(readme: str, content: dict[str, Any]) -> str:
    """Return the README with a current table. Raises UserError where the marks are missing."""
    return replace_block("README.md", readme, BEGIN, render_table(content))
