"""Comparison of runs: distinguishing keys, spreads over seeds, refusals, plots and a self-contained page."""

from __future__ import annotations

import csv
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex

from tests.fakes import ROOT
from tests.processes import run_process
from vsr.commands.compare import compare_command
from vsr.errors import UserError
from vsr.evaluation.compare.plots import PlottedRun, parallel_coordinates, scatter_plots
from vsr.evaluation.compare.runs import find_compared_runs, keys_distinguishing_runs
from vsr.evaluation.compare.table import build_comparison_table, table_mean_and_spread
from vsr.evaluation.report.style import style_png

NASTY = '<img src=x onerror="alert(1)">|a\u202eb'


def write(folder: Path, *, seed: int = 0, psnr: float = 30.0, typed: bool = True, **config: Any) -> Path:
    """A run's folder, as train.py leaves it, with the scores given; config keys with dots written as __."""
    full: dict[str, Any] = {"name": "fsrcnn", "seed": seed, "monitor": "val/psnr", "recipe": {"rate": 1e-3, "batch": 16}}
    full["data"] = {"_target_": "vsr.data.datamodules.phantom.PhantomDataModule", "size": 24}
    given = {key.replace("__", "."): value for key, value in config.items()}
    for key, value in given.items():
        group, _, name = key.rpartition(".")
        (full[group] if group else full)[name] = value
    scores = {"frames": 5, "mae": 0.1, "mse": 0.01, "ssim": 0.9, "change_error": None, "flicker": None}
    rows = [
        {"split": split, "method": method, **scores, "psnr": value, "parameters": 10, "train_seconds": 1.5}
        for split in ("test", "unseen")
        for method, value in (("bicubic", 28.0), (full["name"], psnr))
    ]
    protocol = {"data": {"name": "phantom", "size": [full["data"]["size"]] * 2, "sha256": str(full["data"])}}
    protocol |= {"degradation": "bicubic", "scale": 2, "window": [0, 4, 4], "ends": "replicate", "range": [0.0, 1.0]}
    protocol |= {"protocol": "float", "psnr": "mean over frames", "ssim": "11x11"}
    history = [{"epoch": 0, "val/psnr": 20.0}, {"epoch": 1, "val/psnr": psnr - 1}]
    folder.mkdir(parents=True)
    results = {"config": full, "rows": rows, "protocol": protocol, "history": history}
    (folder / "results.json").write_text(json.dumps(results))
    if typed:
        (folder / ".hydra").mkdir()
        lines = [f"{key}={value}" for key, value in {"seed": seed, **given}.items()]
        (folder / ".hydra" / "overrides.yaml").write_text(json.dumps(lines))
        (folder / ".hydra" / "hydra.yaml").write_text(json.dumps({"hydra": {"runtime": {"choices": {"hydra/job": "x"}}}}))
    return folder


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.content = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(self.content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_runs_that_differ_in_their_seed_are_one_line_with_their_spread(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, psnr in enumerate((30.0, 30.5, 31.0)):
        write(tmp_path / "runs" / f"low{seed}", seed=seed, psnr=psnr, recipe__rate=1e-3)
    write(tmp_path / "runs" / "high", seed=0, psnr=33.0, recipe__rate=1e-2)
    compare_command([str(tmp_path / "runs"), "--output", str(tmp_path / "out")])
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    heads = "run|recipe.rate|seeds|best val/psnr|PSNR (dB)|SSIM|over bicubic (dB)|parameters|train s"
    assert cells[0] == heads.split("|")
    assert cells[2][1:6] == ["0.01", "1", "32.00", "33.00", "0.9000"]
    assert cells[3][1:] == ["0.001", "3", "29.50 ± 0.50", "30.50 ± 0.50", "0.9000 ± 0.0000", "2.50 ± 0.50", "10", "2"]
    rows = list(csv.DictReader((tmp_path / "out" / "summary.csv").open()))
    assert len(rows) == 8
    found = {row["seed"]: row["psnr"] for row in rows if row["recipe.rate"] == "0.001"}
    assert found == {"0": "30.0", "1": "30.5", "2": "31.0"}


def test_a_gain_has_its_spread_over_seeds_and_its_interval_over_movies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, psnr in enumerate((30.0, 31.0)):
        folder = write(tmp_path / "runs" / f"s{seed}", seed=seed, psnr=psnr)
        results = json.loads((folder / "results.json").read_text())
        for row in results["rows"]:
            row["intervals"] = {} if row["method"] == "bicubic" else {"gain_bicubic": [1.5 + seed, 2.75 + seed]}
        (folder / "results.json").write_text(json.dumps(results))
    write(tmp_path / "runs" / "other", psnr=29.0, recipe__rate=1e-2)  # of a version without intervals
    compare_command([str(tmp_path / "runs"), "--output", str(tmp_path / "out")])
    text = capsys.readouterr().out
    assert "2.50 ± 0.50 [2.00, 3.25]" in text
    assert "± half of the range over seeds; in brackets: 95% interval over the movies" in text
    [page] = (tmp_path / "out").glob("*.html")
    assert "2.50 ± 0.50 [2.00, 3.25]" in page.read_text()


def test_small_errors_keep_their_digits() -> None:
    assert table_mean_and_spread([3.2e-6, 3.4e-6], 6) == "3.30e-06 ± 1.00e-07"
    assert table_mean_and_spread([0.0012346], 6) == "0.001235"
    assert table_mean_and_spread([0.004], 2) == "0.00"  # a gain in dB


@pytest.mark.parametrize("typed", [True, False])
def test_what_sets_runs_apart_is_found(tmp_path: Path, typed: bool) -> None:
    folders = [
        write(tmp_path / "a", typed=typed, recipe__rate=1e-3),
        write(tmp_path / "b", typed=typed, recipe__rate=1e-2, recipe__batch=8),
        write(tmp_path / "c", typed=typed, seed=3, recipe__rate=1e-2, recipe__batch=16),
    ]
    assert sorted(keys_distinguishing_runs(find_compared_runs(folders))) == ["recipe.batch", "recipe.rate"]


def test_a_default_that_changed_between_runs_is_a_column(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a"), write(tmp_path / "b")
    results = json.loads((other / "results.json").read_text())
    results["config"]["recipe"]["batch"] = 32
    (other / "results.json").write_text(json.dumps(results))
    assert keys_distinguishing_runs(find_compared_runs([one, other])) == ["recipe.batch"]
    assert [entry.values for entry in build_comparison_table(find_compared_runs([one, other])).entries] == [("16",), ("32",)]


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("degradation", "area", "degradation is bicubic and area"),
        ("scale", 3, "scale is 2 and 3"),
        ("window", [0, 8, 8], r"window is \[0, 4, 4\] and \[0, 8, 8\]"),
        ("range", [0.0, 2.0], "range is"),
        ("protocol", "classical", "protocol is float and classical"),
        ("data", {"name": "tide", "size": [24, 24]}, "data.name is phantom and tide"),
    ],
)
@pytest.mark.sampled(2)
def test_incomparable_runs_are_refused_with_what_differs(tmp_path: Path, key: str, value: Any, named: str) -> None:
    one, other = write(tmp_path / "a"), write(tmp_path / "b")
    results = json.loads((other / "results.json").read_text())
    results["protocol"][key] = value
    (other / "results.json").write_text(json.dumps(results))
    command = [sys.executable, "-m", "vsr", "compare", str(one), str(other)]
    done = run_process(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert re.match(f"error: {one} and {other} are not comparable: {named}.*; type --apart for a table of each", line)


def test_sets_that_are_not_comparable_stand_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for size in (24, 48):
        for rate in (1e-3, 1e-2):
            write(tmp_path / "runs" / f"{size}-{rate}", data__size=size, recipe__rate=rate, psnr=30 + rate)
    compare_command([str(tmp_path / "runs"), "--apart", "--output", str(tmp_path / "out")])
    titles = [line for line in capsys.readouterr().out.splitlines() if line.startswith("##")]
    assert titles == ["## data.size=24", "## data.size=48"]
    page = Page(tmp_path / "out" / "summary.html")
    assert [attrs["id"] for tag, attrs in page.tags if tag == "section"] == ["set0", "set1", "again"]
    assert "data.size" not in [text for text in page.texts if not text.startswith("data.size=")]


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: None, "no such folder"),
        (lambda folder: folder.mkdir(), "holds no training run"),
        (lambda folder: (folder.mkdir(), (folder / "results.json").write_text("{")), "results.json: cannot be read"),
        (lambda folder: (folder.mkdir(), (folder / "results.json").write_text('{"rows": []}')), "is not of a training run"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, prepare: Any, message: str) -> None:
    prepare(tmp_path / "x")
    with pytest.raises(UserError, match=message):
        find_compared_runs([tmp_path / "x"])
    run = write(tmp_path / "run")
    with pytest.raises(UserError, match="is given twice"):
        find_compared_runs([run, run])


def test_the_page_asks_nobody_for_anything_and_shows_names_as_they_are(tmp_path: Path) -> None:
    for seed, rate in enumerate((1e-3, 1e-2, 1e-1)):
        write(tmp_path / "runs" / f"r{seed}", seed=seed, psnr=30 + seed, name=NASTY if seed else "b", recipe__rate=rate)
    record = {"about": {}, "jobs": []}
    for number in range(3):
        (tmp_path / "runs" / f"r{number}").rename(tmp_path / "runs" / str(number))
        record["jobs"].append({"number": number, "state": "ok", "values": [], "error": "", "config": {}})  # type: ignore[attr-defined]
    record["jobs"].append({"number": 3, "state": "failed", "values": [f"name={NASTY}"], "error": NASTY, "config": {}})  # type: ignore[attr-defined]
    (tmp_path / "runs" / "sweep.json").write_text(json.dumps(record))
    compare_command([str(tmp_path / "runs"), "--output", str(tmp_path / "out")])
    page = Page(tmp_path / "out" / "summary.html")
    for tag, attrs in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "image", "use")
        for name, value in attrs.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in ("srcset", "action", "xlink:href", "style")
            assert name != "src" or str(value).startswith("data:image/png;base64,")
            assert name != "href" or str(value).startswith("#")
    assert not re.search(r"https?:|//[a-z]+\.|url\(|@import", page.content)
    policy = next(attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'")
    assert "\u202e" not in page.content
    assert sum(NASTY.partition("|")[0] in text for text in page.texts) >= 4
    kinds = [tag for tag, _ in page.tags]
    assert kinds.count("img") == 2
    assert kinds.count("table") == 3


def test_plots_place_every_run_and_mark_the_best() -> None:
    points = [
        PlottedRun({"rate": str(10.0**-k), "model": "ab"[k % 2], "cost": 5.0}, 30.0 + k, f"$run_{k}", k == 0) for k in range(3)
    ]
    drawn = parallel_coordinates(points, ["rate", "model", "cost"], "val/psnr", True)
    assert drawn is not None
    lines = [list(line.get_ydata()) for line in drawn.axes[0].lines if len(line.get_xdata()) == 4]
    # The best run is the last: lowest rate, first model, the only cost, highest score.
    assert lines[-1] == [0.0, 0.25, 0.5, 1.0]
    assert lines[1] == [0.5, 0.75, 0.5, 0.5]
    assert parallel_coordinates(points[:1], ["rate"], "val/psnr", True) is None
    dots = scatter_plots(points, ["rate", "model", "cost", "cost"], "val/mse", False)
    assert dots is not None
    assert dots.axes[0].get_xscale() == "log"
    rings = [to_hex(dot.get_edgecolor()[0]) for dot in dots.axes[0].collections]
    # The lowest score is of a run that was ended early: the ring is around the next one.
    assert [ring == "#000000" for ring in rings] == [False, True, False]
    assert all(style_png(figure).startswith(b"\x89PNG") for figure in (drawn, dots))
