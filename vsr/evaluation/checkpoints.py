"""Reading and naming of the checkpoints to evaluate, with a check that their scores are comparable."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vsr.config.named_commands import HANDLING, data_arguments, degradation_name
from vsr.config.overrides import overridden_arguments
from vsr.config.schema import method_label as method_name
from vsr.errors import UserError
from vsr.inference.trained import Trained, read_trained
from vsr.models.weights.shipped import FOLDER

log = logging.getLogger(__name__)

PAIRED = "vsr.degradations.scaling.Paired"
# Keys that must agree between the rows of one table, with what to type where they do not.
SHARED = {"scale": "", "ends": "", "protocol": "protocol=float", "window": "window=[0,8,8]", "degradation": "degradation=bicubic"}
SAME_PIXELS = ("crop", "mask")  # they refuse frames, or take the same pixels


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint to evaluate.

    Attributes:
        method: Name of the checkpoint's row in the results table.
        trained: Content of the checkpoint file.
        config: Config of the training run, with the changes from the command line.
    """

    method: str
    trained: Trained
    config: DictConfig

    @property
    def data_sha256(self) -> Any:
        """The SHA-256 checksum of the training data; None if the checkpoint does not record it."""
        return self.trained.facts.get("sha256")

    @property
    def general(self) -> bool:
        """True for a network of the package or for any values: its rival is the linear filter of the evaluated data."""
        return self.trained.any_values or self.trained.path.parent == FOLDER

    def linear_fit(self, card: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return what decides the linear filter of the network: the frames that it is fitted to, and how their LR was made.

        Args:
            card: Description of the evaluated data, to which the filter of a general network is fitted.
        """
        facts, config = (card, self.config) if self.general else (self.trained.facts, self.trained.config)
        frames = facts.get("frames", {})
        return facts.get("sha256"), frames.get("train"), frames.get("val"), OmegaConf.to_container(config.degradation)

    def protocol(self, ood_scores: dict[str, Any]) -> dict[str, Any]:
        """Return the facts about the checkpoint for the report; `ood_scores` has out-of-distribution scores by split."""
        steps = self.config.consistency_steps if self.config.consistency == "backprojection" else None
        return {
            "method": self.method,
            "path": str(self.trained.path),
            "sha256": self.trained.sha256,
            "trained on": self.trained.facts.get("name"),
            "training data sha256": self.data_sha256,
            "consistency": self.config.consistency,
            "consistency steps": steps,
            "familiar": ood_scores,
        }


def read_evaluated_checkpoints(cfg: DictConfig) -> list[Checkpoint]:
    """Read the checkpoints that the config of `vsr evaluate` names.

    Raises:
        UserError: If a file cannot be read or is given twice, or if the scores of two checkpoints would not be comparable.
    """
    paths = cfg.checkpoint if OmegaConf.is_list(cfg.checkpoint) else [cfg.checkpoint]
    trained = [read_trained(Path(str(path)).expanduser()) for path in paths]
    for i, each in enumerate(trained):
        if each.sha256 in {other.sha256 for other in trained[:i]}:
            raise UserError(f"checkpoint: {each.path} is given twice; leave one of them out")
    configs = [_with_command_line(each, cfg) for each in trained]
    if cfg.data is None:
        _use_own_data(trained, configs)
    for each, config in zip(trained[1:], configs[1:], strict=True):
        _check_comparable((trained[0].path, configs[0]), (each.path, config), list(map(str, paths)))
    if cfg.data is None and any(each.shipped for each in trained):
        log.info("data      %s; type data=... to score on others", data_arguments(configs[0].data))
    return [Checkpoint(*each) for each in zip(_methods(trained, configs), trained, configs, strict=True)]


def _use_own_data(trained: list[Trained], configs: list[DictConfig]) -> None:
    """Give networks of the package, whose own data are generated, the data of the first other checkpoint."""
    given = next((config for each, config in zip(trained, configs, strict=True) if not each.shipped), None)
    for each, config in zip(trained, configs, strict=True):
        if given is not None and each.shipped:
            config.data = given.data
            if given.degradation._target_ == PAIRED:  # LR comes with the data
                config.degradation = given.degradation


def _methods(trained: list[Trained], configs: list[DictConfig]) -> list[str]:
    """Return a unique name for each checkpoint, from its run and its consistency method, plus the run's folder if needed."""
    names = [
        method_name(each.path.stem if each.shipped else str(each.config.name), config.consistency, each.config.consistency)
        for each, config in zip(trained, configs, strict=True)
    ]
    found: list[str] = []
    for each, name in zip(trained, names, strict=True):
        folder = each.path.resolve().parent
        folder = folder.parent if folder.name == "checkpoints" else folder
        label = name if names.count(name) == 1 else f"{name} ({folder.name})"
        found.append(label if label not in found else f"{label[:-1]}, {each.path.stem}, {each.sha256[:8]})")
    return found


def _with_command_line(trained: Trained, cfg: DictConfig) -> DictConfig:
    """Return a copy of the training config with the changes from the command line."""
    config = trained.config.copy()
    OmegaConf.resolve(config)
    config.trainer = cfg.trainer
    config.protocol = cfg.protocol or config.protocol
    for key in ("data", "degradation", "window", "consistency", "consistency_steps"):
        if cfg[key] is not None:
            config[key] = cfg[key]
    return config


def _check_comparable(first: tuple[Path, DictConfig], other: tuple[Path, DictConfig], typed: list[str]) -> None:
    """Raise UserError if two checkpoints would be scored on different splits, frames, pixels, ranges or degradations.

    Args:
        first: Path and config of a checkpoint.
        other: Path and config of another one.
        typed: All checkpoints, as they were typed.
    """
    (path, config), (other_path, other_config) = first, other
    for key in SHARED:
        if other_config[key] != config[key]:
            differ = f"{path} has {key}={_short(config[key])}, {other_path} {key}={_short(other_config[key])}"
            raise UserError(f"{differ}: their scores are not comparable; type {_comparable_commands(key, config, typed)}")
    ours, theirs = (
        {k: v for k, v in node.data.items() if k not in (*HANDLING, *SAME_PIXELS) and v is not None}
        for node in (config, other_config)
    )
    if ours != theirs:
        both = shlex.quote("checkpoint=" + ",".join(typed))
        given, others = map(data_arguments, (config.data, other_config.data))
        raise UserError(
            f"{path} was trained with {given}, {other_path} with {others}; choose the data to score both on, as in: "
            f"vsr evaluate {both} {given}"
        )


def _comparable_commands(key: str, config: DictConfig, typed: list[str]) -> str:
    """Return the commands that score checkpoints which differ in a key of SHARED: all alike where that can be, and one by one.

    Args:
        key: The key.
        config: Config of the first checkpoint.
        typed: All checkpoints, as they were typed.
    """
    others = overridden_arguments(without=("checkpoint", key))
    alike = SHARED[key]
    if key == "degradation" and (name := degradation_name(config.degradation)) != "...":
        alike = f"degradation={name}"
    commands = [[f"checkpoint={','.join(typed)}", *others, alike]] if alike else []
    commands += [[f"checkpoint={path}", *others] for path in typed]
    said = [shlex.join(["vsr", "evaluate", *words]) for words in commands]
    if not alike:
        return f"{' and '.join(said)} to score each by itself"
    return f"{said[0]} to score all alike, or {' and '.join(said[1:])} to score each by itself"


def _short(value: Any) -> str:
    text = (
        str(value["_target_"]).rpartition(".")[2].lower() if isinstance(value, DictConfig) and "_target_" in value else str(value)
    )
    return text if len(text) < 60 else f"{text[:57]}..."
