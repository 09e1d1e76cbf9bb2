"""Tuning: what is frozen stays to the bit and in evaluation mode, factors reach the optimizer, the pull is the paper's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.fakes import TINY_CLIMATE, compose_config, train_here
from tests.models.weights.test_init import ckpt, reasons, weights_of
from vsr.errors import UserError
from vsr.models.fsrcnn import FSRCNN
from vsr.models.parameter_names import canonical_parameter_name
from vsr.models.residual import StandardizedResidual
from vsr.training.build import build_data, build_module
from vsr.training.finetune import Tune, Tuning
from vsr.training.fit import prepare_fit_loaders
from vsr.training.resume.checkpoints import read_checkpoint

QUICK = [*TINY_CLIMATE, "recipe.patch=4", "recipe.steps=4", "recipe.batch=2", "patience=null"]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which others start."""
    folder = tmp_path_factory.mktemp("start") / "run"
    train_here(folder, [*QUICK, "epochs=1"])
    return folder


def last_of(folder: Path) -> dict[str, Tensor]:
    state = read_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]
    return {canonical_parameter_name(name): tensor for name, tensor in state.items() if name.startswith("network.")}


def moved(before: dict[str, Tensor], after: dict[str, Tensor], module: str) -> bool:
    """Whether all tensors of a module differ; they must not differ in part."""
    found = {torch.equal(tensor, after[name]) for name, tensor in before.items() if name.startswith(module)}
    assert len(found) == 1
    return not found.pop()


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
@pytest.mark.parametrize("ema", ["null", "0.9"])
@pytest.mark.sampled(2)
def test_what_is_frozen_stays_to_the_bit(schedule: str, ema: str, start: Path, tmp_path: Path) -> None:
    tune = ["tune.freeze=[features]", f"recipe.schedule={schedule}", f"recipe.ema={ema}", "epochs=2"]
    train_here(tmp_path, [*QUICK, "init=checkpoint", f"weights={ckpt(start)}", *tune])
    before, after = weights_of(start), last_of(tmp_path)
    assert not moved(before, after, "features.")
    assert moved(before, after, "enlarge")


@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
@pytest.mark.sampled(1)
def test_what_is_frozen_thaws(schedule: str, start: Path, tmp_path: Path) -> None:
    tune = ["tune.freeze=[features.0,features.2]", "tune.freeze_epochs=2", f"recipe.schedule={schedule}"]
    for epochs, thawed in ((2, False), (3, True)):
        folder = tmp_path / str(epochs)
        train_here(folder, [*QUICK, "init=checkpoint", f"weights={ckpt(start)}", *tune, f"epochs={epochs}"])
        before, after = weights_of(start), last_of(folder)
        assert moved(before, after, "features.0.") == moved(before, after, "features.2.") == thawed
        assert moved(before, after, "features.4.")


def test_frozen_parts_are_in_evaluation_mode_until_they_thaw() -> None:
    network = nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), nn.Dropout(), nn.Conv2d(2, 1, 3))
    tuning = Tuning(Tune(freeze=["0"], freeze_epochs=2), network)
    for epoch, frozen in ((0, True), (1, True), (2, False), (3, False)):
        network.train()
        tuning.begin_epoch(epoch)
        assert [module.training for module in (network[0], network[0][1], network[1], network[2])] == [
            not frozen,
            not frozen,
            True,
            True,
        ]
        assert network[0][0].weight.requires_grad == (not frozen)
    tuning.release()
    assert all(module.training for module in network.modules())


def test_a_frozen_network_is_scored(start: Path, tmp_path: Path) -> None:
    brought = ["init=checkpoint", f"weights={ckpt(start)}"]
    everything = "tune.freeze=[features,enlarge,enlarge_act,out]"
    results = train_here(tmp_path / "run", [*QUICK, *brought, everything, "epochs=3"])
    assert len(results["history"]) == 1
    assert all(torch.equal(tensor, weights_of(tmp_path / "run")[name]) for name, tensor in weights_of(start).items())
    with pytest.raises(UserError, match=r"leaves nothing to train in the first 2 epochs; freeze less"):
        train_here(tmp_path / "x", [*QUICK, *brought, everything, "tune.freeze_epochs=2"])


@pytest.mark.parametrize("key", ["freeze=[featurs]", "rates={featurs: 0.1}"])
def test_names_that_there_are_not(key: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"tune.{key[:5]}\w*: there is no featurs; did you mean 'features'\?"):
        train_here(tmp_path, [*QUICK, f"tune.{key}"])
    with pytest.raises(UserError, match=r"there is no network.features; did you mean"):  # the wrapper's name is not for people
        train_here(tmp_path, [*QUICK, "tune.freeze=[network.features]"])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_factors_reach_the_optimizer(schedule: str, tmp_path: Path) -> None:
    rates = "tune.rates={features: 0.5, features.0: 0.1, features.6.bias: 2}"
    results = train_here(tmp_path, [*QUICK, rates, f"recipe.schedule={schedule}", "epochs=2", "recipe.rate=1e-3"])
    content = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    [optimizer] = content["optimizer_states"]
    peak = {"constant": "lr", "cosine": "initial_lr", "one_cycle": "max_lr"}[schedule]
    sizes = {group[peak]: len(group["params"]) for group in optimizer["param_groups"]}
    assert sizes == pytest.approx({1e-3: 5, 5e-4: 9, 1e-4: 2, 2e-3: 1})
    rates_now = [group["lr"] for group in optimizer["param_groups"]]
    if schedule != "cosine":  # which ends at zero for all
        assert [rate / rates_now[0] for rate in rates_now] == pytest.approx([1, 0.1, 0.5, 2])
    assert results["history"][1]["train/rate"] <= 1.001e-3  # the recipe's is what is logged


def test_the_pull_is_the_papers() -> None:
    """a/2 |w - w0|^2 over what was brought, so its gradient is a (w - w0) there and nothing elsewhere."""
    torch.manual_seed(0)
    network = StandardizedResidual(FSRCNN(scale=2)).double()
    name = "features.4.weight"
    weight = network.network.features[4].weight
    mask = torch.zeros_like(weight)
    mask[:5, :5] = 1
    tuning = Tuning(Tune(l2sp=0.3), network, {name: mask, "out.bias": torch.ones(1)})
    tuning.begin()
    with torch.no_grad():
        assert float(tuning.penalty()) == 0
    start = {key: tensor.detach().clone() for key, tensor in network.named_parameters()}
    with torch.no_grad():
        for tensor in network.parameters():
            tensor += torch.randn_like(tensor)
    change = (weight - start[f"network.{name}"]).detach() * mask
    bias = (network.network.out.bias - start["network.out.bias"]).detach()
    penalty = tuning.penalty()
    assert isinstance(penalty, Tensor)
    assert penalty.item() == pytest.approx(0.15 * float(change.square().sum() + bias.square().sum()))
    penalty.backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, 0.3 * change)
    torch.testing.assert_close(network.network.out.bias.grad, 0.3 * bias)
    assert network.network.features[0].weight.grad is None


def test_the_pull_is_in_the_loss_of_a_step() -> None:
    cfg = compose_config("train", [*QUICK, "tune.l2sp=0.5"])
    data = build_data(cfg)
    module = build_module(cfg, data.card, data.test_splits)
    module.prepare(data.training_frames())
    prepare_fit_loaders(data, module)
    batch = next(iter(data.train_dataloader()))
    ones = {canonical_parameter_name(name): torch.ones_like(tensor) for name, tensor in module.network.named_parameters()}
    module.tuning = Tuning(module.tune, module.network, ones)
    module.tuning.begin()
    before = module.training_step(batch, 0).item()
    out = module.network.network.out.weight
    with torch.no_grad():
        out += 1.0
    alone = module.loss(module.normalizer(batch.lr), module.normalizer(batch.hr), None).item()
    assert module.training_step(batch, 0).item() == pytest.approx(alone + 0.25 * out.numel(), rel=1e-5)
    assert before < alone


def test_a_strong_pull_holds_what_was_brought(start: Path, tmp_path: Path) -> None:
    far = {}
    for pull in (0.0, 100.0):
        folder = tmp_path / str(pull)
        brought = ["init=checkpoint", f"weights={ckpt(start)}", "init.modules=[features]", f"tune.l2sp={pull}"]
        train_here(folder, [*QUICK, *brought, "epochs=2", "recipe.clip=null", "recipe.rate=1e-3"])
        before, after = weights_of(start), last_of(folder)
        far[pull] = sum((before[name] - after[name]).square().sum().item() for name in before if name.startswith("features"))
    assert far[100.0] < 0.5 * far[0.0]


def test_a_pull_to_nothing_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a sweep over starts the random one runs, too."""
    with caplog.at_level("INFO"):
        train_here(tmp_path, [*QUICK, "tune.l2sp=0.1", "epochs=0"])
    assert "l2sp has nothing to pull to: no pretrained weights were loaded" in caplog.text


def test_stages_take_what_is_about_parts_of_them() -> None:
    tune = Tune(
        freeze=["first", "first.features", "second", "second.body.0"], rates={"first": 0.1, "first.out": 0.2, "second": 3.0}
    )
    assert tune.of_stage("first") == Tune(freeze=["features"], rates={"out": 0.2})
    second = tune.of_stage("second")
    assert second.freeze == ["first", "first.features", "second.body.0"]
    assert second.rates == {"first": 0.1, "first.out": 0.2}


def test_two_stages_then_the_first_one_frozen(tmp_path: Path) -> None:
    """Its own stage trains it, but for the layer that is named; after that it stays as it is."""
    overrides = ["model=joint", "init=two_stage", "init.epochs=1", "tune.freeze=[first,first.features.0]", "epochs=2"]
    results = train_here(tmp_path, [*QUICK, *overrides])
    assert set(results["stages"]) == {"first", "second"}
    first = last_of(tmp_path / "first")
    second, final = (weights_of(path) for path in (tmp_path / "second", tmp_path))
    after = last_of(tmp_path)
    drawn: dict[str, Any] = dict(build_drawn(overrides).named_parameters())
    assert torch.equal(first["features.0.weight"], drawn["first.network.features.0.weight"])
    assert not torch.equal(first["features.2.weight"], drawn["first.network.features.2.weight"])
    for name in (name for name in final if name.startswith("first.")):
        assert torch.equal(final[name], second[name]), name
        assert torch.equal(after[name], second[name]), name
    assert moved(second, after, "second.body.8")
    assert reasons(results) == dict.fromkeys(reasons(results), "")


def build_drawn(overrides: list[str]) -> nn.Module:
    """The network as a run of seed 0 draws it."""
    import lightning as L

    cfg = compose_config("train", [*QUICK, *overrides])
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data = build_data(cfg)
    return build_module(cfg, data.card, data.test_splits).network


def test_a_joint_network_with_a_slower_first_one(start: Path, tmp_path: Path) -> None:
    brought = ["model=joint", "init=checkpoint", f"weights={ckpt(start)}", "init.into=first", "recipe.schedule=constant"]
    train_here(tmp_path, [*QUICK, *brought, "tune.rates={first: 0.01}", "epochs=1"])
    [optimizer] = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["optimizer_states"]
    assert [group["lr"] for group in optimizer["param_groups"]] == pytest.approx([4e-3, 4e-5])
    assert moved(weights_of(start), {k.removeprefix("first."): t for k, t in last_of(tmp_path).items()}, "features.")
