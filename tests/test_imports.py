"""Measure the imports at the start of a command; `make lint` only reads the imports of all modules."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.fakes import ROOT
from tests.processes import run_process

OLD = ROOT / "tests" / "data_files" / "old_layout"  # with a checkpoint of an earlier version


@pytest.mark.parametrize(
    "arguments",
    [
        ("train.py", "--help"),
        ("train.py", "lrr=1"),
        ("train.py", "model=fsrcn"),
        ("train.py", "recipe.loss=l3"),
        ("train.py", "init=authors", "weights=missing.mat"),
        ("train.py", "tune.freeze_epochs=2"),
        ("train.py", "--cfg", "job"),
        ("train.py", "-m", "recipe.rate=1,2", "lrr=1"),
        ("train.py", "-m", "hparams_search=optuna", "hparams_search.trials=0"),
        ("evaluate.py", "--help"),
        ("evaluate.py",),
        ("evaluate.py", "checkpoint=missing.ckpt"),
        ("upscale.py", "--help"),
        ("upscale.py", "checkpoint=missing.ckpt", "input=missing.nc"),
        ("upscale.py", "checkpoint=a.ckpt", "input=b.nc", "precison=bf16"),
    ],
    ids=" ".join,
)
@pytest.mark.sampled(5)
def test_help_and_mistakes_do_not_import_torch(arguments: tuple[str, ...], tmp_path: object) -> None:
    script = str(ROOT / arguments[0])
    done = run_process(
        [sys.executable, "-X", "importtime", script, *arguments[1:]],
        cwd=str(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "vsr.commands.app" in modules
    assert not modules & {"torch", "lightning", "numpy", "torchmetrics"}


# Importing Lightning (with torchmetrics), torch's compiler or scipy.signal takes about as long as torch alone.
SLOW = {"lightning", "pytorch_lightning", "torchmetrics", "torch._dynamo", "scipy", "matplotlib", "pandas", "xarray"}
COMMAND = "from vsr.__main__ import main; main(['upscale', 'input=in.npy', 'axes=tyx', {}]); import sys"


@pytest.mark.parametrize(
    "code",
    [
        COMMAND.format(""),
        COMMAND.format(f"'checkpoint={OLD / 'checkpoints' / 'best.ckpt'}'"),
        "import sys, numpy, vsr; vsr.load('pretrained:field_x2').upscale(numpy.load('in.npy'))",
    ],
    ids=["network of the package", "checkpoint", "vsr.load"],
)
def test_upscaling_does_not_import_lightning(code: str, tmp_path: Path) -> None:
    shutil.copy(OLD / "in.npy", tmp_path)
    command = [sys.executable, "-c", f"{code}; print(*sys.modules)"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = run_process(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    modules = set(done.stdout.splitlines()[-1].split())
    assert {"torch", "vsr.inference.engine"} <= modules
    assert not modules & SLOW
