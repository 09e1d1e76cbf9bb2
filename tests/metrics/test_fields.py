"""Errors, gradients, extremes and mass and vorticity of frames, against numpy and scipy in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import laplace
from scipy.stats.mstats import mquantiles
from torchmetrics.functional.image import structural_similarity_index_measure

from vsr.geometry import PixelGrid
from vsr.metrics.collection import DataProperties, MetricCollection
from vsr.metrics.definitions import QUANTILES
from vsr.metrics.fields import FramePair, VectorScores

DATA = DataProperties(scale=2, bounds=(-10.0, 10.0), window=(0, 0, 0), movie=False)
RANGE = 20.0


def pair(channels: int = 1, frames: int = 3, size: tuple[int, int] = (24, 31)) -> tuple[np.ndarray, np.ndarray]:
    """(F, C, H, W) in the unit interval; the prediction leaves it."""
    rng = np.random.default_rng(channels)
    truth = rng.random((frames, channels, *size)).cumsum(-1) / size[1]
    noise = rng.standard_normal(truth.shape) * np.array([0.01, 0.3, 0.05])[:frames, None, None, None]
    return (truth + noise + 0.02).astype(np.float32), truth.astype(np.float32)


def clip(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).transpose(0, 1)[None]


def scored(sr: np.ndarray, hr: np.ndarray, mask: np.ndarray | None = None, data: DataProperties = DATA) -> dict[str, np.ndarray]:
    metrics = MetricCollection(data)
    metrics.update(clip(sr), clip(hr), None if mask is None else clip(mask))
    return metrics.frames()


def by_numpy(p: np.ndarray, y: np.ndarray, valid: np.ndarray | None = None) -> dict[str, float]:
    """One frame (C, H, W), pixels that are not valid being NaN."""
    p, y = p.astype(np.float64), y.astype(np.float64)
    if valid is not None:
        p, y = (np.where(valid, x, np.nan) for x in (p, y))
    centred = y - np.nanmean(y, axis=(1, 2), keepdims=True)

    def gradient(x: np.ndarray) -> np.ndarray:
        # numpy's central differences do not look at the pixel itself
        return (np.stack(np.gradient(x, axis=(1, 2))) + 0 * x)[:, :, 1:-1, 1:-1]

    steep_p, steep_y = gradient(p), gradient(y)
    seen = {"p": p[~np.isnan(p)], "y": y[~np.isnan(y)]}
    spread = np.ptp(seen["y"])
    found = {
        "rmse": RANGE * np.sqrt(np.nanmean((p - y) ** 2)),
        "max_error": RANGE * np.nanmax(abs(p - y)),
        "vrmse": np.sqrt(np.nanmean((p - y) ** 2) / np.nanmean(centred**2)),
        "gradient_rmse": RANGE * np.sqrt(np.nanmean(((steep_p - steep_y) ** 2).sum(0))),
        "sharpness": np.nanmean(np.hypot(*steep_p)) / np.nanmean(np.hypot(*steep_y)),
        "mass": np.nansum(p - y) / np.nansum(abs(centred)),
    }
    for name, at in QUANTILES.items():
        quantile = {key: float(mquantiles(x, at, alphap=1, betap=1)[0]) for key, x in seen.items()}
        found[name] = (quantile["p"] - quantile["y"]) / spread
    return found


def assert_same(found: dict[str, np.ndarray], expected: list[dict[str, float]]) -> None:
    for name in expected[0]:
        np.testing.assert_allclose(found[name], [row[name] for row in expected], rtol=2e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_score_is_its_formula(channels: int) -> None:
    sr, hr = pair(channels)
    assert_same(scored(sr, hr), [by_numpy(p, y) for p, y in zip(sr, hr, strict=True)])


def test_only_pixels_of_the_mask_count() -> None:
    sr, hr = pair(2)
    mask = np.ones((3, 1, 24, 31), np.float32)
    mask[:, :, 5:12, 20:27] = 0
    mask[1, :, 18, 3] = 0
    sr[:, :, 5:12, 20:27] += 7  # what stands on land is of no interest
    expected = [by_numpy(p, y, m[0] > 0) for p, y, m in zip(sr, hr, mask, strict=True)]
    assert_same(scored(sr, hr, mask), expected)


def test_a_mask_of_ones_changes_nothing() -> None:
    sr, hr = pair()
    masked, free = scored(sr, hr, np.ones((3, 1, 24, 31), np.float32)), scored(sr, hr)
    assert masked.keys() == free.keys()
    for name, column in free.items():
        np.testing.assert_allclose(masked[name], column, rtol=1e-6, err_msg=name)


def test_a_frame_without_any_real_pixel_has_no_score_and_does_not_count() -> None:
    sr, hr = pair()
    mask = np.ones((3, 1, 24, 31), np.float32)
    mask[1] = 0
    metrics = MetricCollection(DATA)
    metrics.update(clip(sr), clip(hr), clip(mask))
    found, means = metrics.frames(), metrics.compute()
    for name in ("mae", "psnr", "ssim", "rmse", "max_error", "vrmse", "gradient_rmse", "sharpness", "mass", "q990"):
        assert np.isnan(found[name]).tolist() == [False, True, False], name
        assert means[name].item() == pytest.approx(np.nanmean(found[name])), name


@pytest.mark.parametrize("rounding", [0.0, float(np.spacing(np.float32(0.3)))])
def test_a_constant_truth_has_no_score_that_is_relative_to_it(rounding: float) -> None:
    sr, _ = pair()
    found = scored(sr, np.where(sr > np.median(sr), sr.dtype.type(0.3), sr.dtype.type(0.3 + rounding)))
    for name in ("vrmse", "sharpness", "mass", *QUANTILES):
        assert np.isnan(found[name]).all(), name
    for name in ("rmse", "max_error", "gradient_rmse", "psnr"):
        assert np.isfinite(found[name]).all(), name


def test_mass_is_for_fields() -> None:
    sr, hr = pair()
    assert "mass" not in scored(
        sr, hr, data=DataProperties(scale=2, bounds=(0.0, 1.0), window=(0, 0, 0), movie=False, field=False)
    )


def test_quantiles_of_frames_beyond_what_torch_sorts() -> None:
    count = 4097 * 4097  # torch.quantile of torch 2.13 refuses more than 2^24 values
    hr = torch.linspace(0, 1, count).reshape(1, 1, 4097, 4097)
    found = FramePair(hr.square(), hr).quantile_errors
    expected = [at**2 - at for at in QUANTILES.values()]
    np.testing.assert_allclose([float(found[name]) for name in QUANTILES], expected, atol=1e-6)


BOUNDS, GEOSTROPHIC = (-4.0, 6.0), 9.81 / 1e-4 / 1e3**2


def heights(seed: int, frames: int = 4, channels: int = 1) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.random((1, channels, frames, 20, 27)).cumsum(-1).cumsum(-2) / 540).float()


def vorticity_metrics() -> MetricCollection:
    return MetricCollection(DataProperties(scale=2, bounds=BOUNDS, window=(0, 0, 0), geostrophic=True))


def test_error_and_enstrophy_are_those_of_the_vorticity_in_physical_units() -> None:
    sr, hr = heights(0), heights(1)
    metric = vorticity_metrics()
    metric.update(sr, hr)
    found = metric.frames()
    for i in range(4):
        p, y = (
            GEOSTROPHIC * laplace(x[0, 0, i].double().numpy() * (BOUNDS[1] - BOUNDS[0]) + BOUNDS[0])[1:-1, 1:-1] for x in (sr, hr)
        )
        assert found["vorticity_rmse"][i] == pytest.approx(np.sqrt(np.mean((p - y) ** 2) / np.mean(y**2)), rel=1e-5)
        assert found["enstrophy"][i] == pytest.approx(np.mean(p**2) / np.mean(y**2), rel=1e-5)


def test_a_plane_has_no_vorticity_to_compare_with() -> None:
    y, x = torch.meshgrid(torch.arange(20) / 32, torch.arange(27) / 64, indexing="ij")
    plane = (y + x).expand(1, 1, 2, 20, 27)
    metric = vorticity_metrics()
    metric.update(heights(0, 2), plane)
    metric.update(heights(0, 2), heights(1, 2))
    assert np.isnan(metric.frames()["vorticity_rmse"]).tolist() == [True, True, False, False]


def test_colours_and_masked_frames_have_no_vorticity() -> None:
    colours = vorticity_metrics()
    colours.update(heights(0, 2, 3), heights(1, 2, 3))
    assert not {"vorticity_rmse", "enstrophy"} & {*colours.frames(), *colours.compute()}
    mask = torch.ones(1, 1, 4, 20, 27)
    mask[0, 0, 2, 7, 7] = 0
    masked = vorticity_metrics()
    masked.update(heights(0), heights(1), mask)
    assert np.isnan(masked.frames()["enstrophy"]).tolist() == [False, False, True, False]


def test_gradients_are_per_length_where_pixels_have_a_size() -> None:
    grid = PixelGrid(dy=4.0, dx=1.5, unit="km")
    y, x = np.meshgrid(4.0 * np.arange(40), 1.5 * np.arange(60), indexing="ij")
    k, m = 2 * np.pi / 150, 2 * np.pi / 70
    hr = np.zeros((1, 1, 40, 60), np.float32)
    sr = (0.01 * np.sin(k * y) * np.cos(m * x)).astype(np.float32)[None, None]
    slopes = k * np.cos(k * y) * np.cos(m * x), m * np.sin(k * y) * np.sin(m * x)
    expected = RANGE * 0.01 * np.sqrt(np.mean(np.square(slopes)[:, 1:-1, 1:-1].sum(0)))
    assert scored(sr, hr, data=replace(DATA, grid=grid))["gradient_rmse"][0] == pytest.approx(expected, rel=0.01)
    alone = scored(sr, hr)["gradient_rmse"][0]
    assert scored(sr, hr, data=replace(DATA, grid=PixelGrid(4.0, 4.0, "km")))["gradient_rmse"][0] == alone / 4


def test_gradients_and_vorticity_on_latitudes_are_those_of_a_sphere() -> None:
    """The spherical harmonic cos(lat)^2 cos(2 lon), of degree 2: its Laplacian is -6 / R^2 times itself."""
    radius, degrees = 6371.0, np.linspace(75, 30, 91)
    lat, lon = np.meshgrid(np.radians(degrees), np.radians(np.arange(0, 120, 0.75)), indexing="ij")
    step = radius * np.radians([0.5, 0.75])
    grid = PixelGrid(*step.tolist(), "km", tuple(np.cos(np.radians(degrees))))
    wave = np.cos(lat) ** 2 * np.cos(2 * lon)
    frames = (0.5 + 0.1 * np.stack([wave, 1.2 * wave]))[:, None].astype(np.float32)
    north, east = -np.sin(2 * lat) * np.cos(2 * lon), -2 * np.cos(lat) * np.sin(2 * lon)
    found = FramePair(torch.from_numpy(frames[1:]), torch.from_numpy(frames[:1]), grid=grid)
    expected = 0.02**2 * np.mean((north**2 + east**2)[1:-1, 1:-1]) / radius**2
    assert float(found.gradient_mse) == pytest.approx(expected, rel=0.01)
    laplacian = 0.1**2 * np.mean((6 * wave[1:-1, 1:-1]) ** 2) * np.radians(0.5) ** 4
    assert float(found.laplacians[1]) == pytest.approx(laplacian, rel=0.01)
    upright = replace(DATA, geostrophic=True, window=(0, 8, 0), grid=grid)  # the rows that the window cuts have no part
    cut = frames[..., 8:-8, :]
    inside = FramePair(torch.from_numpy(cut[1:]), torch.from_numpy(cut[:1]), grid=grid.between(8, 83))
    assert scored(cut[1:], cut[:1], data=upright)["gradient_rmse"][0] == RANGE * float(inside.gradient_mse) ** 0.5
    assert scored(cut[1:], cut[:1], data=upright)["enstrophy"][0] == pytest.approx(1.44, rel=1e-4)


def test_the_mask_weighs_pixels_in_every_mean_over_a_frame() -> None:
    """Against numpy.average, with cos(latitude) of rows and a gap."""
    sr, hr = pair(2)
    weights = np.broadcast_to(np.cos(np.radians(np.linspace(80, 20, 24)))[:, None], (3, 1, 24, 31)).astype(np.float32).copy()
    weights[1, :, 2:4, 3:9] = 0
    found = scored(sr, hr, weights)
    for i in range(3):
        w, e = np.broadcast_to(weights[i], sr[i].shape).astype(np.float64), sr[i].astype(np.float64) - hr[i]
        mean = np.average(hr[i].astype(np.float64), axis=(1, 2), weights=w)[:, None, None]
        mse = np.average(e**2, weights=w)
        known = w[:, 1:-1, 1:-1] * [[[1]]]
        for shift in ((0, 1), (2, 1), (1, 0), (1, 2)):
            known = known * (w[:, shift[0] : shift[0] + 22, shift[1] : shift[1] + 29] > 0)
        slope = np.square(np.gradient(e, axis=(1, 2))).sum(0)[:, 1:-1, 1:-1]
        expected = {
            "mae": np.average(abs(e), weights=w),
            "mse": mse,
            "psnr": -10 * np.log10(mse),
            "rmse": RANGE * np.sqrt(mse),
            "vrmse": np.sqrt(mse / np.average((hr[i] - mean) ** 2, weights=w)),
            "mass": np.average(e, weights=w) / np.average(abs(hr[i] - mean), weights=w),
            "gradient_rmse": RANGE * np.sqrt(np.average(slope, weights=known)),
            "max_error": RANGE * abs(e[w > 0]).max(),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(found[name][i], value, rtol=5e-6, err_msg=name)
    windows = structural_similarity_index_measure(
        *(torch.from_numpy(x) for x in (sr, hr)), data_range=1.0, sigma=1.5, reduction="none", return_full_image=True
    )[1][..., 5:-5, 5:-5].double()
    known = weights[:, :, 5:-5, 5:-5].astype(np.float64)
    known[1, :, :4, :9] = 0  # 11x11 windows that reach the gap: rows 2 and 3, columns 3 to 8
    expected = [np.average(windows[i].numpy(), weights=np.broadcast_to(known[i], windows[i].shape)) for i in range(3)]
    np.testing.assert_allclose(found["ssim"], expected, rtol=1e-5)


def velocities_by_numpy(p: np.ndarray, y: np.ndarray, cut: int, w: np.ndarray) -> tuple[float, float]:
    """Energy and wall velocity of one frame of physical components u (along x) and v, (2, H, W), with weights (H, W)."""
    inner = np.s_[cut : -cut or None, cut : -cut or None]
    energy = [np.average((x[0] ** 2 + x[1] ** 2)[inner] / 2, weights=w[inner]) for x in (p, y)]
    normal = [*p[1, 0] ** 2, *p[1, -1] ** 2, *p[0, :, 0] ** 2, *p[0, :, -1] ** 2]
    counts = [*w[0], *w[-1], *w[:, 0], *w[:, -1]]
    speed = np.average(y[0] ** 2 + y[1] ** 2, weights=w)
    return energy[0] / energy[1], np.sqrt(np.average(normal, weights=counts) / speed)


@pytest.mark.parametrize("cut", [0, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_energy_and_wall_velocity_are_their_formulas(cut: int, weighted: bool) -> None:
    sr, hr = pair(3)
    bounds, channels = [(-2.0, 1.0), (0.0, 9.0), (-1.0, 3.0)], [2, 0]  # u is the last channel, v the first
    weights = np.ones((3, 1, 24, 31), np.float32)
    if weighted:
        weights *= np.linspace(0.3, 1, 24, dtype=np.float32)[:, None]
        weights[1, :, 20:, 5:9] = 0
    scores = VectorScores([(2, 0)], bounds, (cut, cut), walls=True)
    for part in (np.s_[:2], np.s_[2:]):  # clip by clip
        scores.update(clip(sr[part]), clip(hr[part]), clip(weights[part]) if weighted else None)
    low, size = (np.array([f(*bounds[i]) for i in channels])[:, None, None] for f in (lambda a, _: a, lambda a, b: b - a))
    physical = [[frame[channels].astype(np.float64) * size + low for frame in frames] for frames in (sr, hr)]
    expected = [velocities_by_numpy(p, y, cut, w[0].astype(np.float64)) for p, y, w in zip(*physical, weights, strict=True)]
    found = scores.per_frame()
    np.testing.assert_allclose(found["energy"], [energy for energy, _ in expected], rtol=2e-6)
    np.testing.assert_allclose(found["wall_velocity"], [wall for _, wall in expected], rtol=2e-6)


def test_velocities_without_walls_or_without_the_border_have_no_wall_velocity() -> None:
    sr, hr = pair(2)
    bounds = [(-1.0, 1.0)] * 2
    without = VectorScores([(0, 1)], bounds, (4, 4), walls=False)
    without.update(clip(sr), clip(hr))
    assert list(without.per_frame()) == ["energy"]
    lost = VectorScores([(0, 1)], bounds, (4, 4), walls=True)
    lost.update(clip(sr[..., 2:-2, 2:-2]), clip(hr))  # of a network that loses two pixels at each side
    assert lost.per_frame()["wall_velocity"].isnan().all()
    torch.testing.assert_close(lost.per_frame()["energy"], without.per_frame()["energy"])
    still = VectorScores([(0, 1)], bounds, (0, 0), walls=True)
    still.update(clip(sr), clip(np.full_like(hr, 0.5)))  # the truth is at rest
    assert all(column.isnan().all() for column in still.per_frame().values())
    both = VectorScores([(0, 1), (1, 0)], bounds, (4, 4), walls=False)  # the mean of two vectors of one energy
    both.update(clip(sr), clip(hr))
    torch.testing.assert_close(both.per_frame()["energy"], without.per_frame()["energy"])
