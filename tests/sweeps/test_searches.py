"""Searches: an Optuna study draws trials, failing ones are counted, hopeless ones ended, a killed search goes on."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import choices
from tests.processes import deadline, wait_until
from tests.sweeps.conftest import Swept

pytest.importorskip("optuna")

Run = Callable[..., Swept]
Begin = Callable[..., "subprocess.Popen[bytes]"]
RATE = "recipe.rate=tag(log,interval(1e-4,1e-1))"


def search(trials: int, *more: str) -> list[str]:
    return ["hparams_search=optuna", f"hparams_search.trials={trials}", "recipe.schedule=cosine", RATE, *more]


@pytest.mark.long
def test_a_search_counts_failing_trials_and_ends_hopeless_ones(run: Run) -> None:
    typed = search(9, "recipe.batch=7,7,7,13", "epochs=8", "hparams_search.warmup=1", "hparams_search.startup=3")
    done = run(*typed)
    assert done.status == 0, done.errors
    states = [job["state"] for job in done.jobs.values()]
    assert len(states) == 9
    assert {"ok", "stopped", "failed"} == set(states)
    for job in done.jobs.values():
        folder = done.folder / str(job["number"])
        assert (folder / "results.json").exists() == (job["state"] == "ok")
        if job["state"] == "stopped":
            seen = len((folder / "scores.jsonl").read_text().splitlines())
            assert 1 <= seen < 8
            assert re.match(r"ended after epoch \d+ with val/psnr [\d.]+ \(median\)", job["error"])
        if job["state"] == "failed":
            assert job["error"] == "recipe.batch=13: brings bad luck"
    counts = [states.count(state) for state in ("ok", "stopped", "failed")]
    assert "trials    {} to their end, {} ended early, {} failed".format(*counts) in done.out
    [best] = re.findall(r"best      #(\d+) .*: val/psnr ([\d.]+)", done.out)
    scores = {
        number: max(row["val/psnr"] for row in json.loads((done.folder / str(number) / "results.json").read_text())["history"])
        for number, job in done.jobs.items()
        if job["state"] == "ok"
    }
    assert int(best[0]) == max(scores, key=lambda number: scores[number])
    assert float(best[1]) == pytest.approx(max(scores.values()), rel=1e-5)

    again = run(*typed)
    assert "9 trials, 9 done before" in again.out
    assert len(again.started()) == 9
    assert "best      #" in again.out

    other = run(*search(9, "recipe.batch=4,8", "epochs=8"))
    assert "holds a search with another space" in other.errors
    assert "type hydra.sweep.dir=FOLDER for a new one" in other.errors


@pytest.mark.long
def test_a_killed_search_is_taken_up_again(run: Run, begin: Begin, tmp_path: Path) -> None:
    typed = search(6, "recipe.batch=7", "epochs=4", "hparams_search.pruner=none", "jobs=2")
    process = begin(*typed)
    record = tmp_path / "sweep" / "sweep.json"
    wait_until(lambda: record.exists() and record.read_text().count('"state": "ok"') >= 2, 60, process)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=deadline(30))
    before = {job["number"]: job for job in json.loads(record.read_text())["jobs"]}
    ended = {number for number, job in before.items() if job["state"] == "ok"}
    assert 2 <= len(ended) < 6
    done = run(*typed)
    assert done.status == 0, done.errors
    assert f"6 trials, {len(ended)} done before" in done.out
    assert [job["state"] for job in done.jobs.values()] == ["ok"] * 6
    # What was under way is tried again, with the same values; what had ended is as it was.
    assert all(done.jobs[number]["values"] == job["values"] for number, job in before.items())
    assert all(done.started().count(str(number)) == 1 for number in ended)
    assert len({tuple(job["values"]) for job in done.jobs.values()}) == 6


@pytest.mark.long
def test_a_search_in_which_everything_fails_is_an_error(run: Run) -> None:
    done = run(*search(2, "recipe.batch=13", "epochs=1"))
    assert done.status == 1
    expected = "error: no trial of 2 came to its end; the first failed: recipe.batch=13: brings bad luck"
    assert done.errors.splitlines()[-1] == expected
    assert (done.folder / "summary.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hparams_search.trials=0"], "hparams_search.trials=0: must be a whole number of 1 or more"),
        (["hparams_search.pruner=best"], "hparams_search.pruner=best; known: hyperband, median, none"),
        (["hparams_search.trals=3"], "hparams_search.trals: unknown key"),
        (["+hparams_search.space.seed={low:3,high:1}"], "hparams_search.space.seed: low=3 must be below high=1"),
        (["+hparams_search.space.seed=3"], "hparams_search.space.seed=3: must be a list of values, or a range"),
        (["hydra/launcher=joblib"], "hydra/launcher=joblib: a search decides from trial to trial"),
    ],
)
def test_a_search_that_cannot_work_is_refused(run: Run, arguments: list[str], message: str) -> None:
    done = run("hparams_search=optuna", *arguments)
    assert done.status == 1
    assert message in done.errors
    assert not done.folder.exists()


def test_less_is_better_for_errors(run: Run) -> None:
    done = run(*search(1, "recipe.batch=4", "epochs=1", "monitor=val/mse"))
    assert done.status == 1
    assert "val/mse was never a number" in done.errors


def test_whole_numbers_words_and_lists_can_be_searched(run: Run) -> None:
    space = ["+hparams_search.space.seed={low:1,high:3}", "+hparams_search.space.window=[[0,4,4],[0,8,8]]", "model=srcnn,fsrcnn"]
    done = run(*search(3, "recipe.batch=4", "epochs=1", *space))
    assert done.status == 0, done.errors
    for job in done.jobs.values():
        values = dict(line.split("=", 1) for line in job["values"])
        assert values["seed"] in ("1", "2", "3")
        assert values["window"] in ("[0,4,4]", "[0,8,8]")
        assert job["config"]["name"] in ("srcnn", "fsrcnn")


@pytest.mark.parametrize("name", choices("hparams_search"))
def test_every_search_of_the_config_folder_works(run: Run, name: str) -> None:
    done = run(f"hparams_search={name}", "hparams_search.trials=1", "epochs=1")
    assert done.status == 0, done.errors
    assert "trials    1 to their end" in done.out
