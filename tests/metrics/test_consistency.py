"""Whether SR, degraded, is LR: which LR pixels may be asked, and what they say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from vsr.degradations.base import Degradation
from vsr.degradations.blur import GaussianBlur
from vsr.degradations.chain import Chain
from vsr.degradations.compression import JPEG
from vsr.degradations.resize import resize_bicubic_up
from vsr.degradations.scaling import Area, Bicubic, Subsample
from vsr.metrics.collection import DataProperties, MetricCollection

BLURRED = Chain(steps={"blur": GaussianBlur(3.0), "subsample": Subsample(1)})


def unit(degradation: Degradation, scale: int) -> Callable[[Tensor], Tensor]:
    return lambda hr: degradation(hr, scale)


def movie(seed: int, size: tuple[int, int], frames: int = 2, channels: int = 1) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.random((1, channels, frames, *size))).float()


def degraded(hr: Tensor, degradation: Degradation, scale: int) -> Tensor:
    return torch.stack([degradation(clip.transpose(0, 1), scale).transpose(0, 1) for clip in hr])


def cut(x: Tensor, window: tuple[int, int]) -> Tensor:
    y, x_ = window
    return x[..., y : x.shape[-2] - y, x_ : x.shape[-1] - x_]


def scored(sr: Tensor, lr: Tensor, degradation: Degradation, scale: int, window: tuple[int, int]) -> np.ndarray | None:
    """The consistency of whole frames (1, C, F, H, W) inside a window."""
    metrics = MetricCollection(
        DataProperties(scale=scale, bounds=(0.0, 2.0), window=(0, *window), degrade=unit(degradation, scale))
    )
    metrics.update(cut(sr, window), cut(sr, window), lr=lr)
    return metrics.frames().get("consistency")


def by_numpy(sr: Tensor, lr: Tensor, degradation: Degradation, scale: int, margin: tuple[int, int]) -> np.ndarray:
    """Whole frames are degraded, and `margin` LR pixels per side left out."""
    again, target = (cut(x, margin).double().numpy()[0] for x in (degraded(sr, degradation, scale), lr))
    spread = target - target.mean((2, 3), keepdims=True)
    return np.sqrt(((again - target) ** 2).mean((0, 2, 3)) / (spread**2).mean((0, 2, 3)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("degradation", "scale", "window", "margin"),
    [
        (Bicubic(), 2, (0, 0), (0, 0)),
        (Bicubic(), 2, (4, 4), (4, 4)),
        (Bicubic(), 2, (5, 3), (4, 3)),  # eight taps, the first at 2j - 3; the cut is not on the LR grid
        (Bicubic(), 3, (7, 0), (4, 0)),
        (Bicubic(), 4, (6, 9), (3, 4)),
        (Area(), 4, (6, 9), (2, 3)),
        (Area(), 3, (3, 6), (1, 2)),
        (BLURRED, 4, (4, 0), (4, 0)),  # 12 pixels of kernel on either side of pixels 1, 5, ...
    ],
    ids=lambda x: x.name if isinstance(x, Degradation) else str(x),
)
def test_it_asks_all_lr_pixels_that_the_window_decides_and_no_other(
    degradation: Degradation, scale: int, window: tuple[int, int], margin: tuple[int, int], channels: int
) -> None:
    truth, sr = movie(0, (48, 60), channels=channels), movie(1, (48, 60), channels=channels)
    lr = degraded(truth, degradation, scale)
    # The true border is known here, not to the score: that both agree says that it does not matter.
    expected = by_numpy(sr, lr, degradation, scale, margin)
    np.testing.assert_allclose(scored(sr, lr, degradation, scale, window), expected, rtol=1e-5)


@pytest.mark.parametrize("degradation", [Bicubic(), Area(), BLURRED], ids=lambda x: x.name)
@pytest.mark.parametrize("window", [(0, 0), (5, 6)])
def test_the_truth_is_consistent_and_another_picture_is_not(degradation: Degradation, window: tuple[int, int]) -> None:
    truth, other = movie(0, (64, 64)), movie(1, (64, 64))
    lr = degraded(truth, degradation, 4)
    assert scored(truth, lr, degradation, 4, window) == pytest.approx(0, abs=1e-5)
    assert (scored(other, lr, degradation, 4, window) > 0.5).all()
    enlarged = resize_bicubic_up(lr[0].transpose(0, 1), 4).transpose(0, 1)[None]
    assert (scored(enlarged, lr, degradation, 4, window) < 0.9).all()


def test_a_codec_excludes_its_blocks() -> None:
    codec = Chain(steps={"area": Area(), "jpeg": JPEG(30)})
    truth, sr = movie(0, (64, 96)) * 0.5 + 0.25, movie(1, (64, 96)) * 0.5 + 0.25
    lr = degraded(truth, codec, 2)  # 32 x 48: blocks of 8
    np.testing.assert_allclose(scored(sr, lr, codec, 2, (3, 3)), by_numpy(sr, lr, codec, 2, (8, 8)), rtol=1e-5)


def test_each_clip_is_degraded_as_one() -> None:
    lengths = []

    def degrade(hr: Tensor) -> Tensor:
        lengths.append(len(hr))
        return Area()(hr, 2)

    sr = torch.cat([movie(0, (24, 24), frames=3), movie(1, (24, 24), frames=3)])
    metrics = MetricCollection(DataProperties(scale=2, bounds=(0.0, 1.0), window=(0, 0, 0), degrade=degrade))
    metrics.update(sr, sr, lr=degraded(sr, Area(), 2))
    assert [n for n in lengths if n > 1] == [3, 3]
    assert metrics.frames()["consistency"].shape == (6,)


def test_too_little_left_is_no_score() -> None:
    truth = movie(0, (24, 40))
    lr = degraded(truth, Bicubic(), 2)  # 12 x 20
    assert scored(truth, lr, Bicubic(), 2, (4, 0)) is not None  # 12 - 2 * (2 + 2) = 4
    assert scored(truth, lr, Bicubic(), 2, (6, 0)) is None


def test_masked_frames_and_frames_without_lr_have_no_score() -> None:
    truth = movie(0, (24, 24))
    metrics = MetricCollection(DataProperties(scale=2, bounds=(0.0, 1.0), window=(0, 0, 0), degrade=unit(Area(), 2)))
    metrics.update(truth, truth)
    assert "consistency" not in metrics.frames()
    mask = torch.ones(1, 1, 2, 24, 24)
    mask[0, 0, 0, 3, 3] = 0
    metrics.update(truth, truth, mask, lr=degraded(truth, Area(), 2))
    assert np.isnan(metrics.frames()["consistency"]).tolist() == [True, True, True, False]


def test_frames_that_do_not_fit_their_lr_are_refused() -> None:
    truth = movie(0, (24, 24))
    metrics = MetricCollection(DataProperties(scale=2, bounds=(0.0, 1.0), window=(0, 2, 2), degrade=unit(Area(), 2)))
    with pytest.raises(ValueError, match="at scale 2"):
        metrics.update(truth, truth, lr=degraded(truth, Area(), 2))
