"""The weights that come with the package: what the cards say holds, and they start any run for which they are meant."""

from __future__ import annotations

import logging
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from tests.fakes import ROOT, TINY_CLIMATE, compose_config, train_here
from tests.models.weights.test_authors import fsrcnn_content, saved
from tests.models.weights.test_init import reasons, statuses, weights_of
from vsr.config.check import check_config
from vsr.degradations.resize import resize_bicubic_down
from vsr.errors import UserError
from vsr.io.readers.pictures import list_offline_photographs, read_picture
from vsr.models.base import Network
from vsr.models.cascade import Cascade
from vsr.models.fsrcnn import FSRCNN, FSRCNNOriginal
from vsr.models.interpolation import Interpolation
from vsr.models.parameter_names import parameters_by_name
from vsr.models.residual import StandardizedResidual
from vsr.models.srcnn import SRCNN
from vsr.models.srnet3d import SRNet3D
from vsr.models.weights import shipped
from vsr.models.weights.files import describe_weight_file, read_weight_tensors
from vsr.models.weights.init import Checkpoint
from vsr.models.weights.pretrained import Pretrained
from vsr.models.weights.shipped import FOLDER, list_shipped
from vsr.training.build_network import build_from_node, build_network
from vsr.types import TrainingFrames

Script = Callable[..., "subprocess.CompletedProcess[str]"]
QUICK = [*TINY_CLIMATE, "recipe.patch=4", "recipe.steps=2", "recipe.batch=2"]
SCORED = [*QUICK, "epochs=0"]
FILES = [("fsrcnn", 2), ("fsrcnn_56", 2), ("fsrcnn_56", 3), ("fsrcnn_s", 2), ("srcnn", 2)]


def fsrcnn_s(scale: int = 2, channels: int = 1) -> Network:
    return FSRCNNOriginal(d=32, s=5, m=1, border="replicate", scale=scale, channels=channels)


def of_config(model: str, scale: int) -> Network:
    """The network that train.py makes, not yet prepared."""
    cfg = compose_config("train", [f"model={model}"])
    return build_network("model", cfg.model, build_from_node("recipe", cfg.recipe), scale=scale, channels=1)


def as_in_the_file(model: str, scale: int) -> Network:
    """With every tensor of the file, its statistics too."""
    network = of_config(model, scale)
    network.load_state_dict(read_weight_tensors(FOLDER / f"{model}_x{scale}.safetensors"))
    return network.eval()


def smooth_frames(scale: int) -> TrainingFrames:
    """Frames whose mean, spread and residual are far from those of photographs."""
    draw = torch.Generator().manual_seed(1)
    hr = 0.7 + 0.02 * torch.randn(3, 1, 24 * scale, 20 * scale, generator=draw)
    return [(resize_bicubic_down(hr, scale), hr, None)]


# --- the files ------------------------------------------------------------------------------------------------------------


def test_the_files_of_the_package() -> None:
    starts = [found for found in list_shipped() if not found.complete]
    assert [(found.network, found.scale) for found in starts] == FILES
    assert sum(found.path.stat().st_size for found in starts) < 300_000
    assert sum(found.path.stat().st_size for found in list_shipped()) < 3_500_000


@pytest.mark.parametrize(("model", "scale"), FILES)
def test_a_file_is_float32_and_says_where_it_comes_from(model: str, scale: int) -> None:
    path = FOLDER / f"{model}_x{scale}.safetensors"
    assert {tensor.dtype for tensor in read_weight_tensors(path).values()} == {torch.float32}
    with safe_open(path, "pt") as file:
        said = file.metadata()
    assert re.fullmatch("[0-9a-f]{64}", said["data_sha256"])
    assert (said["name"], said["scale"], said["seed"], said["data"]) == (model, str(scale), "0", "photographs")
    assert float(said["psnr_network"]) > float(said["psnr_linear"]) > float(said["psnr_bicubic"])


@pytest.mark.parametrize(("model", "scale"), FILES)
@torch.no_grad()
@pytest.mark.sampled(4)
def test_its_card_says_the_truth(model: str, scale: int) -> None:
    """The PSNR of a test picture, evaluated here without the harness."""
    text = (FOLDER / f"{model}_x{scale}.md").read_text(encoding="utf-8")
    head, bicubic, own = (
        next(line for line in text.splitlines() if line.startswith(start)).split(" | ")
        for start in ("| | cell", "| bicubic", "| this network")
    )
    # On the fourth one, cell, bicubic errs by less than half a grey level.
    assert all(float(own[at]) > float(bicubic[at]) + 0.1 for at in map(head.index, ("chelsea", "coins", "rocket")))
    coins = head.index("coins")
    [path] = [path for path in list_offline_photographs() if path.stem == "coins"]
    luma = torch.from_numpy(read_picture(path, "luma").values)[None] / 255
    luma = luma[..., : luma.shape[-2] // scale * scale, : luma.shape[-1] // scale * scale]
    for cells, network in ((own, as_in_the_file(model, scale)), (bicubic, Interpolation(method="bicubic", scale=scale))):
        error = (network(resize_bicubic_down(luma, scale)) - luma)[..., 4:-4, 4:-4].double().numpy()
        assert float(cells[coins]) == pytest.approx(-10 * np.log10((error**2).mean()), abs=0.006)


def test_what_is_in_a_file_can_be_shown() -> None:
    text = describe_weight_file(FOLDER / "fsrcnn_s_x2.safetensors")
    for line in ("kind +safetensors", r"architecture +FSRCNN\(32,5,1\), standardized residual", "scale +2", "data +photographs"):
        assert re.search(f"^  {line}$", text, re.M)
    assert "features.0.weight" in text


def test_as_a_file_like_any_other_it_says_its_scale() -> None:
    start = Checkpoint(path=str(FOLDER / "fsrcnn_s_x2.safetensors"))
    with pytest.raises(UserError, match=r"enlarge.weight is the first \(made for x2, here x3\)"):
        start(StandardizedResidual(fsrcnn_s(scale=3)))
    assert {row.status for row in start(StandardizedResidual(fsrcnn_s()))} == {"loaded"}


# --- what they bring --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "scale"), FILES)
@torch.no_grad()
@pytest.mark.sampled(4)
def test_before_training_it_is_the_network_of_the_card(model: str, scale: int) -> None:
    """On data with other statistics, which are the run's own afterwards, as everywhere."""
    network, frames = of_config(model, scale), smooth_frames(scale)
    report = Pretrained()(network, frames=lambda: frames)
    assert {row.status for row in report} == {"loaded"}
    lr = frames[0][0]
    assert isinstance(network, StandardizedResidual)
    assert float(network.std) == pytest.approx(float(lr.std()), rel=1e-4)
    ours, theirs = network.eval()(lr), as_in_the_file(model, scale)(lr)
    # FSRCNN's own layers see zeros beyond the border: the mean of the data, where it was that of the photographs.
    inner = (..., slice(6 * scale, -6 * scale), slice(6 * scale, -6 * scale)) if model == "fsrcnn" else ...
    torch.testing.assert_close(ours[inner], theirs[inner], atol=2e-5, rtol=0)
    assert (theirs - lr.mean()).abs().max() > 1e-3


@torch.no_grad()
def test_the_layers_of_the_network_decide_not_its_name() -> None:
    network = StandardizedResidual(FSRCNNOriginal(d=56, s=12, m=4, scale=3))
    Pretrained()(network, frames=lambda: smooth_frames(3))
    theirs = read_weight_tensors(FOLDER / "fsrcnn_56_x3.safetensors")
    assert torch.equal(parameters_by_name(network)["features.4.weight"], theirs["network.features.4.weight"])


@torch.no_grad()
def test_luma_into_colour() -> None:
    grey, colour = StandardizedResidual(fsrcnn_s()), StandardizedResidual(fsrcnn_s(channels=3))
    lr = torch.rand(2, 1, 12, 10, generator=torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match="do not fit.*init.mismatch=overlap"):
        Pretrained()(colour)
    for network in (grey, colour):
        assert {row.status for row in Pretrained(mismatch="overlap")(network)} == {"loaded"}
    torch.testing.assert_close(colour(lr.expand(-1, 3, -1, -1)), grey(lr).expand(-1, 3, -1, -1))


def test_from_another_scale_the_layer_that_enlarges_stays_fresh() -> None:
    network = StandardizedResidual(FSRCNN(scale=3))
    with pytest.raises(UserError, match=r"enlarge.weight is the first \(made for x2, here x3\)"):
        Pretrained(scale=2)(network)
    report = Pretrained(scale=2, mismatch="overlap")(network)
    assert {row.tensor for row in report if not row.is_loaded} == {"enlarge.weight", "enlarge.bias"}


def test_a_movie_network_from_a_named_frame_network() -> None:
    network = StandardizedResidual(SRNet3D(scale=2))
    report = Pretrained(name="fsrcnn", inflate="average", mismatch="overlap")(network)
    row = next(row for row in report if row.tensor == "body.0.weight")
    assert (row.status, row.source) == ("loaded", "features.0.weight")
    theirs = read_weight_tensors(FOLDER / "fsrcnn_x2.safetensors")
    expected = theirs["network.features.0.weight"] / theirs["std"]  # statistics are not measured yet: mean 0, std 1
    torch.testing.assert_close(parameters_by_name(network)["body.0.weight"].sum(2), expected)


@torch.no_grad()
def test_a_network_that_sees_frames_gets_features_for_them() -> None:
    """recipe.residual=none: the first layer is for the frame itself, the last one puts out something else."""
    network = fsrcnn_s()
    with pytest.raises(UserError, match=r"enlarge.weight puts out the residual over bicubic, here frames; type recipe.residual"):
        Pretrained()(network)
    report = Pretrained(mismatch="fresh")(network)
    assert {row.tensor for row in report if not row.is_loaded} == {"enlarge.weight", "enlarge.bias"}
    lr = smooth_frames(2)[0][0]
    wrapped: Any = as_in_the_file("fsrcnn_s", 2)
    expected = wrapped.network.features((lr - wrapped.mean) / wrapped.std)[..., 4:-4, 4:-4]
    torch.testing.assert_close(network.features(lr)[..., 4:-4, 4:-4], expected, atol=1e-4, rtol=1e-4)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("network", "start", "message"),
    [
        (SRCNN(kernels=(9, 5, 5), scale=2), {}, "there are no weights for the layers of this SRCNN; .* fsrcnn x2.* srcnn x2"),
        (SRNet3D(scale=2), {}, "for the layers of this SRNet3D; type init=random, or init.name=NAME of"),
        (SRCNN(scale=2, act="relu"), {}, "for the layers of this SRCNN"),
        (FSRCNNOriginal(d=32, s=6, m=1, scale=2), {}, "for the layers of this FSRCNNOriginal"),
        (Interpolation(method="bicubic", scale=2), {}, "for the layers of this Interpolation"),
        (SRCNN(scale=1), {}, r"no weights of srcnn for x1; type init.scale=2 init.mismatch=overlap .*there are .*srcnn x2"),
        (SRCNN(scale=4), {}, r"no weights of srcnn for x4; type init.scale=2 init.mismatch=overlap"),
        (SRCNN(scale=2), {"name": "vdsr"}, "there are no weights called vdsr; .*NAME of .*fsrcnn x2"),
        (StandardizedResidual(SRCNN(scale=2)), {"name": "fsrcnn"}, "none of its .* tensors fits this network"),
        (SRCNN(scale=2), {"into": "first"}, "init.into=first: for pipelines of two networks"),
        (SRCNN(scale=2), {"modules": ["features"]}, "init.modules: there is no features"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_there_is_not(network: Network, start: dict[str, Any], message: str) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(UserError, match=message) as caught:
        Pretrained(**start)(network)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"", lambda data: b"\xff" * 40 + data[40:]])
def test_a_damaged_file_is_refused(damage: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fsrcnn_s_x2.safetensors"
    path.write_bytes(damage((FOLDER / path.name).read_bytes()))
    monkeypatch.setattr(shipped.list_shipped, "__defaults__", (tmp_path,))
    with pytest.raises(UserError, match=r"fsrcnn_s_x2.safetensors: not one of the weight files of vsr, or damaged"):
        Pretrained()(StandardizedResidual(fsrcnn_s()))


# --- in pipelines and runs --------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_either_network_of_a_pipeline() -> None:
    frames = smooth_frames(2)
    first, second = StandardizedResidual(fsrcnn_s()), StandardizedResidual(SRCNN(scale=1))
    frames_first = Cascade(first=first, second=StandardizedResidual(SRNet3D(scale=1)), scale=2)
    with pytest.raises(UserError, match="type init.into=first or second"):
        Pretrained()(frames_first)
    report = Pretrained(into="first")(frames_first, frames=lambda: frames)
    assert {row.status for row in report if row.tensor.startswith("first.")} == {"loaded"}
    assert {row.status for row in report if row.tensor.startswith("second.")} == {"fresh"}
    torch.testing.assert_close(first(frames[0][0]), as_in_the_file("fsrcnn_s", 2)(frames[0][0]), atol=2e-5, rtol=0)

    movie_first = Cascade(first=StandardizedResidual(SRNet3D(scale=2)), second=second, scale=2)
    with pytest.raises(UserError, match="there are no weights of srcnn for x1; type init.scale=2"):
        Pretrained(into="second")(movie_first)
    report = Pretrained(into="second", scale=2, mismatch="overlap")(movie_first, frames=lambda: frames)
    assert {row.status for row in report if row.tensor.startswith("second.")} == {"loaded"}
    assert {row.status for row in report if row.tensor.startswith("first.")} == {"fresh"}
    wrapped: Any = as_in_the_file("srcnn", 2)
    sharp = frames[0][1]
    mine, theirs = second.network, wrapped.network
    ours = mine.body[0]((sharp - second.mean) / second.std)  # type: ignore[operator, index]
    torch.testing.assert_close(ours, theirs.body[0]((sharp - wrapped.mean) / wrapped.std), atol=1e-4, rtol=1e-4)


def test_a_run_reports_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        results = train_here(tmp_path, [*SCORED, "model=fsrcnn_s", "init=pretrained"])
    assert set(statuses(results).values()) == {"loaded"}
    notes = {row["tensor"]: row["reason"] for row in results["init"]}
    assert notes["features.0.weight"] == "for the std of this input"
    assert notes["enlarge.bias"] == "for the rms of this residual"
    assert notes["features.2.weight"] == ""
    assert "14 of 14 tensors brought" in caplog.text
    assert "is not read" not in caplog.text
    theirs = read_weight_tensors(FOLDER / "fsrcnn_s_x2.safetensors")
    ours = weights_of(tmp_path)
    torch.testing.assert_close(ours["enlarge.weight"] * ours["rms"], theirs["network.enlarge.weight"] * theirs["rms"])


def test_the_first_network_of_two_stages(tmp_path: Path) -> None:
    stages = ["model=two_stage", "model@model.first=fsrcnn_s", "init@init.first=pretrained", "init.epochs=1"]
    results = train_here(tmp_path / "run", [*QUICK, *stages])
    assert {status for name, status in statuses(results).items() if name.startswith("first.")} == {"loaded"}
    assert reasons(results)


@pytest.mark.long
def test_a_sweep_over_starts_in_one_line(script: Script, tmp_path: Path) -> None:
    mat = saved(tmp_path / "FSRCNN-s_x2.mat", fsrcnn_content(32, 5, 1))
    tiny = [*QUICK, "epochs=1", "strategy=cpu", "model=fsrcnn_s", "hydra.sweep.dir=sweep"]
    done = script("train", "-m", "init=random,authors,pretrained", f"weights={mat}", *tiny)
    assert done.returncode == 0, done.stderr
    printed = [path.read_text() for path in sorted((tmp_path / "sweep" / "logs").glob("*.log"))]
    assert [re.findall(r"network   fsrcnn_s, \d+ parameters, (\w+)", text) for text in printed] == [["random"], ["12"], ["14"]]
    assert ["is not read by it" in text for text in printed] == [True, False, False]
    assert f"weights={mat} is not read by init=pretrained" in printed[2]
    assert sorted(path.parent.name for path in (tmp_path / "sweep").rglob("results.json")) == ["0", "1", "2"]


def test_the_scale_of_a_start_is_checked_at_once() -> None:
    check_config(compose_config("train", ["init=pretrained", "init.scale=2"]))
    with pytest.raises(UserError, match="init.scale=4: weights are for x2 or x3; type init.scale=2"):
        check_config(compose_config("train", ["init=pretrained", "init.scale=4"]))


# --- how they are made ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_command_that_makes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """On tiny pictures: a file, its card, the folder's page; a run that is there is not done again."""
    rng = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (24, 28), np.uint8)).resize((56, 48)).save(tmp_path / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    tiny = [f"data.path={tmp_path}", "epochs=1", "recipe.steps=2", "recipe.patch=8", "strategy=cpu"]
    monkeypatch.setattr(sys, "argv", ["pretrain.py", "--models=fsrcnn_s", "--scales=2", "--runs=runs", "--out=out", *tiny])
    path = tmp_path / "out" / "fsrcnn_s_x2.safetensors"

    runpy.run_path(str(ROOT / "benchmarks" / "pretrain.py"), run_name="__main__")
    assert "fsrcnn_s, 4086 parameters, random start" in capfd.readouterr().out
    first = path.read_bytes()
    runpy.run_path(str(ROOT / "benchmarks" / "pretrain.py"), run_name="__main__")
    assert "random start" not in capfd.readouterr().out
    assert path.read_bytes() == first

    assert "`vsr train experiment=pretrained model=fsrcnn_s scale=2`" in path.with_suffix(".md").read_text(encoding="utf-8")
    assert "[fsrcnn_s_x2](fsrcnn_s_x2.md)" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    [found] = list_shipped(tmp_path / "out")
    assert (found.network, found.scale) == ("fsrcnn_s", 2)
    assert (found.header["first"], found.header["last"]) == ("features.0", "enlarge")
    kept = weights_of(tmp_path / "runs" / "fsrcnn_s_x2")
    assert torch.equal(read_weight_tensors(path)["network.enlarge.weight"], kept["enlarge.weight"])
