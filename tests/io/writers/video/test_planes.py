"""Chroma and colours: where samples lie, what the matrices are, what is rounded and what is not cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2ycbcr

from vsr.degradations.resize import resize_bicubic_down, resize_bicubic_up
from vsr.io.writers.video.planes import Colours, Layout, planes_from_rgb, planes_to_rgb, resample_chroma_planes, resample_planes

SUBSAMPLED = st.sampled_from([(2, 2), (1, 2), (1, 1)])
PLACES = st.sampled_from([0.0, 0.5, 1.0])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_resampling_is_bicubic_enlarging_and_reducing_where_they_apply(scale: int) -> None:
    x = torch.rand(2, 1, 6, 12, dtype=torch.float64)
    at = 0.5 / scale - 0.5
    wide = resample_planes(resample_planes(x, -2, 6 * scale, 1 / scale, at), -1, 12 * scale, 1 / scale, at)
    torch.testing.assert_close(wide, resize_bicubic_up(x, scale), atol=1e-12, rtol=0)
    small = resample_planes(resample_planes(x, -2, 3, 2.0, 0.5), -1, 6, 2.0, 0.5)
    torch.testing.assert_close(small, resize_bicubic_down(x, 2), atol=1e-12, rtol=0)


def places(layout: Layout, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of chroma samples in units of luma pixels from the top left corner of the frame."""
    rows, columns = layout.plane_size(height, width, 1)
    y, x = layout.chroma
    down, right = layout.siting
    return (np.arange(rows) * y + 0.5 + down * (y - 1))[:, None], np.arange(columns) * x + 0.5 + right * (x - 1)


@settings(max_examples=40, deadline=None)
@given(old=SUBSAMPLED, new=SUBSAMPLED, siting=st.tuples(PLACES, PLACES), scale=st.sampled_from([2, 3, 4]), odd=st.integers(0, 1))
def test_a_ramp_of_colour_stays_where_it_is(
    old: tuple[int, int], new: tuple[int, int], siting: tuple[float, float], scale: int, odd: int
) -> None:
    height, width = 24 + odd, 32 + odd
    source, target = Layout("yuv", chroma=old, siting=siting), Layout("yuv", chroma=new)
    rows, columns = places(source, height, width)
    ramp = torch.from_numpy(3.0 * rows - 2.0 * columns)
    got = resample_chroma_planes(ramp, source, target, (height * scale, width * scale), scale).numpy()
    rows, columns = places(target, height * scale, width * scale)
    expected = (3.0 * rows - 2.0 * columns) / scale
    assert got.shape == expected.shape
    inside = slice(4 * scale, -4 * scale)  # away from the mirrored border
    np.testing.assert_allclose(got[inside, inside], expected[inside, inside], atol=1e-9)


def test_the_matrix_of_bt_601_is_that_of_scikit_image() -> None:
    rgb = np.random.default_rng(0).random((5, 6, 3))
    layout = Layout("yuv", matrix=6)
    y, chroma = planes_from_rgb(torch.from_numpy(rgb).permute(2, 0, 1), layout)
    expected = rgb2ycbcr(rgb)
    np.testing.assert_allclose(219 * y + 16, expected[..., 0], atol=2e-3)
    np.testing.assert_allclose(224 * chroma.permute(1, 2, 0) + 128, expected[..., 1:], atol=2e-3)


def test_bt_709_red_has_the_codes_of_the_standard() -> None:
    y, chroma = planes_from_rgb(torch.tensor([1.0, 0.0, 0.0])[:, None, None], Layout("yuv", matrix=1))
    codes = [float(y) * 219 + 16, *(chroma.flatten() * 224 + 128).tolist()]
    np.testing.assert_allclose(codes, [63, 102, 240], atol=0.6)  # ITU-R BT.709, 8 bits


@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_to_rgb_and_back_is_the_same(matrix: int) -> None:
    layout, rgb = Layout("yuv", matrix=matrix), torch.rand(3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(planes_to_rgb(*planes_from_rgb(rgb, layout), layout), rgb)


@pytest.mark.parametrize(("full", "low", "high"), [(False, 64, 940), (True, 0, 1023)])
def test_ten_bits_become_the_eight_bits_of_the_same_grey(full: bool, low: int, high: int) -> None:
    source = Layout("gray", bits=10, full=full)
    colours = Colours(source, Layout("gray", full=full), "luma", 2)
    sr = np.array([low, high], np.float32).reshape(1, 1, 2) * np.float32(255 / 1023)
    assert colours.join(sr, None)[0].tolist() == [[0, 255] if full else [16, 235]]


def test_overshoot_beyond_the_limited_range_stays_and_nothing_wraps() -> None:
    colours = Colours(Layout("gray"), Layout("gray"), "luma", 2)
    sr = np.array([[[-7.0, 3.4, 15.6, 236.0, 254.4, 263.0]]], np.float32)
    assert colours.join(sr, None)[0].tolist() == [[0, 3, 16, 236, 254, 255]]
