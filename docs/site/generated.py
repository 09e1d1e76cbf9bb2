"""Pages that are made from the code when the site is built: the commands, and every key of every config."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from vsr.__main__ import COMMANDS, HYDRA_COMMANDS
from vsr.config import CONF, PACKAGE
from vsr.config.signatures import signature_parameters

GROUPS = {
    "model": "Networks",
    "data": "Data",
    "degradation": "How LR is made from HR",
    "recipe": "How a network is trained",
    "init": "Where a training starts",
    "tune": "Which layers learn, and how fast",
    "preset": "Networks with a training time",
    "strategy": "Hardware",
    "trainer": "The Trainer of Lightning",
    "logger": "Where scores are logged",
    "hparams_search": "Searches",
    "experiment": "Experiments",
}


def setup(app: Any) -> dict[str, bool]:
    """Write the pages before Sphinx looks for pages."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir) / "reference" / "generated"))
    return {"parallel_read_safe": True}


def write_pages(folder: Path) -> None:
    """Write commands.md, keys.md and configs.md into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("commands", commands_page()), ("keys", keys_page()), ("configs", configs_page())):
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def commands_page() -> str:
    """Return the page of all commands, with the help that each prints."""
    lines = ["# Commands", "", "Each command prints this text with `--help`.", ""]
    for name, what in COMMANDS.items():
        command = [sys.executable, "-m", "vsr", name, "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
        lines += [f"## vsr {name}", "", f"{what[0].upper()}{what[1:]}.", "", "```text", done.stdout.rstrip(), "```", ""]
    return "\n".join(lines)


def keys_page() -> str:
    """Return the page of the top-level keys of the three commands with configs."""
    lines = ["# Keys of train, evaluate and upscale", "", "Type `KEY=VALUE`. [Configs](configs.md) have keys of their own."]
    for name in HYDRA_COMMANDS:
        lines += ["", f"## vsr {name}", "", *_table(_keys(CONF / f"{name}.yaml"), {}, {})]
    return "\n".join([*lines, ""])


def configs_page() -> str:
    """Return the page of all configs of all groups, each with its keys, their types, defaults and meanings."""
    lines = ["# Configs", "", "Type `GROUP=NAME` to choose a config, and `GROUP.KEY=VALUE` for a key of it."]
    everywhere = {key: meaning for key, _, meaning in _keys(CONF / "train.yaml") if meaning}
    for group, title in GROUPS.items():
        lines += ["", f"## {group}: {title.lower()}"]
        # A key means the same in all configs of a group, and is explained in one of them.
        alike = {key: meaning for path in (CONF / group).glob("*.yaml") for key, _, meaning in _keys(path) if meaning}
        for path in sorted((CONF / group).glob("*.yaml")):
            text = path.read_text(encoding="utf-8")
            lines += ["", f"### {group}={path.stem}", ""]
            if intro := " ".join(
                line.lstrip("# ") for line in text.splitlines() if line.startswith("# ") and "@package" not in line
            ):
                lines += [_escaped(intro), ""]
            target = re.search(r"^\s*_target_: (\S+)", text, re.M)
            known = signature_parameters(target[1]) if target and target[1].startswith("vsr.") else None
            lines += _table(_keys(path), known or {}, everywhere | alike | (_arguments(target[1]) if target else {}))
    return "\n".join([*lines, ""])


def _keys(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (key, default, comment) of each line KEY: VALUE of a config; keys of sections as SECTION.KEY."""
    sections: list[tuple[int, str]] = []
    skipped = False
    for line in path.read_text(encoding="utf-8").splitlines():
        found = re.match(r"^( *)([A-Za-z_]\w*):(?: (.*))?$", line)
        if not found:
            continue
        depth, key, rest = len(found[1]), found[2], found[3] or ""
        value, _, comment = rest.partition(" #") if not rest.startswith("#") else ("", "", rest.lstrip("#"))
        sections = [(d, name) for d, name in sections if d < depth]
        if depth == 0:
            skipped = key in ("defaults", "_target_", "hydra")
        if skipped or key == "_target_":
            continue
        if not value.strip():
            sections.append((depth, key))
            continue
        yield ".".join([*(name for _, name in sections), key]), value.strip(), comment.strip()


def _table(keys: Iterator[tuple[str, str, str]], known: dict[str, Any], arguments: dict[str, str]) -> list[str]:
    rows = []
    for key, default, comment in keys:
        name = key.rpartition(".")[2]
        kind = known[name].text if name in known else type(yaml.safe_load(default)).__name__.replace("NoneType", "anything")
        meaning = comment or arguments.get(key) or arguments.get(name, "")
        rows.append(f"| `{key}` | {_code(kind)} | {_code('needed' if default == '???' else default)} | {_escaped(meaning)} |")
    return ["| key | type | default | meaning |", "|---|---|---|---|", *rows] if rows else []


def _arguments(target: str) -> dict[str, str]:
    """Return the meaning of each argument of a class, from the section Args of its docstring."""
    module, _, name = target.rpartition(".")
    path = PACKAGE.parent / Path(*module.split(".")).with_suffix(".py")
    if not path.is_file():
        return {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            text = inspect.cleandoc(ast.get_docstring(node) or "")
            section = re.search(r"^Args:\n((?:    .*\n?|\n)*)", text, re.M)
            pairs = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", section[1], re.M) if section else []
            return {key: " ".join(meaning.split()) for key, meaning in pairs}
    return {}


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _escaped(text: str) -> str:
    return re.sub(r"([|*_<>\[\]{}$])", r"\\\1", text)
