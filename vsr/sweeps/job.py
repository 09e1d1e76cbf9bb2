"""The process of one job, and what is written down about it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from vsr.config.compose import Asked
from vsr.sweeps.folder import Slot, SweepFolder
from vsr.system.jobs import Job


def job_of(script: Path, asked: Asked, place: SweepFolder, slot: Slot, more: Sequence[str] = ()) -> Job:
    """What a person would type for this run alone: ranks that it starts repeat that, and know nothing of the sweep."""
    given = [*asked.fixed, *slot.values, *more]
    if script.stem == "train" and not any(each.startswith("resume=") for each in given):
        given.append("resume=auto")  # an interrupted sweep goes on in the middle of its runs
    command = [sys.executable, str(script), *given, f"hydra.run.dir={quoted(place.folder(slot))}"]
    return Job(name=str(slot.number), command=command, log=place.log(slot))


def quoted(path: Path) -> str:
    """A path as a value in Hydra's grammar."""
    return "'" + str(path).replace("'", "\\'") + "'"


def note(place: SweepFolder, slot: Slot, state: str, error: str, seconds: float) -> None:
    """Write down what became of a job, and say so when it is not what was wanted."""
    slot.state, slot.error, slot.seconds = state, error, seconds
    place.save()
    if state == "failed":
        tqdm.write(f"failed    {title(slot)}: {error} ({place.log(slot)})", file=sys.stdout)


def title(slot: Slot) -> str:
    """Its number and what was swept."""
    return " ".join([f"#{slot.number}", *slot.values])
