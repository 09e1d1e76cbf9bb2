"""A sweep from start to end: what is left to do, fresh processes for it, a summary, and an exit status that says how it went."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from vsr.errors import UserError
from vsr.evaluation.compare.runs import sweep_runs
from vsr.evaluation.compare.write import summarize
from vsr.sweeps.command_line import Asked, Composer
from vsr.sweeps.folder import Slot, SweepFolder
from vsr.sweeps.job import job_of, note, title
from vsr.system.jobs import run_jobs

HYDRAS_OWN = "multirun/"  # where Hydra would put a sweep


def sweep(script: Path, conf: Path, arguments: Sequence[str]) -> int:
    """Run what was typed behind -m; 1 when a job failed (of a search: when all did). Raises UserError before anything runs."""
    composer = Composer(script, conf)
    asked = composer.read(arguments)
    whole = composer.whole(asked)
    chosen = str(whole.hydra.sweep.dir)
    place = SweepFolder(Path("runs", "sweeps", asked.name(script.stem)) if chosen.startswith(HYDRAS_OWN) else Path(chosen))
    with place.locked() as lock:
        if whole.get("hparams_search") is not None:
            from vsr.sweeps.search import search

            failed = search(composer, asked, whole, place, lock)
        else:
            failed = grid(composer, asked, whole, place, lock)
        if script.stem == "train" and (runs := sweep_runs(place.path)):
            command = shlex.join(["python", script.name, *arguments])
            print(summarize(place.path, runs, title=f"Sweep {place.path.name}", command=command))
            print(f"summary   {place.path / 'summary.html'}, summary.md, summary.csv; tensorboard --logdir {place.path}")
    sys.stdout.flush()
    for line in failed:
        print(f"error: {line}", file=sys.stderr)
    return 1 if failed else 0


def grid(composer: Composer, asked: Asked, whole: DictConfig, place: SweepFolder, lock: int) -> list[str]:
    """Run every combination that is not finished yet; gives a line for each that failed."""
    slots: list[Slot] = []
    refused: list[str] = []
    combinations = asked.grid()
    for values in combinations:
        try:
            slots.append(place.slot(values, composer.config([*asked.fixed, *values])))
        except UserError as error:
            # The others are not kept from running: some values may not go together.
            refused.append(f"{' '.join(values)}: {error}" if values else str(error))
    if not slots:
        raise UserError(refused[0] if len(refused) == 1 else f"none of the {len(refused)} jobs can run; the first: {refused[0]}")
    left = [slot for slot in slots if not place.finished(slot)]
    place.about = {"script": composer.script.stem, "fixed": asked.fixed, "choices": asked.choices}
    place.save()
    launcher = str(whole.hydra.runtime.choices["hydra/launcher"])
    how = f"{asked.jobs} at a time" if launcher == "basic" else f"by hydra/launcher={launcher}"
    done = f", {len(slots) - len(left)} finished before" if len(left) < len(slots) else ""
    print(f"sweep     {place.path}: {len(combinations)} jobs{done}; {how}, each in a fresh process", flush=True)
    if not left:
        print(f"          nothing is left to do; remove {place.path} or type hydra.sweep.dir=FOLDER to run it again")
    for line in refused:
        print(f"refused   {line}")
    for slot in left:
        if composer.script.stem != "train":  # whose runs go on from their checkpoints
            place.clear(slot)
    if left and launcher == "basic":
        by_name = {str(slot.number): slot for slot in left}
        commands = [job_of(composer.script, asked, place, slot) for slot in left]
        for outcome in run_jobs(commands, asked.jobs, total=len(left), label="sweep", hold=[lock]):
            note(place, by_name[outcome.job.name], "ok" if outcome.ok else "failed", outcome.error, outcome.seconds)
    elif left:
        from vsr.sweeps.launcher import launch

        launch(composer, asked, whole, place, left)
    return refused + [f"{title(slot)}: {slot.error}" for slot in slots if slot.state != "ok"]
