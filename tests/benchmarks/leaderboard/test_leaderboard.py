"""The leaderboard from its command line: runs that are killed and go on, mistakes, speeds that are measured once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.leaderboard import train_runs
from benchmarks.leaderboard import training_speed as measuring
from benchmarks.leaderboard.command_line import parse_options
from benchmarks.leaderboard.experiments import DATA, MODELS, Cell, presets
from benchmarks.leaderboard.page import render
from benchmarks.leaderboard.train_runs import LeaderboardRuns
from benchmarks.leaderboard.training_speed import TrainingSpeeds, read_rate
from tests.fakes import CONF, ROOT
from tests.processes import run_process, start_process, wait_until
from vsr.errors import UserError
from vsr.training.budget.plan import BudgetPlan, StepRate, plan_budget

TINY = ["phantom.size=32", "phantom.frames=5", "phantom.learn=10", "phantom.test=5", "recipe.patch=8", "trainer.accelerator=cpu"]


def command(out: Path, *more: str) -> list[str]:
    page = f"page={out}/docs/results/leaderboard.md"
    return [
        sys.executable,
        "-m",
        "benchmarks.leaderboard",
        *TINY,
        f"out={out}/runs",
        page,
        "jobs=1",
        "frame=16",
        "families=false",
        *more,
    ]


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return run_process(arguments, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_killed_leaderboard_goes_on_and_its_page_is_what_its_facts_say(tmp_path: Path) -> None:
    chosen = command(tmp_path, "models=[plain,fsrcnn_s]", "data=phantom", "plan=1x3")
    first = start_process(chosen, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        results = list(wait_for(tmp_path / "runs", "*/*/results.json"))
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    stamps = {path: path.stat().st_mtime_ns for path in results}
    done = run(chosen)
    assert done.returncode == 0, done.stderr
    assert "of 2 runs are missing" in done.stdout, "the second run was not there yet"
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps, "what was there is not made again"
    page = tmp_path / "docs" / "results" / "leaderboard.md"
    text, content = page.read_text(), json.loads(page.with_suffix(".json").read_text())
    assert text == render(content)
    for model in ("plain", "fsrcnn_s"):
        line = next(line for line in part(text, "### phantom, 1x3").splitlines() if line.startswith(f"| `{model}`"))
        scored = json.loads(next((tmp_path / "runs" / f"phantom-1x3-{model}").glob("*/scores/own/results.json")).read_text())
        own = next(row for row in scored["rows"] if row["method"] == model)
        linear = next(row for row in scored["rows"] if row["method"] == "linear")
        cells = [cell.strip(" *") for cell in line.split("|")]
        assert f"{own['psnr']:.2f}" in cells
        assert f"{own['psnr'] - linear['psnr']:+.2f}" in cells
        assert f"{own['lsd']:.2f}" in cells
        assert f"{own['consistency']:.4f}" in cells
        config = json.loads(next((tmp_path / "runs" / f"phantom-1x3-{model}").glob("*/results.json")).read_text())["config"]
        assert (config["epochs"], config["recipe"]["steps"], config["patience"]) == (1, 3, None)
    lines = [line for line in part(text, "### phantom, 1x3").splitlines() if line.startswith("| `")]
    assert len(lines) == 2
    left = re.findall(r"`(\w+)`", part(text, "### phantom, 1x3").split("Not run: ")[1].split(".")[0])
    assert left == [model for model in MODELS if model not in ("plain", "fsrcnn_s")], "what was not run does not vanish"
    assert str(tmp_path) not in text, "places on a machine are of no use to others"
    assert all((tmp_path / "docs" / "images" / f"leaderboard-{name}.png").is_file() for name in ("speed", "budget"))


def wait_for(folder: Path, pattern: str) -> Iterator[Path]:
    yield from wait_until(lambda: list(folder.glob(pattern)), 240)


def part(text: str, title: str) -> str:
    return text.split(f"{title}\n", 1)[1].split("\n##", 1)[0]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("model=plain", "model: unknown key; did you mean 'models'?"),
        ("models=[plain,fsrcn]", "models=[plain,fsrcn]: unknown name fsrcn; did you mean 'fsrcnn'?"),
        ("data=tides", "data=tides: unknown name tides; did you mean 'tide'?"),
        ("models=[]", "names nothing; leave the key out for all"),
        ("budgets=[1min,5]", "type budget=5s, budget=5min or 5h"),
        ("seeds=0", "seeds=0: must be a whole number, 1 or more"),
        ("rates=new", "rates=new: type rates=again or rates=null"),
        ("plan=2", "plan=2: type EPOCHSxSTEPS"),
        ("leaderboard", "leaderboard: type KEY=VALUE"),
        ("only=[1min,5min]", "only=[1min,5min]: takes a single budget"),
    ],
)
def test_mistakes_are_one_line_that_says_what_to_type(typed: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_options([typed])
    assert message in str(caught.value)


def test_a_mistake_and_the_help_answer_without_torch() -> None:
    code = (
        "import sys; from benchmarks.leaderboard.__main__ import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: assert 'torch' not in sys.modules"
    )
    done = run([sys.executable, "-c", code, "dta=tide"])
    assert done.returncode == 1
    assert done.stderr == "error: dta: unknown key; did you mean 'data'?\n"
    done = run([sys.executable, "-c", code, "--help"])
    assert done.returncode == 0, done.stderr
    assert "movies.path=FOLDER" in done.stdout


@pytest.mark.long
def test_a_run_that_fails_does_not_keep_the_page_from_being_written(tmp_path: Path) -> None:
    done = run(command(tmp_path, "models=plain", "data=movie", f"movies.path={tmp_path}/no.y4m", "plan=1x1"))
    assert done.returncode == 1
    assert "no.y4m: no such file" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    page = tmp_path / "docs" / "results" / "leaderboard.md"
    assert page.read_text() == render(json.loads(page.with_suffix(".json").read_text()))


def planned(out: Path, *more: str, earlier: dict[str, Any] | None = None) -> LeaderboardRuns:
    return LeaderboardRuns(parse_options([*TINY, f"out={out}", "precision=32", *more]), earlier)


def known(path: Path, found: LeaderboardRuns, rates: dict[str, StepRate]) -> None:
    """As if these had been measured."""
    content = {key: {"of": found.rates.digest(key), "step": rate.step, "epoch": rate.epoch} for key, rate in rates.items()}
    path.write_text(json.dumps(content))


@pytest.mark.long
def test_runs_are_as_long_as_the_speeds_and_the_budget_say(tmp_path: Path) -> None:
    found = planned(tmp_path)
    rate = StepRate(0.01, 0.5)
    known(tmp_path / "rates.json", found, {"climate-plain": rate, "phantom-plain": StepRate(0.02, 0.1)})
    again = planned(tmp_path)
    cells = [Cell(family, "1min", "plain") for family in ("tide", "bores", "turbulence")]
    assert [again.rates.plan(cell) for cell in cells] == [plan_budget(rate, 60.0)] * 3, "families share their speeds"
    assert again.rates.plan(Cell("phantom", "5min", "plain")) == plan_budget(StepRate(0.02, 0.1), 300.0)
    assert again.rates.plan(Cell("phantom", "5min", "edsr")) is None
    typed = again.choice.run(cells[1], BudgetPlan(3, 7))
    assert {"data.family=bores", "epochs=3", "recipe.steps=7", "patience=null", "model=plain"} <= set(typed)
    assert planned(tmp_path, "recipe.batch=3").rates.plan(cells[0]) is None, "a speed is of one config"
    known(tmp_path / "rates.json", found, {"climate-plain": StepRate(100.0, 1.0)})
    slow = planned(tmp_path)
    assert slow.rates.plan(cells[0]) is None
    assert "takes 100 s" in slow.rates.refused[cells[0]]
    (tmp_path / "rates.json").write_text("[")
    with pytest.raises(UserError, match=r"rates.json: cannot be read .*type rates=again"):
        planned(tmp_path)
    assert planned(tmp_path, "rates=again").rates.plan(cells[0]) is None


@pytest.mark.long
def test_runs_of_an_earlier_sitting_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With speeds and results in leaderboard.json, nothing that stands there runs again on another machine."""
    options = ("models=[plain,fsrcnn]", "data=tide", "only=1min")
    digests = planned(tmp_path, *options).rates.digest
    rates = {key: {"of": digests(key), "step": 0.0123456789, "epoch": 0.5} for key in ("climate-plain", "climate-fsrcnn")}
    placed = {cell.model: each for cell, *_, each in planned(tmp_path, *options, earlier={"rates": rates})._placed(chosen=True)}
    assert set(placed) == {"plain", "fsrcnn"}
    row = {"psnr": 31.0, "gain_interval": [0.5, 1.5]}
    one = {"seed": 0, "of": placed["plain"].folder.name, "cpu": "another CPU", "rows": {"test": row}}
    protocol = {"data": {"name": "tide-2", "size": [72, 72], "frames": {"test": 80}}, "scale": 2}
    earlier = {
        "rates": rates,
        "made": {"cpu": "another CPU"},
        "protocols": {"tide": protocol},
        "baselines": {"tide": {"test": {"bicubic": {"psnr": 29.0}, "linear": {"psnr": 30.0}}}},
        "runs": {"tide": {"1min": {"plain": {"command": "c", "plan": [4, 10], "seeds": [one]}}}},
    }
    again = planned(tmp_path, *options, earlier=earlier)
    ran: list[str] = []
    monkeypatch.setattr(train_runs, "run_missing", lambda placed, *_: ran.extend(each.run.name for each in placed))
    again.train(print)
    assert ran == ["tide-1min-fsrcnn"]
    found = again.collect()
    assert found.runs["tide"]["1min"]["plain"]["seeds"] == [one]
    content = again.facts(found, {}, "python -m benchmarks.leaderboard")
    assert (content["rates"], content["protocols"]) == (rates, {"tide": protocol})

    found.baselines["tide"] = {"test": {"bicubic": {"psnr": 29.01}}}
    found.add_earlier(Cell("tide", "1min", "plain"), one, earlier)
    assert found.dropped == ["tide-1min-plain: the result in leaderboard.json is of other data; type continue=false to repeat it"]


@pytest.mark.long
def test_speeds_are_measured_one_after_the_other_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def job(self: TrainingSpeeds, key: str) -> measuring.Job:
        started.append(key)
        code = "print('reading'); print('{\"step\": 0.5, \"epoch\": 1.5}')"
        return measuring.Job(name=key, command=[sys.executable, "-c", code], log=self.out / "rates" / f"{key}.log")

    monkeypatch.setattr(TrainingSpeeds, "_job", job)
    options = ("models=[plain,edsr]", "data=[tide,bores,phantom]", "only=1min")
    said: list[str] = []
    planned(tmp_path, *options).rates.measure(False, said.append)
    assert sorted(started) == ["climate-edsr", "climate-plain", "phantom-edsr", "phantom-plain"]
    assert "4 of 4 training speeds" in said[0]
    again = planned(tmp_path, *options, "budgets=1min")
    assert again.rates.plan(Cell("bores", "1min", "edsr")) == plan_budget(StepRate(0.5, 1.5), 60.0)
    again.rates.measure(False, said.append)
    assert len(started) == 4
    again.rates.measure(True, said.append)
    assert len(started) == 8


def test_a_log_without_a_rate_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text('{"step": 1}\nnull\n[1]\nnothing\n')
    with pytest.raises(UserError, match="contains no rate"):
        read_rate(log)


def test_the_presets_stand_in_rows_of_the_leaderboard() -> None:
    found = presets()
    assert set(found) == {path.stem for path in (CONF / "preset").glob("*.yaml")}
    assert all(preset.model in MODELS for preset in found.values())


@pytest.mark.long
def test_every_run_composes_and_has_a_folder_of_its_own(tmp_path: Path) -> None:
    found = planned(tmp_path, "plan=1x1")
    folders = {placed.folder for *_, placed in found._placed(chosen=False)}
    limited = sum(len(source.models) if source.models else len(MODELS) for source in DATA.values())
    assert len(folders) == limited
