"""Trained networks read from checkpoints: weights, config, normalizer and degradation."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vsr.config.check import check_config, find_checkpoint
from vsr.data.lr_statistics import LRStatistics
from vsr.degradations.border import Periodic
from vsr.errors import UserError
from vsr.io.readers.printable import printable_name
from vsr.io.static_fields import StaticField
from vsr.models.base import LRLayout, input_facts
from vsr.models.normalize import frame_bounds
from vsr.models.parameter_names import printable_parameter_name
from vsr.models.super_resolver import SuperResolver
from vsr.models.transform import transforms_from_facts
from vsr.models.weights.files import weight_file_tensor_problem
from vsr.models.weights.shipped import FOLDER
from vsr.system.checksums import file_sha256
from vsr.training.build_network import build_from_node, build_network, build_super_resolver
from vsr.training.resume.checkpoints import read_checkpoint
from vsr.types import Offset, ValueBounds

# Keys of the config of a run that say nothing about the network: its initial weights (the file may be gone) and how it was run.
DROPPED = ("init", "trainer", "callbacks", "logger", "precision", "compile", "tf32", "channels_last", "deterministic")
REQUIRED = ("name", "scale", "model", "degradation", "recipe", "window")

log = logging.getLogger(__name__)

Built = TypeVar("Built", bound=SuperResolver)


@dataclass(frozen=True)
class Trained:
    """A checkpoint of vsr, read and checked.

    Attributes:
        path: The file.
        sha256: SHA-256 checksum of the file, in hexadecimal.
        config: Config of the training run.
        facts: Facts about the training data: "channels", "bounds", "offset", "units", "name" and others.
        state: State dict of the `SuperResolver`.
        description: What the file says of itself: config and facts as they stand there, and others.
        seconds: Seconds of training.
        stage_seconds: Name of a stage of the training -> seconds of the stage.
        consistency: LR consistency error in validation (`vsr.training.callbacks.LRConsistency`); None if it was not measured.
        static: The static fields of training; empty if there were none, or if they differed between its movies.
        lr_statistics: What LR frames are compared with, for pairs; None for other data, and in checkpoints of earlier versions.
    """

    path: Path
    sha256: str
    config: DictConfig
    facts: dict[str, Any]
    state: dict[str, Any]
    description: dict[str, Any]
    seconds: float
    stage_seconds: dict[str, float]
    consistency: float | None
    static: tuple[StaticField, ...] = ()
    lr_statistics: LRStatistics | None = None

    @property
    def channels(self) -> int:
        """The number of channels of a frame."""
        return int(self.facts["channels"])

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that are the channels, in their order; empty for one variable."""
        return tuple(self.facts.get("variables", ()))

    @property
    def bounds(self) -> ValueBounds:
        """The physical values that the normalizer maps to 0 and 1; a pair for each of several variables."""
        return tuple(tuple(x) if isinstance(x, list) else x for x in self.facts["bounds"])

    @property
    def offset(self) -> Offset:
        """The physical value that is 0 in the frames which the network takes and gives; see `SRDataModule.offset`."""
        offset = self.facts.get("offset", 0.0)
        return tuple(offset) if isinstance(offset, list) else offset

    @property
    def any_values(self) -> bool:
        """True if the network takes values of any unit and range; see `Network.equivariant`."""
        return bool(getattr(get_class(str(self.config.model._target_)), "equivariant", False))

    @property
    def shipped(self) -> bool:
        """True for a network of the package."""
        return self.path.parent == FOLDER

    @property
    def layout(self) -> LRLayout:
        """The channels of the LR frames of training."""
        return LRLayout.from_facts(self.facts)

    @property
    def static_scales(self) -> list[tuple[float, float]]:
        """Mean and standard deviation of each static field in training."""
        return [(float(field["mean"]), float(field["std"])) for field in input_facts(self.facts).get("static", ())]

    def check_static_fields(self, fields: Sequence[StaticField], whose: str) -> None:
        """Check that static fields on the grid of training have the values of training.

        Args:
            fields: The fields, in the order of training.
            whose: The movie that lies on their grid, for messages.

        Raises:
            UserError: If a field has other values; the SHA-256 of the values decides.
        """
        for given, known in zip(fields, self.static, strict=False):
            if given.on_grid_of(known) and given.sha256 != known.sha256:
                raise UserError(
                    f"{given.where}: has other values (SHA-256 {given.sha256[:12]}) than {printable_name(known.name)} "
                    f"({known.sha256[:12]}), with which {self.path} was trained, and {whose} lies on the grid of training; give "
                    f"that field"
                )

    def for_values(self, bounds: ValueBounds, offset: Offset, variables: Sequence[str]) -> Trained:
        """Return the same network for values of other ranges, of which there may be several; for equivariant networks alone.

        Args:
            bounds: Physical values that become 0 and 1; a pair for each channel where there are several.
            offset: Physical value that is 0 in frames, or one for each channel.
            variables: Names of the channels; empty for one channel or channels without names.
        """
        channels = len(bounds) if np.ndim(bounds) == 2 else 1
        facts = {**self.facts, "channels": channels, "bounds": np.array(bounds).tolist(), "offset": np.array(offset).tolist()}
        low, high = frame_bounds(bounds, offset)
        levels = {f"normalizer.{name}": torch.as_tensor(x).flatten().float() for name, x in (("low", low), ("high", high))}
        if channels == 1:
            levels = {name: level[0] for name, level in levels.items()}
        # The linear filter keeps a constant field as it is, whatever its value.
        filters = self.state["reference.weight"]
        levels |= {
            "reference.weight": filters / filters.sum((1, 2, 3), keepdim=True),
            "reference.bias": torch.zeros_like(self.state["reference.bias"]),
        }
        return replace(self, facts=facts | {"variables": list(variables), "units": ""}, state=self.state | levels)

    def module(self, config: DictConfig | None = None, periodic: Periodic | None = None) -> SuperResolver:
        """Build the network with all that upscaling needs; see `build_with`."""
        return self.build_with(build_super_resolver, config, periodic)

    def build_with(
        self,
        build: Callable[[DictConfig, dict[str, Any]], Built],
        config: DictConfig | None = None,
        periodic: Periodic | None = None,
    ) -> Built:
        """Build a module from the config and the facts of the training, and give it the trained weights.

        Args:
            build: Function of config and facts, such as `vsr.training.build.build_module` for a LightningModule.
            config: A changed copy of the training config; None for the training config itself.
            periodic: How the frames to be upscaled continue beyond their borders; None for those of training.

        Returns:
            What `build` returns, in evaluation mode.

        Raises:
            UserError: If the config is incomplete, or if the weights do not belong to the network that the config names.
        """
        config = config if config is not None else self.config
        facts = self.facts if periodic is None else self.facts | {"border": periodic}
        try:
            with warnings.catch_warnings(action="ignore"):  # torch warns of empty tensors
                self._check_size(config)
                module = build(config, facts)
        except (KeyError, TypeError, ValueError, OmegaConfBaseException) as error:
            raise _incomplete(self.path, error) from error
        try:
            module.load_state_dict(self.state)
        except RuntimeError as error:
            detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
            raise _other_tensors(self.path, detail) from error
        return module.eval()

    def _check_size(self, config: DictConfig) -> None:
        """Raise UserError for a config whose network has more weights than the file, before the network takes memory."""
        held = sum(tensor.numel() for tensor in self.state.values())
        largest = max(_integers(OmegaConf.to_container(config.model)), default=0)
        if largest > held:  # a width, a depth or a kernel: each needs a number at least
            raise _other_tensors(self.path, f"{largest} of a part, and the file holds {held} numbers")
        with torch.device("meta"), _UndrawnWeights():
            recipe = build_from_node("recipe", config.recipe)
            members = config.get("members")
            network = build_network(
                "model", config.model, recipe, scale=config.scale, channels=self.channels, layout=self.layout, members=members
            )
        named = sum(tensor.numel() for tensor in network.state_dict().values())
        if named > held:
            raise _other_tensors(self.path, f"{named} numbers, and the file holds {held}")


class _UndrawnWeights(TorchFunctionMode):
    """Mode in which the initialisers of torch leave weights as they are: without memory, they would import torch._dynamo."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def read_trained(path: Path) -> Trained:
    """Read a trained network from a checkpoint and check its config.

    Args:
        path: A checkpoint, or a folder as for `find_checkpoint`.

    Raises:
        UserError: If the file is not a checkpoint of vsr, is damaged or incomplete, or has a config with a forbidden class.
    """
    given, path = path, find_checkpoint(path)
    if path != given:
        log.info("checkpoint %s", path)
    content = read_checkpoint(path)
    card = content["vsr"]
    if (text := _find_interpolation(card)) is not None:  # vsr writes resolved configs; this would read the environment
        raise UserError(f"{path}: its config holds {text!r}, which is not filled in here; it was not written by vsr")
    try:
        config, facts = _config_of(card), _facts_of(card)
        seconds = float(card.get("seconds", 0.0))
        stages = {str(name): float(value) for name, value in card.get("stage_seconds", {}).items()}
        consistency = None if card.get("consistency") is None else float(card["consistency"])
        static = tuple(StaticField.from_plain(field, str(path)) for field in card.get("static", ()))
        measured = LRStatistics.from_plain(card["lr_statistics"]) if "lr_statistics" in card else None
    except (KeyError, TypeError, ValueError, AttributeError, OmegaConfBaseException) as error:
        raise _incomplete(path, error) from error
    _check_state(path, content["state_dict"])
    try:
        check_config(OmegaConf.masked_copy(config, [str(key) for key in config if key != "data"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # types that the schema does not refuse
        raise _incomplete(path, error) from error
    state = content["state_dict"]
    return Trained(path, file_sha256(path), config, facts, state, card, seconds, stages, consistency, static, measured)


def _config_of(card: dict[str, Any]) -> DictConfig:
    """Return the training config in a checkpoint's metadata, with defaults for keys that older checkpoints lack."""
    config = OmegaConf.create({key: value for key, value in card["config"].items() if key not in DROPPED})
    if OmegaConf.is_dict(config.get("recipe")) and OmegaConf.is_dict(config.recipe.get("loss")):
        config.recipe.loss = "mse"  # the class of a plugin, which only training needs
    for key in REQUIRED:
        if config.get(key) is None:
            raise KeyError(key)
    for key, default in {"protocol": "float", "ends": "replicate", "consistency": "none", "consistency_steps": 3}.items():
        config[key] = config.get(key, default)
    return config


def _facts_of(card: dict[str, Any]) -> dict[str, Any]:
    """Return the facts about the training data in a checkpoint's metadata, with channels and bounds as numbers."""
    facts = dict(card["data"])
    channels = int(facts["channels"])
    if channels < 1:
        raise ValueError(f"channels={channels}")
    bounds, offset = (np.array(x, np.float64) for x in (facts["bounds"], facts.get("offset", 0.0)))
    variables = facts.get("variables", [])
    if bounds.shape not in ((2,), (channels, 2)) or not (np.diff(bounds) > 0).all():
        raise ValueError(f"bounds={facts['bounds']}")
    if offset.shape not in ((), (channels,)) or not np.isfinite(offset).all():
        raise ValueError(f"offset={facts['offset']}")
    if not isinstance(variables, list) or len(variables) not in (0, channels) or not all(isinstance(x, str) for x in variables):
        raise ValueError(f"variables={variables}")
    transforms_from_facts(facts)
    if not all(float(field["std"]) > 0 and np.isfinite(float(field["mean"])) for field in input_facts(facts).get("static", ())):
        raise ValueError("static")
    return facts | {"channels": channels, "bounds": bounds.tolist(), "offset": offset.tolist()}


def _check_state(path: Path, state: Any) -> None:
    """Raise UserError unless the state dict is a dictionary of plain tensors."""
    if not isinstance(state, dict):
        raise UserError(f"{path}: its state_dict is a {type(state).__name__}, not a dictionary of tensors")
    for name, tensor in state.items():
        problem = (
            weight_file_tensor_problem(tensor) if isinstance(tensor, Tensor) else f"is a {type(tensor).__name__}, not a tensor"
        )
        if problem is not None:
            raise UserError(f"{path}: {printable_parameter_name(str(name))} {problem}; it was not written by vsr")


def _integers(value: Any) -> Iterator[int]:
    """Yield all integers in nested dictionaries and lists."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _integers(each)
    elif isinstance(value, int):
        yield value


def _find_interpolation(value: Any) -> str | None:
    """Return the first text with a config interpolation (${...}) in nested plain values, or None."""
    if isinstance(value, dict | list | tuple):
        inside = (*value, *value.values()) if isinstance(value, dict) else value
        return next((text for each in inside if (text := _find_interpolation(each)) is not None), None)
    return value if isinstance(value, str) and "${" in value else None


def _incomplete(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: its description is incomplete ({error!r}); it was not written by this version")


def _other_tensors(path: Path, detail: str) -> UserError:
    return UserError(f"{path}: its tensors are not those of the network that it names ({detail})")
