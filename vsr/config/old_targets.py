"""Table of renamed classes, so that older configs can still be read.

Checkpoints, results.json, sweep.json and run.json contain a config; each reader of these files applies the table once. A
renamed class or module that a config may name needs a line here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

CURRENT = {  # beginning of a former dotted name -> beginning of the current name
    "vsr.nets.": "vsr.models.",
    "vsr.data.climate.": "vsr.data.datamodules.climate.",
    "vsr.data.cross.": "vsr.data.datamodules.cross.",
    "vsr.data.images.": "vsr.data.datamodules.images.",
    "vsr.data.movies.": "vsr.data.datamodules.movies.",
    "vsr.data.phantom.": "vsr.data.datamodules.phantom.",
    "vsr.data.spectral.": "vsr.data.datamodules.spectral.",
    "vsr.init.": "vsr.models.weights.init.",
    "vsr.init.pretrained.": "vsr.models.weights.pretrained.",
    "vsr.tune.": "vsr.training.finetune.",
    "vsr.callbacks.": "vsr.training.callbacks.",
    "vsr.training.tensorboard.": "vsr.training.loggers.",
    "vsr.dashboard.": "vsr.training.loggers.",  # after the line above: the first former name is used
    "vsr.nets.combined.Combined": "vsr.models.cascade.Cascade",
}
NEW_KEYS = ("select", "missing")  # of data configs
ONCE_FALSE = ("data.crop", "data.mask")  # null by default since, which does the same to data that false accepts
FORMER = {current: former for former, current in CURRENT.items()}
_TYPED = re.compile(r"(?<=_target_)(\s*[:=]\s*['\"]?)([\w.]+)")  # a target in an override of the command line


def with_current_targets(config: Any) -> Any:
    """Return a copy of a config (a tree of plain values) with the current class name in every `_target_`.

    A single logger without a name, as in former configs, gets the name tensorboard.
    """
    return _renamed(config, CURRENT, lambda logger: {"tensorboard": logger} if "_target_" in logger else logger)


def with_former_targets(config: Any) -> Any:
    """Return a copy of a config (a tree of plain values) in its former form.

    Every `_target_` has the former class name, and keys that did not exist are left out if they are null.
    """
    data = config.get("data")
    if isinstance(data, dict):
        new = (*NEW_KEYS, "frames") if "axes" in data else NEW_KEYS  # data of movies had `frames` before
        former = {key: False if value is None and f"data.{key}" in ONCE_FALSE else value for key, value in data.items()}
        config = config | {"data": {key: value for key, value in former.items() if key not in new or value is not None}}
    return _renamed(config, FORMER, lambda logger: logger["tensorboard"] if logger.keys() == {"tensorboard"} else logger)


def with_current_target(override: str) -> str:
    """Return an override of the command line with the current class name in every `_target_`."""
    return _TYPED.sub(lambda match: match[1] + _rename(match[2], CURRENT), override)


def _renamed(node: Any, names: Mapping[str, str], change_logger: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    if isinstance(node, dict):
        if isinstance(node.get("logger"), dict):
            node = node | {"logger": change_logger(node["logger"])}
        target = node.get("_target_")
        renamed = {"_target_": _rename(target, names)} if isinstance(target, str) else {}
        return {key: _renamed(value, names, change_logger) for key, value in node.items()} | renamed
    return [_renamed(each, names, change_logger) for each in node] if isinstance(node, list) else node


def _rename(target: str, names: Mapping[str, str]) -> str:
    """Return a dotted class name with its longest known beginning replaced by the new name."""
    known = max((name for name in names if target.startswith(name)), key=len, default="")
    return names[known] + target.removeprefix(known) if known else target
