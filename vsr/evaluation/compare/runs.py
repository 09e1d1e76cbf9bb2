"""Training runs read from their folders: scores, config overrides, and the settings that distinguish runs."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from vsr.config.monitor import SCORE_LOG, monitor_is_maximised
from vsr.config.old_targets import with_current_targets
from vsr.config.overrides import value_as_typed
from vsr.errors import UserError
from vsr.geometry import SQUARE
from vsr.metrics.variables import table_part

# Keys of the protocol that must agree between the rows of one table.
COMPARED = ("data", "degradation", "scale", "window", "pixels", "ends", "range", "protocol", "psnr", "ssim")
OLDER = {"pixels": SQUARE.describe()}  # of runs that did not record the key
# Config groups that do not change the result of a run.
_APART = ("hparams_search", "callbacks", "logger")
BUDGET_PLAN = ("epochs", "recipe.steps")  # follow from budget=, by the speed of the machine
SEED = "seed"  # runs that differ in it alone form one line with a spread


@dataclass(frozen=True)
class Run:
    """A training run.

    Attributes:
        label: Name of the run in tables.
        folder: Folder of the run.
        results: Content of results.json; empty for a run without a result.
        typed: Config overrides on the command line of the run, such as "model=resnet".
        choices: Config group -> the config that the run chose.
        state: "ok", "failed" or "stopped".
        error: Reason why the run failed or was stopped.
        epoch_scores: Scores of each epoch of a failed or stopped run.
    """

    label: str
    folder: Path
    results: dict[str, Any] = field(default_factory=dict)
    typed: tuple[str, ...] = ()
    choices: dict[str, str] = field(default_factory=dict)
    state: str = "ok"
    error: str = ""
    epoch_scores: tuple[dict[str, float], ...] = ()

    @cached_property
    def config(self) -> dict[str, Any]:
        """The config of the run as a flat dictionary, with nested keys joined by dots."""
        return _flatten(self.results.get("config", {}))

    @property
    def protocol(self) -> dict[str, Any]:
        """The data and settings of the scores; runs are comparable if these are equal."""
        return {key: self.results["protocol"].get(key, OLDER.get(key)) for key in COMPARED}

    @property
    def monitor(self) -> str:
        """The name of the validation score that selected the weights, such as "val/psnr"."""
        return str(self.config.get("monitor", "val/psnr"))

    def best(self, monitor: str) -> float | None:
        """Return the best value of a logged score over all epochs, with epoch 0 before training; None if none was logged."""
        found = [
            row[monitor] for row in self.results.get("history", self.epoch_scores) if math.isfinite(row.get(monitor, math.nan))
        ]
        return (max if monitor_is_maximised(monitor) else min)(found) if found else None

    def row(self, part: str, method: str | None = None) -> dict[str, Any] | None:
        """Return the results row of a method in a part of the table, by default of the trained network; None without one."""
        wanted = method or self.results["config"]["name"]
        return next((row for row in self.results["rows"] if table_part(row) == part and row["method"] == wanted), None)

    def value(self, key: str) -> str:
        """Return the value of a config key, or the choice of a config group, as typed on the command line; "-" without one."""
        if key in self.choices:
            return self.choices[key]
        if key in self.config:
            return value_as_typed(self.config[key])
        given = [line.partition("=")[2] for line in self.typed if _override_key(line) == key]
        return given[-1] if given else "-"


def _override_key(override: str) -> str:
    """Return the key of a config override, such as "a.b" for "+a.b=1"."""
    return override.partition("=")[0].lstrip("+~")


def _read_run_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of a run. Raises UserError if the file cannot be read or holds no JSON object."""
    try:
        found = with_current_targets(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: is not the file of a run")
    return found


def read_compared_run(folder: Path, label: str | None = None) -> Run:
    """Read the finished training run in a folder. Raises UserError if the folder has no such run."""
    results = _read_run_json(folder / "results.json")
    if not {"config", "rows", "protocol", "history"} <= set(results):
        raise UserError(f"{folder / 'results.json'}: is not of a training run; give folders that train.py wrote")
    typed, choices = _read_hydra_record(folder)
    return Run(label or str(folder), folder, results, typed, choices)


def find_compared_runs(paths: Sequence[Path]) -> list[Run]:
    """Find and read the training runs in folders; a folder may be a run, a sweep, or hold runs at any depth.

    Raises:
        UserError: If a folder does not exist or has no runs, or if a run is given twice.
    """
    found: list[Run] = []
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path}: no such folder; type folders of runs, as in runs/fsrcnn-climate/*")
        if (path / "sweep.json").exists():
            found += read_compared_sweep(path)
        elif (path / "results.json").exists():
            found.append(read_compared_run(path))
        else:
            inside = sorted(file.parent for file in path.rglob("results.json"))
            runs = [read_compared_run(folder) for folder in inside if "history" in _read_run_json(folder / "results.json")]
            if not runs:
                raise UserError(f"{path}: holds no training run that has come to its end")
            found += runs
    folders = [run.folder.resolve() for run in found]
    if len(paths) > 1:
        above = os.path.commonpath(folders) if len(found) > 1 else folders[0].parent
        found = [replace(run, label=os.path.relpath(folder, above)) for run, folder in zip(found, folders, strict=True)]
    twice = next((run for run, folder in zip(found, folders, strict=True) if folders.count(folder) > 1), None)
    if twice is not None:
        raise UserError(f"{twice.folder}: is given twice")
    return found


def read_compared_sweep(path: Path) -> list[Run]:
    """Read the finished, failed and stopped runs of a sweep; the label of a run is its number in the sweep."""
    found: list[Run] = []
    for slot in _read_run_json(path / "sweep.json").get("jobs", []):
        label = str(slot["number"])
        folder = path / label
        if slot["state"] == "ok" and (folder / "results.json").exists():
            found.append(read_compared_run(folder, label))
        elif slot["state"] in ("failed", "stopped"):
            typed, state, error = tuple(slot["values"]), slot["state"], slot["error"]
            found.append(Run(label, folder, typed=typed, state=state, error=error, epoch_scores=_read_epoch_scores(folder)))
    return found


def _read_epoch_scores(folder: Path) -> tuple[dict[str, float], ...]:
    """Read the scores of each epoch of a stopped run; return () if the log cannot be read."""
    try:
        lines = (folder / SCORE_LOG).read_text(encoding="utf-8").splitlines()
        return tuple(json.loads(line) for line in lines)
    except (OSError, ValueError):
        return ()


def group_comparable_runs(runs: Sequence[Run]) -> list[list[Run]]:
    """Group finished runs into sets with the same data and settings of scores, in the order of first appearance."""
    sets: dict[str, list[Run]] = {}
    for run in runs:
        if run.state == "ok":
            sets.setdefault(json.dumps(run.protocol, sort_keys=True), []).append(run)
    return list(sets.values())


def refuse_incomparable_runs(sets: Sequence[Sequence[Run]]) -> None:
    """Raise UserError if there are several sets of comparable runs; the message names the first key that differs."""
    if len(sets) > 1:
        one, other = sets[0][0], sets[1][0]
        ours, theirs = _flatten(one.protocol), _flatten(other.protocol)
        key = next(key for key in (*ours, *theirs) if ours.get(key) != theirs.get(key))
        raise UserError(
            f"{one.folder} and {other.folder} are not comparable: {key} is {value_as_typed(ours.get(key))} and "
            f"{value_as_typed(theirs.get(key))}; type --apart for a table of each"
        )


def keys_distinguishing_runs(runs: Sequence[Run]) -> list[str]:
    """Return the config keys, without the seed, that tell the runs apart; keys typed on command lines come first."""
    typed = [
        key for key in dict.fromkeys(_override_key(line) for run in runs for line in run.typed) if not key.startswith(_APART)
    ]
    known = {run.results["config"]["name"] for run in runs if run.results}
    found = [key for key in typed if key != SEED and len({run.value(key) for run in runs}) > 1]
    found = found or (["name"] if len(known) > 1 else [])
    alike: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        if run.results:
            alike.setdefault(tuple(run.value(key) for key in found), []).append(run)
    for group in alike.values():
        planned = BUDGET_PLAN if all(_has_budget(run) for run in group) else ()
        for key in dict.fromkeys(key for run in group for key in run.config):
            counts = key not in (SEED, "name", *planned, *found) and not key.startswith(_APART)
            if counts and len({run.value(key) for run in group}) > 1:
                found.append(key)
    return found


def budget_note(runs: Sequence[Run]) -> str:
    """Say that runs of one line of a table had unequal numbers of steps, which a budget measured for each; "" if they had not."""
    steps = [int(run.config["epochs"]) * int(run.config["recipe.steps"]) for run in runs if run.results and _has_budget(run)]
    if len(set(steps)) < 2:
        return ""
    return f"a budget measures the steps of each run: {min(steps):,} to {max(steps):,} for seeds of one line"


def _has_budget(run: Run) -> bool:
    return run.value("budget") not in ("-", "null", "None")


def _flatten(node: Any, path: str = "") -> dict[str, Any]:
    if isinstance(node, dict):
        return {k: v for key, one in node.items() for k, v in _flatten(one, f"{path}.{key}" if path else str(key)).items()}
    return {path: node}


def _read_hydra_record(folder: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """Read the overrides and config choices of a run from its .hydra folder; both are empty if the files cannot be read."""
    try:
        typed = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text(encoding="utf-8"))
        record = yaml.safe_load((folder / ".hydra" / "hydra.yaml").read_text(encoding="utf-8"))
        chosen = record["hydra"]["runtime"]["choices"]
        own = {str(key): value for key, value in chosen.items() if not str(key).startswith("hydra/")}
        return tuple(map(str, typed)), {key: value_as_typed(value) for key, value in own.items()}
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return (), {}
