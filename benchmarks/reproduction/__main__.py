"""Make the tables of the report, with all runs that are missing for them: `python -m benchmarks.reproduction`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vsr.errors import UserError, suggestion
from vsr.system.jobs import cores

PAGE, README = Path("docs/results/report.md"), Path("README.md")
KEYS = ("seeds", "jobs", "out", "page", "precision")
HELP = """\
Make the tables of the report, with all runs that are missing for them: python -m benchmarks.reproduction [KEY=VALUE ...]

Keys:
  data.KEY: ...      # of the climate data instead of the generated ones: data.path=H_Field_NI5.mat data.axes=yxt
  movies.KEY: ...    # of the movies of Table 4: movies.path=FOLDER with akiyo and container (default: what make movies
                     # fetched, else a synthetic camera over photographs)
  GROUP.KEY: ...     # of all runs, as train.py takes it: recipe.steps=10 trainer.accelerator=cpu
  seeds: 3
  jobs: null         # runs at a time; null: one per core
  out: runs/tables   # folder of the runs
  page: null         # null: docs/results/report.md, of other data OUT/report.md; with report.json, and figures in ../images
  precision: null    # of training; null: bf16 where the CPU computes in it, else 32

Runs that are there with the same config are not made again, interrupted ones go on. Two cores take 40 minutes."""


@dataclass
class Order:
    """What was typed."""

    climate: list[str] = field(default_factory=list)
    movies: list[str] = field(default_factory=list)
    every: list[str] = field(default_factory=list)
    seeds: int = 3
    jobs: int = 1
    out: Path = Path("runs/tables")
    page: Path | None = None
    precision: str | None = None


def parsed(arguments: Sequence[str]) -> Order:
    """The keys and values of a command line. Raises UserError, with what to type instead."""
    order = Order(jobs=cores())
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not value:
            raise UserError(f"{argument}: type KEY=VALUE; python -m benchmarks.reproduction --help lists the keys")
        if key.startswith("data."):
            order.climate.append(argument)
        elif key.startswith("movies."):
            order.movies.append(f"data.{key.removeprefix('movies.')}={value}")
        elif key in ("seeds", "jobs"):
            if not value.isdecimal() or int(value) < 1:
                raise UserError(f"{argument}: must be a number of 1 or more")
            setattr(order, key, int(value))
        elif key in ("out", "page"):
            setattr(order, key, Path(value).expanduser())
        elif key == "precision":
            order.precision = value
        elif "." in key:
            order.every.append(argument)
        else:
            raise UserError(f"{key}: unknown key{suggestion(key, (*KEYS, 'data.path', 'movies.path'))}")
    return order


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, write the page; exits 1 after a user's mistake or a run that failed, 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"--help", "-h"} & set(arguments):
        print(HELP)
        return
    try:
        make(parsed(arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)


def make(order: Order) -> None:
    """All of it. Raises UserError for runs that failed and for files that cannot be written."""
    from benchmarks.common.runs import complete, place
    from benchmarks.reproduction.facts import gather
    from benchmarks.reproduction.page import render
    from benchmarks.reproduction.plan import report_runs
    from benchmarks.reproduction.readme import replaced
    from vsr.commands.fetch import fetched_overrides
    from vsr.system.cpu import computes_bf16

    movies = order.movies or fetched_overrides()
    runs = report_runs(order.climate, movies, order.precision or ("bf16" if computes_bf16() else "32"), order.every)
    placed = place(runs, order.seeds, order.out)
    made = complete(list(placed.values()), order.jobs, print)
    content = gather(list(placed.values()))
    another = order.climate or order.every or order.seeds != 3
    page = order.page or (order.out / "report.md" if another else PAGE)
    facts, images = page.with_suffix(".json"), page.parent.parent / "images"
    texts = {facts: json.dumps(content, indent=1) + "\n", page: render(content)}
    if page == PAGE:
        texts[README] = replaced(README.read_text(encoding="utf-8"), content)
    pictures = [images / f"report-{name}.png" for name in ("curves", "interim", "panels", "data")]
    if not made and all(_same(path, text) for path, text in texts.items()) and all(path.is_file() for path in pictures):
        print(f"{page}: up to date")
        return
    from benchmarks.common.marks import write
    from benchmarks.reproduction import figures
    from benchmarks.reproduction.diagrams import diagrams
    from benchmarks.reproduction.sections import Facts

    curves, interim, panels, strips = pictures
    figures.curves(Facts(content), curves)
    figures.interim(Facts(content), interim)
    figures.panels(placed, order.climate, panels)
    figures.strips(strips)
    diagrams(images)
    for path, text in texts.items():
        write(path, text)
    print(f"{page}: written, with {facts.name} and figures in {images}")


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    main()
