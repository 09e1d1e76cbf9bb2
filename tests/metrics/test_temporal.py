"""Scores in time, against numpy and scipy's Welch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import get_window, welch

from vsr.metrics.collection import DataProperties, MetricCollection
from vsr.metrics.temporal import TemporalSpectrum

DATA = DataProperties(scale=2, bounds=(-1.0, 3.0), window=(0, 0, 0))
FLOOR = float(np.finfo(np.float32).eps) ** 2


def movie(frames: int, seed: int, size: tuple[int, int] = (12, 15), channels: int = 1, smooth: int = 1) -> torch.Tensor:
    noise = np.random.default_rng(seed).standard_normal((frames + smooth - 1, channels, *size))
    weights = np.ones(smooth) / smooth
    found = np.apply_along_axis(lambda x: np.convolve(x, weights, "valid"), 0, noise)
    return torch.from_numpy(found).float().transpose(0, 1)[None]


def scored(sr: torch.Tensor, hr: torch.Tensor, cuts: list[int] | None = None) -> MetricCollection:
    metrics = MetricCollection(DATA)
    for a, b in pairwise([0, *sorted(cuts or []), hr.shape[2]]):
        metrics.update(sr[:, :, a:b], hr[:, :, a:b], follows=a > 0)
    return metrics


def by_welch(x: torch.Tensor, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies above 0 and two-sided power in physical units, mean over pixels and channels."""
    window = get_window("hann", block, fftbins=False)
    options = {"window": window, "noverlap": block // 2, "detrend": "constant", "return_onesided": False}
    frequency, power = welch(4 * x.double().numpy()[0], axis=1, nperseg=block, **options)
    chosen = slice(1, block // 2 + 1)
    return abs(frequency[chosen]), power.mean((0, 2, 3))[chosen]


@pytest.mark.parametrize(("frames", "block"), [(8, 8), (21, 21), (50, 50), (64, 64), (96, 64), (160, 64)])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_spectrum_in_time_is_welchs(frames: int, block: int, channels: int) -> None:
    sr, hr = movie(frames, 1, channels=channels, smooth=3), movie(frames, 2, channels=channels)
    metrics = scored(sr, hr)
    (frequency, power_p), (_, power_y) = by_welch(sr, block), by_welch(hr, block)
    curve = metrics.curves()["temporal_spectrum"]
    np.testing.assert_allclose(curve["frequency"], frequency)
    np.testing.assert_allclose(curve["sr"], power_p, rtol=1e-5)
    np.testing.assert_allclose(curve["hr"], power_y, rtol=1e-5)
    floor = 16 * FLOOR
    decibels = 10 * np.log10((power_p + floor) / (power_y + floor))
    assert metrics.segments()["temporal_lsd"] == pytest.approx(np.sqrt(np.mean(decibels**2)), rel=1e-5)


def test_the_last_frames_of_a_long_movie_count() -> None:
    sr, hr = movie(100, 1), movie(100, 2)
    ends = [(0, 64), (32, 96), (36, 100)]
    expected = np.mean([by_welch(sr[:, :, a:b], 64)[1] for a, b in ends], axis=0)
    np.testing.assert_allclose(scored(sr, hr).curves()["temporal_spectrum"]["sr"], expected, rtol=1e-5)


@given(frames=st.integers(1, 200), data=st.data())
@settings(deadline=None, max_examples=15)
def test_pieces_give_what_the_whole_gives(frames: int, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(1, frames - 1), max_size=6, unique=True)) if frames > 1 else []
    sr, hr = movie(frames, 1), movie(frames, 2)
    whole, parts = scored(sr, hr), scored(sr, hr, cuts)
    for name, column in whole.segments().items():
        np.testing.assert_allclose(parts.segments()[name], column, rtol=1e-6, err_msg=name)
    assert whole.curves().keys() == parts.curves().keys()
    for name, curve in whole.curves().items():
        for key, column in curve.items():
            np.testing.assert_allclose(parts.curves()[name][key], column, rtol=1e-6, atol=1e-12, err_msg=f"{name} {key}")


def test_memory_does_not_grow_with_the_movie() -> None:
    def held(metric: TemporalSpectrum) -> int:
        found = [x for value in vars(metric).values() for x in (value if isinstance(value, list) else [value])]
        return sum(x.untyped_storage().nbytes() for x in found if isinstance(x, torch.Tensor))

    metric, sizes = TemporalSpectrum((0.0, 1.0)), []
    for i in range(30):
        sr, hr = torch.rand(2, 1, 1, 16, 70, 90).unbind(0)
        metric.update(sr, hr, follows=i > 0)
        sizes.append(held(metric))
    assert max(sizes) <= 2 * max(sizes[:6])
    assert max(sizes) < 2 * 96 * 4096 * 4 + 20000


def test_large_frames_are_looked_at_in_an_even_lattice() -> None:
    hr = movie(12, 1, (70, 200))
    sr = hr.clone()
    sr[..., 100:] *= 2  # half of the frame has four times the power
    curve = scored(sr, hr).curves()["temporal_spectrum"]
    np.testing.assert_allclose(curve["sr"] / curve["hr"], 2.5, rtol=0.03)


@pytest.mark.parametrize("channels", [1, 3])
def test_error_lag_is_the_correlation_of_errors_one_frame_apart(channels: int) -> None:
    sr, hr = movie(30, 1, channels=channels, smooth=4), movie(30, 2, channels=channels, smooth=2)
    error = (sr - hr).double().numpy()[0]
    one, two = error[:, :-1].ravel(), error[:, 1:].ravel()
    expected = one @ two / np.sqrt((one @ one) * (two @ two))
    assert 0.3 < expected < 0.9
    assert scored(sr, hr).segments()["error_lag"] == pytest.approx(expected, rel=1e-6)


def test_known_lags() -> None:
    hr = movie(12, 1)
    sign = torch.tensor([1.0, -1.0] * 6)[:, None, None]
    assert scored(hr + 0.5, hr).segments()["error_lag"] == pytest.approx(1)
    assert scored(hr + movie(12, 2)[:, :, :1], hr).segments()["error_lag"] == pytest.approx(1)
    assert scored(hr + sign * 0.5, hr).segments()["error_lag"] == pytest.approx(-1)
    assert scored(hr + movie(12, 3, size=(12, 15)), hr).segments()["error_lag"] == pytest.approx(0, abs=0.1)
    assert np.isnan(scored(hr, hr).segments()["error_lag"]).all()  # no error, no lag


def test_only_pixels_of_the_mask_count_in_the_lag() -> None:
    sr, hr = movie(9, 1, smooth=3), movie(9, 2)
    mask = torch.ones(1, 1, 9, 12, 15)
    mask[..., 9:] = 0
    spoilt = sr.clone()
    spoilt[..., 9:] += 3
    masked = MetricCollection(DATA)
    masked.update(spoilt[:, :, :4], hr[:, :, :4], mask[:, :, :4])
    masked.update(spoilt[:, :, 4:], hr[:, :, 4:], mask[:, :, 4:], follows=True)
    # 12 x 9 is too small for SSIM: the reference by hand.
    error = (sr - hr).double().numpy()[0, 0, :, :, :9]
    one, two = error[:-1].ravel(), error[1:].ravel()
    assert masked.segments()["error_lag"] == pytest.approx(one @ two / np.sqrt((one @ one) * (two @ two)), rel=1e-6)
    assert "temporal_lsd" not in masked.segments()
    assert "temporal_spectrum" not in masked.curves()


def test_short_segments_have_what_their_length_allows() -> None:
    metrics = MetricCollection(DATA)
    for i, frames in enumerate([1, 2, 3, 7, 8]):
        metrics.update(movie(frames, i), movie(frames, 10 + i))
    missing = {name: np.isnan(column).tolist() for name, column in metrics.segments().items()}
    assert missing["change_error"] == missing["error_lag"] == [True, False, False, False, False]
    assert missing["flicker"] == [True, True, False, False, False]
    assert missing["temporal_lsd"] == [True, True, True, True, False]
    assert missing["lsd"] == [False] * 5
    np.testing.assert_allclose(metrics.curves()["temporal_spectrum"]["frequency"], np.arange(1, 5) / 8)
    assert metrics.segment_of().tolist() == [0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, *[4] * 8]


def test_a_movie_that_was_smeared_lacks_its_high_frequencies() -> None:
    hr = movie(64, 1)
    smeared = hr.clone()
    smeared[:, :, 1:-1] = (hr[:, :, :-2] + 2 * hr[:, :, 1:-1] + hr[:, :, 2:]) / 4
    curve = scored(smeared, hr).curves()["temporal_spectrum"]
    expected = np.cos(np.pi * curve["frequency"]) ** 4  # of the filter (1, 2, 1) / 4
    np.testing.assert_allclose(curve["sr"] / curve["hr"], expected, atol=0.05)


def test_weights_of_pixels_are_those_of_the_means_in_time_and_of_consistency() -> None:
    """Against numpy.average, in pieces; two rows of LR whose area is 3 and 1."""
    generator = torch.Generator().manual_seed(0)
    hr = torch.rand(1, 2, 20, 16, 12, generator=generator)
    sr = hr + 0.1 * torch.rand(hr.shape, generator=generator)
    area = torch.ones(16, 1)
    area[:8] = 3
    mask = area.expand(1, 1, 20, 16, 12)
    known = DataProperties(scale=2, bounds=(0.0, 1.0), window=(0, 0, 0), degrade=lambda x: torch.nn.functional.avg_pool2d(x, 2))
    metrics = MetricCollection(known)
    lr = torch.rand(1, 2, 20, 8, 6, generator=generator)
    for at in (slice(0, 13), slice(13, 20)):
        metrics.update(*(x[:, :, at] for x in (sr, hr, mask)), lr=lr[:, :, at], follows=at.start > 0)
    found = metrics.segments()
    p, y = (x[0].double().numpy() for x in (sr, hr))
    e, w = p - y, np.broadcast_to(area.numpy(), (2, 1, 16, 12))

    def mean(x: np.ndarray) -> float:
        return float(np.average(x, weights=np.broadcast_to(w, x.shape)))

    change = np.sqrt(mean(np.diff(e, axis=1) ** 2) / mean(np.diff(y, axis=1) ** 2))
    flicker = np.sqrt(mean(np.diff(p, 2, axis=1) ** 2) / mean(np.diff(y, 2, axis=1) ** 2))
    lag = mean(e[:, 1:] * e[:, :-1]) / np.sqrt(mean(e[:, 1:] ** 2) * mean(e[:, :-1] ** 2))
    window = np.hanning(20)[:, None, None]
    powers = [abs(np.fft.rfft((x - x.mean(1, keepdims=True)) * window, axis=1))[:, 1:] ** 2 for x in (p, y)]
    above, below = (np.average(x, axis=(0, 2, 3), weights=np.broadcast_to(w, x.shape)) for x in powers)
    lsd = np.sqrt(np.mean((10 * np.log10(above / below)) ** 2))
    for name, value in {"change_error": change, "flicker": flicker, "error_lag": lag, "temporal_lsd": lsd}.items():
        assert found[name][0] == pytest.approx(value, rel=1e-5), name
    x, d = lr[0, :, 0].double().numpy(), p[:, 0].reshape(2, 8, 2, 6, 2).mean((2, 4))
    weights = np.broadcast_to(np.repeat([3.0, 1.0], 4)[:, None], x.shape)
    centre = np.average(x, axis=(1, 2), weights=weights)[:, None, None]
    expected = np.sqrt(np.average((d - x) ** 2, weights=weights) / np.average((x - centre) ** 2, weights=weights))
    assert metrics.frames()["consistency"][0] == pytest.approx(expected, rel=1e-5)
