"""What a config leaves open until a run begins, settled by what the run finds: epochs and steps of a budget, precision=auto.

It is kept in the run's folder, so that a run goes on as it began, on another machine too.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vsr.budget import OVERTIME, PLAN, Rate, plan, seconds_of, settled, typed
from vsr.data.base import SRDataModule
from vsr.errors import NotWritten, UserError
from vsr.files import replacing
from vsr.hardware import with_precision
from vsr.processes import from_first, rank
from vsr.resume import Session, differences
from vsr.timing import fit_rates, together, weights

log = logging.getLogger(__name__)


def settle(cfg: DictConfig, folder: Path, data: SRDataModule, session: Session) -> tuple[DictConfig, dict[str, Any]]:
    """The config with nothing left open, and how that came about; read from the folder where the run goes on.

    Raises UserError for a budget that is too short, NotWritten when the plan cannot be kept.
    """
    before = from_first(lambda: read_plan(folder)) if session.resume else {}
    asked, found, cfg = cfg, before, settled(cfg, before)
    if cfg.precision == "auto":
        cfg = with_precision(cfg)
        found = {**found, "settled": {**found.get("settled", {}), "precision": cfg.precision}}
    if cfg.budget is not None and "fits" not in found:
        found = {**found, **_planned(cfg, fit_rates(cfg, data, folder, session), found.get("settled", {}))}
        cfg = settled(cfg, found)
    if found != before:
        found["differs"] = [name for name, *_ in differences(_plain(asked), _plain(cfg))]
        if rank() == 0:
            _write(folder, found)
    if cfg.budget is not None:
        log.info("budget    %s", _words(str(cfg.budget), found))
    return cfg, found


def _plain(cfg: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]


def _planned(cfg: DictConfig, rates: Mapping[str, Rate], known: Mapping[str, Any]) -> dict[str, Any]:
    """The plan for the fits of a run, as plain values."""
    if not rates:
        return {"fits": {}, "settled": dict(known)}
    seconds = seconds_of(cfg.budget)
    whole = plan(together(cfg, rates), seconds)
    epochs = {name: max(1, int(whole.epochs * weight)) for name, weight in weights(cfg, rates).items()}
    values: dict[str, Any] = {"epochs": epochs["whole"], "recipe.steps": whole.steps} if "whole" in epochs else {}
    if "first" in epochs:
        values["init.epochs"] = epochs["first"]
    if from_first(lambda: "patience" not in typed()):
        values["patience"] = None  # a schedule goes to its end
    fits = {name: {"epochs": epochs[name], "step": rate.step, "epoch": rate.epoch} for name, rate in rates.items()}
    return {"seconds": seconds, "steps": whole.steps, "fits": fits, "settled": {**known, **values}}


def limits(found: Mapping[str, Any]) -> dict[str, float]:
    """Seconds after which each fit is ended, by its name: its part of one and a half budgets. Empty without a plan."""
    steps = found.get("steps", 0)
    parts = {name: fit["epochs"] * (steps * fit["step"] + fit["epoch"]) for name, fit in found.get("fits", {}).items()}
    return {name: OVERTIME * found["seconds"] * part / sum(parts.values()) for name, part in parts.items()}


def _words(budget: str, found: Mapping[str, Any]) -> str:
    if not found["fits"]:
        return f"{budget}: there is nothing to train, and it is not needed"
    several = len(found["fits"]) > 1
    parts = [f"{name if several else ''} {fit['epochs']} epochs".strip() for name, fit in found["fits"].items()]
    each = ", ".join(f"{1000 * fit['step']:.3g}" for fit in found["fits"].values())
    return f"{budget}: {', '.join(parts)} of {found['steps']} steps, {each} ms per step (training alone, not data and tables)"


def read_plan(folder: Path) -> dict[str, Any]:
    """What a run has settled; empty for one that left nothing open. Raises UserError for a file that cannot be read."""
    path = folder / PLAN
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and isinstance(found["settled"], dict):
            return found
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError):
        pass
    raise UserError(f"{path}: cannot be read; type hydra.run.dir=FOLDER to start another run")


def _write(folder: Path, found: dict[str, Any]) -> None:
    try:
        with replacing(folder / PLAN) as temporary:
            temporary.write_text(json.dumps(found, indent=1), encoding="utf-8")
    except OSError as error:
        raise NotWritten(f"{folder / PLAN}: cannot be written ({error.strerror})", "type hydra.run.dir=FOLDER") from error
