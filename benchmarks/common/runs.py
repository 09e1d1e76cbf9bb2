"""Many runs of train.py: a folder for each one, named by a digest of its config, and a loop that runs the missing ones."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vsr.config import CONF
from vsr.config.old_targets import with_former_targets
from vsr.config.schema import register_schemas
from vsr.errors import UserError
from vsr.system.files import write_json_file
from vsr.system.jobs import Job, Outcome, run_jobs

ROOT = CONF.parent
NEEDED = re.compile(r"<(\w+)>")
DIGITS = 10  # length of the digest in a folder's name
PROCESS = "process.json"  # seconds of the whole process
NOT_OF_RESULTS = ("resume", "checkpoint_seconds", "checkpoint_steps", "logger", "plugins")  # keys that do not change results


@dataclass(frozen=True)
class Run:
    """A run of train.py, repeated for each seed.

    Attributes:
        name: name of the run and its folder.
        overrides: overrides of train.py; `<other>` stands for the checkpoint of the run `other` with the same seed.
        seeds: fewer seeds than requested; None for all.
    """

    name: str
    overrides: tuple[str, ...]
    seeds: int | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the runs whose checkpoints this run needs."""
        return tuple(name for override in self.overrides for name in NEEDED.findall(override))

    @property
    def command(self) -> str:
        """The command to type, with paths of this machine replaced by FILE."""
        typed = (re.sub(r"(\.(?:test_)?path)=[^<].*", r"\1=FILE", override) for override in self.overrides)
        return " ".join(["python train.py", *typed])


@dataclass(frozen=True)
class SeededRun:
    """A run with one seed. The folder's name is a digest of all that the result depends on, so a finished run is reused."""

    run: Run
    seed: int
    folder: Path
    overrides: tuple[str, ...]
    needs: tuple[Path, ...]

    @property
    def done(self) -> bool:
        """True once results.json exists; it is written last."""
        return (self.folder / "results.json").is_file()

    def results(self) -> dict[str, Any]:
        """Read results.json. Raises UserError for a file that cannot be read."""
        return read_results(self.folder, "run")

    def seconds(self) -> float:
        """Return the seconds of the process from start to end; 0 if unknown."""
        try:
            return float(json.loads((self.folder / PROCESS).read_text(encoding="utf-8"))["seconds"])
        except (OSError, ValueError, KeyError):
            return 0.0


def read_results(folder: Path, what: str) -> dict[str, Any]:
    """Read results.json of a folder. Raises UserError that says how to "run" or "score" it again."""
    path = folder / "results.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove {folder} to {what} it again") from error
    return found


def plan_runs(runs: Sequence[Run], seeds: int, out: Path) -> dict[tuple[str, int], SeededRun]:
    """Return every run with its seeds, after the runs that it needs. Raises UserError for a config with a mistake."""
    configs = _configs(runs)
    found: dict[tuple[str, int], SeededRun] = {}
    for run in runs:
        for seed in range(seeds if run.seeds is None else min(run.seeds, seeds)):
            needed = {name: found[name, min(seed, _seeds(found, name) - 1)] for name in run.needs}

            def brought(match: re.Match[str], needed: dict[str, SeededRun] = needed) -> str:
                return str(needed[match[1]].folder / "checkpoints" / "best.ckpt")

            config = NEEDED.sub(brought, configs[run.name])
            digest = hashlib.sha256(f"{seed} {config}".encode()).hexdigest()[:DIGITS]
            overrides = (*(NEEDED.sub(brought, override) for override in run.overrides), f"seed={seed}")
            folder = out / run.name / f"{seed}-{digest}"
            found[run.name, seed] = SeededRun(run, seed, folder, overrides, tuple(each.folder for each in needed.values()))
    return found


def _seeds(placed: dict[tuple[str, int], SeededRun], name: str) -> int:
    """Count the seeds of a run; a dependent run with more seeds uses the last one."""
    return sum(other == name for other, _ in placed)


def _configs(runs: Sequence[Run]) -> dict[str, str]:
    """Compose the config of each run as text; `<name>` stays as it is."""
    register_schemas()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return {run.name: _config(run) for run in runs}


def _config(run: Run) -> str:
    try:
        config = OmegaConf.to_container(compose("train", _quoted(run)))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"{run.name}: {' '.join(run.overrides)}: {str(error).splitlines()[0]}") from error
    assert isinstance(config, dict)
    # Keys that are null are left out, so that a new key with the default null does not repeat every run. Former class names
    # are kept, so that a renamed class does not repeat every run either.
    config = _without_nulls(with_former_targets(config))
    return json.dumps({key: value for key, value in config.items() if key not in NOT_OF_RESULTS})


def _without_nulls(node: dict[Any, Any]) -> dict[Any, Any]:
    """Leave out keys that are null, at every depth."""
    kept = {key: value for key, value in node.items() if value is not None}
    return {key: _without_nulls(value) if isinstance(value, dict) else value for key, value in kept.items()}


def _quoted(run: Run) -> list[str]:
    """Quote overrides with < and >, which Hydra's grammar does not allow in bare values."""
    return [re.sub(r"=(<\w+>)$", r"='\1'", override) for override in run.overrides]


def run_missing(
    placed: Sequence[SeededRun], at_once: int, report_progress: Callable[[str], None], env: Mapping[str, str] | None = None
) -> int:
    """Run what is missing and return the number of these runs. An interrupted run continues from its newest checkpoint.

    Args:
        placed: all runs, each after the runs that it needs.
        at_once: runs at a time.
        report_progress: receives messages.
        env: additional environment variables of the processes.

    Raises:
        UserError: runs failed; raised at the end, with their folders and reasons. Other runs are kept.
    """
    missing = [each for each in placed if not each.done]
    failed: dict[Path, str] = {}
    ended = {each.folder for each in placed if each.done}

    def jobs() -> Iterator[Job | None]:
        waiting = list(missing)
        while waiting:
            for each in waiting:
                if any(folder in failed for folder in each.needs):
                    failed[each.folder] = "a run that it needs has failed"
                elif not ended.issuperset(each.needs):
                    continue
                waiting.remove(each)
                if each.folder not in failed:
                    yield _job(each, env or {})
                break
            else:
                yield None

    if missing:
        report_progress(f"{len(missing)} of {len(placed)} runs are missing; {at_once} at a time")
    by_job = {str(each.folder): each for each in missing}
    for outcome in run_jobs(jobs(), at_once, total=len(missing), label="runs") if missing else ():
        each = by_job[outcome.job.name]
        _note(outcome, each)
        ended.add(each.folder)
        if not outcome.ok:
            failed[each.folder] = f"{outcome.error} (log: {outcome.job.log})"
    if failed:
        raise UserError("; ".join(f"{folder}: {why}" for folder, why in failed.items()))
    return len(missing)


def _job(each: SeededRun, env: Mapping[str, str]) -> Job:
    typed = [*each.overrides, "resume=auto", f"hydra.run.dir={each.folder}"]
    command = [sys.executable, str(ROOT / "train.py"), *typed]
    return Job(name=str(each.folder), command=command, log=each.folder.with_suffix(".log"), env=env)


def _note(outcome: Outcome, each: SeededRun) -> None:
    if outcome.ok:
        write_json_file(each.folder / PROCESS, {"seconds": round(outcome.seconds, 1)})
