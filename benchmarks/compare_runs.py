"""One table out of many runs: mean over seeds and their spread, refused where the runs are not comparable.

    python benchmarks/compare_runs.py --split unseen "fsrcnn=runs/a,runs/b" "two_stage:2D network=runs/c,runs/d"

Each argument is LABEL=FOLDER,FOLDER,... ; a label with a colon takes the row of that method instead of the run's own, so that
`baseline:bicubic=runs/a` shows a baseline. The spread is half of the range over seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

COMPARED = ("data", "degradation", "scale", "window", "ends", "range", "protocol", "psnr", "ssim")


def read(folder: Path) -> dict[str, Any]:
    """A run's results.json."""
    try:
        return json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {folder / 'results.json'}: cannot be read ({error})")


def row_of(results: dict[str, Any], method: str | None, split: str) -> dict[str, Any]:
    """The row of a method, the run's own by default."""
    wanted = method or results["config"]["name"]
    for row in results["rows"]:
        if row["split"] == split and row["method"] == wanted:
            return row
    sys.exit(f"error: no row of '{wanted}' for split '{split}'; there are {sorted({r['method'] for r in results['rows']})}")


def spread(values: list[float], digits: int) -> str:
    """Mean and half of the range."""
    mean, half = sum(values) / len(values), (max(values) - min(values)) / 2
    return f"{mean:.{digits}f}" + (f" ± {half:.{digits}f}" if len(values) > 1 else "")


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="LABEL=FOLDER,...")
    parser.add_argument("--split", default="unseen")
    arguments = parser.parse_args()
    seen: dict[str, Any] | None = None
    lines: list[str] = []
    for argument in arguments.runs:
        label, _, folders = argument.partition("=")
        shown, _, method = label.partition(":")
        found = [read(Path(folder)) for folder in folders.split(",")]
        for folder, results in zip(folders.split(","), found, strict=True):
            protocol = {key: results["protocol"][key] for key in COMPARED}
            seen = seen or protocol
            different = [key for key in COMPARED if protocol[key] != seen[key]]
            if different:
                sys.exit(f"error: {folder}: not comparable with the first run, {', '.join(different)} differ")
        rows = [row_of(results, method or None, arguments.split) for results in found]
        bicubic = [row_of(results, "bicubic", arguments.split)["psnr"] for results in found]
        gains = [row["psnr"] - base for row, base in zip(rows, bicubic, strict=True)]
        motion = [
            spread([row[score] for row in rows], 3) if all(row[score] is not None for row in rows) else ""
            for score in ("change_error", "flicker")
        ]
        seconds = [row["train_seconds"] for row in rows]
        cells = [shown, str(len(rows)), spread([row["psnr"] for row in rows], 2), spread([row["ssim"] for row in rows], 4)]
        cells += [f"{sum(gains) / len(gains):+.2f}", *motion, str(rows[0]["parameters"])]
        lines.append("| " + " | ".join([*cells, f"{sum(seconds) / len(seconds):.0f}" if any(seconds) else ""]) + " |")
    print("| method | seeds | PSNR | SSIM | over bicubic | change err | flicker | parameters | train s |")
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
