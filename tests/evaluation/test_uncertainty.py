"""Evaluation of ensembles and of calibrated intervals, as a user types it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import vsr
from tests.conftest import Script

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
