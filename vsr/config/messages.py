"""Order of Hydra's command-line options, and one-line messages for errors of Hydra and OmegaConf."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from hydra.errors import OverrideParseException

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
}
# Keys that take the file of a command, for a file name that is typed alone.
FILE_KEYS = {"train": "data.path", "evaluate": "checkpoint", "upscale": "input"}
HYDRA_OPTIONS = (
    *(
        "--help",
        "-h",
        "--hydra-help",
        "--version",
        "--cfg",
        "-c",
        "--resolve",
        "--package",
        "-p",
        "--run",
        "-r",
        "--multirun",
        "-m",
    ),
    *("--shell-completion", "-sc", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    *("--experimental-rerun", "--info", "-i"),
)
WITH_VALUE = (
    "--cfg",
    "-c",
    "--package",
    "-p",
    "--config-path",
    "-cp",
    "--config-name",
    "-cn",
    "--config-dir",
    "-cd",
    "--experimental-rerun",
)


def options_first(command: str, arguments: Sequence[str]) -> list[str]:
    """Put Hydra's options before the overrides, since Hydra's parser takes no option between two overrides.

    Args:
        command: Name of the command: "train", "evaluate" or "upscale".
        arguments: Arguments of the command line.

    Raises:
        UserError: If an argument is neither an override nor an option, or if --config-dir names no folder.
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
        if option in ("--config-dir", "-cd") and not Path(value).expanduser().is_dir():
            raise UserError(f"--config-dir {value}: no such folder; type --config-dir FOLDER, with configs as in conf/")
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


def one_line_message(error: Exception, conf: Path, script: str) -> str:
    """Return one line for an error of Hydra or OmegaConf that says what to type instead."""
    text = str(error.__cause__ or error)
    if isinstance(error, OverrideParseException):
        name, _, value = error.override.partition("=")
        return f"{error.override}: cannot be parsed; type \"{name}='{value}'\", with both kinds of quotes"
    if several := re.search(r"Ambiguous value for argument '([^=]+)=([^']*)'", str(error)):
        name, values = several.groups()
        return f"{name}={values}: more than one value; type -m to sweep over them, {name}=[{values}] for a list"
    if group := re.search(r"Could not find '([\w/]+)/([^']+)'", str(error)):
        known = [path.stem for path in (conf / group[1]).glob("*.yaml")]
        return f"{group[1]}={group[2]}: there is none{error_suggestion(group[2], known)}"
    if group := re.search(r"Could not override '([^']+)'.*No match in the defaults list", str(error), re.S):
        known = re.findall(r"^  - (\w+): ", (conf / f"{script}.yaml").read_text(encoding="utf-8"), re.M)
        if (conf / group[1]).is_dir():
            advice = "; a checkpoint names its own, type checkpoint=FILE" if group[1] in ("model", "init", "recipe") else ""
            return f"{group[1]}: is no key of {script}{advice}"
        return f"{group[1]}: no such config group{error_suggestion(group[1], known)}"
    if key := re.search(r"Key '([^']+)' is not in struct\s+full_key: (\S+)", text):
        return f"{key[2]}: unknown key{_known_keys(key[2], conf, script)}"
    if key := re.search(r"Key '([^']+)' not in '\w+'\s+full_key: (\S+)", text):
        return f"{key[2]}: unknown key{_known_keys(key[2], conf, script)}"
    key_line = re.search(r"full_key: (\S+)", text)
    first = text.strip().splitlines()[0]
    return f"{key_line[1]}: {first}" if key_line else first


def _no_choice(conf: Path) -> str | None:
    """Return a message for an override that names a missing config of a group; None without such an override."""
    for argument in sys.argv[1:]:
        group, _, choice = argument.lstrip("+").partition("=")
        known = [path.stem for path in (conf / group).glob("*.yaml")] if group else []
        if known and choice not in known:
            return f"{group}={choice}: there is none{error_suggestion(choice, known)}"
    return None


def _known_keys(full: str, conf: Path, script: str) -> str:
    """Return the end of a message that suggests known keys at the depth of an unknown key."""
    group, _, key = full.rpartition(".")
    if not group:
        known = {f.name for f in fields(SCHEMAS[script])}
        right = SYNONYMS.get(key, "")
        return f"; did you mean '{right}'?" if right.partition(".")[0] in known else error_suggestion(key, known)
    files = (conf / group).glob("*.yaml") if (conf / group).is_dir() else []
    known = {name for file in files for name in re.findall(r"^\s*(\w+):", file.read_text(encoding="utf-8"), re.M)}
    return error_suggestion(key, known - {"_target_", "defaults"} - {f.name for f in fields(SCHEMAS[script])})
