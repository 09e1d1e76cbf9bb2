"""`vsr COMMAND`: one line for each mistake, without the seconds that torch takes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import ROOT
from tests.processes import run_process
from vsr.__main__ import main
from vsr.version import __version__


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("export --help", "checkpoint: ???"),
        ("fetch --help", "the two movies of the report"),
        ("docs page", "error: docs page: takes no argument; type vsr docs"),
        ("export checkpoint=a fromat=onnx", "error: fromat: unknown key; did you mean 'format'?"),
        ("train lrr=1", "error: lrr: unknown key"),
        ("upscale --help", "vsr upscale --cfg job"),
        ("train --help", "experiment     null (22 more: vsr train --help all)"),
        ("train --help all", " table1 table2 "),
        ("evaluate checkpoint=missing.ckpt", "error: checkpoint=missing.ckpt: no such file"),
        ("trian", "error: trian: unknown command; did you mean 'train'?"),
        ("", "  vsr train model=fsrcnn data=climate "),
        ("--version", f"vsr {__version__}"),
        ("upscale clip.mp4", "error: clip.mp4: is not KEY=VALUE; type input=clip.mp4"),
        ("upscale model=fsrcnn", "error: model: is no key of upscale; a checkpoint names its own, type checkpoint=FILE"),
        ("train --epochs 3", "error: --epochs: unknown option; type epochs=3"),
        ("train lr=1e-3", "error: lr: unknown key; did you mean 'recipe.rate'?"),
        (
            "evaluate checkpoint=a ensemble=true",
            "error: ensemble: unknown key; did you mean 'members'? docs/guides/uncertainty.md",
        ),
        ("train model=FSRCNN", "error: model=FSRCNN: no such config; did you mean 'fsrcnn'?"),
        ("train epochs=two", "error: epochs=two: must be a whole number"),
        ("train data=small.npy", "error: data=small.npy: no such config; for a file type data=climate data.path=small.npy"),
        ("train epochs", "error: epochs: has no value; type epochs=VALUE"),
        ("train --config-dir nowhere", "error: --config-dir nowhere: no such folder"),
        ("train +trainer.max_epochs=3", "error: trainer.max_epochs: is decided by vsr; type epochs=N"),
        ("train model=tiny", "error: model=tiny: no such config; known: bicubic, "),
        ("train recipe.epochs=3", "error: recipe.epochs: unknown key; type epochs=VALUE"),
        ("train model.width=8", "error: model.width: unknown key; model="),
        ("train data.family=bore", "error: data.family=bore: must be one of tide, bores, turbulence, strong_tide, thin_bores"),
        (
            "train recipe.loss=huber",
            "error: recipe.loss=huber: must be one of mse, l1, charbonnier, not str 'huber'; a class of your",
        ),
        ("train +trainer.nosuch=1", "error: trainer.nosuch: unknown key"),
    ],
)
@pytest.mark.sampled(9)
def test_help_and_mistakes_do_not_wait_for_torch(typed: str, said: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "vsr", *typed.split()]
    done = run_process(command, cwd=ROOT, capture_output=True, text=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert said in done.stdout + done.stderr
    assert done.returncode == (1 if "error" in said else 0)
    assert "vsr.errors" in loaded
    assert not loaded & {"torch", "numpy", "onnx"}


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("train model=fsrcnn data=climate data.path=a.npy", "the file does not say which index of 6x15x16 is time"),
        (
            "train model=fsrcnn data=climate data.path=a.npy data.axes=tyx data.crop=false",
            "15x16 are not divisible by scale=2; type data.crop=true",
        ),
        ("train model=fsrcnn data=climate data.path=*.h5", "no file fits this pattern"),
        ("evaluate checkpoint=any.ckpt data=climate data.path=a.npy", "the file does not say which index of 6x15x16 is time"),
        ("upscale checkpoint=any.ckpt input=a.npy", "type e.g. axes=tyx"),
        ("upscale checkpoint=any.ckpt input=a.npy axes=tyx output=b.npy", "b.npy: exists; type overwrite=true"),
        ("upscale checkpoint=any.ckpt input=a.npy axes=tyx output=c.xyz", "its ending names no format that is written"),
    ],
)
@pytest.mark.sampled(3)
def test_what_is_wrong_with_files_is_said_before_torch_is_imported(tmp_path: Path, typed: str, said: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros((6, 15, 16)))
    for name in ("b.npy", "any.ckpt"):
        (tmp_path / name).touch()
    before = sorted(tmp_path.iterdir())
    command = [sys.executable, "-X", "importtime", "-m", "vsr", *typed.split()]
    done = run_process(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert said in done.stderr
    assert done.returncode == 1
    assert not loaded & {"torch", "lightning"}
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("train", ["model=srcnn", "scale=3", "name=mine", "hydra.run.dir=here"]),
        ("evaluate", ["checkpoint=README.md", "data=phantom", "hydra.run.dir=here"]),
        ("upscale", ["checkpoint=README.md", "input=README.md", "tile=8"]),
    ],
)
@pytest.mark.sampled(2)
def test_the_script_of_the_checkout_is_the_same_command(name: str, typed: list[str]) -> None:
    fronts = ([f"{name}.py"], ["-m", "vsr", name])
    composed, mistaken = (
        [run_process([sys.executable, *front, *typed, *more], cwd=ROOT, capture_output=True, text=True) for front in fronts]
        for more in (["--cfg", "job"], ["nosuch=1"])
    )
    assert composed[0].stdout == composed[1].stdout != ""
    assert (
        mistaken[0].stderr == mistaken[1].stderr == f"error: nosuch: unknown key{mistaken[0].stderr.partition('unknown key')[2]}"
    )
    assert [done.returncode for done in (*composed, *mistaken)] == [0, 0, 1, 1]


def test_an_interrupt_has_a_status_of_its_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(file: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("vsr.models.weights.files.describe_weight_file", interrupt)
    with pytest.raises(SystemExit, match="130"):
        main(["weights", "a.ckpt"])
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("typed", ["evaluate --help", "weights --help"])
def test_a_reader_that_ends_early_is_no_error(typed: str) -> None:
    command = f"set -o pipefail; {sys.executable} -m vsr {typed} | true"
    done = run_process(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
