"""A run that was interrupted and resumed ends as one that was not, bit for bit."""

from __future__ import annotations

import copy
import json
import os
import signal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fakes import TINY_CLIMATE, train_here
from tests.kills import first_difference, outcome, scalars
from tests.warm import Warm
from vsr.data.frames import LrHrPair, MemoryFrames
from vsr.data.loaders import PatchLoader
from vsr.errors import UserError
from vsr.system.lock import FolderInUse, locked_folder
from vsr.system.signals import Stopped
from vsr.training.modules.base import SRModule
from vsr.training.resume.checkpoints import read_checkpoint
from vsr.training.resume.state import check_same_resumed_run

QUICK = [*TINY_CLIMATE, "recipe.patch=8", "recipe.batch=4", "recipe.steps=5", "epochs=4", "checkpoint_seconds=null"]
STAGES = [*QUICK, "model=joint", "init=two_stage", "init.epochs=2", "epochs=2", "recipe.batch=2"]


class Steps:
    """Counts training steps, and sends this process a signal in the middle of chosen ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.at, self.signal = 0, 0, signal.SIGTERM
        real = SRModule.training_step

        def step(module: SRModule, batch: Any, batch_idx: int) -> Any:
            self.count += 1
            if self.count == self.at:
                os.kill(os.getpid(), self.signal)
            return real(module, batch, batch_idx)

        monkeypatch.setattr(SRModule, "training_step", step)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


@pytest.mark.parametrize(
    ("overrides", "stops"),
    [
        pytest.param(QUICK, (3, 5, 13), id="in mid-epoch, after an epoch's last step, twice in a run"),
        pytest.param([*QUICK, "recipe=report", "recipe.batch=2", "epochs=3"], (5,), id="whole frames, no averaged weights"),
        pytest.param(
            [*QUICK, "patience=1", "recipe.rate=0.3", "epochs=9"], (7, 10), id="early stopping, after its last step too"
        ),
        pytest.param(
            [*QUICK, "model=resnet", "model.width=6", "model.blocks=1", "members=2", "epochs=3"], (3, 10), id="an ensemble"
        ),
        pytest.param([*STAGES], (7, 13, 23), id="first stage, second stage, both together"),
    ],
)
@pytest.mark.sampled(3)
def test_a_run_that_was_stopped_and_resumed_is_the_same_to_the_bit(
    overrides: list[str], stops: tuple[int, ...], steps: Steps, tmp_path: Path
) -> None:
    train_here(tmp_path / "whole", overrides)
    total, steps.count = steps.count, 0
    for steps.at in stops:
        with pytest.raises(Stopped):
            train_here(tmp_path / "parts", [*overrides, "resume=auto"])
        assert steps.count == steps.at  # the step at work is finished and saved, no further one is made
    train_here(tmp_path / "parts", [*overrides, "resume=auto"])
    assert steps.count == total  # none is made twice, none is left out
    assert first_difference(outcome(tmp_path / "whole"), outcome(tmp_path / "parts")) is None
    assert scalars(tmp_path / "parts") == scalars(tmp_path / "whole")


def test_a_comparison_of_outcomes_notices_one_bit(steps: Steps, tmp_path: Path) -> None:
    train_here(tmp_path, [*QUICK, "epochs=1"])
    a, b = outcome(tmp_path), outcome(tmp_path)
    assert first_difference(a, b) is None
    weight = b["checkpoints/last.ckpt"]["current_model_state"]["network.network.out.weight"]
    weight.view(torch.int32).flatten()[0] ^= 1
    assert first_difference(a, b) == "/checkpoints/last.ckpt/current_model_state/network.network.out.weight: tensors differ"
    other = outcome(tmp_path)
    other["results"]["history"][-1]["val/psnr"] += 1e-12
    assert "history[1]/val/psnr" in str(first_difference(a, other))


def test_checkpoints_say_what_they_are(tmp_path: Path) -> None:
    train_here(tmp_path, [*QUICK, "epochs=1", "seed=3"])
    content = read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")
    card = content["vsr"]
    assert card["seed"] == 3
    assert card["axes"]["clips"] == "B,C,T,H,W"
    assert "patch: 8" in card["config_text"]
    assert card["config"]["degradation"]["_target_"].startswith("vsr.degradations.")
    assert len(card["data"]["sha256"]) == 64
    assert card["versions"]["torch"] == version("torch")
    assert "normalizer.low" in content["state_dict"]


def test_without_an_unfinished_run_auto_starts_and_a_name_is_refused(tmp_path: Path) -> None:
    results = train_here(tmp_path / "run", [*QUICK, "epochs=1", "resume=auto"])
    before = (tmp_path / "run" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    again = train_here(tmp_path / "run", [*QUICK, "epochs=1", "resume=auto"])  # finished: nothing is trained
    assert again == json.loads(json.dumps(results))
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="holds a finished run with epochs=1"):
        train_here(tmp_path / "run", [*QUICK, "epochs=2", "resume=auto"])
    with pytest.raises(UserError, match="holds a run already"):
        train_here(tmp_path / "run", [*QUICK, "epochs=1"])
    (tmp_path / "empty").mkdir()
    for path, said in [
        (tmp_path, rf"is a folder of runs; type resume={tmp_path}/run"),
        (tmp_path / "run", "the run is finished, there is nothing to resume"),
        (tmp_path / "empty", "holds no run, there is nothing to resume"),
        (tmp_path / "missing", "there is no such folder or checkpoint"),
        (tmp_path / "run" / "results.json", "is no checkpoint in the folder of a run"),
    ]:
        with pytest.raises(UserError, match=said):
            train_here(tmp_path / "other", [*QUICK, f"resume={path}"])


def test_an_unfinished_run_goes_on_only_as_what_it_is(steps: Steps, tmp_path: Path) -> None:
    run, steps.at = tmp_path / "run", 12
    with pytest.raises(Stopped) as stopped:
        train_here(run, QUICK)
    assert stopped.value.status == 143
    assert stopped.value.message == f"stopped by SIGTERM; saved at step 12; to continue: vsr train resume={run}"
    with pytest.raises(UserError, match=f"holds a run already, an unfinished one; type resume={run} to go on"):
        train_here(run, QUICK)
    with pytest.raises(UserError, match=r"was saved with recipe.rate=0.004, not 0.01; type recipe.rate=0.004 to continue"):
        train_here(run, [*QUICK, "recipe.rate=0.01", "resume=auto"])
    with pytest.raises(UserError, match="was saved with seed=0, not 1"):
        train_here(run, [*QUICK, "seed=1", f"resume={run}"])
    with pytest.raises(UserError, match="goes on in the folder of that run, not in"):
        train_here(tmp_path / "other", [*QUICK, f"resume={run}"])
    content = read_checkpoint(run / "checkpoints" / "last.ckpt")
    content["vsr"]["data"]["sha256"] = "0" * 64
    (run / "checkpoints" / "last.ckpt.sha256").unlink()
    torch.save(content, run / "checkpoints" / "last.ckpt")
    with pytest.raises(UserError, match="the data have changed since"):
        train_here(run, [*QUICK, "resume=auto"])
    # From the best epoch, whose checkpoint is whole, the same run comes out once more.
    train_here(run, [*QUICK, f"resume={run / 'checkpoints' / 'best.ckpt'}"])
    train_here(tmp_path / "whole", QUICK)
    assert first_difference(outcome(tmp_path / "whole"), outcome(run)) is None


def test_a_recipe_in_the_words_of_before_is_the_same_run(tmp_path: Path) -> None:
    """residual was true or false, and the terms of the loss were not there."""
    train_here(tmp_path, [*QUICK, "epochs=1"])
    content = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    card = copy.deepcopy(content["vsr"])
    recipe, old = content["vsr"]["config"]["recipe"], tmp_path / "old.ckpt"
    recipe["residual"] = True
    for key in ("gradient", "spectral", "temporal", "finetune"):
        del recipe[key]
    torch.save(content, old)
    assert check_same_resumed_run(old, card) == 5
    recipe["residual"] = False
    torch.save(content, old)
    with pytest.raises(
        UserError, match="was saved with recipe.residual=none, not bicubic; type recipe.residual=none to continue"
    ):
        check_same_resumed_run(old, card)
    recipe["residual"] = "linear"
    torch.save(content, old)
    with pytest.raises(UserError, match="old.ckpt: recipe.residual=linear is gone"):
        check_same_resumed_run(old, card)


def test_a_run_goes_on_in_a_folder_that_was_moved(steps: Steps, tmp_path: Path) -> None:
    train_here(tmp_path / "whole", [*QUICK, "recipe.rate=0.1"])
    steps.at = steps.count + 12
    with pytest.raises(Stopped):
        train_here(tmp_path / "before", [*QUICK, "recipe.rate=0.1"])
    (tmp_path / "before").rename(tmp_path / "after")
    train_here(tmp_path / "after", [*QUICK, "recipe.rate=0.1", f"resume={tmp_path / 'after'}"])
    assert first_difference(outcome(tmp_path / "whole"), outcome(tmp_path / "after")) is None


def test_a_checkpoint_of_weights_alone_is_no_run(steps: Steps, tmp_path: Path) -> None:
    steps.at = 7
    with pytest.raises(Stopped):
        train_here(tmp_path, QUICK)
    last = tmp_path / "checkpoints" / "last.ckpt"
    content = read_checkpoint(last)
    del content["resume"]
    (tmp_path / "checkpoints" / "last.ckpt.sha256").unlink()
    torch.save(content, last)
    with pytest.raises(UserError, match=r"holds weights, not a run; type init=checkpoint weights="):
        train_here(tmp_path, [*QUICK, "resume=auto"])
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(UserError, match="not a checkpoint, or damaged"):
        train_here(tmp_path, [*QUICK, "resume=auto"])


def test_two_runs_in_one_folder_are_refused_and_the_first_goes_on(steps: Steps, tmp_path: Path) -> None:
    with locked_folder(tmp_path), pytest.raises(FolderInUse, match=f"another run writes here \\(process {os.getpid()} on "):
        train_here(tmp_path, [*QUICK, "resume=auto"])
    assert steps.count == 0
    train_here(tmp_path, [*QUICK, "epochs=1", "resume=auto"])  # the file that is left behind locks nothing


@pytest.mark.parametrize("done", [0, 1, 4, 7])
def test_a_loader_goes_on_where_it_was(done: int) -> None:
    hr = torch.rand(9, 1, 24, 24)

    def loader() -> PatchLoader:
        frames = MemoryFrames(LrHrPair(hr[..., ::2, ::2], hr), ((0, 9),))
        return PatchLoader(frames, patch=5, batch=2, steps=7, symmetries=("flip_x", "transpose"), seed=4)

    whole = loader()
    expected = [batch for _ in range(3) for batch in whole]
    first, second = loader(), loader()
    for _ in first:
        pass
    epoch = iter(first)
    for _ in range(done):
        next(epoch)
    second.load_state_dict(first.state_dict())
    rest = [batch for _ in range(3 if done == 0 else 2) for batch in second][: 21 - 7 - done]
    assert len(rest) == 14 - done
    assert all(torch.equal(a.lr, b.lr) and torch.equal(a.hr, b.hr) for a, b in zip(rest, expected[7 + done :], strict=True))


def test_killed_while_training_and_inside_checkpoints_it_resumes_to_the_same_bits(warm: Warm, tmp_path: Path) -> None:
    arguments = [str(tmp_path), "--kills", "1", "--moments", "40", "100", "54", "epochs=3"]
    done = warm.run(tmp_path, "tests.kills", *arguments, limit=200)
    assert done.status == 0, done.stdout + done.stderr
    assert done.stdout.count("bit for bit the same") == 3
    assert "went on from step" in done.stdout


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    "arguments",
    [
        ["--kills", "30", "--chain", "2"],
        ["--kills", "0", "--moments", "1", "400", "1", "epochs=2", "recipe.steps=6"],
        ["--kills", "10", "--chain", "3", "model=joint", "init=two_stage", "init.epochs=2", "epochs=2", "recipe.batch=2"],
        ["--kills", "10", "--chain", "3", "model=srnet3d", "recipe.batch=2", "tune.freeze=[body.0]", "tune.freeze_epochs=2"],
    ],
    ids=["thirty", "every moment", "stages", "movie"],
)
def test_killed_at_thirty_random_moments_and_at_every_change_of_the_disk(
    arguments: list[str], warm: Warm, tmp_path: Path
) -> None:
    done = warm.run(tmp_path, "tests.kills", str(tmp_path), *arguments, limit=3000)
    assert done.status == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "all the same"


def test_the_weights_that_a_run_began_with_may_not_get_lost(steps: Steps, tmp_path: Path) -> None:
    """Where no epoch betters them they are the result."""
    train_here(tmp_path / "first", QUICK)
    weights = tmp_path / "first" / "checkpoints" / "best.ckpt"
    worse = [*QUICK, "init=checkpoint", f"weights={weights}", "recipe.rate=0.3", "recipe.ema=null"]
    steps.count, steps.at = 0, 8
    run = tmp_path / "run"
    with pytest.raises(Stopped):
        train_here(run, worse)
    steps.at = -1
    (run / "checkpoints" / "start.ckpt").rename(tmp_path / "kept.ckpt")
    with pytest.raises(UserError, match=r"start.ckpt: is missing, and no epoch is better than the initial weights"):
        train_here(run, [*worse, f"resume={run}"])
    (tmp_path / "kept.ckpt").rename(run / "checkpoints" / "start.ckpt")
    results = train_here(run, [*worse, f"resume={run}"])
    assert results["history"][0]["val/psnr"] == max(row["val/psnr"] for row in results["history"])
    assert read_checkpoint(run / "checkpoints" / "best.ckpt")["global_step"] == 0


def test_a_checkpoint_that_a_kill_left_without_its_checksum_gets_one(tmp_path: Path) -> None:
    train_here(tmp_path, [*QUICK, "epochs=1"])
    (tmp_path / "results.json").unlink()
    before = {path: path.read_text() for path in tmp_path.rglob("*.sha256")}
    assert len(before) == 2
    for path in before:
        path.unlink()
    train_here(tmp_path, [*QUICK, "epochs=1", f"resume={tmp_path}"])
    assert {path: path.read_text() for path in tmp_path.rglob("*.sha256")} == before
