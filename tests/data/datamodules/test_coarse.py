"""Pairs of a coarse and a fine run that are generated: same start, same mass, lead times, splits, cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from tests.fakes import TINY_COARSE, compose_config
from vsr.config.check import check_config
from vsr.data.datamodules.coarse import CoarseDataModule
from vsr.data.simulation import gyre
from vsr.data.simulation.families import FAMILIES, SimulationJob, simulate_family, simulate_pair, simulate_pair_of_states
from vsr.degradations.scaling import Paired
from vsr.errors import UserError
from vsr.recipe import Recipe
from vsr.training.build import build_data

FRAMES, WINDOW = 5, 3  # of TINY_COARSE


def block_means(frames: np.ndarray, scale: int) -> np.ndarray:
    """Return means over blocks of scale x scale cells of (T, N, N), in float64."""
    t, n, _ = frames.shape
    return frames.astype(np.float64).reshape(t, n // scale, scale, n // scale, scale).mean((2, 4))


def built(*overrides: str) -> CoarseDataModule:
    cfg = compose_config("train", [*TINY_COARSE, "recipe.patch=8", *overrides])
    check_config(cfg)
    data = build_data(cfg)
    assert isinstance(data, CoarseDataModule)
    return data


@pytest.mark.parametrize("family", ["tide", "bores", "turbulence"])
@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.sampled(3)
def test_both_runs_begin_alike_and_keep_their_mass(family: str, scale: int) -> None:
    with mock.patch.dict(FAMILIES, {family: replace(FAMILIES[family], spin_up=0.05)}):
        lr, hr = simulate_pair(family, (0, 0, 0), 64, scale, FRAMES, WINDOW)
        alone = simulate_family(SimulationJob(family, (0, 0, 0), 64, 1, FRAMES)).h
    assert (lr.shape, hr.shape) == ((FRAMES, 64 // scale, 64 // scale), (FRAMES, 64, 64))
    np.testing.assert_array_equal(hr, alone)  # the coarse run does not touch the fine one
    mean = block_means(hr, scale)
    for k in range(FRAMES):
        apart = np.abs(lr[k] - mean[k]).max()
        assert apart < 1e-6 if k % WINDOW == 0 else apart > 1e-3, k
    masses = np.stack([side.mean((1, 2), dtype=np.float64) for side in (lr, hr)])
    np.testing.assert_allclose(masses, masses[0, 0], rtol=2e-6)  # the solvers compute in float32


def test_a_lake_at_rest_stays_at_rest_on_the_coarse_grid() -> None:
    fine = FAMILIES["tide"].start(np.random.default_rng(0), 64)
    fine.body_force = None
    surface = 2.0
    fine.state[0], fine.state[1:] = surface - fine.bed, 0
    coarse = fine.coarsened(4)
    coarse.run(0.05, 0.15)
    np.testing.assert_allclose(coarse.h + coarse.bed, surface, atol=1e-6)
    assert np.abs(coarse.state[1:]).max() < 1e-6
    with pytest.raises(ValueError, match="64x64 cells are no multiple of 3"):
        fine.coarsened(3)


def test_windows_are_segments_and_time_is_the_time_since_their_start(tmp_path: Path) -> None:
    data = built(f"data.cache={tmp_path}", "data.inputs=[time]", "model=resnet")
    assert data.card["name"] == "coarse-bores-1"
    assert data.card["frames"] == {"train": FRAMES, "val": FRAMES, "test": FRAMES}
    assert data.sets["test"].segments == ((0, WINDOW), (WINDOW, FRAMES))
    assert data.card["bounds"] == [0, 3]
    assert data.symmetries == FAMILIES["bores"].symmetries
    for split, seed in (("train", (0, 0, 0)), ("val", (0, 0, 1)), ("test", (0, 1, 0))):
        lr, hr = simulate_pair("bores", seed, 64, 2, FRAMES, WINDOW)
        pair = data.sets[split].read(0, FRAMES)
        np.testing.assert_array_equal(pair.hr[:, 0], hr)
        np.testing.assert_array_equal(pair.lr[:, 0], lr)
        torch.testing.assert_close(pair.lr[:, 1, 0, 0], torch.tensor([0, 0.5, 1, 0, 0.5]))
    [file] = tmp_path.iterdir()
    stamp = file.stat().st_mtime_ns
    again = built(f"data.cache={tmp_path}", "data.inputs=[time,position]", "model=resnet")
    assert (file.stat().st_mtime_ns, list(tmp_path.iterdir())) == (stamp, [file])
    assert again.symmetries == ()  # planes of position do not turn with the field
    assert again.card["sha256"] == data.card["sha256"]


def test_paths_differ_with_everything_that_the_values_depend_on() -> None:
    shared = {"degradation": Paired(), "recipe": Recipe()}
    other = {"seed": 1, "window": 4, "family": "bores", "size": 96, "frames": 5, "scale": 4}
    changes = [{}, *({key: value} for key, value in other.items())]
    assert len({CoarseDataModule(**({"scale": 2} | shared | change)).path for change in changes}) == len(changes)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.size=65"], r"data.size=65: the fine grid needs a multiple of scale=2, 64 .*type data.size=64$"),
        (["data.size=48", "scale=4"], r"data.size=48: .*type data.size=64$"),
        (["scale=8"], r"data.size=64: .*scale=8, 128 cells per side or more; type data.size=128$"),
        (["data.window=1"], r"data.window=1: .*type data.window=2 or more$"),
        (["data.learn=11"], r"data.learn=11, data.test=5: data come in trajectories of 5 frames"),
        (["data.seed=-1"], r"data.seed=-1: must be 0 or more"),
        (["degradation=area"], r"degradation=area: data=coarse has LR frames of its own; type degradation=pairs$"),
        (["+data.mask=true"], r"data.mask=true: data=coarse takes whole frames"),
        (["consistency=projection"], r"consistency=projection: .*or consistency=none$"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        built(*overrides)
    assert "\n" not in str(caught.value)


def test_velocities_are_channels_that_turn_and_the_bed_is_an_input(tmp_path: Path) -> None:
    shared = [f"data.cache={tmp_path}", "data.inputs=[time]", "model=resnet"]
    data = built(*shared, "data.family=tide", "data.variable=[h,u,v]", "data.static=bed")
    lr, hr, bed = simulate_pair_of_states("tide", (0, 1, 0), 64, 2, FRAMES, WINDOW)
    pair = data.sets["test"].read(0, FRAMES)
    np.testing.assert_array_equal(pair.hr, hr)
    np.testing.assert_array_equal(pair.lr[:, :3], lr)
    np.testing.assert_array_equal(hr[:, 0], simulate_pair("tide", (0, 1, 0), 64, 2, FRAMES, WINDOW)[1])
    momentum = [block_means(hr[:, 0] * hr[:, i], 2) / block_means(hr[:, 0], 2) for i in (1, 2)]
    for i, mean in enumerate(momentum, start=1):
        for k in range(FRAMES):
            apart = np.abs(lr[k, i] - mean[k]).max()
            assert apart < 1e-5 if k % WINDOW == 0 else apart > 1e-3, k
    assert pair.lr.shape[1] == 3 + 1 + 4
    planes = torch.nn.functional.pixel_shuffle(pair.lr[:1, 4:], 2)[0, 0].numpy()
    assert np.corrcoef(planes.ravel(), bed.ravel())[0, 1] == pytest.approx(1, abs=1e-6)
    assert (data.vectors, data.variables, data.symmetries) == (((1, 2),), ("h", "u", "v"), FAMILIES["tide"].symmetries)
    assert data.card["bounds"][0] == [0, 3]
    assert [entry["name"] for entry in data.card["pairs"]["static"]] == ["bed"]
    assert built(*shared, "data.family=bores", "data.variable=[h,u]").symmetries == ()
    with pytest.raises(UserError, match=r"data.static: every value of bed is 0; .*leave it out$"):
        built(*shared, "data.family=bores", "data.static=bed")


@pytest.fixture
def quick_gyre(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gyres that have hardly begun to turn."""
    pytest.importorskip("qgpython")
    monkeypatch.setattr(gyre, "SPIN_UP_TIME", 50.0)
    monkeypatch.setattr(gyre, "SETTLING_TIME", 10.0)


@pytest.mark.usefixtures("quick_gyre")
def test_runs_of_the_gyre_share_points_and_solve_the_equation_of_their_grid() -> None:
    lr, hr, bed = simulate_pair_of_states("gyre", (0, 0, 0), 64, 2, FRAMES, WINDOW)
    assert (lr.shape, hr.shape) == ((FRAMES, 2, 32, 32), (FRAMES, 2, 64, 64))
    assert not bed.any()
    for k in range(FRAMES):
        apart = np.abs(lr[k, 1] - hr[k, 1, ::2, ::2]).max() / np.abs(hr[k, 1]).max()
        assert apart < 1e-6 if k % WINDOW == 0 else apart > 1e-5, k
    psi = hr[:, 1].astype(np.float64)
    assert not psi[:, [0], :].any()  # the wall along the first row
    assert not psi[:, :, 0].any()  # the wall along the first column
    inner = psi[:, 1:-1, 1:-1]
    laplacian = 64**2 * (psi[:, 2:, 1:-1] + psi[:, :-2, 1:-1] + psi[:, 1:-1, 2:] + psi[:, 1:-1, :-2] - 4 * inner)
    np.testing.assert_allclose(hr[:, 0, 1:-1, 1:-1], laplacian - 1600 * inner, atol=2e-4 * np.abs(hr[:, 0]).max())
    other = simulate_pair_of_states("gyre", (0, 0, 1), 64, 2, 1, WINDOW)[1]
    assert np.abs(other[0, 1] - hr[0, 1]).max() > 0.1 * np.abs(hr[0, 1]).max()
    again = simulate_pair_of_states("gyre", (0, 0, 0), 64, 4, 1, WINDOW)
    np.testing.assert_array_equal(again[1][0], hr[0])
    np.testing.assert_array_equal(again[0][0, 1], hr[0, 1, ::4, ::4])


@pytest.mark.usefixtures("quick_gyre")
def test_gyres_are_pairs_whose_pixels_lie_on_each_other(tmp_path: Path) -> None:
    def here(make: Callable[..., Any], calls: list[tuple[Any, ...]], *_: object) -> list[Any]:
        return [make(*call) for call in calls]

    options = [f"data.cache={tmp_path}", "data.family=gyre", "model=resnet", "data.inputs=[time,position]"]
    with mock.patch("vsr.data.datamodules.coarse.generate_in_parallel", here):
        data = built(*options, "data.variable=[q,psi]")
    lr, hr, _ = simulate_pair_of_states("gyre", (0, 1, 0), 64, 2, FRAMES, WINDOW)
    pair = data.sets["test"].read(0, FRAMES)
    np.testing.assert_array_equal(pair.hr, hr)
    np.testing.assert_array_equal(pair.lr[:, :2], lr)
    assert data.card["pairs"]["alignment"] == [0.0, 0.0]
    assert (data.card["periodic"], data.symmetries, data.variables) == (False, (), ("q", "psi"))
    assert data.card["bounds"][0] == [-6e4, 6e4]


def test_quantities_of_other_families_and_missing_solvers_are_refused() -> None:
    with pytest.raises(UserError, match=r"data.variable=\[h\]: data.family=gyre has q, psi; type data.variable=\[q\]$"):
        built("data.family=gyre", "data.variable=[h]")
    with pytest.raises(UserError, match=r"data.variable=\[psi\]: data.family=bores has h, u, v; .*\[h\]$"):
        built("data.variable=[psi]")
    with (
        mock.patch("vsr.data.datamodules.coarse.find_spec", return_value=None),
        pytest.raises(
            UserError, match=r"data.family=gyre: needs the solver qgpython; type: pip install 'vsr-movies\[solvers\]'$"
        ),
    ):
        built("data.family=gyre")
