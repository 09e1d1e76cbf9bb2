"""docs/results/leaderboard.md out of the facts."""

from __future__ import annotations

from typing import Any

from benchmarks.common.markdown import table
from benchmarks.leaderboard.board import NONE, Board, number, shown, signed, speed
from benchmarks.leaderboard.dropped import dropped
from benchmarks.leaderboard.further import families, neighbours, photographs

ABOUT = {
    "tide": "Tidal flow over hills: hydraulic jumps. `test` are later frames, `unseen` other hills.",
    "bores": "Falling columns of water whose bores collide: sharp and fast.",
    "more_bores": "The same with five times the frames to learn from (`data.learn=600`): what networks gain by that.",
    "turbulence": "Rotating eddies in balance: smooth, the control, where a linear filter is nearly all there is to gain.",
    "phantom": "The moving Shepp-Logan phantom: edges, and nothing between them.",
    "movie": "Real movies (`movies.path`), or a synthetic camera over photographs where there are none.",
}
SCORES = {"ssim": ("SSIM", ".4f"), "lsd": ("LSD, dB", ".2f"), "change_error": ("change err", ".3f")}
SCORES |= {"flicker": ("flicker", ".3f"), "consistency": ("LR consistency", ".4f")}


def render(content: dict[str, Any]) -> str:
    """The whole page in Markdown; the same facts give the same text."""
    board = Board(content)
    parts = ["# Leaderboard", _opening(board), "## In short", overview(board), _figures(board), "## Presets", presets(board)]
    for data, about in ABOUT.items():
        parts += [f"## {data}", about, _of(board, data)]
        run = [budget for budget in board.budgets if any(board.seeds(data, budget, model) for model in board.rows(data))]
        parts += [section(board, data, budget) for budget in run]
        if left := [budget for budget in board.budgets if budget not in run]:
            parts.append(f"Not run yet: {', '.join(left)}.")
    parts += ["## Trained on one family, tested on another", families(board)]
    parts += ["## What neighbouring frames are worth", neighbours(board)]
    parts += ["## Photographs", photographs(board)]
    parts += ["## Ideas that did not earn their place", dropped(), "## How it was made", _how(board)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _opening(board: Board) -> str:
    made, costs = board.content["made"], board.content["costs"]
    count = sum(len(board.seeds(d, b, m)) for d in board.data for b in board.budgets for m in board.rows(d))
    if not count:
        return "Written by `make leaderboard` from [leaderboard.json](leaderboard.json). Nothing has been run yet."
    seeds = board.content["seeds"]
    precision = board.content["precision"]
    return (
        "Every network at equal training budgets, in minutes of one core. Written by `make leaderboard` from "
        f"[leaderboard.json](leaderboard.json). Every number comes from there. {count} runs, {seeds} seed{'s' * (seeds > 1)} "
        f"each, {made['cpu']}, {made['cores']} cores, torch {made['torch']}, commit {made['commit']}. "
        f"`{board.content['command']}`\n\n"
        "x2, bicubic degradation, the same frames and pixels in all rows of a table, scored in single precision by evaluate.py; "
        f"trained with `precision={precision}`. Gains are over the best linear filter, fitted to the same frames. Frames per "
        f"second: {costs['frame']}x{costs['frame']} to {2 * (costs['frame'] or 0)}x{2 * (costs['frame'] or 0)} pixels, single "
        f"precision, {costs['threads']} threads, all networks in turn in one process, medians. Multiplications with an addition "
        "each, per output pixel, in the form that is evaluated. `-`: not run. Scores are defined in [scores](../reference/metrics.md)."
    )


def _how(board: Board) -> str:
    return (
        "A budget is a plan: the time of a step and of an epoch of every network on every kind of data was measured by "
        "`python -m vsr budget`, one network at a time on one core, and each run was given the number of epochs and steps that "
        f"fills its budget at this speed: minutes are those of one core. So what else the machine did meanwhile "
        f"({board.content['jobs']} at a time) changes no row. Early stopping is off; each row is of the epoch with the best "
        "validation PSNR, and `train s` are the seconds until then as they went by. The families of the climate data share "
        "their speeds."
    )


def overview(board: Board) -> str:
    """One row per network: gain over linear at every budget on every kind of data."""
    data = [name for name in board.data if board.splits(name) and name in ABOUT]
    if not data:
        return ""
    columns = [(name, b) for name in data for b in board.budgets if any(board.seeds(name, b, model) for model in board.models)]
    header = ["PSNR over linear, dB", "preset", "frames/s", *(f"{name}, {budget}" for name, budget in columns)]
    rows = []
    for model in board.models:
        cells = [signed(board.over_linear(name, b, model, board.splits(name)[-1])) for name, b in columns]
        if set(cells) == {NONE}:
            continue
        marks = ", ".join(filter(None, (board.presets(budget, model) for budget in board.budgets)))
        rows.append([f"`{model}`", marks, speed(board.cost(model, "frames_per_second")), *cells])
    bicubic = []
    for name, _ in columns:
        split = board.splits(name)[-1]
        found, linear = board.baseline(name, "bicubic", split), board.baseline(name, "linear", split)
        bicubic.append(signed([] if found is None or linear is None else [found - linear]))
    rows.insert(0, ["`bicubic`", "", speed(board.cost("bicubic", "frames_per_second")), *bicubic])
    remark = "Of frames that were not learned from: `unseen` where there is such a split, else `test`. Bold: below linear."
    return f"{remark}\n\n{table(header, rows)}"


def presets(board: Board) -> str:
    """What each preset is, in words, and the row that it is picked from."""
    lines = []
    for name, preset in board.content["presets"].items():
        model, budget = preset["model"], preset["budget"]
        gained = {data: board.over_linear(data, budget, model, board.splits(data)[-1]) for data in ABOUT if board.splits(data)}
        gains = [f"{signed(found)} dB on {data}" for data, found in gained.items() if found]
        what = ", ".join(gains) if gains else "not run yet"
        fast = board.cost(model, "frames_per_second")
        cost = "" if fast is None else f", {speed(fast)} frames/s"
        lines.append(f"- `preset={name}` is the row `{model}` at {budget}{cost}: {what}.")
    return "\n".join(lines)


def _of(board: Board, data: str) -> str:
    """Which frames these are."""
    found = board.content["protocols"].get(data)
    if found is None:
        return ""
    frames = ", ".join(f"{count} {split}" for split, count in found["data"]["frames"].items())
    return f"{found['data']['name']}, {'x'.join(map(str, found['data']['size']))} pixels; frames: {frames}."


def section(board: Board, data: str, budget: str) -> str:
    """The table of one kind of data and one budget."""
    splits = board.splits(data)
    last = splits[-1] if splits else "test"
    header = ["model", "preset", "parameters", "mult./px", "frames/s", "train s"]
    header += [f"PSNR, {split}" for split in splits or ["test"]] + ["over linear", *(label for label, _ in SCORES.values())]
    rows = []
    for method in ("bicubic", "linear"):
        cells = [method, "", *_costs(board, method), NONE]
        if splits:
            scores = [number(board.baseline(data, method, split), ".2f") for split in splits]
            found, linear = board.baseline(data, method, last), board.baseline(data, "linear", last)
            gained = signed([] if found is None or linear is None else [found - linear])
            more = [number(board.baseline(data, method, last, name), form) for name, (_, form) in SCORES.items()]
            cells += [*scores, gained, *more]
        rows.append(cells + [NONE] * (len(header) - len(cells)))
    left = [model for model in board.rows(data) if not board.seeds(data, budget, model)]
    for model in board.rows(data):
        if model in left:
            continue
        seconds = [seed["train_seconds"] for seed in board.seeds(data, budget, model)]
        cells = [f"`{model}`", board.presets(budget, model), *_costs(board, model), shown(seconds, ".0f")]
        cells += [shown(board.scores(data, budget, model, split, "psnr")) for split in splits]
        cells.append(signed(board.over_linear(data, budget, model, last)))
        cells += [shown(board.scores(data, budget, model, last, name), form) for name, (_, form) in SCORES.items()]
        rows.append(cells)
    told = [f"Behind PSNR, scores are of `{last}`."] if len(splits) > 1 else []
    told += [f"Not run: {', '.join(f'`{model}`' for model in left)}."] if left else []
    return f"### {data}, {budget}\n\n{table(header, rows)}" + (f"\n\n{' '.join(told)}" if told else "")


def _costs(board: Board, model: str) -> list[str]:
    found = [number(board.cost(model, what)) for what in ("parameters", "multiply_adds")]
    return [*found, speed(board.cost(model, "frames_per_second"))]


def _figures(board: Board) -> str:
    if not board.runs:
        return ""
    return (
        "![PSNR over frames per second](../images/leaderboard-speed.png)\n\n"
        "![PSNR over the training budget](../images/leaderboard-budget.png)\n\n"
        "The lines of the first figure join what nothing else beats in both speed and PSNR."
    )
