"""Vorticity of height fields, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import laplace

from vsr.metrics.collection import DataProperties, MetricCollection

BOUNDS, GEOSTROPHIC = (-4.0, 6.0), 9.81 / 1e-4 / 1e3**2


def field(seed: int, frames: int = 4, channels: int = 1) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.random((1, channels, frames, 20, 27)).cumsum(-1).cumsum(-2) / 540).float()


def metrics() -> MetricCollection:
    return MetricCollection(DataProperties(scale=2, bounds=BOUNDS, window=(0, 0, 0), geostrophic=GEOSTROPHIC))


def test_error_and_enstrophy_are_those_of_the_vorticity_in_physical_units() -> None:
    sr, hr = field(0), field(1)
    metric = metrics()
    metric.update(sr, hr)
    found = metric.frames()
    for i in range(4):
        p, y = (
            GEOSTROPHIC * laplace(x[0, 0, i].double().numpy() * (BOUNDS[1] - BOUNDS[0]) + BOUNDS[0])[1:-1, 1:-1] for x in (sr, hr)
        )
        assert found["vorticity_rmse"][i] == pytest.approx(np.sqrt(np.mean((p - y) ** 2) / np.mean(y**2)), rel=1e-5)
        assert found["enstrophy"][i] == pytest.approx(np.mean(p**2) / np.mean(y**2), rel=1e-5)


def test_a_plane_has_no_vorticity_to_compare_with() -> None:
    y, x = torch.meshgrid(torch.arange(20) / 32, torch.arange(27) / 64, indexing="ij")
    plane = (y + x).expand(1, 1, 2, 20, 27)
    metric = metrics()
    metric.update(field(0, 2), plane)
    metric.update(field(0, 2), field(1, 2))
    assert np.isnan(metric.frames()["vorticity_rmse"]).tolist() == [True, True, False, False]


def test_colours_and_masked_frames_have_no_vorticity() -> None:
    colours = metrics()
    colours.update(field(0, 2, 3), field(1, 2, 3))
    assert not {"vorticity_rmse", "enstrophy"} & {*colours.frames(), *colours.compute()}
    mask = torch.ones(1, 1, 4, 20, 27)
    mask[0, 0, 2, 7, 7] = 0
    masked = metrics()
    masked.update(field(0), field(1), mask)
    assert np.isnan(masked.frames()["enstrophy"]).tolist() == [False, False, True, False]
