"""Command that trains missing runs and writes the tables of the report: `python -m benchmarks.reproduction`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vsr.errors import UserError, error_suggestion
from vsr.system.cpu import usable_cores

PAGE = Path("docs/results/report.md")
KEYS = ("seeds", "jobs", "out", "page", "precision")
HELP = """\
Make the tables of the report, training what is missing: python -m benchmarks.reproduction [KEY=VALUE ...]

Keys:
  data.KEY: ...      # a file in place of the generated climate data: data.path=H_Field_NI5.mat data.axes=yxt
  movies.KEY: ...    # movies of Table 4: movies.path=FOLDER with akiyo and container (default: the files that
                     # `make movies` fetched, else a synthetic camera over photographs)
  GROUP.KEY: ...     # a key of train.py for all runs: recipe.steps=10 trainer.accelerator=cpu
  seeds: 3
  jobs: null         # runs at a time; null: one per core
  out: runs/tables   # folder of the runs
  page: null         # null: docs/results/report.md, for other data OUT/report.md; beside it report.json, figures in ../images
  precision: null    # training precision; null: bf16 where the CPU computes in it, else 32

A run that exists with the same config is not repeated; an interrupted run continues. Two cores take 40 minutes."""


@dataclass
class Options:
    """The options."""

    climate: list[str] = field(default_factory=list)
    movies: list[str] = field(default_factory=list)
    every: list[str] = field(default_factory=list)
    seeds: int = 3
    jobs: int = 1
    out: Path = Path("runs/tables")
    page: Path | None = None
    precision: str | None = None


def parse_options(arguments: Sequence[str]) -> Options:
    """Parse KEY=VALUE arguments. Raises UserError that says what to type instead."""
    options = Options(jobs=usable_cores())
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not value:
            raise UserError(f"{argument}: type KEY=VALUE; python -m benchmarks.reproduction --help lists the keys")
        if key.startswith("data."):
            options.climate.append(argument)
        elif key.startswith("movies."):
            options.movies.append(f"data.{key.removeprefix('movies.')}={value}")
        elif key in ("seeds", "jobs"):
            if not value.isdecimal() or int(value) < 1:
                raise UserError(f"{argument}: must be a number of 1 or more")
            setattr(options, key, int(value))
        elif key in ("out", "page"):
            setattr(options, key, Path(value).expanduser())
        elif key == "precision":
            options.precision = value
        elif "." in key:
            options.every.append(argument)
        else:
            raise UserError(f"{key}: unknown key{error_suggestion(key, (*KEYS, 'data.path', 'movies.path'))}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command. Exits with 1 after a mistake of the user or a failed run, with 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"--help", "-h"} & set(arguments):
        print(HELP)
        return
    try:
        make(parse_options(arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)


def make(options: Options) -> None:
    """Train what is missing and write the page. Raises UserError for failed runs and for files that cannot be written."""
    from benchmarks.common.runs import plan_runs, run_missing
    from benchmarks.reproduction.collect import gather
    from benchmarks.reproduction.experiments import report_runs
    from benchmarks.reproduction.page import render
    from vsr.commands.fetch import fetched_overrides
    from vsr.system.cpu import cpu_computes_bf16

    movies = options.movies or fetched_overrides()
    runs = report_runs(options.climate, movies, options.precision or ("bf16" if cpu_computes_bf16() else "32"), options.every)
    placed = plan_runs(runs, options.seeds, options.out)
    made = run_missing(list(placed.values()), options.jobs, print)
    content = gather(list(placed.values()))
    another = options.climate or options.every or options.seeds != 3
    page = options.page or (options.out / "report.md" if another else PAGE)
    facts, images = page.with_suffix(".json"), page.parent.parent / "images"
    texts = {facts: json.dumps(content, indent=1) + "\n", page: render(content)}
    pictures = [images / f"report-{name}.png" for name in ("curves", "interim", "panels", "data")]
    if not made and all(_same(path, text) for path, text in texts.items()) and all(path.is_file() for path in pictures):
        print(f"{page}: up to date")
        return
    from benchmarks.common.markdown import write_page_file
    from benchmarks.reproduction import figures
    from benchmarks.reproduction.diagrams import diagrams
    from benchmarks.reproduction.tables import ReportResults

    curves, interim, panels, strips = pictures
    figures.curves(ReportResults(content), curves)
    figures.interim(ReportResults(content), interim)
    figures.panels(placed, options.climate, panels)
    figures.strips(strips)
    diagrams(images)
    for path, text in texts.items():
        write_page_file(path, text)
    print(f"{page}: written, with {facts.name} and figures in {images}")


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    main()
