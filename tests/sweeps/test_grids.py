"""Grids: every combination in a fresh process, what is finished is not done again, what fails is said."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import CONF, ROOT
from tests.processes import deadline, wait_until
from tests.sweeps.conftest import Swept
from vsr.config.compose import Composer, Interval
from vsr.errors import UserError

Run = Callable[..., Swept]
Begin = Callable[..., "subprocess.Popen[bytes]"]


def read(*arguments: str) -> object:
    return Composer(ROOT / "train.py", CONF).read(arguments)


def test_what_is_typed_is_sorted_into_what_is_swept_and_what_is_not() -> None:
    typed = "model=srcnn,fsrcnn seed=range(0,3) recipe.rate=1e-3 jobs=2 window=[0,4,4],[0,8,8] hydra.sweep.dir=x"
    typed += " hydra/launcher=joblib hydra.verbose=true hparams_search.trials=4 ~logger"
    asked = Composer(ROOT / "train.py", CONF).read(["-m", "data.path='a b,c'", *typed.split()])
    assert asked.choices == {"model": ["srcnn", "fsrcnn"], "seed": ["0", "1", "2"], "window": ["[0,4,4]", "[0,8,8]"]}
    assert asked.fixed == ["data.path='a b,c'", "recipe.rate=1e-3", "hydra.verbose=true", "~logger"]
    assert asked.sweep == ["hydra.sweep.dir=x", "hydra/launcher=joblib", "hparams_search.trials=4"]
    assert asked.jobs == 2
    assert len(asked.grid()) == 12
    assert asked.grid()[1] == ["model=srcnn", "seed=0", "window=[0,8,8]"]


def test_intervals_are_for_searches() -> None:
    composer = Composer(ROOT / "train.py", CONF)
    asked = composer.read(["recipe.rate=tag(log,interval(1e-4,1e-2))", "recipe.batch=int(interval(4,16))"])
    assert asked.intervals == {"recipe.rate": Interval(1e-4, 1e-2, log=True), "recipe.batch": Interval(4, 16)}
    assert isinstance(asked.intervals["recipe.batch"].low, int)
    with pytest.raises(UserError, match=r"recipe.rate: an interval is for a search; type hparams_search=optuna"):
        asked.grid()
    with pytest.raises(UserError, match="of tags, log is known, loud not"):
        composer.read(["recipe.rate=tag(loud,interval(1,2))"])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("jobs=0", "jobs=0: must be a whole number"),
        ("jobs=1,2", "jobs=1,2: cannot be swept over"),
        ("hydra.sweep.dir=a,b", "hydra.sweep.dir=a,b: cannot be swept over"),
        ("--cfg", "--cfg: cannot be combined with -m"),
        ("a=b=c", "a=b=c: cannot be parsed"),
    ],
)
def test_what_cannot_be_swept_is_refused(argument: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(argument)


def test_the_folder_is_the_same_for_the_same_command_only() -> None:
    composer = Composer(ROOT / "train.py", CONF)

    def name(*arguments: str) -> str:
        return composer.read(arguments).name("train")

    assert name("model=srcnn,fsrcnn", "seed=1", "epochs=2") == name("epochs=2", "model=srcnn,fsrcnn", "seed=1", "jobs=4")
    others = [
        name("model=srcnn,fsrcnn", "seed=1"),
        name("model=fsrcnn,srcnn"),
        name("model=srcnn,fsrcnn", "hparams_search=optuna"),
    ]
    assert len({name("model=srcnn,fsrcnn"), *others}) == 4
    assert "/" not in name("data.path='/a/b','/c d'")


def test_a_grid_runs_each_job_in_a_process_of_its_own_and_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    first = run("model=srcnn,fsrcnn", "recipe.batch=4,13", "epochs=1", "jobs=2")
    assert first.status == 1
    assert {number: job["state"] for number, job in first.jobs.items()} == {0: "ok", 1: "failed", 2: "ok", 3: "failed"}
    lines = [line.split() for line in (first.folder / "started.txt").read_text().splitlines()]
    assert len({pid for _, pid, _ in lines}) == 4
    assert {threads for *_, threads in lines} == {"3"}
    assert first.errors.splitlines()[-2:] == [
        "error: #1 model=srcnn recipe.batch=13: recipe.batch=13: brings bad luck",
        "error: #3 model=fsrcnn recipe.batch=13: recipe.batch=13: brings bad luck",
    ]
    assert json.loads((first.folder / "2" / "results.json").read_text())["config"]["name"] == "fsrcnn"
    assert "recipe.batch=13: brings bad luck" in (first.folder / "summary.md").read_text()

    again = run("model=srcnn,fsrcnn", "recipe.batch=4,13", "epochs=1", "jobs=2")
    assert "4 jobs, 2 finished before" in again.out
    assert sorted(again.started()) == ["0", "1", "1", "2", "3", "3"]

    more = run("model=srcnn,fsrcnn_s", "recipe.batch=4", "epochs=1")
    assert more.status == 0
    assert more.started()[-1] == "4"
    assert "2 jobs, 1 finished before" in more.out


def test_values_that_do_not_go_together_do_not_keep_others_from_running(run: Run) -> None:
    done = run("recipe.rate=1e-3,-1", "epochs=1")
    assert done.status == 1
    assert done.started() == ["0"]
    assert done.errors.splitlines()[-1] == "error: recipe.rate=-1: recipe.rate=-1: must be positive"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=srcnn,fsrcnn", "lrr=1"], "error: lrr: unknown key"),
        (["model=srcn,fsrcn"], "error: none of the 2 jobs can run; the first: model=srcn: model=srcn: no such config"),
        (["seed=0,1", "hydra/launcher=jobli"], "error: hydra/launcher=jobli: no such launcher; joblib and submitit_slurm need"),
    ],
)
def test_a_mistake_leaves_nothing_behind(run: Run, arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.status == 1
    assert done.errors.startswith(message)
    assert not done.folder.exists()


def test_a_folder_of_something_else_is_not_touched(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sweep" / "0").mkdir(parents=True)
    (tmp_path / "sweep" / "0" / "mine.txt").write_text("mine")
    done = run("seed=0,1", "epochs=1")
    assert "holds something that is not a sweep; type hydra.sweep.dir=FOLDER" in done.errors
    assert (tmp_path / "sweep" / "0" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGKILL])
def test_a_sweep_that_was_stopped_does_what_is_missing(run: Run, begin: Begin, tmp_path: Path, number: signal.Signals) -> None:
    typed = ["recipe.batch=4,7", "seed=0,1", "epochs=8"]
    process = begin(*typed)
    started = tmp_path / "sweep" / "started.txt"
    wait_until(lambda: started.exists() and len(started.read_text().splitlines()) >= 3, 60, process)
    process.send_signal(number)
    assert process.wait(timeout=deadline(30)) != 0
    before = {i: (tmp_path / "sweep" / str(i) / "results.json").stat().st_mtime_ns for i in range(2)}
    done = run(*typed)
    assert done.status == 0, done.errors
    assert "4 jobs, 2 finished before" in done.out
    assert done.started() == ["0", "1", "2", "2", "3"]
    assert {i: (tmp_path / "sweep" / str(i) / "results.json").stat().st_mtime_ns for i in range(2)} == before


def test_two_sweeps_do_not_work_in_one_folder_at_once(
    run: Run, begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = begin("recipe.batch=7", "epochs=1000")
    try:
        wait_until((tmp_path / "sweep" / "started.txt").exists, 60, process)
        monkeypatch.setattr("vsr.sweeps.folder.PATIENCE", 0.5)
        assert "another sweep is at work here" in run("recipe.batch=4", "epochs=1").errors
    finally:
        process.terminate()
        assert process.wait(timeout=deadline(30)) == 143


@pytest.mark.long
def test_launchers_of_plugins_start_fresh_processes_too(run: Run) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    done = run("recipe.batch=4,13,8", "epochs=1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=1")
    assert done.status == 1
    assert [job["state"] for job in done.jobs.values()] == ["ok", "failed", "ok"]
    pids = [line.split()[1] for line in (done.folder / "started.txt").read_text().splitlines()]
    assert len(set(pids)) == 3
    assert done.errors.splitlines()[-1] == "error: #1 recipe.batch=13: recipe.batch=13: brings bad luck"
