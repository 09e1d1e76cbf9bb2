"""Every network at equal training budgets, with all runs that are missing for it: `python -m benchmarks.leaderboard`."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.leaderboard.order import Order, help_text, parsed
from vsr.errors import UserError

PAGE, README = Path("docs/results/leaderboard.md"), Path("README.md")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, write the page; exits 1 after a user's mistake or a run that failed, 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"--help", "-h"} & set(arguments):
        print(help_text())
        return
    try:
        make(parsed(arguments), typed_here(arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)


def typed_here(arguments: Sequence[str]) -> str:
    """The command without what changes no number, and without places on this machine."""
    shown = [each for each in arguments if each.partition("=")[0] not in ("out", "page", "jobs", "rates", "speed", "render")]
    masked = [re.sub(r"(\.(?:test_)?path)=.*", r"\1=FILE", each) for each in shown]
    return shlex.join(["python", "-m", "benchmarks.leaderboard", *masked])


def make(order: Order, command: str) -> None:
    """All of it. Raises UserError for runs that failed, behind the page of those that did not."""
    from benchmarks.leaderboard.contest import Contest
    from benchmarks.leaderboard.speed import costs

    contest = Contest(order)
    failed: list[str] = []

    def attempt(step: Callable[[], object]) -> None:
        try:
            step()
        except UserError as error:  # what could be run stays, and is shown
            failed.append(str(error))

    if not order.render:
        attempt(lambda: contest.rates.measure(order.rates, print))
        attempt(lambda: contest.train(print))
        attempt(lambda: contest.score(print))
    gathered = contest.gathered()
    networks = contest.with_speed(gathered)
    measured = costs(networks, order.out / "speed.json", order.frame, order.speed, print) if networks else {}
    write_page(contest.facts(gathered, measured, command), order.page or PAGE)
    failed += [f"{cell.name}: {why}" for cell, why in contest.rates.refused.items() if contest.choice.chosen(cell)]
    if failed:
        raise UserError("; ".join(failed))


def write_page(content: dict[str, object], page: Path) -> None:
    """The page, its facts and figures and, of the one in docs/, the README's table. Raises UserError."""
    from benchmarks.common.marks import write
    from benchmarks.leaderboard.board import Board
    from benchmarks.leaderboard.figures import over_budget, over_speed
    from benchmarks.leaderboard.page import render
    from benchmarks.leaderboard.readme import replaced

    board, images = Board(content), page.parent.parent / "images"
    if board.runs:
        over_speed(board, images / "leaderboard-speed.png")
        over_budget(board, images / "leaderboard-budget.png")
    write(page.with_suffix(".json"), json.dumps(content, indent=1) + "\n")
    write(page, render(content))
    if page == PAGE:
        write(README, replaced(README.read_text(encoding="utf-8"), content))
    print(f"{page}: written")


if __name__ == "__main__":
    main()
