"""Sweep jobs that are run by Hydra's launcher plugins (joblib, submitit)."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from vsr.config import PACKAGE
from vsr.config.compose import Composer, SweepCommand
from vsr.errors import UserError
from vsr.sweeps.folder import SweepFolder, SweepRun
from vsr.sweeps.job import build_job, quote_job_path, record_job_outcome
from vsr.system.jobs import run_jobs


@dataclass
class JobInFreshProcess:
    """Function that a launcher calls for each job, on any machine; it starts a fresh process for the run.

    A worker of a launcher may serve several jobs in turn. Without a fresh process, leftovers of one job would reach the next
    job.
    """

    script: Path
    command: SweepCommand
    folder: Path

    def __call__(self, cfg: DictConfig) -> dict[str, Any]:
        """Run the job and return its outcome as plain values."""
        number = int(HydraConfig.get().sweep.subdir)
        folder = SweepFolder(self.folder)
        job = build_job(self.script, self.command, folder, next(run for run in folder.runs if run.number == number))
        # Slurm starts a copy of the job for each rank: the log of the first one is that which is read.
        if rank := int(os.environ.get("SLURM_PROCID", "0")):
            job = replace(job, log=job.log.with_suffix(f".{rank}.log"))
        [outcome] = run_jobs([job], total=1, label=f"#{number}")
        return {"state": "ok" if outcome.ok else "failed", "error": outcome.error, "seconds": outcome.seconds}


def launch_jobs(composer: Composer, command: SweepCommand, whole: DictConfig, folder: SweepFolder, runs: list[SweepRun]) -> None:
    """Run the jobs of a sweep with Hydra's launcher plugin, and record their outcomes.

    Raises UserError when the launcher itself fails. The next sweep then finds the results of jobs that have already ended.
    """
    # Workers import vsr from where it was imported here.
    root = str(PACKAGE.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    path = str(folder.path.resolve())
    OmegaConf.update(whole, "hydra.sweep.dir", path)
    HydraConfig.instance().set_config(whole)
    jobs = [
        [*command.fixed, *run.values, f"hydra.sweep.dir={quote_job_path(Path(path))}", f"hydra.sweep.subdir={run.number}"]
        for run in runs
    ]
    try:
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(config_loader=composer.hydra.config_loader, callbacks=Callbacks(whole)),
            task_function=JobInFreshProcess(composer.script, command, Path(path)),
            config=whole,
        )
        returned = launcher.launch(jobs, 0)
    except Exception as error:
        name = whole.hydra.runtime.choices["hydra/launcher"]
        text = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise UserError(f"hydra/launcher={name}: {text}; type the same again for what is missing") from error
    for run, job in zip(runs, returned, strict=True):
        try:
            record_job_outcome(folder, run, **job.return_value)
        except Exception as error:  # what the job raised where it ran, before the run itself
            record_job_outcome(folder, run, "failed", (str(error).strip().splitlines() or [type(error).__name__])[-1], 0.0)
