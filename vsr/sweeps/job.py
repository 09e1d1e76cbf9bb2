"""Command and recorded outcome of one job of a sweep."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from vsr.config.compose import SweepCommand
from vsr.sweeps.folder import SweepFolder, SweepRun
from vsr.system.jobs import Job


def build_job(script: Path, command: SweepCommand, folder: SweepFolder, run: SweepRun, more: Sequence[str] = ()) -> Job:
    """Build the job that executes one run of a sweep in its own process.

    Args:
        script: Path of train.py or evaluate.py; if no such file exists, the command of vsr with the same name is used.
        command: Command line of the sweep.
        folder: Folder of the sweep.
        run: Run of the sweep.
        more: Further overrides.
    """
    given = [*command.fixed, *run.values, *more]
    if script.stem == "train" and not any(each.startswith("resume=") for each in given):
        given.append("resume=auto")  # an interrupted sweep goes on in the middle of its runs
    # An installed package has no train.py beside it, but the same command in its place.
    program = [str(script)] if script.is_file() else ["-m", "vsr", script.stem]
    arguments = [sys.executable, *program, *command.options, *given, f"hydra.run.dir={quote_job_path(folder.run_folder(run))}"]
    return Job(name=str(run.number), command=arguments, log=folder.log(run))


def quote_job_path(path: Path) -> str:
    """Return a path as a quoted value in Hydra's grammar."""
    return "'" + str(path).replace("'", "\\'") + "'"


def record_job_outcome(folder: SweepFolder, run: SweepRun, state: str, error: str, seconds: float) -> None:
    """Record the outcome of a run in the sweep's folder, and print a failure."""
    run.state, run.error, run.seconds = state, error, seconds
    folder.save()
    if state == "failed":
        tqdm.write(f"failed    {job_title(run)}: {error} ({folder.log(run)})", file=sys.stdout)


def job_title(run: SweepRun) -> str:
    """Return the number and the swept values of a run, such as "#3 recipe.batch=8"."""
    return " ".join([f"#{run.number}", *run.values])
