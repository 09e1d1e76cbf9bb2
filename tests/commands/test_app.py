"""train.py and evaluate.py in processes of their own: results, one line for each mistake, exit status, no empty folders."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from tests.fakes import TINY_CLIMATE, assert_same_scores, moving_pattern, train_here, write_y4m
from tests.training.resume.test_checkpoints import Mark

Script = Callable[..., "subprocess.CompletedProcess[str]"]
TINY = [*TINY_CLIMATE, "recipe.patch=8", "recipe.steps=4", "epochs=2", "strategy=cpu"]


def refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Exit status 1 and one line that says what, where and what to type; no traceback."""
    assert done.returncode == 1, done.stdout + done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    for part in parts:
        assert part in last
    assert "Traceback" not in done.stderr
    assert "Error executing job" not in done.stderr


def test_train_then_evaluate(script: Script, tmp_path: Path) -> None:
    done = script("train", *TINY, "hydra.run.dir='my runs/a=b'", figure=True)
    assert done.returncode == 0, done.stderr
    methods = ("nearest", "bilinear", "bicubic", "linear", "fsrcnn")
    for text in (*methods, "epoch 0 ", "epoch 2 ", "next      vsr evaluate"):
        assert text in done.stdout
    assert "Warning" not in done.stderr
    assert "training" in done.stderr  # the bar
    run = tmp_path / "my runs" / "a=b"
    assert (run / ".hydra" / "config.yaml").exists()
    assert (run / "train.log").exists()
    assert (run / "comparison.png").exists()
    again = script("evaluate", f"checkpoint='{run}/checkpoints/best.ckpt'", "strategy=cpu")
    assert again.returncode == 0, again.stderr
    [evaluated] = (tmp_path / "runs" / "evaluate").iterdir()
    found, expected = (json.loads((folder / "results.json").read_text())["rows"] for folder in (evaluated, run))
    assert_same_scores(found, expected)


@pytest.mark.long
def test_a_sweep_in_one_line(script: Script, tmp_path: Path) -> None:
    done = script("train", "-m", "model=bicubic,fsrcnn_s", "hydra.sweep.dir=sweep", *TINY)
    assert done.returncode == 0, done.stderr
    names = [json.loads((tmp_path / "sweep" / str(i) / "results.json").read_text())["config"]["name"] for i in range(2)]
    assert names == ["bicubic", "fsrcnn_s"]
    assert (tmp_path / "sweep" / "summary.html").exists()
    # TensorBoard's HPARAMS tab has a column for what is swept.
    for i, name in enumerate(names):
        events = EventAccumulator(str(tmp_path / "sweep" / str(i)), size_guidance={"scalars": 0}).Reload()
        shown = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        content = HParamsPluginData.FromString(shown)
        assert content.session_start_info.hparams["model"].string_value == name
        assert content.session_start_info.hparams["data.size"].number_value == 24


@pytest.mark.long
def test_ranks_of_a_job_in_a_sweep_train_what_they_would_alone(script: Script, tmp_path: Path) -> None:
    ranks = ["strategy=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "model=fsrcnn_s", *TINY[:-1]]
    done = script("train", "-m", "recipe.rate=1e-3,1e-2", "hydra.sweep.dir=sweep", *ranks)
    assert done.returncode == 0, done.stderr
    alone = script("train", "recipe.rate=1e-2", "hydra.run.dir=alone", *ranks)
    assert alone.returncode == 0, alone.stderr
    swept, single = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("sweep/1", "alone"))
    assert_same_scores(swept["rows"], [{k: v for k, v in row.items() if k != "train_seconds"} for row in single["rows"]])
    assert swept["config"] == single["config"]


def test_a_real_video(script: Script, movie: Path) -> None:
    done = script("train", "data=movies", f"data.path={movie}", "recipe.patch=8", "recipe.steps=4", "epochs=1", "strategy=cpu")
    assert done.returncode == 0, done.stderr
    assert "movie.y4m, 32x48, bicubic x2; frames: 11 train, 3 val, 6 test" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["lrr=1"], ["lrr: unknown key"]),
        (["sclae=3"], ["sclae: unknown key; did you mean 'scale'?"]),
        (["recipe.rat=1"], ["recipe.rat: unknown key; did you mean 'rate'?"]),
        (["model=fsrcn"], ["model=fsrcn: no such config; did you mean 'fsrcnn'?"]),
        (["modle=fsrcnn"], ["modle: unknown key; did you mean 'model'?"]),
        (["scale=two"], ["scale=two: must be a whole number"]),
        (["scale=5"], ["scale=5", "type scale=4"]),
        (["hparams_search=optuna"], ["hparams_search: a search is of many runs; type -m with it"]),
        (["hydra.mode=MULTIRUN", "seed=0,1"], ["hydra.mode: type -m to sweep"]),
        (["model=srcnn,fsrcnn"], ["model=srcnn,fsrcnn: more than one value; type -m"]),
        (["data=movies", "data.path=none.mp4"], ["data.path=none.mp4: no such file"]),
        (["hydra.run.dir=a=b"], ["hydra.run.dir=a=b: cannot be parsed; type \"hydra.run.dir='a=b'\""]),
        (["model=linear", "model.size=8", *TINY], ["model.size=8: must be odd"]),
        (["hydra.run.dir=/dev/null/x"], ["/dev/null", "type hydra.run.dir=FOLDER"]),
        (["strategy=gpu", *TINY[:-1]], ["strategy=gpu: no GPU here", "type strategy=cpu"]),
        (["+trainer.foo=1", *TINY], ["trainer.foo: unknown key"]),
    ],
    ids=lambda value: " ".join(value)[:40],
)
@pytest.mark.sampled(8)
def test_a_mistake_on_the_command_line(script: Script, tmp_path: Path, arguments: list[str], parts: list[str]) -> None:
    if arguments[0] == "strategy=gpu" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    refused(script("train", *arguments), *parts)
    assert not (tmp_path / "runs").exists(), "an empty run was left behind"


def bad_videos(folder: Path) -> dict[str, tuple[Path, list[str], str]]:
    """Name -> (file, further arguments, what must be said)."""
    text = folder / "text.mp4"
    text.write_text("not a video")
    cut = write_y4m(folder / "cut.y4m", moving_pattern(20))
    cut.write_bytes(cut.read_bytes()[:-700])
    one = write_y4m(folder / "one.y4m", moving_pattern(1))
    few = write_y4m(folder / "few.y4m", moving_pattern(3))
    odd = write_y4m(folder / "odd.y4m", moving_pattern(20, 31, 48))
    flat = write_y4m(folder / "flat.y4m", np.full((20, 32, 48), 7, np.uint8))
    small = write_y4m(folder / "small.y4m", moving_pattern(20, 12, 12))
    return {
        "text": (text, [], "not a readable video"),
        "cut": (cut, [], "cut short"),
        "one": (one, [], "one frame is not a movie"),
        "few": (few, [], "too few for the split"),
        "odd": (odd, ["data.crop=false"], "not divisible by scale=2; type data.crop=true"),
        "indivisible": (odd, ["scale=3", "data.crop=false"], "31x48 are not divisible by scale=3"),
        "flat": (flat, [], "constant field"),
        "small": (small, [], "type recipe.patch=6"),
        "tiny window": (small, ["recipe.patch=4"], "SSIM needs 11x11"),
    }


@pytest.mark.parametrize("fault", ["text", "cut", "one", "few", "odd", "indivisible", "flat", "small", "tiny window"])
@pytest.mark.sampled(4)
def test_a_bad_video(script: Script, tmp_path: Path, fault: str) -> None:
    path, further, message = bad_videos(tmp_path)[fault]
    refused(script("train", "data=movies", f"data.path={path}", "recipe.steps=2", "epochs=1", *further), message, path.name)
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    train_here(folder, TINY[:-1])
    return folder / "checkpoints" / "best.ckpt"


def test_bad_checkpoints(script: Script, tmp_path: Path, checkpoint: Path) -> None:
    refused(script("evaluate"), "checkpoint: needed; type checkpoint=VALUE")
    refused(script("evaluate", "checkpoint=none.ckpt"), "checkpoint=none.ckpt: no such file")
    refused(script("evaluate", "checkpoint=a=1/no ne.ckpt,b.ckpt"), "checkpoint=a=1/no ne.ckpt: no such file")
    raw, content = checkpoint.read_bytes(), torch.load(checkpoint, weights_only=True)
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(raw[: len(raw) // 2])
    refused(script("evaluate", f"checkpoint={cut}"), "cut.ckpt: not a checkpoint, or damaged")

    evil, mark = tmp_path / "evil.ckpt", tmp_path / "mark"
    torch.save({**content, "callbacks": Mark(mark)}, evil)
    refused(script("evaluate", f"checkpoint={evil}"), "evil.ckpt: holds more than tensors", "could run code")
    config = content["vsr"]["config"]
    target = {"_target_": "os.system", "command": f"touch {mark}"}
    torch.save({**content, "vsr": {**content["vsr"], "config": {**config, "degradation": target}}}, evil)
    refused(script("evaluate", f"checkpoint={evil}"), "degradation._target_=os.system: not a class that a config may name")
    assert not mark.exists()

    other = tmp_path / "other.ckpt"
    named = {**config, "model": {"_target_": "vsr.models.srcnn.SRCNN"}}
    torch.save({**content, "vsr": {**content["vsr"], "config": named}}, other)
    refused(script("evaluate", f"checkpoint={other}"), "other.ckpt: its tensors are not those of the network that it names")
    torch.save({**content, "vsr": {}}, other)
    refused(script("evaluate", f"checkpoint={other}"), "its description is incomplete")
    assert not (tmp_path / "runs").exists()
