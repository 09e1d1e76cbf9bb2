"""Resolve the settings that are only known at run time: the epochs and steps of a budget, precision=auto.

The resolved values are kept in the run's folder (plan.json), so that a resumed run uses the same values on any machine.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vsr.config.duration import PLAN, parse_duration
from vsr.config.overrides import overridden_keys, with_overrides
from vsr.config.resolved import with_resolved_values
from vsr.data.base import SRDataModule
from vsr.errors import UserError, WriteError
from vsr.system.files import replacing_file
from vsr.system.ranks import current_rank
from vsr.training.budget.plan import OVERTIME, StepRate, plan_budget
from vsr.training.budget.step_time import measure_fit_rates, step_time_epoch_ratios, total_step_rate
from vsr.training.hardware import fastest_precision, hardware_placement
from vsr.training.resume.state import RunState, resume_config_differences

log = logging.getLogger(__name__)

RESOLVED = {"precision", "epochs", "recipe.steps", "init.epochs", "patience"}


def resolve_budget_before_data(cfg: DictConfig, before: Mapping[str, Any]) -> tuple[DictConfig, dict[str, Any]]:
    """Resolve the settings that need no data: precision=auto, and the patience of a run with a budget.

    A resumed run takes the values in its plan.json. Only rank 0 calls this function and sends the result to the other ranks.

    Args:
        cfg: The checked config of the run.
        before: The plan.json of the run that is resumed; empty for a new run.

    Returns:
        The config with these values, and the content of plan.json so far.
    """
    found = dict(before)
    cfg = with_resolved_values(cfg, found)
    values: dict[str, Any] = {}
    if cfg.get("precision") == "auto":
        values["precision"] = fastest_precision(hardware_placement(cfg.trainer).accelerator)
    if cfg.get("budget") is not None and "fits" not in found and "patience" not in overridden_keys():
        values["patience"] = None  # the learning-rate schedule must reach its end
    if values:
        asked, cfg = cfg, with_overrides(cfg, values)
        found |= {"settled": {**found.get("settled", {}), **values}, "differs": _changed_keys(asked, cfg)}
    return cfg, found


def resolve_budget(cfg: DictConfig, folder: Path, data: SRDataModule, run_state: RunState) -> tuple[DictConfig, dict[str, Any]]:
    """Turn the time budget of a config into epochs and steps; a resumed run keeps the numbers in its plan.json.

    Args:
        cfg: The config from `resolve_budget_before_data`.
        folder: The run's folder; plan.json is written there once the run begins.
        data: The data module; the time per step is measured on its frames.
        run_state: The state of the run in this process, with the content of plan.json so far.

    Returns:
        The config with values for all settings, and the content of plan.json (empty if the config left no setting open).

    Raises:
        UserError: If the budget is too short for one training step.
        WriteError: If the measurement of the time per step cannot write its checkpoints.
    """
    found = run_state.plan
    if cfg.budget is not None and "fits" not in found:
        asked = cfg
        found = {**found, **_plan_of_run(cfg, measure_fit_rates(cfg, data, folder, run_state), found.get("settled", {}))}
        cfg = with_overrides(cfg, found["settled"])
        found["differs"] = list(dict.fromkeys([*found.get("differs", []), *_changed_keys(asked, cfg)]))
    if (
        found
        and current_rank() == 0
        and not (run_state.resume and (folder / PLAN).exists() and read_resolved_budget(folder) == found)
    ):
        run_state.pending.append(lambda: _write(folder, found))
    if cfg.budget is not None:
        log.info("budget    %s", _summary(str(cfg.budget), found))
    return cfg, found


def _changed_keys(before: DictConfig, after: DictConfig) -> list[str]:
    plain: list[Any] = [OmegaConf.to_container(cfg, resolve=True) for cfg in (before, after)]
    return [key for key, *_ in resume_config_differences(*plain)]


def _plan_of_run(cfg: DictConfig, rates: Mapping[str, StepRate], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of plan.json for a run with a budget: the epochs and steps of each of its fits."""
    if not rates:
        return {"fits": {}, "settled": dict(known)}
    seconds = parse_duration(cfg.budget)
    whole = plan_budget(total_step_rate(cfg, rates), seconds)
    epochs = {name: max(1, int(whole.epochs * ratio)) for name, ratio in step_time_epoch_ratios(cfg, rates).items()}
    values: dict[str, Any] = {"epochs": epochs["whole"], "recipe.steps": whole.steps} if "whole" in epochs else {}
    if "first" in epochs:
        values["init.epochs"] = epochs["first"]
    fits = {name: {"epochs": epochs[name], "step": rate.step, "epoch": rate.epoch} for name, rate in rates.items()}
    return {"seconds": seconds, "steps": whole.steps, "fits": fits, "settled": {**known, **values}}


def budget_time_limits(found: Mapping[str, Any]) -> dict[str, float]:
    """Return the time limit of each fit in seconds, by fit name; the limits add up to 1.5 budgets. Empty without a plan."""
    steps = found.get("steps", 0)
    parts = {name: fit["epochs"] * (steps * fit["step"] + fit["epoch"]) for name, fit in found.get("fits", {}).items()}
    return {name: OVERTIME * found["seconds"] * part / sum(parts.values()) for name, part in parts.items()}


def _summary(budget: str, found: Mapping[str, Any]) -> str:
    if not found["fits"]:
        return f"{budget}: there is nothing to train, and the budget is not needed"
    several = len(found["fits"]) > 1
    parts = [f"{name if several else ''} {fit['epochs']} epochs".strip() for name, fit in found["fits"].items()]
    each = ", ".join(f"{1000 * fit['step']:.3g}" for fit in found["fits"].values())
    return f"{budget}: {', '.join(parts)} of {found['steps']} steps, {each} ms per step (training alone, not data and tables)"


def read_resolved_budget(folder: Path) -> dict[str, Any]:
    """Read plan.json in the folder of a run; return {} if the file is missing. Raises UserError if it cannot be read."""
    path = folder / PLAN
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if _is_plan(found):
            return dict(found)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise UserError(f"{path}: cannot be read; type hydra.run.dir=FOLDER to start another run")


def _is_plan(found: Any) -> bool:
    """Return True if `found` has the form of plan.json; a file of other origin must not set other keys of a config."""
    fits = found.get("fits", {}).values()
    numbers = [number for fit in fits for number in (fit["epochs"], fit["step"], fit["epoch"])]
    numbers += [found["seconds"], found["steps"]] if "fits" in found and fits else []
    return set(found["settled"]) <= RESOLVED and all(isinstance(number, int | float) for number in numbers)


def _write(folder: Path, found: dict[str, Any]) -> None:
    try:
        with replacing_file(folder / PLAN) as temporary:
            temporary.write_text(json.dumps(found, indent=1), encoding="utf-8")
    except OSError as error:
        raise WriteError(f"{folder / PLAN}: cannot be written ({error.strerror})", "type hydra.run.dir=FOLDER") from error
