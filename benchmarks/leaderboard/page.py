"""Render docs/results/leaderboard.md from leaderboard.json."""

from __future__ import annotations

from typing import Any

from benchmarks.common.markdown import table
from benchmarks.leaderboard.dropped_ideas import dropped_ideas_table
from benchmarks.leaderboard.extra_tables import (
    confirmation_table,
    families_table,
    neighbours_table,
    photographs_table,
    scales_table,
)
from benchmarks.leaderboard.results import NONE, Leaderboard, format_gain, format_mean, format_number, format_speed

ABOUT = {
    "tide": "Tidal flow over hills, with hydraulic jumps.",
    "bores": "Columns of water fall and their bores collide: sharp and fast fronts.",
    "more_bores": "Bores with five times as many training frames (`data.learn=600`): the gain from more data.",
    "turbulence": "The control: rotating eddies in geostrophic balance, smooth, so that a linear filter gives most of the gain.",
    "phantom": "The moving Shepp-Logan phantom: edges between constant areas.",
    "movie": "Real movies (`movies.path`), or a synthetic camera over photographs if no movies are given.",
}
SCORES = {"ssim": ("SSIM", ".4f"), "lsd": ("LSD, dB", ".2f"), "change_error": ("change err", ".3f")}
SCORES |= {"flicker": ("flicker", ".3f"), "consistency": ("LR consistency", ".4f")}


def render(content: dict[str, Any]) -> str:
    """Render the whole page in Markdown; deterministic."""
    board = Leaderboard(content)
    parts = ["# Leaderboard", _opening(board), "## Overview", overview(board), _figures(board), "## Presets", presets(board)]
    for data, about in ABOUT.items():
        parts += [f"## {data}", about, _of(board, data)]
        run = [budget for budget in board.budgets if any(board.seeds(data, budget, model) for model in board.rows(data))]
        parts += [section(board, data, budget) for budget in run]
        if left := [budget for budget in board.budgets if budget not in run]:
            parts.append(f"Not run yet: {', '.join(left)}.")
    parts += ["## At x3 and x4", scales_table(board)]
    parts += ["## Trajectories that no choice has seen", confirmation_table(board)]
    parts += ["## Trained on one family, tested on another", families_table(board)]
    parts += ["## Gain from neighbouring frames", neighbours_table(board)]
    parts += ["## Photographs", photographs_table(board)]
    parts += ["## Ideas that were tried and dropped", dropped_ideas_table(), "## Method", _how(board)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _opening(board: Leaderboard) -> str:
    made, costs = board.content["made"], board.content["costs"]
    count = sum(len(board.seeds(d, b, m)) for d in board.data for b in board.budgets for m in board.rows(d))
    if not count:
        return "Written by `make leaderboard` from [leaderboard.json](leaderboard.json). Nothing has been run yet."
    seeds = board.content["seeds"]
    precision = board.content["precision"]
    return (
        "This page compares all networks at equal training budgets, in minutes of one core. `make leaderboard` writes it from "
        f"[leaderboard.json](leaderboard.json). It shows {count} runs, up to {seeds} seed{'s' * (seeds > 1)} each, on "
        f"{' and '.join(board.different('cpu'))}, {made['cores']} cores, torch {made['torch']}, commit "
        f"{' and '.join(board.different('commit'))}. The last command was "
        f"`{board.content['command']}`.\n\n"
        "All rows of a table share frames, pixels (`window=[0,4,4]`: 4 pixels at each side do not count), scale (x2 if not said "
        "otherwise) and degradation (bicubic). Whole frames, as `upscale` writes them, gain less, because networks see no pixels "
        "beyond the border. The costs of `linear` are those of 9x9 taps, also where validation chose more. evaluate.py "
        f"scores them in single precision. Training uses `precision={precision}`. Gains are over the best linear filter, fitted "
        "to the same training frames; in brackets: their 95% interval over the test trajectories, paired frame by frame; after "
        f"±: half of the range over seeds. Frames per second: from {costs['frame']}x{costs['frame']} to "
        f"{2 * (costs['frame'] or 0)}x{2 * (costs['frame'] or 0)} pixels in single precision with {costs['threads']} threads; "
        "the networks take turns in one process, and the table shows medians. `mult./px` counts the multiplications (each with "
        "one addition) per output pixel of the folded network. `-`: not run. [Scores](../reference/metrics.md) has the "
        "definitions."
    )


def _how(board: Leaderboard) -> str:
    return (
        "`python -m vsr budget` measured the time of a step and of an epoch for every network on every data source, one network "
        "at a time on one core. Each run got the number of epochs and steps that fills its budget at this speed, so the budgets "
        f"are minutes of one core, and other load on the machine ({board.content['jobs']} runs at a time) changes no score. "
        "Early stopping is off. Each row shows the epoch with the best validation PSNR; `train s` is the elapsed time until this "
        "epoch. The families of the climate data share their measured speeds."
    )


def overview(board: Leaderboard) -> str:
    """Render one row per network: the gain over linear at every budget on every data source."""
    data = [name for name in board.data if board.splits(name) and name in ABOUT]
    if not data:
        return ""
    columns = [(name, b) for name in data for b in board.budgets if any(board.seeds(name, b, model) for model in board.models)]
    header = ["PSNR over linear, dB", "preset", "frames/s", *(f"{name}, {budget}" for name, budget in columns)]
    rows = []
    for model in board.models:
        cells = [format_gain(board.over_linear(name, b, model, board.splits(name)[-1])) for name, b in columns]
        if set(cells) == {NONE}:
            continue
        marks = ", ".join(filter(None, (board.presets(budget, model) for budget in board.budgets)))
        rows.append([f"`{model}`", marks, format_speed(board.cost(model, "frames_per_second")), *cells])
    bicubic = []
    for name, _ in columns:
        split = board.splits(name)[-1]
        found, linear = board.baseline(name, "bicubic", split), board.baseline(name, "linear", split)
        bicubic.append(format_gain([] if found is None or linear is None else [found - linear]))
    rows.insert(0, ["`bicubic`", "", format_speed(board.cost("bicubic", "frames_per_second")), *bicubic])
    remark = "Scores are of the last test split. Bold: below linear."
    return f"{remark}\n\n{table(header, rows)}"


def presets(board: Leaderboard) -> str:
    """Render one line per preset: its network, budget and gains."""
    lines = []
    for name, preset in board.content["presets"].items():
        model, budget = preset["model"], preset["budget"]
        gained = {data: board.over_linear(data, budget, model, board.splits(data)[-1]) for data in ABOUT if board.splits(data)}
        gains = [f"{format_gain(found)} dB on {data}" for data, found in gained.items() if found]
        what = ", ".join(gains) if gains else "not run yet"
        fast = board.cost(model, "frames_per_second")
        cost = "" if fast is None else f", {format_speed(fast)} frames/s"
        lines.append(f"- `preset={name}` trains `{model}` for {budget}{cost}: {what}.")
    return "\n".join(lines)


def _of(board: Leaderboard, data: str) -> str:
    """Describe the frames of a data source."""
    found = board.content["protocols"].get(data)
    if found is None:
        return ""
    frames = ", ".join(f"{count} {split}" for split, count in found["data"]["frames"].items())
    return f"{found['data']['name']}, {'x'.join(map(str, found['data']['size']))} pixels; frames: {frames}."


def section(board: Leaderboard, data: str, budget: str) -> str:
    """Render the table of one data source and one budget."""
    splits = board.splits(data)
    last = splits[-1] if splits else "test"
    header = ["model", "preset", "parameters", "mult./px", "frames/s", "train s"]
    header += [f"PSNR, {split}" for split in splits or ["test"]] + ["over linear", *(label for label, _ in SCORES.values())]
    rows = []
    for method in ("bicubic", "linear"):
        cells = [method, "", *_costs(board, method), NONE]
        if splits:
            scores = [format_number(board.baseline(data, method, split), ".2f") for split in splits]
            found, linear = board.baseline(data, method, last), board.baseline(data, "linear", last)
            gained = format_gain([] if found is None or linear is None else [found - linear])
            more = [format_number(board.baseline(data, method, last, name), form) for name, (_, form) in SCORES.items()]
            cells += [*scores, gained, *more]
        rows.append(cells + [NONE] * (len(header) - len(cells)))
    left = [model for model in board.rows(data) if not board.seeds(data, budget, model)]
    for model in board.rows(data):
        if model in left:
            continue
        seconds = [seed["train_seconds"] for seed in board.seeds(data, budget, model)]
        cells = [f"`{model}`", board.presets(budget, model), *_costs(board, model), format_mean(seconds, ".0f")]
        cells += [format_mean(board.scores(data, budget, model, split, "psnr")) for split in splits]
        cells.append(board.gain(data, budget, model, last))
        cells += [format_mean(board.scores(data, budget, model, last, name), form) for name, (_, form) in SCORES.items()]
        rows.append(cells)
    told = [f"All columns after PSNR show the split `{last}`."] if len(splits) > 1 else []
    told += [f"Not run: {', '.join(f'`{model}`' for model in left)}."] if left else []
    return f"### {data}, {budget}\n\n{table(header, rows)}" + (f"\n\n{' '.join(told)}" if told else "")


def _costs(board: Leaderboard, model: str) -> list[str]:
    found = [format_number(board.cost(model, what)) for what in ("parameters", "multiply_adds")]
    return [*found, format_speed(board.cost(model, "frames_per_second"))]


def _figures(board: Leaderboard) -> str:
    if not board.runs:
        return ""
    return (
        "![PSNR over frames per second](../images/leaderboard-speed.png)\n\n"
        "![PSNR over the training budget](../images/leaderboard-budget.png)\n\n"
        "In the first figure, a line joins the networks that no other network beats in both speed and PSNR."
    )
