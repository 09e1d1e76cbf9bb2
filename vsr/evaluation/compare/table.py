"""Tables of compared training runs in Markdown and CSV: mean scores over seeds, with their spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vsr.config.monitor import monitor_is_maximised
from vsr.evaluation.compare.runs import SEED, Run, budget_note, keys_distinguishing_runs
from vsr.evaluation.report.columns import COSTS, Column
from vsr.evaluation.report.csv_json import format_csv
from vsr.metrics.definitions import DEFINITIONS
from vsr.metrics.intervals import LEVEL
from vsr.metrics.variables import table_part
from vsr.system.escape import escape_name

BASELINES = ("nearest", "bilinear", "bicubic", "linear")
SPREAD = "half of the range over seeds"
INTERVAL = f"in brackets: {LEVEL:.0%} interval over the movies of the split, the mean of those of the seeds"


_FIRST = ("psnr", "ssim", "mae", "mse")
COLUMNS = (
    *map(Column.of_score, _FIRST),
    Column.of_gain("over bicubic", "bicubic"),
    Column.of_gain("over linear", "linear"),
    *(Column.of_score(name) for name in DEFINITIONS if name not in _FIRST),
    *COSTS,
)
BRIEF = ("best", "psnr", "ssim", "over bicubic", "over linear", "parameters", "train_seconds")


@dataclass(frozen=True)
class TableLine:
    """A line of a table: training runs that differ only in their seed, or a baseline method.

    Attributes:
        values: Values of the distinguishing config keys; empty for a baseline.
        runs: Runs of the line; for a baseline, the run that scored the baseline.
        method: Name of the baseline; None for runs.
    """

    values: tuple[str, ...]
    runs: tuple[Run, ...]
    method: str | None = None

    @property
    def name(self) -> str:
        """The name of the baseline, or the labels of the runs."""
        return self.method or " ".join(run.label for run in self.runs)

    def scores(self, split: str, monitor: str, key: str) -> list[float]:
        """Return one number per run that has a number in the column `key`; see `comparison_score`."""
        found = [comparison_score(run, split, monitor, key, self.method) for run in self.runs]
        return [value for value in found if value is not None]

    def shown(self, split: str, monitor: str, column: Column) -> str:
        """Format the mean and spread over runs in a column; after a gain stands its interval over the movies of the split."""
        text = table_mean_and_spread(self.scores(split, monitor, column.key), column.digits)
        rows = [run.row(split, self.method) or {} for run in self.runs]
        key = column.key.replace("over ", "gain_")
        found = [row.get("intervals", {}).get(key) for row in rows] if key != column.key else [None]
        if None in found:
            return text
        low, high = (sum(ends) / len(found) for ends in zip(*found, strict=True))
        return f"{text} [{low:.{column.digits}f}, {high:.{column.digits}f}]"


@dataclass(frozen=True)
class ComparisonTable:
    """A table of comparable runs: distinguishing config keys, lines (best first), baselines, test splits, monitored score."""

    keys: tuple[str, ...]
    entries: tuple[TableLine, ...]
    baselines: tuple[TableLine, ...]
    splits: tuple[str, ...]
    monitor: str

    @property
    def lines(self) -> tuple[TableLine, ...]:
        """All lines of the table: first the lines of the runs, then the baselines."""
        return (*self.entries, *self.baselines)

    def columns(self) -> list[Column]:
        """Return the columns in which any run has a number: the monitored score, then test scores and costs."""
        better: Literal["high", "low"] = "high" if monitor_is_maximised(self.monitor) else "low"
        monitored = Column(key="best", label=f"best {self.monitor}", better=better, digits=2)
        cells = [(entry, split) for entry in self.entries for split in self.splits]
        return [
            column
            for column in (monitored, *COLUMNS)
            if any(entry.scores(split, self.monitor, column.key) for entry, split in cells)
        ]

    def numeric(self) -> list[bool]:
        """Return a list with True for each distinguishing key whose values are all numbers."""
        return [all(_is_number(entry.values[at]) for entry in self.entries) for at in range(len(self.keys))]


def _is_number(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def comparison_score(run: Run, split: str, monitor: str, key: str, method: str | None = None) -> float | None:
    """Return the number of a run in a column of the comparison table; None if the run has no such number.

    Args:
        run: The run.
        split: Name of the test split, with the variable if there are several; see `table_part`.
        monitor: Score whose best value the column "best" shows.
        key: Column: "best"; "over X", the PSNR minus the PSNR of the method X in dB; or a key of the row in results.json.
        method: Baseline whose number is returned, such as "bicubic"; None for the trained network.
    """
    row = run.row(split, method)
    if key == "best":
        return run.best(monitor) if method is None else None
    if row is None:
        return None
    if key.startswith("over "):
        base = run.row(split, key.removeprefix("over "))
        return None if base is None else float(row["psnr"] - base["psnr"])
    if key == "train_seconds" and method is not None:
        return None
    return None if row.get(key) is None else float(row[key])


def build_comparison_table(runs: Sequence[Run]) -> ComparisonTable:
    """Build the table of comparable runs; runs that differ only in their seed share a line."""
    keys = tuple(keys_distinguishing_runs(runs))
    monitors = {run.monitor for run in runs}
    monitor = monitors.pop() if len(monitors) == 1 else "val/psnr"
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(run.value(key) for key in keys), []).append(run)
    entries = [TableLine(values, tuple(group)) for values, group in groups.items()]
    splits = tuple(dict.fromkeys(table_part(row) for run in runs for row in run.results["rows"]))

    def rank(entry: TableLine) -> tuple[bool, float]:
        found = entry.scores(splits[0], monitor, "best")
        mean = sum(found) / len(found) if found else 0.0
        return not found, -mean if monitor_is_maximised(monitor) else mean

    own = {run.results["config"]["name"] for run in runs}
    first = runs[0]
    known = [name for name in BASELINES if name not in own and first.row(splits[0], name) is not None]
    return ComparisonTable(
        keys, tuple(sorted(entries, key=rank)), tuple(TableLine((), (first,), name) for name in known), splits, monitor
    )


def table_mean_and_spread(values: Sequence[float], digits: int) -> str:
    """Format the mean and half of the range, as in "31.20 ± 0.03"; "-" for no value. Equal whole numbers get no spread.

    Numbers with four decimals or more are written as in "3.21e-06 ± 4.00e-07" if the decimals leave fewer than three digits.
    """
    if not values:
        return "-"
    mean, half = sum(values) / len(values), (max(values) - min(values)) / 2
    style = ".2e" if digits > 3 and 0 < abs(mean) < 10.0 ** (2 - digits) else f".{digits}f"
    spread = len(values) > 1 and (digits > 0 or half > 0)
    return f"{mean:{style}}" + (f" ± {half:{style}}" if spread else "")


def comparison_table_markdown(one: ComparisonTable, *, brief: bool = False) -> str:
    """Format a Markdown table per split, with aligned columns; `brief` keeps only the columns for a terminal."""
    columns = [column for column in one.columns() if not brief or column.key in BRIEF]
    several = any(len(entry.runs) > 1 for entry in one.entries)
    parts = []
    for split in one.splits:
        head = ["run", *one.keys, *(["seeds"] if several else []), *(column.heading() for column in columns)]
        lines = [head]
        for entry in one.lines:
            cells = [entry.name, *(entry.values or [""] * len(one.keys))]
            cells += [str(len(entry.runs)) if entry.method is None else ""] if several else []
            lines.append(cells + [entry.shown(split, one.monitor, column) for column in columns])
        lines = [[escape_name(cell).replace("|", "\\|") for cell in line] for line in lines]
        widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        texts = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines]
        parts.append("\n".join([f"Split {split}:", "", texts[0], rule, *texts[1:]]))
    told = [f"± {SPREAD}"] if several else []
    told += sorted({note for entry in one.entries if (note := budget_note(entry.runs))})
    if any("[" in part for part in parts):
        told.append(INTERVAL)
    return "\n\n".join([*parts, *([f"{'; '.join(told)}."] if told else [])])


def comparison_table_csv(runs: Sequence[Run]) -> str:
    """Format a CSV line per run and test split, with settings and scores in full precision; a missing value is left empty."""
    ended = [run for run in runs if run.state == "ok"]
    keys = keys_distinguishing_runs(runs)
    names = list(
        dict.fromkeys(
            key for run in ended for row in run.results["rows"] for key in row if key not in ("split", "method", "intervals")
        )
    )
    lines: list[list[Any]] = []
    for run in runs:
        start = [run.label, str(run.folder), run.state, run.error, *(run.value(key) for key in keys), run.value(SEED)]
        if run.state != "ok":
            lines.append(start)
        for part, split in {table_part(row): row["split"] for row in run.results.get("rows", [])}.items():
            row = run.row(part) or {}
            lines.append([*start, split, *(row.get(name) for name in names), run.monitor, run.best(run.monitor)])
    return format_csv(["run", "folder", "state", "error", *keys, SEED, "split", *names, "monitor", "best"], lines)
