"""The layers of the architecture: who may import whom, and what a start must not import."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.fakes import ROOT

MODULES = sorted((ROOT / "vsr").rglob("*.py"))
PLAIN = ("geometry", "types", "resize", "normalize", "losses", "metrics", "recipe", "tune", "processes")
NO_LIGHTNING = ("nets", "weights", "physics", "degradations", "evaluation", *PLAIN)
NO_TORCH = (
    "physics",
    "evaluation",
    "errors",
    "files",
    "jobs",
    "supervise",
    "naming",
    "progress",
    "signatures",
    "config",
    "schemas",
    "cli",
    "geometry",
    "torchrun",
    "lock",
    "notes",
    "signals",
    "rerun",
    "budget",
    "alternative",
    "cpu",
    "sweep",
    "compare",
)
HYDRA = (
    "notes",
    "alternative",
    "budget",
    "timing",
    "trial",
    "settling",
    "config",
    "schemas",
    "cli",
    "build",
    "hardware",
    "launch",
    "loading",
    "training",
    "run",
    "session",
    "comparison",
    "sweep",
    "tables",
    "pages",
    "leaderboard",
)


def imported(path: object) -> set[str]:
    tree = ast.parse(path.read_text())  # type: ignore[attr-defined]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def layer(path: object) -> str:
    return path.relative_to(ROOT / "vsr").parts[0].removesuffix(".py")  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_layer_order(path: object) -> None:
    names, where = imported(path), layer(path)
    roots = {name.split(".")[0] for name in names}
    if where in NO_LIGHTNING:
        assert not roots & {"lightning", "hydra", "omegaconf"}
        assert not any(
            name.startswith(("vsr.data", "vsr.training.modules", "vsr.training.build", "vsr.training.run")) for name in names
        )
    if where == "output":
        assert not roots & {"lightning", "hydra", "omegaconf"}
        assert not any(name.startswith(("vsr.training.modules", "vsr.training.build", "vsr.inference")) for name in names)
    if where in (*NO_TORCH, "__init__"):
        assert not roots & {"torch", "lightning", "torchmetrics"}
    if where not in HYDRA:
        assert not roots & {"hydra", "omegaconf"}, "only what starts a run knows Hydra"
    if where in ("modules", "data"):
        other = "data" if where == "modules" else "modules"
        assert not any(name.startswith(f"vsr.{other}") for name in names), "data and modules meet in run.py"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_stay_readable(path: object) -> None:
    assert len(path.read_text().splitlines()) <= 300  # type: ignore[attr-defined]


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
def test_help_and_mistakes_do_not_import_torch(arguments: tuple[str, ...], tmp_path: object) -> None:
    script = str(ROOT / arguments[0])
    done = subprocess.run(
        [sys.executable, "-X", "importtime", script, *arguments[1:]],
        cwd=str(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "vsr.commands.app" in modules
    assert not modules & {"torch", "lightning", "numpy", "torchmetrics"}
