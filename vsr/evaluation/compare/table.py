"""Tables of compared runs as Markdown and CSV: means over seeds with their spread."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from vsr.config.monitor import higher_is_better
from vsr.evaluation.compare.runs import SEED, Run, distinguishing_keys
from vsr.evaluation.report.escape import plain
from vsr.metrics.definitions import DEFINITIONS

BASELINES = ("nearest", "bilinear", "bicubic", "linear")
SPREAD = "half of the range over seeds"


@dataclass(frozen=True)
class Score:
    """A column of numbers.

    Attributes:
        key: the key of a row, "best" or "over BASELINE".
        label: heading of the column; "" for the monitored score, which is called by its name.
        digits: decimals.
        higher: True if higher is better, False if lower is better, None if neither.
    """

    key: str
    label: str
    digits: int
    higher: bool | None


def _defined(name: str) -> Score:
    one = DEFINITIONS[name]
    label = f"{one.label} ({one.unit})" if one.unit in ("dB", "px") else one.label
    return Score(name, label, one.digits, {"high": True, "low": False}.get(one.better))


_FIRST = ("psnr", "ssim", "mae", "mse")
SCORES = (
    Score("best", "", 2, True),
    *map(_defined, _FIRST),
    Score("over bicubic", "over bicubic (dB)", 2, True),
    Score("over linear", "over linear (dB)", 2, True),
    *(_defined(name) for name in DEFINITIONS if name not in _FIRST),
    Score("parameters", "parameters", 0, None),
    Score("train_seconds", "train s", 0, None),
)
_BRIEF = ("best", "psnr", "ssim", "over bicubic", "parameters", "train_seconds")


@dataclass(frozen=True)
class Entry:
    """A line of a table: runs that differ only in their seed, or a baseline.

    Attributes:
        values: the values of the distinguishing keys; empty for a baseline.
        runs: the runs of the line.
        method: the name of a baseline; None for runs.
    """

    values: tuple[str, ...]
    runs: tuple[Run, ...]
    method: str | None = None

    def scores(self, split: str, monitor: str, key: str) -> list[float]:
        """Return one number per run that has the score."""
        found = [score_of(run, split, monitor, key, self.method) for run in self.runs]
        return [value for value in found if value is not None]


@dataclass(frozen=True)
class Table:
    """Comparable runs: the distinguishing keys, the lines from the best on, the baselines, and the test splits."""

    keys: tuple[str, ...]
    entries: tuple[Entry, ...]
    baselines: tuple[Entry, ...]
    splits: tuple[str, ...]
    monitor: str

    def scores(self) -> list[Score]:
        """Return the columns with a number in any line."""
        lines = [(entry, split) for entry in self.entries for split in self.splits]
        return [one for one in SCORES if any(entry.scores(split, self.monitor, one.key) for entry, split in lines)]

    def numeric(self) -> list[bool]:
        """Tell for each key whether all of its values are numbers."""
        return [all(_is_number(entry.values[at]) for entry in self.entries) for at in range(len(self.keys))]

    def label(self, score: Score) -> str:
        """Return the heading of a column."""
        return score.label or f"best {self.monitor}"


def _is_number(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def score_of(run: Run, split: str, monitor: str, key: str, method: str | None = None) -> float | None:
    """Return a number of a run, or of the named baseline of the run; None without it."""
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


def build_table(runs: Sequence[Run]) -> Table:
    """Build the table of comparable runs."""
    keys = tuple(distinguishing_keys(runs))
    monitors = {run.monitor for run in runs}
    monitor = monitors.pop() if len(monitors) == 1 else "val/psnr"
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(run.value(key) for key in keys), []).append(run)
    entries = [Entry(values, tuple(group)) for values, group in groups.items()]
    splits = tuple(dict.fromkeys(row["split"] for run in runs for row in run.results["rows"]))

    def rank(entry: Entry) -> tuple[bool, float]:
        found = entry.scores(splits[0], monitor, "best")
        mean = sum(found) / len(found) if found else 0.0
        return not found, -mean if higher_is_better(monitor) else mean

    own = {run.results["config"]["name"] for run in runs}
    first = runs[0]
    known = [name for name in BASELINES if name not in own and first.row(splits[0], name) is not None]
    return Table(keys, tuple(sorted(entries, key=rank)), tuple(Entry((), (first,), name) for name in known), splits, monitor)


def mean_and_spread(values: Sequence[float], digits: int) -> str:
    """Format the mean and half of the range, as in "31.20 ± 0.03"; "-" for no value. Equal whole numbers get no spread."""
    if not values:
        return "-"
    half = (max(values) - min(values)) / 2
    spread = len(values) > 1 and (digits > 0 or half > 0)
    return f"{sum(values) / len(values):.{digits}f}" + (f" ± {half:.{digits}f}" if spread else "")


def markdown(one: Table, *, brief: bool = False) -> str:
    """Format a Markdown table per split, with aligned columns; `brief` leaves out columns for a terminal."""
    scores = [score for score in one.scores() if not brief or score.key in _BRIEF]
    several = any(len(entry.runs) > 1 for entry in one.entries)
    parts = []
    for split in one.splits:
        head = ["run", *one.keys, *(["seeds"] if several else []), *(one.label(score) for score in scores)]
        lines = [head]
        for entry in (*one.entries, *one.baselines):
            cells = [entry.method or runs_of(entry), *(entry.values or [""] * len(one.keys))]
            cells += [str(len(entry.runs)) if entry.method is None else ""] if several else []
            lines.append(cells + [mean_and_spread(entry.scores(split, one.monitor, score.key), score.digits) for score in scores])
        lines = [[plain(cell).replace("|", "\\|") for cell in line] for line in lines]
        widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        texts = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines]
        parts.append("\n".join([f"Split {split}:", "", texts[0], rule, *texts[1:]]))
    return "\n\n".join(parts)


def runs_of(entry: Entry) -> str:
    """Return the labels of the runs of a line."""
    return " ".join(run.label for run in entry.runs)


def as_csv(runs: Sequence[Run]) -> str:
    """Format every run and split as CSV: label, state, distinguishing keys, seed and scores in full, empty without a value."""
    ended = [run for run in runs if run.state == "ok"]
    keys = distinguishing_keys(runs)
    names = list(
        dict.fromkeys(key for run in ended for row in run.results["rows"] for key in row if key not in ("split", "method"))
    )
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["run", "folder", "state", "error", *keys, SEED, "split", *names, "monitor", "best"])
    for run in runs:
        start = [run.label, str(run.folder), run.state, run.error, *(run.value(key) for key in keys), run.value(SEED)]
        if run.state != "ok":
            out.writerow(start)
        for split in dict.fromkeys(row["split"] for row in run.results.get("rows", [])):
            row = run.row(split) or {}
            out.writerow([*start, split, *(row.get(name) for name in names), run.monitor, run.best(run.monitor)])
    return text.getvalue()
