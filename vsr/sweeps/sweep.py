"""A sweep: the jobs of a grid or a search, each in a fresh process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from vsr.config.compose import Asked, Composer
from vsr.errors import UserError
from vsr.sweeps.folder import Slot, SweepFolder
from vsr.sweeps.job import job_of, note, title
from vsr.system.jobs import run_jobs

HYDRAS_OWN = "multirun/"  # where Hydra would put a sweep


def sweep(script: Path, conf: Path, arguments: Sequence[str]) -> tuple[Path, list[str]]:
    """Run the jobs of a command line with -m that are not finished yet.

    Args:
        script: train.py or evaluate.py.
        conf: the folder of the configs.
        arguments: the command line, with -m.

    Returns:
        The folder of the sweep, and a line for each failed job (of a search: only when all jobs failed).

    Raises:
        UserError: the command line is wrong, or no job can run; nothing was started.
    """
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
    return place.path, failed


def grid(composer: Composer, asked: Asked, whole: DictConfig, place: SweepFolder, lock: int) -> list[str]:
    """Run every combination of the values that is not finished yet; returns a line for each failed job."""
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
