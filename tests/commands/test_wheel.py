"""The wheel: it holds every file, and its command works in an empty folder, away from the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import ROOT, TINY_CLIMATE
from tests.processes import run_process

TINY = [*TINY_CLIMATE, "recipe.patch=8", "recipe.steps=2", "epochs=1", "strategy=cpu"]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


# Runs a script with one list of arguments after the other, up to the first that fails.
ONE_BY_ONE = """
import json, runpy, sys
script, typed = sys.argv[1], json.loads(sys.argv[2])
for arguments in typed:
    sys.argv = [script, *arguments]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources, so that the checkout keeps no build files."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("vsr", "conf"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder), "./source"]
    run_process(build, cwd=folder, capture_output=True, text=True, check=True)
    [found] = folder.glob("vsr_movies-*.whl")
    return found


@pytest.fixture(scope="module")
def site(wheel: Path) -> Path:
    """Install the wheel into a folder; its dependencies are those of this Python."""
    folder = wheel.parent / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(wheel)]
    run_process(install, cwd=wheel.parent, capture_output=True, text=True, check=True)
    return folder


@pytest.fixture
def vsr(site: Path, tmp_path: Path) -> Command:
    """Run the installed command in an empty folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(site)}
        command = [sys.executable, str(site / "bin" / "vsr"), *arguments]
        return run_process(command, cwd=tmp_path, capture_output=True, text=True, env=environment)

    return run


def test_it_holds_every_file_of_the_package_and_of_conf(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("vsr/")}
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "vsr").rglob("*") if path.is_file()}
    configs = {f"vsr/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*") if path.is_file()}
    assert inside == {name for name in package | configs if "__pycache__" not in name}


def test_its_command_trains_and_upscales_in_an_empty_folder(site: Path, tmp_path: Path) -> None:
    """Both commands by the installed script, in one process."""
    own = tmp_path / "mine" / "experiment"
    own.mkdir(parents=True)
    (own / "short.yaml").write_text("# @package _global_\nname: short\nrecipe:\n  steps: 3\n")
    np.save(tmp_path / "field.npy", np.random.default_rng(0).standard_normal((3, 16, 16)).astype(np.float32))
    train = ["train", *TINY[:-3], *TINY[-2:], "--config-dir", "mine", "experiment=short", "hydra.run.dir=run"]
    upscale = ["upscale", "checkpoint=run/checkpoints/best.ckpt", "input=field.npy", "axes=tyx"]
    command = [sys.executable, "-c", ONE_BY_ONE, str(site / "bin" / "vsr"), json.dumps([train, upscale])]
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = run_process(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "run" / "results.json").read_text())["config"]
    assert (config["name"], config["recipe"]["steps"]) == ("short", 3)
    assert np.load(tmp_path / "field_x2.npy").shape == (3, 32, 32)
    assert str(ROOT) not in done.stdout + done.stderr


@pytest.mark.long
def test_its_sweeps_and_scores(vsr: Command, tmp_path: Path) -> None:
    done = vsr("train", "-m", "model=bicubic,fsrcnn_s", "hydra.sweep.dir=sweep", *TINY)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / "sweep" / str(i) / "results.json").exists() for i in range(2))
    done = vsr("evaluate", "checkpoint=sweep/1/checkpoints/best.ckpt", "strategy=cpu")
    assert done.returncode == 0, done.stderr
    done = vsr("export", "checkpoint=sweep/1/checkpoints/best.ckpt", "format=safetensors")
    assert done.returncode == 0, done.stderr
