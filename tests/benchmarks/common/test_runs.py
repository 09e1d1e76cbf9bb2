"""Runs for tables: where they lie, which are missing, what becomes of failures. The processes are real and tiny."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from benchmarks.common.runs import Run, plan_runs, run_missing
from benchmarks.reproduction.experiments import report_runs
from tests.fakes import ROOT, TINY_CLIMATE
from tests.processes import run_process
from vsr.errors import UserError

TINY = (*TINY_CLIMATE, "trainer.accelerator=cpu", "epochs=0", "recipe.patch=8")


def test_a_folder_is_named_after_all_that_a_run_depends_on(tmp_path: Path) -> None:
    first = Run("first", ("model=fsrcnn", *TINY))
    second = Run("second", ("model=fsrcnn", "init=checkpoint", "init.path=<first>", *TINY))
    placed = plan_runs([first, second], 2, tmp_path)
    assert list(placed) == [("first", 0), ("first", 1), ("second", 0), ("second", 1)]
    assert len({each.folder for each in placed.values()}) == 4
    one = placed["second", 1]
    assert f"init.path={placed['first', 1].folder}/checkpoints/best.ckpt" in one.overrides
    assert one.needs == (placed["first", 1].folder,)
    assert plan_runs([first, second], 2, tmp_path) == placed
    changed = plan_runs([replace(first, overrides=(*first.overrides, "recipe.rate=1e-3")), second], 2, tmp_path)
    assert all(changed[key].folder != placed[key].folder for key in placed), "what needs a run that changed is another run too"
    spelled = plan_runs([replace(first, overrides=(*first.overrides, "scale=2")), second], 2, tmp_path)
    assert [each.folder for each in spelled.values()] == [each.folder for each in placed.values()], (
        "the config counts, not the text"
    )


def test_a_command_is_what_anybody_could_type() -> None:
    run = Run("x", ("experiment=table6", "init.first.path=<table2>", "data.path=/home/me/field.mat", "data.axes=yxt"))
    typed = "python train.py experiment=table6 init.first.path=<table2> data.path=FILE data.axes=yxt"
    assert run.command == typed


def test_a_run_with_fewer_seeds_serves_all_that_need_it(tmp_path: Path) -> None:
    runs = [Run("one", TINY, seeds=1), Run("many", ("init=checkpoint", "init.path=<one>", *TINY))]
    placed = plan_runs(runs, 3, tmp_path)
    assert [key for key in placed if key[0] == "one"] == [("one", 0)]
    assert {each.needs for (name, _), each in placed.items() if name == "many"} == {(placed["one", 0].folder,)}


@pytest.mark.long
def test_only_what_is_missing_is_run_and_failures_stop_what_needs_them(tmp_path: Path) -> None:
    said: list[str] = []
    bad = Run("bad", ("model=fsrcnn", "data=movies", f"data.path={tmp_path}/no.y4m", "epochs=0"))
    runs = [bad, Run("needs_bad", ("init=checkpoint", "init.path=<bad>", *TINY)), Run("good", ("model=bicubic", *TINY))]
    placed = plan_runs(runs, 1, tmp_path)
    left = placed["good", 0].folder
    left.mkdir(parents=True)
    (left / "checkpoints").mkdir()  # of an attempt that was killed before its first checkpoint
    with pytest.raises(UserError) as caught:
        run_missing(list(placed.values()), 2, said.append)
    message = str(caught.value)
    assert "no.y4m: no such file" in message
    assert f"{placed['needs_bad', 0].folder}: a run that it needs has failed" in message
    assert str(placed["bad", 0].folder.with_suffix(".log")) in message
    good = placed["good", 0]
    assert good.done
    assert good.seconds() > 0
    stamp = (good.folder / "results.json").stat().st_mtime_ns
    assert run_missing([good], 2, said.append) == 0
    assert (good.folder / "results.json").stat().st_mtime_ns == stamp
    (good.folder / "results.json").write_text("{")
    with pytest.raises(UserError, match=r"cannot be read .*remove .* to run it again"):
        good.results()


def test_every_run_of_the_report_composes_and_stands_behind_what_it_needs(tmp_path: Path) -> None:
    runs = report_runs([], [], "32")
    placed = plan_runs(runs, 3, tmp_path)
    order = [each.folder for each in placed.values()]
    assert len(set(order)) == len(order)
    for each in placed.values():
        assert all(order.index(folder) < order.index(each.folder) for folder in each.needs)
    experiments = {override for run in runs for override in run.overrides if override.startswith("experiment=table")}
    assert experiments == {f"experiment=table{n}" for n in range(1, 8)}  # Table 8 shows the networks of Table 6


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("seed=3", "seed: unknown key; did you mean 'seeds'?"),
        ("seeds=none", "seeds=none: must be a number of 1 or more"),
        ("tables", "tables: type KEY=VALUE"),
        ("jobs=0", "jobs=0: must be a number"),
    ],
)
def test_mistakes_at_the_command_line(typed: str, message: str) -> None:
    done = run_process([sys.executable, "-m", "benchmarks.reproduction", typed], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_needs_no_torch() -> None:
    code = "import sys; from benchmarks.reproduction.__main__ import main; main(['--help']); assert 'torch' not in sys.modules"
    done = run_process([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "data.path=H_Field_NI5.mat" in done.stdout


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_whole_command_on_a_file_twice(tmp_path: Path) -> None:
    """Every run, every figure and the page, of a .mat file in place of the report's."""
    field = np.cumsum(np.random.default_rng(0).normal(size=(60, 32, 32)), axis=0).astype(np.float32)
    scipy.io.savemat(tmp_path / "field.mat", {"H": field.transpose(1, 2, 0)})
    page = tmp_path / "results" / "report.md"
    command = [sys.executable, "-m", "benchmarks.reproduction", "seeds=1", f"out={tmp_path}/runs", f"page={page}"]
    command += [f"data.path={tmp_path}/field.mat", "data.axes=yxt", "recipe.steps=1", "recipe.patch=8"]
    for said in ("written", "up to date"):
        done = run_process(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
    assert len(list((tmp_path / "images").glob("*.png"))) == 10
    text = page.read_text()
    assert all(f"Table {n}" in text for n in range(1, 9))
    assert "replace it" not in text, "these are the user's own data"
