"""Runs of the 3D and combined pipelines: stages, what is fixed, early ends, starts that are kept, ends of movies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fakes import (
    TINY_CLIMATE,
    assert_same_scores,
    compose_config,
    evaluate_here,
    moving_pattern,
    small,
    train_here,
    write_y4m,
)
from vsr.errors import UserError
from vsr.training.build import build_data, build_module
from vsr.training.fit import prepare_fit_loaders
from vsr.training.resume.checkpoints import read_checkpoint

QUICK = [*TINY_CLIMATE, "recipe.patch=8", "recipe.steps=4", "recipe.batch=2", "recipe.frames=5"]
TWO_STAGE = [*QUICK, "model=two_stage", "init.epochs=2", "init.frame_batch=4"]


def rows_of(results: dict[str, Any], split: str = "test") -> dict[str, dict[str, Any]]:
    return {row["method"]: row for row in results["rows"] if row["split"] == split}


def tensors(path: Path, prefix: str) -> dict[str, torch.Tensor]:
    content = read_checkpoint(path)["state_dict"]
    return {name.removeprefix(prefix): value for name, value in content.items() if name.startswith(prefix)}


@pytest.fixture(scope="module")
def two_stage(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("two-stage") / "run"
    return folder, train_here(folder, TWO_STAGE)


def test_two_stages_are_trained_one_after_the_other(two_stage: tuple[Path, dict[str, Any]]) -> None:
    folder, results = two_stage
    assert list(results["stages"]) == ["first"]
    assert len(results["stages"]["first"]["history"]) == 3
    rows = rows_of(results)
    for score in ("mae", "mse", "psnr", "ssim", "change_error", "flicker"):  # repacking keeps what is inside the window
        assert rows["after repacking"][score] == pytest.approx(rows["2D network"][score], rel=1e-6)
    assert rows["two_stage"]["psnr"] != rows["2D network"]["psnr"]
    assert rows["two_stage"]["train_seconds"] > rows["2D network"]["train_seconds"] > 0
    # The second stage did not touch the first network: it is the one of the first stage's best epoch.
    stage, final = (tensors(path / "checkpoints" / "best.ckpt", "network.") for path in (folder / "first", folder))
    for name, value in stage.items():
        assert torch.equal(value, final[f"first.{name}"]), name
    assert not torch.equal(final["second.network.body.0.weight"], torch.zeros(1))


def test_the_first_stage_is_the_frame_network_by_itself(two_stage: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    alone = train_here(tmp_path / "alone", [*QUICK, "model=fsrcnn", "epochs=2", "recipe.batch=4"])
    assert rows_of(two_stage[1])["2D network"]["psnr"] == pytest.approx(rows_of(alone)["fsrcnn"]["psnr"], abs=1e-4)
    # And its checkpoint can be scored by itself.
    again = evaluate_here(tmp_path / "again", [f"checkpoint={two_stage[0]}/first/checkpoints/best.ckpt"])
    found = {(row["split"], row["method"]): row["psnr"] for row in again["rows"]}
    assert found["test", "two_stage, first stage"] == pytest.approx(rows_of(two_stage[1])["2D network"]["psnr"], rel=1e-12)


def test_the_second_stage_starts_from_the_first_ones_quality(two_stage: tuple[Path, dict[str, Any]]) -> None:
    """It is the identity at first: epoch 0 of the whole is the best epoch of the first stage (on the validation frames)."""
    _, results = two_stage
    first = max(row["val/psnr"] for row in results["stages"]["first"]["history"][1:])
    assert results["history"][0]["val/psnr"] == pytest.approx(first, abs=1e-3)


def test_joint_from_two_stages(tmp_path: Path) -> None:
    overrides = [*QUICK, "model=joint", "init=two_stage", "init.epochs=1", "epochs=2"]
    results = train_here(tmp_path / "run", overrides)
    assert list(results["stages"]) == ["first", "second"]
    start = max(row["val/psnr"] for row in results["stages"]["second"]["history"])
    assert results["history"][0]["val/psnr"] == pytest.approx(start, abs=1e-4)
    stage, final = (tensors(tmp_path / "run" / path / "checkpoints" / "best.ckpt", "network.first.") for path in ("second", ""))
    moved = any(not torch.equal(stage[name], final[name]) for name in stage)
    best = max(range(3), key=lambda epoch: results["history"][epoch]["val/psnr"])
    assert moved == (best > 0)
    again = evaluate_here(tmp_path / "again", [f"checkpoint={tmp_path}/run/second/checkpoints/best.ckpt"])
    assert again["rows"][-1]["method"] == "joint, second stage"


def test_joint_can_start_from_a_two_stage_run(two_stage: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    path = f"{two_stage[0]}/checkpoints/best.ckpt"
    results = train_here(tmp_path, [*QUICK, "model=joint", "init=checkpoint", f"init.path={path}", "epochs=0"])
    for name in ("two_stage", "joint"):
        assert name in rows_of(two_stage[1]) or name in rows_of(results)
    assert rows_of(results)["joint"]["psnr"] == pytest.approx(rows_of(two_stage[1])["two_stage"]["psnr"], abs=1e-4)


def test_weights_that_were_brought_are_kept_when_training_makes_them_worse(
    two_stage: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    path = f"{two_stage[0]}/checkpoints/best.ckpt"
    ruin = ["epochs=2", "recipe.schedule=constant", "recipe.rate=0.03", "recipe.ema=null"]
    results = train_here(tmp_path, [*QUICK, "model=joint", "init=checkpoint", f"init.path={path}", *ruin])
    scores = [row["val/psnr"] for row in results["history"]]
    assert max(scores[1:]) < scores[0]
    assert rows_of(results)["joint"]["psnr"] == pytest.approx(rows_of(two_stage[1])["two_stage"]["psnr"], abs=1e-4)
    assert {found.name for found in (tmp_path / "checkpoints").glob("*.ckpt")} == {"best.ckpt", "last.ckpt"}


@pytest.mark.parametrize("end", ["init.stop_epoch=1", "init.stop_psnr=20"])
@pytest.mark.sampled(1)
def test_the_first_stage_can_end_early(end: str, tmp_path: Path) -> None:
    results = train_here(tmp_path, [*TWO_STAGE, "init.epochs=5", end])
    assert len(results["stages"]["first"]["history"]) == 2
    assert len(results["history"]) == 2


def test_a_fixed_first_network_needs_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"would keep the first network as it was drawn; type init=two_stage"):
        train_here(tmp_path, [*QUICK, "model=two_stage", "init=random"])
    with pytest.raises(UserError, match=r"init=two_stage: for pipelines of two networks; type model=two_stage"):
        train_here(tmp_path, [*QUICK, "model=fsrcnn", "init=two_stage"])


@pytest.mark.long
def test_a_first_stage_of_no_epochs_needs_all_weights(two_stage: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    path = f"{two_stage[0]}/first/checkpoints/best.ckpt"
    start = [*TWO_STAGE, "init.epochs=0", "init@init.first=checkpoint", f"init.first.path={path}"]
    with pytest.raises(UserError, match=r"keep first.enlarge.weight as it was drawn; .*init=two_stage with init.epochs=60"):
        train_here(tmp_path / "part", [*start, "init.first.modules=[features]"])
    results = train_here(tmp_path / "whole", start)
    assert rows_of(results)["2D network"]["psnr"] == pytest.approx(rows_of(two_stage[1])["2D network"]["psnr"], abs=1e-5)


def test_two_trained_networks_can_be_put_one_behind_the_other(two_stage: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """The report's Table 7: the second network has only seen frames enlarged by bicubic interpolation."""
    train_here(tmp_path / "3d", [*QUICK, "model=srnet3d"])
    first, second = two_stage[0] / "first" / "checkpoints" / "best.ckpt", tmp_path / "3d" / "checkpoints" / "best.ckpt"
    starts = [
        "init@init.first=checkpoint",
        f"init.first.path={first}",
        "init@init.second=checkpoint",
        f"init.second.path={second}",
    ]
    train_here(tmp_path / "both", [*TWO_STAGE, "init.epochs=0", "epochs=0", *starts])
    chained = tensors(tmp_path / "both" / "checkpoints" / "best.ckpt", "network.second.network.")
    alone = tensors(second, "network.network.")
    assert chained.keys() == alone.keys()
    assert all(torch.equal(chained[name], alone[name]) for name in alone)


def test_the_stages_are_any_networks_of_the_right_kind(tmp_path: Path) -> None:
    own = ["model@model.first=srcnn", "model@model.second=srnet3d_kim", "model.second.width=4"]
    results = train_here(tmp_path, [*TWO_STAGE, *own, "scale=3", "recipe.patch=4"])
    assert rows_of(results)["2D network"]["parameters"] == 8225
    with pytest.raises(UserError, match="model.first and model.second are both movie networks"):
        train_here(tmp_path / "x", [*TWO_STAGE, "model@model.first=srnet3d"])


def test_the_interim_loss_reaches_the_first_network() -> None:
    from vsr.training.modules.cascade import CascadeSR

    cfg = compose_config("train", [*QUICK, "model=joint"])
    data = build_data(cfg)
    module = build_module(cfg, data.card, data.test_splits)
    assert isinstance(module, CascadeSR)
    module.prepare(data.training_frames())
    prepare_fit_loaders(data, module)
    batch = next(iter(data.train_dataloader()))
    lr, hr = module.normalizer(batch.lr), module.normalizer(batch.hr)
    both = module.loss(lr, hr, None)
    interim, sr = module.network.stages(lr)
    unit = module.network.second.error_unit
    own = ((sr - hr[:, :, 2:-2, 2:-2, 2:-2]) / unit).square().mean()
    first = ((interim - hr) / module.network.first.error_unit).square().mean()
    assert both.item() == pytest.approx((own + 0.5 * first).item(), rel=1e-5)
    module.network.trains = "second"
    assert module.loss(lr, hr, None).item() == pytest.approx(own.item(), rel=1e-5)


def test_ends_of_movies_are_made_up_and_can_be_left_out(tmp_path: Path) -> None:
    base = [*QUICK, "model=srnet3d", "data.learn=60", "data.test=20"]
    counts = {}
    for name, more in {"replicate": [], "reflect": ["ends=reflect"], "inside": ["window=[2,4,4]"]}.items():
        results = train_here(tmp_path / name, [*base, *more])
        counts[name] = {row["method"]: row["frames"] for row in results["rows"] if row["split"] == "test"}
        assert results["protocol"]["ends"] == ("reflect" if name == "reflect" else "replicate")
        if name == "inside":  # no made-up frame enters a score: what the ends are does not matter
            checkpoint = f"checkpoint={tmp_path}/inside/checkpoints/best.ckpt"
            assert_same_scores(evaluate_here(tmp_path / "again", [checkpoint])["rows"], results["rows"])
    assert set(counts["replicate"].values()) == set(counts["reflect"].values()) == {20}
    assert set(counts["inside"].values()) == {20 - 2 * 2 * 2}  # two movies


def test_the_same_prediction_whatever_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A movie scored in short pieces gives the frames that it gives in one."""
    from vsr.data.loaders import ClipLoader

    for model in ("srnet3d", "srnet3d model.windows=false", "stacked", "joint", "movie_then_frame"):
        name, *more = model.split()
        cfg = compose_config("train", [*QUICK, *small(name), *more])
        data = build_data(cfg)
        module = build_module(cfg, data.card, data.test_splits)
        prepare_fit_loaders(data, module)
        with torch.no_grad():
            found = []
            for length in (3, 100):
                loader = ClipLoader(data.sets["test"], context=module.network.context)
                loader.length = length
                found.append(torch.cat([module.predict_clip(clip) for clip in loader], dim=2))
        torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)
        assert found[0].shape[2] == len(data.sets["test"])


def test_a_movie_network_on_movies(tmp_path: Path) -> None:
    movie = write_y4m(tmp_path / "m.y4m", moving_pattern(30))
    results = train_here(tmp_path / "run", ["model=srnet3d", "data=movies", f"data.path={movie}", *QUICK[5:]])
    assert rows_of(results)["srnet3d"]["frames"] == 9
    assert rows_of(results)["srnet3d"]["change_error"] > 0


def test_stills_and_short_movies_are_refused_by_movie_networks(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    with pytest.raises(UserError, match=r"no training movie is long enough for clips of recipe.frames=7 frames, the longest has"):
        train_here(tmp_path, ["model=srnet3d", "data=images", "recipe.steps=1"])


@pytest.mark.long
def test_mixed_precision_trains(tmp_path: Path) -> None:
    results = train_here(tmp_path, [*QUICK, "model=srnet3d", "precision=bf16"])
    assert rows_of(results)["srnet3d"]["psnr"] > 15
