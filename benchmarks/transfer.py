"""What a start is worth: tables and a figure out of runs that differ in `init` and seed alone.

    python benchmarks/transfer.py runs/transfer --figure docs/images/transfer.png

reads every results.json below the folder and groups the runs by data, epochs and frames to learn from, then by start. A start is
asked how soon it reaches the validation PSNR with which the random start of the same seed ends, and where it ends itself. Spreads
are half of the range over seeds; curves are medians, the range around them. Runs that are not comparable are refused.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vsr.evaluation.compare.runs import COMPARED, read_run
from vsr.evaluation.compare.table import mean_and_spread

STARTS = {"Random": "random", "Authors": "authors", "Pretrained": "pretrained"}
COLOURS = {"random": "tab:grey", "authors": "tab:orange", "pretrained": "tab:blue"}


@dataclass(frozen=True, order=True)
class Group:
    """Runs that differ in their start and seed only."""

    data: str
    frames: int
    epochs: int


@dataclass(frozen=True)
class Run:
    """What is taken from a results.json: validation PSNR of each epoch, PSNR on the test split, seconds per epoch."""

    folder: Path
    start: str
    seed: int
    course: list[float]
    test: float
    bicubic: float
    seconds: float | None
    compared: dict[str, Any]


def load(folder: Path, split: str) -> tuple[Group, Run]:
    """One run. Exits where it is no run of a start that is compared here."""
    found = read_run(folder)
    results, own, bicubic = found.results, found.row(split), found.row(split, "bicubic")
    if own is None or bicubic is None:
        sys.exit(f"error: {folder}: has no scores for split '{split}'")
    config, history = results["config"], results["history"]
    target = config["init"]["_target_"].rpartition(".")[2]
    if target not in STARTS:
        sys.exit(f"error: {folder}: starts from {target}; compared are {', '.join(STARTS.values())}")
    course = [row["val/psnr"] for row in history]
    # The clock stops at the epoch whose weights are kept, the best one.
    kept, seconds = course.index(max(course)), own["train_seconds"]
    card = results["protocol"]["data"]
    group = Group(card["name"].partition(".")[0], card["frames"]["train"], config["epochs"])
    settled = {key: config[key] for key in ("model", "recipe", "tune", "scale", "monitor", "patience")}
    run = Run(
        folder=folder,
        start=STARTS[target],
        seed=config["seed"],
        course=course,
        test=own["psnr"],
        bicubic=bicubic["psnr"],
        seconds=seconds / kept if kept else None,
        compared={key: results["protocol"][key] for key in COMPARED} | settled,
    )
    return group, run


def collect(folders: list[Path], split: str) -> dict[Group, list[Run]]:
    """All runs below the folders by group. Exits where two of a group are not comparable or are the same."""
    groups: dict[Group, list[Run]] = {}
    for path in sorted(path for folder in folders for path in folder.rglob("results.json")):
        group, run = load(path.parent, split)
        others = groups.setdefault(group, [])
        for other in others:
            different = [key for key, value in run.compared.items() if value != other.compared[key]]
            if different:
                sys.exit(f"error: {run.folder}: not comparable with {other.folder}, {', '.join(different)} differ")
            if (run.start, run.seed) == (other.start, other.seed):
                sys.exit(f"error: {run.folder}: has the start and the seed of {other.folder}")
        others.append(run)
    if not groups:
        sys.exit(f"error: no results.json below {', '.join(map(str, folders))}")
    return dict(sorted(groups.items()))


def of_start(runs: list[Run], start: str) -> list[Run]:
    """In the order of seeds."""
    return sorted((run for run in runs if run.start == start), key=lambda run: run.seed)


def reached(runs: list[Run], start: str) -> list[int | None]:
    """By seed: the first epoch at which the random start's final validation PSNR is reached; None for never."""
    targets = {run.seed: run.course[-1] for run in of_start(runs, "random")}
    return [
        next((epoch for epoch, psnr in enumerate(run.course) if psnr >= targets[run.seed]), None)
        for run in of_start(runs, start)
        if run.seed in targets
    ]


def in_words(epochs: list[int | None], seconds: float | None) -> str:
    """Mean and spread of the epochs and the seconds that they take."""
    known = [float(epoch) for epoch in epochs if epoch is not None]
    if not known:
        return "never"
    text = mean_and_spread(known, 1)
    if seconds is not None:
        text += f" ({sum(known) / len(known) * seconds:.0f} s)"
    return text if len(known) == len(epochs) else f"{text}, {len(known)} of {len(epochs)} seeds"


def table(groups: dict[Group, list[Run]], split: str) -> str:
    """One Markdown table; seconds per epoch are the median over all runs of a group, as no start changes them."""
    lines = [
        f"| data | start | seeds | val, epoch 0 | epoch 1 | last | epochs to random's last | {split} PSNR | over bicubic |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for group, runs in groups.items():
        measured = [run.seconds for run in runs if run.seconds is not None]
        for start in STARTS.values():
            found = of_start(runs, start)
            if not found:
                continue
            cells = [f"{group.data}, {group.frames} frames, {group.epochs} epochs", start, str(len(found))]
            cells += [mean_and_spread([run.course[at] for run in found], 2) for at in (0, min(1, group.epochs), -1)]
            cells.append(in_words(reached(runs, start), median(measured) if measured else None))
            cells.append(mean_and_spread([run.test for run in found], 2))
            cells.append(f"{sum(run.test - run.bicubic for run in found) / len(found):+.2f}")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(groups: dict[Group, list[Run]], path: Path) -> None:
    """A panel for each group: data from left to right, and what there is of one data set from top to bottom."""
    names = list(dict.fromkeys(group.data for group in groups))
    columns = {name: [group for group in groups if group.data == name] for name in names}
    columns = {name: sorted(found, key=lambda group: (-group.frames, -group.epochs)) for name, found in columns.items()}
    rows = max(map(len, columns.values()))
    figure = Figure(figsize=(4.4 * len(names), 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, len(names), squeeze=False)
    for column, found in enumerate(columns.values()):
        for row in range(rows):
            axes = panels[row, column]
            if row < len(found):
                panel(axes, found[row], groups[found[row]])
            else:
                axes.axis("off")
        panels[len(found) - 1, column].set_xlabel("epoch")
    for row in range(rows):
        panels[row, 0].set_ylabel("validation PSNR (dB)")
    panels[0, 0].legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=110)


def panel(axes: Axes, group: Group, runs: list[Run]) -> None:
    """The curves of one group."""
    for start in STARTS.values():
        found = [run.course for run in of_start(runs, start)]
        if not found:
            continue
        epochs = range(min(map(len, found)))
        by_epoch = [[course[epoch] for course in found] for epoch in epochs]
        axes.plot(epochs, [median(values) for values in by_epoch], color=COLOURS[start], label=start)
        low, high = [min(values) for values in by_epoch], [max(values) for values in by_epoch]
        axes.fill_between(epochs, low, high, color=COLOURS[start], alpha=0.25, linewidth=0)
    axes.set_title(f"{group.data}, {group.frames} frames", fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def main() -> None:
    """Print the table as Markdown, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--split", default="test")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    groups = collect(given.runs, given.split)
    print(table(groups, given.split))
    if given.figure is not None:
        draw(groups, given.figure)


if __name__ == "__main__":
    main()
