"""A trained network from its checkpoint alone: config, normaliser and degradation travel in it."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from vsr.config.check import check
from vsr.errors import UserError
from vsr.models.weights.authors import shown
from vsr.models.weights.files import form_problem
from vsr.training.build import build_module, build_network, make
from vsr.training.modules.base import SRModule
from vsr.training.resume.checkpoints import read_checkpoint

# Of a run's config, what says nothing about the network: where it started from (that file may be gone) and how it was run.
FORGOTTEN = ("init", "trainer", "callbacks", "logger", "precision", "compile", "tf32", "channels_last", "deterministic")
NEEDED = ("name", "scale", "model", "degradation", "recipe", "window")


@dataclass(frozen=True)
class Trained:
    """A checkpoint of vsr, read and checked.

    Attributes:
        path, sha256: the file. config: of its run. facts: the card of the data that it was trained on. seconds, stage_seconds: of
        its training. consistency: with LR in validation (`vsr.training.callbacks.LRConsistency`); None where not measured.
    """

    path: Path
    sha256: str
    config: DictConfig
    facts: dict[str, Any]
    state: dict[str, Any]
    seconds: float
    stage_seconds: dict[str, float]
    consistency: float | None

    @property
    def channels(self) -> int:
        return int(self.facts["channels"])

    @property
    def bounds(self) -> tuple[float, float]:
        """The physical values that are 0 and 1 to the network."""
        low, high = self.facts["bounds"]
        return float(low), float(high)

    def module(self, config: DictConfig | None = None, test_splits: tuple[str, ...] = ()) -> SRModule:
        """The network in its harness, with its weights; `config` when parts of its own were replaced. Raises UserError."""
        config = config if config is not None else self.config
        try:
            with warnings.catch_warnings(action="ignore"):  # torch remarks on empty tensors
                self._check_size(config)
                module = build_module(config, self.facts, test_splits)
        except (KeyError, TypeError, ValueError, OmegaConfBaseException) as error:
            raise incomplete(self.path, error) from error
        try:
            module.load_state_dict(self.state)
        except RuntimeError as error:
            detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
            raise UserError(f"{self.path}: its tensors are not those of the network that it names ({detail})") from error
        return module.eval()

    def _check_size(self, config: DictConfig) -> None:
        """Raise UserError for a network that is larger than what the file holds, before memory and time are spent on it."""
        held = sum(tensor.numel() for tensor in self.state.values())
        largest = max(_integers(OmegaConf.to_container(config.model)), default=0)
        if largest > held:  # a width, a depth or a kernel: each needs a number at least
            detail = f"{largest} of a part, and the file holds {held} numbers"
            raise UserError(f"{self.path}: its tensors are not those of the network that it names ({detail})")
        with torch.device("meta"):
            network = build_network(
                "model", config.model, make("recipe", config.recipe), scale=config.scale, channels=self.channels
            )
        named = sum(tensor.numel() for tensor in network.state_dict().values())
        if named > held:
            detail = f"{named} numbers, and the file holds {held}"
            raise UserError(f"{self.path}: its tensors are not those of the network that it names ({detail})")


def read_trained(path: Path) -> Trained:
    """Read a checkpoint and check the config in it against what a config may name.

    Raises UserError for a file that is not a checkpoint of vsr, is damaged or incomplete, or names what is not allowed.
    """
    content = read_checkpoint(path)
    card = content["vsr"]
    if (text := _interpolated(card)) is not None:  # written resolved; one would be filled in from this environment
        raise UserError(f"{path}: its config holds {text!r}, which is not filled in here; it was not written by vsr")
    try:
        config = OmegaConf.create({key: value for key, value in card["config"].items() if key not in FORGOTTEN})
        facts = dict(card["data"])
        low, high = facts["bounds"]
        facts |= {"channels": int(facts["channels"]), "bounds": [float(low), float(high)]}
        if facts["channels"] < 1:
            raise ValueError(f"channels={facts['channels']}")
        if (missing := next((key for key in NEEDED if config.get(key) is None), None)) is not None:
            raise KeyError(missing)
        seconds = float(card.get("seconds", 0.0))
        stages = {str(name): float(value) for name, value in card.get("stage_seconds", {}).items()}
        agreed = None if card.get("consistency") is None else float(card["consistency"])
        config.protocol, config.ends = config.get("protocol", "float"), config.get("ends", "replicate")
        config.consistency, config.consistency_steps = config.get("consistency", "none"), config.get("consistency_steps", 3)
    except (KeyError, TypeError, ValueError, AttributeError, OmegaConfBaseException) as error:
        raise incomplete(path, error) from error
    _check_state(path, content["state_dict"])
    try:
        check(OmegaConf.masked_copy(config, [str(key) for key in config if key != "data"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # types that no schema has refused
        raise incomplete(path, error) from error
    return Trained(path, _sha256(path), config, facts, content["state_dict"], seconds, stages, agreed)


def _check_state(path: Path, state: Any) -> None:
    """Raise UserError unless it is a dictionary of plain tensors."""
    if not isinstance(state, dict):
        raise UserError(f"{path}: its state_dict is a {type(state).__name__}, not a dictionary of tensors")
    for name, tensor in state.items():
        problem = form_problem(tensor) if isinstance(tensor, Tensor) else f"is a {type(tensor).__name__}, not a tensor"
        if problem is not None:
            raise UserError(f"{path}: {shown(str(name))} {problem}; it was not written by vsr")


def _integers(value: Any) -> Iterator[int]:
    """All integers in a tree of plain values."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _integers(each)
    elif isinstance(value, int):
        yield value


def _interpolated(value: Any) -> str | None:
    """The first text with an interpolation in it; None where there is none."""
    if isinstance(value, dict | list | tuple):
        inside = (*value, *value.values()) if isinstance(value, dict) else value
        return next((text for each in inside if (text := _interpolated(each)) is not None), None)
    return value if isinstance(value, str) and "${" in value else None


def incomplete(path: Path, error: Exception) -> UserError:
    """What to say of a description that lacks something."""
    return UserError(f"{path}: its description is incomplete ({error!r}); it was not written by this version")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
