"""Figures of the leaderboard: PSNR over frames per second and over the training budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, NullFormatter

from benchmarks.common.figures import save_figure
from benchmarks.common.markdown import mean
from benchmarks.leaderboard.results import Leaderboard

COLUMNS = 3
STYLES = (("-", "o"), ("--", "s"))  # line and marker of the first ten networks and of the others
Point = tuple[float, float, str]  # frames per second, PSNR, label


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other point beats in both speed and PSNR, the fastest first."""
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (-point[0], -point[1])):
        if not found or point[1] > found[-1][1]:
            found.append(point)
    return found


def draw_psnr_over_speed(board: Leaderboard, path: Path) -> None:
    """Draw PSNR over frames per second: a panel per data source, a colour and a Pareto front per budget."""
    figure, axes = _panels(board)
    for axis, data in zip(axes, _shown(board), strict=True):
        split = board.splits(data)[-1]
        for number, budget in enumerate(board.budgets):
            points = [point for model in board.rows(data) if (point := _point(board, data, budget, model, split))]
            if not points:
                continue
            colour = f"C{number}"
            axis.scatter([x for x, *_ in points], [y for _, y, _ in points], color=colour, s=16, label=budget)
            best = pareto_front(points)
            axis.plot([x for x, *_ in best], [y for _, y, _ in best], color=colour, linewidth=0.9, alpha=0.7)
            if number == _last(board, data):
                for x, y, label in points:
                    axis.annotate(label, (x, y), xytext=(3, 3), textcoords="offset points", fontsize=6.5)
        _lines(board, axis, data, split)
        axis.set_xscale("log")
        axis.margins(x=0.15)  # room for the labels
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.5)))
        axis.set_xlabel("frames per second")
    save_figure(figure, path)


def draw_psnr_over_budget(board: Leaderboard, path: Path) -> None:
    """Draw PSNR over the training budget: a panel per data source, a line per network."""
    figure, axes = _panels(board)
    seconds = {budget["name"]: budget["seconds"] for budget in board.content["budgets"]}
    timed = all(seconds.values())
    for axis, data in zip(axes, _shown(board), strict=True):
        split = board.splits(data)[-1]
        for model in board.rows(data):
            number = board.models.index(model)  # the same colour in every panel
            there = [budget for budget in board.budgets if board.seeds(data, budget, model)]
            values = [mean(board.scores(data, budget, model, split, "psnr")) for budget in there]
            at = [seconds[budget] / 60 if timed else board.budgets.index(budget) for budget in there]
            if there:
                line, mark = STYLES[number // 10 % 2]
                axis.plot(at, values, marker=mark, markersize=4, label=model, color=f"C{number % 10}", linestyle=line)
        _lines(board, axis, data, split)
        if timed:
            axis.set_xscale("log")
        axis.set_xticks([seconds[budget] / 60 if timed else at for at, budget in enumerate(board.budgets)], board.budgets)
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel("training budget")
    save_figure(figure, path)


def _panels(board: Leaderboard) -> tuple[Figure, list[Axes]]:
    count = len(_shown(board))
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(4.6 * columns, 3.8 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.axis("off")
    return figure, axes[:count]


def _shown(board: Leaderboard) -> list[str]:
    return [data for data in board.data if board.splits(data) and not board.scaled(data)]


def _last(board: Leaderboard, data: str) -> int:
    """Return the index of the longest budget with a run."""
    return max(i for i, budget in enumerate(board.budgets) if any(board.seeds(data, budget, m) for m in board.rows(data)))


def _point(board: Leaderboard, data: str, budget: str, model: str, split: str) -> Point | None:
    fast = board.cost(model, "frames_per_second")
    if fast is None or not board.seeds(data, budget, model):
        return None
    values = board.scores(data, budget, model, split, "psnr")
    return (fast, mean(values), model) if values else None


def _lines(board: Leaderboard, axis: Axes, data: str, split: str) -> None:
    for method, style in (("linear", "--"), ("bicubic", ":")):
        value = board.baseline(data, method, split)
        if value is not None:
            axis.axhline(value, color="grey", linestyle=style, linewidth=0.9, label=method)
    axis.set_title(f"{data}, {split}", fontsize=10)
    axis.set_ylabel("PSNR (dB)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=6.5)
