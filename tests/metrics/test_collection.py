"""The collection of all metrics: which scores apply, scores of equal frames, and independence from batching."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from scipy.ndimage import gaussian_filter
from torch import Tensor

import vsr.metrics.collection
from vsr.degradations.resize import resize_bicubic_down
from vsr.geometry import crop
from vsr.metrics.collection import DataProperties, MetricCollection
from vsr.metrics.definitions import DEFINITIONS
from vsr.metrics.psnr_ssim import psnr_ssim_of_frames

DATA = DataProperties(
    scale=2, bounds=(-2.0, 3.0), window=(0, 0, 0), geostrophic=True, degrade=lambda hr: resize_bicubic_down(hr, 2)
)
TIME = {"change_error", "flicker", "error_lag", "temporal_lsd"}
SPECTRA = {"band_low", "band_mid", "band_high", "lsd", "lsd_high", "resolution", "nyquist_coherence"}
VORTICITY = {"vorticity_rmse", "enstrophy"}
ENSEMBLES = {name for name, one in DEFINITIONS.items() if one.group == "uncertainty"}  # with members alone
ELSEWHERE = ENSEMBLES | {"energy", "wall_velocity"}  # of several variables together


def movie(frames: int, seed: int, size: tuple[int, int] = (20, 24), channels: int = 1) -> Tensor:
    noise = np.random.default_rng(seed).standard_normal((1, channels, frames, *size))
    smooth = gaussian_filter(noise, (0, 0, 1, 1, 1), mode="wrap")
    return torch.from_numpy(0.5 + 0.5 * smooth).float()


def degraded(hr: Tensor) -> Tensor:
    return resize_bicubic_down(hr[0].transpose(0, 1), 2).transpose(0, 1)[None]


def scored(sr: Tensor, hr: Tensor, cuts: list[int] | None = None, data: DataProperties = DATA) -> MetricCollection:
    """One segment, in pieces; sr and hr are whole frames, from which the window is cut."""
    metrics, lr = MetricCollection(data), degraded(hr)
    sr, hr = (crop(x, (0, *data.window[1:])) for x in (sr, hr))
    for a, b in pairwise([0, *sorted(cuts or []), hr.shape[2]]):
        metrics.update(sr[:, :, a:b], hr[:, :, a:b], lr=lr[:, :, a:b], follows=a > 0)
    return metrics


def assert_same(found: MetricCollection, expected: MetricCollection, rtol: float = 1e-6, atol: float = 1e-9) -> None:
    for one, other in ((found.frames(), expected.frames()), (found.segments(), expected.segments())):
        assert list(one) == list(other)
        for name, column in other.items():
            np.testing.assert_allclose(one[name], column, rtol=rtol, atol=atol, err_msg=name)
    assert found.segment_of().tolist() == expected.segment_of().tolist()
    for name, curve in expected.curves().items():
        for key, column in curve.items():
            np.testing.assert_allclose(found.curves()[name][key], column, rtol=rtol, atol=atol, err_msg=f"{name} {key}")


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({}, set()),
        ({"movie": False}, TIME),
        ({"field": False}, {"mass"}),
        ({"geostrophic": False}, VORTICITY),
        ({"degrade": None}, {"consistency"}),
    ],
)
def test_the_facts_decide_which_scores_there_are(changed: dict[str, object], missing: set[str]) -> None:
    metrics = scored(movie(9, 1), movie(9, 2), data=replace(DATA, **changed))  # type: ignore[arg-type]
    found = {"frame": list(metrics.frames()), "segment": list(metrics.segments())}
    for per, names in found.items():
        assert names == [name for name, known in DEFINITIONS.items() if known.per == per and name not in missing | ELSEWHERE]
    assert list(metrics.compute()) == [name for name in DEFINITIONS if name not in missing | ELSEWHERE]
    assert ("temporal_spectrum" in metrics.curves()) == ("temporal_lsd" not in missing)
    for names in found.values():
        assert all(np.isfinite({**metrics.frames(), **metrics.segments()}[name]).all() for name in names)


def test_the_four_scores_are_those_of_validation() -> None:
    sr, hr = movie(5, 1, channels=3), movie(5, 2, channels=3)
    found = scored(sr, hr).frames()
    expected = psnr_ssim_of_frames(sr[0].transpose(0, 1), hr[0].transpose(0, 1)).double().numpy()
    for i, name in enumerate(("mae", "mse", "psnr", "ssim")):
        assert found[name].dtype == np.float64
        np.testing.assert_array_equal(found[name], expected[:, i])


@given(
    size=st.tuples(st.integers(12, 20), st.integers(12, 20)).map(lambda x: (2 * x[0], 2 * x[1])),
    frames=st.integers(3, 12),
    channels=st.integers(1, 2),
    periodic=st.booleans(),
)
@settings(deadline=None, max_examples=20)
def test_equal_frames_score_what_is_ideal(size: tuple[int, int], frames: int, channels: int, periodic: bool) -> None:
    hr = movie(frames, 3, size, channels)
    means = scored(hr, hr, data=replace(DATA, periodic=periodic)).compute()
    ideal = {"low": 0, "zero": 0, "one": 1} | {"psnr": 138.474, "ssim": 1, "resolution": 2}
    for name, mean in means.items():
        if name == "error_lag" or (name == "temporal_lsd" and frames < 8):
            assert mean.isnan(), name
        else:
            expected = ideal.get(name, ideal.get(DEFINITIONS[name].better))
            assert mean.item() == pytest.approx(expected, abs=1e-3 if name == "psnr" else 1e-6), name


@given(shift=st.floats(-0.5, 0.5).filter(lambda x: abs(x) > 0.01), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=15)
def test_a_constant_error_is_one_of_mass_and_long_waves_only(shift: float, seed: int) -> None:
    hr = movie(8, seed)
    metrics = scored(hr + shift, hr)
    frames, means = metrics.frames(), metrics.compute()
    spread = (hr - hr.mean((3, 4), keepdim=True)).abs().mean((3, 4)).double().numpy()[0, 0]
    np.testing.assert_allclose(frames["mass"], shift / spread, rtol=1e-4)
    for name in ("rmse", "max_error", "band_low"):
        np.testing.assert_allclose(frames[name], 5 * abs(shift), rtol=1e-4, err_msg=name)
    span = (hr.amax((3, 4)) - hr.amin((3, 4))).double().numpy()[0, 0]
    for name in ("q001", "q010", "q990", "q999"):
        np.testing.assert_allclose(frames[name], shift / span, rtol=1e-4, err_msg=name)
    for name in ("gradient_rmse", "band_mid", "band_high", "vorticity_rmse", "lsd", "lsd_high", "change_error", "temporal_lsd"):
        assert means[name].item() == pytest.approx(0, abs=2e-5), name
    for name in ("sharpness", "enstrophy", "flicker", "error_lag"):
        assert means[name].item() == pytest.approx(1, abs=2e-5), name


@given(
    cuts=st.lists(st.integers(1, 79), max_size=6, unique=True),
    window=st.sampled_from([(0, 0, 0), (0, 3, 1)]),
    channels=st.integers(1, 2),
)
@settings(deadline=None, max_examples=12)
def test_a_segment_in_pieces_is_the_whole_segment(cuts: list[int], window: tuple[int, int, int], channels: int) -> None:
    sr, hr, data = movie(80, 1, channels=channels), movie(80, 2, channels=channels), replace(DATA, window=window)
    assert_same(scored(sr, hr, cuts, data), scored(sr, hr, data=data))


@given(flips=st.sampled_from([(-1,), (-2,), (-1, -2), "transpose", "time"]), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_mirrors_change_nothing(flips: tuple[int, ...] | str, seed: int) -> None:
    sr, hr = movie(9, seed), movie(9, seed + 100)

    def turned(x: Tensor) -> Tensor:
        if flips == "transpose":
            return x.transpose(-1, -2)
        return x.flip(2) if flips == "time" else x.flip(flips)

    found, expected = (scored(*pair).compute() for pair in ((turned(sr), turned(hr)), (sr, hr)))
    for name, mean in expected.items():
        assert found[name].item() == pytest.approx(mean.item(), rel=1e-4, abs=1e-5), name


def test_clips_that_come_together_are_segments_of_their_own() -> None:
    clips = [(movie(9, i), movie(9, 10 + i)) for i in range(3)]
    alone, together = MetricCollection(DATA), MetricCollection(DATA)
    for sr, hr in clips:
        alone.update(sr, hr, lr=degraded(hr))
    sr, hr = (torch.cat(x) for x in zip(*clips, strict=True))
    together.update(sr, hr, lr=torch.cat([degraded(hr) for _, hr in clips]))
    assert_same(together, alone)
    assert together.segment_of().tolist() == [0] * 9 + [1] * 9 + [2] * 9


@pytest.mark.parametrize("pixels", [1, 20 * 24 * 4, 20 * 24 * 30])
def test_how_much_is_worked_on_at_once_does_not_matter(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sr, hr = (torch.cat([movie(12, i), movie(12, i + 1), movie(12, i + 2)]) for i in (1, 10))
    mask = torch.ones(3, 1, 12, 20, 24)
    mask[1, :, 5:, 3:9, 4] = 0
    lr = torch.cat([degraded(clip[None]) for clip in hr])
    expected, found = MetricCollection(DATA), MetricCollection(DATA)
    expected.update(sr, hr, mask, lr=lr)
    monkeypatch.setattr(vsr.metrics.collection, "MAX_PIXELS", pixels)
    found.update(sr, hr, mask, lr=lr)
    assert_same(found, expected)


def test_masked_pixels_leave_what_needs_whole_frames() -> None:
    sr, hr, mask = movie(9, 1), movie(9, 2), torch.ones(1, 1, 9, 20, 24)
    mask[..., :4] = 0
    metrics = MetricCollection(DATA)
    metrics.update(sr, hr, mask, lr=degraded(hr))
    gone = SPECTRA | VORTICITY | {"consistency", "temporal_lsd"}
    assert list(metrics.compute()) == [name for name in DEFINITIONS if name not in gone | ELSEWHERE]
    assert not metrics.curves()


def test_means_are_over_frames_and_over_segments() -> None:
    metrics = MetricCollection(replace(DATA, degrade=None))
    for i, frames in enumerate([3, 10, 1]):
        metrics.update(movie(frames, i), movie(frames, 10 + i))
    means = metrics.compute()
    assert means["rmse"].item() == pytest.approx(metrics.frames()["rmse"].mean())
    assert metrics.frames()["rmse"].shape == (14,)
    assert np.isnan(metrics.segments()["change_error"]).tolist() == [False, False, True]
    assert means["change_error"].item() == pytest.approx(metrics.segments()["change_error"][:2].mean())
    assert means["lsd"].item() == pytest.approx(metrics.segments()["lsd"].mean())


def test_pictures_of_several_sizes() -> None:
    metrics = MetricCollection(replace(DATA, movie=False, window=(0, 2, 2)))
    for seed, size in enumerate([(40, 30), (24, 36), (40, 30)]):
        sr, hr = movie(1, seed, size), movie(1, 10 + seed, size)
        metrics.update(crop(sr, (0, 2, 2)), crop(hr, (0, 2, 2)), lr=degraded(hr))
    assert all(column.shape == (3,) and np.isfinite(column).all() for column in metrics.frames().values())
    assert all(column.shape == (3,) and np.isfinite(column).all() for column in metrics.segments().values())


def test_nothing_is_left_after_a_reset() -> None:
    metrics = scored(movie(9, 1), movie(9, 2))
    metrics.reset()
    assert not {**metrics.frames(), **metrics.segments(), **metrics.curves()}
    assert metrics.segment_of().shape == (0,)
    sr, hr = movie(12, 3), movie(12, 4)
    metrics.update(sr, hr, lr=degraded(hr), follows=True)  # there is nothing to follow
    assert_same(metrics, scored(sr, hr))


def test_reading_does_not_disturb_a_segment() -> None:
    sr, hr, lr = movie(80, 1), movie(80, 2), degraded(movie(80, 2))
    metrics = MetricCollection(DATA)
    for a, b in pairwise([0, 30, 70, 80]):
        metrics.update(sr[:, :, a:b], hr[:, :, a:b], lr=lr[:, :, a:b], follows=a > 0)
        metrics.compute()
        metrics.curves()
    assert_same(metrics, scored(sr, hr))


def test_reduced_precision_and_inference_mode_do_not_reach_the_scores() -> None:
    sr, hr, lr = movie(70, 1), movie(70, 2), degraded(movie(70, 2))
    metrics = MetricCollection(DATA)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        metrics.update(sr[:, :, :40], hr[:, :, :40], lr=lr[:, :, :40])
    metrics.update(sr[:, :, 40:], hr[:, :, 40:], lr=lr[:, :, 40:], follows=True)
    assert_same(metrics, scored(sr, hr))


def test_a_prediction_that_is_not_finite_is_not_hidden() -> None:
    sr, hr = movie(9, 1), movie(9, 2)
    sr[0, 0, 4, 7, 7] = torch.nan
    metrics = scored(sr, hr)
    assert list(metrics.compute()) == [name for name in DEFINITIONS if name not in ELSEWHERE]
    for name, column in metrics.frames().items():
        assert np.isnan(column).tolist() == [False] * 4 + [True] + [False] * 4, name
    for name, column in metrics.segments().items():
        assert np.isnan(column).all(), name


def test_what_does_not_fit_is_refused() -> None:
    metrics, hr = MetricCollection(DATA), movie(4, 1)
    for sr, mask in ((hr[..., :-2], None), (hr, torch.ones(1, 1, 3, 20, 24))):
        # The second where annotations of shapes are checked, as they are in automatic runs.
        with pytest.raises((ValueError, TypeCheckError), match="equal size|Float"):
            metrics.update(sr, hr, mask)
    with pytest.raises(ValueError, match="2 clips cannot go on"):
        metrics.update(torch.cat([hr, hr]), torch.cat([hr, hr]), follows=True)
    with pytest.raises(TypeError, match="use update and compute"):
        metrics(hr, hr)


@pytest.mark.parametrize("seed", range(3))
def test_no_score_depends_on_what_stands_in_the_gaps(seed: int) -> None:
    hr, sr, lr = movie(9, seed, (40, 44)), movie(9, seed + 10, (40, 44)), None
    lr = degraded(hr)
    mask = torch.ones_like(hr)
    mask[..., :14, :12] = 0
    mask[:, :, 4:6, 30:, 38:] = 0
    scores = []
    for value in (0.5, -3.0, 1e4):
        metrics = MetricCollection(DATA)
        filled = [torch.where(mask > 0, x, torch.full_like(x, value * (k + 1))) for k, x in enumerate((sr, hr))]
        metrics.update(*filled, mask, lr=lr)
        headline = psnr_ssim_of_frames(filled[0][0].transpose(0, 1), filled[1][0].transpose(0, 1), mask[0].transpose(0, 1))
        assert headline.isfinite().all()
        scores.append({**metrics.frames(), **metrics.segments(), "headline": headline.numpy()})
    for other in scores[1:]:
        for name, column in scores[0].items():
            np.testing.assert_allclose(other[name], column, rtol=1e-5, atol=1e-7, err_msg=name)
