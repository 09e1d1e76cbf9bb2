"""Record of the arguments of a run (run.json), which `resume=FOLDER` reads to continue the run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from vsr.config.old_targets import with_current_target
from vsr.errors import UserError, WriteError
from vsr.system.files import replacing_file

RECORD = "run.json"
RESULTS = "results.json"
MODES = ("auto", "never")
# Options, and keys of Hydra itself, whose callbacks, launchers and log handlers are classes of any package.
FOREIGN = re.compile(r"^\s*-|^[\s+~]*hydra\b|^[^=]*@[^=]*\bhydra\b")


def expand_recorded_overrides(arguments: list[str]) -> list[str]:
    """Expand `resume=RUN` in a command line to that run's recorded arguments and folder; typed arguments take precedence.

    Raises:
        UserError: If there is nothing to resume.
    """
    given = [argument for argument in arguments if argument.startswith("resume=")]
    value = given[-1].partition("=")[2].strip("'\"") if given else "never"
    if value in MODES:
        return arguments
    if {"-m", "--multirun"} & set(arguments):
        raise UserError(
            f"{given[-1]}: goes on with one run; to go on with a sweep type resume=auto and its hydra.sweep.dir=FOLDER"
        )
    run = run_record_folder(value)
    recorded = read_run_record(run)["overrides"]
    if (opened := [each for each in recorded if each.startswith("plugins=")]) and not any(
        each.startswith("plugins=") for each in arguments
    ):
        # Whoever gave the folder away would otherwise choose the code that runs here.
        raise UserError(f"{given[-1]}: the run uses {opened[-1]}; type {opened[-1]} again if you trust that code")
    recorded = [each for each in recorded if each not in opened]
    quote = '"' if "'" in str(run) else "'"
    return [*recorded, f"hydra.run.dir={quote}{run}{quote}", *(each for each in arguments if each not in given), given[-1]]


def run_record_folder(value: str) -> Path:
    """Return the folder of an unfinished run, given that folder or a checkpoint in it. Raises UserError for anything else."""
    path = Path(value).expanduser()
    if not path.exists():
        raise UserError(f"resume={value}: there is no such folder or checkpoint; type resume=auto, never, or the folder of a run")
    run = path.parent.parent if path.is_file() and path.parent.name == "checkpoints" else path
    if run.name in ("first", "second") and (run.parent / RECORD).exists():
        raise UserError(f"resume={value}: is one stage of a run; type resume={run.parent}")
    if not (run / RECORD).exists():
        if runs := sorted((found.parent for found in path.glob(f"*/{RECORD}")), key=lambda each: each.stat().st_mtime):
            raise UserError(f"resume={value}: is a folder of runs; type resume={runs[-1]} for the newest")
        said = "is no checkpoint in the folder of a run" if path.is_file() else "holds no run"
        raise UserError(f"resume={value}: {said}, there is nothing to resume; init=checkpoint weights=FILE brings weights only")
    if (run / RESULTS).exists():
        raise UserError(f"resume={value}: the run is finished, there is nothing to resume; see {run / RESULTS}")
    if path == run and not run_record_has_checkpoint(run):
        raise UserError(f"resume={value}: was stopped before its first checkpoint, there is nothing to resume; start it again")
    return run


def run_record_has_checkpoint(run: Path) -> bool:
    """Return True if a run has a checkpoint to resume from, in any of its stages."""
    return any(path.exists() for stage in ("", "first", "second") for path in [run / stage / "checkpoints" / "last.ckpt"])


def write_run_record(run: Path, overrides: list[str]) -> None:
    """Write the overrides that start a run, except `resume`, to its run.json. Raises WriteError."""
    content = {"overrides": [each for each in overrides if each.partition("=")[0] != "resume"]}
    try:
        with replacing_file(run / RECORD) as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    except OSError as error:
        raise WriteError(f"{run / RECORD}: cannot be written ({error.strerror})", "type hydra.run.dir=FOLDER") from error


def read_run_record(run: Path) -> dict[str, Any]:
    """Read the run.json of a run. Raises UserError if it cannot be read, or if an override in it could run foreign code."""
    what = "cannot be read"
    try:
        content = json.loads((run / RECORD).read_text(encoding="utf-8"))
        if isinstance(content["overrides"], list) and all(isinstance(each, str) for each in content["overrides"]):
            foreign = [each for each in content["overrides"] if FOREIGN.search(each)]
            if not foreign:
                return {**content, "overrides": [with_current_target(each) for each in content["overrides"]]}
            what = f"holds {foreign[0]!r}, which is no part of a run and could run code"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise UserError(f"{run / RECORD}: {what}; type the command that started the run with hydra.run.dir={run} resume=auto")
