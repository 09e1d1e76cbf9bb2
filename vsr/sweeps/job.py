"""One job of a sweep: its command and its record."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from vsr.config.compose import Asked
from vsr.sweeps.folder import Slot, SweepFolder
from vsr.system.jobs import Job


def job_of(script: Path, asked: Asked, place: SweepFolder, slot: Slot, more: Sequence[str] = ()) -> Job:
    """Build the job that runs one combination by itself; the ranks that it starts know nothing of the sweep."""
    given = [*asked.fixed, *slot.values, *more]
    if script.stem == "train" and not any(each.startswith("resume=") for each in given):
        given.append("resume=auto")  # an interrupted sweep goes on in the middle of its runs
    command = [sys.executable, str(script), *given, f"hydra.run.dir={quoted(place.folder(slot))}"]
    return Job(name=str(slot.number), command=command, log=place.log(slot))


def quoted(path: Path) -> str:
    """Write a path as a value in Hydra's grammar."""
    return "'" + str(path).replace("'", "\\'") + "'"


def note(place: SweepFolder, slot: Slot, state: str, error: str, seconds: float) -> None:
    """Record the outcome of a job, and print a failure."""
    slot.state, slot.error, slot.seconds = state, error, seconds
    place.save()
    if state == "failed":
        tqdm.write(f"failed    {title(slot)}: {error} ({place.log(slot)})", file=sys.stdout)


def title(slot: Slot) -> str:
    """Return the number and the swept values of a job."""
    return " ".join([f"#{slot.number}", *slot.values])
