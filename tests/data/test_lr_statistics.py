"""Comparison of LR frames with those of training pairs: what differs is named, what is alike is not."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from vsr.data.lr_statistics import LRStatistics, measure_variable, octave_powers


def field(seed: int, *, slope: float = 3.0, size: int = 32, frames: int = 6) -> np.ndarray:
    """Return random fields (T, h, w) of unit variance whose power falls with the wavenumber to the power `slope`."""
    k = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    k[0, 0] = np.inf
    noise = np.fft.fft2(np.random.default_rng(seed).standard_normal((frames, size, size)))
    made = np.fft.ifft2(noise * k ** (-slope / 2 - 0.5)).real
    return made / made.std((1, 2), keepdims=True)


def statistics(names: tuple[str, ...] = ("",)) -> LRStatistics:
    every = tuple(measure_variable(name, [field(10 * i + seed) for seed in range(6)]) for i, name in enumerate(names))
    return LRStatistics(every, (32, 32), (100.0, 100.0), ("km", "km"), 5.0, "hours")


def test_frames_like_those_of_training_are_alike_and_the_statistics_survive_a_checkpoint() -> None:
    known = statistics(("h", "u"))
    again = LRStatistics.from_plain(json.loads(json.dumps(known.to_plain())))
    assert again == known
    for seed in range(100, 110):
        movie = np.stack([field(seed), field(seed + 50)], 1)
        assert known.differences(movie, 5.0, "hours") == ()
        movie[:, :, 3, 4] = np.nan
        assert known.differences(movie, None, "") == ()
    assert known.differences(np.full((2, 2, 32, 32), np.nan), None, "") == ()
    with pytest.raises((KeyError, ValueError)):
        LRStatistics.from_plain({**known.to_plain(), "variables": [{"name": "h", "range": [1, 0]}]})


def noisy(frames: np.ndarray) -> np.ndarray:
    return frames + 0.5 * np.random.default_rng(0).standard_normal(frames.shape)


def smoothed(frames: np.ndarray) -> np.ndarray:
    return sum(np.roll(frames, (i, j), (-2, -1)) for i in range(3) for j in range(3)) / 9  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("change", "lead", "message"),
    [
        (lambda x: 100 * x, 5.0, r"^u from -[\d.]+ to [\d.]+, in training from -[\d.]+ to [\d.]+$"),
        (lambda x: x + 1.2, 5.0, r"^u with a mean of 1.2, in training -?[\d.e-]+ to [\d.e-]+$"),
        (noisy, 5.0, r"^u with [\d.]+ times the power of training in waves of 2 to 4 pixels$"),
        (smoothed, 5.0, r"^u with 0.\d+ times the power of training in waves of 2 to 4 pixels"),
        (lambda x: x, 9.0, r"^lead times up to 9 hours, in training up to 5 hours$"),
    ],
)
def test_what_differs_is_named(change: Any, lead: float, message: str) -> None:
    movie = np.stack([field(100), change(field(150))], 1)
    [said] = statistics(("h", "u")).differences(movie, lead, "hours")
    assert re.search(message, said), said
    assert statistics(("h", "u")).differences(np.stack([field(100), field(150)], 1), 9.0, "days") == ()


def test_a_single_trajectory_leaves_room_for_others() -> None:
    known = measure_variable("", [field(0)])
    assert known.difference(field(1)) is None
    assert known.difference(30 * field(1)) is not None


def test_power_of_octaves_is_the_variance_of_waves() -> None:
    x = np.arange(64)
    for octave, wavelength in enumerate((3, 6, 12)):
        wave = np.sin(2 * np.pi * x / wavelength)[None, None, :] * np.ones((1, 64, 1))
        power = octave_powers(wave)[:, 0]
        assert power.argmax() == octave
        assert power[octave] == pytest.approx(0.5, rel=0.1)
    assert octave_powers(np.zeros((2, 6, 6))).shape == (0, 2)


@pytest.mark.parametrize(
    ("spacing", "units", "size", "found"),
    [
        ((25.0, 25.0), ("km", "km"), (64, 64), 4.0),
        ((100.0, 100.0), ("km", "km"), (128, 128), None),
        ((25000.0, 25000.0), ("m", "m"), (50, 50), None),
        ((None, None), ("", ""), (128, 128), 4.0),
        ((None, None), ("", ""), (64, 64), None),
        ((100.0, 200.0), ("km", "km"), (64, 64), 0.5),
    ],
)
def test_pixels_that_are_finer_than_in_training(spacing: Any, units: Any, size: Any, found: float | None) -> None:
    assert statistics().times_as_fine(spacing, units, size, 4) == (found and pytest.approx(found))
