"""Training from Python: `vsr.fit` and its guide."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vsr
from tests.fakes import ROOT
from vsr.config.overrides import override_text
from vsr.errors import UserError
from vsr.models.plain import Plain

QUICK: dict[str, Any] = {"epochs": 1, "recipe": {"patch": 8, "steps": 2}, "logger": "csv", "overrides": ["strategy=cpu"]}
WAVES = np.sin(np.arange(30)[:, None, None] * 0.3 + np.arange(24)[:, None] * 0.7) * np.cos(np.arange(24) * 0.7)


def test_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "guides" / "python.md").read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "python.md", "exec"), {})
    assert "over bicubic" in capsys.readouterr().out
    assert (tmp_path / "runs" / "waves" / "results.json").exists()


@pytest.mark.parametrize("shape", [(30, 24, 24), (30, 1, 24, 24), (2, 15, 1, 24, 24)])
@pytest.mark.sampled(1)
def test_arrays_of_every_shape_and_resume(shape: tuple[int, ...], tmp_path: Path) -> None:
    movie = torch.from_numpy(WAVES.astype(np.float32)).reshape(shape)
    run = vsr.fit("fsrcnn_s", movie, folder=tmp_path, **QUICK)
    assert [row["method"] for row in run.rows][:5] == ["nearest", "bilinear", "bicubic", "linear", "fsrcnn_s"]
    assert run.upscale(np.zeros((3, 10, 12), np.float32)).shape == (3, 20, 24)
    again = vsr.fit("fsrcnn_s", movie, folder=tmp_path, resume=True, **QUICK)
    assert again.rows == run.rows
    with pytest.raises(UserError, match="holds a run already"):
        vsr.fit("fsrcnn_s", movie, folder=tmp_path, **QUICK)


def test_models_by_class_and_by_mapping_and_data_by_file_and_by_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", WAVES.astype(np.float32))
    file = {"path": str(tmp_path / "a.npy"), "axes": "tyx"}
    by_class = vsr.fit(Plain, file, folder=tmp_path / "class", **QUICK)
    by_mapping = vsr.fit({"_target_": "vsr.models.plain.Plain"}, file, folder=tmp_path / "mapping", **QUICK)
    assert by_class.rows[-1]["method"] == "Plain"
    assert [row["psnr"] for row in by_class.rows] == [row["psnr"] for row in by_mapping.rows]
    (tmp_path / "mine_of_test.py").write_text("from vsr.models.plain import Plain\n\n\nclass Mine(Plain):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from mine_of_test import Mine  # type: ignore[import-not-found]

    run = vsr.fit(Mine, file, folder=tmp_path / "own", **QUICK)
    assert run.upscale(np.zeros((8, 8), np.float32)).shape == (16, 16)
    del sys.modules["mine_of_test"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "fsrcn"}, "model=fsrcn: no such config; did you mean 'fsrcnn'?"),
        ({"model": 3}, "model: must be a name, a subclass of vsr.models.base.Network or a mapping, not 3"),
        ({"model": {"width": 3}}, "model: the mapping has no '_target_'"),
        ({"data": "nowhere.nc"}, "data.path=nowhere.nc: no such file"),
        ({"data": np.zeros((3, 3))}, "not an array of 2 indices"),
        ({"data": [1, 2]}, "not 'list'"),
        ({"epoch": 3}, "epoch: unknown key; did you mean 'epochs'?"),
        ({"recipe": {"rats": 3}}, "recipe.rats: unknown key; did you mean"),
        ({"epochs": -1}, "epochs=-1: must be 0 or more"),
        ({"resume": True}, "resume=True: needs the folder of the run"),
    ],
)
def test_mistakes_are_user_errors(
    arguments: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        vsr.fit(**arguments)
    assert message in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_class_of_a_notebook_is_refused() -> None:
    own = type("Own", (Plain,), {"__module__": "__main__"})
    with pytest.raises(UserError, match="model=Own: a checkpoint could not name it; move the class into a file"):
        vsr.fit(own)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (0.5, "0.5"),
        ("a_b", "a_b"),
        ("a b", "'a b'"),
        ("it's", r"'it\'s'"),
        ([1, "x,y"], "[1,'x,y']"),
        ((1, 2), "[1,2]"),
        ({"a": None}, "{a:null}"),
        ("null", "'null'"),
        (["12", "True", "1e-3"], "['12','True','1e-3']"),
        ({"a b": "c:d"}, "{'a b':'c:d'}"),
    ],
)
def test_values_in_hydras_grammar(value: Any, text: str) -> None:
    assert override_text(value) == text


def test_a_plugin_brings_its_own_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "brings_of_test"
    (package / "conf" / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("from vsr.models.plain import Plain\n\n\nclass Brought(Plain):\n    pass\n")
    (package / "conf" / "model" / "brought.yaml").write_text("_target_: brings_of_test.Brought\nwidth: 4\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="model=brought: no such config"):
        vsr.fit("brought", WAVES, folder=tmp_path / "run", **QUICK)
    run = vsr.fit("brought", WAVES, folder=tmp_path / "run", plugins=["brings_of_test"], **QUICK)
    assert run.rows[-1]["method"] == "brought"
    assert run.results["config"]["model"]["width"] == 4
    assert run.upscale(np.zeros((8, 8), np.float32)).shape == (16, 16)
