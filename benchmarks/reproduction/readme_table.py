"""Write the results table of the README from report.json."""

from __future__ import annotations

from typing import Any

from benchmarks.common.markdown import gain, mean, replace_block, spread, table
from benchmarks.reproduction.tables import ReportResults

BEGIN = "<!-- written by make tables from docs/results/report.json -->"
RUNS = {
    "bicubic": "`bicubic`",
    "linear": "`linear`",
    "table2": "`fsrcnn`",
    "as_reported": "`fsrcnn`, trained as reported",
    "table3": "`srnet3d`, as in the report",
    "table3_clips": "`srnet3d`, `windows=false`",
    "table6": "`two_stage` (2D, then 3D)",
    "two_in_one": "`joint` (both in one)",
    "three_then_two": "`movie_then_frame` (3D, then 2D)",
}


def render_table(content: dict[str, Any]) -> str:
    """Render one row per network: PSNR and gain on each test split, parameters and seconds."""
    facts = ReportResults(content)
    splits = facts.splits("table2")
    rows = []
    for run, label in RUNS.items():
        if run not in facts.runs:
            continue
        cells = [label, str(facts.runs[run]["seeds"][0]["parameters"])]
        for split in splits:
            found = facts.row(run, split)
            cells += [spread(found), gain(found, facts.row(run, split, method="linear")).partition(" ±")[0]]
        seconds = "" if run in ("bicubic", "linear") else f"{mean(facts.seconds(run)):.0f}"
        rows.append([*cells, seconds])
    header = ["model", "parameters", *(text for split in splits for text in (f"{split} PSNR", "over `linear`")), "seconds"]
    return table(header, rows)


def update_readme(readme: str, content: dict[str, Any]) -> str:
    """Return the README with a current table. Raises UserError where the marks are missing."""
    return replace_block("README.md", readme, BEGIN, render_table(content))
