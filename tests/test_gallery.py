"""The notebooks of docs/gallery: they run, say what they show, and keep small pictures."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import ROOT
from tests.processes import run_process

pytest.importorskip("myst_parser")

NOTEBOOKS = sorted((ROOT / "docs" / "gallery").glob("*.ipynb"))
NEEDED = {"field": ("xarray", "h5netcdf"), "movie": ("av", "skimage"), "plugin": ("xarray", "h5netcdf")}
MOST_PICTURES = 100_000  # bytes of a notebook


def outputs(path: Path) -> list[list[dict[str, Any]]]:
    """The outputs of each code cell."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]


def kinds(path: Path) -> list[list[list[str]]]:
    return [[sorted(each.get("data", {"text": ""})) for each in cell] for cell in outputs(path)]


def run_copy(path: Path, folder: Path) -> tuple[Path, str]:
    """Run a copy of a notebook in a process of its own; return the copy, and the messages if it failed."""
    copy = folder / path.name
    shutil.copy(path, copy)
    command = [sys.executable, str(ROOT / "docs" / "site" / "notebooks.py"), str(copy)]
    done = run_process(command, cwd=folder, env=os.environ | {"VSR_CACHE": str(folder)}, capture_output=True, text=True)
    return copy, done.stderr if done.returncode else ""


def test_there_are_five_pages() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["field", "movie", "pairs", "plugin", "report"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_is_stored_in_it(path: Path, tmp_path: Path) -> None:
    for package in NEEDED.get(path.stem, ()):
        pytest.importorskip(package)
    copy, failure = run_copy(path, tmp_path)
    assert not failure
    assert kinds(copy) == kinds(path), "type python docs/site/notebooks.py docs/gallery/*.ipynb"
    assert sorted(each.name for each in tmp_path.iterdir() if each.suffix == ".ipynb") == [path.name]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_small_pictures(path: Path) -> None:
    pictures = [
        base64.b64decode(each["data"]["image/png"])
        for cell in outputs(path)
        for each in cell
        if "image/png" in each.get("data", {})
    ]
    assert pictures
    assert sum(map(len, pictures)) < MOST_PICTURES
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)


def test_a_cell_shows_prints_values_and_commands_and_fails_with_its_command(tmp_path: Path) -> None:
    sources = ["print('said')\n1 + 1", "2 + 2;", "!echo heard", "!vsr nonsense"]
    cells = [{"cell_type": "code", "source": [source], "outputs": []} for source in sources]
    path = tmp_path / "a.ipynb"
    (tmp_path / "run").mkdir()
    path.write_text(json.dumps({"cells": cells[:3]}))
    copy, failure = run_copy(path, tmp_path / "run")
    assert not failure
    first, second, third = outputs(copy)
    assert [each.get("text") or each["data"]["text/plain"] for each in first] == [["said\n"], ["2"]]
    assert second == []
    assert third[0]["text"] == ["heard\n"]
    path.write_text(json.dumps({"cells": cells}))
    _, failure = run_copy(path, tmp_path / "run")
    assert "-m vsr nonsense: " in failure
