"""Columns of score tables: headings, number formats and best values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vsr.evaluation.rows import Row
from vsr.metrics.definitions import DEFINITIONS, HEADLINE_SCORES, UNIT_INTERVAL
from vsr.metrics.variables import table_part

UNITS = {UNIT_INTERVAL: "1 = the data range", "data": "in the data's unit"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of numbers in a table of scores.

    Attributes:
        key: Key of the number in a results row.
        label: Heading of the column.
        unit: "dB", "px" or another unit of length, "range" (1 is the data range), "data" (the unit of the data), or "".
        better: Which values are better: "high", "low", those near 1 ("one") or near 0 ("zero"); None if none are.
        text: Formula or explanation in one line.
        source: Paper or project that defined the score; "-" for common knowledge.
        digits: Decimals in tables of training runs; `show` chooses its own number of decimals.
    """

    key: str
    label: str
    unit: str = ""
    better: Literal["high", "low", "one", "zero", "level"] | None = None
    text: str = ""
    source: str = "-"
    digits: int = 4

    @classmethod
    def of_score(cls, name: str) -> Column:
        """Build the column of a score from its definition in `vsr.metrics.definitions.DEFINITIONS`."""
        one = DEFINITIONS[name]
        copied = {key: getattr(one, key) for key in ("label", "unit", "better", "text", "source", "digits")}
        return cls(key=name, **copied)

    @classmethod
    def of_gain(cls, key: str, reference: str) -> Column:
        """Build the column of the PSNR gain over a reference method; `key` is the key of the gain in a row."""
        text = f"mean PSNR minus the mean PSNR of {reference} on the same frames"
        return cls(key=key, label=f"over {reference}", unit="dB", better="high", text=text, digits=2)

    def show(self, value: float | None) -> str:
        """Format a number of the column with suitable decimals; "-" for None."""
        if value is None:
            return "-"
        if self.key == "parameters":
            return str(value)
        if self.key == "train_seconds":
            return f"{value:.0f}" if value else "-"
        if self.key.startswith("gain_"):
            return f"{value:+.2f}"
        if self.key.startswith("skill_"):
            return f"{value:.3f}"
        if self.unit in ("dB", "px"):
            return f"{value:.2f}"
        if self.unit == UNIT_INTERVAL:
            return f"{value:.3e}"
        if self.unit:  # of the data, or of lengths
            return f"{value:#.4g}".removesuffix(".")
        if self.better == "zero":
            return f"{value:+.2e}"
        return f"{value:.2e}" if 0 < abs(value) < 1e-3 else f"{value:.4f}"

    def interval(self, row: Row) -> str:
        """Format the interval of a row, as in "[43.1, 43.5]"; "" without one. Narrow PSNR intervals get two decimals."""
        if self.key not in row["intervals"]:
            return ""
        low, high = row["intervals"][self.key]
        if self.key == "psnr" and high - low >= 0.2:
            return f"[{low:.1f}, {high:.1f}]"
        return f"[{self.show(low)}, {self.show(high)}]"

    def heading(self) -> str:
        """Return the heading: the label, followed by the unit if it is dB or a length."""
        return self.label if self.unit in ("", *UNITS) else f"{self.label} ({self.unit})"

    def explained(self) -> str:
        """Return an explanation of the column in one line: formula, unit and ideal value."""
        ideal = {"high": "higher is better", "low": "lower is better", "one": "1 is ideal", "zero": "0 is ideal"}
        return "; ".join(part for part in (self.text, UNITS.get(self.unit, self.unit), ideal.get(self.better or "", "")) if part)

    def best(self, rows: Sequence[Row]) -> list[bool]:
        """Return True for each row whose printed number equals the best of its split; all False in a split of equal numbers."""
        found = [False] * len(rows)
        for part in set(map(table_part, rows)):
            at = [i for i, row in enumerate(rows) if table_part(row) == part]
            values = [rows[i][self.key] for i in at]
            for i, best in zip(at, self.best_of(values, [self.show(value) for value in values]), strict=True):
                found[i] = best
        return found

    def best_of(self, values: Sequence[float | None], shown: Sequence[str]) -> list[bool]:
        """Return True for each value whose text in `shown` equals that of the best value; all False if all texts are equal."""
        known = [(value, text) for value, text in zip(values, shown, strict=True) if value is not None]
        if self.better in (None, "level") or len({text for _, text in known}) < 2:
            return [False] * len(values)
        _, best = min(known, key=lambda pair: self._distance(pair[0]))
        return [value is not None and text == best for value, text in zip(values, shown, strict=True)]

    def _distance(self, value: float) -> float:
        """Return the distance of a value from the ideal value, up to a constant."""
        if self.better == "high":
            return -value
        return value if self.better == "low" else abs(value - (self.better == "one"))


COSTS = (
    Column(key="parameters", label="parameters", text="numbers learned, or fitted to data", digits=0),
    Column(key="train_seconds", label="train s", text="seconds of training", digits=0),
)


@dataclass(frozen=True, kw_only=True)
class ColumnBlock:
    """A part of a results table: a title, its columns, and the rows of each split that has a number in these columns."""

    title: str
    columns: tuple[Column, ...]
    rows: list[Row]


def column_blocks(rows: Sequence[Row]) -> list[ColumnBlock]:
    """Divide rows into blocks: headline scores with gains and costs, then score groups. Empty columns and splits are left out."""
    groups: dict[str, list[Column]] = {}
    for name, one in DEFINITIONS.items():
        groups.setdefault("headline" if name in HEADLINE_SCORES else one.group, []).append(Column.of_score(name))
    keys = list(dict.fromkeys(key for row in rows for key in row))
    for key in keys:
        kind, _, name = key.partition("_")
        if kind == "gain":
            groups["headline"].append(Column.of_gain(key, name))
        elif kind == "skill":
            text, source = f"1 - MSE / MSE of {name}, sums over the same frames; 0 is no better than {name}", "Murphy 1988"
            groups["error"].append(Column(key=key, label=f"skill over {name}", better="high", text=text, source=source))
    groups["headline"] += COSTS
    order = ["headline", *(group for group in groups if group != "headline")]
    found = []
    for title in order:
        columns = tuple(column for column in groups[title] if any(row.get(column.key) is not None for row in rows))
        there = {table_part(row) for row in rows if any(row[column.key] is not None for column in columns)}
        if columns:
            found.append(ColumnBlock(title=title, columns=columns, rows=[row for row in rows if table_part(row) in there]))
    return found
