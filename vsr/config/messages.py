"""One-line messages for errors of Hydra and OmegaConf."""

from __future__ import annotations

import re
import sys
from dataclasses import fields
from pathlib import Path

from hydra.errors import OverrideParseException

from vsr.config.overrides import PAGES, SYNONYMS
from vsr.config.plugins import choices_with_plugins, folders_with_plugins
from vsr.config.schema import SCHEMAS
from vsr.errors import error_suggestion


def one_line_message(error: Exception, conf: Path, script: str) -> str:
    """Return a one-line message for an error of Hydra or OmegaConf; for known errors, it says what to type instead."""
    text = str(error.__cause__ or error)
    if isinstance(error, OverrideParseException):
        name, _, value = error.override.partition("=")
        return f"{error.override}: cannot be parsed; type \"{name}='{value}'\", with both kinds of quotes"
    if several := re.search(r"Ambiguous value for argument '([^=]+)=([^']*)'", str(error)):
        name, values = several.groups()
        return f"{name}={values}: more than one value; type -m to sweep over them, {name}=[{values}] for a list"
    if wrong := re.search(r"Value '(.*)' of type '\w+' could not be converted to (\w+)\s+full_key: (\S+)", text, re.S):
        kinds = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
        return f"{wrong[3]}={wrong[1]}: must be {kinds.get(wrong[2], wrong[2])}"
    if group := re.search(r"Could not find '([\w/]+)/([^']+)'", str(error)):
        return _no_config(group[1], group[2])
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


def missing_choice_message() -> str | None:
    """Return a message if the command line asks for a config that its group does not have; otherwise return None."""
    for argument in sys.argv[1:]:
        group, _, choice = argument.lstrip("+").partition("=")
        known = choices_with_plugins(group) if group else []
        if known and choice not in known:
            return _no_config(group, choice)
    return None


def _no_config(group: str, choice: str) -> str:
    if group == "data" and (Path(choice).suffix or Path(choice).exists()):
        return f"data={choice}: no such config; for a file type data=climate data.path={choice}"
    suggestion = error_suggestion(choice, choices_with_plugins(group))
    own = ", and those of a package with plugins=[PACKAGE]" if suggestion.startswith("; known") else ""
    return f"{group}={choice}: no such config{suggestion}{own}"


def _known_keys(full: str, conf: Path, script: str) -> str:
    """Return the end of a message that suggests known keys at the depth of an unknown key."""
    group, _, key = full.rpartition(".")
    if not group:
        known = {f.name for f in fields(SCHEMAS[script])}
        right = SYNONYMS.get(key, "")
        if right.partition(".")[0] not in known:
            return error_suggestion(key, known)
        return f"; did you mean '{right}'?" + (f" {PAGES[right]}" if right in PAGES else "")
    top = {f.name for f in fields(SCHEMAS[script])}
    if key in top:
        return f"; type {key}=VALUE"
    files = [file for folder in folders_with_plugins() for file in (folder / group).glob("*.yaml")]
    owners = sorted(file.stem for file in files if re.search(rf"^\s*{re.escape(key)}:", file.read_text(encoding="utf-8"), re.M))
    if owners:
        return f"; {group}={', '.join(owners)} {'has' if len(owners) == 1 else 'have'} it"
    known = {name for file in files for name in re.findall(r"^\s*(\w+):", file.read_text(encoding="utf-8"), re.M)}
    return error_suggestion(key, known - {"_target_", "defaults"} - top)
