"""consistency=projection, backprojection and ratio: results that, degraded, are the LR frames they were made from."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vsr
from tests.fakes import ROOT, TINY_CLIMATE, assert_same_scores, compose_config, evaluate_here, train_here, upscale_here
from tests.test_docs import kept, tables
from vsr.config.check import check_config
from vsr.degradations.blur import GaussianBlur
from vsr.degradations.chain import Chain
from vsr.degradations.consistency import (
    BackProjection,
    BlockRatio,
    Projection,
    apply_consistency,
    build_consistency,
    consistency_axis_matrix,
    degradation_for_consistency,
)
from vsr.degradations.resize import resize_bicubic_up
from vsr.degradations.scaling import Area, Bicubic, Paired, Subsample
from vsr.errors import UserError
from vsr.inference.export.checkpoint import export_checkpoint

QUICK = [*TINY_CLIMATE, "recipe.patch=8", "recipe.steps=3"]
BLURRED = Chain(steps={"blur": GaussianBlur(1.6), "subsample": Subsample()})
LINEAR = [Bicubic(), Area(), Subsample(), BLURRED]


def name_of(degradation: Any) -> str:
    return str(degradation.name)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs that were trained with a consistency, and one without."""
    folder = tmp_path_factory.mktemp("runs")
    what = {
        "none": ["model=fsrcnn_s"],
        "projection": ["model=fsrcnn_s", "consistency=projection"],
        # Loses two frames per side in time and two pixels in space, fewer than the window cuts.
        "movie": ["model=srnet3d", "recipe.batch=1", "consistency=projection"],
    }
    for name, overrides in what.items():
        train_here(folder / name, [*QUICK, *overrides])
    return {name: folder / name for name in what}


def best(run: Path) -> Path:
    return run / "checkpoints" / "best.ckpt"


def of(rows: list[dict[str, Any]], method: str, split: str = "test") -> dict[str, Any]:
    [row] = [row for row in rows if (row["method"], row["split"]) == (method, split)]
    return row


@given(
    degradation=st.sampled_from(LINEAR),
    scale=st.sampled_from([2, 3, 4, 6, 8]),
    h=st.integers(4, 41),
    w=st.integers(4, 41),
    seed=st.integers(0, 999),
)
@settings(max_examples=40, deadline=None)
def test_a_projected_frame_agrees_exactly_and_comes_no_further_from_the_truth(
    degradation: Any, scale: int, h: int, w: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    hr = torch.rand(1, 2, h * scale, w * scale, generator=generator)
    lr, guess = degradation(hr, scale), torch.rand(hr.shape, generator=generator)
    project = Projection(partial(degradation, scale=scale), scale)
    found = project(guess, lr)
    torch.testing.assert_close(degradation(found, scale), lr, rtol=0, atol=1e-5)
    # Once is enough; dividing by what a blur leaves makes rounding errors larger.
    torch.testing.assert_close(project(found, lr), found, rtol=0, atol=1e-4)
    # The correction is orthogonal to what is left (Pythagoras).
    before, after, moved = ((a - b).double().square().sum() for a, b in ((guess, hr), (found, hr), (found, guess)))
    assert after <= before
    assert float(after + moved) == pytest.approx(float(before), rel=1e-3)


@given(
    scale=st.sampled_from([2, 3, 4, 6, 8]),
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    low=st.sampled_from([0.0, 2e-4, 250.0, 101325.0]),
    spread=st.sampled_from([0.01, 1.0, 40.0]),
    seed=st.integers(0, 999),
)
@settings(max_examples=40, deadline=None)
def test_a_ratio_gives_the_block_means_and_no_negative_value(
    scale: int, h: int, w: int, low: float, spread: float, seed: int
) -> None:
    """Against the quotient in double precision and physical units."""
    rng = np.random.default_rng(seed)
    hr = low + spread * rng.random((2, 1, h * scale, w * scale)) ** 4
    guess = hr + 0.2 * spread * rng.standard_normal(hr.shape)  # some below 0
    hr[1, 0, :scale, :scale] = guess[0, 0, :scale, :scale] = 0

    def blocks(frames: np.ndarray) -> np.ndarray:
        return frames.reshape(2, 1, h, scale, w, scale).mean((3, 5))

    def unit(frames: np.ndarray) -> torch.Tensor:
        return torch.from_numpy((frames - low) / spread).float()

    lr = blocks(hr)
    found = BlockRatio(partial(Area(), scale=scale), scale, (low, low + spread))(unit(guess), unit(lr))
    physical = found.numpy() * np.float32(spread) + np.float32(low)
    assert physical.min() >= 0
    cut = np.maximum(guess, 0)
    mean, wanted = (frames.repeat(scale, 2).repeat(scale, 3) for frames in (blocks(cut), lr))
    expected = np.where(mean > 0, cut * wanted / np.where(mean > 0, mean, 1), wanted)  # a block of zeros has no structure
    rounding = 4e-6 * (low + spread)
    np.testing.assert_allclose(physical, expected, rtol=1e-5, atol=rounding)
    np.testing.assert_allclose(blocks(physical.astype(np.float64)), lr, rtol=1e-5, atol=rounding)
    if low == 0:
        assert (physical[1, 0, :scale, :scale] == 0).all()
    else:  # digits that float32 has in the unit interval only
        np.testing.assert_allclose(blocks(found.double().numpy())[0], unit(lr)[0], rtol=0, atol=1e-5 * max(1, low / spread / 100))


def test_a_run_with_ratio_makes_positive_frames_that_agree(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    smooth = resize_bicubic_up(torch.from_numpy(rng.standard_normal((16, 1, 6, 7))).float(), 4)[:, 0].double().numpy()
    values = {"t": 280 + 5 * smooth, "q": 0.003 * np.exp(smooth)}
    np.savez(tmp_path / "tq.npz", **values)
    given = ["model=fsrcnn_s", "epochs=1", "recipe.steps=3", "recipe.patch=8", "data=climate", "data.axes=tyx"]
    given += [f"data.path={tmp_path}/tq.npz", "data.variable=[t,q]", "consistency=ratio"]
    trained = train_here(tmp_path / "a", [*given, "degradation=area", "data.transform={q: sqrt}"])
    checkpoint = best(tmp_path / "a")
    rows = evaluate_here(tmp_path / "e", [f"checkpoint={checkpoint}", "report=false"])["rows"]
    assert_same_scores(rows, trained["rows"])
    own = [row for row in rows if row["method"] == "fsrcnn_s+ratio" and row["variable"] in "tq"]
    assert max(row["consistency"] for row in own) < 1e-5
    network = vsr.load(checkpoint, periodic="x")
    lr = np.stack([values[name][:4].reshape(4, 12, 2, 14, 2).mean((2, 4)) for name in "tq"], axis=1)
    lr[0, 1, :3] = 0
    sr = network.upscale(lr).astype(np.float64)
    assert sr.min() >= 0
    means = sr.reshape(4, 2, 12, 2, 14, 2).mean((3, 5))
    np.testing.assert_allclose(means, lr, rtol=1e-5, atol=1e-7 * 0.003)
    lr[1, 0, 3, 4] = -0.25
    with pytest.raises(UserError, match=r"frame 1: t is -0\.25, and consistency=ratio takes no negative values; give values"):
        network.upscale(lr)
    vsr.load(checkpoint, consistency="none")
    # What is no block mean, or has no true zero, is refused.
    with pytest.raises(UserError, match=r"consistency=ratio: is for degradation=area.*=bicubic, type consistency=proj"):
        build_consistency("ratio", Bicubic(), 2, 1)
    with pytest.raises(UserError, match=r"under degradation=pairs"):
        build_consistency("ratio", Paired(), 2, 1)
    with pytest.raises(UserError, match=r"consistency=mean: is for pairs; type consistency=projection"):
        build_consistency("mean", Area(), 2, 1)
    with pytest.raises(UserError, match=r"consistency=ratio: the bounds of q begin at -1, and a ratio is for values of 0"):
        build_consistency("ratio", Area(), 2, 1, ((200.0, 300.0), (-1.0, 1.0)), ("t", "q"))
    with pytest.raises(UserError, match=r"consistency=ratio: the bounds of the data begin at -10.*type consistency=projection"):
        train_here(tmp_path / "b", [*QUICK, "degradation=area", "consistency=ratio"])
    values["t"][3] -= 273.15
    np.savez(tmp_path / "tq.npz", **values)
    with pytest.raises(
        UserError, match=r"frame 3: t is -\d.*, and consistency=ratio takes no negative values; type consistency=proj"
    ):
        train_here(tmp_path / "b", [*given, "degradation=area"])


@pytest.mark.parametrize("degradation", LINEAR, ids=name_of)
@pytest.mark.parametrize("scale", [2, 3, 4, 6, 8])
def test_backprojection_comes_closer_with_every_step(degradation: Any, scale: int) -> None:
    lr = degradation(torch.rand(1, 1, 13 * scale, 18 * scale, generator=torch.Generator().manual_seed(0)), scale)
    errors = []
    shifted = scale > 4 and degradation.origin(scale) != (scale - 1) / 2  # far from the middle: closer at first, then away
    for steps in (1, 2, 4) if shifted else (1, 2, 4, 8):
        found = BackProjection(partial(degradation, scale=scale), scale, steps)(resize_bicubic_up(lr, scale), lr)
        errors.append(float((degradation(found, scale) - lr).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < (0.9 if shifted else 0.5) * errors[0]


def test_backprojection_that_leads_away_is_refused() -> None:
    assert isinstance(build_consistency("backprojection", Subsample(), 8, 1), BackProjection)
    assert isinstance(build_consistency("backprojection", Area(), 8, 30), BackProjection)
    with pytest.raises(UserError, match=r"consistency_steps=8: under degradation=subsample at scale=8 .*type consistency=projec"):
        build_consistency("backprojection", Subsample(), 8, 8)


def test_the_matrix_of_a_large_frame_is_made_of_a_small_ones() -> None:
    class Uneven(Area):
        """Weights that change across the frame: a small one says nothing of it."""

        def __call__(self, hr: torch.Tensor, scale: int, **_: Any) -> torch.Tensor:
            share = torch.linspace(0, 1, hr.shape[-1] // scale, dtype=hr.dtype)
            return super().__call__(hr, scale) * (1 - share) + hr[..., ::scale, ::scale] * share

    drawn = torch.rand(1, 1, 2, 402, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    row = drawn[:, :, :1].expand_as(drawn)
    for degradation in (Bicubic(), BLURRED, Uneven()):
        matrix = consistency_axis_matrix(partial(degradation, scale=2), 402, -1, 2)
        assert matrix.shape == (201, 402)
        torch.testing.assert_close(matrix @ drawn[0, 0, 0], degradation(row, 2)[0, 0, 0], rtol=0, atol=1e-9)


def test_only_separable_degradations_are_projected() -> None:
    class Diagonal(Area):
        """Linear, but no product of a matrix per axis."""

        def __call__(self, hr: torch.Tensor, scale: int, **_: Any) -> torch.Tensor:
            return (super().__call__(hr, scale) + hr[..., ::scale, ::scale]) / 2

    for degradation in LINEAR:
        assert isinstance(build_consistency("projection", degradation, 3, 1), Projection)
        assert degradation_for_consistency(degradation, 3) is not None
    assert isinstance(build_consistency("backprojection", Diagonal(), 2, 1), BackProjection)
    with pytest.raises(UserError, match="type consistency=backprojection"):
        build_consistency("projection", Diagonal(), 2, 1)
    assert degradation_for_consistency(Diagonal(), 2) is None
    assert build_consistency("none", Diagonal(), 2, 1) is None


@pytest.mark.parametrize("margin", [(0, 0), (2, 3), (0, 3)])
def test_a_lost_border_is_filled_for_the_correction(margin: tuple[int, int]) -> None:
    (y, x), generator = margin, torch.Generator().manual_seed(0)
    lr = torch.rand(2, 1, 3, 6, 7, generator=generator)
    sr = torch.rand(2, 1, 3, 12 - 2 * y, 14 - 2 * x, generator=generator)
    seen = []

    def correct(frames: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
        seen.append((frames, low))
        return frames + 1

    torch.testing.assert_close(apply_consistency(correct, sr, lr, margin), sr + 1)
    [(frames, low)] = seen
    assert torch.equal(low, torch.cat([clip.transpose(0, 1) for clip in lr]))
    expected = resize_bicubic_up(low, 2)
    expected[..., y : 12 - y, x : 14 - x] = torch.cat([clip.transpose(0, 1) for clip in sr])
    assert torch.equal(frames, expected)


@pytest.mark.parametrize("kind", ["projection", "backprojection", "ratio"])
@pytest.mark.parametrize("degradation", ["noise", "jpeg", "h264"])
def test_lr_frames_with_errors_of_their_own_are_not_agreed_with(kind: str, degradation: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"consistency={kind}: under degradation=bicubic.*noise, compression.*consistency=none"):
        train_here(tmp_path, [*QUICK, f"degradation={degradation}", f"consistency={kind}"])


def test_what_cannot_be_inverted_in_single_precision_is_only_projected_back(tmp_path: Path) -> None:
    wide = ["degradation=blur", "degradation.steps.blur.sigma=4.0"]
    with pytest.raises(UserError, match=r"degradation=blur\(4\).*type consistency=backprojection"):
        train_here(tmp_path, [*QUICK, *wide, "consistency=projection"])
    strong = Chain(steps={"blur": GaussianBlur(4.0), "subsample": Subsample()})
    assert isinstance(build_consistency("backprojection", strong, 2, 3), BackProjection)


def test_the_choice_is_checked_before_anything_is_read() -> None:
    with pytest.raises(UserError, match="consistency=projecton.*projection"):
        check_config(compose_config("train", ["consistency=projecton"]))
    with pytest.raises(UserError, match="consistency_steps=0: must be 1 or more"):
        check_config(compose_config("train", ["consistency_steps=0"]))


def test_a_run_with_projection_scores_frames_that_agree(runs: dict[str, Path], tmp_path: Path) -> None:
    for run, name in (("projection", "fsrcnn_s"), ("movie", "srnet3d")):
        trained = json.loads((runs[run] / "results.json").read_text())
        assert trained["consistency"] == "projection"
        found = evaluate_here(tmp_path / run, [f"checkpoint={best(runs[run])}"])
        assert_same_scores(found["rows"], trained["rows"])
        assert of(found["rows"], f"{name}+projection")["consistency"] < 1e-5
        assert of(found["rows"], "linear")["consistency"] > 1e-4  # baselines stay what they are
        assert found["protocol"]["checkpoints"][0]["consistency"] == "projection"


@pytest.mark.long
def test_evaluate_may_choose_another_consistency(runs: dict[str, Path], tmp_path: Path) -> None:
    listed = f"checkpoint=['{best(runs['none'])}','{best(runs['projection'])}']"
    as_trained = evaluate_here(tmp_path / "a", [listed])["rows"]
    off = evaluate_here(tmp_path / "b", [listed, "consistency=none"])["rows"]
    on = evaluate_here(tmp_path / "c", [listed, "consistency=projection"])["rows"]
    back = evaluate_here(tmp_path / "d", [listed, "consistency=backprojection", "consistency_steps=6"])
    # Training steps are the same in both runs; what differs is what is done with their frames.
    plain, projected = of(as_trained, "fsrcnn_s"), of(as_trained, "fsrcnn_s+projection")
    assert plain["psnr"] < projected["psnr"]
    assert of(off, "fsrcnn_s (projection)")["psnr"] == of(off, "fsrcnn_s (none)")["psnr"] == plain["psnr"]
    assert of(on, "fsrcnn_s+projection (none)")["psnr"] == projected["psnr"]
    method = "fsrcnn_s+backprojection (none)"
    assert projected["consistency"] < of(back["rows"], method)["consistency"] < 0.2 * plain["consistency"]
    assert back["protocol"]["checkpoints"][1]["consistency steps"] == 6
    with pytest.raises(UserError, match="type consistency=none"):
        evaluate_here(tmp_path / "e", [f"checkpoint={best(runs['projection'])}", "degradation=noise"])


@pytest.mark.parametrize("run", ["projection", "movie"])
@pytest.mark.sampled(1)
def test_tiles_and_blocks_agree_as_whole_frames_do(runs: dict[str, Path], tmp_path: Path, run: str) -> None:
    drawn = torch.randn(7, 1, 10, 12, generator=torch.Generator().manual_seed(0))
    lr = resize_bicubic_up(drawn, 4)[:, 0, :37, :45].numpy()
    whole = vsr.load(best(runs[run]), tile=0).upscale(lr)
    spread = float(whole.std())
    np.testing.assert_allclose(vsr.load(best(runs[run]), tile=20).upscale(lr), whole, rtol=0, atol=1e-4 * spread)
    again = Bicubic()(torch.from_numpy(whole)[:, None], 2)[:, 0].numpy()
    np.testing.assert_allclose(again, lr, rtol=0, atol=1e-5 * spread)
    without = vsr.load(best(runs[run]), consistency="none").upscale(lr)
    assert np.abs(Bicubic()(torch.from_numpy(without)[:, None], 2)[:, 0].numpy() - lr).max() > 1e-3 * spread
    np.save(tmp_path / "lr.npy", lr)
    made = upscale_here([f"checkpoint={best(runs[run])}", f"input={tmp_path / 'lr.npy'}", "axes=tyx", "tile=24"])
    np.testing.assert_allclose(np.load(made), whole, rtol=0, atol=1e-4 * spread)


def test_gaps_stay_gaps_and_reduced_precision_agrees_too(runs: dict[str, Path]) -> None:
    lr = np.random.default_rng(0).standard_normal((2, 24, 24)).cumsum(-1).astype(np.float32)
    fast = vsr.load(best(runs["projection"]), precision="bf16").upscale(lr)
    spread = float(fast.std())
    np.testing.assert_allclose(Bicubic()(torch.from_numpy(fast)[:, None], 2)[:, 0].numpy(), lr, rtol=0, atol=1e-5 * spread)
    lr[:, 3:6, 7:9] = np.nan
    gaps = np.isnan(vsr.load(best(runs["projection"])).upscale(lr))
    np.testing.assert_array_equal(gaps, np.isnan(lr).repeat(2, 1).repeat(2, 2))


def test_what_does_not_go_with_upscaling_is_refused(runs: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"consistency=projection: degradation=bicubic, periodic\(globe\) .*=backprojection"):
        vsr.load(best(runs["projection"]), periodic="globe")
    with pytest.raises(UserError, match="consistency=projecton.*projection"):
        vsr.load(best(runs["none"]), consistency="projecton")


def test_a_field_that_goes_round_agrees_all_the_way_round(runs: dict[str, Path]) -> None:
    lr = np.random.default_rng(0).standard_normal((2, 14, 20)).cumsum(-1).astype(np.float32)
    made = vsr.load(best(runs["projection"]), periodic="x").upscale(lr)
    around = torch.from_numpy(made)[:, None].roll(20, -1)  # its first and last columns are in the middle now
    inner = Bicubic()(around, 2)[:, 0, :, 5:15].numpy()
    np.testing.assert_allclose(inner, np.roll(lr, 10, -1)[..., 5:15], rtol=0, atol=1e-5 * float(made.std()))


def test_an_exported_file_is_the_network_alone_and_says_so(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"consistency=projection, which format=torchscript .*type consistency=none"):
        export_checkpoint(best(runs["projection"]), "torchscript", tmp_path / "a.torchscript")
    report = export_checkpoint(best(runs["projection"]), "torchscript", tmp_path / "a.torchscript", consistency="none")
    assert report.path.exists()


def test_the_page_of_results_is_as_it_was_measured() -> None:
    found = kept("consistency")
    shown = tables(ROOT / "docs" / "results" / "consistency.md", "method")
    assert len(shown) == len(found) == 2
    for rows, each in zip(shown, found.values(), strict=True):
        assert [row[0].strip("`") for row in rows] == list(each["rows"])
        for row, scores in zip(rows, each["rows"].values(), strict=True):
            expected = [text for c in scores.values() for text in (f"{c['psnr']:.2f}", f"{c['consistency']:.1e}")]
            assert row[1:] == expected
            assert scores["projection"]["consistency"] < 1e-5
