"""Bicubic resizing against MATLAB's imresize, written out here as a dense float64 matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr.degradations import Area, Bicubic, Degradation, Subsample
from vsr.degradations.resize import pad_symmetric, resize_bicubic_down, resize_bicubic_up, resize_clips_bicubic_up


def cubic(x: np.ndarray) -> np.ndarray:
    """Keys' kernel, a = -0.5."""
    x = abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0))


def imresize_matrix(size: int, out: int) -> np.ndarray:
    """(out, size): MATLAB's contributions(), antialiased when shrinking, symmetric border."""
    scale = out / size
    stretch = min(scale, 1.0)
    matrix = np.zeros((out, size))
    for i in range(out):
        centre = (i + 0.5) / scale - 0.5
        reach = int(np.ceil(2 / stretch)) + 1
        taps = np.arange(int(np.floor(centre)) - reach, int(np.floor(centre)) + reach + 1)
        weights = cubic((centre - taps) * stretch)
        weights /= weights.sum()
        for tap, weight in zip(taps, weights, strict=True):
            mirrored = tap % (2 * size)
            matrix[i, min(mirrored, 2 * size - 1 - mirrored)] += weight
    return matrix


def imresize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return imresize_matrix(image.shape[0], height) @ image @ imresize_matrix(image.shape[1], width).T


@pytest.mark.parametrize("scale", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("size", [(24, 72), (48, 120)])
def test_equals_matlab(scale: int, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random(size)
    x = torch.from_numpy(image)[None, None]
    h, w = size
    down = resize_bicubic_down(x, scale)[0, 0].numpy()
    np.testing.assert_allclose(down, imresize(image, h // scale, w // scale), atol=1e-12)
    up = resize_bicubic_up(x, scale)[0, 0].numpy()
    np.testing.assert_allclose(up, imresize(image, h * scale, w * scale), atol=1e-12)


@pytest.mark.parametrize("degrade", [Bicubic(), Area(), Subsample(1)], ids=lambda one: one.name)
@pytest.mark.parametrize("scale", [2, 3, 4, 6, 8])
def test_lr_pixels_of_a_ramp_lie_where_the_degradation_says(degrade: Degradation, scale: int) -> None:
    """And bicubic interpolation puts HR pixels back to their places, away from the mirrored border."""
    y, x = torch.meshgrid(*(torch.arange(float(n * scale), dtype=torch.float64) for n in (14, 17)), indexing="ij")
    ramp = (y - 2 * x)[None, None]
    lr = degrade(ramp, scale)
    rows, columns = (degrade.origin(scale) + scale * torch.arange(float(n), dtype=torch.float64) for n in (14, 17))
    inner, fine = (..., slice(3, -3), slice(3, -3)), (..., slice(6 * scale, -6 * scale), slice(6 * scale, -6 * scale))
    torch.testing.assert_close(lr[inner], (rows[:, None] - 2 * columns)[None, None][inner])
    shift = degrade.origin(scale) - (scale - 1) / 2
    torch.testing.assert_close(resize_bicubic_up(lr, scale)[fine], (ramp + shift - 2 * shift)[fine])


@settings(max_examples=40, deadline=None)
@given(scale=st.sampled_from([2, 3, 4, 6, 8]), h=st.integers(1, 9), w=st.integers(1, 9), level=st.floats(-100, 100))
def test_constants_and_sizes_are_kept(scale: int, h: int, w: int, level: float) -> None:
    x = torch.full((1, 2, h, w), level, dtype=torch.float64)
    up = resize_bicubic_up(x, scale)
    assert up.shape == (1, 2, h * scale, w * scale)
    torch.testing.assert_close(up, torch.full_like(up, level), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(resize_bicubic_down(up, scale), x, atol=1e-9, rtol=1e-9)


def test_clips_are_enlarged_frame_by_frame() -> None:
    clips = torch.from_numpy(np.random.default_rng(0).random((2, 3, 4, 5, 6)))
    for clip, found in zip(clips, resize_clips_bicubic_up(clips, 2), strict=True):
        torch.testing.assert_close(found.transpose(0, 1), resize_bicubic_up(clip.transpose(0, 1), 2))


def test_a_scale_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="15x16 is not divisible by 2"):
        resize_bicubic_down(torch.zeros(1, 1, 15, 16), 2)


@given(h=st.integers(1, 7), w=st.integers(1, 7), n=st.integers(0, 20))
@settings(max_examples=40, deadline=None)
def test_symmetric_padding_is_numpys(h: int, w: int, n: int) -> None:
    image = np.arange(h * w, dtype=np.float32).reshape(h, w)
    ours = pad_symmetric(torch.from_numpy(image)[None, None], n)[0, 0].numpy()
    np.testing.assert_array_equal(ours, np.pad(image, n, mode="symmetric"))
