"""A budget becomes a plan of epochs and steps before training; the run is then the same as one for which these were typed."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from tests.conftest import Script
from tests.fakes import CONF, TINY_CLIMATE, choices, compose_config
from tests.kills import first_difference, outcome
from tests.training.resume.test_resume import Steps
from vsr.config.check import check_config
from vsr.config.duration import parse_duration
from vsr.data.base import SRDataModule
from vsr.errors import UserError
from vsr.sweeps.folder import SweepFolder
from vsr.system.cpu import cpu_computes_bf16
from vsr.system.signals import Stopped
from vsr.training.budget.plan import AIM, EPOCHS, StepRate, plan_budget
from vsr.training.budget.step_time import measure_step_rate
from vsr.training.build import build_data
from vsr.training.callbacks import TimeLimit
from vsr.training.resume.checkpoints import read_checkpoint
from vsr.training.resume.state import resume_random_states
from vsr.training.run import train

TINY = [*TINY_CLIMATE, "recipe.patch=8", "recipe.batch=4", "trainer.accelerator=cpu", "checkpoint_seconds=null"]
SLOW = StepRate(0.25, 0.1)  # what the tests let a step seem to take: 5 s are then 5 epochs of 3 steps


def run(folder: Path, *overrides: str) -> dict[str, Any]:
    cfg = compose_config("train", [*TINY, *overrides])
    check_config(cfg)
    return train(cfg, folder)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Measure as always, and then plan with another rate; the names of the fits that were measured."""
    from vsr.training.budget import resolve
    from vsr.training.budget import step_time as timing

    measured: list[str] = []
    real = resolve.measure_fit_rates

    def rates(*arguments: Any) -> dict[str, StepRate]:
        found = real(*arguments)
        measured.extend(found)
        return dict.fromkeys(found, SLOW)

    monkeypatch.setattr(resolve, "measure_fit_rates", rates)
    monkeypatch.setattr(timing, "SECONDS", 0.1)
    monkeypatch.setattr(resolve, "OVERTIME", 1000.0)  # the rates are not those of this machine, nor is it quiet
    return measured


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("5min", 300.0), ("1.5h", 5400.0), ("0.5 min", 30.0), (".1h", 360.0), ("5s", 5.0)]
)
def test_a_budget_is_a_time(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("300", "budget=300: seconds, minutes or hours? type budget=300s"),
        ("4.9s", "budget=4.9s: must be 5 seconds or more; type budget=5s"),
        ("0min", "must be 5 seconds or more"),
        ("5 minutes", "budget=5 minutes: must be a time; type budget=90s, budget=5min or budget=1.5h"),
        ("-5min", "must be a time"),
        ("nan", "must be a time"),
        ("inf", "must be a time"),
        ("1e3s", "must be a time"),
        ("", "must be a time"),
    ],
)
def test_what_is_no_time_is_refused_with_what_to_type(text: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_duration(text)
    assert said in str(refused.value)


@given(st.floats(1e-4, 10), st.floats(1e-3, 100), st.floats(5, 1e5))
def test_a_plan_ends_within_its_budget_and_uses_it(step: float, epoch: float, seconds: float) -> None:
    try:
        found = plan_budget(StepRate(step, epoch), seconds)
    except UserError as error:
        assert step + epoch > AIM * seconds * (1 - 1e-9), error
        return
    took = found.epochs * (found.steps * step + epoch)
    assert took <= AIM * seconds * (1 + 1e-9)
    assert took > AIM * seconds - found.epochs * step * (1 + 1e-6)
    assert found.steps >= 1
    assert 1 <= found.epochs <= EPOCHS[1]
    if found.epochs > EPOCHS[0]:
        assert found.epochs * epoch <= 0.1 * seconds * (1 + 1e-9)
    if found.epochs < EPOCHS[0]:
        assert EPOCHS[0] * epoch > seconds / 2 or EPOCHS[0] * (epoch + step) > AIM * seconds * (1 - 1e-9)


def test_a_budget_without_time_for_a_step_is_refused() -> None:
    with pytest.raises(UserError, match=r"one step takes 30 s and what follows an epoch 2 s; type budget=33s or more"):
        plan_budget(StepRate(30, 2), 10)


def test_a_run_with_a_budget_is_the_one_typed_with_its_plan_to_the_bit(slow: list[str], tmp_path: Path) -> None:
    results = run(tmp_path / "budget", "budget=5s")
    assert slow == ["whole"]
    assert results["plan"]["settled"] == {"epochs": 5, "recipe.steps": 3, "patience": None}
    assert results["plan"] == json.loads((tmp_path / "budget" / "plan.json").read_text())
    assert results["config"]["epochs"] == 5
    typed = run(tmp_path / "typed", "epochs=5", "recipe.steps=3", "patience=null")
    assert results["history"] == typed["history"]
    a, b = (read_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt") for name in ("budget", "typed"))
    for key in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "resume"):
        assert first_difference(a[key], b[key]) is None, key
    assert a["vsr"]["plan"] == results["plan"]
    assert not (tmp_path / "typed" / "plan.json").exists()
    assert not (tmp_path / "budget" / ".timing").exists()


def test_measuring_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cfg = compose_config("train", [*TINY, "model=joint", "tune.freeze=[first]", "tune.freeze_epochs=1"])
    data = build_data(cfg)
    before = resume_random_states()
    found = measure_step_rate(cfg, data)
    assert 0 < found.step < 2
    assert 0 < found.epoch < 20
    assert first_difference(resume_random_states(), before) is None
    assert list(tmp_path.iterdir()) == []


def test_a_rate_is_that_of_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A network that sleeps 20 ms in each training step and 200 ms in each validation."""
    import time

    from vsr.training.modules.base import SRModule

    step, end = SRModule.training_step, SRModule.on_validation_epoch_end

    def slow_step(module: SRModule, batch: Any, batch_idx: int) -> Any:
        time.sleep(0.02)
        return step(module, batch, batch_idx)

    def slow_end(module: SRModule) -> None:
        time.sleep(0.2)
        end(module)

    monkeypatch.setattr(SRModule, "training_step", slow_step)
    monkeypatch.setattr(SRModule, "on_validation_epoch_end", slow_end)
    cfg = compose_config("train", [*TINY, "model=plain"])
    found = measure_step_rate(cfg, build_data(cfg))
    assert 0.02 < found.step < 0.2  # with room for other load
    assert 0.2 < found.epoch < 4


@pytest.mark.parametrize(
    ("overrides", "stops"),
    [
        ([], (4, 9)),
        (["model=two_stage", "init.epochs=60", "recipe.batch=2"], (4,)),
    ],
    ids=["one fit", "two stages"],
)
@pytest.mark.sampled(1)
def test_a_run_with_a_budget_that_was_stopped_goes_on_with_its_plan(
    overrides: list[str], stops: tuple[int, ...], slow: list[str], steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vsr.training.budget import resolve

    overrides = [*overrides, "budget=5s"]
    whole = run(tmp_path / "whole", *overrides)
    real = resolve.measure_fit_rates

    def rates(*arguments: Any) -> dict[str, StepRate]:
        found = real(*arguments)
        steps.count, steps.at = 0, stops[0]  # counted from the first step that is not of the measurement
        return found

    monkeypatch.setattr(resolve, "measure_fit_rates", rates)
    with pytest.raises(Stopped):
        run(tmp_path / "parts", *overrides, "resume=auto")
    monkeypatch.setattr(resolve, "measure_fit_rates", lambda *_: pytest.fail("measured again"))
    for steps.at in stops[1:]:
        with pytest.raises(Stopped):
            run(tmp_path / "parts", *overrides, "resume=auto")
    results = run(tmp_path / "parts", *overrides, "resume=auto")
    assert first_difference(outcome(tmp_path / "whole"), outcome(tmp_path / "parts")) is None
    assert whole["plan"] == results["plan"]
    assert run(tmp_path / "parts", *overrides, "resume=auto") == json.loads(json.dumps(results))  # finished: given back
    with pytest.raises(UserError, match="holds a finished run with budget=5s"):
        run(tmp_path / "parts", *overrides[:-1], "budget=6s", "resume=auto")


@pytest.mark.long
def test_stages_share_a_budget_in_the_ratio_of_their_epochs(slow: list[str], tmp_path: Path) -> None:
    overrides = ["model=two_stage", "init.epochs=30", "recipe.batch=2", "budget=12s"]
    results = run(tmp_path, *overrides)
    assert slow == ["first", "whole"]
    found = results["plan"]
    assert found["fits"]["first"]["epochs"] == found["fits"]["whole"]["epochs"]  # 30 and 30 in the config
    took = sum(fit["epochs"] * (found["steps"] * SLOW.step + SLOW.epoch) for fit in found["fits"].values())
    assert 0.8 * 12 < took <= 12
    assert len(results["stages"]["first"]["history"]) == found["fits"]["first"]["epochs"] + 1
    assert len(results["history"]) == found["fits"]["whole"]["epochs"] + 1
    assert results["config"]["init"]["epochs"] == found["settled"]["init.epochs"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["budget=5min", "epochs=3"], "epochs: follows from budget=5min; leave it out, or type budget=null"),
        (["budget=5min", "recipe.steps=3"], "recipe.steps: follows from budget=5min; leave it out, or type budget=null"),
        (["preset=fast", "epochs=3"], "epochs: follows from budget=1min; leave it out, or type budget=null"),
        (["budget=300"], "budget=300: seconds, minutes or hours?"),
    ],
)
def test_what_follows_from_a_budget_is_not_typed(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError) as refused:
        check_config(compose_config("train", overrides))
    assert str(refused.value).startswith(said)
    check_config(compose_config("train", ["preset=fast", "budget=null", "epochs=3"]))


@pytest.mark.long
def test_patience_is_off_under_a_budget_unless_it_is_typed(slow: list[str], tmp_path: Path) -> None:
    results = run(tmp_path, "budget=5s", "patience=1", "recipe.rate=0.5")
    assert results["config"]["patience"] == 1
    assert "patience" not in results["plan"]["settled"]
    assert len(results["history"]) < 6


@pytest.mark.long
def test_a_fit_that_runs_away_is_ended_and_its_best_epoch_kept(
    slow: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from vsr.training.modules.base import SRModule

    # Seconds by steps: 3 s each, so that 7.5 s of the budget of 5 s are over in the middle of the first epoch.
    monkeypatch.setattr(SRModule, "trained_seconds", lambda module: 3.0 * module.global_step)
    monkeypatch.setattr("vsr.training.budget.resolve.measure_fit_rates", lambda *_: {"whole": StepRate(0.1, 0.1)})
    monkeypatch.setattr("vsr.training.budget.resolve.OVERTIME", 1.5)
    with caplog.at_level(logging.WARNING):
        results = run(tmp_path, "budget=5s")
    assert results["plan"]["settled"]["recipe.steps"] > 3
    assert [row["epoch"] for row in results["history"]] == [0, 1]
    assert "training ends here, before the end of its schedule; the best epoch is kept" in caplog.text
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 3
    typed = run(tmp_path / "short", "epochs=1", "recipe.steps=3", "recipe.schedule=constant")
    assert results["history"][1]["train/loss"] == pytest.approx(typed["history"][1]["train/loss"], rel=0.2)  # of 3 steps, not 8


@pytest.mark.long
def test_time_between_the_parts_of_a_run_is_not_training(slow: list[str], steps: Steps, tmp_path: Path) -> None:
    """A run that lay still for an hour is not over its time: seconds are taken from the checkpoint, not from the calendar."""
    from vsr.training.budget import resolve

    assert resolve.budget_time_limits(
        {"seconds": 10.0, "steps": 1, "fits": {"whole": {"epochs": 1, "step": 1.0, "epoch": 0.0}}}
    ) == {"whole": 10_000.0}
    results = run(tmp_path, "budget=5s")
    saved = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["vsr_progress"]["spent"]
    assert 0 < saved <= results["provenance"]["cost"]["training_seconds"]
    assert TimeLimit(1.0).state_dict() == {}  # it keeps no clock of its own


def test_a_network_without_weights_needs_no_budget(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        results = run(tmp_path, "model=bicubic", "budget=5s")
    assert "budget    5s: there is nothing to train, and the budget is not needed" in caplog.text
    assert {row["method"] for row in results["rows"]} >= {"bicubic", "linear"}
    cfg = compose_config("train", [*TINY, "model=bicubic"])
    data = build_data(cfg)
    with pytest.raises(UserError, match="there is nothing to train, and so nothing to measure"):
        measure_step_rate(cfg, data)


def test_a_sweep_knows_its_runs_again(slow: list[str], tmp_path: Path) -> None:
    asked = compose_config("train", [*TINY, "budget=5s", "precision=auto"])
    config: Any = OmegaConf.to_container(asked, resolve=True)
    config.pop("resume")
    place = SweepFolder(tmp_path)
    slot = place.find_or_add(["budget=5s"], json.loads(json.dumps(config)))
    run(tmp_path / "0", "budget=5s", "precision=auto")
    assert place.results(slot) is not None
    assert place.finished(slot)
    other = place.find_or_add(["budget=6s"], {**slot.config, "budget": "6s"}, number=1)
    (tmp_path / "0").rename(tmp_path / "1")
    assert place.results(other) is None


@pytest.mark.long
def test_auto_precision_stays_what_it_was_on_another_machine(
    steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsr.training.hardware.cpu_computes_bf16", lambda: True)
    overrides = ["precision=auto", "epochs=2", "recipe.steps=4"]
    whole = run(tmp_path / "whole", *overrides)
    assert whole["config"]["precision"] == "bf16"
    steps.at = steps.count + 5
    with pytest.raises(Stopped):
        run(tmp_path / "parts", *overrides)
    monkeypatch.setattr("vsr.training.hardware.cpu_computes_bf16", lambda: False)
    run(tmp_path / "parts", *overrides, "resume=auto")
    assert first_difference(outcome(tmp_path / "whole"), outcome(tmp_path / "parts")) is None
    typed = run(tmp_path / "typed", "precision=bf16", "epochs=2", "recipe.steps=4")
    assert typed["history"] == whole["history"]
    assert run(tmp_path / "here", *overrides)["config"]["precision"] == "32"


def test_what_the_processor_says_of_itself(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    assert not cpu_computes_bf16(file)
    file.write_text("flags : fpu avx512f avx512_bf16 sse\n")
    assert cpu_computes_bf16(file)
    file.write_text("flags : fpu avx512f sse\n")
    assert not cpu_computes_bf16(file)


@pytest.mark.parametrize("preset", choices("preset"))
@pytest.mark.sampled(1)
def test_every_preset_trains(preset: str, slow: list[str], tmp_path: Path) -> None:
    results = run(tmp_path, f"preset={preset}", "budget=5s")
    assert results["config"]["budget"] == "5s"
    assert len(results["history"]) == 6
    # Sizes stand in conf/model, or a network that is typed would be given those of another one.
    assert not {"model", "data"} & set(OmegaConf.load(CONF / "preset" / f"{preset}.yaml"))


def test_what_is_typed_wins_over_a_preset() -> None:
    cfg = compose_config("train", ["preset=best", "model=fsrcnn", "budget=5min", "precision=32", "recipe.rate=1e-3"])
    check_config(cfg)
    assert (cfg.name, cfg.budget, cfg.precision, cfg.recipe.rate) == ("fsrcnn", "5min", 32, 1e-3)
    assert cfg.model._target_.endswith("fsrcnn.FSRCNN")
    assert compose_config("train", ["model=fsrcnn", "preset=best"]).name == "fsrcnn"
    assert compose_config("train", ["preset=best"]).name != "fsrcnn"


def test_help_names_presets_and_the_budget(script: Script) -> None:
    said = script("train", "--help").stdout
    assert re.search(r"preset +null balanced best fast", said)
    assert "budget: null # training time, as 90s, 5min or 1.5h" in said


def test_the_rate_as_a_line_of_json(script: Script) -> None:
    command = ["vsr", "budget", *TINY, "model=plain", "precision=auto"]
    done = script(*command)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == {"step", "epoch"}
    assert 0 < found["step"] < 1
    done = script(*command, "modl=plain")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: modl")
    assert done.stderr.count("\n") == 1


@pytest.mark.long
def test_processes_of_one_run_share_a_plan(script: Script, tmp_path: Path) -> None:
    arguments = [*TINY, "model=plain", "strategy=ddp", "trainer.devices=2", "budget=6s", f"hydra.run.dir={tmp_path / 'run'}"]
    done = script("train", *arguments)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["config"]["epochs"] == results["plan"]["settled"]["epochs"]
    # Beside other work it may be ended early, at one and a half budgets, by both processes at once.
    assert 2 <= len(results["history"]) <= results["config"]["epochs"] + 1
    assert 2 < results["provenance"]["cost"]["training_seconds"] < 1.5 * 6 + 4


@pytest.mark.long
def test_training_takes_the_time_of_its_budget(tmp_path: Path) -> None:
    results = run(tmp_path, "model=fsrcnn", "budget=15s")
    assert 9 < results["provenance"]["cost"]["training_seconds"] < 1.5 * 15 + 2


def test_a_source_of_data_serves_the_run_as_if_it_had_not_been_measured(slow: list[str]) -> None:
    cfg = compose_config("train", [*TINY, "model=plain"])
    measured, fresh = build_data(cfg), build_data(cfg)
    measure_step_rate(cfg, measured)

    def first(data: SRDataModule) -> torch.Tensor:
        data.configure_loaders(data.recipe if data is fresh else fresh.recipe, context=0, margin=0, trim=0)
        return next(iter(data.train_dataloader())).hr

    assert torch.equal(first(fresh), first(measured))
