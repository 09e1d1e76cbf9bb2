"""Run the jobs of a sweep (a grid or a search), with a fresh process for each job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from vsr.config.compose import Composer, SweepCommand
from vsr.errors import UserError
from vsr.sweeps.folder import SweepFolder, SweepRun
from vsr.sweeps.job import build_job, job_title, record_job_outcome
from vsr.system.jobs import run_jobs

HYDRAS_OWN = "multirun/"  # where Hydra would put a sweep


def run_sweep(script: Path, conf: Path, arguments: Sequence[str]) -> tuple[Path, list[str]]:
    """Run the unfinished jobs of a sweep, given by a command line with Hydra's option -m.

    Args:
        script: Path of train.py or evaluate.py.
        conf: Folder of the configs.
        arguments: Arguments of the command line, with -m.

    Returns:
        The folder of the sweep, and one line for each failed job; a search gives one line only if no trial came to its end.

    Raises:
        UserError: If the command line is wrong, if no job can run, or if a launcher fails.
    """
    composer = Composer(script, conf)
    command = composer.read(arguments)
    whole = composer.whole(command)
    chosen = str(whole.hydra.sweep.dir)
    folder = SweepFolder(Path("runs", "sweeps", command.name(script.stem)) if chosen.startswith(HYDRAS_OWN) else Path(chosen))
    with folder.locked() as lock:
        if whole.get("hparams_search") is not None:
            from vsr.sweeps.search import run_search

            failed = run_search(composer, command, whole, folder, lock)
        else:
            failed = _run_grid(composer, command, whole, folder, lock)
    return folder.path, failed


def _run_grid(composer: Composer, command: SweepCommand, whole: DictConfig, folder: SweepFolder, lock: int) -> list[str]:
    """Run every unfinished combination of the swept values; return one line for each failed or refused job."""
    runs: list[SweepRun] = []
    refused: list[str] = []
    combinations = command.grid()
    for values in combinations:
        try:
            runs.append(folder.find_or_add(values, composer.config([*command.fixed, *values])))
        except UserError as error:
            # The others are not kept from running: some values may not go together.
            refused.append(f"{' '.join(values)}: {error}" if values else str(error))
    if not runs:
        raise UserError(refused[0] if len(refused) == 1 else f"none of the {len(refused)} jobs can run; the first: {refused[0]}")
    left = [run for run in runs if not folder.finished(run)]
    folder.about = {"script": composer.script.stem, "fixed": command.fixed, "choices": command.choices}
    folder.save()
    launcher = str(whole.hydra.runtime.choices["hydra/launcher"])
    how = f"{command.jobs} at a time" if launcher == "basic" else f"by hydra/launcher={launcher}"
    done = f", {len(runs) - len(left)} finished before" if len(left) < len(runs) else ""
    print(f"sweep     {folder.path}: {len(combinations)} jobs{done}; {how}, each in a fresh process", flush=True)
    if not left:
        print(f"          nothing is left to do; remove {folder.path} or type hydra.sweep.dir=FOLDER to run it again")
    for line in refused:
        print(f"refused   {line}")
    for run in left:
        if composer.script.stem != "train":  # whose runs go on from their checkpoints
            folder.clear(run)
    if left and launcher == "basic":
        by_name = {str(run.number): run for run in left}
        commands = [build_job(composer.script, command, folder, run) for run in left]
        for outcome in run_jobs(commands, command.jobs, total=len(left), label="sweep", hold=[lock]):
            record_job_outcome(
                folder, by_name[outcome.job.name], "ok" if outcome.ok else "failed", outcome.error, outcome.seconds
            )
    elif left:
        from vsr.sweeps.launcher import launch_jobs

        launch_jobs(composer, command, whole, folder, left)
    return refused + [f"{job_title(run)}: {run.error}" for run in runs if run.state != "ok"]
