"""Movies of a moving Shepp-Logan head phantom, made with numpy only.

A frame covers the square from -1 to 1, with x to the right and y up; row 0 is the top. A phantom is an array of ellipses with
one row (level, a, b, x, y, angle) per ellipse. The level is added inside the ellipse, a and b are the semi-axes, (x, y) is the
centre, and the angle of `a` is counter-clockwise, in degrees. Row 0 is the skull, row 1 the brain, and rows 2 and 3 are the
dark ventricles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

Variant = Literal["original", "modified"]

_SHAPES = (
    (0.69, 0.92, 0.0, 0.0, 0.0),
    (0.6624, 0.874, 0.0, -0.0184, 0.0),
    (0.11, 0.31, 0.22, 0.0, -18.0),
    (0.16, 0.41, -0.22, 0.0, 18.0),
    (0.21, 0.25, 0.0, 0.35, 0.0),
    (0.046, 0.046, 0.0, 0.1, 0.0),
    (0.046, 0.046, 0.0, -0.1, 0.0),
    (0.046, 0.023, -0.08, -0.605, 0.0),
    (0.023, 0.023, 0.0, -0.605, 0.0),
    (0.023, 0.046, 0.06, -0.605, 0.0),
)
_LEVELS: dict[Variant, tuple[float, ...]] = {
    "original": (2.0, -0.98, -0.02, -0.02, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01),
    "modified": (1.0, -0.8, -0.2, -0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1),
}

# Shepp & Logan 1974, "The Fourier reconstruction of a head section", table 1; Toft 1996, "The Radon transform", table B.3, who
# kept the shapes and raised the contrast inside the skull.
ELLIPSES: dict[Variant, np.ndarray] = {
    variant: np.array([(level, *shape) for level, shape in zip(levels, _SHAPES, strict=True)])
    for variant, levels in _LEVELS.items()
}

# The range of every pixel of every seed up to float32 rounding: perturbed levels only make the brain brighter and the ventricles
# fainter, the ventricles never overlap, and nothing leaves the brain.
BOUNDS: dict[Variant, tuple[float, float]] = {"original": (0.0, 2.0), "modified": (0.0, 1.0)}

LARGEST_MOTION = 0.05  # of the size: the head still fits into the frame
CYCLES = 0.03  # per frame at speed 1
SKULL, BRAIN, VENTRICLES = 0, 1, slice(2, 4)


def render_phantom(ellipses: np.ndarray, size: int, oversample: int = 16) -> np.ndarray:
    """Render (N, 6) ellipses as an antialiased image (size, size), float64.

    A pixel is the mean over its area, exact along rows and sampled by `oversample` lines per pixel across rows. All ellipses
    share these lines, so overlaps are exact and the image changes continuously with any motion.
    """
    image = np.zeros((size, size))
    lines = 1 - (np.arange(size * oversample) + 0.5) * (2 / (size * oversample))
    for level, a, b, x, y, angle in ellipses:
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        # The points (x + s, y + t) of the ellipse satisfy A s^2 + 2 B s t + C t^2 <= 1, where A C - B^2 = 1 / (a b)^2.
        quadratic, mixed = (cos / a) ** 2 + (sin / b) ** 2, cos * sin * (a**-2 - b**-2)
        highest = a * b * np.sqrt(quadratic)  # largest t
        first, last = np.searchsorted(-lines, (-y - highest, -y + highest)) // oversample
        rows = slice(first, min(last + 1, size))
        if rows.start >= rows.stop:
            continue
        t = lines[rows.start * oversample : rows.stop * oversample] - y
        half = np.sqrt(np.maximum(quadratic - (t / (a * b)) ** 2, 0)) / quadratic
        middle = x - mixed * t / quadratic
        # Ends of the chord in pixels from the left border; a pixel's share of it is the overlap of two intervals.
        start, stop = ((middle + sign * half + 1) * (size / 2) for sign in (-1, 1))
        columns = np.arange(max(int(np.floor(start.min())), 0), min(int(np.ceil(stop.max())), size))
        if not columns.size:
            continue
        share = np.minimum(stop[:, None], columns + 1)
        share -= np.maximum(start[:, None], columns)
        np.maximum(share, 0, out=share)
        covered = share.reshape(-1, oversample, columns.size).mean(axis=1)
        image[rows, columns[0] : columns[-1] + 1] += level * covered
    return image


def render_phantom_movie(
    *,
    variant: Variant = "modified",
    size: int = 120,
    frames: int = 170,
    seed: int | tuple[int, ...] = 0,
    motion: float = 0.02,
    speed: float = 1.0,
    variety: float = 0.5,
    oversample: int = 16,
    tick: Callable[[], None] | None = None,
) -> np.ndarray:
    """Render a movie of a head phantom that moves smoothly.

    The head sways and breathes by up to half of `motion`. The ellipses in the brain move by `motion` relative to the head, or
    less where the brain leaves less room. Equal arguments give equal bits.

    Args:
        variant: Name in ELLIPSES.
        size: Number of pixels per side.
        frames: Number of frames.
        seed: One integer or several integers that form the seed.
        motion: Amplitude of the motion as a fraction of the size, 0 to LARGEST_MOTION.
        speed: Speed of the motion; 1 is a period of about 33 frames.
        variety: Difference of shapes, positions and levels from the published head, 0 to 1.
        oversample: Number of sampled lines per pixel, see `render_phantom`.
        tick: Function that is called after each frame.

    Returns:
        Frames, (frames, size, size) float32 within BOUNDS[variant].

    Raises:
        ValueError: If motion or variety is out of range.
    """
    if not 0 <= motion <= LARGEST_MOTION:
        raise ValueError(f"motion={motion} must lie between 0 and {LARGEST_MOTION}")
    if not 0 <= variety <= 1:
        raise ValueError(f"variety={variety} must lie between 0 and 1")
    rng = np.random.default_rng(seed)
    rest, spread = _fit_into_brain(_perturb(ELLIPSES[variant], rng, variety), motion)
    # Each parameter of each ellipse is a sum of three sinusoids of unrelated frequencies, at most 1 together.
    shape = (3, len(rest), 4)
    weights = rng.uniform(0.5, 1, shape)
    weights /= weights.sum(axis=0)
    frequencies = 2 * np.pi * CYCLES * speed * rng.uniform(0.5, 1.5, shape)
    phases = rng.uniform(0, 2 * np.pi, shape)
    movie = np.empty((frames, size, size), np.float32)
    for time in range(frames):
        path = (weights * np.sin(frequencies * time + phases)).sum(axis=0)
        movie[time] = render_phantom(_move(rest, spread * path), size, oversample)
        if tick is not None:
            tick()
    return movie


def _perturb(ellipses: np.ndarray, rng: np.random.Generator, variety: float) -> np.ndarray:
    """Return a varied head: a smaller, thicker skull, and other shapes, positions and levels inside."""
    found = ellipses.copy()
    inner, chance = slice(2, None), variety * rng.uniform(-1, 1, (len(ellipses), 6))
    rise = 0.5 * (variety + chance)  # 0 to variety
    shrink = 1 - 0.1 * rise[SKULL, 1:3]
    found[:, 1:3] *= shrink
    found[:, 3:5] *= shrink
    found[BRAIN, 1:3] *= 1 - 0.05 * rise[BRAIN, 1:3]
    found[BRAIN, 0] *= 1 - 0.125 * rise[BRAIN, 0]
    found[VENTRICLES, 0] *= 1 - 0.5 * rise[VENTRICLES, 0]
    found[4:, 0] *= 1 + 0.1 * variety - 0.6 * rise[4:, 0]
    found[inner, 1:3] *= 1 + 0.25 * chance[inner, 1:3]
    found[inner, 3:5] += 0.08 * chance[inner, 3:5]
    found[inner, 5] += 25 * chance[inner, 5]
    return found


def _amplitudes(count: int, motion: float) -> np.ndarray:
    """Return the largest changes of x, y, angle (degrees) and log of the axes, (N, 4); the skull's row moves the whole head."""
    spread = np.tile(motion * np.array([2.0, 2.0, 300.0, 4.0]), (count, 1))
    spread[SKULL] = motion, motion, 60 * motion, 0.5 * motion
    spread[BRAIN] = 0, 0, 0, 0.2 * motion  # the bone stays thinner than the brain's motion would be
    return spread


def _fit_into_brain(ellipses: np.ndarray, motion: float) -> tuple[np.ndarray, np.ndarray]:
    """Return ellipses at rest and their amplitudes, reduced so that all stay in the brain and the ventricles never overlap."""
    found, spread = ellipses.copy(), _amplitudes(len(ellipses), motion)
    brain = found[BRAIN, 1:3] * np.exp(-spread[BRAIN, 3])
    for k in range(2, len(found)):
        # Largest distance from the ellipse's centre to its edge over all poses, in units of the brain's axes.
        reach = max(np.linalg.norm(m / brain[:, None], 2) for m in _largest_poses(found[k], spread[k]))
        centre = (found[k, 3:5] - found[BRAIN, 3:5]) / brain
        distance = np.hypot(*centre)
        most = max(0.98 - reach, 0)
        wanted = np.hypot(*(spread[k, :2] / brain))
        found[k, 3:5] = found[BRAIN, 3:5] + brain * centre * min(1, most / max(distance, 1e-9))
        spread[k, :2] *= min(1, (most - min(distance, most)) / max(wanted, 1e-9))
    right, left = range(len(found))[VENTRICLES]
    widths = [max(np.hypot(*m[0]) for m in _largest_poses(found[k], spread[k])) for k in (right, left)]
    gap = found[right, 3] - widths[0] - found[left, 3] - widths[1]
    # Both ventricles sway by at most half of the gap; without a gap both shrink by the same factor.
    if gap < 0:
        found[VENTRICLES, 1:3] *= max(found[right, 3] - found[left, 3], 0) / sum(widths)
    spread[VENTRICLES, 0] = np.minimum(spread[VENTRICLES, 0], max(gap, 0) / 2)
    return found, spread


def _move(rest: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Apply (N, 4) changes to (N, 6) ellipses at rest; the changes of all rows but the first are relative to the head."""
    found = rest.copy()
    found[:, 3:5] += change[:, :2]
    found[:, 5] += change[:, 2]
    found[:, 1:3] *= np.exp(change[:, 3:])
    turn, growth = np.radians(change[SKULL, 2]), np.exp(change[SKULL, 3])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    found[1:, 3:5] = found[1:, 3:5] @ (growth * rotation).T
    found[1:, 3:5] += found[SKULL, 3:5]
    found[1:, 5] += change[SKULL, 2]
    found[1:, 1:3] *= growth
    return found


def _largest_poses(ellipse: np.ndarray, spread: np.ndarray) -> list[np.ndarray]:
    """Return 2x2 maps from the unit circle to an ellipse at its largest, for 13 angles in its range of motion."""
    maps = []
    for angle in np.radians(ellipse[5] + spread[2] * np.linspace(-1, 1, 13)):
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        maps.append(rotation * (ellipse[1:3] * np.exp(spread[3])))
    return maps
