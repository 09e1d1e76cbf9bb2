"""Evaluation of ensembles and of calibrated intervals, as a user types it."""

from __future__ import annotations

import csv
import json
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray

import vsr
from tests.conftest import Script
from tests.fakes import evaluate_here, train_here
from vsr.errors import UserError
from vsr.geometry import crop
from vsr.inference.trained import read_trained
from vsr.models.ensemble import SpreadFit
from vsr.training.build import build_data, build_module
from vsr.training.fit import prepare_fit_loaders

CLIMATE = {"_target_": "vsr.data.datamodules.climate.ClimateDataModule", "family": "bores", "size": 36, "sampling": 2}
CLIMATE |= {"learn": 60, "test": 40, "val": 0.34}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An ensemble of a frame network, and the network without noise, on trajectories of 10 frames."""
    network = {"_target_": "vsr.models.resnet.ResNet", "width": 8, "blocks": 1}
    found = {}
    for name, more in {"ensemble": {"members": 2}, "network": {}}.items():
        run = vsr.fit(
            network,
            CLIMATE,
            folder=tmp_path_factory.mktemp(name),
            epochs=2,
            recipe={"patch": 8, "steps": 20},
            logger="csv",
            name=name,
            overrides=["strategy=cpu"],
            **more,
        )
        found[name] = run.checkpoint
    return found


def test_members_and_calibrated_intervals_are_rows_with_their_own_scores(
    runs: dict[str, Path], tmp_path: Path, script: Script
) -> None:
    done = script(
        "evaluate",
        f"checkpoint=[{runs['ensemble']},{runs['network']}]",
        "members=20",
        "calibrate=true",
        "strategy=cpu",
        "hydra.run.dir=out",
    )
    assert done.returncode == 0, done.stderr
    assert "calibrated on the 2 trajectories of 'val'" in done.stdout + done.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    rows = {row["method"]: row for row in results["rows"]}
    assert results["protocol"]["members"] == 20
    alone, members = rows["ensemble"], rows["ensemble, 20 members"]
    calibrated, both = rows["network, calibrated"], rows["ensemble, 20 members, calibrated"]
    assert {"ensemble, calibrated", "network"} <= set(rows)
    # The CRPS of one prediction is its MAE; that of members and of intervals around them is smaller.
    for name in ("bicubic", "linear", "ensemble", "network"):
        assert rows[name]["crps"] == pytest.approx(rows[name]["mae"], rel=1e-6)
        assert rows[name].get("coverage_90") is None
    assert members["crps"] < alone["crps"]
    assert calibrated["crps"] < rows["network"]["crps"]
    assert calibrated["psnr"] == rows["network"]["psnr"]
    assert members["coverage_95"] is None  # needs 39 members
    assert 0 < members["coverage_50"] < members["coverage_80"] < members["coverage_90"] < 1
    assert 0.7 < calibrated["coverage_90"] <= 1
    assert 0.7 < both["coverage_90"] <= 1
    assert both["spread_error"] is None
    assert members["spread_error"] > 0
    assert members["member_flicker"] > 0
    assert "coverage_90" in members["intervals"]

    with (tmp_path / "out" / "frames.csv").open() as file:
        frames = [row for row in csv.DictReader(file) if row["method"] == "ensemble, 20 members"]
    assert np.mean([float(row["crps"]) for row in frames]) == pytest.approx(members["crps"])
    curves = {(one["method"], one["curve"]) for one in results["curves"]}
    assert {("ensemble, 20 members", name) for name in ("ranks", "activity", "spread_spectrum")} <= curves
    calibration = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert set(calibration) == {"ensemble, calibrated", "network, calibrated", "ensemble, 20 members, calibrated"}
    assert calibration["network, calibrated"]["trajectories"] == 2
    assert calibration["network, calibrated"]["guaranteed"][-2] == pytest.approx(60)  # of 90%, with two trajectories
    assert {"calibration-test.png", "members-test.png"} <= {each.name for each in (tmp_path / "out" / "figures").iterdir()}


@pytest.fixture(scope="module")
def calibration(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The intervals of both networks and of six members, on the validation trajectories of the training."""
    folder = tmp_path_factory.mktemp("calibrated")
    evaluate_here(folder, [f"checkpoint=[{runs['ensemble']},{runs['network']}]", "members=6", "calibrate=true"])
    return folder / "calibration.json"


def classes_of(lr: np.ndarray, edges: list[float], size: float) -> np.ndarray:
    """The class of activity of each SR pixel of movies (T, h, w) at x2, from the definition."""
    padded = np.pad(lr.astype(np.float64), ((0, 0), (1, 1), (1, 1)), mode="edge")
    near = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    return np.searchsorted(edges, near.std((-2, -1)) / size).repeat(2, -2).repeat(2, -1)


@pytest.mark.parametrize(("name", "members"), [("network", None), ("ensemble", None), ("ensemble", 6)])
def test_upscale_writes_the_intervals_of_a_calibration(
    name: str, members: int | None, runs: dict[str, Path], calibration: Path
) -> None:
    row = f"{name}, {members} members, calibrated" if members else f"{name}, calibrated"
    stored = json.loads(calibration.read_text())[row]
    y, x = np.arange(30)[:, None], np.arange(26)
    lr = np.stack([8 * np.sin(0.3 * t + 0.02 * y * x) * x / 26 for t in range(4)]).astype(np.float32)
    more = {"members": members} if members else {}
    plain = vsr.load(runs[name], keep=["members"], **more).upscale(lr) if members else vsr.load(runs[name]).upscale(lr)
    mean = plain.mean(0) if members else plain
    kept = ["q05", "mean", "q50", "q95", "q60"]
    found = vsr.load(runs[name], calibration=calibration, keep=kept, **more).upscale(lr)
    # The folder of an evaluation will do, and engine=auto takes the one engine that there is.
    others = vsr.load(runs[name], calibration=calibration.parent, keep=kept, engine="auto", **more)
    np.testing.assert_array_equal(others.upscale(lr), found)
    low, middle, half, high, above = found
    np.testing.assert_allclose(middle, mean, atol=1e-4)
    np.testing.assert_array_equal(half, middle)
    [size], [edges], [widths] = stored["ranges"], stored["edges"], np.array(stored["widths"])
    classes = classes_of(lr, edges, size)
    assert len(np.unique(classes)) > 1
    unit = plain.std(0, ddof=1) if members else size
    for end, level, sign in ((low, 90, -1), (high, 90, 1), (above, 20, 1)):
        width = widths[classes, stored["levels"].index(level)] * unit
        np.testing.assert_allclose(end, mean + sign * width, atol=2e-4 * size)


def test_a_calibration_of_something_else_is_refused(runs: dict[str, Path], calibration: Path, tmp_path: Path) -> None:
    for options, message in [
        ({"members": 5}, r"is for no members or members=6, not for members=5; type members=6$"),
        ({"consistency": "projection"}, r"is for consistency=none, not for projection; calibrate again with vsr evaluate"),
        ({"keep": "q07"}, r"keep=q07: the calibration holds q05, q10"),
        ({"keep": "std"}, r"keep=std: calibration= gives intervals.*type keep=\[mean,q05,q95\]"),
        ({"members": 6, "keep": "members"}, r"keep=members: calibration= gives intervals"),
        ({"engine": "onnxruntime"}, r"calibration=.*: for engine=torch.*type engine=torch"),
        ({"precision": "auto"}, r"calibration=.*: for engine=torch.*type precision=fp32"),
        ({"members": "6"}, r"members=6: must be 2 or more, a whole number"),
    ]:
        with pytest.raises(UserError, match=message):
            vsr.load(runs["ensemble"], calibration=calibration, **options)
    with pytest.raises(UserError, match="takes fields of any unit"):
        vsr.load("pretrained:field_x2", calibration=calibration)
    stored = json.loads(calibration.read_text())
    for key, value, message in [
        ("checkpoint", "0" * 64, r"is of checkpoint 000000000000, not of this one, [0-9a-f]{12}; make one with vsr evaluate"),
        ("degradation", "area", "is for degradation=area, not for bicubic"),
        ("scale", 4, "is for scale=4, not for 2"),
        ("variables", ["u"], r"is for variables=\['u'\], not for \[\]"),
        ("widths", [[1.0]], "is no calibration that this version wrote; make one with"),
    ]:
        other = tmp_path / f"{key}.json"
        other.write_text(json.dumps({name: entry | {key: value} for name, entry in stored.items()}))
        with pytest.raises(UserError, match=message):
            vsr.load(runs["network"], calibration=other)
    for text in ("[1]", "{}", "{", '{"a": {"widths": 1}}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(UserError, match=r"calibration=.*bad.json: is "):
            vsr.load(runs["network"], calibration=tmp_path / "bad.json")


def test_intervals_are_written_to_a_file(runs: dict[str, Path], calibration: Path, tmp_path: Path, script: Script) -> None:
    lr = np.random.default_rng(0).random((3, 12, 14)).astype(np.float32)
    xarray.DataArray(lr, dims=("time", "y", "x"), name="h").to_netcdf(tmp_path / "lr.nc")
    given = ["upscale", f"checkpoint={runs['network']}", "input=lr.nc", "guard=off"]
    done = script(*given, f"calibration={calibration}", "output=sr.nc")
    assert done.returncode == 0, done.stderr
    assert "sr.nc: mean, q05, q95" in done.stdout + done.stderr
    mean, low, high = vsr.load(runs["network"], calibration=calibration).upscale(lr)
    with xarray.open_dataset(tmp_path / "sr.nc") as found:
        assert {"h", "h_q05", "h_q95"} <= set(found)
        for name, expected in (("h", mean), ("h_q05", low), ("h_q95", high)):
            np.testing.assert_allclose(found[name], expected, atol=1e-5)
        around = "end of the calibrated 90% interval around the output of the network"
        assert found.h.attrs == {}
        assert found.h_q05.attrs == {"long_name": f"h, lower {around}"}
        assert found.h_q95.attrs == {"long_name": f"h, upper {around}"}
    done = script(*given, f"calibration={calibration}", "output=sr.zarr", "workers=2")
    assert done.returncode == 0, done.stderr
    with xarray.open_dataset(tmp_path / "sr.nc") as one, xarray.open_zarr(tmp_path / "sr.zarr") as several:
        for name in ("h", "h_q05", "h_q95"):
            np.testing.assert_array_equal(several[name], one[name])
    for more, message in [
        (["calibration=none.json"], "calibration=none.json: "),
        (["guard=linear", f"calibration={calibration}", "output=o.nc"], "the linear filter has neither members nor intervals"),
    ]:
        done = script(*given, *more)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("name", "more"), [("network", {}), ("ensemble", {"members": 6, "keep": ["q10", "std"]})])
def test_lazy_intervals_need_no_file_where_they_are_computed(
    name: str, more: dict, runs: dict[str, Path], calibration: Path, tmp_path: Path
) -> None:
    pytest.importorskip("dask.array")
    own = tmp_path / "own.json"
    own.write_bytes(calibration.read_bytes())
    network = vsr.load(runs[name], calibration=own, tile=9, **more)
    lr = xarray.DataArray(np.random.default_rng(0).random((5, 12, 14)).astype(np.float32), dims=("time", "y", "x"), name="h")
    lazy, expected = network.upscale(lr.chunk(time=(1, 3, 1), y=5)), network.upscale(lr)
    stored = json.loads(own.read_text())
    wider = {row: entry | {"widths": (2 * np.array(entry["widths"])).tolist()} for row, entry in stored.items()}
    own.write_text(json.dumps(wider))
    assert vsr.load(runs[name], calibration=own, tile=9, **more).upscale(lr.chunk(time=1)).data.name != lazy.data.name
    own.unlink()
    sent = pickle.loads(pickle.dumps(lazy))
    xarray.testing.assert_identical(sent.compute(scheduler="synchronous"), expected)


def test_the_checkpoint_has_the_factor_that_fits_the_spread_of_its_weights_to_validation_frames(runs: dict[str, Path]) -> None:
    trained = read_trained(runs["ensemble"])
    data = build_data(trained.config, for_training=True)
    module = trained.build_with(partial(build_module, test_splits=data.test_splits), trained.config)
    prepare_fit_loaders(data, module, module.network)
    ensemble = module.ensemble
    assert ensemble is not None
    saved = ensemble.factor.clone()
    assert float((saved - 1).abs().min()) > 0.01
    assert len(set(saved.flatten().tolist())) > 3  # one for each class of activity
    fit, _, (_, y, x) = SpreadFit(1), ensemble.factor.fill_(1.0), module.window
    with torch.no_grad():
        for batch in data.split_dataloader("val"):
            module.members = 1
            clips = module.predict_members(batch), module.predict_clip(batch), module.normalizer(batch.hr)
            fit.update(*(crop(each, (0, y, x)) for each in clips), None, crop(module.classes_of(batch), (0, y, x)))
    torch.testing.assert_close(fit.factor(), saved, rtol=1e-3, atol=0)


def test_two_processes_calibrate_and_score_members_as_one(runs: dict[str, Path], tmp_path: Path, script: Script) -> None:
    command = ("evaluate", f"checkpoint={runs['ensemble']}", "members=4", "calibrate=true", "report=false", "strategy=cpu")
    for folder, more in (("one", ()), ("two", ("workers=2",))):
        done = script(*command, f"hydra.run.dir={folder}", *more)
        assert done.returncode == 0, done.stderr
    for name in ("frames.csv", "segments.csv", "table.md", "calibration.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("network", ["members=4"], "members=4: no checkpoint is an ensemble; train one with vsr train members=2"),
        ("ensemble", ["members=1"], "members=1: must be 2 or more"),
        ("network", ["calibrate=true", "data=climate", "data.path=one.npy", "data.axes=tyx"], "movies are cut in time"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    name: str, arguments: list[str], message: str, runs: dict[str, Path], tmp_path: Path, script: Script
) -> None:
    np.save(tmp_path / "one.npy", np.random.default_rng(0).random((20, 32, 32), np.float32))
    done = script("evaluate", f"checkpoint={runs[name]}", "strategy=cpu", "report=false", *arguments)
    assert done.returncode == 1
    assert message in done.stderr


def test_frames_of_the_training_make_no_intervals(
    runs: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    np.save(tmp_path / "runs.npy", np.random.default_rng(0).random((10, 4, 24, 24), np.float32))
    data = [f"data.path={tmp_path}/runs.npy", "data.axes=ntyx"]
    train_here(tmp_path / "run", ["model=plain", "epochs=1", "recipe.steps=2", "recipe.patch=8", "data=climate", *data])
    checkpoint = f"checkpoint={tmp_path}/run/checkpoints/best.ckpt"
    larger = ["data=climate", *data, "data.val=0.5"]
    with pytest.raises(UserError, match=r"was trained on 24 frames .* leaves 12 to train on.*train again with data.val=0.5$"):
        evaluate_here(tmp_path / "a", [checkpoint, "calibrate=true", *larger])
    evaluate_here(tmp_path / "b", [checkpoint, *larger])
    assert "test frames are among them" not in caplog.text
    evaluate_here(tmp_path / "c", [checkpoint, "data=climate", *data, "data.learn=8", "data.test=32"])
    assert "this split leaves 4 to train on, so that test frames are among them" in caplog.text
    generated = [f"data.{key}={value}" for key, value in CLIMATE.items() if key not in ("_target_", "val")]
    with pytest.raises(UserError, match="validation frames are among them"):
        evaluate_here(
            tmp_path / "d", [f"checkpoint={runs['network']}", "calibrate=true", "data=climate", *generated, "data.val=0.5"]
        )
    generated = [each.replace("learn=60", "learn=80") for each in generated]
    evaluate_here(tmp_path / "e", [f"checkpoint={runs['network']}", "calibrate=true", "data=climate", *generated, "data.val=0.5"])
    assert json.loads((tmp_path / "e" / "calibration.json").read_text())["network, calibrated"]["trajectories"] == 4
