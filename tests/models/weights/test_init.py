"""Starts through the front door: what comes from which file, what is refused, and that the report says so."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from torch import Tensor

from tests.commands.test_app import refused
from tests.fakes import ROOT, TINY_CLIMATE, assert_same_scores, compose_config, evaluate_here, train_here
from tests.models.weights.test_authors import fsrcnn_content, needs_shared, saved, srcnn_content
from tests.training.resume.test_checkpoints import Mark
from vsr.__main__ import main
from vsr.config.check import check_config
from vsr.errors import UserError
from vsr.models.fsrcnn import FSRCNN, FSRCNNOriginal
from vsr.models.parameter_names import canonical_parameter_name, parameters_by_name
from vsr.models.residual import StandardizedResidual
from vsr.models.srcnn import SRCNN
from vsr.models.weights.authors import read_authors_weights
from vsr.models.weights.init import Checkpoint, Random
from vsr.models.weights.transfer import transferred_value_masks
from vsr.training.resume.checkpoints import read_checkpoint

Script = Callable[..., "subprocess.CompletedProcess[str]"]
QUICK = [*TINY_CLIMATE, "recipe.patch=4", "recipe.steps=2", "recipe.batch=2"]
SCORED = [*QUICK, "epochs=0"]


def weights_of(folder: Path) -> dict[str, Tensor]:
    """The tensors of a run's best checkpoint, by the names of the init report."""
    state = read_checkpoint(folder / "checkpoints" / "best.ckpt")["state_dict"]
    return {canonical_parameter_name(name): tensor for name, tensor in state.items() if name.startswith("network.")}


def statuses(results: dict[str, Any]) -> dict[str, str]:
    return {row["tensor"]: row["status"] for row in results["init"]}


def reasons(results: dict[str, Any]) -> dict[str, str]:
    return {row["tensor"]: row["reason"] for row in results["init"] if row["status"] in ("fresh", "refused")}


@pytest.fixture(scope="module")
def mat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FSRCNN-s in the authors' layout, with random weights."""
    return saved(tmp_path_factory.mktemp("mat") / "FSRCNN-s_x2.mat", fsrcnn_content(32, 5, 1))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of runs, by model."""
    folder = tmp_path_factory.mktemp("runs")
    for model in ("fsrcnn", "fsrcnn_56"):
        train_here(folder / model, [*QUICK, f"model={model}"])
    return {model: folder / model for model in ("fsrcnn", "fsrcnn_56")}


def ckpt(folder: Path) -> str:
    return str(folder / "checkpoints" / "best.ckpt")


# --- the authors' files ---------------------------------------------------------------------------------------------------


def test_as_in_the_report(mat: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Four layers of FSRCNN-s: 8 filters here where it has 5; fine-tuned with the rest fresh."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with caplog.at_level(logging.INFO):
        results = train_here(tmp_path, [*SCORED, "init=authors", f"init.path={mat}", "init.layers=4"])
    drawn = dict(parameters_by_name(FSRCNN(scale=2)))
    assert list(statuses(results)) == list(drawn)
    partly = {f"features.{i}.{kind}" for i in (2, 4) for kind in ("weight", "bias")} | {"features.6.weight"}
    assert {name for name, status in statuses(results).items() if status == "overlap"} == partly
    assert set(reasons(results)) == {"enlarge.weight", "enlarge.bias", "enlarge_act.weight", "out.weight", "out.bias"}
    row = next(row for row in results["init"] if row["tensor"] == "features.4.weight")
    assert row["shape"] == (8, 8, 3, 3)
    assert row["source"] == "mapping 1, weight"
    assert row["reason"] == "leading (5, 5): (5, 5, 3, 3) in the file, (8, 8, 3, 3) here"
    theirs, ours = read_authors_weights(mat).layers, weights_of(tmp_path)
    assert torch.equal(ours["features.0.weight"], (theirs[0].weight * ours["std"].double()).float())  # the input is standardised
    assert torch.equal(ours["features.4.weight"][:5, :5], theirs[2].weight.float())
    assert torch.equal(ours["features.3.weight"], theirs[1].slope.float().expand(8))
    assert "12 of 17 tensors brought, 5 of them in part" in caplog.text
    assert (
        "features.0.weight   32x1x5x5   extraction, weight  loaded   for the standardised input: times its std 0." in caplog.text
    )
    events = EventAccumulator(str(tmp_path)).Reload()
    text = events.Tensors("init/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| features.2.bias | 8 | shrinking, bias | overlap | leading 5: (5,) in the file, (8,) here |" in text


def test_a_random_start_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        results = train_here(tmp_path, [*SCORED, "init=random"])
    assert set(statuses(results).values()) == {"fresh"}
    assert "7009 parameters, random start" in caplog.text
    assert "features" not in caplog.text


def test_the_first_layer_of_srcnn(tmp_path: Path) -> None:
    path = saved(tmp_path / "srcnn.mat", srcnn_content())
    run = [*QUICK, "model=srcnn", "init=authors", f"weights={path}", "init.layers=1", "epochs=1"]
    results = train_here(tmp_path / "run", run)
    loaded = [name for name, status in statuses(results).items() if status == "loaded"]
    assert loaded == ["body.0.weight", "body.0.bias", "body.1.weight"]
    assert len(results["history"]) == 2


def test_inside_the_residual_the_last_layer_stays_fresh(mat: Path, tmp_path: Path) -> None:
    start = ["model=fsrcnn_s", "init=authors", f"weights={mat}"]
    results = train_here(tmp_path / "a", [*SCORED, *start])
    assert set(reasons(results)) == {"enlarge.weight", "enlarge.bias"}
    assert reasons(results)["enlarge.weight"].endswith("recipe.residual=none loads it")
    whole = train_here(tmp_path / "b", [*SCORED, *start, "recipe.residual=none"])
    assert set(statuses(whole).values()) == {"loaded"}
    assert torch.equal(weights_of(tmp_path / "b")["enlarge.weight"], read_authors_weights(mat).layers[-1].weight.float())
    with pytest.raises(UserError, match=r"init.layers=5: .*type recipe.residual=none, or a smaller init.layers"):
        train_here(tmp_path / "c", [*SCORED, *start, "init.layers=5"])


def test_the_deconvolution_belongs_to_its_scale(mat: Path, tmp_path: Path) -> None:
    """The file's name says it; where it does not, the config does."""
    start = ["model=fsrcnn_s", "init=authors", "scale=3", "recipe.residual=none"]
    for name, more in (("FSRCNN-s_x2.mat", []), ("other.mat", ["init.scale=2"])):
        path = tmp_path / name
        shutil.copy(mat, path)
        results = train_here(tmp_path / path.stem, [*SCORED, *start, f"weights={path}", *more])
        assert reasons(results) == {"enlarge.weight": "made for x2, here x3", "enlarge.bias": "without its kernel"}
    with pytest.raises(UserError, match=r"enlarge.weight is the first \(made for x2, here x3\); type init.mismatch=overlap"):
        train_here(tmp_path / "refused", [*SCORED, *start, f"weights={mat}", "init.mismatch=refuse"])
    results = train_here(tmp_path / "same", [*SCORED, *start, f"weights={tmp_path}/other.mat"])
    assert set(statuses(results).values()) == {"loaded"}


@pytest.mark.long
def test_other_networks_are_refused(mat: Path, tmp_path: Path) -> None:
    for overrides, message in (
        (["model=srcnn"], "has no layer in common with a SRCNN"),
        (["model=linear"], "has no layer in common with a Linear"),
        (["init.layers=9"], "init.layers=9: .*a number from 1 to 4"),
        (["init.into=first"], "init.into=first: for pipelines of two networks"),
        (["model=joint"], "type init.into=first or second"),
        (
            ["model=srnet3d"],
            r"a 2D kernel goes into a 3D one only with init.inflate.*type init.inflate=centre or init.inflate=average",
        ),
        (["model=two_stage", "init.into=first"], r"would keep first.features.2.weight as it was drawn"),
    ):
        given = [*SCORED, *overrides]
        if overrides[0].startswith("model"):
            given.append("init=authors")
        with pytest.raises(UserError, match=message):
            train_here(tmp_path / "run", [*given, "init=authors", f"weights={mat}"])
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.lock"], "train.py removes that too"


@needs_shared
@pytest.mark.parametrize(
    ("file", "overrides", "gain"),
    [
        ("9-1-5_91-images_x2.mat", ["model=srcnn"], 2.04),
        ("9-5-5_ImageNet_x2.mat", ["model=srcnn", "model.kernels=[9,5,5]"], 2.14),
        ("9-1-5_91-images_x3.mat", ["model=srcnn", "scale=3"], 1.45),
        ("FSRCNN-s_x2.mat", ["model=fsrcnn_s"], 2.07),
        ("FSRCNN_x2.mat", ["model=fsrcnn_56"], 2.40),
        ("FSRCNN_x3.mat", ["model=fsrcnn_56", "scale=3"], 1.75),
    ],
)
@pytest.mark.sampled(3)
def test_released_weights_without_training(file: str, overrides: list[str], gain: float, tmp_path: Path) -> None:
    """On five pictures of T91, scored as in the papers, against bicubic (dB)."""
    shared = ROOT.parent / "shared" / "data"
    for folder, numbers in (("learn", (5, 12, 44)), ("test", (10, 20, 30, 33, 55))):
        (tmp_path / folder).mkdir()
        for number in numbers:
            shutil.copy(shared / "images" / "T91" / f"t{number}.bmp", tmp_path / folder)
    data = ["data=images", f"data.path={tmp_path}/learn", f"data.test_path={tmp_path}/test", "protocol=classical"]
    start = ["init=authors", f"weights={shared}/weights/{file}", "recipe.residual=none", "recipe.patch=8", "epochs=0"]
    results = train_here(tmp_path / "run", [*data, *overrides, *start])
    assert set(statuses(results).values()) == {"loaded"}
    psnr = {row["method"]: row["psnr"] for row in results["rows"]}
    assert psnr[results["config"]["name"]] - psnr["bicubic"] == pytest.approx(gain, abs=0.02)


# --- checkpoints and other files of tensors ---------------------------------------------------------------------------------


def test_a_module_alone(runs: dict[str, Path], tmp_path: Path) -> None:
    start = ["init=checkpoint", f"weights={ckpt(runs['fsrcnn'])}", "scale=3"]
    results = train_here(tmp_path / "run", [*SCORED, *start, "init.modules=[features]"])
    assert {name.partition(".")[0] for name, status in statuses(results).items() if status == "loaded"} == {"features"}
    assert set(reasons(results).values()) == {"not asked for"}
    assert torch.equal(weights_of(tmp_path / "run")["features.6.weight"], weights_of(runs["fsrcnn"])["features.6.weight"])
    with pytest.raises(UserError, match=r"init.modules: there is no featurs; did you mean 'features'\?"):
        train_here(tmp_path / "typo", [*SCORED, *start, "init.modules=[featurs]"])
    with pytest.raises(UserError, match=r"init.modules \(in best.ckpt\): there is no body"):
        train_here(tmp_path / "typo", [*SCORED, *start, "init.modules={features: body}"])


@pytest.mark.long
def test_across_scales(runs: dict[str, Path], tmp_path: Path) -> None:
    for scale in (3, 4):
        for policy, status in (("overlap", "fresh"), ("fresh", "refused")):
            start = ["init=checkpoint", f"weights={ckpt(runs['fsrcnn'])}", f"scale={scale}", f"init.mismatch={policy}"]
            results = train_here(tmp_path / f"{scale}{policy}", [*QUICK, "recipe.patch=3", *start])
            assert reasons(results) == {"enlarge.weight": f"made for x2, here x{scale}", "enlarge.bias": "without its kernel"}
            assert statuses(results)["enlarge.weight"] == status


@pytest.mark.long
def test_another_width_and_depth(runs: dict[str, Path], tmp_path: Path) -> None:
    """FSRCNN(56,12,4) into FSRCNN(32,5,1): layers meet by what they do."""
    start = ["init=checkpoint", f"weights={ckpt(runs['fsrcnn_56'])}", "model=fsrcnn_s"]
    with pytest.raises(UserError, match=r"none of its 23 tensors fits .*; type init.mismatch=overlap to load what both have"):
        train_here(tmp_path / "refused", [*SCORED, *start])
    results = train_here(tmp_path / "run", [*SCORED, *start, "init.mismatch=overlap"])
    assert reasons(results) == {}
    sources = {row["tensor"]: row["source"] for row in results["init"]}
    assert sources["features.4.weight"] == "features.4.weight"
    assert sources["features.6.weight"] == "features.12.weight"
    assert sources["features.7.weight"] == "features.13.weight"
    ours, theirs = weights_of(tmp_path / "run"), weights_of(runs["fsrcnn_56"])
    assert torch.equal(ours["features.6.weight"], theirs["features.12.weight"][:32, :5])
    assert torch.equal(ours["enlarge.weight"], theirs["enlarge.weight"][:32])
    # The other way round, mapping layers that the file does not have stay fresh.
    train_here(tmp_path / "s", [*SCORED, "model=fsrcnn_s"])
    wide = ["init=checkpoint", f"weights={ckpt(tmp_path / 's')}", "model=fsrcnn_56", "init.mismatch=overlap"]
    results = train_here(tmp_path / "wide", [*SCORED, *wide])
    assert set(reasons(results)) == {f"features.{i}.{kind}" for i in (6, 8, 10) for kind in ("weight", "bias")} | {
        f"features.{i}.weight" for i in (7, 9, 11)
    }
    assert set(reasons(results).values()) == {"not in the file"}


@pytest.mark.parametrize("form", ["state dict", "wrapped state dict", "safetensors"])
def test_plain_files(form: str, runs: dict[str, Path], tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in weights_of(runs["fsrcnn"]).items() if "." in name}
    path = tmp_path / ("a.safetensors" if form == "safetensors" else "a.pt")
    if form == "safetensors":
        pytest.importorskip("safetensors.torch").save_file(state, path)
    else:
        torch.save({f"network.{name}" if form.startswith("w") else name: tensor for name, tensor in state.items()}, path)
    results = train_here(tmp_path / "run", [*SCORED, "init=checkpoint", f"weights={path}"])
    assert set(statuses(results).values()) == {"loaded"}
    ours = weights_of(tmp_path / "run")
    assert all(torch.equal(ours[name], tensor) for name, tensor in state.items())


def test_a_plain_file_does_not_say_its_scale(runs: dict[str, Path], tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in weights_of(runs["fsrcnn_56"]).items() if "." in name}
    torch.save(state, tmp_path / "a.pt")
    start = ["init=checkpoint", f"weights={tmp_path}/a.pt", "model=fsrcnn_56", "scale=3"]
    assert reasons(train_here(tmp_path / "a", [*SCORED, *start])) == {}  # 9x9 at every scale: nothing tells
    results = train_here(tmp_path / "b", [*SCORED, *start, "init.scale=2", "init.mismatch=overlap"])
    assert set(reasons(results)) == {"enlarge.weight", "enlarge.bias"}


@pytest.mark.parametrize("inflate", ["centre", "average"])
def test_a_frame_networks_kernels_into_a_movie_network(inflate: str, runs: dict[str, Path], tmp_path: Path) -> None:
    """Extraction, shrinking and the first mapping correspond; the others do not, and say so."""
    start = ["model=srnet3d", "init=checkpoint", f"weights={ckpt(runs['fsrcnn'])}", "init.mismatch=overlap"]
    results = train_here(tmp_path / "run", [*SCORED, *start, f"init.inflate={inflate}"])
    loaded = [row["tensor"] for row in results["init"] if row["status"] == "loaded" and row["tensor"].endswith("0.weight")]
    assert loaded == ["body.0.weight"]
    ours, theirs = weights_of(tmp_path / "run"), weights_of(runs["fsrcnn"])
    for name, source in (("body.0", "features.0"), ("body.2", "features.2"), ("body.4", "features.4")):
        assert statuses(results)[f"{name}.weight"] == "loaded"
        torch.testing.assert_close(ours[f"{name}.weight"].sum(2), theirs[f"{source}.weight"])
        middle = ours[f"{name}.weight"][:, :, 1]
        torch.testing.assert_close(middle * (1 if inflate == "centre" else 3), theirs[f"{source}.weight"])
    assert reasons(results)["body.8.weight"].startswith("kernels of another size")
    assert reasons(results)["body.10.weight"] == "not in the file"


def test_modules_by_name_into_others(runs: dict[str, Path], tmp_path: Path) -> None:
    pairs = "init.modules={body.6: features.4, body.0: features.0}"
    start = ["model=srnet3d", "init=checkpoint", f"weights={ckpt(runs['fsrcnn'])}", "init.inflate=centre", pairs]
    results = train_here(tmp_path / "run", [*SCORED, *start])
    brought = {row["tensor"]: row["source"] for row in results["init"] if row["status"] == "loaded"}
    assert brought == {f"body.{a}.{k}": f"features.{b}.{k}" for a, b in ((0, 0), (6, 4)) for k in ("weight", "bias")}


def test_a_frame_network_becomes_the_first_of_two(runs: dict[str, Path], tmp_path: Path) -> None:
    alone = next(
        r for r in evaluate_here(tmp_path / "a", [f"checkpoint={ckpt(runs['fsrcnn'])}"])["rows"] if r["method"] == "fsrcnn"
    )
    for model in ("joint", "two_stage"):
        start = [f"model={model}", "init=checkpoint", f"weights={ckpt(runs['fsrcnn'])}", "init.into=first"]
        results = train_here(tmp_path / model, [*SCORED, *start])
        assert {name.partition(".")[0] for name, status in statuses(results).items() if status == "loaded"} == {"first"}
        row = next(row for row in results["rows"] if row["method"] == "2D network")
        assert row["psnr"] == pytest.approx(alone["psnr"], abs=1e-4)
    start = ["model=joint", "init=checkpoint", f"weights={ckpt(runs['fsrcnn'])}"]
    with pytest.raises(UserError, match="type init.into=first or second"):
        train_here(tmp_path / "which", [*SCORED, *start])


def test_a_start_of_the_first_stage(runs: dict[str, Path], tmp_path: Path) -> None:
    stages = ["model=two_stage", "init@init.first=checkpoint", f"weights={ckpt(runs['fsrcnn'])}", "init.epochs=1"]
    results = train_here(tmp_path / "run", [*QUICK, *stages])
    assert {status for name, status in statuses(results).items() if name.startswith("first.")} == {"loaded"}
    assert {status for name, status in statuses(results).items() if name.startswith("second.")} == {"fresh"}
    with pytest.raises(UserError, match=r"init.first.into=first: .*type init.first.into=null"):
        train_here(tmp_path / "typo", [*QUICK, *stages, "init.first.into=first"])


def test_the_residual_of_one_is_not_the_frame_of_another(runs: dict[str, Path], tmp_path: Path) -> None:
    start = ["init=checkpoint", f"weights={ckpt(runs['fsrcnn'])}", "recipe.residual=none"]
    with pytest.raises(
        UserError, match=r"out.weight puts out the residual over bicubic, here frames; type recipe.residual=bicubic"
    ):
        train_here(tmp_path / "a", [*SCORED, *start])
    results = train_here(tmp_path / "b", [*SCORED, *start, "init.mismatch=fresh"])
    assert set(reasons(results)) == {"out.weight", "out.bias"}
    back = ["init=checkpoint", f"weights={ckpt(tmp_path / 'b')}"]
    with pytest.raises(UserError, match=r"puts out frames, here the residual over bicubic; type recipe.residual=none"):
        train_here(tmp_path / "c", [*SCORED, *back])


def test_a_residual_over_the_linear_filter_is_refused_in_one_line(runs: dict[str, Path], tmp_path: Path) -> None:
    """As checkpoints of it were: the filter beside the network, its name in the config."""
    content = read_checkpoint(Path(ckpt(runs["fsrcnn"])))
    content["vsr"]["config"]["recipe"]["residual"] = "linear"
    content["state_dict"] |= {"network.filter.weight": torch.zeros(4, 1, 9, 9), "network.filter.bias": torch.zeros(4)}
    torch.save(content, old := tmp_path / "old.ckpt")
    gone = r"recipe.residual=linear is gone, as .*type recipe.residual=bicubic, and train anew what was trained with it$"
    with pytest.raises(UserError, match=f"init.path={old}: {gone}"):
        train_here(tmp_path / "a", [*SCORED, "init=checkpoint", f"weights={old}"])
    with pytest.raises(UserError, match=gone):
        evaluate_here(tmp_path / "b", [f"checkpoint={old}"])


def test_what_every_run_computes_itself_cannot_be_brought(runs: dict[str, Path], tmp_path: Path) -> None:
    train_here(tmp_path / "linear", [*SCORED, "model=linear"])
    with pytest.raises(UserError, match="none of its 2 tensors fits this network"):
        train_here(tmp_path / "again", [*SCORED, "model=linear", "init=checkpoint", f"weights={ckpt(tmp_path / 'linear')}"])


@pytest.mark.parametrize("network", [SRCNN, FSRCNN, FSRCNNOriginal])
def test_luma_into_colour(network: Any, tmp_path: Path) -> None:
    luma, colour = network(scale=2), StandardizedResidual(network(scale=2, channels=3))
    torch.save(luma.state_dict(), tmp_path / "luma.pt")
    with pytest.raises(UserError, match="do not fit"):
        Checkpoint(path=str(tmp_path / "luma.pt"))(colour)
    report = Checkpoint(path=str(tmp_path / "luma.pt"), mismatch="overlap")(colour)
    assert {row.status for row in report} == {"loaded"}
    grey = torch.rand(2, 1, 9, 8)
    torch.testing.assert_close(colour.network(grey.expand(-1, 3, -1, -1)), luma(grey).expand(-1, 3, -1, -1))


def test_nothing_changes_when_a_file_is_refused(tmp_path: Path) -> None:
    network = FSRCNN(scale=2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    other = {name: tensor + 1 for name, tensor in before.items()}
    for content, message in (
        (FSRCNN(scale=3).state_dict(), "2 of 17 tensors do not fit, enlarge.weight is the first"),
        ({name: tensor for name, tensor in other.items() if name != "out.bias"}, r"out.bias is the first \(not in the file\)"),
        ({"another.weight": torch.ones(1)}, r"none of its 1 tensors fits this network \(features.0.weight: not in the file\)$"),
        ({**other, "network.out.bias": torch.ones(1)}, "two tensors whose names differ by 'network.' only"),
    ):
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(UserError, match=message):
            Checkpoint(path=str(tmp_path / "a.pt"))(network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_what_came_from_elsewhere(tmp_path: Path) -> None:
    """To a value, for the pull back to it."""
    torch.save(FSRCNNOriginal(d=32, s=5, m=1, scale=2).state_dict(), tmp_path / "a.pt")
    network = FSRCNN(scale=2)
    drawn = {name: tensor.detach().clone() for name, tensor in parameters_by_name(network).items()}
    report = Checkpoint(path=str(tmp_path / "a.pt"), mismatch="overlap", modules=["features"])(network)
    values = transferred_value_masks(network, drawn, report)
    assert all(name.startswith("features") for name in values)
    assert values["features.0.weight"].all()
    inside = torch.zeros(8, 8, 3, 3)
    inside[:5, :5] = 1
    assert torch.equal(values["features.4.weight"], inside)
    assert transferred_value_masks(network, drawn, Random()(network)) == {}


# --- composed, and read again -----------------------------------------------------------------------------------------------


def test_a_sweep_over_starts_composes(mat: Path) -> None:
    """-m init=random,authors weights=FILE."""
    for start in ("random", "authors", "checkpoint"):
        check_config(compose_config("train", [f"init={start}", f"weights={mat}"]))


def test_a_checkpoint_can_be_scored_when_the_file_of_its_start_is_gone(mat: Path, tmp_path: Path) -> None:
    shutil.copy(mat, tmp_path / "gone.mat")
    results = train_here(tmp_path / "run", [*SCORED, "init=authors", f"weights={tmp_path}/gone.mat"])
    (tmp_path / "gone.mat").unlink()
    again = evaluate_here(tmp_path / "again", [f"checkpoint={ckpt(tmp_path / 'run')}"])
    assert_same_scores(again["rows"], results["rows"])


def test_checkpoints_from_before_tuning_can_be_scored(tmp_path: Path) -> None:
    results = train_here(tmp_path / "run", [*SCORED, "model=fsrcnn_s", "model.border=zero"])
    content = torch.load(ckpt(tmp_path / "run"), weights_only=True)
    config = content["vsr"]["config"]
    del config["tune"], config["weights"], config["model"]["border"]
    torch.save(content, tmp_path / "old.ckpt")
    again = evaluate_here(tmp_path / "again", [f"checkpoint={tmp_path}/old.ckpt"])
    assert_same_scores(again["rows"], results["rows"])


# --- files from others --------------------------------------------------------------------------------------------------------


def hostile(folder: Path) -> dict[str, tuple[Path, str]]:
    """Name -> (file, what must be said)."""
    files = {name: folder / name for name in ("evil.ckpt", "cut.pt", "flipped.pt", "nan.pt", "text.pt", "struct.mat", "v73.mat")}
    good = FSRCNN(scale=2).state_dict()
    torch.save({"state_dict": good, "callbacks": Mark(folder / "mark")}, files["evil.ckpt"])
    torch.save(good, files["cut.pt"])
    raw = files["cut.pt"].read_bytes()
    files["cut.pt"].write_bytes(raw[: len(raw) // 2])
    at = raw.find(good["features.0.weight"].numpy().tobytes())
    files["flipped.pt"].write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
    torch.save({**good, "out.bias": torch.tensor([np.nan])}, files["nan.pt"])
    files["text.pt"].write_text("weights")
    scipy.io.savemat(files["struct.mat"], {**fsrcnn_content(), "weights_conv": {"a": 1.0}})
    files["v73.mat"].write_bytes(b"MATLAB 7.3 MAT-file" + bytes(600))
    said = ("could run code", "damaged", "wrong CRC", "NaN", "not a file of tensors", "is a struct", "save(..., '-v7')")
    return {name: (path, text) for (name, path), text in zip(files.items(), said, strict=True)}


@pytest.mark.parametrize("name", ["evil.ckpt", "cut.pt", "flipped.pt", "nan.pt", "text.pt", "struct.mat", "v73.mat"])
def test_bad_files_are_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, said = hostile(tmp_path)[name]
    start = "authors" if name.endswith(".mat") else "checkpoint"
    with pytest.raises(UserError) as caught:
        train_here(tmp_path / "run", [*SCORED, f"init={start}", f"weights={path}"])
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    with pytest.raises(SystemExit, match="1"):
        main(["weights", str(path)])
    assert said in capsys.readouterr().err
    assert not (tmp_path / "mark").exists()


@pytest.mark.long
def test_bad_files_from_the_command_line(script: Script, tmp_path: Path) -> None:
    path, said = hostile(tmp_path)["evil.ckpt"]
    refused(script("train", *QUICK, "init=checkpoint", f"init.path={path}", "strategy=cpu"), "evil.ckpt", said)
    refused(script("train", *QUICK, "init=authors", "weights=none.mat"), "init.path=none.mat: no such file")
    assert not (tmp_path / "mark").exists()
    assert not (tmp_path / "runs").exists()


@pytest.mark.long
def test_what_a_file_holds(
    script: Script, mat: Path, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["weights", str(mat)])
    assert "FSRCNN-s = FSRCNN(32,5,1)" in capsys.readouterr().out
    main(["weights", ckpt(runs["fsrcnn"])])
    assert "FSRCNN of the report, x2, standardized residual" in capsys.readouterr().out
    done = script("vsr", "weights", str(mat))
    assert (done.returncode, done.stderr) == (0, "")
    assert "extraction, weight" in done.stdout
    done = script("vsr", "weights", str(tmp_path / "none.pt"))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_movies_into_frames(tmp_path: Path) -> None:
    """The reverse of inflation is not offered: a 3D kernel for a 2D one is refused."""
    torch.save({"body.0.weight": torch.ones(64, 1, 3, 9, 9)}, tmp_path / "a.pt")
    with pytest.raises(UserError, match="none of its 1 tensors fits"):
        Checkpoint(path=str(tmp_path / "a.pt"), mismatch="overlap", inflate="centre")(SRCNN(scale=2))
