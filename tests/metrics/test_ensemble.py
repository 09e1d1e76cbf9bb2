"""Scores of ensembles, against scoringrules and on members that are drawn as the truth is."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scoringrules
import torch

from vsr.metrics.calibration import (
    CALIBRATED_LEVELS,
    Calibration,
    CalibrationErrors,
    trajectories_needed,
    trajectory_quantiles,
)
from vsr.metrics.ensemble import (
    BLOCK,
    LAGS,
    EnsembleScores,
    activity_classes,
    energy_score,
    fair_crps,
    intervals_of_members,
    members_needed,
    variogram_score,
)


def test_crps_energy_and_variogram_score_are_those_of_scoringrules() -> None:
    members, truth = torch.randn(7, 2, 1, 8, 12, dtype=torch.float64), torch.randn(2, 1, 8, 12, dtype=torch.float64)
    expected = scoringrules.crps_ensemble(truth.numpy(), np.moveaxis(members.numpy(), 0, -1), estimator="fair")
    np.testing.assert_allclose(fair_crps(members, truth).numpy(), expected, rtol=1e-10)
    biased = scoringrules.crps_ensemble(truth.numpy(), np.moveaxis(members.numpy(), 0, -1), estimator="nrg")
    np.testing.assert_allclose(fair_crps(members, truth, drawn=False).numpy(), biased, rtol=1e-10)

    def blocks(x: torch.Tensor) -> np.ndarray:
        found = [x[..., i : i + BLOCK, j : j + BLOCK].flatten(-3) for i in (0, 4) for j in (0, 4, 8)]
        return torch.stack(found, -2).numpy()

    expected = scoringrules.es_ensemble(blocks(truth), np.moveaxis(blocks(members), 0, -2), estimator="fair") / BLOCK
    np.testing.assert_allclose(energy_score(members, truth).numpy(), expected, rtol=1e-10)

    pairs = []
    for y, x in LAGS:
        a, b = truth[..., : 8 - y, : 12 - x].flatten(1), truth[..., y:, x:].flatten(1)
        c, d = members[..., : 8 - y, : 12 - x].flatten(2), members[..., y:, x:].flatten(2)
        for i in range(a.shape[1]):
            own, ens = torch.stack([a[:, i], b[:, i]], -1), torch.stack([c[:, :, i], d[:, :, i]], -1)
            # Each pair stands twice in their sum.
            pairs.append(scoringrules.vs_ensemble(own.numpy(), ens.movedim(0, 1).numpy(), p=0.5, estimator="nrg") / 2)
    found = variogram_score(members, truth, torch.ones(2, 1, 8, 12))
    np.testing.assert_allclose(found.numpy(), np.mean(pairs, axis=0), rtol=1e-6)


@pytest.mark.parametrize(("level", "count"), [(50, 3), (80, 9), (90, 19), (95, 39)])
def test_intervals_cover_as_much_as_they_say_and_need_so_many_members(level: int, count: int) -> None:
    assert members_needed(level) == count
    assert intervals_of_members(torch.randn(count - 1, 5), level) is None
    for members in (count, 2 * count + 1):  # the ends are order statistics
        draws = torch.randn(members + 1, 200_000, generator=torch.Generator().manual_seed(members))
        found = intervals_of_members(draws[1:], level)
        assert found is not None
        low, high = found
        assert 100 * float(((draws[0] >= low) & (draws[0] <= high)).float().mean()) == pytest.approx(level, abs=0.6)


def scored(spread: float, *, masked: bool = False, drawn: bool = True) -> EnsembleScores:
    generator = torch.Generator().manual_seed(1)
    metric = EnsembleScores(39, (0.2, 0.4), 2, (2, 2), drawn=drawn)
    for follows in (False, True, False):
        hr = torch.randn(1, 1, 4, 16, 20, generator=generator)
        members = spread * torch.randn(39, 1, 1, 4, 16, 20, generator=generator)
        mask = torch.ones(1, 1, 4, 16, 20) if masked else None
        if mask is not None:
            mask[..., :5] = 0
            hr[..., :5] = 1e3
        metric.update(members, hr, mask, lr=torch.rand(1, 1, 4, 10, 12, generator=generator), follows=follows)
    return metric


@pytest.mark.parametrize("masked", [False, True])
def test_members_drawn_as_the_truth_are_calibrated(masked: bool) -> None:
    metric = scored(1.0, masked=masked)
    frames, segments, curves = metric.per_frame(), metric.per_segment(), metric.curves()
    assert len(frames["crps"]) == 12
    assert len(segments["spread_error"]) == 2
    for level in (50, 80, 90, 95):
        assert float(frames[f"coverage_{level}"].mean()) == pytest.approx(level / 100, abs=0.025)
    assert float(segments["spread_error"].mean()) == pytest.approx(1, abs=0.04)
    assert float(segments["member_flicker"].mean()) == pytest.approx(1, abs=0.05) or masked
    assert float(curves["ranks"]["share"].sum()) == pytest.approx(1)
    assert float(curves["ranks"]["share"].max()) < 3 / 40
    assert float(curves["activity"]["share"].sum()) == pytest.approx(1)
    if not masked:  # frames with gaps have no spectrum
        found = curves["spread_spectrum"]
        kept = found["hr"].isfinite()
        for over, under in (("spread", "error"), ("members", "hr")):
            ratios = (found[over] / found[under])[kept]
            assert float(ratios.mean()) == pytest.approx(1, abs=0.15)
            np.testing.assert_allclose(ratios[5:], 1, atol=0.35)  # bands of many modes
    else:
        assert "spread_spectrum" not in curves


def test_members_that_differ_too_little_or_too_much_are_told_apart() -> None:
    narrow, wide = scored(0.5), scored(2.0)
    assert float(narrow.per_segment()["spread_error"].mean()) == pytest.approx(0.5, abs=0.03)
    assert float(narrow.per_frame()["coverage_90"].mean()) < 0.65
    assert float(narrow.curves()["ranks"]["share"][0]) > 0.1
    assert float(wide.per_segment()["spread_error"].mean()) == pytest.approx(2.0, abs=0.1)
    assert float(wide.per_frame()["coverage_90"].mean()) > 0.99
    best = float(scored(1.0).per_frame()["crps"].mean())
    assert min(float(metric.per_frame()["crps"].mean()) for metric in (narrow, wide)) > best


def test_a_single_prediction_scores_its_absolute_error_and_values_of_an_interval_no_spread() -> None:
    metric = EnsembleScores(1, (0.2, 0.4), 2, (0, 0))
    sr, hr = torch.rand(1, 1, 2, 8, 8), torch.rand(1, 1, 2, 8, 8)
    metric.update(sr.unsqueeze(0), hr, lr=torch.rand(1, 1, 2, 4, 4))
    assert set(metric.per_frame()) == {"crps"}
    torch.testing.assert_close(metric.per_frame()["crps"], (sr - hr).abs().mean((0, 1, 3, 4)).double())
    assert metric.per_segment() == {}
    assert metric.curves() == {}
    values = scored(1.0, drawn=False)
    assert {"spread", "energy_score", "variogram_score"}.isdisjoint(values.per_frame())
    assert values.per_segment() == {}


def test_the_classes_of_activity_are_those_of_the_lr_pixels() -> None:
    lr = torch.zeros(1, 1, 1, 6, 6)
    lr[..., 3:] = 1.0
    classes = activity_classes(lr, (0.1, 0.3), 2)
    assert classes.shape == (1, 1, 12, 12)
    assert classes[0, 0, 0].tolist() == [0] * 4 + [2] * 4 + [0] * 4
    faint = 0.7 + 1e-5 * lr  # a smooth field is no front because of the rounding of its squares
    assert activity_classes(faint, (1e-6, 3e-6), 2)[0, 0, 0].tolist() == [0] * 4 + [2] * 4 + [0] * 4


def test_calibrated_intervals_cover_a_new_trajectory_at_least_as_often_as_they_promise() -> None:
    generator = np.random.default_rng(0)
    trials, count = 400, 6
    covered = []
    for _ in range(trials):
        # Trajectories differ in the size of their errors, up to tenfold, and in their number.
        sizes = generator.lognormal(0, 1, count + 1)
        errors = [np.abs(generator.normal(0, size, generator.integers(20, 200))) for size in sizes]
        low, high = trajectory_quantiles(errors[:-1], np.array([0.5, 0.9]))
        covered.append([(errors[-1] <= low).mean(), (errors[-1] <= high).mean()])
    found = np.mean(covered, axis=0)
    assert found[0] >= 0.5 * count / (count + 1)
    assert found[1] >= 0.9 * count / (count + 1)
    assert found[1] <= 0.93
    assert trajectories_needed(90, 85) == 17
    assert 90 * 17 / 18 >= 85 > 90 * 16 / 17


def test_calibration_gives_each_part_of_the_lead_time_its_own_widths() -> None:
    generator = torch.Generator().manual_seed(0)
    lr, lead = torch.zeros(2, 1, 4, 12, 12), torch.tensor([[0.0, 0.1, 0.6, 1.2], [0.0, 0.1, 0.6, 1.2]])
    size = torch.tensor([0.01, 0.01, 0.05, 0.2]).view(4, 1, 1)
    errors = CalibrationErrors([(0.05, 0.5)], 2, (0, 0), False, leads=(0.5, 0.9))
    for trajectory in (0, 2):
        hr = size * torch.randn(2, 1, 4, 24, 24, generator=generator)
        errors.update(torch.zeros_like(hr), None, hr, lr, [trajectory, trajectory + 1], None, lead)
    calibration = Calibration.from_plain(json.loads(json.dumps(errors.fit().to_plain())), 2)
    at = CALIBRATED_LEVELS.index(90)
    assert calibration.leads == (0.5, 0.9)
    # Three classes of activity for each of three parts; all pixels are quiet here, and the other classes have their widths.
    assert calibration.widths[0, :, at] == pytest.approx(1.645 * np.repeat([0.01, 0.05, 0.2], 3), rel=0.1)
    values = calibration.members(torch.zeros(2, 1, 4, 24, 24), None, lr, lead)
    width = values[0, 0, -1, :, 0, 0]
    assert width.tolist() == pytest.approx([float(calibration.widths[0, 3 * part, -1]) for part in (0, 0, 1, 2)])


@pytest.mark.parametrize("relative", [False, True])
def test_calibration_gives_each_class_its_own_width(relative: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    lr = torch.zeros(1, 1, 3, 12, 12)
    lr[..., 6:] = torch.randn(1, 1, 3, 12, 6, generator=generator)
    spread = torch.full((1, 1, 3, 24, 24), 0.1)
    errors = CalibrationErrors([(0.05, 0.5)], 2, (2, 2), relative)
    size = torch.where(activity_classes(lr, (0.05, 0.5), 2) == 0, 0.01, 0.2).unsqueeze(1)
    for trajectory in range(3):
        hr = size * torch.randn(1, 1, 3, 24, 24, generator=generator)
        errors.update(torch.zeros_like(hr), spread if relative else None, hr, lr, [trajectory], None)
    calibration = errors.fit()
    assert calibration.trajectories == 3
    unit = 0.1 if relative else 1.0
    at = CALIBRATED_LEVELS.index(90)
    assert unit * calibration.widths[0, 0, at] == pytest.approx(1.645 * 0.01, rel=0.15)
    assert unit * calibration.widths[0, 2, at] == pytest.approx(1.645 * 0.2, rel=0.15)
    values = calibration.members(torch.zeros(1, 1, 3, 24, 24), spread if relative else None, lr)
    assert values.shape == (1, 1, 39, 3, 24, 24)
    assert bool((values.diff(dim=2) >= 0).all())
    hr = size * torch.randn(1, 1, 3, 24, 24, generator=generator)
    found = intervals_of_members(values.movedim(2, 0), 90)
    assert found is not None
    assert float(((hr >= found[0]) & (hr <= found[1])).float().mean()) == pytest.approx(0.9, abs=0.04)
