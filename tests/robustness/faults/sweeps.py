"""Sweeps, and runs of several processes: items 35 and 36."""

from __future__ import annotations

import fcntl
import json
import os

from tests.robustness.faults.bench import TINY, Bench, at_step, fault, here


@fault("36-sweep-under-torchrun", "-m: torchrun starts one run; type vsr train -m strategy=ddp_spawn trainer.devices=N")
def _(bench: Bench) -> list[str]:
    bench.environment = {"TORCHELASTIC_RUN_ID": "a", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    return ["train", "-m", "seed=1,2", *TINY, "strategy=ddp"]


fault("36-more-devices-than-the-strategy-takes", "this strategy is for one; type strategy=ddp trainer.devices=2")(
    lambda bench: ["train", *TINY, "strategy=cpu", "trainer.devices=2"]
)
fault("36-sharded-weights", "strategy=fsdp: ", "type strategy=ddp")(lambda bench: ["train", *TINY, "strategy=fsdp"])


def spoilt_sweep(bench: Bench, record: str, *arguments: str) -> list[str]:
    """A sweep that meets that record of an earlier one in its folder."""
    (bench.path / "sweep").mkdir()
    (bench.path / "sweep" / "sweep.json").write_text(record)
    (bench.path / "sweep" / ".lock").touch()
    return ["train", "-m", *TINY, "model=fsrcnn_s", f"hydra.sweep.dir={bench.path}/sweep", *arguments]


fault("35-record-of-a-sweep-cut-short", "sweep.json: cannot be read", "type hydra.sweep.dir=FOLDER")(
    lambda bench: spoilt_sweep(bench, '{"about": {"script": "train", "fix', "seed=1,2")
)
fault("35-a-sweep-in-the-folder-of-a-run", "run: holds something that is not a sweep", "type hydra.sweep.dir=FOLDER")(
    lambda bench: ["train", "-m", *TINY, "seed=1,2", f"hydra.sweep.dir={bench.run()}"]
)


@fault("35-resumed-with-another-search-space", "sweep: holds a search with another space", "hydra.sweep.dir=FOLDER for a new one")
def _(bench: Bench) -> list[str]:
    search = ["hparams_search=optuna", "hparams_search.trials=1"]
    about = {"script": "train", "fixed": [*TINY, "model=fsrcnn_s"], "space": {"recipe.batch": [4, 8]}}
    done = {"number": 0, "values": ["recipe.batch=4"], "config": {}, "state": "ok"}
    return spoilt_sweep(bench, json.dumps({"about": about, "jobs": [done]}), *search)


@fault("35-another-sweep-at-work", "another sweep", "hydra.sweep.dir=FOLDER")
def _(bench: Bench) -> list[str]:
    command = spoilt_sweep(bench, '{"about": {}, "jobs": []}', "seed=1,2")
    bench.lock = os.open(bench.path / "sweep" / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(bench.lock, fcntl.LOCK_EX)
    return command


def other_trials_are_there(bench: Bench) -> None:
    assert (bench.here / "sweep" / "0" / "results.json").is_file()
    assert not (bench.here / "sweep" / "1" / "results.json").exists()


@fault("35-failing-trial", "recipe.patch=4000", "type recipe.patch=", writes=True)
def _(bench: Bench) -> list[str]:
    bench.after = other_trials_are_there
    return ["train", "-m", *here(bench)[1:-1], "recipe.patch=8,4000", "hydra.sweep.dir=sweep"]


@fault("30-another-process-of-the-run-is-killed", "lost another one of this run", writes=True)
def _(bench: Bench) -> list[str]:
    bench.before = at_step(3, "import multiprocessing; [os.kill(p.pid, 9) for p in multiprocessing.active_children()]")
    return [*(each for each in here(bench) if each != "strategy=cpu"), "strategy=ddp_spawn", "trainer.devices=2"]
