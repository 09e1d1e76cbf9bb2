"""Runs that are killed, resumed, and compared with one that was left alone.

    python -m tests.kills FOLDER --kills 30 [--chain N] [--moments] [override ...]

Every run is a fork of this process, which has imported everything: the real `train`, without the seconds that imports take.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

OVERRIDES = [
    *("data=climate", "data.size=24", "data.sampling=3", "data.learn=20", "data.test=10"),
    *("recipe.patch=8", "recipe.steps=12", "recipe.batch=4", "epochs=6", "patience=3", "trainer.accelerator=cpu"),
    *("checkpoint_seconds=null", "checkpoint_steps=3"),
]


def forked(work: Callable[[], Any], kill_after: float | None = None) -> int:
    """The status of a fork that does the work; killed after so many seconds."""
    process = os.fork()
    if process == 0:
        status = 99
        try:
            work()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    if kill_after is not None:
        ends = time.monotonic() + kill_after
        while time.monotonic() < ends:
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.001)
        os.kill(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def runner(overrides: list[str], silent: bool = True) -> Callable[[Path], Callable[[], Any]]:
    """folder -> a run in it that goes on where an earlier one was killed."""
    from tests.fakes import compose_config
    from vsr.config.check import check_config
    from vsr.training.run import train

    cfg = compose_config("train", [*overrides, "resume=auto"])
    check_config(cfg)

    def of(folder: Path) -> Callable[[], Any]:
        def work() -> Any:
            if silent:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            with (folder.parent / f"{folder.name}.log").open("a") as log:
                os.dup2(log.fileno(), 2)
            logging.basicConfig(level=logging.INFO, format="%(message)s")
            return train(cfg, folder)

        return work

    return of


def counted_kill(work: Callable[[], Any], at: int) -> Callable[[], Any]:
    """The same, killed right before the call number `at` of what changes the disk."""

    def killed() -> Any:
        kill_before_change(at)
        return work()

    return killed


def kill_before_change(at: int) -> None:
    """From now on, kill this process right before the call number `at` of what changes the disk."""
    calls = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        return call

    os.fsync = lambda handle: None  # a kill loses nothing that the operating system has
    for name in ("fsync", "replace", "unlink", "open"):
        setattr(os, name, counted(getattr(os, name)))
    torch.save = counted(torch.save)


def outcome(folder: Path) -> dict[str, Any]:
    """All that must be the same: results and every checkpoint, without seconds and without the folder's name."""
    from vsr.training.resume.checkpoints import read_checkpoint

    found: dict[str, Any] = {"results": without_times(json.loads((folder / "results.json").read_text()), folder)}
    for path in sorted(folder.rglob("*.ckpt")):
        found[str(path.relative_to(folder))] = without_times(read_checkpoint(path), folder)
    found["files"] = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and "events.out" not in p.name)
    return found


def without_times(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        # The last one counts the batches of the scoring before training, which a resumed process has not repeated.
        timed = ("seconds", "train_seconds", "stage_seconds", "spent", "validate_loop", "provenance")
        return {str(k).replace(str(folder), ""): without_times(v, folder) for k, v in value.items() if k not in timed}
    if isinstance(value, (list, tuple)):
        return [without_times(item, folder) for item in value]
    return value.replace(str(folder), "") if isinstance(value, str) else value


def first_difference(a: Any, b: Any, where: str = "") -> str | None:
    """Return the first place in which two outcomes differ by a bit or more; None if they are equal."""
    if isinstance(a, dict) and isinstance(b, dict):
        if set(a) != set(b):
            return f"{where}: {sorted(map(str, set(a) ^ set(b)))[:5]} on one side only"
        return next((d for key in a if (d := first_difference(a[key], b[key], f"{where}/{key}"))), None)
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return f"{where}: {len(a)} and {len(b)} long"
        return next(
            (d for i, (x, y) in enumerate(zip(a, b, strict=True)) if (d := first_difference(x, y, f"{where}[{i}]"))), None
        )
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
        return None if same else f"{where}: tensors differ"
    return None if type(a) is type(b) and (a == b or (a != a and b != b)) else f"{where}: {a!r} and {b!r}"


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a run's training, by step: files of one second are read in any order."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith(("train/", "val/"))]
    return {tag: sorted((event.step, event.value) for event in events.Scalars(tag)) for tag in tags}


def bar(folder: Path, kills: int, chain: int, seed: int, overrides: list[str]) -> list[str]:
    """Kill `kills` runs at random moments, each up to `chain` times, resume them; what went wrong."""
    rng, of, wrong = random.Random(seed), runner(overrides), []
    whole = folder / "whole"
    begun = time.monotonic()
    assert forked(of(whole)) == 0, (folder / "whole.log").read_text()[-3000:]
    took = time.monotonic() - begun
    expected = outcome(whole)
    print(f"uninterrupted: {took:.1f} s, {len(expected['results']['history']) - 1} epochs", flush=True)
    done = 0
    while done < kills:
        run, moments = folder / f"killed{done}", []
        for _ in range(rng.randint(1, chain)):
            moments.append(rng.uniform(0.0, took))
            if forked(of(run), moments[-1]) != -signal.SIGKILL:
                break
        if (run / "results.json").exists() and len(moments) == 1:
            shutil.rmtree(run)  # too late: it was finished, and what is there would never be killed
            continue
        assert forked(of(run)) == 0, (folder / f"{run.name}.log").read_text()[-3000:]
        difference = first_difference(expected, outcome(run))
        lines = (folder / f"{run.name}.log").read_text().splitlines()
        steps = ", ".join(line.split()[2].strip(",") for line in lines if line.startswith("resume   "))
        times = ", ".join(f"{moment:.2f}" for moment in moments)
        said = difference or "bit for bit the same"
        print(f"{done}: killed after {times} s, went on from step {steps or '0'}: {said}", flush=True)
        wrong += [f"{run.name}: {difference}"] if difference else []
        done += 1
    return wrong


def every_moment(folder: Path, first: int, last: int, step: int, overrides: list[str]) -> list[str]:
    """Kill a run before each of its changes of the disk number first, first + step, ..., resume, compare."""
    of, wrong = runner(overrides), []
    if not (folder / "whole" / "results.json").exists():
        assert forked(of(folder / "whole")) == 0
    expected = outcome(folder / "whole")
    for at in range(first, last, step):
        run = folder / f"moment{at}"
        status = forked(counted_kill(of(run), at))
        if status == 0:
            break
        assert status == -signal.SIGKILL, (folder / f"{run.name}.log").read_text()[-3000:]
        assert forked(of(run)) == 0, (folder / f"{run.name}.log").read_text()[-3000:]
        difference = first_difference(expected, outcome(run))
        print(f"before change {at} of the disk: {difference or 'bit for bit the same'}", flush=True)
        wrong += [f"{run.name}: {difference}"] if difference else []
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--chain", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--moments", type=int, nargs=3, metavar=("FIRST", "LAST", "STEP"))
    parser.add_argument("overrides", nargs="*", default=[])
    given = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    overrides = [*OVERRIDES, *given.overrides]
    # The random moments first: they are within the time that the run takes when it is left alone.
    wrong = bar(given.folder, given.kills, given.chain, given.seed, overrides) if given.kills else []
    wrong += every_moment(given.folder, *given.moments, overrides) if given.moments else []
    print("all the same" if not wrong else "\n".join(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
