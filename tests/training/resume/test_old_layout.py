"""A run that was stopped before the modules moved into rooms: its checkpoints, results and folder go on working.

tests/data_files/old_layout is the folder of that run, with what evaluate.py, upscale.py and the uninterrupted run gave then.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.fakes import ROOT, TINY_CLIMATE, compose_config, evaluate_here, train_here, upscale_here
from vsr.config.check import check_config
from vsr.config.old_targets import with_current_target, with_current_targets, with_former_targets
from vsr.config.run_record import expand_recorded_overrides, read_run_record
from vsr.config.signatures import signature_parameters
from vsr.data.datamodules.climate import ClimateDataModule
from vsr.data.splits import Split
from vsr.errors import UserError
from vsr.inference.trained import read_trained
from vsr.training.resume.checkpoints import read_checkpoint
from vsr.types import Movie

OLD = ROOT / "tests" / "data_files" / "old_layout"
BEST = OLD / "checkpoints" / "best.ckpt"
EXPECTED = json.loads((OLD / "expected.json").read_text(encoding="utf-8"))
NAMED = {  # all that a config could name before the move
    "vsr.callbacks": ["ImagePanels"],
    "vsr.dashboard": ["Dashboard"],
    "vsr.data.climate": ["ClimateDataModule"],
    "vsr.data.cross": ["CrossDataModule"],
    "vsr.data.images": ["ImageDataModule"],
    "vsr.data.movies": ["MovieDataModule"],
    "vsr.data.phantom": ["PhantomDataModule"],
    "vsr.data.spectral": ["SpectralDataModule"],
    "vsr.degradations.blur": ["GaussianBlur"],
    "vsr.degradations.chain": ["Chain"],
    "vsr.degradations.compression": ["H264", "JPEG"],
    "vsr.degradations.noise": ["GaussianNoise"],
    "vsr.degradations.scaling": ["Area", "Bicubic", "Subsample"],
    "vsr.init": ["Authors", "Checkpoint", "Random", "TwoStage"],
    "vsr.init.pretrained": ["Pretrained"],
    "vsr.nets.combined": ["Combined"],
    "vsr.nets.edsr": ["EDSR"],
    "vsr.nets.fsrcnn": ["FSRCNN", "FSRCNNOriginal"],
    "vsr.nets.interpolation": ["Interpolation"],
    "vsr.nets.linear": ["Linear"],
    "vsr.nets.plain": ["Plain"],
    "vsr.nets.resnet": ["ResNet"],
    "vsr.nets.srcnn": ["SRCNN"],
    "vsr.nets.srnet3d": ["SRNet3D", "SRNet3DKim"],
    "vsr.nets.stacked": ["Stacked"],
    "vsr.recipe": ["Recipe"],
    "vsr.tune": ["Tune"],
}


def assert_scores(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Recorded digits, to a tolerance that the arithmetic of another processor keeps."""
    own = {(row["split"], row["method"]): row for row in found}
    for row in expected:
        for score in ("psnr", "ssim", "mae"):
            assert own[row["split"], row["method"]][score] == pytest.approx(row[score], rel=1e-4), (row["method"], score)


@pytest.mark.parametrize("old", [f"{module}.{name}" for module, names in NAMED.items() for name in names])
def test_every_former_target_is_a_class_of_today(old: str) -> None:
    new = with_current_targets({"steps": [{"_target_": old, "kernel": 3}]})["steps"][0]
    assert signature_parameters(new["_target_"]) is not None
    assert with_former_targets(new) == {"_target_": old, "kernel": 3}
    assert with_current_targets(new) == new
    assert with_current_target(f"+model={{_target_: {old}, kernel: 3}}") == f"+model={{_target_: {new['_target_']}, kernel: 3}}"
    assert with_current_target(f"model._target_='{old}'") == f"model._target_='{new['_target_']}'"


def test_names_that_are_no_targets_stay() -> None:
    tree = {"name": "vsr.nets.fsrcnn", "_target_": None, "a": [1, "vsr.init.Random"], "b": {"_target_": "os.system"}}
    assert with_current_targets(tree) == tree


@pytest.mark.parametrize("module", ["vsr.dashboard", "vsr.training.tensorboard"])
def test_a_logger_without_a_name_is_tensorboard(module: str) -> None:
    results = {"config": {"logger": {"_target_": f"{module}.Dashboard"}, "scale": 2}}
    current = {"config": {"logger": {"tensorboard": {"_target_": "vsr.training.loggers.Dashboard"}}, "scale": 2}}
    assert with_current_targets(results) == with_current_targets(current) == current
    assert with_former_targets(current)["config"]["logger"] == {"_target_": "vsr.dashboard.Dashboard"}
    assert with_current_targets({"logger": None}) == {"logger": None}


@pytest.fixture
def old_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `data=climate` give the simulated movies of that time, cut in time, which vsr does not generate any more."""
    begin = ClimateDataModule.__init__
    stored = np.load(OLD / "field.npz")

    def movies(part: str) -> list[Movie]:
        meta = {"units": "scaled depth", "periodic": True}
        return [Movie(torch.from_numpy(values).unsqueeze(0), part, meta) for values in stored[part]]

    def begin_as_then(self: ClimateDataModule, **options: Any) -> None:
        begin(self, **options)
        self.name, self.split = "climate-tide", Split(learn=20, test=10)

    monkeypatch.setattr(ClimateDataModule, "__init__", begin_as_then)
    monkeypatch.setattr(ClimateDataModule, "movies", lambda self: movies("main"))
    monkeypatch.setattr(ClimateDataModule, "extra_test_splits", lambda self: {"unseen": movies("unseen")})


def test_data_that_are_not_generated_any_more_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"was trained on climate-tide, .* type data=climate to score it on tide-2"):
        evaluate_here(tmp_path, [f"checkpoint={BEST}"])
    assert evaluate_here(tmp_path, [f"checkpoint={BEST}", *TINY_CLIMATE])["protocol"]["data"]["name"] == "tide-2"
    shutil.copytree(OLD, tmp_path / "run")
    with pytest.raises(UserError, match="the data have changed since"):
        train_here(tmp_path / "run", [*read_run_record(OLD)["overrides"], "resume=auto"])


@pytest.mark.usefixtures("old_data")
def test_an_old_checkpoint_is_scored_as_it_was(tmp_path: Path) -> None:
    assert read_checkpoint(BEST)["vsr"]["config"]["model"]["_target_"] == "vsr.models.fsrcnn.FSRCNNOriginal"
    assert read_trained(BEST).config.model.d == 6
    assert_scores(evaluate_here(tmp_path, [f"checkpoint={BEST}"])["rows"], EXPECTED["evaluated"])


def test_an_old_checkpoint_upscales_as_it_did(tmp_path: Path) -> None:
    made = upscale_here(
        [f"input={OLD / 'in.npy'}", "axes=tyx", f"checkpoint={BEST}", f"output={tmp_path / 'out.npy'}", "device=cpu"]
    )
    np.testing.assert_allclose(np.load(made), np.load(OLD / "out.npy"), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("old_data")
def test_an_old_run_goes_on(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "run")
    arguments = expand_recorded_overrides([f"resume={tmp_path / 'run'}"])
    assert arguments[:-2] == read_run_record(OLD)["overrides"]
    results = train_here(tmp_path / "run", [*arguments[:-2], "resume=auto"])
    assert results["rows"]
    assert_scores(results["rows"], EXPECTED["trained"])


def test_an_old_run_that_is_finished_is_known(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps({**EXPECTED, "rows": []}), encoding="utf-8")
    overrides = [*read_run_record(OLD)["overrides"], "resume=auto"]
    assert train_here(tmp_path, overrides)["config"]["model"]["_target_"] == "vsr.models.fsrcnn.FSRCNNOriginal"


def test_an_old_checkpoint_gives_its_weights(tmp_path: Path) -> None:
    overrides = [*read_run_record(OLD)["overrides"], "epochs=0", "init=checkpoint", f"init.path={BEST}"]
    check_config(compose_config("train", overrides))
    assert all(row["status"] == "loaded" for row in train_here(tmp_path, overrides)["init"])
