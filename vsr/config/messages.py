"""Hydra's and OmegaConf's errors as one line each."""

from __future__ import annotations

import re
import sys
from dataclasses import fields
from pathlib import Path

from hydra.errors import OverrideParseException

from vsr.config.schema import SCHEMAS
from vsr.errors import suggestion


def one_line(error: Exception, conf: Path, script: str) -> str:
    """Shorten an error of Hydra or OmegaConf to one line that says what to type instead."""
    text = str(error.__cause__ or error)
    if isinstance(error, OverrideParseException):
        name, _, value = error.override.partition("=")
        return f"{error.override}: cannot be parsed; type \"{name}='{value}'\", with both kinds of quotes"
    if several := re.search(r"Ambiguous value for argument '([^=]+)=([^']*)'", str(error)):
        name, values = several.groups()
        return f"{name}={values}: more than one value; type -m to sweep over them, {name}=[{values}] for a list"
    if group := re.search(r"Could not find '([\w/]+)/([^']+)'", str(error)):
        known = [path.stem for path in (conf / group[1]).glob("*.yaml")]
        return f"{group[1]}={group[2]}: there is none{suggestion(group[2], known)}"
    if group := re.search(r"Could not override '([^']+)'.*No match in the defaults list", str(error), re.S):
        return f"{group[1]}: no such config group{suggestion(group[1], [p.name for p in conf.iterdir() if p.is_dir()])}"
    if key := re.search(r"Key '([^']+)' is not in struct\s+full_key: (\S+)", text):
        return f"{key[2]}: unknown key{_known_keys(key[2], conf, script)}"
    if key := re.search(r"Key '([^']+)' not in '\w+'\s+full_key: (\S+)", text):
        return f"{key[2]}: unknown key{_known_keys(key[2], conf, script)}"
    key_line = re.search(r"full_key: (\S+)", text)
    first = text.strip().splitlines()[0]
    return f"{key_line[1]}: {first}" if key_line else first


def _no_choice(conf: Path) -> str | None:
    """Describe an override that names a missing config of a group; None without one."""
    for argument in sys.argv[1:]:
        group, _, choice = argument.lstrip("+").partition("=")
        known = [path.stem for path in (conf / group).glob("*.yaml")] if group else []
        if known and choice not in known:
            return f"{group}={choice}: there is none{suggestion(choice, known)}"
    return None


def _known_keys(full: str, conf: Path, script: str) -> str:
    """Suggest keys at the same depth."""
    group, _, key = full.rpartition(".")
    if not group:
        return suggestion(key, {f.name for f in fields(SCHEMAS[script])})
    files = (conf / group).glob("*.yaml") if (conf / group).is_dir() else []
    known = {name for file in files for name in re.findall(r"^\s*(\w+):", file.read_text(encoding="utf-8"), re.M)}
    return suggestion(key, known - {"_target_", "defaults"} - {f.name for f in fields(SCHEMAS[script])})
