"""Arguments of the commands that messages name: the data, scale and degradation of a config as they are typed."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from vsr.config import CONF
from vsr.config.overrides import typed_argument

# Keys of a data config that do not change the frames.
HANDLING = ("cache", "memory", "max_bytes", "geostrophic", "walls")


def data_arguments(data: DictConfig) -> str:
    """Return the arguments that choose the data of a config: data=NAME, and the keys that differ from those of its file."""
    name = str(data._target_).split(".")[-2]
    file = CONF / "data" / f"{name}.yaml"
    usual: Any = OmegaConf.to_container(OmegaConf.load(file)) if file.is_file() else {}
    if usual.get("_target_") != data._target_:
        return "data=..."  # of a plugin
    chosen: Any = OmegaConf.to_container(data)
    changed = {key: value for key, value in chosen.items() if key not in HANDLING and value != usual.get(key)}
    return " ".join([f"data={name}", *(typed_argument(f"data.{key}", value) for key, value in changed.items())])


def degradation_name(degradation: DictConfig) -> str:
    """Return the name of a degradation in conf/degradation; "..." for one with other numbers, or of a plugin."""
    plain = OmegaConf.to_container(degradation)
    files = sorted((CONF / "degradation").glob("*.yaml"))
    return next((file.stem for file in files if OmegaConf.to_container(OmegaConf.load(file)) == plain), "...")


def task_arguments(config: DictConfig) -> str:
    """Return the arguments that train another network for the task of a config: its data, scale and degradation."""
    name = degradation_name(config.degradation)
    words = [data_arguments(config.data)]
    words += [f"scale={config.scale}"] if config.scale != 2 else []
    words += [f"degradation={name}"] if name not in ("bicubic", "pairs") else []  # data=pairs chooses its own
    return " ".join(words)
