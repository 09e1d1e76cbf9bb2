"""The results table of the README, between two marks, out of the same facts as the report's page."""

from __future__ import annotations

from typing import Any

from benchmarks.common.markdown import gain, mean, spread, table
from benchmarks.common.marks import replaced as marked
from benchmarks.reproduction.sections import Facts

BEGIN = "<!-- written by make tables from docs/results/report.json -->"
RUNS = {
    "bicubic": "`bicubic`",
    "linear": "`linear`",
    "table2": "`fsrcnn`",
    "as_reported": "`fsrcnn`, trained as reported",
    "table3": "`srnet3d`",
    "table6": "`two_stage` (2D, then 3D)",
    "two_in_one": "`joint` (both in one)",
    "three_then_two": "`movie_then_frame` (3D, then 2D)",
}


def block(content: dict[str, Any]) -> str:
    """One row per network: PSNR and gains on later frames (`test`) and on other trajectories (`unseen`), and its cost."""
    facts = Facts(content)
    splits = facts.splits("table2")
    rows = []
    for run, label in RUNS.items():
        cells = [label, str(facts.runs[run]["seeds"][0]["parameters"])]
        for split in splits:
            found = facts.row(run, split)
            cells += [spread(found), gain(found, facts.row(run, split, method="linear")).partition(" ±")[0]]
        seconds = "" if run in ("bicubic", "linear") else f"{mean(facts.seconds(run)):.0f}"
        rows.append([*cells, seconds])
    header = ["model", "parameters", *(text for split in splits for text in (f"{split} PSNR", "over `linear`")), "seconds"]
    return table(header, rows)


def replaced(readme: str, content: dict[str, Any]) -> str:
    """The README with its table as the facts say. Raises UserError where the marks are not there."""
    return marked("README.md", readme, BEGIN, block(content))
