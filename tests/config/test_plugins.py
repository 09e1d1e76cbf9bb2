"""Plugins: the package of docs/guides/plugins.md at work, and what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import vsr
from tests.fakes import ROOT
from tests.processes import run_process
from vsr.errors import UserError

Script = Callable[..., "subprocess.CompletedProcess[str]"]
OPEN = "plugins=[mypackage]"
TINY = ["epochs=1", "recipe.steps=2", "recipe.patch=8", "data.count=20", "strategy=cpu", "consistency=none"]
OWN = ["model=two_layers", "data=ramps", "degradation=every_other", "recipe.loss=mypackage.losses.LogCosh"]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the guide."""
    text = (ROOT / "docs" / "guides" / "plugins.md").read_text()
    folder = tmp_path_factory.mktemp("guide")
    found = re.findall(r"^`(mypackage/[^`]+)`\n\n```\w+\n(.*?)```", text, re.S | re.M)
    assert len(found) == 9
    for name, content in found:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / "mypackage" / "__init__.py").write_text("")
    return folder / "mypackage"


@pytest.fixture
def here(package: Path, tmp_path: Path) -> Path:
    """The working directory of a command, with the package in it."""
    shutil.copytree(package, tmp_path / "mypackage")
    return tmp_path


def _ended_well(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _refused(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert done.returncode == 1, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in done.stderr


def test_the_plugin_of_the_guide_trains_evaluates_upscales_and_resumes(
    script: Script, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = [*OWN, *TINY, "+callbacks.mine._target_=mypackage.callbacks.PrintRate", "hydra.run.dir=run"]
    trained = _ended_well(script("train", OPEN, *own))
    assert "rate " in trained
    best = here / "run" / "checkpoints" / "best.ckpt"
    results = json.loads((here / "run" / "results.json").read_text())
    assert [row["method"] for row in results["rows"]][-1] == "two_layers"
    assert results["config"]["recipe"]["loss"] == {"_target_": "mypackage.losses.LogCosh"}
    assert "plugins" not in results["config"]

    _refused(script("evaluate", f"checkpoint={best}"), "type plugins=[mypackage] if you trust the code of that package")
    bias = "+metrics.bias._target_=mypackage.scores.Bias"
    _ended_well(script("evaluate", OPEN, f"checkpoint={best}", bias, "report=false", "hydra.run.dir=scores"))
    assert "bias" in (here / "scores" / "table.md").read_text()
    scores = json.loads((here / "scores" / "results.json").read_text())
    assert scores["definitions"]["bias"]["text"] == "mean p - y"
    assert all(abs(row["bias"]) < 0.5 for row in scores["rows"])
    assert any(row["bias"] != 0 for row in scores["rows"])

    np.save(here / "lr.npy", np.random.default_rng(0).random((5, 10, 12), np.float32))
    _ended_well(script("upscale", OPEN, f"checkpoint={best}", "input=lr.npy", "output=sr.npy", "axes=tyx"))
    assert np.load(here / "sr.npy").shape == (5, 20, 24)
    # Processes that a command starts know the package, too.
    shared = ["input=lr.npy", "output=sr.zarr", "axes=tyx", "workers=2"]
    _ended_well(script("upscale", OPEN, f"checkpoint={best}", *shared))
    assert (here / "sr.zarr").is_dir()
    shared = ["report=false", "workers=2", "hydra.run.dir=shared"]
    _ended_well(script("evaluate", OPEN, f"checkpoint={best}", bias, *shared))
    assert (here / "shared" / "frames.csv").read_bytes() == (here / "scores" / "frames.csv").read_bytes()

    with pytest.raises(UserError, match="no package of this name"):
        vsr.load(best, plugins=["mypackage"])
    monkeypatch.syspath_prepend(str(here))  # a package that was missing a moment ago is found
    with pytest.raises(UserError, match="type plugins="):
        vsr.load(best)
    assert vsr.load(best, plugins=["mypackage"]).upscale(np.zeros((2, 8, 8), np.float32)).shape == (2, 16, 16)

    assert f"next      vsr evaluate checkpoint=run/checkpoints/best.ckpt {OPEN}" in trained
    # A run that was stopped before its end: its record does not open the plugin again.
    (here / "run" / "results.json").unlink()
    _refused(script("train", "resume=run"), "the run uses plugins=[mypackage]; type plugins=[mypackage] again")
    assert "results" in _ended_well(script("train", OPEN, "resume=run"))


def test_a_checkpoint_needs_no_plugin_for_its_loss(script: Script, here: Path) -> None:
    tiny = [each for each in TINY if not each.startswith("data.")]
    data = ["data=climate", "data.size=24", "data.sampling=3", "data.learn=20", "data.test=10"]
    _ended_well(script("train", OPEN, "recipe.loss=mypackage.losses.LogCosh", *data, *tiny, "hydra.run.dir=run"))
    shutil.rmtree(here / "mypackage")
    _ended_well(script("evaluate", "checkpoint=run/checkpoints/best.ckpt", "report=false"))


@pytest.mark.long
def test_sweeps_and_own_config_folders_use_plugins(script: Script, here: Path) -> None:
    narrow = here / "mine" / "model" / "narrow.yaml"
    narrow.parent.mkdir(parents=True)
    narrow.write_text("_target_: mypackage.networks.TwoLayers\nwidth: 2\n")
    sweep = ["-m", "--config-dir", "mine", OPEN, "model=narrow,two_layers", "data=ramps", *TINY, "hydra.sweep.dir=sweep"]
    _ended_well(script("train", *sweep))
    assert {json.loads(path.read_text())["config"]["model"]["width"] for path in here.glob("sweep/*/results.json")} == {2, 8}
    assert "narrow" in _ended_well(script("train", "--config-dir", "mine", "--help"))


def test_an_installed_package_announces_itself(here: Path) -> None:
    metadata = here / "mypackage-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mypackage\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[vsr.plugins]\nmine = mypackage\ngone = not_here\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(here)])}
    command = [sys.executable, "-m", "vsr", "train"]
    empty = here / "empty"
    empty.mkdir()
    shown = run_process([*command, "--help"], cwd=empty, env=environment, capture_output=True, text=True)
    assert " two_layers " in _ended_well(shown)
    assert "warning: mypackage: not used as a plugin: plugins=not_here: no package of this name" in shown.stderr
    composed = [*command, "--cfg", "job", "model=two_layers", "model.width=3"]
    assert "mypackage.networks.TwoLayers" in _ended_well(
        run_process(composed, cwd=empty, env=environment, capture_output=True, text=True)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["plugins=[nowhere]"],
            "plugins=nowhere: no package of this name; install it, or type the command in the folder that holds",
        ),
        (["plugins=[vsr.models]"], "plugins=vsr.models: is vsr itself"),
        (["plugins=[my/package]"], "plugins=my/package: is no name of a package"),
        (
            [OPEN, "model._target_=mypackage.networks.Nothing"],
            "model._target_=mypackage.networks.Nothing: no such class (class Nothing",
        ),
        ([OPEN, "model=two_layer"], "model=two_layer: no such config; did you mean 'two_layers'?"),
        ([OPEN, "model=two_layers", "model.width=wide"], "model.width=wide: must be int, not str 'wide'"),
        ([OPEN, "model=two_layers", "+model.depth=3"], "model.depth: unknown; did you mean 'width'?"),
        (["model=fsrcnn", "model._target_=mypackage.networks.TwoLayers"], "type plugins=[mypackage] if you trust the code"),
        (["--config-dir", "nowhere"], "--config-dir nowhere: no such folder; type --config-dir FOLDER"),
        (["--config-dir"], "--config-dir: needs a folder; type --config-dir FOLDER"),
    ],
)
@pytest.mark.usefixtures("here")
def test_mistakes_are_one_line(arguments: list[str], message: str, script: Script) -> None:
    _refused(script("train", *arguments), message)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=loss", "data=ramps"], "model._target_=mypackage.losses.LogCosh: must be a subclass of vsr.models.base.Network"),
        (["+metrics.psnr._target_=mypackage.scores.Bias"], "metrics.psnr: is a score of vsr; choose another name"),
        (
            ["+metrics.wrong._target_=mypackage.scores.Wrong"],
            "metrics.wrong: better='lower' in its class; must be one of 'high', 'low'",
        ),
        (["+metrics.bias._target_=mypackage.losses.LogCosh"], "must be a subclass of vsr.metrics.definitions.Definition"),
        (["model=broken", "data=ramps"], "mypackage.broken cannot be imported (ImportError: not today)"),
        (["model=without_reach", "data=ramps"], "model: mypackage.networks.WithoutReach has no attribute 'reach'"),
    ],
)
@pytest.mark.sampled(3)
def test_classes_that_do_not_fit_are_refused(arguments: list[str], message: str, script: Script, here: Path) -> None:
    package = here / "mypackage"
    with (package / "scores.py").open("a") as file:
        file.write("\n\nclass Wrong(Bias):\n    better = property(lambda self: 'lower', lambda self, value: None)\n")
    (package / "broken.py").write_text("class Broken:\n    pass\nraise ImportError('not today')\n")
    (package / "conf" / "model" / "loss.yaml").write_text("_target_: mypackage.losses.LogCosh\n")
    (package / "conf" / "model" / "broken.yaml").write_text("_target_: mypackage.broken.Broken\n")
    networks = (package / "networks.py").read_text()
    network = (
        networks[networks.index("class TwoLayers") :].replace("TwoLayers", "WithoutReach").replace("self.reach", "self.range")
    )
    (package / "networks.py").write_text(f"{networks}\n\n{network}")
    (package / "conf" / "model" / "without_reach.yaml").write_text("_target_: mypackage.networks.WithoutReach\n")
    if arguments[0].startswith("+metrics"):
        _ended_well(script("train", OPEN, *OWN, *TINY, "hydra.run.dir=run"))
        arguments = ["checkpoint=run/checkpoints/best.ckpt", *arguments]
        _refused(script("evaluate", OPEN, *arguments), message)
    else:
        _refused(script("train", OPEN, *arguments, *TINY), message)


@pytest.mark.parametrize("owner", ["plugin", "folder"])
def test_a_config_that_would_be_ignored_is_refused(owner: str, script: Script, here: Path) -> None:
    folder = here / "mypackage" / "conf" if owner == "plugin" else here / "mine"
    shadow = folder / "model" / "fsrcnn.yaml"
    shadow.parent.mkdir(parents=True, exist_ok=True)
    shadow.write_text("_target_: mypackage.networks.TwoLayers\n")
    arguments = [OPEN] if owner == "plugin" else ["--config-dir", "mine"]
    _refused(script("train", *arguments), f"{shadow} has the name of a config of vsr, which would be used instead; rename it")


def test_a_mistake_is_found_without_torch(here: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-X", "importtime", "-m", "vsr", "train", OPEN, "model._target_=mypackage.networks.Nothing"]
    done = run_process(command, cwd=here, env=environment, capture_output=True, text=True)
    assert "no such class" in done.stderr
    assert not re.search(r"\|\s+(torch|lightning)$", done.stderr, re.M)


@pytest.mark.parametrize("guide", ["adding-a-model", "adding-a-dataset"])
def test_the_files_of_other_guides_work_in_a_plugin(guide: str, script: Script, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "guides" / f"{guide}.md").read_text()
    [code], [config] = re.findall(r"```python\n(.*?)```", text, re.S), re.findall(r"```yaml\n(.*?)```", text, re.S)
    package, group = tmp_path / "guided", "model" if guide == "adding-a-model" else "data"
    (package / "conf" / group).mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text(code)
    (package / "conf" / group / "mine.yaml").write_text(re.sub(r"vsr\.[\w.]+\.(\w+)", r"guided.part.\1", config))
    np.save(tmp_path / "depth.npy", np.random.default_rng(0).random((20, 24, 24), np.float32))
    data = ["data=mine"] if group == "data" else ["model=mine", "data=climate", "data.axes=tyx"]
    tiny = [each for each in TINY if not each.startswith("data.")]
    _ended_well(script("train", "plugins=[guided]", *data, "data.path=depth.npy", *tiny))
