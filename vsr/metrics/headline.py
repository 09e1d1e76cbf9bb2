"""The headline scores as text: a table for the terminal, and a verdict on each network in words. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vsr.metrics.intervals import LEVEL, MIN_SEGMENTS, REFERENCES
from vsr.metrics.variables import table_part
from vsr.system.escape import escape_name

WIDTH = 100  # characters of a line of the table
LONGEST = 36  # characters of a name in it
SPARED = ("MSE", "MAE", "train s", "parameters")  # columns that are left out, in this order, where lines would be too long
NAMED = {"bicubic": "bicubic", "linear": "the best linear filter"}


def headline_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format the headline scores of training or evaluation as a table for a terminal, no line above 100 characters.

    Each split, or variable of a split, has a block of lines, in which a star marks the best PSNR. After the gain over the linear
    filter stands its 95% interval over the segments of the split, paired frame by frame.

    Args:
        rows: Results rows, grouped by split.
    """
    parts = {part: [row["psnr"] for row in rows if table_part(row) == part] for part in map(table_part, rows)}
    best = {part: max(filter(None, known), default=None) for part, known in parts.items()}
    heads = ["method", "MAE", "MSE", "PSNR", "SSIM", *(f"over {base}" for base in REFERENCES), "parameters", "train s"]
    columns = {head: [head] for head in heads}
    titles = []
    for row in rows:
        part = table_part(row)
        star = " *" if row["psnr"] is not None and row["psnr"] == best[part] else ""
        gains = [_formatted(_gain(row, rows, base), "+.2f") for base in REFERENCES]
        if (interval := row["intervals"].get("gain_linear")) is not None:
            gains[1] += " [{:+.1f}, {:+.1f}]".format(*interval)
        scores = [
            _formatted(row[key], style) for key, style in (("mae", ".3e"), ("mse", ".3e"), ("psnr", ".2f"), ("ssim", ".4f"))
        ]
        cost = [str(row["parameters"]), f"{row['train_seconds']:.0f}" if row["train_seconds"] else "-"]
        for head, cell in zip(heads, [escape_name(row["method"], LONGEST) + star, *scores, *gains, *cost], strict=True):
            columns[head].append(cell)
        count, segments = f"{row['frames']} frame{'s' * (row['frames'] != 1)}", row["segments"]
        if segments < row["frames"]:
            count += f" of {segments} movie{'s' * (segments != 1)}"
        titles.append(f"--- {escape_name(part, LONGEST)}, {count} ")
    for base in REFERENCES:
        if set(columns[f"over {base}"][1:]) == {"-"}:
            del columns[f"over {base}"]
    for head in SPARED:
        if sum(max(map(len, cells)) + 2 for cells in columns.values()) - 2 > WIDTH:
            del columns[head]
    widths = {head: max(map(len, cells)) for head, cells in columns.items()}
    lines: list[str] = []
    for at in range(len(rows) + 1):
        if at and (at == 1 or titles[at - 1] != titles[at - 2]):
            lines.append(titles[at - 1].ljust(len(lines[0]), "-"))
        line = (f"{cells[at]:{'<' if head == 'method' else '>'}{widths[head]}}" for head, cells in columns.items())
        lines.append("  ".join(line))
    notes = ["PSNR and gains in dB", "* the best PSNR"]
    if any(row["intervals"] for row in rows):
        notes.append(f"in brackets: {LEVEL:.0%} interval over the movies")
    return "\n".join([*lines, "; ".join(notes)])


def headline_verdict(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], units: str = "", mark: str = "{}") -> str:
    """Say in words what a network is worth: its gains over bicubic and the linear filter, their interval, and its error.

    Args:
        row: Results row of the network.
        rows: All results rows, for the gains if the row lacks them.
        units: Unit of the data, if the row names none.
        mark: How names are marked, as in "<b>{}</b>".
    """
    others = [base for base in REFERENCES if base != row["method"]]
    gains = {base: gain for base in others if (gain := _gain(row, rows, base)) is not None}
    over = [f"{'beats' if gain > 0 else 'is below'} {NAMED[base]} by {abs(gain):.1f} dB" for base, gain in gains.items()]
    where = f"{row['frames']} frames of {row['segments']} movie{'s' * (row['segments'] != 1)}"
    method, part = (mark.format(escape_name(name)) for name in (row["method"], table_part(row)))
    text = f"{method} {' and '.join(over) or 'has no rival here'} on {part} ({where})."
    if (ends := row["intervals"].get("gain_linear")) is not None:
        text += f" The {LEVEL:.0%} interval of the gain over the linear filter is {ends[0]:+.1f} to {ends[1]:+.1f} dB."
    elif row["segments"] < MIN_SEGMENTS:
        text += f" There is no interval: it takes {MIN_SEGMENTS} movies or more."
    if row.get("rmse") is not None:
        unit = escape_name(str(row.get("unit", units)))
        text += f" Its typical error (RMSE) is {row['rmse']:.3g}{f' {unit}' if unit not in ('', '1') else ''}"
        text += f", {100 * row['vrmse']:.2g} % of the spread of HR." if row.get("vrmse") is not None else "."
    if row.get("coverage_90") is not None:
        text += f" Of HR, {100 * row['coverage_90']:.0f} % lies inside its 90% intervals"
        text += f"; spread / error is {row['spread_error']:.2f}." if row.get("spread_error") is not None else "."
    if gains.get("linear", 0) < 0:
        text += " The linear filter is better and costs less; model=linear writes it as a checkpoint."
    return text


def _gain(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], base: str) -> float | None:
    """Return the gain in PSNR of a row over a method of the same part of the table; None without one."""
    if f"gain_{base}" in row:
        return row[f"gain_{base}"]
    others = [other["psnr"] for other in rows if (table_part(other), other["method"]) == (table_part(row), base)]
    return None if row["psnr"] is None or not others or others[0] is None else row["psnr"] - others[0]


def _formatted(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)
