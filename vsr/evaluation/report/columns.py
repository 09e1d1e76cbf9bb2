"""What the columns of a table are: their headings, how their numbers are written and which number is best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vsr.evaluation.rows import Row
from vsr.metrics.definitions import DEFINITIONS, HEADLINE_SCORES, UNIT_INTERVAL

UNITS = {UNIT_INTERVAL: "1 = the data range", "data": "in the data's unit"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of numbers; `key` is that of a row, `better` as in a Definition or None where nothing is better."""

    key: str
    label: str
    unit: str = ""
    better: Literal["high", "low", "one", "zero"] | None = None
    text: str = ""
    source: str = "-"

    def show(self, value: float | None) -> str:
        """The number as people read it, - for None."""
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
        if self.unit == "data":
            return f"{value:#.4g}".removesuffix(".")
        if self.better == "zero":
            return f"{value:+.2e}"
        return f"{value:.2e}" if 0 < abs(value) < 1e-3 else f"{value:.4f}"

    def interval(self, row: Row) -> str:
        """ "[43.1, 43.5]", with two decimals where one would not tell the ends apart; "" where there is none."""
        if self.key not in row["intervals"]:
            return ""
        low, high = row["intervals"][self.key]
        if self.key == "psnr" and high - low >= 0.2:
            return f"[{low:.1f}, {high:.1f}]"
        return f"[{self.show(low)}, {self.show(high)}]"

    def heading(self) -> str:
        """The label with its unit, where that has a name."""
        return f"{self.label} ({self.unit})" if self.unit in ("dB", "px") else self.label

    def explained(self) -> str:
        """One line: what it is, in which unit and what is better."""
        ideal = {"high": "higher is better", "low": "lower is better", "one": "1 is ideal", "zero": "0 is ideal", None: ""}
        return "; ".join(part for part in (self.text, UNITS.get(self.unit, self.unit), ideal[self.better]) if part)

    def best(self, rows: Sequence[Row]) -> list[bool]:
        """For each row, whether its number is the best of its split, or reads the same; never where there is nothing to beat."""
        found = [False] * len(rows)
        if self.better is None:
            return found
        for split in {row["split"] for row in rows}:
            at = [i for i, row in enumerate(rows) if row["split"] == split and row[self.key] is not None]
            shown = {i: self.show(rows[i][self.key]) for i in at}
            if len(set(shown.values())) > 1:
                top = shown[min(at, key=lambda i: self._distance(rows[i][self.key]))]
                for i in at:
                    found[i] = shown[i] == top
        return found

    def _distance(self, value: float) -> float:
        """How far from ideal, up to a constant."""
        if self.better == "high":
            return -value
        return value if self.better == "low" else abs(value - (self.better == "one"))


@dataclass(frozen=True, kw_only=True)
class Block:
    """Columns that stand together under a title, and the rows of all splits that have anything in them."""

    title: str
    columns: tuple[Column, ...]
    rows: list[Row]


def blocks(rows: Sequence[Row]) -> list[Block]:
    """Headline scores with gains and costs, then the others by group; columns and splits without a number are left out."""
    groups: dict[str, list[Column]] = {}
    for name, one in DEFINITIONS.items():
        column = Column(key=name, label=one.label, unit=one.unit, better=one.better, text=one.text, source=one.source)
        groups.setdefault("headline" if name in HEADLINE_SCORES else one.group, []).append(column)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    for key in keys:
        kind, _, name = key.partition("_")
        if kind == "gain":
            text = f"mean PSNR over that of {name} on the same frames"
            groups["headline"].append(Column(key=key, label=f"over {name}", unit="dB", better="high", text=text))
        elif kind == "skill":
            text, source = f"1 - MSE / MSE of {name}, sums over the same frames; 0 is no better than {name}", "Murphy 1988"
            groups["error"].append(Column(key=key, label=f"skill over {name}", better="high", text=text, source=source))
    groups["headline"] += [
        Column(key="parameters", label="parameters", text="numbers learned, or fitted to data"),
        Column(key="train_seconds", label="train s", text="seconds of training"),
    ]
    order = ["headline", *(group for group in groups if group != "headline")]
    found = []
    for title in order:
        columns = tuple(column for column in groups[title] if any(row.get(column.key) is not None for row in rows))
        there = {row["split"] for row in rows if any(row[column.key] is not None for column in columns)}
        if columns:
            found.append(Block(title=title, columns=columns, rows=[row for row in rows if row["split"] in there]))
    return found
