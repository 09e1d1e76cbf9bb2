"""Tables of scores for Markdown and LaTeX. Every cell is escaped, as names come from other people's files."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from vsr.evaluation.report.columns import Column, ColumnBlock, column_blocks
from vsr.evaluation.rows import Row
from vsr.metrics.intervals import LEVEL
from vsr.metrics.variables import table_part
from vsr.system.escape import escape_name

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
INTERVALS = f"in brackets: {LEVEL:.0%} interval over the movies"


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


def _markdown_name(name: str) -> str:
    escaped = re.sub(r"([\\`*_{}\[\]|~$#])", r"\\\1", escape_name(name))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _latex_name(name: str) -> str:
    return "".join(_LATEX.get(mark, mark) for mark in escape_name(name))
