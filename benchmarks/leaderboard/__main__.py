"""Command that trains missing runs and writes the leaderboard: `python -m benchmarks.leaderboard`."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.leaderboard.command_line import Options, help_text, parse_options
from vsr.errors import UserError

PAGE, README = Path("docs/results/leaderboard.md"), Path("README.md")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command. Exits with 1 after a mistake of the user or a failed run, with 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"--help", "-h"} & set(arguments):
        print(help_text())
        return
    try:
        make(parse_options(arguments), displayed_command(arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)


def displayed_command(arguments: Sequence[str]) -> str:
    """Return the command to show on the page: without options that change no number, paths replaced by FILE."""
    hidden = ("out", "page", "jobs", "rates", "speed", "render", "continue")
    shown = [each for each in arguments if each.partition("=")[0] not in hidden]
    masked = [re.sub(r"(\.(?:test_)?path)=.*", r"\1=FILE", each) for each in shown]
    return shlex.join(["python", "-m", "benchmarks.leaderboard", *masked])


def make(options: Options, command: str) -> None:
    """Train, score and time the networks, then write the page. Raises UserError for failed runs after the page is written."""
    from benchmarks.leaderboard.inference_speed import costs
    from benchmarks.leaderboard.train_runs import LeaderboardRuns

    page = options.page or PAGE
    earlier = read_earlier(page.with_suffix(".json")) if options.go_on else {}
    runs = LeaderboardRuns(options, earlier)
    failed: list[str] = []

    def attempt(step: Callable[[], object]) -> None:
        try:
            step()
        except UserError as error:  # the page still shows what did run
            failed.append(str(error))

    if not options.render:
        attempt(lambda: runs.rates.measure(options.rates, print))
        attempt(lambda: runs.train(print))
        attempt(lambda: runs.score(print))
    collected = runs.collect()
    networks = runs.models_to_time(collected)
    speeds = options.out / "speed.json"
    measured = costs(networks, speeds, options.frame, options.speed, print, earlier.get("costs")) if networks else {}
    write_outputs(runs.facts(collected, measured, command), page)
    failed += collected.dropped
    failed += [f"{cell.name}: {why}" for cell, why in runs.rates.refused.items() if runs.choice.chosen(cell)]
    if failed:
        raise UserError("; ".join(failed))


def read_earlier(path: Path) -> dict[str, Any]:
    """Read leaderboard.json of earlier sittings; empty without a file. Raises UserError for a file that cannot be read."""
    if not path.is_file():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); type continue=false to run everything here") from error
    return found


def write_outputs(content: dict[str, object], page: Path) -> None:
    """Write the page, its JSON file and figures; for the page in docs/ also the table of the README. Raises UserError."""
    from benchmarks.common.markdown import write_page_file
    from benchmarks.leaderboard.figures import draw_psnr_over_budget, draw_psnr_over_speed
    from benchmarks.leaderboard.page import render
    from benchmarks.leaderboard.readme_table import update_readme
    from benchmarks.leaderboard.results import Leaderboard

    board, images = Leaderboard(content), page.parent.parent / "images"
    if board.runs:
        draw_psnr_over_speed(board, images / "leaderboard-speed.png")
        draw_psnr_over_budget(board, images / "leaderboard-budget.png")
    write_page_file(page.with_suffix(".json"), json.dumps(content, indent=1) + "\n")
    write_page_file(page, render(content))
    if page == PAGE:
        write_page_file(README, update_readme(README.read_text(encoding="utf-8"), content))
    print(f"{page}: written")


if __name__ == "__main__":
    main()
