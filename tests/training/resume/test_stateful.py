"""Runs that are started, stopped, killed, damaged, resumed and evaluated in any order, against a model of what must be left."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.fakes import TINY_CLIMATE, assert_same_scores
from tests.kills import first_difference, without_times
from tests.processes import wait_until
from tests.warm import Done, Warm
from vsr.errors import UserError
from vsr.training.resume.checkpoints import read_checkpoint

EPOCHS, STEPS, EVERY = 3, 4, 2  # epochs, steps of each, steps between checkpoints
COMMAND = [*TINY_CLIMATE, "model=fsrcnn_s", "recipe.patch=8", "recipe.batch=4", f"recipe.steps={STEPS}", f"epochs={EPOCHS}"]
COMMAND += ["strategy=cpu", "precision=auto", "checkpoint_seconds=null", f"checkpoint_steps={EVERY}", "hydra.run.dir=run"]
CHECKPOINTS = ("checkpoints/last.ckpt", "checkpoints/best.ckpt")
# What a user, a disk or another program may damage.
TARGETS = (
    *(f"{name}{more}" for name in CHECKPOINTS for more in ("", ".sha256")),
    *("run.json", "plan.json", "results.json", "run.lock", "train.log", ".hydra/overrides.yaml", "events"),
)
# Python in the process of a command: what happens to it in the middle of a training step, and what it waits for there.
AT_STEP = """
import os, time
from pathlib import Path
from vsr.training.modules.base import SRModule
def strike(*arguments, real=SRModule.training_step, count=[0], **options):
    count[0] += 1
    if count[0] == {step}:
        {action}
    return real(*arguments, **options)
SRModule.training_step = strike
def wait():
    Path("waits").touch()
    while not Path("go").exists():
        time.sleep(0.01)
"""
AT_CHANGE = "from tests.kills import kill_before_change; kill_before_change({at})"


@dataclass
class Bench:
    """Two processes that fork commands, and what an uninterrupted run leaves. results: without seconds; files: their names."""

    first: Warm
    second: Warm
    results: dict[str, Any]
    checkpoints: dict[str, Any]
    files: set[str]


def read_outcome(run: Path) -> tuple[dict[str, Any], dict[str, Any], set[str]]:
    """Of a finished run, without seconds: results, the readable checkpoints, and the names of all files."""
    results = without_times(json.loads((run / "results.json").read_text()), run)
    found = {}
    for path in sorted(run.rglob("*.ckpt")):
        try:
            found[str(path.relative_to(run))] = without_times(read_checkpoint(path), run)
        except UserError:  # one that was damaged; whether it may be is asked elsewhere
            continue
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    return results, found, {name for name in names if "events.out" not in name}


def snapshot(folder: Path) -> dict[str, bytes]:
    """The files of a run, without the name of who held the lock last and what a kill left behind."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.lock" and path.suffix != ".part"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


class Runs(RuleBasedStateMachine):
    """One folder `run` and what is known of it: which files are damaged, and which step was saved."""

    bench: Bench

    def __init__(self) -> None:
        super().__init__()
        self.here = Path(tempfile.mkdtemp(prefix="stateful-"))
        self.run = self.here / "run"
        self.damaged: set[str] = set()
        self.scored = 0

    def teardown(self) -> None:
        shutil.rmtree(self.here)

    # What the model knows

    def has(self, name: str) -> bool:
        return (self.run / name).exists()

    def step(self) -> int:
        """The step of the newest checkpoint that can be read."""
        last = CHECKPOINTS[0]
        if not self.has(last) or self.damaged & {last, f"{last}.sha256"}:
            return 0
        return int(read_checkpoint(self.run / last)["global_step"])

    def reasons(self, resume: str) -> list[str]:
        """Why a command with that `resume` may be refused."""
        last = CHECKPOINTS[0]
        finished = self.has("results.json")
        spoilt = [name for name in self.damaged if name.startswith("checkpoints/")] if self.has(last) else []
        if finished:
            return ["finished"] if resume != "auto" else sorted(self.damaged & {"results.json", "plan.json"})
        found = sorted({*spoilt, *self.damaged & {"plan.json"}})
        if resume == "never":
            found += [name for name in ("run.json", "checkpoints") if self.has(name)]
        if resume == "run":
            found += ["run.json"] if "run.json" in self.damaged or not self.has("run.json") else []
            found += [] if self.has(last) else [last]
        # Where a step was saved before, its plan and best epoch belong to it.
        if self.has(last):
            found += [name for name in ("plan.json", CHECKPOINTS[1]) if not self.has(name)]
        return found

    # What is done

    def play(self, resume: str, before: str = "", **environment: str) -> Done:
        """Run the command, and compare what it did with what it may do."""
        reasons, saved, old = self.reasons(resume), self.step(), snapshot(self.run)
        finished = self.has("results.json")
        leftovers = set(self.run.rglob("*.part"))
        arguments = ["resume=run"] if resume == "run" else [*COMMAND, f"resume={resume}"]
        done = self.bench.first.run(self.here, "train", *arguments, before=before, **environment)
        note(f"resume={resume} {before.partition(';')[2] or before[-60:]!r}: status {done.status}, {done.stderr[-300:]}")
        self.judge(done)
        if done.status == 1:
            assert reasons, done.stderr
            assert snapshot(self.run) == old, "a refused command changed files"
            assert set(self.run.rglob("*.part")) <= leftovers
            return done
        assert resume == "auto" or not finished
        if not finished:
            # What was written anew is sound, and a run that restarts or ends writes all of it.
            self.damaged -= {name for name in self.damaged if self.has(name) and self.file(name) != old.get(name)}
        if done.status != -9:
            assert not list(self.run.rglob("*.part")), "temporary files remain"
        if done.status == 0:
            self.compare()
        else:
            assert self.step() >= saved, "steps were lost that had been saved"
        return done

    def file(self, name: str) -> bytes:
        return (self.run / name).read_bytes()

    def judge(self, done: Done) -> None:
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        assert done.status in (0, 1, 143, -9), done.stderr
        if done.status == 1:
            lines = done.stderr.strip().splitlines()
            assert [line for line in lines if line.startswith("error: ")] == lines[-1:], done.stderr

    def compare(self) -> None:
        """A run that came to its end is the uninterrupted one, bit for bit, as far as nothing was damaged since."""
        if "results.json" in self.damaged:
            return
        results, checkpoints, files = read_outcome(self.run)
        assert first_difference(self.bench.results, results) is None
        for name in set(self.bench.checkpoints) & set(checkpoints):
            assert first_difference(self.bench.checkpoints[name], checkpoints[name], name) is None
        optional = {"run.lock", *TARGETS}
        assert files - optional <= self.bench.files
        assert self.bench.files - files <= optional

    @rule(resume=st.sampled_from(["auto", "auto", "run", "never"]))
    def train(self, resume: str) -> None:
        done = self.play(resume)
        assert done.status in (0, 1)
        if not self.reasons("auto") and resume == "auto":
            assert self.has("results.json")

    @rule(resume=st.sampled_from(["auto", "auto", "run", "never"]), count=st.integers(1, EPOCHS * STEPS))
    def killed_at_a_step(self, resume: str, count: int) -> None:
        begins = self.step()
        done = self.play(resume, AT_STEP.format(step=count, action="os.kill(os.getpid(), 9)"))
        if done.status == -9 and not self.damaged:
            before = [step for step in range(1, begins + count) if step % EVERY == 0 and step % STEPS]
            assert self.step() >= max([begins, *before], default=0)

    @rule(resume=st.sampled_from(["auto", "auto", "run", "never"]), at=st.integers(1, 120))
    def killed_before_a_change_of_the_disk(self, resume: str, at: int) -> None:
        self.play(resume, AT_CHANGE.format(at=at))

    @rule(resume=st.sampled_from(["auto", "auto", "run", "never"]), count=st.integers(1, EPOCHS * STEPS))
    def terminated(self, resume: str, count: int) -> None:
        begins = self.step() if resume != "never" else 0
        done = self.play(resume, AT_STEP.format(step=count, action="os.kill(os.getpid(), 15)"))
        if done.status == 143 and not self.damaged:
            assert self.step() == begins + count
            assert "to continue: vsr train resume=run" in done.stderr

    @precondition(lambda self: self.run.exists())
    @rule(
        victim=st.sampled_from(TARGETS),
        how=st.sampled_from(["flip", "cut", "delete"]),
        where=st.floats(0, 1, exclude_max=True),
        mask=st.integers(1, 255),
    )
    def damage(self, victim: str, how: str, where: float, mask: int) -> None:
        paths = sorted(self.run.glob("events.out.*")) if victim == "events" else [self.run / victim]
        for path in [path for path in paths[:1] if path.exists() and path.stat().st_size]:
            raw = bytearray(path.read_bytes())
            at = int(where * len(raw))
            if how == "delete":
                path.unlink()
            elif how == "cut":
                path.write_bytes(raw[:at])
            else:
                raw[at] ^= mask
                path.write_bytes(raw)
            name = str(path.relative_to(self.run))
            self.damaged = self.damaged - {name} if how == "delete" else self.damaged | {name}
            note(f"{how} {name}")

    @rule()
    def evaluate(self) -> None:
        best, old = CHECKPOINTS[1], snapshot(self.run)
        self.scored += 1
        out = f"scored{self.scored}"
        arguments = [f"checkpoint=run/{best}", "strategy=cpu", "report=false", f"hydra.run.dir={out}"]
        done = self.bench.first.run(self.here, "evaluate", *arguments)
        self.judge(done)
        assert snapshot(self.run) == old
        if not self.has(best):
            assert done.status == 1
        elif done.status == 1:
            assert self.damaged & {best, f"{best}.sha256"}, done.stderr
        else:
            rows = json.loads((self.here / out / "results.json").read_text())["rows"]
            if self.has("results.json") and "results.json" not in self.damaged:
                assert_same_scores(rows, [row | {} for row in json.loads(self.file("results.json"))["rows"]])
        assert done.status == 0 or not (self.here / out).exists()

    @precondition(lambda self: not self.has("results.json") and not self.reasons("auto"))
    @rule(second=st.sampled_from(["auto", "run", "never"]))
    def a_second_process_meanwhile(self, second: str) -> None:
        for name in ("waits", "go"):
            (self.here / name).unlink(missing_ok=True)
        refused: list[Done] = []

        def meanwhile() -> None:
            wait_until((self.here / "waits").exists, 60)
            old = snapshot(self.run)
            arguments = ["resume=run"] if second == "run" else [*COMMAND, f"resume={second}"]
            refused.append(self.bench.second.run(self.here, "train", *arguments))
            unchanged.append(snapshot(self.run) == old)
            (self.here / "go").touch()

        unchanged: list[bool] = []
        remaining = EPOCHS * STEPS - self.step()
        if remaining == 0:
            return
        thread = threading.Thread(target=meanwhile)
        thread.start()
        done = self.play("auto", AT_STEP.format(step=1, action="wait()"))
        thread.join()
        assert done.status == 0
        self.judge(refused[0])
        assert refused[0].status == 1
        assert "another run writes here" in refused[0].stderr or second == "run"
        assert unchanged == [True]

    # What always holds

    @invariant()
    def intact_checkpoints_load(self) -> None:
        for path in sorted(self.run.rglob("*.ckpt")) if self.run.exists() else []:
            name = str(path.relative_to(self.run))
            if not self.damaged & {name, f"{name}.sha256"}:
                read_checkpoint(path)

    @invariant()
    def results_are_whole(self) -> None:
        if self.has("results.json") and "results.json" not in self.damaged:
            json.loads(self.file("results.json"))


@pytest.fixture(scope="module")
def bench(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("whole")
    second = Warm()
    done = warm.run(folder, "train", *COMMAND)
    assert done.status == 0, done.stderr
    yield Bench(warm, second, *read_outcome(folder / "run"))
    second.close()


def explore(bench: Bench, examples: int, steps: int) -> None:
    machine = type("Machine", (Runs,), {"bench": bench})
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)  # type: ignore[no-untyped-call]


@pytest.mark.long
def test_a_run_survives_what_happens_to_it_in_any_order(bench: Bench) -> None:
    explore(bench, examples=3, steps=6)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_run_survives_much_more(bench: Bench) -> None:
    explore(bench, examples=100, steps=12)
