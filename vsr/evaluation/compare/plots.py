"""Plots of a score over the settings of training runs: parallel coordinates and scatter plots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vsr.evaluation.report.style import style_label

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

_COLUMNS = 3  # scatter plots side by side
_NAMED = 12  # points that can still be labelled
_MOST_TICKS = 8
_LOG_SPAN = 10.0  # positive numbers with max / min from here on are plotted over their logarithm


@dataclass(frozen=True)
class PlottedRun:
    """A training run in a plot.

    Attributes:
        values: Settings and costs of the run, by the name of their axis; numbers may be given as text.
        score: Best monitored score of the run.
        name: Label of the run.
        early: True if the run was ended early.
    """

    values: dict[str, str | float]
    score: float
    name: str
    early: bool = False


def parallel_coordinates(
    points: Sequence[PlottedRun], names: Sequence[str], score: str, monitor_is_maximised: bool
) -> Figure | None:
    """Draw a vertical axis per setting in `names` and one for the score, and a line per run in the colour of its score.

    Returns:
        The figure; None with fewer than two runs or without a setting.
    """
    from matplotlib.figure import Figure

    if len(points) < 2 or not names:
        return None
    figure = Figure(figsize=(2.2 + 1.7 * len(names), 3.6), layout="constrained")
    axis = figure.subplots()
    places = []
    for column, name in enumerate([*names, score]):
        values = [point.values[name] if column < len(names) else point.score for point in points]
        where, ticks = _places(values)
        places.append(where)
        axis.axvline(column, color="0.5", linewidth=1, zorder=0)
        for place, text in ticks:
            axis.annotate(
                style_label(text, 18), (column, place), (-4, 0), textcoords="offset points", ha="right", va="center", size=8
            )
    colours = _colours(points, monitor_is_maximised)
    # The best run is drawn last, above the others.
    for i in sorted(range(len(points)), key=lambda i: points[i].score, reverse=not monitor_is_maximised):
        style = "--" if points[i].early else "-"
        axis.plot([where[i] for where in places], color=colours[i], linestyle=style, alpha=0.8)
        if len(points) <= _NAMED:
            end = (len(names), places[-1][i])
            axis.annotate(style_label(points[i].name), end, (5, 0), textcoords="offset points", va="center", size=8)
    axis.set_xticks(range(len(names) + 1), [style_label(name) for name in (*names, score)])
    axis.set(xlim=(-0.7, len(names) + 0.7), yticks=[])
    axis.spines[:].set_visible(False)
    return figure


def scatter_plots(points: Sequence[PlottedRun], names: Sequence[str], score: str, monitor_is_maximised: bool) -> Figure | None:
    """Draw the score over each setting or cost, with a ring around the best run and hollow points for runs that ended early."""
    from matplotlib.figure import Figure

    if not names:
        return None
    rows = math.ceil(len(names) / _COLUMNS)
    figure = Figure(figsize=(3.6 * min(_COLUMNS, len(names)), 2.8 * rows), layout="constrained")
    grid = figure.subplots(rows, min(_COLUMNS, len(names)), squeeze=False)
    axes = list(grid.flat)
    for axis, name in zip(axes, names, strict=False):
        shown = [point for point in points if name in point.values]
        numbers = _numbers([point.values[name] for point in shown])
        across: Any = numbers or [style_label(str(point.values[name]), 18) for point in shown]
        if numbers and _is_wide(numbers):
            axis.set_xscale("log")
        colours = _colours(shown, monitor_is_maximised)
        best = (max if monitor_is_maximised else min)(point.score for point in shown if not point.early)
        for x, point, colour in zip(across, shown, colours, strict=True):
            ring = "black" if point.score == best and not point.early else colour
            axis.scatter([x], [point.score], facecolor="none" if point.early else colour, edgecolor=ring, linewidth=1.3, zorder=2)
            if len(shown) <= _NAMED:
                axis.annotate(style_label(point.name, 12), (x, point.score), (5, 3), textcoords="offset points", size=7)
        axis.set(xlabel=style_label(name, 40), ylabel=style_label(score))
        axis.margins(0.12)
        axis.grid(axis="y", color="0.93", zorder=0)
    for axis in axes[len(names) :]:
        axis.axis("off")
    return figure


def _places(values: Sequence[str | float]) -> tuple[list[float], list[tuple[float, str]]]:
    """Return the place of each value on an axis from 0 to 1 (numbers linear or logarithmic, words sorted), and the ticks."""
    numbers = _numbers(values)
    if not numbers:
        words = sorted({str(value) for value in values})
        found = {word: (at + 0.5) / len(words) for at, word in enumerate(words)}
        return [found[str(value)] for value in values], [(place, word) for word, place in found.items()]
    scaled = [math.log(value) for value in numbers] if _is_wide(numbers) else numbers
    low, high = min(scaled), max(scaled)
    places = [(value - low) / (high - low) if high > low else 0.5 for value in scaled]
    ticks = sorted({(place, f"{number:.4g}") for place, number in zip(places, numbers, strict=True)})
    return places, ticks if len(ticks) <= _MOST_TICKS else [ticks[0], ticks[-1]]


def _numbers(values: Sequence[str | float]) -> list[float]:
    """Convert values to numbers; return [] if any value is not a finite number."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def _is_wide(numbers: Sequence[float]) -> bool:
    return min(numbers) > 0 and max(numbers) / min(numbers) >= _LOG_SPAN


def _colours(points: Sequence[PlottedRun], monitor_is_maximised: bool) -> list[Any]:
    """Return a colour for each point, from the worst to the best score; every colour stands out on white."""
    from matplotlib.colors import LinearSegmentedColormap

    colours: Colormap = LinearSegmentedColormap.from_list("worst to best", ["#6a5acd", "#1f9e89", "#e58a00"])
    low, high = min(point.score for point in points), max(point.score for point in points)
    shares = [(point.score - low) / (high - low) if high > low else 1.0 for point in points]
    return [colours(share if monitor_is_maximised else 1 - share) for share in shares]
