"""Scores against independent formulas in numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from vsr.geometry import crop
from vsr.metrics.definitions import HEADLINE_SCORES, psnr_from_mse
from vsr.metrics.psnr_ssim import HeadlineScores, psnr_ssim_of_frames


def reference_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, range 1: 11x11 Gaussian of sigma 1.5, the mean over where it fits."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps /= taps.sum()

    def blur(x: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(x, taps, axis=0), taps, axis=1)[5:-5, 5:-5]

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    ssim = (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(ssim.mean())


@pytest.fixture(params=[1, 3])
def pair(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.random((5, request.param, 24, 31))
    noise = rng.standard_normal(truth.shape) * np.array([0.01, 0.1, 0.3, 0.001, 0.05])[:, None, None, None]
    return truth + noise, truth  # leaves 0..1: nothing may be clamped


def test_each_score_is_its_formula(pair: tuple[np.ndarray, np.ndarray]) -> None:
    sr, hr = pair
    scores = psnr_ssim_of_frames(torch.from_numpy(sr).float(), torch.from_numpy(hr).float()).double().numpy()
    error = sr - hr
    np.testing.assert_allclose(scores[:, 0], abs(error).mean((1, 2, 3)), rtol=1e-5)
    mse = (error**2).mean((1, 2, 3))
    np.testing.assert_allclose(scores[:, 1], mse, rtol=1e-5)
    np.testing.assert_allclose(scores[:, 2], -10 * np.log10(mse), atol=1e-4)
    expected = [np.mean([reference_ssim(*channel) for channel in zip(a, b, strict=True)]) for a, b in zip(sr, hr, strict=True)]
    np.testing.assert_allclose(scores[:, 3], expected, atol=2e-5)


def test_psnr_is_the_mean_over_frames_whatever_the_batches(pair: tuple[np.ndarray, np.ndarray]) -> None:
    sr, hr = (torch.from_numpy(x).float() for x in pair)
    metric = HeadlineScores()
    metric.update(sr[:3].unsqueeze(2), hr[:3].unsqueeze(2))
    # two more as one clip of two frames: (1, C, 2, H, W)
    metric.update(sr[3:].transpose(0, 1).unsqueeze(0), hr[3:].transpose(0, 1).unsqueeze(0))
    per_frame = psnr_ssim_of_frames(sr, hr)
    torch.testing.assert_close(torch.stack(list(metric.per_frame().values()), dim=1), per_frame)
    means = metric.compute()
    assert list(means) == list(HEADLINE_SCORES)
    torch.testing.assert_close(means["psnr"], per_frame[:, 2].mean())
    pooled = -10 * torch.log10((sr - hr).square().mean())
    assert abs(means["psnr"] - pooled) > 1  # the other convention would be visible


def test_equal_frames_do_not_poison_the_mean() -> None:
    x = torch.rand(2, 1, 16, 16)
    other = x.clone()
    other[1] += 0.1
    psnr = psnr_ssim_of_frames(other, x)[:, 2]
    assert psnr[0] == pytest.approx(138.47, abs=0.01)
    assert psnr[1] == pytest.approx(20, abs=0.01)
    np.testing.assert_allclose(psnr_from_mse(np.array([0.0, 0.01])), psnr, atol=0.01)


def test_frames_below_the_ssim_window_are_refused() -> None:
    with pytest.raises(ValueError, match="11x11"):
        psnr_ssim_of_frames(torch.zeros(1, 1, 10, 20), torch.zeros(1, 1, 10, 20))


def test_reduced_precision_of_the_caller_does_not_reach_the_scores(pair: tuple[np.ndarray, np.ndarray]) -> None:
    sr, hr = (torch.from_numpy(x).float() for x in pair)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = psnr_ssim_of_frames(sr, hr)
    torch.testing.assert_close(inside, psnr_ssim_of_frames(sr, hr), rtol=0, atol=0)
    coarse = sr.bfloat16(), hr.bfloat16()
    expected = psnr_ssim_of_frames(*(x.float() for x in coarse))
    torch.testing.assert_close(psnr_ssim_of_frames(*coarse), expected, rtol=0, atol=0)


def test_masked_pixels_do_not_count(pair: tuple[np.ndarray, np.ndarray]) -> None:
    sr, hr = (torch.from_numpy(x).float() for x in pair)
    mask = torch.ones_like(hr[:, :1])
    mask[:, :, :, 20:] = 0
    spoilt = sr.clone()
    spoilt[:, :, :, 20:] += 5
    masked = psnr_ssim_of_frames(spoilt, hr, mask)
    inside = psnr_ssim_of_frames(sr[..., :20], hr[..., :20])
    torch.testing.assert_close(masked, inside)  # SSIM: the windows that hold no gap
    torch.testing.assert_close(psnr_ssim_of_frames(sr, hr, torch.ones_like(mask)), psnr_ssim_of_frames(sr, hr))
    assert psnr_ssim_of_frames(sr, hr, torch.zeros_like(mask)).isnan().all()


def test_crop_cuts_each_side() -> None:
    x = torch.arange(6 * 8 * 10).reshape(1, 1, 6, 8, 10)
    assert torch.equal(crop(x, (1, 2, 3)), x[:, :, 1:-1, 2:-2, 3:-3])
    assert torch.equal(crop(x, (0, 0, 0)), x)
