"""Values that a run has resolved for the open settings of its config (budget, precision=auto)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from vsr.config.old_targets import ONCE_FALSE
from vsr.config.overrides import overridden_keys, with_overrides
from vsr.geometry import Triple


def with_resolved_values(cfg: DictConfig, found: Mapping[str, Any]) -> DictConfig:
    """Return a copy of a config with the values that a run chose for open settings (under a budget, or precision=auto).

    Args:
        cfg: Composed config.
        found: Content of the run's plan.json; empty if the run had no open settings.
    """
    given = overridden_keys()
    return with_overrides(cfg, {key: value for key, value in found.get("settled", {}).items() if _is_open(cfg, key, given)})


def _is_open(cfg: DictConfig, key: str, given: set[str]) -> bool:
    if key == "precision":
        return str(cfg.precision) == "auto"
    return cfg.budget is not None and not (key == "patience" and key in given)


def matches_resolved_config(results: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Return True if a results.json comes from a run with the given config, whatever the run chose for open settings.

    Args:
        results: Content of results.json; its config has the values that the run chose.
        asked: Config as composed, before the run chose values for its open settings.
    """
    keys = results.get("plan", {}).get("differs", [])
    return _without(results.get("config", asked), keys) == _without(asked, keys)


def _without(config: Mapping[str, Any], keys: Sequence[str], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        default = value is None or (value is False and name in ONCE_FALSE)
        if name not in keys and not default:  # results of an older version lack keys that are null by default
            found[key] = _without(value, keys, f"{name}.") if isinstance(value, dict) else value
    return found


def resolved_window(cfg: DictConfig) -> Triple:
    """Return the window (t, y, x): how many HR frames and pixels are cut on each side before scoring.

    The window is the config's key `window`, or (0, scale, scale) for protocol=classical, as in the papers on Set5 and Set14.
    """
    return (0, cfg.scale, cfg.scale) if cfg.protocol == "classical" else tuple(cfg.window)
