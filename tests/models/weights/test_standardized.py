"""The authors' features behind a standardised input: the same function of the frame as without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.fakes import ROOT, TINY_CLIMATE, compose_config, train_here
from tests.models.weights.test_authors import fsrcnn_content, needs_shared, saved, srcnn_content
from tests.models.weights.test_init import ckpt, statuses, weights_of
from vsr.models.base import Network
from vsr.models.cascade import Cascade
from vsr.models.fsrcnn import FSRCNN, FSRCNNOriginal
from vsr.models.parameter_names import parameters_by_name
from vsr.models.residual import StandardizedResidual, unwrap_residual
from vsr.models.srcnn import SRCNN
from vsr.models.srnet3d import SRNet3D
from vsr.models.weights.init import Authors
from vsr.training.build import build_data, build_module
from vsr.training.resume.checkpoints import read_checkpoint
from vsr.types import TrainingFrames

QUICK = [*TINY_CLIMATE, "recipe.patch=4", "recipe.steps=2", "recipe.batch=2"]
SCORED = [*QUICK, "epochs=0"]
SRCNN_RELU = ["model=srcnn", "model.act=relu"]
FSRCNN_S = ["model=fsrcnn_s", "model.border=replicate"]


@pytest.fixture(scope="module")
def mats(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """SRCNN 9-1-5 and FSRCNN-s in the authors' layout, with random weights."""
    folder = tmp_path_factory.mktemp("mat")
    contents = {"srcnn": srcnn_content(), "fsrcnn": fsrcnn_content(32, 5, 1)}
    return {name: saved(folder / f"{name}_x2.mat", content) for name, content in contents.items()}


def trained(folder: Path, overrides: list[str]) -> tuple[Network, TrainingFrames]:
    """The network that a run left, and its training frames in the unit interval."""
    cfg = compose_config("train", overrides)
    data = build_data(cfg)
    module = build_module(cfg, data.card, data.test_splits)
    module.load_state_dict(read_checkpoint(Path(ckpt(folder)))["state_dict"])
    return module.network.eval(), module.in_unit_interval(data.training_frames())


def layers_of(network: Network) -> nn.Sequential:
    return getattr(unwrap_residual(network), "body", None) or unwrap_residual(network).features  # type: ignore[return-value]


@torch.no_grad()
def outputs(network: Network, x: Tensor, count: int) -> list[Tensor]:
    """Return the output of each of the first layers inside the whole network, with its standardisation."""
    seen: list[Tensor] = []
    handles = [layer.register_forward_hook(lambda *found: seen.append(found[2])) for layer in layers_of(network)[:count]]
    network(x)
    for handle in handles:
        handle.remove()
    return seen


def movie_like(channels: int = 1) -> TrainingFrames:
    """Frames whose mean and spread are far from 0 and 1."""
    lr = 0.6 + 0.1 * torch.randn(5, channels, 12, 14, generator=torch.Generator().manual_seed(1))
    return [(lr, lr.repeat_interleave(2, -1).repeat_interleave(2, -2), None)]


def wrapped(network: Callable[..., Network], **options: Any) -> tuple[Network, Network]:
    """The same network twice: as it is, and inside a standardized residual."""
    torch.manual_seed(0)
    plain = network(scale=2, **options)
    torch.manual_seed(0)
    return plain, StandardizedResidual(network(scale=2, **options))


# --- runs ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "model"), [("srcnn", SRCNN_RELU), ("fsrcnn", FSRCNN_S)])
@pytest.mark.sampled(1)
def test_features_are_the_authors_to_the_border(kind: str, model: list[str], mats: dict[str, Path], tmp_path: Path) -> None:
    """Not only the first layer: all that came, on every pixel of real frames."""
    count = 4 if kind == "srcnn" else 8
    seen, notes = {}, {}
    for residual in ("true", "false"):
        run = [*SCORED, *model, "init=authors", f"weights={mats[kind]}", f"recipe.residual={residual}"]
        results = train_here(tmp_path / residual, run)
        network, frames = trained(tmp_path / residual, run)
        seen[residual] = outputs(network, frames[0][0], count)
        notes[residual] = [row["reason"] for row in results["init"] if "standardised" in row["reason"]]
    assert len(seen["true"]) == count
    for ours, theirs in zip(seen["true"], seen["false"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    weights = weights_of(tmp_path / "true")
    assert notes["true"] == [
        f"for the standardised input: times its std {weights['std'].item():.4g}",
        f"for the standardised input: plus its mean {weights['mean'].item():.4g} times the kernel's sum",
    ]
    assert notes["false"] == []


@needs_shared
@pytest.mark.parametrize(
    ("file", "model"),
    [("9-1-5_91-images_x2.mat", SRCNN_RELU), ("FSRCNN-s_x2.mat", FSRCNN_S), ("FSRCNN_x2.mat", ["model=fsrcnn_56"])],
)
@pytest.mark.sampled(1)
def test_the_released_features_on_a_movie(file: str, model: list[str], movie: Path, tmp_path: Path) -> None:
    """The first layer on 8-bit video, from the files themselves."""
    start = ["data=movies", f"data.path={movie}", "recipe.patch=4", "epochs=0", *model, "init=authors"]
    both = []
    for residual in ("true", "false"):
        run = [*start, f"weights={ROOT.parent}/shared/data/weights/{file}", f"recipe.residual={residual}"]
        train_here(tmp_path / residual, run)
        network, frames = trained(tmp_path / residual, run)
        both.append(outputs(network, frames[0][0], 1)[0])
    torch.testing.assert_close(*both, rtol=0, atol=1e-5)


def test_without_the_residual_nothing_changes(mats: dict[str, Path], tmp_path: Path) -> None:
    results = train_here(
        tmp_path, [*SCORED, *FSRCNN_S, "init=authors", f"weights={mats['fsrcnn']}", "recipe.residual=false", "init.layers=1"]
    )
    network = FSRCNNOriginal(d=32, s=5, m=1, scale=2)
    report = Authors(path=str(mats["fsrcnn"]), layers=1)(network)
    loaded = {row.tensor for row in report if row.is_loaded}
    assert loaded == {f"features.{name}" for name in ("0.weight", "0.bias", "1.weight")}
    assert all(torch.equal(weights_of(tmp_path)[name], parameters_by_name(network)[name]) for name in loaded)
    assert {row["reason"] for row in results["init"] if row["tensor"].startswith("features.0")} == {""}


def test_a_checkpoint_of_adapted_features_is_taken_as_it_is(mats: dict[str, Path], tmp_path: Path) -> None:
    train_here(tmp_path / "a", [*SCORED, *FSRCNN_S, "init=authors", f"weights={mats['fsrcnn']}"])
    results = train_here(tmp_path / "b", [*SCORED, *FSRCNN_S, "init=checkpoint", f"weights={ckpt(tmp_path / 'a')}"])
    a, b = weights_of(tmp_path / "a"), weights_of(tmp_path / "b")
    assert all(torch.equal(tensor, b[name]) for name, tensor in a.items())
    assert {row["reason"] for row in results["init"]} == {""}


def test_the_first_network_of_two_and_of_two_stages(mats: dict[str, Path], tmp_path: Path) -> None:
    """The same start as alone; frozen in its stage it is what the run ends with, and what the second network was measured on."""
    model = ["model@model.first=fsrcnn_s", "model.first.border=replicate"]
    alone = [*SCORED, *FSRCNN_S, "init=authors", f"weights={mats['fsrcnn']}"]
    train_here(tmp_path / "alone", alone)
    into = ["model=joint", *model, "init=authors", "init.into=first", f"weights={mats['fsrcnn']}"]
    start = ["init=two_stage", "init@init.first=authors", f"weights={mats['fsrcnn']}", "init.epochs=1"]
    stages = ["model=two_stage", *model, *start]
    runs = {"into": [*SCORED, *into], "stages": [*SCORED, *stages, "tune.freeze=[first.features]"]}
    expected = weights_of(tmp_path / "alone")
    for name, overrides in runs.items():
        results = train_here(tmp_path / name, overrides)
        found = weights_of(tmp_path / name)
        for tensor in ("mean", "std", "features.0.weight", "features.0.bias", "features.6.weight"):
            assert torch.equal(found[f"first.{tensor}"], expected[tensor]), (name, tensor)
        reasons = {row["tensor"]: row["reason"] for row in results["init"]}
        assert "times its std" in reasons["first.features.0.weight"]
        assert statuses(results)["second.body.0.weight"] == "fresh"


def test_the_pull_is_to_the_adapted_weights(mats: dict[str, Path], tmp_path: Path) -> None:
    start = [*QUICK, *FSRCNN_S, "init=authors", f"weights={mats['fsrcnn']}"]
    train_here(tmp_path / "start", [*start, "epochs=0"])
    pulled = ["tune.l2sp=1e4", "recipe.rate=1e-4", "recipe.schedule=constant", "recipe.ema=null", "recipe.clip=null"]
    train_here(tmp_path / "run", [*start, *pulled, "recipe.steps=50", "epochs=1", "patience=null"])
    before = weights_of(tmp_path / "start")["features.0.bias"]
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["state_dict"]
    after = state["network.network.features.0.bias"]
    assert not torch.equal(before, after)
    assert (before - after).abs().max() < 1e-3


# --- kinds of networks and data ------------------------------------------------------------------------------------------


def test_every_channel_counts(mats: dict[str, Path]) -> None:
    frames = movie_like(3)
    for kind, network, options in (("srcnn", SRCNN, {}), ("fsrcnn", FSRCNNOriginal, {"d": 32, "border": "replicate"})):
        plain, standardized = wrapped(network, channels=3, **options)
        Authors(path=str(mats[kind]), layers=1)(plain)
        Authors(path=str(mats[kind]), layers=1)(standardized, frames=lambda: frames)
        ours, theirs = (outputs(found, frames[0][0], 1)[0] for found in (standardized, plain))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_only_the_filters_that_came(mats: dict[str, Path]) -> None:
    """32 of 56; the others see the standardised frame as they were drawn."""
    plain, standardized = wrapped(FSRCNNOriginal, border="replicate")
    drawn = {name: tensor.detach().clone() for name, tensor in parameters_by_name(plain).items()}
    report = Authors(path=str(mats["fsrcnn"]), layers=1)(standardized, frames=movie_like)
    Authors(path=str(mats["fsrcnn"]), layers=1)(plain)
    for name in ("features.0.weight", "features.0.bias"):
        assert torch.equal(parameters_by_name(standardized)[name][32:], drawn[name][32:])
        assert not torch.equal(parameters_by_name(standardized)[name][:32], parameters_by_name(plain)[name][:32])
    x = movie_like()[0][0]
    torch.testing.assert_close(outputs(standardized, x, 1)[0][:, :32], outputs(plain, x, 1)[0][:, :32], rtol=0, atol=1e-5)
    [row] = [row for row in report if row.tensor == "features.0.weight"]
    assert row.status == "overlap"
    assert row.reason.startswith("leading (32, 1): ")
    assert ", for the standardised input: times its std 0." in row.reason


@pytest.mark.parametrize("inflate", ["centre", "average"])
def test_all_taps_of_an_inflated_kernel(inflate: Any, mats: dict[str, Path]) -> None:
    """Padded with zeros, the border differs, in time too."""
    plain, standardized = wrapped(SRNet3D)
    Authors(path=str(mats["fsrcnn"]), inflate=inflate, layers=1)(plain)
    Authors(path=str(mats["fsrcnn"]), inflate=inflate, layers=1)(standardized, frames=movie_like)
    clip = movie_like()[0][0].transpose(0, 1)[None]
    ours, theirs = (outputs(network, clip, 1)[0] for network in (standardized, plain))
    inside = (..., slice(1, -1), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(ours[inside], theirs[inside], rtol=0, atol=1e-5)
    assert (ours - theirs).abs().max() > 1e-2


def test_zeros_beyond_the_border_become_the_mean(mats: dict[str, Path]) -> None:
    plain, standardized = wrapped(FSRCNN)
    Authors(path=str(mats["fsrcnn"]), layers=1)(plain)
    Authors(path=str(mats["fsrcnn"]), layers=1)(standardized, frames=movie_like)
    x = movie_like()[0][0]
    mean = standardized.mean.item()  # type: ignore[union-attr, operator]
    beyond = nn.functional.pad(x, (2, 2, 2, 2), value=mean)
    with torch.no_grad():
        expected = layers_of(plain)[0](beyond)[..., 2:-2, 2:-2]
    torch.testing.assert_close(outputs(standardized, x, 1)[0], expected, rtol=0, atol=1e-5)


def test_a_second_network_sees_what_the_first_puts_out(mats: dict[str, Path]) -> None:
    """Its statistics are those of the first one's output, and the same when they are measured again."""
    torch.manual_seed(0)
    first, second = SRNet3D(scale=2), StandardizedResidual(SRCNN(scale=1))
    network = Cascade(first=StandardizedResidual(first), second=second, scale=2).eval()
    Authors(path=str(mats["srcnn"]), into="second")(network, frames=movie_like)
    measured = second.mean.clone(), second.std.clone()
    network.prepare(movie_like())
    assert (second.mean, second.std) == measured
    plain = SRCNN(scale=1)
    Authors(path=str(mats["srcnn"]), layers=1)(plain)
    with torch.no_grad():
        x = network.first(movie_like()[0][0].transpose(0, 1)[None])[0].transpose(0, 1)
    torch.testing.assert_close(outputs(second, x, 1)[0], outputs(plain, x, 1)[0], rtol=1e-5, atol=1e-5)


def test_what_does_not_come_is_not_adapted(mats: dict[str, Path], tmp_path: Path) -> None:
    """Kernels of another size; and a bias too large for float32, of which the report says what that means."""
    _, standardized = wrapped(SRCNN, kernels=(5, 1, 5))
    drawn = parameters_by_name(standardized)["body.0.weight"].detach().clone()
    report = {row.tensor: row for row in Authors(path=str(mats["srcnn"]))(standardized, frames=movie_like)}
    assert torch.equal(parameters_by_name(standardized)["body.0.weight"], drawn)
    assert report["body.0.weight"].reason.startswith("kernels of another size")
    assert report["body.0.bias"].reason == "without its kernel"
    path = saved(tmp_path / "large.mat", {**srcnn_content(), "biases_conv1": np.full((64, 1), 1e39)})
    _, standardized = wrapped(SRCNN)
    report = {row.tensor: row for row in Authors(path=str(path), mismatch="fresh")(standardized, frames=movie_like)}
    assert report["body.0.weight"].status == "loaded"
    assert report["body.0.bias"].status == "refused"
    assert report["body.0.bias"].reason.startswith("holds values that float32 cannot hold, so the input's mean 0.")
