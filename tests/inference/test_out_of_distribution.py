"""The out-of-distribution score, and the policy of upscale.py (guard=)."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vsr
from tests.fakes import TINY_CLIMATE, evaluate_here, moving_pattern, train_here, upscale_here, write_y4m
from vsr.degradations.resize import resize_bicubic_down
from vsr.errors import UserError
from vsr.inference.out_of_distribution import MOST_DISTRUST, OODScore
from vsr.inference.sources import VideoSource
from vsr.inference.upscaler import Upscaler
from vsr.io.writers.open import open_writer_pair

QUICK = ["recipe.patch=8", "recipe.steps=2"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of a few steps, the linear filter, and a movie network."""
    folder = tmp_path_factory.mktemp("runs")
    for name, overrides in {"plain": [], "linear": [], "stacked": ["recipe.batch=1"]}.items():
        train_here(folder / name, [*TINY_CLIMATE, *QUICK, f"model={name}", *overrides])
    return folder


def best(runs: Path, name: str) -> Path:
    return runs / name / "checkpoints" / "best.ckpt"


def expecting(runs: Path, name: str, consistency: float | None, path: Path) -> Path:
    """The same checkpoint, had its validation shown this LR consistency error."""
    content = torch.load(best(runs, name), weights_only=True)
    content["vsr"].pop("consistency")
    if consistency is not None:
        content["vsr"]["consistency"] = consistency
    torch.save(content, path)
    return path


def fields(seed: int = 0, frames: int = 24) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (2 + np.sin(rng.standard_normal((frames, 24, 32)).cumsum(1).cumsum(2) / 6)).astype(np.float32)


@pytest.mark.parametrize("name", ["plain", "stacked"])
@pytest.mark.sampled(1)
def test_the_checkpoint_tells_how_well_validation_frames_agree(name: str, runs: Path) -> None:
    """Against the frames themselves, degraded by hand."""
    from tests.fakes import compose_config
    from vsr.training.build import build_data

    trained = vsr.load(best(runs, name))
    frames = build_data(compose_config("train", [*TINY_CLIMATE, *QUICK])).sets["val"]
    found = []
    for start, stop in frames.segments:
        lr = frames.read(start, stop).lr
        again = resize_bicubic_down(trained.upscale(lr[:, 0]).unsqueeze(1), 2)  # type: ignore[attr-defined]
        inner = (..., slice(4, -4), slice(4, -4))  # where LR does not depend on the two pixels at the border
        error = again[inner] - lr[inner]
        centred = lr[inner] - lr[inner].mean((2, 3), keepdim=True)
        found.append((error.square().mean((1, 2, 3)) / centred.square().mean((1, 2, 3))).sqrt())
    expected = float(torch.cat(found).mean())
    assert trained.trained.consistency == pytest.approx(expected, rel=1e-3)


def test_both_numbers_are_what_they_are_by_hand(runs: Path) -> None:
    network, movie = vsr.load(best(runs, "plain")), torch.from_numpy(fields(frames=128))
    seen = movie[:16]  # of 128 frames
    coarse = resize_bicubic_down(seen.unsqueeze(1), 2)[:, 0]
    inner = (..., slice(4, -4), slice(4, -4))  # of LR: its outer 4 pixels, twice the outer 2 of the coarser frames

    def mse(by: Upscaler) -> float:
        return float((by.upscale(coarse)[inner] - seen[inner]).square().mean())

    filtered = vsr.load(best(runs, "linear"))  # fitted to the same frames
    error, kept = resize_bicubic_down(network.upscale(seen).unsqueeze(1), 2)[:, 0][inner] - seen[inner], seen[inner]
    agreement = (error.square().mean((1, 2)) / (kept - kept.mean((1, 2), keepdim=True)).square().mean((1, 2))).sqrt().mean()
    found = network.ood_score(movie)
    assert found is not None
    assert network.trained.consistency is not None
    assert found.coarser_gain == pytest.approx(10 * math.log10(mse(filtered) / mse(network)), abs=1e-3)
    assert found.disagreement == pytest.approx(float(agreement) / network.trained.consistency, rel=1e-3)


@pytest.mark.parametrize(
    ("gain", "disagreement", "unfamiliar"),
    [(-0.01, 2.9, False), (-0.01, 3.1, True), (-10.0, 0.29, False), (-10.0, 0.31, True), (0.01, 1e3, False)],
)
def test_both_numbers_decide(gain: float, disagreement: float, unfamiliar: bool) -> None:
    """Ten times the error of the filter one scale coarser counts like ten times the disagreement; less is enough to be kept."""
    assert OODScore(gain, disagreement).unfamiliar is unfamiliar


def test_the_filter_is_as_good_as_itself(runs: Path) -> None:
    found = vsr.load(best(runs, "linear")).ood_score(fields())
    assert found is not None
    assert found.coarser_gain == pytest.approx(0, abs=1e-4)


def test_agreement_is_measured_before_it_is_enforced(runs: Path) -> None:
    plain, projected = (vsr.load(best(runs, "plain"), consistency=kind) for kind in ("none", "projection"))
    assert plain.ood_score(fields()) == pytest.approx(projected.ood_score(fields()))


@pytest.mark.parametrize("movie", [fields()[:, :14, :14], np.full((9, 24, 32), 2.0, np.float32)], ids=["too small", "constant"])
def test_where_nothing_can_be_compared_nothing_is_told(movie: np.ndarray, runs: Path) -> None:
    assert vsr.load(best(runs, "plain")).ood_score(movie) is None


def test_gaps_are_left_out(runs: Path) -> None:
    movie, network = fields(), vsr.load(best(runs, "plain"))
    movie[:, 4:7, 5:9] = np.nan
    found = network.ood_score(movie)
    assert found is not None
    assert all(math.isfinite(value) for value in found)


def test_a_movie_that_the_network_does_not_know_is_named(runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A network of two steps is below the filter; with an expectation that it does not meet it is not trusted."""
    strict, mild = (expecting(runs, "plain", value, tmp_path / f"{value}.ckpt") for value in (1e-6, 1e3))
    np.save(tmp_path / "a.npy", fields())
    typed = [f"input={tmp_path / 'a.npy'}", "axes=tyx", "overwrite=true"]

    def made(checkpoint: Path, *more: str) -> tuple[np.ndarray, list[str]]:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            path = upscale_here([f"checkpoint={checkpoint}", *typed, *more])
        return np.load(path), [record.getMessage() for record in caplog.records]

    network, filtered = (vsr.load(best(runs, name)).upscale(fields()) for name in ("plain", "linear"))
    for more in ([], ["guard=warn"]):
        values, [line] = made(strict, *more)
        np.testing.assert_allclose(values, network, atol=1e-5)
        assert line.startswith("warning   this movie is unlike what the network was trained on: one scale coarser")
        assert "below the linear filter" in line
        assert "type guard=linear" in line
    values, [line] = made(strict, "guard=linear")
    np.testing.assert_allclose(values, filtered, atol=1e-5)
    assert line.endswith("the linear filter is used")
    for checkpoint, more in ((strict, ["guard=off"]), (mild, ["guard=linear"]), (mild, [])):
        values, lines = made(checkpoint, *more)
        np.testing.assert_allclose(values, network, atol=1e-5)
        assert not lines


def test_a_network_of_ones_own_says_what_it_gains_too(runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One scale coarser, over bicubic and the filter of its training; then the command that scores it."""
    np.save(tmp_path / "a.npy", fields())
    with caplog.at_level(logging.INFO):
        upscale_here([f"checkpoint={best(runs, 'plain')}", f"input={tmp_path / 'a.npy'}", "axes=tyx"])
    score = vsr.load(best(runs, "plain")).ood_score(fields())
    assert score is not None
    gains = f"{score.coarser_over_bicubic:+.1f} dB over bicubic and {score.coarser_gain:+.1f} dB over the linear filter"
    assert f"gain      {gains} of its training on a coarser copy of this file" in caplog.text
    assert f"on the test frames of its training: vsr evaluate checkpoint={best(runs, 'plain')}" in caplog.text


def test_the_linear_filter_is_not_compared_with_itself(runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.save(tmp_path / "a.npy", fields())
    with caplog.at_level(logging.INFO):
        upscale_here([f"checkpoint={best(runs, 'linear')}", f"input={tmp_path / 'a.npy'}", "axes=tyx"])
    assert "dB over bicubic on a coarser copy of this file" in caplog.text
    assert "next      score it on the test frames of its training: vsr evaluate" in caplog.text
    assert "linear filter" not in caplog.text


@pytest.mark.parametrize("seed", range(3))
def test_the_replacement_is_the_linear_filter_to_the_bit(seed: int, runs: Path, tmp_path: Path) -> None:
    """For frames of any size, number and range."""
    rng = np.random.default_rng(seed)
    shape = (*rng.integers(1, 6, 1), *rng.integers(16, 31, 2))
    movie = (10.0 ** rng.integers(-1, 3) * rng.standard_normal(shape).cumsum(1)).astype(np.float32)
    strict = expecting(runs, "plain", 1e-9, tmp_path / "strict.ckpt")
    np.save(tmp_path / "a.npy", movie)
    found = np.load(upscale_here([f"checkpoint={strict}", f"input={tmp_path / 'a.npy'}", "axes=tyx", "guard=linear"]))
    np.testing.assert_array_equal(found, vsr.load(strict).linear(torch.from_numpy(movie).unsqueeze(1))[:, 0].numpy())
    np.testing.assert_allclose(found, vsr.load(best(runs, "linear")).upscale(movie), atol=1e-5 * np.abs(movie).max())


def test_each_movie_of_a_file_is_judged_by_itself(runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With an expectation between the two, one is too far from it and the other is not."""
    ramp = 2 + np.zeros((24, 24, 1), np.float32) + np.linspace(0, 1, 32, dtype=np.float32)
    movies = [fields(), ramp]
    network, filtered = (vsr.load(best(runs, name)) for name in ("plain", "linear"))
    scores = [network.ood_score(movie) for movie in movies]
    first, second = (each.distrust for each in scores if each is not None)
    assert max(first, second) > 2 * min(first, second)
    assert network.trained.consistency is not None
    level = network.trained.consistency * math.sqrt(first * second) / MOST_DISTRUST
    checkpoint = expecting(runs, "plain", level, tmp_path / "between.ckpt")
    np.save(tmp_path / "a.npy", np.stack(movies))
    with caplog.at_level(logging.WARNING):
        path = upscale_here([f"checkpoint={checkpoint}", f"input={tmp_path / 'a.npy'}", "axes=ntyx", "guard=linear"])
    unfamiliar = int(second > first)
    told = [record.getMessage() for record in caplog.records]
    assert [line[:33] for line in told] == [f"warning   movie {unfamiliar + 1} of 2 is unlike "]
    for number, (found, movie) in enumerate(zip(np.load(path), movies, strict=True)):
        np.testing.assert_allclose(found, (filtered if number == unfamiliar else network).upscale(movie), atol=1e-5)


def test_the_guard_says_when_it_cannot_tell(runs: Path, tmp_path: Path) -> None:
    silent = expecting(runs, "plain", None, tmp_path / "silent.ckpt")
    np.save(tmp_path / "a.npy", fields())
    np.save(tmp_path / "small.npy", fields()[:, :8, :8])
    typed = ["axes=tyx", "overwrite=true"]
    with pytest.raises(UserError, match=r"guard=linear: .*silent.ckpt does not say how well .*; type guard=off"):
        upscale_here([f"checkpoint={silent}", f"input={tmp_path / 'a.npy'}", *typed, "guard=linear"])
    with pytest.raises(UserError, match="guard=linear: frames of 8x8 are too small"):
        upscale_here([f"checkpoint={best(runs, 'plain')}", f"input={tmp_path / 'small.npy'}", *typed, "guard=linear"])
    assert upscale_here([f"checkpoint={silent}", f"input={tmp_path / 'a.npy'}", *typed]).is_file()
    with pytest.raises(UserError, match="guard=linaer; did you mean 'linear'"):
        upscale_here([f"checkpoint={silent}", f"input={tmp_path / 'a.npy'}", "guard=linaer"])


@pytest.mark.parametrize("kind", ["video", "pictures"])
def test_looking_ahead_changes_nothing_that_comes(kind: str, tmp_path: Path) -> None:
    from PIL import Image

    luma = moving_pattern(6)
    given = tmp_path / "a.y4m"
    if kind == "video":
        write_y4m(given, luma)
    else:
        given = tmp_path / "a"
        given.mkdir()
        for number, frame in enumerate(luma):
            Image.fromarray(frame).save(given / f"{number}.png")
    target = tmp_path / ("b.mkv" if kind == "video" else "b")
    blocks, sink = open_writer_pair(
        given, target, scale=2, channels="luma", identity={}, overwrite=False, frames=None, audio=False, comment=""
    )
    with sink:
        source = VideoSource(blocks)
        seen = np.stack([*source.peek(0)])
        np.testing.assert_array_equal(seen, np.stack([*source.frames(0, 0)]))
        np.testing.assert_array_equal(seen[:, 0], luma)
        sink.close()


def test_evaluation_tells_by_split(runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    strict = expecting(runs, "plain", 1e-6, tmp_path / "strict.ckpt")
    elsewhere = ["report=false", "data=climate", "data.family=turbulence", "data.size=48", "data.learn=20", "data.test=10"]
    with caplog.at_level(logging.WARNING):
        found: dict[str, Any] = evaluate_here(tmp_path / "e", [f"checkpoint={strict}", *elsewhere])
    told = found["protocol"]["checkpoints"][0]["familiar"]
    assert set(told) == {"test"}
    for split, score in told.items():
        assert score["strange"]
        assert score["coarser"] < 0
        assert score["disagreement"] > 1e3
        assert any(record.getMessage().startswith(f"warning   '{split}' is unlike what plain was") for record in caplog.records)
    silent = expecting(runs, "plain", None, tmp_path / "silent.ckpt")
    found = evaluate_here(tmp_path / "f", [f"checkpoint={silent}", *elsewhere])
    assert found["protocol"]["checkpoints"][0]["familiar"] == {}
