"""Random fields of many kinds, from power-law spectra to fronts, filaments, rain, rings and coasts, made with numpy and scipy.

They stand for fields that nobody has seen yet. Each frame is of one kind, drawn at random together with its slope, its widths and
the way in which its grid came to be: block means, every second cell, diffusion, spectral truncation, noise of an instrument.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

Draw = np.random.Generator


def _gaussian(rng: Draw, cells: int, slope: float, cutoff: float = 0.0) -> np.ndarray:
    """Return a periodic Gaussian field (cells, cells) of unit variance whose energy spectrum falls as k^-slope.

    The spectrum is flat below a few waves per side and stretched along a random direction. `cutoff` is the wavenumber beyond
    which there is no power, over the largest one; 0 for none.
    """
    ky, kx = np.fft.fftfreq(cells)[:, None] * cells, np.fft.rfftfreq(cells) * cells
    angle, ratio = rng.uniform(0, np.pi), np.exp(rng.normal(0, 0.35))
    along, across = np.cos(angle) * kx + np.sin(angle) * ky, np.cos(angle) * ky - np.sin(angle) * kx
    radius = np.hypot(along * ratio, across / ratio)
    amplitude = np.hypot(radius, rng.uniform(1, 6)) ** (-(slope + 1) / 2)
    if cutoff:
        amplitude *= np.exp(-((radius / (cutoff * cells / 2)) ** rng.choice([4, 8, 40])))
    spectrum = np.fft.rfft2(rng.standard_normal((cells, cells))) * amplitude
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, (cells, cells))
    return field / field.std()


def _gradient(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return central differences of a periodic field along y and x."""
    return (np.roll(field, -1, 0) - np.roll(field, 1, 0)) / 2, (np.roll(field, -1, 1) - np.roll(field, 1, 1)) / 2


def _log_uniform(rng: Draw, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def smooth_field(rng: Draw, cells: int) -> np.ndarray:
    """Return a field with a steep spectrum, k^-4 to k^-7."""
    return _gaussian(rng, cells, rng.uniform(4, 7))


def power_law_field(rng: Draw, cells: int) -> np.ndarray:
    """Return a field whose spectrum falls as k^-1.2 to k^-6, in half of the cases up to a cutoff."""
    return _gaussian(rng, cells, rng.uniform(1.2, 6), rng.choice([0, 0, rng.uniform(0.3, 1)]))


def front_field(rng: Draw, cells: int) -> np.ndarray:
    """Return steps along level lines of other fields, each step with a width of its own."""
    total = np.zeros((cells, cells))
    for _ in range(rng.integers(1, 4)):
        level = _gaussian(rng, cells, rng.uniform(2.5, 6))
        distance = (level - rng.normal(0, 0.7)) / np.hypot(*_gradient(level)).mean()
        height = 1 + rng.uniform(0, 1) * smooth_field(rng, cells)
        total += height * np.tanh(distance / _log_uniform(rng, 0.3, 8))
    return total + rng.uniform(0, 1) * power_law_field(rng, cells)


def rain_field(rng: Draw, cells: int) -> np.ndarray:
    """Return a log-normal field, mostly zero below a threshold."""
    field = np.exp(rng.uniform(0.5, 2) * _gaussian(rng, cells, rng.uniform(1.5, 4)))
    return np.maximum(field - np.quantile(field, rng.uniform(0, 0.9)), 0) if rng.random() < 0.7 else field


def filament_field(rng: Draw, cells: int) -> np.ndarray:
    """Return a field that flows without divergence have drawn out into filaments."""
    field = _one_of(rng, power_law_field, front_field, smooth_field)(rng, cells)
    y, x = np.mgrid[:cells, :cells].astype(float)
    for _ in range(rng.integers(1, 4)):
        along_y, along_x = _gradient(_gaussian(rng, cells, rng.uniform(4, 7)))
        far = rng.uniform(3, 25) / np.hypot(along_y, along_x).std()
        field = map_coordinates(field, [y + far * along_x, x - far * along_y], order=3, mode="grid-wrap")
    return field


def ring_field(rng: Draw, cells: int) -> np.ndarray:
    """Return round waves, bumps and round steps."""
    y, x = np.mgrid[:cells, :cells] / cells
    total = np.zeros((cells, cells))
    for _ in range(rng.integers(1, 6)):
        cy, cx = rng.uniform(-0.2, 1.2, 2)
        radius = np.hypot(y - cy, (x - cx) * np.exp(rng.normal(0, 0.2)))
        kind, amplitude = rng.integers(3), rng.normal()
        if kind == 0:
            packet = np.exp(-(((radius - rng.uniform(0, 0.7)) / rng.uniform(0.03, 0.4)) ** 2))
            total += amplitude * np.cos(2 * np.pi * radius * rng.uniform(4, cells / 6)) * packet
        elif kind == 1:
            total += amplitude * np.exp(-((radius / rng.uniform(0.02, 0.3)) ** 2))
        else:
            total += amplitude * np.tanh((radius - rng.uniform(0.05, 0.5)) * cells / _log_uniform(rng, 0.3, 10))
    return total + rng.uniform(0, 0.3) * power_law_field(rng, cells)


def coast_field(rng: Draw, cells: int) -> np.ndarray:
    """Return one field on land and another at sea, with a rough coast between them."""
    land = _gaussian(rng, cells, rng.uniform(1.8, 3.2)) > rng.normal(0, 0.5)
    hills, sea = power_law_field(rng, cells), smooth_field(rng, cells)
    if rng.random() < 0.7:
        return np.where(land, rng.normal(0, 2) + hills, sea * rng.uniform(0.1, 1))
    return np.where(land, np.abs(hills), 0.0)


def modulated_field(rng: Draw, cells: int) -> np.ndarray:
    """Return a field whose amplitude changes from place to place."""
    envelope = np.exp(rng.uniform(0.5, 1.5) * smooth_field(rng, cells))
    return envelope * power_law_field(rng, cells) + rng.uniform(0, 2) * smooth_field(rng, cells)


def ridge_field(rng: Draw, cells: int) -> np.ndarray:
    """Return a relief with ridges: octaves of 1 - |f|."""
    total, amplitude, slope = np.zeros((cells, cells)), 1.0, rng.uniform(3, 6)
    for _ in range(4):
        total += amplitude * (1 - np.abs(_gaussian(rng, cells, slope)))
        amplitude, slope = amplitude * rng.uniform(0.3, 0.6), max(slope - 0.7, 1.5)
    return total if rng.random() < 0.5 else total * np.abs(smooth_field(rng, cells))


def derivative_field(rng: Draw, cells: int) -> np.ndarray:
    """Return a derivative of another field: along a direction, the norm of the gradient, or the Laplacian."""
    field = _one_of(rng, front_field, filament_field, smooth_field, ring_field)(rng, cells)
    along_y, along_x = _gradient(field)
    kind = rng.integers(3)
    if kind == 0:
        angle = rng.uniform(0, 2 * np.pi)
        return np.cos(angle) * along_y + np.sin(angle) * along_x
    if kind == 1:
        return np.hypot(along_y, along_x)
    return sum(np.roll(field, step, axis) for step in (1, -1) for axis in (0, 1)) - 4 * field


Kind = Callable[[Draw, int], np.ndarray]
# Kinds and how often they are drawn.
KINDS: dict[Kind, float] = {
    power_law_field: 2.0,
    smooth_field: 0.7,
    front_field: 2.0,
    rain_field: 1.5,
    filament_field: 2.0,
    ring_field: 1.0,
    coast_field: 1.5,
    modulated_field: 1.0,
    ridge_field: 1.0,
    derivative_field: 1.3,
}


def _one_of(rng: Draw, *kinds: Kind) -> Kind:
    return kinds[rng.integers(len(kinds))]


def draw_random_field(rng: Draw, size: int) -> np.ndarray:
    """Draw a field (size, size) of a random kind, of zero mean and unit variance, float64.

    Args:
        rng: Random generator.
        size: Number of pixels per side.
    """
    kinds, weights = list(KINDS), np.array(list(KINDS.values()))
    kind = kinds[rng.choice(len(kinds), p=weights / weights.sum())]
    grid = rng.integers(5)
    cells = 2 * size if grid in (1, 2) else int(rng.choice([size, int(1.5 * size)]))
    field = kind(rng, cells)
    if grid == 1:  # cells of a coarser model
        field = field.reshape(size, 2, size, 2).mean((1, 3))
    elif grid == 2:  # points of a finer one
        field = field[::2, ::2]
    elif grid == 3:  # diffusion
        field = gaussian_filter(field, rng.uniform(0.3, 1.2), mode="wrap")
    elif grid == 4:  # a spectral model
        waves = np.hypot(np.fft.fftfreq(cells)[:, None], np.fft.rfftfreq(cells)) * 2
        kept = np.exp(-((waves / rng.uniform(0.25, 1)) ** rng.choice([4, 10, 60])))
        field = np.fft.irfft2(np.fft.rfft2(field) * kept, field.shape)
    field = field[:size, :size]
    field = rng.choice([-1, 1]) * (field - field.mean()) / max(field.std(), 1e-12)
    if rng.random() < 0.3:  # instruments and packed files
        field = field + 10 ** rng.uniform(-4, -1.3) * rng.standard_normal(field.shape)
    return field


def random_field_movie(seed: tuple[int, ...], size: int, frames: int, *, tick: Callable[[], None] | None = None) -> np.ndarray:
    """Draw frames (T, size, size), float32, that have nothing to do with each other; equal seeds give equal bits.

    Args:
        seed: Integers that form the seed.
        size: Number of pixels per side.
        frames: Number of frames T.
        tick: Function that is called after each frame.
    """
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(frames):
        drawn.append(draw_random_field(rng, size).astype(np.float32))
        if tick is not None:
            tick()
    return np.stack(drawn)
