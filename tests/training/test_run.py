"""Whole runs in this process: every model trains, scores, is saved, and scores the same when read back."""

from __future__ import annotations

import json
import logging
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from tests.fakes import TINY_CLIMATE, assert_same_scores, at_scales, choices, compose_config, evaluate_here, small, train_here
from vsr.errors import UserError
from vsr.inference.upscaler import load_upscaler
from vsr.metrics.intervals import SegmentIntervals
from vsr.models.base import RepeatedFrame
from vsr.models.stacked import Stacked
from vsr.training.build import build_data, build_module
from vsr.training.resume.checkpoints import read_checkpoint

QUICK = [*TINY_CLIMATE, "recipe.patch=8", "recipe.steps=4"]
BASELINES = ["nearest", "bilinear", "bicubic", "linear"]
SMALLER = {  # what takes long, shorter
    "srnet3d_kim": ["model.width=8"],
    "two_stage": ["init.epochs=1", "recipe.batch=2"],
    "movie_then_frame": ["init.epochs=1", "recipe.batch=2"],
    "joint": ["recipe.batch=2"],
}
PACKED = ["2D network", "after repacking"]
INTERIM = {"two_stage": PACKED, "joint": PACKED, "movie_then_frame": ["3D network"]}


@pytest.mark.parametrize(("model", "scale"), at_scales(choices("model")))
@pytest.mark.sampled(5)
def test_every_model_trains_and_scores_the_same_when_read_back(model: str, scale: int, tmp_path: Path) -> None:
    patch = [f"recipe.patch={24 // scale // 2}"]
    results = train_here(tmp_path / "run", [*QUICK, *patch, *small(model), f"scale={scale}", *SMALLER.get(model, [])])
    rows = results["rows"]
    methods = list(dict.fromkeys([*BASELINES, *INTERIM.get(model, []), model]))  # a baseline that is run takes its row's place
    assert [(row["split"], row["method"]) for row in rows] == [("test", m) for m in methods]
    assert all(math.isfinite(row[score]) for row in rows for score in ("mae", "mse", "psnr", "ssim"))
    again = evaluate_here(tmp_path / "again", [f"checkpoint={tmp_path}/run/checkpoints/best.ckpt"])
    assert_same_scores(again["rows"], rows)
    assert results["protocol"].items() <= again["protocol"].items()


@pytest.mark.parametrize(("scale", "source"), [(6, "phantom"), (8, "climate")])
def test_scales_6_and_8_train_evaluate_and_upscale(scale: int, source: str, tmp_path: Path) -> None:
    """On 48x48 HR pixels; tiles give the frame of the whole."""
    data = [f"data={source}", "data.size=48", "data.learn=20", "data.test=10"]
    data += ["data.sampling=3"] if source == "climate" else []
    tried = [*data, *small("stacked"), f"scale={scale}", "recipe.patch=null", "recipe.steps=4"]
    rows = train_here(tmp_path / "run", tried)["rows"]
    best = f"{tmp_path}/run/checkpoints/best.ckpt"
    assert_same_scores(evaluate_here(tmp_path / "again", [f"checkpoint={best}", "report=true"])["rows"], rows)
    network = load_upscaler(best, device="cpu", tile=0)
    low, high = network.bounds
    lr = np.random.default_rng(0).uniform(low, high, (3, 44, 50)).astype(np.float32)
    sr = network.upscale(lr)
    assert sr.shape == (3, 44 * scale, 50 * scale)
    tiled = load_upscaler(best, device="cpu", tile=32).upscale(lr)
    np.testing.assert_allclose(tiled, sr, atol=1e-4 * (high - low))


@pytest.mark.parametrize("recipe", choices("recipe"))
@pytest.mark.parametrize("loss", ["mse", "l1", "charbonnier"])
@pytest.mark.sampled(4)
def test_recipes_and_losses_reduce_the_error(recipe: str, loss: str, tmp_path: Path) -> None:
    overrides = [*TINY_CLIMATE, f"recipe={recipe}", f"recipe.loss={loss}", "epochs=3", "patience=null"]
    if recipe != "report":
        overrides += ["recipe.patch=8", "recipe.steps=30"]
    history = train_here(tmp_path, overrides)["history"]
    assert [row["epoch"] for row in history] == [0, 1, 2, 3]
    assert history[-1]["train/mae"] < history[0]["train/mae"]
    assert {f"{split}/{score}" for split in ("train", "val") for score in ("mae", "mse", "psnr", "ssim")} <= set(history[0])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_schedules_reach_the_optimizer(schedule: str, tmp_path: Path) -> None:
    history = train_here(tmp_path, [*QUICK, f"recipe.schedule={schedule}", "epochs=4"])["history"]
    rates = [row["train/rate"] for row in history[1:]]
    peak = 4e-3
    if schedule == "constant":
        assert rates == pytest.approx([peak] * 4)
    else:
        assert rates[-1] < 0.1 * peak
        assert rates[0] == pytest.approx(max(rates))


def test_a_run_leaves_what_it_says(tmp_path: Path) -> None:
    results = train_here(tmp_path, [*QUICK, "epochs=2"], figure=True)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["rows"] == results["rows"]
    assert written["protocol"]["window"] == [0, 4, 4]
    assert written["protocol"]["degradation"] == "bicubic"
    assert len(written["protocol"]["data"]["sha256"]) == 64
    assert written["config"]["recipe"]["rate"] == 4e-3
    assert {row["status"] for row in written["init"]} == {"fresh"}
    assert (tmp_path / "comparison.png").stat().st_size > 10_000
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {
        f"{name}.ckpt{ending}" for name in ("best", "last") for ending in ("", ".sha256")
    }
    content = read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")
    assert content["vsr"]["config"]["scale"] == 2
    assert content["state_dict"]["normalizer.low"] == -10
    assert "reference.weight" in content["state_dict"]
    assert {name.partition(".")[0] for name in content["state_dict"]} == {"network", "normalizer", "reference"}
    with pytest.raises(UserError, match="holds a run already"):
        train_here(tmp_path, QUICK)


def test_the_dashboard_is_there(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_here(tmp_path, [*QUICK, "epochs=3", "callbacks.panels.every=2"])
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload()
    tags = events.Tags()
    assert {"train/psnr", "val/psnr", "train/loss", "train/rate", "test/psnr", "test/ssim"} <= set(tags["scalars"])
    assert events.Scalars("val/psnr")[0].step == 0  # before training
    assert len(events.Scalars("val/psnr")) == 4
    [panel] = tags["images"]
    assert [event.step for event in events.Images(panel)] == [1, 2, 3]
    assert "custom_scalars__config__" in tags["tensors"]


def test_the_table_is_the_mean_over_the_frames_of_the_window(tmp_path: Path) -> None:
    """The bicubic row against numpy on the data themselves."""
    results = train_here(tmp_path, [*QUICK, "model=bicubic", "window=[0,3,5]"])
    cfg = compose_config("train", [*QUICK, "model=bicubic"])
    data = build_data(cfg)
    from vsr.degradations.resize import resize_bicubic_up

    found = data.sets["test"]
    error = ((resize_bicubic_up(found.pair.lr, 2) - found.pair.hr) / 20)[:, 0, 3:-3, 5:-5].double().numpy()
    row = next(r for r in results["rows"] if r["method"] == "bicubic")
    assert row["frames"] == 10
    assert row["psnr"] == pytest.approx(np.mean(-10 * np.log10((error**2).mean((1, 2)))), abs=1e-4)
    assert row["mae"] == pytest.approx(abs(error).mean(), rel=1e-5)


def test_intervals_are_over_the_test_trajectories(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    typed = [*QUICK, "data.family=bores", "data.test=40", "model=bicubic", "window=[1,4,4]"]
    with caplog.at_level(logging.INFO):
        rows = {row["method"]: row for row in train_here(tmp_path, typed)["rows"]}
    found = build_data(compose_config("train", typed)).sets["test"]
    inner = torch.arange(40).reshape(4, 10)[:, 1:-1].flatten()  # the window leaves out the first and last frame of each
    from vsr.degradations.resize import resize_bicubic_up

    error = ((resize_bicubic_up(found.pair.lr, 2) - found.pair.hr) / 20)[inner, 0, 4:-4, 4:-4].double().square().mean((1, 2))
    means = (-10 * error.log10()).reshape(4, 8).mean(1).numpy()
    assert (rows["bicubic"]["frames"], rows["bicubic"]["segments"]) == (32, 4)
    low, high = rows["bicubic"]["intervals"]["psnr"]
    expected = SegmentIntervals(np.arange(4)).mean(means)
    assert expected is not None
    assert (low, high) == pytest.approx(expected, abs=1e-4)
    assert set(rows["nearest"]["intervals"]) == {"psnr", "gain_bicubic", "gain_linear"}
    assert set(rows["linear"]["intervals"]) == {"psnr", "gain_bicubic"}
    gain = rows["nearest"]["intervals"]["gain_linear"]
    assert gain[0] < rows["nearest"]["psnr"] - rows["linear"]["psnr"] < gain[1]
    assert gain[1] - gain[0] < high - low  # paired
    table = caplog.text
    assert "--- test, 32 frames of 4 movies ---" in table
    assert f"[{gain[0]:+.1f}, {gain[1]:+.1f}]" in table


def test_patience_stops_and_the_best_epoch_is_kept(tmp_path: Path) -> None:
    """A learning rate that ruins the weights: no epoch after the first is better."""
    overrides = [*QUICK, "epochs=30", "patience=2", "recipe.schedule=constant", "recipe.rate=0.3", "recipe.ema=null"]
    results = train_here(tmp_path, overrides)
    scores = [row["val/psnr"] for row in results["history"][1:]]
    assert len(scores) < 30
    assert len(scores) - 1 - int(np.argmax(scores)) == 2
    content = read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")
    assert content["epoch"] == int(np.argmax(scores))
    [score] = {float(s["best_model_score"]) for s in content["callbacks"].values() if s.get("monitor") == "val/psnr"}
    assert score == pytest.approx(max(scores), abs=1e-4)


def test_patience_null_trains_to_the_end(tmp_path: Path) -> None:
    results = train_here(tmp_path, [*QUICK, "epochs=5", "patience=null", "recipe.rate=0.3", "recipe.schedule=constant"])
    assert len(results["history"]) == 6


def test_a_monitor_that_should_fall_is_minimised(tmp_path: Path) -> None:
    results = train_here(tmp_path, [*QUICK, "epochs=4", "monitor=val/mse"])
    scores = [row["val/mse"] for row in results["history"][1:]]
    assert read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")["epoch"] == int(np.argmin(scores))


def test_the_same_seed_gives_the_same_run_another_another(tmp_path: Path) -> None:
    first, again, other = (train_here(tmp_path / str(i), [*QUICK, f"seed={seed}"])["rows"] for i, seed in enumerate((0, 0, 1)))

    def without_seconds(rows: list[dict]) -> list[dict]:
        return [{key: value for key, value in row.items() if key != "train_seconds"} for row in rows]

    assert without_seconds(first) == without_seconds(again)
    assert first[-1]["psnr"] != other[-1]["psnr"]
    assert first[2]["psnr"] == other[2]["psnr"]  # bicubic: the data are the same


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vsr.training.modules import base as sr

    calls = {"n": 0}
    real = sr.loss_function

    def breaking(kind: str, a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        calls["n"] += 1
        return real(kind, a, b, mask) * (float("nan") if calls["n"] > 6 else 1.0)  # type: ignore[arg-type]

    monkeypatch.setattr(sr, "loss_function", breaking)
    with pytest.raises(UserError, match=r"the loss is nan in epoch 2, step 3: training stopped.*recipe.rate than 0.004"):
        train_here(tmp_path, [*QUICK, "epochs=5"])
    content = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert content["epoch"] == 0
    assert all(torch.isfinite(tensor).all() for tensor in content["state_dict"].values())
    assert not (tmp_path / "results.json").exists()


def test_init_from_a_checkpoint_brings_the_weights_and_only_them(tmp_path: Path) -> None:
    train_here(tmp_path / "a", [*QUICK, "epochs=3"])
    path = f"{tmp_path}/a/checkpoints/best.ckpt"
    start = train_here(tmp_path / "b", [*QUICK, "init=checkpoint", f"init.path={path}", "epochs=0"])
    first = json.loads((tmp_path / "a" / "results.json").read_text())
    assert [row["psnr"] for row in start["rows"]] == [row["psnr"] for row in first["rows"]]
    assert {row["status"] for row in start["init"]} == {"loaded"}

    with pytest.raises(UserError, match=r"tensors do not fit.*type init.mismatch=overlap to load what both have, or =fresh"):
        train_here(tmp_path / "c", [*QUICK, "scale=3", "recipe.patch=4", "init=checkpoint", f"init.path={path}"])
    partly = train_here(
        tmp_path / "d", [*QUICK, "scale=3", "recipe.patch=4", "init=checkpoint", f"init.path={path}", "init.mismatch=fresh"]
    )
    refused = {row["tensor"]: row["reason"] for row in partly["init"] if row["status"] != "loaded"}
    assert refused == {"enlarge.weight": "made for x2, here x3", "enlarge.bias": "without its kernel"}
    with pytest.raises(UserError, match="none of its"):
        train_here(tmp_path / "e", [*QUICK, "model=srcnn", "init=checkpoint", f"init.path={path}", "init.mismatch=fresh"])


def test_evaluate_on_other_data_uses_their_units(tmp_path: Path, movie: Path) -> None:
    train_here(tmp_path / "a", QUICK)
    checkpoint = f"checkpoint={tmp_path}/a/checkpoints/best.ckpt"
    on_movie = evaluate_here(tmp_path / "b", [checkpoint, "data=movies", f"data.path={movie}"])
    assert on_movie["protocol"]["data"]["bounds"] == [0.0, 255.0]
    assert {row["split"] for row in on_movie["rows"]} == {"test"}
    alone = train_here(tmp_path / "c", ["data=movies", f"data.path={movie}", "model=bicubic", "recipe.patch=8"])
    bicubic = [row["psnr"] for row in on_movie["rows"] if row["method"] == "bicubic"]
    assert bicubic == [alone["rows"][2]["psnr"]]


def test_a_window_that_leaves_too_little_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"window=\[0, 8, 8\] leaves 8x8 of frames of 24x24"):
        train_here(tmp_path, [*QUICK, "window=[0,8,8]"])


def test_a_network_that_loses_more_than_the_window_is_refused() -> None:
    from vsr.geometry import Geometry
    from vsr.models.interpolation import Interpolation
    from vsr.models.normalize import Normalizer
    from vsr.recipe import Recipe
    from vsr.training.modules.frame import FrameSR

    network = Interpolation(method="bicubic", scale=2)
    network.geometry = Geometry((1, 2, 2), (0, 6, 6))
    with pytest.raises(UserError, match=r"loses \(6, 6\) \(y,x\).*cuts only \(4, 4\); type window=\[0,6,6\]"):
        FrameSR(network, normalizer=Normalizer(0.0, 1.0), recipe=Recipe(), window=(0, 4, 4))


def test_gaps_inside_the_window_do_not_count() -> None:
    from vsr.degradations.resize import resize_bicubic_up
    from vsr.models.interpolation import Interpolation
    from vsr.models.normalize import Normalizer
    from vsr.recipe import Recipe
    from vsr.training.modules.frame import FrameSR
    from vsr.types import Clip

    draw = np.random.default_rng(0)
    lr, hr = (torch.from_numpy(draw.random((2, 1, 1, *size), dtype=np.float32)) for size in ((12, 16), (24, 32)))
    mask = torch.ones_like(hr)
    mask[1, ..., 4:7, 6:9] = 0
    module = FrameSR(
        Interpolation(method="bicubic", scale=2), normalizer=Normalizer(-1.0, 3.0), recipe=Recipe(), window=(0, 3, 5)
    )
    module.score(Clip(lr, hr, torch.arange(2), mask), "test")
    error = (resize_bicubic_up(lr[:, :, 0], 2) - hr[:, :, 0]).numpy() / 4
    expected = np.average(abs(error)[:, 0, 3:-3, 5:-5], axis=(1, 2), weights=mask[:, 0, 0, 3:-3, 5:-5].numpy())
    np.testing.assert_allclose(module.scores["split_test"][0].per_frame()["mae"], expected, rtol=1e-5)  # type: ignore[index, operator, union-attr]


def test_clips_of_any_length_are_frames_to_a_frame_network(tmp_path: Path) -> None:
    cfg = compose_config("train", QUICK)
    OmegaConf.set_struct(cfg, False)
    data = build_data(cfg)
    module = build_module(cfg, data.card, data.test_splits)
    clip = data.sets["test"].pair.lr[:4].transpose(0, 1).unsqueeze(0)  # (1, C, 4, h, w)
    together = module(clip)
    single = torch.cat([module(clip[:, :, t : t + 1]) for t in range(4)], dim=2)
    torch.testing.assert_close(together, single)
    assert together.shape == (1, 1, 4, 24, 24)


def test_a_network_below_the_linear_filter_is_told_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        rows = train_here(tmp_path / "net", [*QUICK, "recipe.steps=1"])["rows"]
        psnr = {(row["split"], row["method"]): row["psnr"] for row in rows}
        network = rows[-1]["method"]
        found = re.findall(r"verdict   (\S+) .*is below the best linear filter by (\S+) dB on test", caplog.text)
        assert found == [(network, f"{psnr['test', 'linear'] - psnr['test', network]:.1f}")]
        assert "or type vsr train model=linear data=climate data.size=24 data.learn=20 data.test=10\n" in caplog.text
        assert caplog.text.count("best linear filter") == 1
        caplog.clear()
        train_here(tmp_path / "linear", [*QUICK, "model=linear"])
    assert "is below the best linear filter" not in caplog.text


def test_the_next_commands_name_the_file_and_a_free_output(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.random.default_rng(0).standard_normal((20, 24, 24)).astype(np.float32))
    tiny = ["data=climate", "data.path=a.npy", "data.axes=tyx", "recipe.patch=4", "recipe.steps=1"]
    said = []
    for number, taken in enumerate(("a_x2.npy", "a_x2_fsrcnn.npy", None)):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            train_here(tmp_path / str(number), tiny)
        said += re.findall(r"vsr upscale checkpoint=\S+ (.*)", caplog.text)
        if taken is not None:
            Path(taken).touch()
    assert said == [
        "input=a.npy axes=tyx",
        "input=a.npy axes=tyx output=a_x2_fsrcnn.npy",
        "input=a.npy axes=tyx output=a_x2_fsrcnn_2.npy",
    ]


def test_the_network_linear_is_the_row_linear(tmp_path: Path) -> None:
    """Waves just above the LR Nyquist wavelength need long filters: model=linear takes the size that the row has."""
    waves = np.fft.fft2(np.random.default_rng(0).standard_normal((24, 96, 96)))
    k = np.abs(np.fft.fftfreq(96))
    np.save(tmp_path / "a.npy", np.fft.ifft2(waves * (k < 0.2) * (k[:, None] < 0.2)).real.astype(np.float32))
    typed = ["data=climate", f"data.path={tmp_path}/a.npy", "data.axes=tyx", "degradation=subsample", "epochs=1"]
    typed += ["model=linear", "name=own"]
    found = train_here(tmp_path / "own", typed)["rows"]
    rows = {row["method"]: row for row in found}
    assert rows["own"]["parameters"] > 328
    assert rows["own"]["psnr"] == rows["linear"]["psnr"]
    fixed = train_here(tmp_path / "fixed", [*typed, "model.size=5"])["rows"]
    assert {row["method"]: row["parameters"] for row in fixed}["own"] == 4 * 26


def test_a_movie_network_says_when_neighbouring_frames_do_not_help(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        results = train_here(tmp_path, [*TINY_CLIMATE, *small("stacked"), "recipe.patch=8", "recipe.steps=2"])
    gains = results["neighbour_gains"]
    assert gains.keys() == {row["split"] for row in results["rows"]}
    assert all(abs(gain) < 0.1 for gain in gains.values())  # after two steps
    assert "neighbouring frames do not help here" in caplog.text
    network = Stacked(width=6, blocks=2, scale=2)
    repeated, clip = RepeatedFrame(network), torch.rand(2, 1, 6, 12, 12)
    expected = [network(clip[:, :, t : t + 1].expand(-1, -1, 5, -1, -1)) for t in (2, 3)]
    torch.testing.assert_close(repeated(clip), torch.cat(expected, dim=2))
