"""A trial decides between a movie network and a frame network; the run is then the one for which the winner was typed."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from tests.conftest import Script
from tests.fakes import TINY_CLIMATE, compose_config, evaluate_here, write_y4m
from tests.kills import first_difference, outcome
from tests.training.resume.test_resume import Steps
from vsr.config.alternative_model import rival
from vsr.config.check import check
from vsr.errors import UserError
from vsr.sweeps.folder import SweepFolder
from vsr.system.signals import Stopped
from vsr.training.budget.plan import Rate
from vsr.training.budget.trial import gain, verdict
from vsr.training.resume.checkpoints import read_checkpoint
from vsr.training.run import train

SHORT = ["recipe.patch=8", "recipe.batch=4", "trainer.accelerator=cpu", "checkpoint_seconds=null"]
SMALL = ["model.width=6", "model.blocks=2"]
BOTH = [*TINY_CLIMATE, *SHORT, *SMALL, "model=stacked", "alternative=resnet", "budget=40s"]
SLOW = Rate(0.5, 0.2)  # what a step and an epoch's end seem to take: a trial of 2 s is then one of 2 steps, the other 36 s are 54


def run(folder: Path, *overrides: str) -> dict[str, Any]:
    cfg = compose_config("train", list(overrides))
    check(cfg)
    return train(cfg, folder)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Measure as always, and then plan with another rate; the networks that were measured."""
    from vsr.training.budget import resolve as settling
    from vsr.training.budget import step_time as timing

    measured: list[str] = []
    real = settling.fit_rates

    def rates(cfg: Any, *arguments: Any) -> dict[str, Rate]:
        measured.append(cfg.name)
        return dict.fromkeys(real(cfg, *arguments), SLOW)

    monkeypatch.setattr(settling, "fit_rates", rates)
    monkeypatch.setattr(timing, "SECONDS", 0.1)
    monkeypatch.setattr(settling, "OVERTIME", 1000.0)
    monkeypatch.setattr(settling, "FEWEST", 2)
    return measured


@pytest.fixture
def steered(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Trials are real, but for their scores, which are these."""
    from vsr.training.budget import trial

    scores: dict[str, float] = {}
    real = trial._score
    monkeypatch.setattr(trial, "_score", lambda cfg, *rest: scores.get(cfg.name, real(cfg, *rest)))
    return scores


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


def test_a_frame_network_that_wins_is_the_run_that_was_typed_with_it_to_the_bit(
    slow: list[str], steered: dict[str, float], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    steered |= {"stacked": 45.10, "resnet": 45.06}
    with caplog.at_level(logging.INFO):
        results = run(tmp_path / "trial", *BOTH)
    assert "trial     stacked 45.10, resnet 45.06 dB val/psnr after 2 s each: resnet\n" in caplog.text
    assert "neighbouring frames do not help here: one frame" in caplog.text
    assert slow == ["stacked", "resnet"]  # each once: the winner is not measured again
    plan = results["plan"]
    assert plan["trial"]["scores"] == {"stacked": 45.10, "resnet": 45.06}
    assert plan == json.loads((tmp_path / "trial" / "plan.json").read_text())
    assert plan["seconds"] == pytest.approx(36)  # of 40: the trial took two twentieths
    settled = [f"{key}={value}" for key, value in plan["settled"].items() if value is not None]
    typed = run(tmp_path / "typed", *TINY_CLIMATE, *SHORT, *SMALL, "model=resnet", "patience=null", *settled)
    assert results["history"] == typed["history"]
    assert results["config"] | {"budget": None} == typed["config"]
    a, b = (read_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt") for name in ("trial", "typed"))
    for key in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "resume"):
        assert first_difference(a[key], b[key]) is None, key
    assert a["vsr"]["plan"] == plan
    assert not (tmp_path / "trial" / ".trial").exists()
    table = evaluate_here(tmp_path / "table", [f"checkpoint={tmp_path / 'trial' / 'checkpoints' / 'best.ckpt'}"])
    assert "resnet" in {row["method"] for row in table["rows"]}


def test_a_movie_network_that_wins_clearly_is_trained(
    slow: list[str], steered: dict[str, float], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    steered |= {"stacked": 45.10, "resnet": 45.04}
    with caplog.at_level(logging.INFO):
        results = run(tmp_path, *BOTH)
    assert "do not help" not in caplog.text
    assert results["plan"]["trial"]["chosen"] == results["config"]["name"] == "stacked"
    assert results["config"]["alternative"] is None
    assert len(results["history"]) == results["plan"]["settled"]["epochs"] + 1


def test_a_trial_is_decided_by_its_own_scores(slow: list[str], tmp_path: Path) -> None:
    """On frames that know nothing of each other, so that either may be ahead by chance."""
    rng = np.random.default_rng(0)
    movie = write_y4m(tmp_path / "noise.y4m", rng.integers(16, 236, (24, 32, 32), dtype=np.uint8))
    data = ["data=movies", f"data.path={movie}"]
    results = run(tmp_path / "run", *data, *SHORT, *SMALL, "model=stacked", "alternative=resnet", "budget=40s")
    trial = results["plan"]["trial"]
    assert set(trial["scores"]) == {"stacked", "resnet"}
    lead = trial["scores"]["stacked"] - trial["scores"]["resnet"]
    assert trial["chosen"] == results["config"]["name"] == ("stacked" if lead >= 0.05 else "resnet")


def test_the_winner_has_its_own_recipe_and_the_arguments_that_it_knows(
    slow: list[str], steered: dict[str, float], tmp_path: Path
) -> None:
    steered |= {"stacked": 1.0, "resnet": 2.0}
    overrides = [each for each in BOTH if not each.startswith("recipe.batch")]
    config = run(tmp_path, *overrides, "model.frames=3", "recipe.rate=1e-3")["config"]
    alone = compose_config("train", ["model=resnet", "recipe.rate=1e-3"])
    assert config["recipe"]["batch"] == alone.recipe.batch == 16  # not the 4 of a movie network
    assert config["recipe"]["rate"] == 1e-3
    assert config["model"] == {"_target_": "vsr.models.resnet.ResNet", "width": 6, "blocks": 2}


def test_a_choice_is_not_made_again(
    slow: list[str], steered: dict[str, float], steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vsr.training.budget import resolve as settling

    steered |= {"stacked": 1.0, "resnet": 2.0}
    whole = run(tmp_path / "whole", *BOTH)
    real = settling.compete

    def compete(*arguments: Any) -> dict[str, float]:
        found = real(*arguments)
        steps.count, steps.at = 0, 9  # counted from the first step behind the trial
        return found

    monkeypatch.setattr(settling, "compete", compete)
    with pytest.raises(Stopped):
        run(tmp_path / "parts", *BOTH, "resume=auto")
    steered |= {"stacked": 3.0}
    monkeypatch.setattr(settling, "compete", lambda *_: pytest.fail("tried again"))
    results = run(tmp_path / "parts", *BOTH, "resume=auto")
    assert first_difference(outcome(tmp_path / "whole"), outcome(tmp_path / "parts")) is None
    assert whole["plan"] == results["plan"]
    assert run(tmp_path / "parts", *BOTH, "resume=auto") == json.loads(json.dumps(results))  # finished: given back
    with pytest.raises(UserError, match=r"had model=stacked and alternative=resnet to choose from, and took resnet"):
        run(tmp_path / "parts", *BOTH, "alternative=plain", "resume=auto")


def test_an_interrupted_trial_begins_anew(
    slow: list[str], steered: dict[str, float], steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vsr.training.budget import resolve as settling

    steered |= {"stacked": 1.0, "resnet": 2.0}
    real = settling.compete

    def compete(*arguments: Any) -> dict[str, float]:
        steps.count, steps.at = 0, 4  # a step of the second network
        return real(*arguments)

    monkeypatch.setattr(settling, "compete", compete)
    with pytest.raises(Stopped, match="before the first checkpoint"):
        run(tmp_path / "parts", *BOTH, "resume=auto")
    assert not (tmp_path / "parts" / ".trial").exists()
    assert not (tmp_path / "parts" / "plan.json").exists()
    monkeypatch.setattr(settling, "compete", real)
    results = run(tmp_path / "parts", *BOTH, "resume=auto")
    assert results["plan"]["trial"]["chosen"] == "resnet"
    assert results["history"] == run(tmp_path / "whole", *BOTH)["history"]


def test_single_pictures_need_no_trial(
    slow: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("vsr.training.budget.resolve.compete", lambda *_: pytest.fail("tried"))
    pictures = ["data=images", "data.learn=4", "data.test=1", "data.val=0.25"]
    with caplog.at_level(logging.INFO):
        results = run(tmp_path, *pictures, *SHORT, *SMALL, "preset=best", "precision=32", "budget=5s")
    assert "trial     none: the data are single pictures, which stacked cannot be trained on: resnet" in caplog.text
    assert results["config"]["name"] == "resnet"
    assert results["plan"]["seconds"] == 5.0  # all of the budget
    assert results["plan"]["trial"]["scores"] == {}


def test_movies_that_are_too_short_for_the_movie_network_need_no_trial(
    slow: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        results = run(tmp_path, *BOTH, "recipe.frames=40")
    assert "stacked is trained on clips of 40 frames, the longest training movie has 8: resnet" in caplog.text
    assert results["config"]["name"] == "resnet"


def test_without_time_for_a_trial_the_model_stays(slow: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        results = run(tmp_path, *BOTH, "budget=6s")
    assert "trial     none: stacked would make 0 steps in 0.3 s, a twentieth of the budget" in caplog.text
    assert results["config"]["name"] == "stacked"
    assert results["plan"]["seconds"] == 6.0
    assert slow == ["stacked", "resnet"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["alternative=resnt", "budget=5min"], "alternative=resnt: there is none; did you mean 'resnet'?"),
        (["alternative=resnet"], "alternative=resnet: is tried for a part of a budget; type budget=5min, or alternative=null"),
        (["preset=best", "budget=null"], "alternative=resnet: is tried for a part of a budget"),
        (["model=resnet", "alternative=resnet", "budget=5min"], "alternative=resnet: is the model itself"),
        (["model=stacked", "model.blocks=0.5", "alternative=resnet", "budget=5min"], "model.blocks=0.5: must be"),
    ],
)
def test_what_cannot_compete_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError) as refused:
        check(compose_config("train", overrides))
    assert str(refused.value).startswith(said)


def test_a_typo_is_refused_before_torch_is_imported(script: Script) -> None:
    done = script("train", "preset=best", "alternative=resnt")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: alternative=resnt: there is none; did you mean 'resnet'?\n"


def test_a_model_that_is_typed_beside_a_preset_has_no_rival(slow: list[str], tmp_path: Path) -> None:
    results = run(tmp_path, *TINY_CLIMATE, *SHORT, "preset=best", "precision=32", "model=plain", "budget=5s")
    assert slow == ["plain"]
    assert results["config"]["alternative"] is None
    assert "trial" not in results["plan"]
    assert results["plan"]["seconds"] == 5.0


def test_a_model_of_an_experiment_has_no_rival_either() -> None:
    assert rival(compose_config("train", ["preset=best"])) == "resnet"
    assert rival(compose_config("train", ["preset=best", "experiment=other_equations"])) == "resnet"
    assert rival(compose_config("train", ["preset=best", "experiment=table2"])) is None
    assert rival(compose_config("train", ["preset=best", "experiment=table2", "alternative=plain"])) == "plain"


def test_a_sweep_knows_runs_with_a_trial_again(slow: list[str], steered: dict[str, float], tmp_path: Path) -> None:
    steered |= {"stacked": 1.0, "resnet": 2.0}
    config: Any = OmegaConf.to_container(compose_config("train", BOTH), resolve=True)
    config.pop("resume")
    place = SweepFolder(tmp_path)
    slot = place.slot(["budget=40s"], json.loads(json.dumps(config)))
    run(tmp_path / "0", *BOTH, "resume=auto")
    assert place.results(slot) is not None
    assert place.finished(slot)


@pytest.mark.parametrize(
    ("monitor", "score", "other", "decibels"),
    [("val/psnr", 40.5, 40.0, 0.5), ("val/mse", 1e-4, 1e-3, 10.0), ("val/mae", 0.1, 1.0, 20.0), ("val/ssim", 0.99, 0.9, 10.0)],
)
def test_every_score_is_compared_in_decibels(monitor: str, score: float, other: float, decibels: float) -> None:
    assert gain(monitor, score, other) == pytest.approx(decibels)
    assert gain(monitor, other, score) == pytest.approx(-decibels)


@pytest.mark.parametrize(
    ("first", "second", "frame", "better"),
    [
        (40.0, 40.0, None, "a"),
        (40.0, 40.001, None, "b"),
        (40.04, 40.0, "b", "b"),
        (40.06, 40.0, "b", "a"),
        (40.0, 40.04, "a", "a"),
        (40.0, 40.06, "a", "b"),
        (float("nan"), 40.0, "b", "b"),
    ],
)
def test_a_movie_network_has_to_win_clearly(first: float, second: float, frame: str | None, better: str) -> None:
    assert verdict("val/psnr", {"a": first, "b": second}, frame) == better


@pytest.mark.long
def test_processes_of_one_run_agree_on_a_network(script: Script, tmp_path: Path) -> None:
    arguments = [*BOTH, "strategy=ddp", "trainer.devices=2", "budget=80s", f"hydra.run.dir={tmp_path / 'run'}"]
    done = script("train", *arguments)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    trial = results["plan"]["trial"]
    assert set(trial["scores"]) == {"stacked", "resnet"}
    assert results["config"]["name"] == trial["chosen"]
    assert results["rows"][-1]["method"] == trial["chosen"]
