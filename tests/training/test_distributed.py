"""Several processes: they give what one process gives, each does its share and no more, and none is left behind."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Script
from tests.fakes import ROOT, TINY_CLIMATE, compose_config, moving_pattern, train_here
from tests.processes import alive, deadline, run_process, start_process, wait_until
from tests.warm import Warm
from vsr.config.check import check_config
from vsr.data.frames import FrameSet, LrHrPair, MemoryFrames, MixedFrames
from vsr.data.lazy_frames import LazyFrames
from vsr.data.loaders import ClipLoader, FrameLoader, PatchLoader
from vsr.system.ranks import assign_sequences_to_ranks, join_ranks, leave_ranks, rank_share, wait_for_all_ranks

TASKS = Path("/proc/self/task")
TWO = ["strategy=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
QUICK = [*TINY_CLIMATE, "recipe.patch=8", "~logger", "patience=null"]
LAND = ["data=climate", "data.axes=tyx", "data.mask=true", "data.bounds=[-1,300]", "recipe.patch=8", "~logger"]
# Uneven shares, averaged weights, clipping; masks that differ from clip to clip; networks that are trained one after the other,
# with weights that thaw; frames that stay in their file; an epoch that early stopping ends.
CASES = {
    "uneven": [*QUICK, "recipe.batch=5", "recipe.steps=null", "epochs=4", "recipe.clip=0.1"],
    "masked": [*LAND, "recipe.batch=3", "recipe.steps=5", "epochs=2", "recipe.loss=l1"],
    "stages": [
        *[*QUICK, "model=joint", "init=two_stage", "init.epochs=1", "epochs=2", "recipe.batch=3", "recipe.steps=3"],
        *["tune.freeze=[first.features]", "tune.freeze_epochs=1"],
    ],
    "stored": [*LAND, "data.memory=0.001", "recipe.batch=4", "recipe.steps=4", "epochs=1"],
    "stopped": [
        *QUICK,
        "recipe.steps=2",
        "epochs=9",
        "patience=0",
        "recipe.schedule=constant",
        "recipe.rate=0.03",
        "recipe.ema=null",
    ],
}


def land(path: Path) -> Path:
    """A movie of 24x32 with gaps that move."""
    field = moving_pattern(24, 24, 32).astype(np.float32)
    for t, frame in enumerate(field):
        frame[:10, t : t + 6] = np.nan
    np.save(path, field)
    return path


def overrides(case: str, folder: Path) -> list[str]:
    more = [f"data.path={folder}/land.npy"] if CASES[case][: len(LAND)] == LAND else []
    return ["trainer.accelerator=cpu", *CASES[case], *more]


def thread_policies() -> list[tuple[str, int]]:
    """Name and scheduling policy of each thread of this process."""
    return [(each.joinpath("comm").read_text().strip(), os.sched_getscheduler(int(each.name))) for each in TASKS.iterdir()]


def forked(folder: str) -> None:
    """Run both ranks as forks of this process, which has imported everything and has no threads."""
    ranks = [os.fork() or rank(number, folder) for number in range(2)]
    for _ in ranks:
        _, status = os.wait()
        if status:  # the other one would wait for it
            os.killpg(0, signal.SIGKILL)


def rank(number: int, folder: str) -> NoReturn:
    """Run a rank and exit."""
    try:
        process(number, folder)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ["LOCAL_RANK"] = str(rank)
    join_ranks("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    policies = thread_policies()
    from vsr.training.run import run_training

    for case in json.loads(Path(folder, "cases.json").read_text()):
        cfg = compose_config("train", [*overrides(case, Path(folder)), *TWO])
        check_config(cfg)
        told = run_training(cfg, Path(folder) / f"two-{case}")
        assert bool(told) == (rank == 0)
    wait_for_all_ranks()
    leave_ranks()
    Path(folder, f"threads-{rank}.json").write_text(json.dumps([policies, thread_policies()]))


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Path:
    """Runs of two processes: two-CASE, for the cases that this session tests."""
    folder = tmp_path_factory.mktemp("distributed")
    land(folder / "land.npy")
    tested = [item.callspec.params.get("case") for item in request.session.items if hasattr(item, "callspec")]
    (folder / "cases.json").write_text(json.dumps([case for case in CASES if case in tested] or ["stored"]))
    done = warm.run(folder, "tests.training.test_distributed", str(folder), limit=200)
    assert done.status == 0, done.stdout + done.stderr
    return folder


def near(value: Any) -> Any:
    """To 1e-5, or to the last bits of float32 where a value is large."""
    return pytest.approx(value, abs=1e-5, rel=1e-6)


def assert_same_scores(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Of every row and of every epoch."""
    assert len(found["rows"]) == len(expected["rows"])
    for mine, theirs in zip(found["rows"], expected["rows"], strict=True):
        for key, value in theirs.items():
            if key != "train_seconds":
                assert mine[key] == (near(value) if isinstance(value, float) else value), (mine, key)
    for mine, theirs in zip(found["history"], expected["history"], strict=True):
        assert mine == near(theirs)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.sampled(1)
def test_two_processes_train_and_score_as_one_does(case: str, folder: Path) -> None:
    alone = train_here(folder / f"one-{case}", overrides(case, folder))
    together = json.loads((folder / f"two-{case}" / "results.json").read_text())
    assert_same_scores(together, alone)
    assert together["stages"].keys() == alone["stages"].keys()
    for name, stage in alone["stages"].items():
        for mine, theirs in zip(together["stages"][name]["history"], stage["history"], strict=True):
            assert mine == pytest.approx(theirs, abs=1e-5)
    assert len(alone["history"]) > 2 or case == "stored"
    assert case != "stopped" or len(alone["history"]) < 9


def test_the_thread_that_waits_for_the_network_does_not_take_the_core_from_the_others(folder: Path) -> None:
    threads = json.loads((folder / "threads-0.json").read_text())[0]
    assert [name for name, policy in threads if policy == os.SCHED_BATCH] == ["gloo_tcp_loop"]


@pytest.mark.parametrize("rank", [0, 1])
def test_the_threads_of_a_group_end_with_it(rank: int, folder: Path) -> None:
    """A thread that is left when the interpreter exits may abort the process."""
    inside, after = ([name for name, _ in threads] for threads in json.loads((folder / f"threads-{rank}.json").read_text()))
    assert [name for name in inside if "gloo" in name]
    assert not [name for name in after if "gloo" in name]


# --- the laws of sharing ----------------------------------------------------------------------------------------------

worlds = st.integers(1, 9)


@given(st.integers(0, 200), worlds)
def test_shares_are_consecutive_complete_and_equal_but_for_one(count: int, world: int) -> None:
    shares = [rank_share(count, rank, world) for rank in range(world)]
    assert [i for a, b in shares for i in range(a, b)] == list(range(count))
    sizes = [b - a for a, b in shares]
    assert max(sizes) - min(sizes) <= 1
    assert not count or sizes[0]


@given(st.lists(st.integers(0, 50), max_size=20), worlds)
def test_whole_things_go_to_one_process_each_in_order(lengths: list[int], world: int) -> None:
    owners = assign_sequences_to_ranks(lengths, world)
    assert len(owners) == len(lengths)
    assert owners == sorted(owners)
    assert all(0 <= owner < world for owner in owners)
    # No process has more than its part and one thing.
    for rank in range(world):
        mine = sum(length for length, owner in zip(lengths, owners, strict=True) if owner == rank)
        assert mine <= sum(lengths) / world + max(lengths, default=0) + 1e-9


def frames_of(kind: str, lengths: list[int]) -> FrameSet:
    """Frames that hold their own number."""
    count = sum(lengths)
    hr = torch.arange(float(count)).reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    ends = np.cumsum([0, *lengths]).tolist()
    segments = tuple(itertools.pairwise(ends))
    pair = LrHrPair(hr[..., ::2, ::2].contiguous(), hr)
    if kind == "memory":
        return MemoryFrames(pair, segments)
    if kind == "mixed":
        return MixedFrames([MemoryFrames(pair[a:b], ((0, b - a),)) for a, b in segments])
    stored = LazyFrames(lambda a, b: pair[a:b], segments, pair[:1])
    stored.block = 3
    return stored


def of_rank(monkeypatch: pytest.MonkeyPatch, rank: int, world: int) -> None:
    monkeypatch.setattr("vsr.data.loaders.current_rank", lambda: rank)
    monkeypatch.setattr("vsr.data.loaders.rank_count", lambda: world)


def scored(loader: FrameLoader | ClipLoader) -> list[float]:
    return [float(x) for clip in loader for x in clip.hr[:, 0, :, 0, 0].flatten()]


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["memory", "mixed", "stored"]),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    world=worlds,
    step=st.integers(1, 6),
    whole=st.booleans(),
)
def test_every_frame_is_scored_by_one_process_and_in_order(
    kind: str, lengths: list[int], world: int, step: int, whole: bool
) -> None:
    frames = frames_of(kind, lengths)
    loaders = [
        lambda: FrameLoader(frames, step),
        lambda: ClipLoader(frames, context=1, step=step, whole=whole),
    ]
    for make in loaders:
        with pytest.MonkeyPatch.context() as patch:
            of_rank(patch, 0, 1)
            alone = scored(make())
            shares = []
            for rank in range(world):
                of_rank(patch, rank, world)
                loader = make()
                if isinstance(loader, ClipLoader) and hasattr(loader, "length"):
                    loader.length = 2
                shares.append(scored(loader))
                following = [(clip.follows, int(clip.position)) for clip in loader] if isinstance(loader, ClipLoader) else []
                seen = set(shares[-1])
                assert all(not follows or position - 1 in seen for follows, position in following)
        assert [x for found in shares for x in found] == alone
        assert len(set(alone)) == len(alone)


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["memory", "mixed", "stored"]),
    world=worlds,
    batch=st.integers(1, 7),
    steps=st.one_of(st.none(), st.integers(1, 4)),
)
def test_the_batches_of_all_processes_are_those_of_one(kind: str, world: int, batch: int, steps: int | None) -> None:
    frames = frames_of(kind, [4, 7])

    def drawn() -> list[tuple[list[float], float]]:
        loader = PatchLoader(frames, patch=2, batch=batch, steps=steps, seed=3)
        return [([float(x) for x in clip.hr[:, 0, 0, 0, 0]], clip.share) for clip in loader]

    with pytest.MonkeyPatch.context() as patch:
        of_rank(patch, 0, 1)
        alone = drawn()
        shares = []
        for rank in range(world):
            of_rank(patch, rank, world)
            shares.append(drawn())
    assert all(part == 1 for _, part in alone)
    for step, (whole, _) in enumerate(alone):
        mine = [found[step] for found in shares]
        assert sorted(x for clips, part in mine if part for x in clips) == sorted(whole)
        assert sum(part for _, part in mine) == pytest.approx(world)
        for clips, part in mine:  # what is there is weighed by how many there are
            assert part == pytest.approx(len(clips) * world / len(whole)) or (part == 0 and len(clips) == 1)


# --- the command line -------------------------------------------------------------------------------------------------

COMMAND = [*TINY_CLIMATE, "recipe.patch=8", "recipe.steps=4", "epochs=2"]


def test_the_script_starts_its_processes_and_writes_once(script: Script, tmp_path: Path) -> None:
    alone = train_here(tmp_path / "one", [*COMMAND, "epochs=2"], figure=True)
    done = script("train", *COMMAND, *TWO, "hydra.run.dir=two", figure=True)
    assert done.returncode == 0, done.stderr
    assert_same_scores(json.loads((tmp_path / "two" / "results.json").read_text()), alone)
    assert done.stdout.count("over bicubic") == 1
    assert done.stdout.count("results   two/results.json") == 1
    names = sorted({path.name.split(".")[0] for path in (tmp_path / "two").iterdir()} - {"", "train"})
    assert names == sorted({path.name.split(".")[0] for path in (tmp_path / "one").iterdir()} - {""})
    assert [path.name for path in (tmp_path / "two").glob("*.log")] == ["train.log"]
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


def children(pid: int) -> list[int]:
    """Processes whose parent it is."""
    done = run_process(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize("sent", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
@pytest.mark.long
def test_killing_the_first_process_leaves_none_behind(sent: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), *COMMAND, *TWO, "epochs=100000", "patience=null", "hydra.run.dir=run"]
    with (tmp_path / "log").open("w") as log:
        running = start_process(command, cwd=tmp_path, stdout=log, stderr=log)
        wait_until((tmp_path / "run" / "checkpoints" / "last.ckpt").exists, 60, running)
        others = children(running.pid)
        assert others
        running.send_signal(sent)
        running.wait(deadline(30))
    wait_until(lambda: not any(map(alive, others)), 10)


@pytest.mark.long
def test_the_slurm_script_runs_on_two_nodes(tmp_path: Path) -> None:
    """Two torchruns on this machine that meet as two nodes do, of a process each."""
    node = {**os.environ, "LOCAL": "1", "SLURM_NNODES": "2", "MEET_HOST": "localhost", "MEET_PORT": str(free_port())}
    node |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = [str(ROOT / "docs/guides/slurm/train.sh"), *COMMAND, "trainer.accelerator=cpu", f"hydra.run.dir={tmp_path}/two"]
    nodes = [
        start_process(command, cwd=ROOT, env=node, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    told = [process.communicate(timeout=deadline(280)) for process in nodes]
    assert [process.returncode for process in nodes] == [0, 0], told
    assert sum(out.count("over bicubic") for out, _ in told) == 1
    alone = train_here(tmp_path / "one", [*COMMAND, "epochs=2"], figure=True)
    assert_same_scores(json.loads((tmp_path / "two" / "results.json").read_text()), alone)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    forked(sys.argv[1])
