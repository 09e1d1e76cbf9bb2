"""Spectra, bands and resolution of frames, against numpy's two-sided transform and scipy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, sum_labels
from scipy.signal import get_window

from vsr.geometry import PixelGrid
from vsr.metrics.collection import DataProperties, MetricCollection

FLOOR = float(np.finfo(np.float32).eps) ** 2
LOW, HIGH = -3.0, 7.0


def data(scale: int = 2, periodic: bool = False, window: tuple[int, int, int] = (0, 0, 0)) -> DataProperties:
    return DataProperties(scale=scale, bounds=(LOW, HIGH), window=window, periodic=periodic)


def movie(seed: int, size: tuple[int, int] = (24, 31), frames: int = 3, channels: int = 1, sigma: float = 1.0) -> torch.Tensor:
    noise = np.random.default_rng(seed).standard_normal((1, channels, frames, *size))
    return torch.from_numpy(gaussian_filter(noise, (0, 0, 0, sigma, sigma), mode="wrap")).float()


def scored(sr: torch.Tensor, hr: torch.Tensor, known: DataProperties | None = None) -> MetricCollection:
    metrics = MetricCollection(known or data())
    metrics.update(sr, hr)
    return metrics


def wavenumbers(height: int, width: int) -> np.ndarray:
    return np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))


def rings(sr: torch.Tensor, hr: torch.Tensor, tapers: tuple[bool, bool]) -> tuple[np.ndarray, ...]:
    """Wavenumber, power of both and coherence of a segment (1, C, F, H, W), by all modes of the two-sided transform."""
    height, width = hr.shape[-2:]
    size = min(height, width)
    y, x = (get_window("hann", n, fftbins=False) if t else np.ones(n) for n, t in zip((height, width), tapers, strict=True))
    window = np.outer(y, x)
    number = np.floor(wavenumbers(height, width) * size + 0.5)
    index = np.arange(1, size // 2 + 1)
    power_p, power_y, cross = 0.0, 0.0, 0.0
    for p, q in zip(sr.double().numpy().reshape(-1, height, width), hr.double().numpy().reshape(-1, height, width), strict=True):
        found, true = (np.fft.fft2(window * (x - x.mean())) for x in (p, q))
        power_p += sum_labels(abs(found) ** 2, number, index)
        power_y += sum_labels(abs(true) ** 2, number, index)
        cross += sum_labels((found * true.conj()).real, number, index)
    modes = sum_labels(np.ones_like(number), number, index) * hr[0, :, :, 0, 0].numel() * (window**2).sum()
    power_p, power_y, cross = power_p / modes, power_y / modes, cross / modes
    coherence = (cross + FLOOR) / np.sqrt((power_p + FLOOR) * (power_y + FLOOR))
    return index / size, power_p, power_y, coherence


@given(
    size=st.tuples(st.integers(11, 40), st.integers(11, 40)),
    scale=st.sampled_from([2, 3, 4, 6, 8]),
    channels=st.integers(1, 2),
    sigma=st.sampled_from([0.0, 2.0]),
)
@settings(deadline=None, max_examples=25)
def test_the_squares_of_the_bands_add_up_to_that_of_the_rmse(
    size: tuple[int, int], scale: int, channels: int, sigma: float
) -> None:
    sr, hr = movie(1, size, 2, channels, sigma) + 0.1, movie(2, size, 2, channels, sigma)
    found = scored(sr, hr, data(scale)).frames()
    total = sum(found[f"band_{name}"] ** 2 for name in ("low", "mid", "high"))
    np.testing.assert_allclose(np.sqrt(total), found["rmse"], rtol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("size", [(24, 31), (36, 24)])
def test_bands_are_the_error_filtered_to_their_wavelengths(size: tuple[int, int], scale: int) -> None:
    sr, hr = movie(3, size, channels=2), movie(4, size, channels=2)
    found = scored(sr, hr, data(scale)).frames()
    number, nyquist = wavenumbers(*size), 0.5 / scale
    edges = {"band_low": (-1, nyquist / 2), "band_mid": (nyquist / 2, nyquist), "band_high": (nyquist, 1)}
    spectrum = np.fft.fft2((sr - hr).double().numpy())
    for name, (a, b) in edges.items():
        part = np.fft.ifft2(np.where((number >= a - 1e-12) & (number < b - 1e-12), spectrum, 0))
        expected = (HIGH - LOW) * np.sqrt(np.mean(abs(part) ** 2, axis=(0, 1, 3, 4)))
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("waves", "band"), [((0, 3), "band_low"), ((6, 0), "band_mid"), ((5, 5), "band_mid"), ((0, 13), "band_high")]
)
def test_a_wave_lies_in_its_band(waves: tuple[int, int], band: str) -> None:
    y, x = np.mgrid[:48, :48] * 2 * np.pi / 48
    wave = torch.from_numpy(0.1 * np.sin(waves[0] * y + waves[1] * x)).float().expand(1, 1, 1, 48, 48)
    found = scored(wave, torch.zeros_like(wave), data(scale=2)).frames()
    for name in ("band_low", "band_mid", "band_high"):
        assert found[name][0] == pytest.approx((HIGH - LOW) * 0.1 / 2**0.5 if name == band else 0, abs=1e-6), name


@pytest.mark.parametrize(
    ("known", "tapers"),
    [
        (data(), (True, True)),
        (data(periodic=True), (False, False)),
        (data(periodic=True, window=(0, 2, 0)), (True, False)),
        (data(periodic=False, window=(0, 0, 3)), (True, True)),
    ],
)
@pytest.mark.parametrize("size", [(24, 24), (24, 31), (33, 20)])
def test_distances_and_curves_are_those_of_the_two_sided_transform(
    known: DataProperties, tapers: tuple[bool, bool], size: tuple[int, int]
) -> None:
    sr, hr = movie(5, size, channels=2, sigma=0.8), movie(6, size, channels=2, sigma=0.6)
    metrics = scored(sr, hr, known)
    wavenumber, power_p, power_y, coherence = rings(sr, hr, tapers)
    decibels = 10 * np.log10(power_p / power_y)
    found = metrics.segments()
    assert found["lsd"] == pytest.approx(np.sqrt(np.mean(decibels**2)), rel=1e-6)
    assert found["lsd_high"] == pytest.approx(np.sqrt(np.mean(decibels[wavenumber >= 0.25 - 1e-9] ** 2)), rel=1e-6)
    curve = metrics.curves()["spectrum"]
    np.testing.assert_allclose(curve["wavenumber"], wavenumber)
    np.testing.assert_allclose(curve["sr"], power_p * (HIGH - LOW) ** 2, rtol=1e-6)
    np.testing.assert_allclose(curve["hr"], power_y * (HIGH - LOW) ** 2, rtol=1e-6)
    np.testing.assert_allclose(curve["coherence"], coherence, rtol=1e-6, atol=1e-9)
    at = int(0.25 * min(sr.shape[-2:]) + 0.5) - 1
    alone = [rings(sr[:, :, i : i + 1], hr[:, :, i : i + 1], tapers)[3][at] for i in range(sr.shape[2])]
    if not any(known.window):
        np.testing.assert_allclose(metrics.frames()["nyquist_coherence"], alone, rtol=1e-6)


@pytest.mark.parametrize("noise", [0.1, 0.5, 2.0])
def test_resolution_is_where_coherence_crosses_one_half(noise: float) -> None:
    hr = movie(7, (64, 64), frames=4, sigma=2.0)
    sr = hr + noise * 0.1 * movie(8, (64, 64), frames=4, sigma=0.0)
    wavenumber, _, _, coherence = rings(sr, hr, (True, True))
    at = int(np.argmax(coherence < 0.5))
    assert 0 < at < len(coherence)
    crossing = np.interp(0.5, coherence[[at, at - 1]], wavenumber[[at, at - 1]])
    assert scored(sr, hr).segments()["resolution"] == pytest.approx(1 / crossing, rel=1e-6)


def test_what_is_lost_beyond_a_wavelength_is_not_resolved() -> None:
    hr = movie(9, (64, 64), frames=6, sigma=0.0)
    other = movie(10, (64, 64), frames=6, sigma=0.0)
    kept = wavenumbers(64, 64) < 1 / 5
    sr = np.fft.ifft2(np.where(kept, np.fft.fft2(hr.numpy()), np.fft.fft2(other.numpy()))).real
    found = scored(torch.from_numpy(sr).float(), hr, data(periodic=True)).segments()
    assert found["resolution"] == pytest.approx(5, rel=0.1)
    assert found["lsd"] < 1  # the power is right: only coherence tells


def test_known_values() -> None:
    hr = movie(11, (32, 48))
    double = scored(2 * hr, hr).segments()
    assert double["lsd"] == pytest.approx(20 * np.log10(2))
    assert double["lsd_high"] == pytest.approx(20 * np.log10(2))
    assert double["resolution"] == 2
    assert scored(-hr, hr).segments()["resolution"] == 32  # not even the longest wave
    assert scored(hr + 0.25, hr).segments()["lsd"] == pytest.approx(0, abs=1e-4)  # the mean is no part of it


def test_rounding_is_no_difference_where_a_smooth_truth_has_no_power() -> None:
    y, x = np.mgrid[:64, :64] * 2 * np.pi / 64
    smooth = 0.5 + 0.3 * np.sin(y) * np.cos(2 * x)
    hr = torch.from_numpy(smooth).float().expand(1, 1, 2, 64, 64)
    sr = torch.from_numpy(smooth + 3e-8 * np.random.default_rng(0).standard_normal(smooth.shape)).float().expand_as(hr)
    assert not torch.equal(sr, hr)
    found = scored(sr, hr, data(periodic=True)).segments()
    assert found["lsd"] < 1
    assert found["resolution"] == 2


@pytest.mark.parametrize("noise", [1e-6, 1e-3])
def test_noise_of_a_network_does_not_count_where_the_truth_has_no_power(noise: float) -> None:
    y, x = np.mgrid[:64, :64] * 2 * np.pi / 64
    waves = 0.5 + 0.1 * np.sin(y) * np.cos(2 * x) + 0.1 * np.cos(9 * x)
    hr = torch.from_numpy(waves).float().expand(1, 1, 2, 64, 64)
    sr = hr + noise * torch.from_numpy(np.random.default_rng(0).standard_normal(waves.shape)).float()
    found = scored(sr, hr, data(periodic=True))
    assert found.segments()["lsd"] < 0.1  # over the rings 2 and 9; the others would count 10 log10(1e-6 / 1.4e-14) = 79 dB
    assert found.segments()["resolution"] == 2
    assert np.isnan(found.segments()["lsd_high"])  # the truth has nothing from the LR Nyquist wavenumber on
    curve = found.curves()["spectrum"]
    lost = scored(torch.from_numpy(waves - 0.1 * np.cos(9 * x)).float().expand_as(hr), hr, data(periodic=True)).segments()
    assert 64 / 9 <= lost["resolution"] < 64 / 8
    np.testing.assert_allclose(curve["floor"], FLOOR * (HIGH - LOW) ** 2)


def test_white_noise_has_its_variance_at_every_wavenumber() -> None:
    hr = movie(12, (64, 80), frames=20, sigma=0.0)
    for periodic in (True, False):
        curve = scored(hr, hr, data(periodic=periodic)).curves()["spectrum"]
        np.testing.assert_allclose(curve["hr"][3:], (HIGH - LOW) ** 2, rtol=0.2)


def test_frames_of_several_sizes_meet_on_the_wavenumbers_of_the_smallest() -> None:
    metrics = MetricCollection(data(periodic=True))
    for seed, size in enumerate([(40, 64), (24, 30), (50, 50)]):
        metrics.update(0.5 * movie(seed, size, 12, sigma=0.0), movie(seed, size, 12, sigma=0.0))
    curve = metrics.curves()["spectrum"]
    np.testing.assert_allclose(curve["wavenumber"], np.arange(1, 13) / 24)
    np.testing.assert_allclose(curve["hr"][2:], (HIGH - LOW) ** 2, rtol=0.15)
    np.testing.assert_allclose(curve["sr"], curve["hr"] / 4, rtol=1e-6)
    np.testing.assert_allclose(curve["coherence"], 1, rtol=1e-6)
    assert metrics.segments()["lsd"].shape == (3,)


def test_masked_pixels_leave_no_spectrum() -> None:
    sr, hr, mask = movie(1), movie(2), torch.ones(1, 1, 3, 24, 31)
    mask[0, 0, 1, 3, 3] = 0
    names = {"lsd", "lsd_high", "resolution", "band_low", "band_mid", "band_high", "nyquist_coherence"}
    metrics = MetricCollection(data())
    metrics.update(sr, hr, torch.zeros_like(mask))
    assert not names & {*metrics.compute()}
    assert not metrics.curves()
    metrics.reset()
    other = movie(3), movie(4)
    metrics.update(*other)
    for first, second in ((None, None), (mask, None), (None, mask)):  # a gap in one part of a segment is one in the segment
        metrics.update(sr, hr, first)
        metrics.update(sr, hr, second, follows=True)
    alone = [float(scored(*clips).segments()["lsd"][0]) for clips in (other, (sr, hr))]
    np.testing.assert_allclose(metrics.segments()["lsd"], [*alone, np.nan, np.nan])
    metrics.reset()
    metrics.update(sr, hr, mask)
    assert np.isnan(metrics.frames()["band_mid"]).tolist() == [False, True, False]
    assert np.isnan(metrics.frames()["nyquist_coherence"]).tolist() == [False, True, False]
    assert "lsd" not in metrics.segments()
    metrics.update(sr, hr, torch.ones_like(mask))
    assert np.isnan(metrics.segments()["lsd"]).tolist() == [True, False]
    alone = scored(sr, hr).curves()["spectrum"]
    np.testing.assert_allclose(metrics.curves()["spectrum"]["coherence"], alone["coherence"])


def test_wavenumbers_are_physical_where_pixels_are_no_squares() -> None:
    """A wave of 40 km is one ring, whichever way it runs, on pixels of 2 x 5 km."""
    height, width, dy, dx = 100, 80, 2.0, 5.0
    grid = PixelGrid(dy, dx, "km")
    y, x = np.meshgrid(dy * np.arange(height), dx * np.arange(width), indexing="ij")
    for along in (y, x):
        wave = torch.from_numpy(0.1 * np.cos(2 * np.pi * along / 40)).float().expand(1, 1, 1, height, width)
        curve = scored(wave, wave, replace(data(periodic=True), grid=grid)).curves()["spectrum"]
        assert curve["wavenumber"][int(curve["hr"].argmax())] == pytest.approx(1 / 40)
        np.testing.assert_allclose(curve["wavenumber"], np.arange(1, 21) / 200)  # min(H dy, W dx) = 200 km, up to 1 / (2 dx)
    hr, other = movie(9, (height, width), 6, sigma=0.0), movie(10, (height, width), 6, sigma=0.0)
    number = np.hypot(np.fft.fftfreq(height, dy)[:, None], np.fft.fftfreq(width, dx))
    sr = torch.from_numpy(np.fft.ifft2(np.where(number < 1 / 25, np.fft.fft2(hr.numpy()), np.fft.fft2(other.numpy()))).real)
    found = scored(sr.float(), hr, replace(data(periodic=True), grid=grid))
    assert found.segments()["resolution"] == pytest.approx(25, rel=0.1)
    assert scored(hr, hr, replace(data(), grid=grid)).segments()["resolution"] == 10  # two of the longer sides
    bands = found.frames()
    np.testing.assert_allclose(np.sqrt(sum(bands[f"band_{n}"] ** 2 for n in ("low", "mid", "high"))), bands["rmse"], rtol=1e-6)


def test_square_pixels_score_the_same_in_any_unit() -> None:
    sr, hr = movie(5), movie(6)
    alone, in_km = scored(sr, hr), scored(sr, hr, replace(data(), grid=PixelGrid(4.0, 4.0, "km")))
    by_name = alone.segments() | alone.frames(), in_km.segments() | in_km.frames()
    for name, values in by_name[0].items():
        per_km = {"resolution": 4, "gradient_rmse": 1 / 4}.get(name, 1)
        np.testing.assert_array_equal(by_name[1][name], values * per_km, err_msg=name)
    curves = alone.curves()["spectrum"], in_km.curves()["spectrum"]
    np.testing.assert_array_equal(curves[1]["wavenumber"], curves[0]["wavenumber"] / 4)
    np.testing.assert_array_equal(curves[1]["sr"], curves[0]["sr"])


def test_latitudes_have_the_mean_distance_of_their_rows() -> None:
    cosines = tuple(np.cos(np.radians(np.linspace(70, 40, 24))))
    mean = PixelGrid(3.0, 4.0 * float(np.mean(cosines)), "km")
    sr, hr = movie(5), movie(6)
    one, other = (scored(sr, hr, replace(data(), grid=grid)) for grid in (PixelGrid(3.0, 4.0, "km", cosines), mean))
    for name in ("lsd", "resolution"):
        np.testing.assert_allclose(one.segments()[name], other.segments()[name], rtol=1e-9)


def test_rounding_of_storage_is_neither_scored_nor_resolved() -> None:
    """Waves up to ring 9 in steps of 0.01 of a range of 10: HR has no power above, except that of the steps."""
    y, x = np.mgrid[:64, :64] * 2 * np.pi / 64
    waves = 0.5 + 0.2 * np.sin(y + 2 * x) + 0.1 * np.cos(9 * x + 0.3) + 0.1 * np.cos(5 * y + 2 * x + 1)
    step = 0.01
    stored = np.round((LOW + waves * (HIGH - LOW)) / step) * step
    hr = torch.from_numpy((stored - LOW) / (HIGH - LOW)).float().expand(1, 1, 8, 64, 64)
    sr = torch.from_numpy(waves).float().expand_as(hr)  # right, but for the steps
    blind = scored(sr, hr, data(periodic=True)).segments()
    assert blind["lsd"] > 20
    assert blind["resolution"] > 3
    seen = scored(sr, hr, replace(data(periodic=True), step=step))
    assert seen.segments()["lsd"] < 0.1
    assert seen.segments()["resolution"] == 2
    assert np.isnan(seen.segments()["lsd_high"])
    np.testing.assert_allclose(seen.curves()["spectrum"]["floor"], step**2)
    # What is lost of the waves that HR has is found, from the ring before on, whatever stands there.
    lost = torch.from_numpy(waves - 0.1 * np.cos(9 * x + 0.3)).float() + 1e-4 * torch.randn(hr.shape, generator=torch.Generator())
    found = scored(lost, hr, replace(data(periodic=True), step=step)).segments()["resolution"]
    assert 64 / 9 <= found < 64 / 8


def test_the_floor_of_float32_stays_where_storage_is_finer() -> None:
    sr, hr = movie(5), movie(6)
    fine = scored(sr, hr, replace(data(), step=1e-9)).segments()
    for name, values in scored(sr, hr).segments().items():
        np.testing.assert_array_equal(fine[name], values, err_msg=name)
