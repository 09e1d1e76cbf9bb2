"""Writer of the files that compare training runs: summary.html, summary.md and summary.csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vsr.evaluation.compare.page import comparison_page, name_comparison_sets
from vsr.evaluation.compare.runs import Run, group_comparable_runs
from vsr.evaluation.compare.table import build_comparison_table, comparison_table_csv, comparison_table_markdown
from vsr.evaluation.report.write import write_report_files


def write_comparison(folder: Path, runs: Sequence[Run], *, title: str, command: str) -> str:
    """Write summary.html, summary.md and summary.csv, with a table per set of comparable runs; return brief tables as text.

    Raises:
        UserError: If a file cannot be written.
    """
    sets = group_comparable_runs(runs)
    tables = [build_comparison_table(found) for found in sets]
    names = name_comparison_sets(sets) if sets else []

    def text(brief: bool) -> str:
        heads = [f"## {name}\n\n" if len(sets) > 1 else "" for name in names]
        return "\n\n".join(head + comparison_table_markdown(one, brief=brief) for head, one in zip(heads, tables, strict=True))

    unfinished = [f"- {run.label} {' '.join(run.typed)}: {run.error}" for run in runs if run.state != "ok"]
    listed = "\n".join(["", "", "Without a result:", "", *unfinished]) if unfinished else ""
    contents = {
        "summary.html": comparison_page(title, runs, list(zip(sets, tables, strict=True)), command),
        "summary.md": f"# {title}\n\n{text(False)}{listed}\n",
        "summary.csv": comparison_table_csv(runs),
    }
    write_report_files(folder, {name: content.encode() for name, content in contents.items()})
    return text(True)
