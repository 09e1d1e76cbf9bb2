"""Compare runs in a table and a page: `vsr compare runs/fsrcnn-climate/* runs/sweeps/NAME`."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from vsr.evaluation.compare.runs import find_compared_runs, group_comparable_runs, refuse_incomparable_runs
from vsr.evaluation.compare.write import write_comparison


def compare_command(arguments: Sequence[str]) -> None:
    """Print a table of runs and write summary.html, .md and .csv. Raises UserError if the runs cannot be compared."""
    parser = argparse.ArgumentParser(
        prog="vsr compare",
        description="Compare runs in a table, plots and a page. Runs that differ only in their seed become one line.",
    )
    parser.add_argument("runs", metavar="FOLDER", nargs="+", type=Path, help="folder of a run, of a sweep, or with runs in it")
    parser.add_argument("--output", metavar="FOLDER", type=Path, help="default: runs/compare/DATE_TIME")
    parser.add_argument("--apart", action="store_true", help="a table of each set of comparable runs, instead of a refusal")
    given = parser.parse_args(arguments)
    runs = find_compared_runs(given.runs)
    if not given.apart:
        refuse_incomparable_runs(group_comparable_runs(runs))
    folder = given.output or Path("runs", "compare", f"{datetime.now():%Y-%m-%d_%H-%M-%S}")
    command = shlex.join(["vsr", "compare", *arguments])
    print(write_comparison(folder, runs, title="Runs side by side", command=command))
    print(f"\nresults   {folder / 'summary.html'}, summary.md, summary.csv")
