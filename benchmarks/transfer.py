"""Tables and a figure that compare starts of training (init=random, authors, pretrained) from runs that differ in init and seed.

    python -m benchmarks.transfer runs/transfer --figure docs/images/transfer.png

The script reads every results.json below the folder, and groups the runs by data, epochs and number of training frames, then by
start. For each start it reports when the validation PSNR reaches the final value of the random start with the same seed, and its
own final value. Spreads are half of the range over seeds. Curves are medians over seeds, with the range around them. Runs that
are not comparable are refused.
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

from vsr.evaluation.compare.runs import COMPARED, read_compared_run
from vsr.evaluation.compare.table import table_mean_and_spread

STARTS = {"Random": "random", "Authors": "authors", "Pretrained": "pretrained"}
COLOURS = {"random": "tab:grey", "authors": "tab:orange", "pretrained": "tab:blue"}


@dataclass(frozen=True, order=True)
class Group:
    """Key of runs that differ only in start and seed.

    Attributes:
        data: name of the data.
        frames: number of training frames.
        epochs: epochs of training.
    """

    data: str
    frames: int
    epochs: int


@dataclass(frozen=True)
class Run:
    """Values from one results.json.

    Attributes:
        folder: folder of the run.
        start: a value of STARTS.
        seed: seed of the run.
        course: validation PSNR of each epoch in dB, from epoch 0.
        test: PSNR of the network on the test split, dB.
        bicubic: PSNR of bicubic on the test split, dB.
        seconds: training time per epoch; None if the best epoch is 0.
        compared: settings that must be equal in a group.
    """

    folder: Path
    start: str
    seed: int
    course: list[float]
    test: float
    bicubic: float
    seconds: float | None
    compared: dict[str, Any]


def load(folder: Path, split: str) -> tuple[Group, Run]:
    """Read one run. Exits if its start is not in STARTS or it has no scores for the split."""
    found = read_compared_run(folder)
    results, own, bicubic = found.results, found.row(split), found.row(split, "bicubic")
    if own is None or bicubic is None:
        sys.exit(f"error: {folder}: has no scores for split '{split}'")
    config, history = results["config"], results["history"]
    target = config["init"]["_target_"].rpartition(".")[2]
    if target not in STARTS:
        sys.exit(f"error: {folder}: starts from {target}; this script compares {', '.join(STARTS.values())}")
    course = [row["val/psnr"] for row in history]
    # train_seconds ends at the best epoch, whose weights are kept.
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
    """Read all runs below the folders, by group.

    Exits if two runs of a group are not comparable, or have the same start and seed.
    """
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


def select_start(runs: list[Run], start: str) -> list[Run]:
    """Return the runs with this start, in the order of their seeds."""
    return sorted((run for run in runs if run.start == start), key=lambda run: run.seed)


def epochs_to_target(runs: list[Run], start: str) -> list[int | None]:
    """Return for each seed the first epoch that reaches the final validation PSNR of the random start; None if none does."""
    targets = {run.seed: run.course[-1] for run in select_start(runs, "random")}
    return [
        next((epoch for epoch, psnr in enumerate(run.course) if psnr >= targets[run.seed]), None)
        for run in select_start(runs, start)
        if run.seed in targets
    ]


def format_epochs(epochs: list[int | None], seconds: float | None) -> str:
    """Return mean and spread of the epochs, with their time at so many seconds per epoch."""
    known = [float(epoch) for epoch in epochs if epoch is not None]
    if not known:
        return "never"
    text = table_mean_and_spread(known, 1)
    if seconds is not None:
        text += f" ({sum(known) / len(known) * seconds:.0f} s)"
    return text if len(known) == len(epochs) else f"{text}, {len(known)} of {len(epochs)} seeds"


def table(groups: dict[Group, list[Run]], split: str) -> str:
    """Return the Markdown table.

    Seconds per epoch are the median over all runs of a group, because they do not depend on the start.
    """
    lines = [
        f"| data | start | seeds | val, epoch 0 | epoch 1 | last | epochs to random's last | {split} PSNR | over bicubic |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for group, runs in groups.items():
        measured = [run.seconds for run in runs if run.seconds is not None]
        for start in STARTS.values():
            found = select_start(runs, start)
            if not found:
                continue
            cells = [f"{group.data}, {group.frames} frames, {group.epochs} epochs", start, str(len(found))]
            cells += [table_mean_and_spread([run.course[at] for run in found], 2) for at in (0, min(1, group.epochs), -1)]
            cells.append(format_epochs(epochs_to_target(runs, start), median(measured) if measured else None))
            cells.append(table_mean_and_spread([run.test for run in found], 2))
            cells.append(f"{sum(run.test - run.bicubic for run in found) / len(found):+.2f}")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(groups: dict[Group, list[Run]], path: Path) -> None:
    """Draw one panel per group: one column per data set, with its groups from top to bottom."""
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
                draw_panel(axes, found[row], groups[found[row]])
            else:
                axes.axis("off")
        panels[len(found) - 1, column].set_xlabel("epoch")
    for row in range(rows):
        panels[row, 0].set_ylabel("validation PSNR (dB)")
    panels[0, 0].legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=110)


def draw_panel(axes: Axes, group: Group, runs: list[Run]) -> None:
    """Draw the curves of one group."""
    for start in STARTS.values():
        found = [run.course for run in select_start(runs, start)]
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
    """Print the table as Markdown and draw the figure."""
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
