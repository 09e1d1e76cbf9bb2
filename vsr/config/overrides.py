"""Options and overrides of a command line, and copies of configs with other values."""

from __future__ import annotations

import copy
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from vsr.config.schema import SCHEMAS
from vsr.errors import UserError, error_suggestion

# Words of other tools, and the key for the same thing.
SYNONYMS = {
    "lr": "recipe.rate",
    "learning_rate": "recipe.rate",
    "rate": "recipe.rate",
    "batch": "recipe.batch",
    "batch_size": "recipe.batch",
    "patch": "recipe.patch",
    "loss": "recipe.loss",
    "max_epochs": "epochs",
    "network": "model",
    "path": "data.path",
    "gpus": "trainer.devices",
    "devices": "trainer.devices",
    "ensemble": "members",
}
# Where to read on, by the right key.
PAGES = {"members": "docs/guides/uncertainty.md says how ensembles are trained, scored and used"}
# Keys that take the file of a command, for a file name that is typed alone.
FILE_KEYS = {"train": "data.path", "evaluate": "checkpoint", "upscale": "input"}
# Hydra's options, and those with a value of their own.
WITH_VALUE = (
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    "--experimental-rerun",
)
HYDRA_OPTIONS = (
    *WITH_VALUE,
    *("--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m", "--info", "-i"),
    *("--shell-completion", "-sc"),
)


def overridden_keys() -> set[str]:
    """Return the keys that the command line of this run overrides; empty without a command line."""
    if not HydraConfig.initialized():
        return set()
    return {line.lstrip("+~").partition("=")[0] for line in HydraConfig.get().overrides.task}


def overridden_arguments(without: Sequence[str] = ()) -> list[str]:
    """Return the overrides of the command line of this run but for some keys; empty without a command line."""
    if not HydraConfig.initialized():
        return []
    typed = HydraConfig.get().overrides.task
    return [line for line in typed if line.lstrip("+~").partition("=")[0] not in without]


def with_overrides(cfg: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    """Return a copy of a config with other values for some of its keys."""
    found = copy.deepcopy(cfg)
    for key, value in values.items():
        OmegaConf.update(found, key, value, force_add=True)
    return found


def options_before_overrides(command: str, arguments: Sequence[str]) -> list[str]:
    """Put Hydra's options before the overrides, because Hydra's parser refuses an option between two overrides.

    Args:
        command: Name of the command: "train", "evaluate" or "upscale".
        arguments: Arguments of the command line.

    Raises:
        UserError: If an argument is neither an override nor an option.
    """
    options: list[str] = []
    overrides: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        option, equals, value = argument.partition("=")
        if not argument.startswith("-"):
            _check_override(command, argument)
            overrides.append(argument)
            continue
        if option not in HYDRA_OPTIONS:
            raise UserError(_unknown_option(command, option, value or (rest[0] if rest else "VALUE")))
        options.append(argument)
        if option in WITH_VALUE and not equals and rest:
            value = rest.pop(0)
            options.append(value)
    return [*options, *overrides]


def _check_override(command: str, argument: str) -> None:
    if "=" in argument or argument.startswith(("~", "+")):
        return
    known = {f.name for f in fields(SCHEMAS[command])}
    if argument in known:
        raise UserError(f"{argument}: has no value; type {argument}=VALUE")
    if Path(argument).suffix or Path(argument).exists():
        raise UserError(f"{argument}: is not KEY=VALUE; type {FILE_KEYS[command]}={argument}")
    raise UserError(f"{argument}: is not KEY=VALUE{error_suggestion(argument, known)}")


def _unknown_option(command: str, option: str, value: str) -> str:
    key = option.lstrip("-").replace("-", "_")
    right = key if key in {f.name for f in fields(SCHEMAS[command])} else SYNONYMS.get(key)
    return f"{option}: unknown option; type {f'{right}={value}' if right else 'KEY=VALUE'}"


def override_text(value: Any) -> str:
    """Return a plain value in Hydra's grammar, as it is typed behind KEY=."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_override_word(str(key))}:{override_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, str):
        return _override_word(value)
    return f"[{','.join(map(override_text, value))}]" if isinstance(value, Sequence) else str(value)


def _override_word(text: str) -> str:
    """Quote a text for Hydra's grammar, unless it is a plain word that Hydra takes for a text."""
    if re.fullmatch(r"[A-Za-z_/.][\w./-]*", text, re.ASCII) and not re.fullmatch(
        r"(null|true|false|inf|nan|[.\d][\d_.eE-]*)", text, re.I
    ):
        return text
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    text = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", text) + "'"


def typed_argument(key: str, value: Any) -> str:
    """Return the argument key=value of a command line, with the quotes that the shell and Hydra's grammar need."""
    full = f"{key}={override_text(value)}"
    if re.fullmatch(r"[\w./=:,@%+-]+", full, re.ASCII):
        return full
    return f'"{full}"' if not re.search(r'["$`\\!]', full) else shlex.quote(full)


def value_as_typed(value: Any) -> str:
    """Format a config value as a user would type it on the command line."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)
