"""Folder of a run: its lock, its state (new, unfinished, finished), and the command that resumes the run."""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vsr.config.check import check_config
from vsr.config.duration import PLAN
from vsr.config.old_targets import with_current_targets
from vsr.config.plugins import plugins_as_typed
from vsr.config.run_record import MODES, RECORD, RESULTS, run_record_folder, run_record_has_checkpoint
from vsr.errors import UserError, WriteError
from vsr.system.files import remove_unfinished_files
from vsr.system.lock import locked_folder
from vsr.system.ranks import compute_on_first_rank, current_rank, rank_count
from vsr.system.signals import Stopped, requeue_after_signal
from vsr.training.budget.resolve import read_resolved_budget, resolve_budget_before_data
from vsr.training.resume.state import RunState, resume_config_differences

log = logging.getLogger(__name__)
Work = Callable[[DictConfig, Path, RunState], dict[str, Any]]


def work_in_run_folder(cfg: DictConfig, folder: Path, work: Work) -> dict[str, Any]:
    """Lock the folder of a run, resolve the config, and call `work` unless the run is finished.

    Args:
        cfg: The checked config; its key `resume` selects an earlier run to continue.
        folder: The folder of the run.
        work: The function that trains and scores; receives the resolved config, the folder and the run state.

    Returns:
        The content of results.json, of this run or of the finished run in the folder.

    Raises:
        UserError: If the folder cannot be used, or the disk is full.
        Stopped: If a signal ended the run; the message names the command that resumes it.
    """
    resume = str(cfg.get("resume", "never"))
    # How a run is resumed is no property of the run: `resume` stays out of results and checkpoints.
    cfg = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "resume"])
    run_state = RunState(resume=resume != "never", seconds=cfg.get("checkpoint_seconds"), steps=cfg.get("checkpoint_steps"))
    if resume not in MODES:
        if run_record_folder(resume).resolve() != folder.resolve():
            raise UserError(f"resume={resume}: goes on in the folder of that run, not in {folder}; leave out hydra.run.dir")
        run_state.chosen = folder / "checkpoints" / Path(resume).name if Path(resume).expanduser().is_file() else None
    try:
        # Among several processes, rank 0 alone holds the folder, resolves the config and sends the result to the others.
        with locked_folder(folder) if current_rank() == 0 else nullcontext(), run_state.signals:
            cfg, run_state.plan, finished = compute_on_first_rank(lambda: _open(folder, resume, cfg))
            return finished if finished is not None else work(cfg, folder, run_state)
    except Stopped as stopped:
        raise Stopped(stopped.signum, _stopped(stopped.signum, folder, run_state)) from None
    except WriteError as error:
        if not run_state.saved or not run_record_has_checkpoint(folder):
            raise
        lost = f"what came after {run_state.saved} is lost; make room, then: {_command(folder)}"
        raise UserError(f"{error.what}; {lost}") from error


def _open(folder: Path, resume: str, cfg: DictConfig) -> tuple[DictConfig, dict[str, Any], dict[str, Any] | None]:
    """Return the config as resolved before data are read, the content of plan.json, and the results of a finished run or None."""
    plan = read_resolved_budget(folder) if resume != "never" else {}
    cfg, resolved_plan = resolve_budget_before_data(cfg, plan)
    if plan:
        try:
            check_config(cfg)
        except UserError as error:
            raise UserError(f"{folder / PLAN}: {error}; or hydra.run.dir=FOLDER to start another run") from error
    finished = _finished(folder, resume, cfg)
    if rank_count() > 1:  # the other ranks may lack Hydra's resolvers
        cfg = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[assignment]
    return cfg, resolved_plan, finished


def _finished(folder: Path, resume: str, cfg: DictConfig) -> dict[str, Any] | None:
    """Return the results of a finished run; None for an unfinished one. Raises UserError if `resume` does not fit the folder."""
    remove_unfinished_files(folder)
    if (folder / RESULTS).exists():
        if resume == "never":
            raise UserError(f"{folder}: holds a run already; type hydra.run.dir=FOLDER to write elsewhere")
        results = _results(folder)
        now: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
        if differing := resume_config_differences(results["config"], now):
            key, before, _ = differing[0]
            raise UserError(f"{folder}: holds a finished run with {key}={before}; type hydra.run.dir=FOLDER to write elsewhere")
        log.info("finished  %s", folder / RESULTS)
        return results
    if resume == "never" and ((folder / RECORD).exists() or (folder / "checkpoints").exists()):
        raise UserError(
            f"{folder}: holds a run already, an unfinished one; type resume={folder} to go on with it, or hydra.run.dir=FOLDER "
            "to write elsewhere"
        )
    return None


def _results(folder: Path) -> dict[str, Any]:
    """Read the results.json of a finished run. Raises UserError for a damaged file."""
    path = folder / RESULTS
    try:
        found = with_current_targets(json.loads(path.read_text(encoding="utf-8")))
        if isinstance(found, dict) and isinstance(found["config"], dict) and isinstance(found["rows"], list):
            return found
    except (OSError, ValueError, KeyError, RecursionError):
        pass
    raise UserError(
        f"{path}: is damaged; remove it and type resume={run_folder_relative_to_cwd(folder)}, "
        "which writes it again from the checkpoints"
    )


def _stopped(signum: int, folder: Path, run_state: RunState) -> str:
    """Return the message that names the signal, the newest saved step, and the command that resumes the run."""
    text = f"stopped by {signal.Signals(signum).name}"
    if signum == signal.SIGUSR1 and current_rank() == 0:  # once for the job, however many processes it has
        text += f"; {requeue_after_signal()}"
    if run_record_has_checkpoint(folder):
        return f"{text}; saved at {run_state.saved}; to continue: {_command(folder)}"
    here = shlex.quote(str(run_folder_relative_to_cwd(folder)))
    return f"{text} before the first checkpoint; start it again with hydra.run.dir={here} resume=auto"


def _command(folder: Path) -> str:
    """Return the command that resumes a run, as typed in a shell."""
    return shlex.join(["vsr", "train", f"resume={run_folder_relative_to_cwd(folder)}"]) + plugins_as_typed()


def run_folder_relative_to_cwd(folder: Path) -> Path:
    """Return a folder below the working directory as a relative path, any other folder unchanged."""
    return Path(os.path.relpath(folder)) if folder.is_relative_to(Path.cwd()) else folder
