"""Figures in the pages of results are those of the runs: each page's table against the scores that are kept beside it.

`report.md` is written by `make tables` and checked in tests/benchmarks/reproduction/test_page.py.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common.markdown import spread
from benchmarks.guard import Movie, page
from tests.fakes import ROOT
from vsr.inference.out_of_distribution import OODScore

RESULTS = ROOT / "docs" / "results"
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def tables(page: Path, first: str) -> list[list[list[str]]]:
    """The tables of a page whose first column has that title, without their heads, as cells."""
    found: list[list[list[str]]] = []
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == first:
            found.append([])
            inside = True
        elif inside and not set(line) <= set("|-: "):
            found[-1].append(cells)
    return found


def kept(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def test_pipelines_are_as_their_runs() -> None:
    shown = tables(RESULTS / "pipelines.md", "method")
    for rows, (name, found) in zip(shown, kept("pipelines").items(), strict=True):
        assert [row[0] for row in rows] == list(found["rows"]), name
        for label, count, psnr, ssim, over, change, flicker, parameters, _ in rows:
            seeds = found["rows"][label]["seeds"]
            assert count == str(len(seeds)), (name, label)
            columns = {key: [seed[key] for seed in seeds] for key in seeds[0] if key != "commit"}
            gains = [seed["psnr"] - seed["bicubic"] for seed in seeds]
            expected = [spread(columns["psnr"]), spread(columns["ssim"], ".4f"), f"{sum(gains) / len(gains):+.2f}"]
            expected += [spread(columns[key], ".3f") for key in ("change_error", "flicker")]
            expected.append(str(found["rows"][label]["parameters"]))
            assert [psnr, ssim, over, change, flicker, parameters] == expected, (name, label)


def test_the_guard_is_as_its_measurements() -> None:
    movies = [Movie(*row[:4], OODScore(*row[4:])) for row in kept("guard")["rows"]]
    assert (RESULTS / "guard.md").read_text(encoding="utf-8") == page(movies), "type python -m benchmarks.guard"
    assert max(movie.gain for movie in movies if movie.group == "design" and movie.score.unfamiliar) < 1


def test_transfer_is_as_its_runs() -> None:
    groups = kept("transfer")
    shown = [row for rows in tables(RESULTS / "transfer.md", "data") for row in rows]
    assert len(shown) == sum(map(len, groups.values()))
    for data, start, count, before, after, last, _, test, over in shown:
        seeds = groups[data][start]
        assert count == str(len(seeds)), (data, start)
        expected = [spread([seed["val"][epoch] for seed in seeds]) for epoch in (0, 1, -1)]
        expected.append(spread([seed["test"] for seed in seeds]))
        expected.append(f"{sum(seed['test'] - seed['bicubic'] for seed in seeds) / len(seeds):+.2f}")
        assert [before, after, last, test, over] == expected, (data, start)


@pytest.mark.parametrize("page", sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]), ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text(encoding="utf-8")) if not target.startswith(("http", "mailto"))]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


def test_losses_are_as_their_runs() -> None:
    facts = kept("losses")
    shown = {row[0]: row[1:] for row in tables(RESULTS / "losses.md", "loss")[0]}
    assert shown.keys() == facts["losses"].keys()
    forms = {"psnr": ".2f", "ssim": ".4f", "lsd": ".2f", "gradient_rmse": ".4f", "change_error": ".3f"}
    for name, seeds in facts["losses"].items():
        assert len(seeds) == facts["seeds"]
        assert shown[name] == [spread([seed[key] for seed in seeds], form) for key, form in forms.items()], name
    said = dict(re.findall(r"^- \*\*(.+?)\*\* (.+)$", (RESULTS / "losses.md").read_text(encoding="utf-8"), re.M))
    assert said.keys() == {name for name in facts["losses"] if name not in ("mse", "stacked, mse")}
    for name, sentence in said.items():
        both = [facts["losses"][each] for each in (name, "stacked, mse" if name.startswith("stacked") else "mse")]
        means = [{key: sum(seed[key] for seed in seeds) / len(seeds) for key in forms} for seeds in both]
        differences = {f"{means[0][key] - means[1][key]:+{form}}" for key, form in forms.items()}
        assert set(re.findall(r"\(([+-][\d.]+)\)", sentence)) <= differences, name


def test_the_architecture_page_shows_the_floors_that_lint_enforces() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    enforced = [set(floor.split(" | ")) for contract in contracts if contract["type"] == "layers" for floor in contract["layers"]]
    shown = tables(ROOT / "docs" / "design" / "architecture.md", "floor")[0]
    assert [set(re.findall(r"`([\w.]+)`", rooms)) for _, rooms in shown] == enforced
    installed = {f"vsr.{path.stem}" for path in (ROOT / "vsr").iterdir() if path.is_dir() or path.suffix == ".py"}
    assert set().union(*enforced) == installed - {"vsr.__init__", "vsr.__main__", "vsr.__pycache__"}


def test_benchmarks_are_named_as_modules() -> None:
    """They import each other, so that `python benchmarks/NAME.py` would not find them."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.py")]
    texts = {page: page.read_text(encoding="utf-8") for page in pages if "generated" not in page.parts}
    assert not [page for page, text in texts.items() if "python benchmarks/" in text]
    named = {name for text in texts.values() for name in re.findall(r"python -m benchmarks\.(\w+)", text)} - {"NAME"}
    missing = [name for name in named if not any((ROOT / "benchmarks" / name).with_suffix(end).exists() for end in (".py", ""))]
    assert named
    assert not missing
