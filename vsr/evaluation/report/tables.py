"""Tables of scores for the terminal, Markdown and LaTeX. Every cell is escaped, as names come from other people's files."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from vsr.evaluation.report.columns import Column, ColumnBlock, column_blocks
from vsr.evaluation.report.escape import escape_name
from vsr.evaluation.rows import Row
from vsr.metrics.intervals import LEVEL
from vsr.metrics.variables import table_part

WIDTH = 150
_NAME = 36  # characters of a name in the terminal
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after the end of a row it would be an argument
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
}
INTERVALS = f"in brackets: {LEVEL:.0%} interval over segments"


def report_table_text(rows: Sequence[Row]) -> str:
    """Format rows as tables for a terminal: headline scores first, then the other groups, no line above 150 characters."""
    parts = []
    for number, block in enumerate(column_blocks(rows)):
        own = block.rows
        cells = {column: [column.label, *(_with_interval(column, row) for row in own)] for column in block.columns}
        parts_of = [table_part(row) for row in own]
        names = [["split", *(escape_name(part, _NAME) for part in parts_of)]]
        names.append(["method", *(escape_name(row["method"], _NAME) for row in own)])
        left = [_justified(cell, str.ljust) for cell in names]
        room = WIDTH - sum(len(cell[0]) + 2 for cell in left)
        for chunk in _chunks([_justified(cell, str.rjust) for cell in cells.values()], room):
            lines = ["  ".join(line) for line in zip(*left, *chunk, strict=True)]
            starts = {i + 1 for i, part in enumerate(parts_of) if not i or part != parts_of[i - 1]}
            ruled = [f"{'-' * len(lines[0])}\n{line}" if i in starts else line for i, line in enumerate(lines)]
            parts.append("\n".join([*([block.title] if number else []), *ruled]))
    if any("psnr" in row["intervals"] for row in rows):
        parts.append(INTERVALS)
    return "\n\n".join(parts)


def report_table_markdown(rows: Sequence[Row]) -> str:
    """Format a Markdown table per block of scores, with the best of each split in bold and score explanations below."""
    parts = []
    for block in column_blocks(rows):
        grid = _grid(block, _markdown_name, lambda cell, best: f"**{cell}**" if best else cell)
        heads = [_markdown_name(column.heading()) for column in block.columns]
        lines = [["split", "method", *heads], ["---", "---", *["---:"] * len(heads)], *grid]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        terms = "\n".join(f"- {_markdown_name(c.label)}: {_markdown_name(c.explained())}" for c in block.columns)
        parts.append(f"### {block.title}\n\n{body}\n\n{terms}")
    return "\n\n".join([*parts, f"Bold: best of the split; {INTERVALS}."]) + "\n"


def report_table_latex(rows: Sequence[Row]) -> str:
    """Format a LaTeX tabular per block of scores, with the best of each split in bold; the document must load booktabs."""

    def number(cell: str, best: bool) -> str:
        if cell == "-":
            return "--"
        value, _, interval = cell.partition(" ")
        base, _, exponent = value.partition("e")
        value = rf"{base}\cdot10^{{{int(exponent)}}}" if exponent else base
        value = rf"$\mathbf{{{value}}}$" if best else f"${value}$"
        return rf"{value} {{\scriptsize ${interval}$}}" if interval else value

    parts = [r"% \usepackage{booktabs}"]
    for block in column_blocks(rows):
        grid = _grid(block, _latex_name, number)
        heads = ["split", "method", *(_latex_name(column.heading()) for column in block.columns)]
        lines = [f"% {block.title}", rf"\begin{{tabular}}{{@{{}}ll{'r' * len(block.columns)}@{{}}}}", r"\toprule"]
        lines += [" & ".join(heads) + r" \\", r"\midrule"]
        for i, line in enumerate(grid):
            if i and table_part(block.rows[i]) != table_part(block.rows[i - 1]):
                lines.append(r"\midrule")
            lines.append(" & ".join(line) + r" \\")
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}"]))
    return "\n\n".join(parts) + "\n"


def _with_interval(column: Column, row: Row) -> str:
    """Format the number of a row in a column; a PSNR and a gain over linear are followed by their confidence intervals."""
    shown = column.show(row[column.key])
    interval = column.interval(row) if column.key in ("psnr", "gain_linear") else ""
    return f"{shown} {interval}".rstrip()


def _grid(block: ColumnBlock, name: Callable[[str], str], cell: Callable[[str, bool], str]) -> list[list[str]]:
    """Return the cells of each row in a block: split, method, and each number as `cell(number, is best)`."""
    best = {column: column.best(block.rows) for column in block.columns}
    return [
        [name(table_part(row)), name(row["method"]), *(cell(_with_interval(c, row), best[c][i]) for c in block.columns)]
        for i, row in enumerate(block.rows)
    ]


def _justified(cells: list[str], how: Callable[[str, int], str]) -> list[str]:
    width = max(len(cell) for cell in cells)
    return [how(cell, width) for cell in cells]


def _chunks(columns: list[list[str]], room: int) -> list[list[list[str]]]:
    """Split the columns into as few groups as possible, each at most `room` characters wide."""
    found: list[list[list[str]]] = [[]]
    for column in columns:
        if found[-1] and sum(len(one[0]) + 2 for one in (*found[-1], column)) > room:
            found.append([])
        found[-1].append(column)
    return found


def _markdown_name(name: str) -> str:
    escaped = re.sub(r"([\\`*_{}\[\]|~$#])", r"\\\1", escape_name(name))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _latex_name(name: str) -> str:
    return "".join(_LATEX.get(mark, mark) for mark in escape_name(name))
