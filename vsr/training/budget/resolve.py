"""Resolve the settings that are only known at run time: the epochs and steps of a budget, precision=auto.

The resolved values are kept in the run's folder (plan.json), so that a resumed run goes on with the same ones on any machine.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vsr.config.duration import PLAN, seconds_of
from vsr.config.overrides import overridden_keys
from vsr.config.resolved import with_resolved
from vsr.data.base import SRDataModule
from vsr.errors import NotWritten, UserError
from vsr.system.files import replacing
from vsr.system.ranks import from_first, rank
from vsr.training.budget.plan import OVERTIME, Rate, plan
from vsr.training.budget.step_time import epoch_ratios, fit_rates, total_rate
from vsr.training.hardware import with_precision
from vsr.training.resume.state import Session, differences

log = logging.getLogger(__name__)

RESOLVED = {"precision", "epochs", "recipe.steps", "init.epochs", "patience"}


def resolve(cfg: DictConfig, folder: Path, data: SRDataModule, session: Session) -> tuple[DictConfig, dict[str, Any]]:
    """Replace precision=auto and the epochs and steps of a budget by values; a resumed run reads them from its folder.

    Args:
        cfg: the checked config of the run.
        folder: the run's folder; plan.json is written there once the run begins.
        data: the data module; a budget is measured on its frames.
        session: this process's part of the run.

    Returns:
        The config with values for all settings, and the content of plan.json (empty when the config left nothing open).

    Raises:
        UserError: the budget is too short for one training step.
        NotWritten: plan.json cannot be written.
    """
    before = from_first(lambda: read_plan(folder)) if session.resume else {}
    asked, cfg, found = cfg, with_resolved(cfg, before), before
    if cfg.precision == "auto":
        cfg = with_precision(cfg)
        found = {**found, "settled": {**found.get("settled", {}), "precision": cfg.precision}}
    if cfg.budget is not None and "fits" not in found:
        found = {**found, **_plan_of_run(cfg, fit_rates(cfg, data, folder, session), found.get("settled", {}))}
        cfg = with_resolved(cfg, found)
    if found != before:
        found["differs"] = [name for name, *_ in differences(_plain(asked), _plain(cfg))]
        if rank() == 0:
            session.pending.append(lambda: _write(folder, found))
    if cfg.budget is not None:
        log.info("budget    %s", _summary(str(cfg.budget), found))
    return cfg, found


def _plain(cfg: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]


def _plan_of_run(cfg: DictConfig, rates: Mapping[str, Rate], known: Mapping[str, Any]) -> dict[str, Any]:
    """Plan the epochs and steps of every fit of a run within its budget."""
    if not rates:
        return {"fits": {}, "settled": dict(known)}
    seconds = seconds_of(cfg.budget)
    whole = plan(total_rate(cfg, rates), seconds)
    epochs = {name: max(1, int(whole.epochs * ratio)) for name, ratio in epoch_ratios(cfg, rates).items()}
    values: dict[str, Any] = {"epochs": epochs["whole"], "recipe.steps": whole.steps} if "whole" in epochs else {}
    if "first" in epochs:
        values["init.epochs"] = epochs["first"]
    if from_first(lambda: "patience" not in overridden_keys()):
        values["patience"] = None  # the learning-rate schedule must reach its end
    fits = {name: {"epochs": epochs[name], "step": rate.step, "epoch": rate.epoch} for name, rate in rates.items()}
    return {"seconds": seconds, "steps": whole.steps, "fits": fits, "settled": {**known, **values}}


def time_limits(found: Mapping[str, Any]) -> dict[str, float]:
    """Seconds after which each fit is stopped, by fit name: its share of one and a half budgets. Empty without a plan."""
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


def read_plan(folder: Path) -> dict[str, Any]:
    """Read the plan.json of a run; empty for a run without one. Raises UserError for a file that cannot be read."""
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
    """Whether a file has the form that `resolve` writes: a file from elsewhere must not set other keys of a config."""
    fits = found.get("fits", {}).values()
    numbers = [number for fit in fits for number in (fit["epochs"], fit["step"], fit["epoch"])]
    numbers += [found["seconds"], found["steps"]] if "fits" in found and fits else []
    return set(found["settled"]) <= RESOLVED and all(isinstance(number, int | float) for number in numbers)


def _write(folder: Path, found: dict[str, Any]) -> None:
    try:
        with replacing(folder / PLAN) as temporary:
            temporary.write_text(json.dumps(found, indent=1), encoding="utf-8")
    except OSError as error:
        raise NotWritten(f"{folder / PLAN}: cannot be written ({error.strerror})", "type hydra.run.dir=FOLDER") from error
