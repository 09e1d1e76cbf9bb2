"""A command that is refused changes nothing in the folder of a run that it names."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import TINY_CLIMATE
from tests.warm import Warm

TRAIN = [*TINY_CLIMATE, "model=fsrcnn_s", "recipe.patch=8", "recipe.steps=2", "epochs=2", "strategy=cpu"]
TRAIN += ["checkpoint_seconds=null", "checkpoint_steps=1"]
STOP = """
import os, signal
from vsr.training.modules.base import SRModule
def strike(*arguments, real=SRModule.training_step, **options):
    os.kill(os.getpid(), signal.SIGTERM)
    return real(*arguments, **options)
SRModule.training_step = strike
"""


@pytest.fixture(scope="module")
def runs(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, one that was stopped after a step, and one that has not got to its first checkpoint."""
    folder = tmp_path_factory.mktemp("runs")
    assert warm.run(folder, "train", *TRAIN, "hydra.run.dir=finished", figure=True).status == 0
    assert warm.run(folder, "train", *TRAIN, "hydra.run.dir=stopped", before=STOP).status == 143
    (folder / "begun").mkdir()
    for name in (".hydra", "run.json", "run.lock", "train.log"):
        source = folder / "stopped" / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / "begun" / name)
    return folder


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of the last change of every file; without the lock's, which names whoever held it last."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "run.lock"]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


REFUSED = {
    "the same command again": ("finished", "train", TRAIN, "holds a run already"),
    "another seed": ("finished", "train", [*TRAIN, "seed=1", "resume=auto"], "holds a finished run with seed=0"),
    "a value that cannot be": ("finished", "train", [*TRAIN, "epochs=-1"], "epochs=-1"),
    "a key that is not there": ("finished", "train", [*TRAIN, "epoch=1"], "did you mean 'epochs'?"),
    "nothing to resume": ("finished", "train", ["resume=finished"], "the run is finished"),
    "evaluated into it": ("finished", "evaluate", ["checkpoint=finished/run.json", "strategy=cpu"], "run.json"),
    "upscaled into it": ("finished", "upscale", ["checkpoint=finished/run.json", "input=finished"], "run.json"),
    "an unfinished one, anew": ("stopped", "train", TRAIN, "an unfinished one; type resume="),
    "an unfinished one, otherwise": ("stopped", "train", [*TRAIN, "seed=1", "resume=auto"], "was saved with seed=0, not 1"),
    "an unfinished one, on other data": ("stopped", "train", [*TRAIN, "data.size=28", "resume=auto"], "data.size=24, not 28"),
    "an unfinished one, with a budget": (
        "stopped",
        "train",
        [*(each for each in TRAIN if "epochs" not in each and "steps=2" not in each), "budget=5s", "resume=auto"],
        "was saved with",
    ),
    "before its first checkpoint": ("begun", "train", TRAIN, "an unfinished one"),
    "before its first checkpoint, mistyped": ("begun", "train", [*TRAIN, "epochs=-1"], "epochs=-1"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.sampled(2)
def test_a_refused_command_leaves_a_run_as_it_was(name: str, warm: Warm, runs: Path) -> None:
    run, script, arguments, said = REFUSED[name]
    before = state(runs / run)
    done = warm.run(runs, script, *arguments, *([] if arguments[0].startswith("resume=") else [f"hydra.run.dir={run}"]))
    assert done.status == 1, done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert said in done.stderr.splitlines()[-1]
    assert state(runs / run) == before


@pytest.mark.parametrize("run", ["stopped", "begun"])
@pytest.mark.sampled(1)
def test_a_run_at_work_is_left_alone(run: str, warm: Warm, runs: Path) -> None:
    lock = os.open(runs / run / "run.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    before, held = state(runs / run), (runs / run / "run.lock").read_bytes()
    for more in ([], ["resume=auto"], ["epochs=-1"], ["seed=1"]):
        done = warm.run(runs, "train", *TRAIN, *more, f"hydra.run.dir={run}")
        assert done.status == 1, done.stdout + done.stderr
        assert state(runs / run) == before
        assert (runs / run / "run.lock").read_bytes() == held
    os.close(lock)


def test_a_command_that_is_carried_out_says_so_in_the_folder(warm: Warm, runs: Path) -> None:
    folder = runs / "again"
    shutil.copytree(runs / "stopped", folder)
    before = (folder / "train.log").read_text()
    assert before.count("network   ") == 1
    done = warm.run(runs, "train", "resume=again")
    assert done.status == 0, done.stderr
    assert (folder / "train.log").read_text() == before + done.stdout
    assert "resume='again'" in (folder / ".hydra" / "overrides.yaml").read_text()
    assert "seed: 0\n" in (folder / ".hydra" / "config.yaml").read_text()
    assert "hydra:\n  run:\n" in (folder / ".hydra" / "hydra.yaml").read_text()
    done = warm.run(
        runs, "evaluate", "checkpoint=again/checkpoints/best.ckpt", "strategy=cpu", "hydra.run.dir=scored", "report=false"
    )
    assert done.status == 0, done.stderr
    assert (runs / "scored" / "evaluate.log").read_text() == done.stdout
    assert sorted(path.name for path in (runs / "scored" / ".hydra").iterdir()) == ["config.yaml", "hydra.yaml", "overrides.yaml"]


def test_a_refused_command_leaves_no_folder_of_its_own(warm: Warm, tmp_path: Path) -> None:
    done = warm.run(tmp_path, "train", *TRAIN, "recipe.patch=4000", "hydra.run.dir=a/b/c")
    assert done.status == 1
    assert list(tmp_path.iterdir()) == []


def written(name: str, content: bytes) -> Callable[[Path], object]:
    def damage(run: Path) -> object:
        return (run / name).write_bytes(content)

    return damage


def lost_best_epoch(run: Path) -> None:
    for name in ("results.json", "checkpoints/best.ckpt", "checkpoints/best.ckpt.sha256"):
        (run / name).unlink()


def no_lock(run: Path) -> None:
    (run / "run.lock").unlink()
    (run / "run.lock").mkdir()


AUTO = [*TRAIN, "precision=auto", "resume=auto", "hydra.run.dir=spoilt"]
CONTINUED = [*TRAIN, "resume=auto", "hydra.run.dir=spoilt"]
PLANNED = b'{"settled": {"precision": "%s"}, "differs": ["precision"]}'
SPOILT = {
    "results cut short": (
        "finished",
        written("results.json", b'{"config": {"se'),
        "results.json: is damaged; remove it and type",
    ),
    "results without a config": ("finished", written("results.json", b'{"rows": []}'), "results.json: is damaged"),
    "results that are no text": ("finished", written("results.json", b"\xff\xfe"), "results.json: is damaged"),
    "results nested without end": ("finished", written("results.json", b"[" * 100000), "results.json: is damaged"),
    "a best epoch that is lost": ("finished", lost_best_epoch, "best.ckpt: no such checkpoint; the best epoch so far was in it"),
    "a plan that cannot be": ("begun", written("plan.json", PLANNED % b"bf1~"), "plan.json: precision=bf1~"),
    "a plan of other keys": ("begun", written("plan.json", b'{"settled": {"seed": 3}}'), "plan.json: cannot be read"),
    "a lock that is a folder": ("begun", no_lock, "run.lock: Is a directory"),
    "notes that are a file": (
        "begun",
        lambda run: (shutil.rmtree(run / ".hydra"), (run / ".hydra").touch()),
        "cannot be written",
    ),
    "a record of something else": ("stopped", written("run.json", b'{"overrides": {"seed=1": 1}}'), "run.json: cannot be read"),
    "a record nested without end": ("stopped", written("run.json", b"[" * 100000), "run.json: cannot be read"),
}


@pytest.mark.parametrize("name", SPOILT)
@pytest.mark.sampled(4)
def test_what_is_damaged_in_a_run_is_named_in_one_line(name: str, warm: Warm, runs: Path) -> None:
    source, damage, said = SPOILT[name]
    run = runs / "spoilt"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(runs / source, run)
    damage(run)
    before = state(run)
    done = warm.run(runs, "train", *(["resume=spoilt"] if source == "stopped" else AUTO if source == "begun" else CONTINUED))
    assert done.status == 1, done.stdout + done.stderr
    assert done.stderr.startswith("error: "), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert "what came after" not in done.stderr
    assert state(run) == before
