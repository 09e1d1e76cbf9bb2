"""What a config leaves open until a run begins, settled by what the run finds: `model` or its alternative, epochs and steps of a
budget, precision=auto.

It is kept in the run's folder, so that a run goes on as it began, on another machine too.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vsr.config.alternative_model import config_of, model_name, rival
from vsr.data.base import SRDataModule
from vsr.errors import NotWritten, UserError
from vsr.system.files import replacing
from vsr.system.ranks import from_first, rank
from vsr.training.budget.plan import OVERTIME, PLAN, Rate, changed, plan, seconds_of, settled, typed
from vsr.training.budget.step_time import fit_rates, together, weights
from vsr.training.budget.trial import Choice, Entrant, compete, trained_on, verdict
from vsr.training.hardware import with_precision
from vsr.training.resume.state import Session, differences

log = logging.getLogger(__name__)

TRIAL = 0.05  # of a budget, for each of two networks
SETTLED = {"precision", "epochs", "recipe.steps", "init.epochs", "patience"}
FEWEST = 50  # steps of a trial: fewer tell nothing


def settle(cfg: DictConfig, folder: Path, data: SRDataModule, session: Session) -> tuple[DictConfig, dict[str, Any]]:
    """The config with nothing left open, and how that came about; read from the folder where the run goes on.

    Raises UserError for a budget that is too short, NotWritten when the plan cannot be kept.
    """
    before = from_first(lambda: read_plan(folder)) if session.resume else {}
    asked, cfg = cfg, as_chosen(cfg, before)
    found, cfg = before, settled(cfg, before)
    if cfg.precision == "auto":
        cfg = with_precision(cfg)
        found = {**found, "settled": {**found.get("settled", {}), "precision": cfg.precision}}
    rates: Mapping[str, Rate] | None = None
    seconds = 0.0 if cfg.budget is None else seconds_of(cfg.budget)
    if cfg.alternative is not None:
        cfg, choice, rates = _choose(cfg, folder, data, session)
        found = {**found, "trial": asdict(choice)}
        seconds -= len(choice.scores) * choice.seconds
    if cfg.budget is not None and "fits" not in found:
        rates = fit_rates(cfg, data, folder, session) if rates is None else rates
        found = {**found, **_planned(cfg, rates, seconds, found.get("settled", {}))}
        cfg = settled(cfg, found)
    if found != before:
        found["differs"] = [name for name, *_ in differences(_plain(asked), _plain(cfg))]
        if rank() == 0:
            session.pending.append(lambda: _write(folder, found))
    if "trial" in found:
        log.info("trial     %s", Choice(**found["trial"]).words())
    if cfg.budget is not None:
        log.info("budget    %s", _words(str(cfg.budget), found))
    return cfg, found


def _plain(cfg: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]


def as_chosen(cfg: DictConfig, found: Mapping[str, Any]) -> DictConfig:
    """The config with the network that a run has chosen, and without an alternative that does not count or was decided on.

    Raises UserError for a run that had other networks to choose from.
    """
    if cfg.get("alternative") is None:
        return cfg
    before, plain = found.get("trial"), changed(cfg, {"alternative": None})
    name, model = from_first(lambda: (rival(cfg), model_name()))
    if name is None:
        return plain
    if before is None:
        return cfg
    if (before["model"], before["alternative"]) != (model, name):
        raise UserError(
            f"model={model} alternative={name}: this run had model={before['model']} and alternative={before['alternative']} to "
            f"choose from, and took {before['chosen']}; type these, or hydra.run.dir=FOLDER to start another run"
        )
    return plain if before["chosen"] == model else OmegaConf.create(from_first(lambda: config_of(name)))


def _choose(
    cfg: DictConfig, folder: Path, data: SRDataModule, session: Session
) -> tuple[DictConfig, Choice, dict[str, Rate] | None]:
    """The config of the better one of `model` and its alternative, how that was found, and its rates where they were measured.

    A movie network for which the data have no clips loses without a trial; without time for one, the model stays.
    """
    model, name = from_first(lambda: (model_name(), str(rival(cfg))))
    other = OmegaConf.create(from_first(lambda: config_of(name)))
    cfgs = {model: changed(cfg, {"alternative": None}), name: changed(other, {"precision": cfg.precision})}
    seconds = TRIAL * seconds_of(cfg.budget)
    told = Choice(model, name, model, {}, str(cfg.monitor), seconds)
    kinds = {each: trained_on(own, data) for each, own in cfgs.items()}
    unfit = [each for each, found in kinds.items() if found.refused]
    if len(unfit) == 1 and kinds[unfit[0]].kind == "movie" and {found.kind for found in kinds.values()} == {"movie", "frame"}:
        chosen = name if unfit == [model] else model
        return cfgs[chosen], told.of(chosen, why=f"none: {kinds[unfit[0]].refused}"), None
    rates = {each: fit_rates(own, data, folder, session) for each, own in cfgs.items()}
    plans: dict[str, dict[str, Any]] = {}
    for each, own in cfgs.items():
        try:
            plans[each] = _planned(own, rates[each], seconds, {})
            steps = plans[each].get("steps", FEWEST) * plans[each]["settled"].get("epochs", 1)  # no steps: nothing is trained
        except UserError:  # no time for one of each fit
            steps = 0
        if steps < FEWEST:
            why = f"none: {each} would make {steps} steps in {seconds:.3g} s, a twentieth of the budget, and fewer than {FEWEST} "
            return cfgs[model], told.of(model, why=f"{why}tell nothing"), rates[model]
    entrants = {each: Entrant(settled(own, plans[each]), limits(plans[each])) for each, own in cfgs.items()}
    scores = compete(entrants, data, folder, session)
    frame = next((each for each, found in kinds.items() if found.kind == "frame"), None)
    alone = frame if [found.kind for found in kinds.values()].count("frame") == 1 else None
    chosen = verdict(told.monitor, scores, alone)
    why = "neighbouring frames do not help here: one frame" if chosen == alone else ""
    return cfgs[chosen], told.of(chosen, scores=scores, why=why), rates[chosen]


def _planned(cfg: DictConfig, rates: Mapping[str, Rate], seconds: float, known: Mapping[str, Any]) -> dict[str, Any]:
    """The plan for the fits of a run in so much time, as plain values."""
    if not rates:
        return {"fits": {}, "settled": dict(known)}
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
        if _is_plan(found):
            return dict(found)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise UserError(f"{path}: cannot be read; type hydra.run.dir=FOLDER to start another run")


def _is_plan(found: Any) -> bool:
    """Whether it has the form of what `settle` writes; a file from elsewhere must not set other keys of a config."""
    Choice(**found.get("trial", asdict(Choice("", "", "", {}, "", 0.0))))
    fits = found.get("fits", {}).values()
    numbers = [number for fit in fits for number in (fit["epochs"], fit["step"], fit["epoch"])]
    numbers += [found["seconds"], found["steps"]] if "fits" in found else []
    return set(found["settled"]) <= SETTLED and all(isinstance(number, int | float) for number in numbers)


def _write(folder: Path, found: dict[str, Any]) -> None:
    try:
        with replacing(folder / PLAN) as temporary:
            temporary.write_text(json.dumps(found, indent=1), encoding="utf-8")
    except OSError as error:
        raise NotWritten(f"{folder / PLAN}: cannot be written ({error.strerror})", "type hydra.run.dir=FOLDER") from error
