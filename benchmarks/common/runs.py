"""Many runs of train.py: where each one lies by what it depends on, which are missing, and making these."""

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
from vsr.config.schema import register
from vsr.errors import UserError
from vsr.system.files import write_json
from vsr.system.jobs import Job, Outcome, run_jobs

ROOT = CONF.parent
NEEDED = re.compile(r"<(\w+)>")
DIGITS = 10  # of the digest in a folder's name
PROCESS = "process.json"  # what the process as a whole took
NOT_OF_RESULTS = ("resume", "checkpoint_seconds", "checkpoint_steps", "logger")  # they change nothing in them


@dataclass(frozen=True)
class Run:
    """A run of train.py for each seed. `<name>` in an override stands for the checkpoint of that run with the same seed."""

    name: str
    overrides: tuple[str, ...]
    seeds: int | None = None  # fewer than are asked for

    @property
    def needs(self) -> tuple[str, ...]:
        """The runs that have to be there first."""
        return tuple(name for override in self.overrides for name in NEEDED.findall(override))

    @property
    def command(self) -> str:
        """What to type for it, but for the places of files, which are of one machine."""
        typed = (re.sub(r"(\.(?:test_)?path)=[^<].*", r"\1=FILE", override) for override in self.overrides)
        return " ".join(["python train.py", *typed])


@dataclass(frozen=True)
class Placed:
    """A run with one seed: its folder is named after all that it depends on, so that what is there need not be run again."""

    run: Run
    seed: int
    folder: Path
    overrides: tuple[str, ...]
    needs: tuple[Path, ...]

    @property
    def done(self) -> bool:
        """Whether it ran to its end: results.json is written last."""
        return (self.folder / "results.json").is_file()

    def results(self) -> dict[str, Any]:
        """What the run left. Raises UserError for a file that cannot be read."""
        return results_in(self.folder, "run")

    def seconds(self) -> float:
        """What the process took, from start to end."""
        try:
            return float(json.loads((self.folder / PROCESS).read_text(encoding="utf-8"))["seconds"])
        except (OSError, ValueError, KeyError):
            return 0.0


def results_in(folder: Path, what: str) -> dict[str, Any]:
    """The results.json of a folder. Raises UserError for one that cannot be read, with how to "run" or "score" it again."""
    path = folder / "results.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove {folder} to {what} it again") from error
    return found


def place(runs: Sequence[Run], seeds: int, out: Path) -> dict[tuple[str, int], Placed]:
    """Every run with its seeds, in an order in which each stands behind what it needs. Raises UserError for a config in error."""
    configs = _configs(runs)
    found: dict[tuple[str, int], Placed] = {}
    for run in runs:
        for seed in range(seeds if run.seeds is None else min(run.seeds, seeds)):
            needed = {name: found[name, min(seed, _seeds(found, name) - 1)] for name in run.needs}

            def brought(match: re.Match[str], needed: dict[str, Placed] = needed) -> str:
                return str(needed[match[1]].folder / "checkpoints" / "best.ckpt")

            config = NEEDED.sub(brought, configs[run.name])
            digest = hashlib.sha256(f"{seed} {config}".encode()).hexdigest()[:DIGITS]
            overrides = (*(NEEDED.sub(brought, override) for override in run.overrides), f"seed={seed}")
            folder = out / run.name / f"{seed}-{digest}"
            found[run.name, seed] = Placed(run, seed, folder, overrides, tuple(each.folder for each in needed.values()))
    return found


def _seeds(placed: dict[tuple[str, int], Placed], name: str) -> int:
    """How many seeds a run has; those of others that need it beyond take its last one."""
    return sum(other == name for other, _ in placed)


def _configs(runs: Sequence[Run]) -> dict[str, str]:
    """The composed config of each run as text, `<name>` as it stands."""
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return {run.name: _config(run) for run in runs}


def _config(run: Run) -> str:
    try:
        config = OmegaConf.to_container(compose("train", _quoted(run)))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"{run.name}: {' '.join(run.overrides)}: {str(error).splitlines()[0]}") from error
    assert isinstance(config, dict)
    # Nor does what is not set, so that a key that is new, and null, does not make every run anew. Nor do names of classes.
    config = with_former_targets(config)
    return json.dumps({key: value for key, value in config.items() if value is not None and key not in NOT_OF_RESULTS})


def _quoted(run: Run) -> list[str]:
    """In Hydra's grammar, where < and > belong to no bare value."""
    return [re.sub(r"=(<\w+>)$", r"='\1'", override) for override in run.overrides]


def complete(placed: Sequence[Placed], at_once: int, heard: Callable[[str], None], env: Mapping[str, str] | None = None) -> int:
    """Make the runs that are missing, `at_once` of them at a time, and give their number.

    env: what their environment has besides this process's own.

    A run that was interrupted goes on from its newest checkpoint. Raises UserError at the end, naming the runs that failed and
    why; the others stay.
    """
    missing = [each for each in placed if not each.done]
    failed: dict[Path, str] = {}
    ended = {each.folder for each in placed if each.done}

    def jobs() -> Iterator[Job | None]:
        waiting = list(missing)
        while waiting:
            for each in waiting:
                if any(folder in failed for folder in each.needs):
                    failed[each.folder] = "what it needs has failed"
                elif not ended.issuperset(each.needs):
                    continue
                waiting.remove(each)
                if each.folder not in failed:
                    yield _job(each, env or {})
                break
            else:
                yield None

    if missing:
        heard(f"{len(missing)} of {len(placed)} runs are missing; {at_once} at a time")
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


def _job(each: Placed, env: Mapping[str, str]) -> Job:
    typed = [*each.overrides, "resume=auto", f"hydra.run.dir={each.folder}"]
    command = [sys.executable, str(ROOT / "train.py"), *typed]
    return Job(name=str(each.folder), command=command, log=each.folder.with_suffix(".log"), env=env)


def _note(outcome: Outcome, each: Placed) -> None:
    if outcome.ok:
        write_json(each.folder / PROCESS, {"seconds": round(outcome.seconds, 1)})
