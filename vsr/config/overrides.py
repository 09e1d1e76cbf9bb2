"""Keys that the command line of a run overrides, and copies of configs with other values."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    pass


def overridden_keys() -> set[str]:
    """Return the keys that the command line of this run overrides; empty without a command line."""
    if not HydraConfig.initialized():
        return set()
    return {line.lstrip("+~").partition("=")[0] for line in HydraConfig.get().overrides.task}


def with_overrides(cfg: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    """Return a copy of a config with other values for some of its keys."""
    found = copy.deepcopy(cfg)
    for key, value in values.items():
        OmegaConf.update(found, key, value, force_add=True)
    return found
