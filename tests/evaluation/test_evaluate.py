"""evaluate.py with several networks: one table of comparable rows, or a refusal that says what differs."""

from __future__ import annotations

import csv
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.fakes import TINY_CLIMATE, evaluate_here, moving_pattern, train_here
from vsr.degradations.consistency import Projection, is_consistency_separable
from vsr.degradations.resize import resize_bicubic_up
from vsr.degradations.scaling import Area, Bicubic, Subsample
from vsr.errors import UserError

QUICK = [*TINY_CLIMATE, "recipe.patch=8", "recipe.steps=4"]
BASELINES = ["nearest", "bilinear", "bicubic", "bicubic+projection", "linear"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints that differ in one thing each."""
    folder = tmp_path_factory.mktemp("runs")
    what = {
        "fsrcnn": ["model=fsrcnn"],
        "a=1,seed": ["model=fsrcnn", "seed=1"],
        "movie": ["model=srnet3d_kim", "model.width=4", "recipe.batch=1", "recipe.steps=2"],
        "two_stage": ["model=two_stage", "model.second.windows=false", "init.epochs=1", "recipe.steps=2", "recipe.batch=1"],
        "x3": ["model=fsrcnn", "scale=3", "recipe.patch=4"],
        "window": ["model=fsrcnn", "window=[0,2,2]"],
        "area": ["model=fsrcnn", "degradation=area"],
        "bores": ["model=fsrcnn", "data.family=turbulence"],
    }
    for name, overrides in what.items():
        train_here(folder / name, [*QUICK, *overrides])
    return {name: folder / name / "checkpoints" / "best.ckpt" for name in what}


def evaluate(folder: Path, *checkpoints: Path, more: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    listed = ",".join(f"'{path}'" for path in checkpoints)
    return evaluate_here(folder, [f"checkpoint=[{listed}]", "report=false", *more])["rows"]


def of(rows: list[dict[str, Any]], method: str, split: str = "test") -> dict[str, Any]:
    [row] = [row for row in rows if (row["method"], row["split"]) == (method, split)]
    return row


def test_several_networks_are_rows_of_one_table(runs: dict[str, Path], tmp_path: Path) -> None:
    rows = evaluate(tmp_path / "all", runs["fsrcnn"], runs["a=1,seed"], runs["movie"], runs["two_stage"])
    methods = [row["method"] for row in rows if row["split"] == "test"]
    networks = ["fsrcnn (fsrcnn)", "fsrcnn (a=1,seed)", "srnet3d_kim"]
    stages = ["two_stage: 2D network", "two_stage: after repacking", "two_stage"]
    assert methods == [*BASELINES, *networks, *stages]
    assert {(row["frames"], row["split"]) for row in rows} == {(10, "test")}
    # In company each has the score that it has alone, the baselines too.
    for name, label in (("fsrcnn", "fsrcnn (fsrcnn)"), ("movie", "srnet3d_kim")):
        alone = evaluate(tmp_path / name, runs[name])
        for method, as_named in ((label.split(" (")[0], label), ("bicubic", "bicubic"), ("linear", "linear")):
            assert of(alone, method)["psnr"] == of(rows, as_named)["psnr"]
            assert of(alone, method)["change_error"] == of(rows, as_named)["change_error"]
    assert of(rows, "fsrcnn (fsrcnn)")["psnr"] != of(rows, "fsrcnn (a=1,seed)")["psnr"]


def test_two_processes_give_the_scores_of_one_to_the_last_digit(runs: dict[str, Path], tmp_path: Path) -> None:
    for folder, more in (("one", ()), ("two", ("workers=2",))):
        evaluate(tmp_path / folder, runs["fsrcnn"], runs["movie"], more=more)
    for name in ("frames.csv", "segments.csv", "table.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            "x3",
            r"scale=2.*scale=3.*type vsr evaluate checkpoint=\S+ .* and vsr evaluate checkpoint=\S+ .* to score each by itself",
        ),
        ("window", r"window=\[0, 4, 4\].*type vsr evaluate checkpoint=\S+,\S+ .*'window=\[0,8,8\]' to score all alike"),
        (
            "area",
            r"=area.*type vsr evaluate checkpoint=\S+,\S+ .*degradation=bicubic to score all alike, or vsr .* and vsr",
        ),
        ("bores", r"data\.family=turbulence.*vsr evaluate checkpoint=\S+,\S+ data=climate data\.size=24"),
    ],
)
def test_what_cannot_be_compared_is_refused(runs: dict[str, Path], tmp_path: Path, other: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        evaluate(tmp_path / "no", runs["fsrcnn"], runs[other])
    with pytest.raises(UserError, match="is given twice; leave one of them out"):
        evaluate(tmp_path / "no", runs["fsrcnn"], runs["fsrcnn"])
    assert not (tmp_path / "no").exists()


def test_a_network_of_the_package_is_scored_on_the_data_of_the_other(
    runs: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whichever stands first; the linear filter of these data is one row, as both networks have the same one."""
    alone = evaluate(tmp_path / "alone", runs["fsrcnn"])
    for number, order in enumerate([(runs["fsrcnn"], "pretrained:field_x2"), ("pretrained:field_x2", runs["fsrcnn"])]):
        with caplog.at_level(logging.INFO):
            rows = evaluate(tmp_path / str(number), *map(Path, order))
        names = ["fsrcnn", "field_x2"] if number == 0 else ["field_x2", "fsrcnn"]
        assert [row["method"] for row in rows] == [*BASELINES, *names]
        for method in ("linear", "fsrcnn"):
            assert of(rows, method)["psnr"] == pytest.approx(of(alone, method)["psnr"], abs=0.01)
        assert "data      data=climate data.size=24 data.learn=20 data.test=10; type data=" in caplog.text
    with pytest.raises(UserError, match=r"data\.family=turbulence.*vsr evaluate checkpoint=.*,pretrained:field_x2 data=climate"):
        evaluate(tmp_path / "no", runs["fsrcnn"], runs["bores"], Path("pretrained:field_x2"))
    with pytest.raises(UserError, match=r"type vsr evaluate checkpoint=\S+,pretrained:field_area_x2 .*degradation=bicubic to"):
        evaluate(tmp_path / "no", runs["fsrcnn"], Path("pretrained:field_area_x2"))


def test_a_network_below_the_linear_filter_names_the_commands_for_these_data(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    t, y, x = np.ogrid[0:30, 0:32, 0:32]
    np.save("a b.npy", (np.sin(1.9 * y + 0.3 * t) * np.cos(1.8 * x)).astype(np.float32))
    data = ["data=climate", "data.path='a b.npy'", "data.axes=tyx", "degradation=area"]
    with caplog.at_level(logging.INFO):
        evaluate(tmp_path / "scores", Path("pretrained:field_area_x2"), more=tuple(data))
    task = """data=climate "data.path='a b.npy'" data.axes=tyx degradation=area"""
    [line] = [line for line in caplog.text.splitlines() if "dB below the best linear filter" in line]
    assert line.endswith(f"a network that is trained on them is likely better: vsr train preset=balanced {task}")
    assert f"          this filter as a checkpoint: vsr train model=linear {task}\n" in caplog.text


@pytest.mark.long
def test_what_was_typed_for_both_makes_them_comparable(runs: dict[str, Path], tmp_path: Path) -> None:
    rows = evaluate(tmp_path / "w", runs["fsrcnn"], runs["window"], more=("window=[0,4,4]",))
    assert len([row for row in rows if row["split"] == "test"]) == len(BASELINES) + 2
    rows = evaluate(tmp_path / "d", runs["fsrcnn"], runs["area"], more=("degradation=bicubic",))
    assert of(rows, "fsrcnn (area)")["psnr"] < of(rows, "fsrcnn (fsrcnn)")["psnr"] + 20
    own = [*TINY_CLIMATE, "data.seed=5"]
    rows = evaluate(tmp_path / "s", runs["fsrcnn"], runs["bores"], more=tuple(own))
    # Fitted to other training frames: both linear filters are there.
    methods = [row["method"] for row in rows if row["split"] == "test"]
    assert methods == [*BASELINES, "linear (fsrcnn (bores))", "fsrcnn (fsrcnn)", "fsrcnn (bores)"]


def test_every_mean_comes_from_the_files_beside_it(runs: dict[str, Path], tmp_path: Path) -> None:
    """With nothing but results.json, the CSV files and numpy."""
    evaluate(tmp_path, runs["fsrcnn"], runs["movie"])
    content = json.loads((tmp_path / "results.json").read_text())
    tables = {}
    for name in ("frames.csv", "segments.csv"):
        with (tmp_path / name).open(newline="") as file:
            tables[name] = list(csv.DictReader(file))
    checked = 0
    for row in content["rows"]:
        for score in content["definitions"]:
            recipe = content["recipes"][score]
            found = [
                float(line[recipe["column"]] or "nan")
                for line in tables[recipe["file"]]
                if (line["split"], line["method"]) == (row["split"], row["method"])
            ]
            finite = [value for value in found if not math.isnan(value)]
            if row.get(score) is None:
                assert not finite
                continue
            assert np.mean(finite) == pytest.approx(row[score], rel=1e-12, abs=1e-300)
            checked += 1
    assert checked > 20 * len(content["rows"])


def test_a_report_is_left_for_people(runs: dict[str, Path], tmp_path: Path) -> None:
    listed = ",".join(f"'{runs[name]}'" for name in ("movie", "two_stage"))
    evaluate_here(tmp_path, [f"checkpoint=[{listed}]", "report=true"])
    page = (tmp_path / "report.html").read_text()
    for text in ("srnet3d_kim", "two_stage: 2D network", "bicubic+projection", "tide-2", "<video"):
        assert text in page
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert figures == {"frame-test.png", "psnr-test.png", "spectra-test.png", "movie-test.mp4"}
    assert {"table.md", "table.tex", "results.json", "frames.csv", "segments.csv"} <= {path.name for path in tmp_path.iterdir()}


def test_what_is_too_small_to_learn_from_can_be_scored_and_what_is_too_small_to_score_cannot(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    own = ("data=climate", f"data.path={tmp_path}/m.npy", "data.axes=tyx")
    np.save(tmp_path / "m.npy", moving_pattern(12, 26, 26).astype(np.float32) / 10 - 10)
    content = torch.load(runs["fsrcnn"], weights_only=True)
    content["vsr"]["config"]["recipe"]["patch"] = 16  # LR pixels; these frames have 13
    torch.save(content, tmp_path / "patch.ckpt")
    assert of(evaluate(tmp_path / "e", tmp_path / "patch.ckpt", more=own), "fsrcnn", "test")["frames"] == 4
    np.save(tmp_path / "m.npy", moving_pattern(12, 16, 16).astype(np.float32) / 10 - 10)
    with pytest.raises(UserError, match=r"window=\[0, 4, 4\] leaves 8x8 of frames of 16x16, SSIM needs 11x11"):
        evaluate(tmp_path / "f", tmp_path / "patch.ckpt", more=own)


def test_a_network_that_puts_out_nan_has_no_score(runs: dict[str, Path], tmp_path: Path) -> None:
    content = torch.load(runs["fsrcnn"], weights_only=True)
    content["state_dict"]["network.network.out.bias"].fill_(math.nan)
    torch.save(content, tmp_path / "nan.ckpt")
    with pytest.raises(UserError, match="not finite in frames 0 and on of 'test'"):
        evaluate(tmp_path / "e", tmp_path / "nan.ckpt")
    assert not (tmp_path / "e").exists()


def test_scores_are_those_of_frames_on_disk(tmp_path: Path) -> None:
    """Bicubic's RMSE in the file's own unit, computed again by hand."""
    movie = (moving_pattern(20, 32, 40) * 7 + 100).astype(np.float32)
    np.save(tmp_path / "m.npy", movie)
    data = ["data=climate", f"data.path={tmp_path}/m.npy", "data.axes=tyx", "model=bicubic", "degradation=area"]
    train_here(tmp_path / "run", data)
    rows = evaluate(tmp_path / "e", tmp_path / "run" / "checkpoints" / "best.ckpt")
    tested = torch.from_numpy(movie[14:]).unsqueeze(1)
    blocks = tested.unflatten(-1, (20, 2)).unflatten(-3, (16, 2)).mean((-1, -3))
    error = (resize_bicubic_up(blocks, 2) - tested)[..., 4:-4, 4:-4]
    row = of(rows, "bicubic", "test")
    assert row["rmse"] == pytest.approx(error.square().mean((1, 2, 3)).sqrt().mean().item(), rel=1e-4)
    assert row["max_error"] == pytest.approx(error.abs().amax((1, 2, 3)).mean().item(), rel=1e-4)


@pytest.mark.long
def test_groups_that_the_data_do_not_support_are_left_out(runs: dict[str, Path], tmp_path: Path) -> None:
    tide = of(evaluate(tmp_path / "a", runs["fsrcnn"]), "fsrcnn")
    assert tide.get("vorticity_rmse") is None
    assert tide["mass"] is not None
    assert tide["consistency"] is not None
    turbulence = of(evaluate(tmp_path / "b", runs["bores"]), "fsrcnn")
    assert turbulence["vorticity_rmse"] > 0
    noisy = evaluate(tmp_path / "c", runs["fsrcnn"], more=("degradation=noise",))
    assert of(noisy, "fsrcnn").get("consistency") is None
    assert "bicubic+projection" not in {row["method"] for row in noisy}  # noise cannot be inverted
    pictures = evaluate(tmp_path / "d", runs["fsrcnn"], more=("data=images",))
    assert of(pictures, "bicubic", "test").get("mass") is None
    assert of(pictures, "bicubic", "test").get("change_error") is None


def test_the_projection_agrees_with_lr_and_comes_closer_to_hr(runs: dict[str, Path], tmp_path: Path) -> None:
    rows = evaluate(tmp_path, runs["fsrcnn"])
    projected, bicubic = of(rows, "bicubic+projection"), of(rows, "bicubic")
    assert projected["consistency"] < 0.5 * bicubic["consistency"]
    assert projected["psnr"] > bicubic["psnr"]


@pytest.mark.parametrize("degradation", [Bicubic(), Area(), Subsample()])
@pytest.mark.parametrize("scale", [2, 3, 4, 6, 8])
def test_projection_is_the_smallest_change_that_gives_the_lr_frame(degradation: Any, scale: int) -> None:
    def degrade(hr: torch.Tensor) -> torch.Tensor:
        return degradation(hr, scale)

    assert is_consistency_separable(degrade, scale)
    generator = torch.Generator().manual_seed(scale)
    hr = torch.rand(2, 3, 8 * scale, 9 * scale, dtype=torch.float64, generator=generator)
    lr, guess = degrade(hr), torch.rand(hr.shape, dtype=torch.float64, generator=generator)
    projection = Projection(degrade, scale)
    found = projection(guess, lr)
    torch.testing.assert_close(degrade(found), lr, rtol=0, atol=1e-6)
    torch.testing.assert_close(projection(found, lr), found, rtol=0, atol=1e-6)
    # Orthogonal to every other solution: what is left to the truth has no part in what was added.
    assert abs(((hr - found) * (found - guess)).sum().item()) < 1e-4
    assert (found - hr).square().sum() < (guess - hr).square().sum()
    torch.testing.assert_close(projection(hr, lr), hr, rtol=0, atol=1e-6)
