"""A trial: several networks trained for a short time each, on the same data with the same seed, and scored on the same frames."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
from omegaconf import DictConfig

from vsr.data.base import SRDataModule
from vsr.system.ranks import from_first, rank
from vsr.training.build import build_module, build_scorer
from vsr.training.fit import begun, serve, train_all
from vsr.training.hardware import set_arithmetic
from vsr.training.modules.base import SRModule
from vsr.training.resume.state import Session, random_states, restore_random_states

FOLDER = ".trial"
CLEARLY = 0.05  # dB that neighbouring frames have to be worth: a movie network takes several times as long to upscale


@dataclass(frozen=True)
class Choice:
    """One of two networks, and how it was chosen: by `scores` after so many seconds each, or without any, for what `why` says."""

    model: str
    alternative: str
    chosen: str
    scores: dict[str, float]
    monitor: str
    seconds: float
    why: str = ""

    def of(self, chosen: str, **more: Any) -> Choice:
        """The same with a decision."""
        return replace(self, chosen=chosen, **more)

    def words(self) -> str:
        """For the log."""
        if not self.scores:
            return f"{self.why}: {self.chosen}"
        decibels = self.monitor.endswith("psnr")
        scores = ", ".join(f"{name} {score:{'.2f' if decibels else '.4g'}}" for name, score in self.scores.items())
        unit = " dB" if decibels else ""
        lines = [f"{scores}{unit} {self.monitor} after {self.seconds:.3g} s each: {self.chosen}", self.why]
        return "\n          ".join(filter(None, lines))


@dataclass(frozen=True)
class Entrant:
    """A network in a trial: its config with epochs and steps of its own, and the seconds after which its fits are ended."""

    cfg: DictConfig
    limit: Mapping[str, float]


def compete(entrants: Mapping[str, Entrant], data: SRDataModule, folder: Path, session: Session) -> dict[str, float]:
    """`monitor` of each entrant's best epoch, by its name, all on the same frames of the validation split.

    Every process of a distributed run takes part, and the first one's scores count. What the fits write goes to a folder in
    `folder` and is removed; random states are left as they were. A trial that was stopped leaves nothing to go on from. Raises
    Stopped when a signal came.
    """
    kept, place = random_states(), folder / FOLDER
    own = Session(signals=session.signals)
    try:
        _remove(place)
        modules = {name: _trained(entrant, data, place / name, own) for name, entrant in entrants.items()}
        # Of large data movie networks are scored on fewer frames than frame networks during training; here on the same ones.
        serve(data, max(modules.values(), key=lambda module: module.network.context))
        scores = {name: _score(entrants[name].cfg, module, data) for name, module in modules.items()}
        return from_first(lambda: scores)
    finally:
        _remove(place)
        restore_random_states(kept)


def _remove(place: Path) -> None:
    if rank() == 0:
        shutil.rmtree(place, ignore_errors=True)


def _trained(entrant: Entrant, data: SRDataModule, place: Path, session: Session) -> SRModule:
    """The module of an entrant with the weights of its best epoch, as a run of its own would have trained it."""
    L.seed_everything(entrant.cfg.seed, workers=True, verbose=False)
    beginning = begun(entrant.cfg, data)
    train_all(entrant.cfg, place, data, beginning, session, entrant.limit)
    return beginning.module


def _score(cfg: DictConfig, module: SRModule, data: SRDataModule) -> float:
    set_arithmetic(tf32=False)
    scorer = build_scorer(cfg)
    scorer.validate(module, dataloaders=data.val_dataloader(), verbose=False)
    set_arithmetic(cfg.tf32)
    return float(scorer.callback_metrics[cfg.monitor])


def gain(monitor: str, score: float, other: float) -> float:
    """How much better a score is than another, in dB of the error: of 1 - SSIM for SSIM."""
    name = monitor.partition("/")[2]
    if name == "psnr":
        return score - other
    errors = (1 - score, 1 - other) if name == "ssim" else (score, other)
    mine, its = (math.log10(max(error, 1e-30)) for error in errors)
    return (20 if name == "mae" else 10) * (its - mine)


def verdict(monitor: str, scores: Mapping[str, float], frame: str | None) -> str:
    """The better one of two networks, the first one of equals; `frame`, which sees single frames, unless it is clearly beaten."""
    first, second = scores
    if frame is None:
        return second if gain(monitor, scores[second], scores[first]) > 0 else first
    movie = second if frame == first else first
    return movie if gain(monitor, scores[movie], scores[frame]) >= CLEARLY else frame


@dataclass(frozen=True)
class Needs:
    """What a network is trained on: its kind, frame or movie, and why these data have nothing for it, empty where they have."""

    kind: str
    refused: str


def trained_on(cfg: DictConfig, data: SRDataModule) -> Needs:
    """Whether the training movies have clips for the network of a config. Leaves random states as they were."""
    kept = random_states()
    try:
        module = build_module(cfg, data.card, data.test_splits)
    finally:
        restore_random_states(kept)
    longest = max(stop - start for start, stop in data.sets["train"].segments)
    refused = ""
    if module.kind == "movie" and longest == 1:
        refused = f"the data are single pictures, which {cfg.name} cannot be trained on"
    elif module.kind == "movie" and longest + 2 * module.network.geometry.margin[0] < module.recipe.frames:
        refused = f"{cfg.name} is trained on clips of {module.recipe.frames} frames, the longest training movie has {longest}"
    return Needs(module.kind, refused)
