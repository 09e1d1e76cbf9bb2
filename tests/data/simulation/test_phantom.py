"""Phantoms: the renderer against geometry, the movies against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr.data.simulation.phantom import BOUNDS, ELLIPSES, LARGEST_MOTION, render_phantom, render_phantom_movie
from vsr.degradations.resize import resize_bicubic_down, resize_bicubic_up

axes = st.floats(0.03, 0.4)
places = st.floats(-0.5, 0.5)
angles = st.floats(-180, 180)
shapes = st.tuples(st.just(1.0), axes, axes, places, places, angles)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((a - b) ** 2, axis=(1, 2))).mean())


@settings(max_examples=60, deadline=None)
@given(shape=shapes, size=st.integers(24, 65))
def test_mass_and_centre_are_the_ellipses(shape: tuple[float, ...], size: int) -> None:
    image = render_phantom(np.array([shape]), size, oversample=16)
    _, a, b, x, y, _ = shape
    cell = 2 / size
    # The midpoint rule across the rows errs at the two ends, where the chord grows as a square root: as (step / axis)^1.5.
    error = 0.5 * (cell / 16 / min(a, b)) ** 1.5
    assert image.sum() * cell**2 == pytest.approx(np.pi * a * b, rel=error)
    # A pixel says how much it holds, not where: no part of the mass is moved by more than half of one.
    centres = (np.arange(size) + 0.5) * cell - 1
    assert (image.sum(0) * centres).sum() / image.sum() == pytest.approx(x, abs=0.5 * cell)
    assert -(image.sum(1) * centres).sum() / image.sum() == pytest.approx(y, abs=0.5 * cell)  # row 0 is the top
    assert image.min() >= 0
    assert image.max() <= 1 + 1e-9


@settings(max_examples=40, deadline=None)
@given(shape=shapes, down=st.integers(-2, 2), right=st.integers(-2, 2))
def test_moving_by_whole_pixels_moves_the_image(shape: tuple[float, ...], down: int, right: int) -> None:
    size = 48
    moved = np.array([shape])
    moved[0, 3] += right * 2 / size
    moved[0, 4] -= down * 2 / size
    expected = np.roll(render_phantom(np.array([shape]), size), (down, right), (0, 1))
    np.testing.assert_allclose(render_phantom(moved, size), expected, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(shape=shapes)
def test_turning_by_half_a_turn_or_swapping_the_axes_changes_nothing(shape: tuple[float, ...]) -> None:
    level, a, b, x, y, angle = shape
    image = render_phantom(np.array([shape]), 32)
    np.testing.assert_allclose(render_phantom(np.array([(level, a, b, x, y, angle + 180)]), 32), image, atol=1e-6)
    np.testing.assert_allclose(render_phantom(np.array([(level, b, a, x, y, angle + 90)]), 32), image, atol=1e-6)


@pytest.mark.parametrize("axis", [3, 4])
def test_a_tenth_of_a_pixel_moves_a_tenth_of_a_pixel(axis: int) -> None:
    size, shape = 64, np.array([[1.0, 0.3, 0.2, 0.01, 0.02, 30.0]])
    path = []
    for k in range(11):
        moved = shape.copy()
        moved[0, axis] += 0.1 * k * 2 / size
        path.append(render_phantom(moved, size))
    steps = np.diff(path, axis=0)
    change = np.abs(steps).sum(axis=(1, 2))
    assert change.min() > 0.9 * change.max()  # no step is lost, none jumps
    assert np.abs(steps).max() < 0.2


def test_what_is_outside_is_cut_off() -> None:
    level, size = 2.0, 32
    assert np.all(render_phantom(np.array([[level, 3.0, 3.0, 0.0, 0.0, 20.0]]), size) == pytest.approx(level))
    for x, y in ((5.0, 0.0), (-5.0, 0.0), (0.0, 5.0), (0.0, -5.0)):
        assert not render_phantom(np.array([[level, 0.5, 0.3, x, y, 20.0]]), size).any()
    half = render_phantom(np.array([[1.0, 0.5, 0.5, 1.0, 0.0, 0.0]]), size, oversample=16)
    assert half.sum() * (2 / size) ** 2 == pytest.approx(np.pi * 0.25 / 2, rel=1e-3)


@pytest.mark.parametrize("variant", BOUNDS)
def test_published_phantom(variant: str) -> None:
    still = render_phantom_movie(variant=variant, size=64, frames=3, motion=0, variety=0)  # type: ignore[arg-type]
    expected = render_phantom(ELLIPSES[variant], 64)  # type: ignore[index]
    np.testing.assert_allclose(still, np.broadcast_to(expected, still.shape), atol=1e-6)
    # By hand: outside, in the skull's top, in the left ventricle, in the blob above the middle, in the brain.
    skull, brain, ventricle, *_, small = ELLIPSES[variant][:, 0]  # type: ignore[index]
    for (x, y), level in {
        (-0.95, 0.95): 0,
        (0.0, 0.89): skull,
        (-0.22, -0.1): skull + brain + ventricle,
        (0.0, 0.45): skull + brain + small,
        (0.0, -0.4): skull + brain,
    }.items():
        assert expected[int((1 - y) * 32), int((1 + x) * 32)] == pytest.approx(level, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    variant=st.sampled_from(sorted(BOUNDS)),
    seed=st.integers(0, 10**6),
    motion=st.floats(0, LARGEST_MOTION),
    variety=st.floats(0, 1),
)
def test_every_seed_stays_within_the_bounds_and_the_frame(variant: str, seed: int, motion: float, variety: float) -> None:
    options = {"variant": variant, "size": 32, "frames": 12, "speed": 4.0}
    movie = render_phantom_movie(seed=seed, motion=motion, variety=variety, **options)  # type: ignore[arg-type]
    low, high = BOUNDS[variant]  # type: ignore[index]
    assert movie.dtype == np.float32
    assert low - 1e-6 <= movie.min()
    assert movie.max() <= high + 1e-6
    assert movie.max() > 0.5 * high
    assert not movie[:, 0, 0].any()


def test_seeds_are_other_heads_and_other_paths() -> None:
    options: dict = {"size": 48, "frames": 6}
    first = render_phantom_movie(seed=(3, 0), **options)
    assert first.tobytes() == render_phantom_movie(seed=(3, 0), **options).tobytes()
    # The same head on other paths is near, another head is far.
    paths = psnr(render_phantom_movie(seed=1, variety=0, **options), render_phantom_movie(seed=2, variety=0, **options))
    heads = psnr(render_phantom_movie(seed=1, variety=1, **options), render_phantom_movie(seed=2, variety=1, **options))
    assert heads < paths - 1
    assert (
        psnr(
            render_phantom_movie(seed=1, motion=0, variety=1, **options),
            render_phantom_movie(seed=2, motion=0, variety=1, **options),
        )
        < 25
    )


def test_a_longer_movie_begins_with_the_shorter_one_and_ticks() -> None:
    ticks: list[int] = []
    long = render_phantom_movie(size=24, frames=9, tick=lambda: ticks.append(1))
    assert len(ticks) == 9
    assert long[:4].tobytes() == render_phantom_movie(size=24, frames=4).tobytes()


def test_change_and_difficulty_at_the_defaults() -> None:
    movie = render_phantom_movie(size=128, frames=60)
    change = -10 * np.log10(np.mean(np.diff(movie, axis=0) ** 2, axis=(1, 2)))
    assert 30 < change.mean() < 35
    assert change.min() > 26  # no jumps
    frames = torch.from_numpy(movie[::6])[:, None]
    bicubic = resize_bicubic_up(resize_bicubic_down(frames, 2), 2)[:, 0].numpy()
    assert 22 < psnr(bicubic, movie[::6]) < 28


@pytest.mark.parametrize("options", [{"motion": 0.06}, {"motion": -0.01}, {"variety": 1.5}])
def test_out_of_range_is_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))}=.* must lie between"):
        render_phantom_movie(size=16, frames=1, **options)
