"""Hyperparameter searches with Optuna, with a fresh process for each trial."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig
from tqdm import tqdm

from vsr.config.compose import Composer, Interval, SweepCommand
from vsr.config.monitor import SCORE_LOG, monitor_is_maximised
from vsr.errors import UserError
from vsr.sweeps.folder import SweepFolder, SweepRun
from vsr.sweeps.job import build_job, job_title, record_job_outcome
from vsr.sweeps.search_space import Plan, read_search_space
from vsr.system.jobs import Job, Outcome, run_jobs

if TYPE_CHECKING:
    import optuna

JOURNAL = "trials.journal"
# Makes a run write its scores down as they come.
WATCHED = ["++callbacks.scores._target_=vsr.training.callbacks.ScoreLog", f"++callbacks.scores.file={SCORE_LOG}"]


def run_search(composer: Composer, command: SweepCommand, whole: DictConfig, folder: SweepFolder, lock: int) -> list[str]:
    """Run the remaining trials of a hyperparameter search; return one error line if no trial came to its end.

    `whole` is the config of the search itself. `lock` is the file descriptor of the folder's lock, which running trials keep
    open too.

    Raises:
        UserError: If the plan of the search is wrong, or if the folder holds another search.
    """
    plan = read_search_space(whole.hparams_search, command)
    launcher = whole.hydra.runtime.choices["hydra/launcher"]
    if launcher != "basic":
        raise UserError(
            f"hydra/launcher={launcher}: a search decides from trial to trial and runs them here; type jobs=N instead"
        )
    about = {"script": composer.script.stem, "fixed": command.fixed, "space": plan.described(), "monitor": whole.monitor}
    about = json.loads(json.dumps(about))
    for key in about:
        if folder.runs and folder.about.get(key) != about[key]:
            raise UserError(
                f"{folder.path}: holds a search with another {key} ({folder.about.get(key)}, not {about[key]}); "
                "type hydra.sweep.dir=FOLDER for a new one"
            )
    study = Search(composer, command, plan, folder, str(whole.monitor), int(whole.seed))
    folder.about = about
    folder.save()
    before = study.done()
    taken = f", {before} done before" if before else ""
    print(f"search    {folder.path}: {plan.trials} trials{taken}; {command.jobs} at a time, each in a fresh process", flush=True)
    left = max(0, plan.trials - before)
    for outcome in run_jobs(study.jobs(), command.jobs, total=left, label="search", watch=study.watch, hold=[lock]):
        study.record(outcome)
    return study.print_result()


class Search:
    """Search in progress: the Optuna study proposes new trials, and the sweep's folder records finished trials."""

    def __init__(
        self, composer: Composer, command: SweepCommand, plan: Plan, folder: SweepFolder, monitor: str, seed: int
    ) -> None:
        self.composer, self.command, self.plan, self.folder, self.monitor = composer, command, plan, folder, monitor
        self.running: dict[str, tuple[optuna.Trial, SweepRun, int]] = {}
        self.optuna = _import_optuna()
        self.study = self._study(seed)
        self._resume_trials()

    def done(self) -> int:
        """Return the number of trials that have ended, successful or not."""
        return sum(run.state != "waiting" for run in self.folder.runs)

    def jobs(self) -> Iterator[Job]:
        """Yield the jobs of new trials; each trial is drawn when a process is free."""
        while self.done() + len(self.running) < self.plan.trials:
            trial = self.study.ask()
            values = [f"{key}={self._draw(trial, key)}" for key in self.plan.space]
            number = trial.user_attrs.get("slot", trial.number)
            try:
                config = self.composer.config([*self.command.fixed, *values, *WATCHED])
            except UserError as error:
                run = self.folder.find_or_add(values, {}, number)
                record_job_outcome(self.folder, run, "failed", str(error), 0.0)
                self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)
                continue
            run = self.folder.find_or_add(values, config, number)
            self.folder.clear(run)
            self.folder.save()
            job = build_job(self.composer.script, self.command, self.folder, run, WATCHED)
            self.running[job.name] = trial, run, 0
            yield job

    def watch(self, job: Job) -> str | None:
        """Report finished epochs of a trial to the study; return the reason to stop the trial, or None."""
        trial, run, seen = self.running[job.name]
        for epoch, score in _scores(self.folder.run_folder(run) / SCORE_LOG, self.monitor, seen):
            self.running[job.name] = trial, run, epoch
            trial.report(score, epoch)
            if epoch < run.config["epochs"] and trial.should_prune():
                return f"ended after epoch {epoch} with {self.monitor} {score:.4g} ({self.plan.pruner})"
        return None

    def record(self, outcome: Outcome) -> None:
        """Record the outcome of a trial, first in the sweep's folder, then in the study."""
        trial, run, _ = self.running.pop(outcome.job.name)
        state, error = "stopped" if outcome.stopped else "failed", outcome.error
        if self._value(run) is not None:  # of one that was to be stopped, too, when it was faster
            state, error = "ok", ""
        elif outcome.ok:
            error = f"{self.monitor} was never a number"
        record_job_outcome(self.folder, run, state, error, outcome.seconds)
        self._tell(trial.number, run)

    def print_result(self) -> list[str]:
        """Print the result of the search; return one error line if no trial came to its end."""
        by_state = {state: [run for run in self.folder.runs if run.state == state] for state in ("ok", "stopped", "failed")}
        ok, stopped, failed = by_state.values()
        if not ok:
            first = next(iter(failed), None)
            return [f"no trial of {self.done()} came to its end" + (f"; the first failed: {first.error}" if first else "")]
        best = (max if monitor_is_maximised(self.monitor) else min)(ok, key=lambda run: self._value(run) or 0.0)
        print(f"trials    {len(ok)} to their end, {len(stopped)} ended early, {len(failed)} failed")
        for run in failed:
            tqdm.write(f"failed    {job_title(run)}: {run.error}", file=sys.stdout)
        print(f"best      {job_title(best)}: {self.monitor} {self._value(best):.6g}")
        return []

    def _study(self, seed: int) -> optuna.Study:
        optuna = self.optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = self.folder.path / JOURNAL
        # Whoever held it was killed: this sweep has the folder to itself.
        Path(f"{path}.lock").unlink(missing_ok=True)
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
        pruners: dict[str, Any] = {
            "median": lambda: optuna.pruners.MedianPruner(self.plan.startup, n_warmup_steps=self.plan.warmup),
            "hyperband": lambda: optuna.pruners.HyperbandPruner(min_resource=max(1, self.plan.warmup)),
            "none": optuna.pruners.NopPruner,
        }
        study = optuna.create_study(
            storage=storage,
            study_name="search",
            direction="maximize" if monitor_is_maximised(self.monitor) else "minimize",
            pruner=pruners[self.plan.pruner](),
            load_if_exists=True,
        )
        # Another seed when it is taken up, or the same values would be drawn again.
        study.sampler = optuna.samplers.TPESampler(
            seed=seed + len(study.trials), n_startup_trials=self.plan.startup, constant_liar=self.command.jobs > 1
        )
        return study

    def _resume_trials(self) -> None:
        """Recover from a killed search: report trials that had ended, and queue unfinished trials again."""
        states = self.optuna.trial.TrialState
        runs = {run.number: run for run in self.folder.runs}
        for trial in self.study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            run = runs.get(trial.user_attrs.get("slot", trial.number))
            if run is not None and (run.state != "waiting" or self.folder.finished(run)):
                self._tell(trial.number, run)
                continue
            self.study.tell(trial.number, state=states.FAIL)
            if run is not None:
                self.study.enqueue_trial(trial.params, user_attrs={"slot": run.number})

    def _tell(self, number: int, run: SweepRun) -> None:
        states = self.optuna.trial.TrialState
        if run.state == "ok":
            self.study.tell(number, self._value(run))
        else:
            self.study.tell(number, state=states.PRUNED if run.state == "stopped" else states.FAIL)

    def _draw(self, trial: optuna.Trial, key: str) -> str:
        one = self.plan.space[key]
        if not isinstance(one, Interval):
            return str(trial.suggest_categorical(key, one))
        if all(isinstance(number, int) for number in (one.low, one.high, one.step or 1)):
            return str(trial.suggest_int(key, int(one.low), int(one.high), log=one.log, step=int(one.step or 1)))
        return f"{trial.suggest_float(key, one.low, one.high, log=one.log, step=one.step):.6g}"

    def _value(self, run: SweepRun) -> float | None:
        """Return the best monitored score over the epochs of a run; None without scores."""
        history = (self.folder.results(run) or {}).get("history", [])
        found = [row[self.monitor] for row in history if math.isfinite(row.get(self.monitor, math.nan))]
        return (max if monitor_is_maximised(self.monitor) else min)(found) if found else None


def _scores(path: Path, monitor: str, seen: int) -> Iterator[tuple[int, float]]:
    """Yield (epoch, score) for the epochs after epoch `seen` in the score log of a run."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return
    for line in text[: text.rfind("\n") + 1].splitlines():
        row = json.loads(line)
        if row["epoch"] > seen and math.isfinite(row.get(monitor, math.nan)):
            yield int(row["epoch"]), float(row[monitor])


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UserError(f"hparams_search=optuna needs {error.name or 'optuna'}; type: pip install 'vsr-movies[sweep]'") from error
    return optuna
