"""The named flows."""

from __future__ import annotations

import numpy as np
import pytest

from vsr.data.simulation.families import FAMILIES, SimulationJob, draw_family_field, simulate_family


def test_random_field_is_the_same_at_each_resolution() -> None:
    coarse = draw_family_field(np.random.default_rng(5), 64, wavenumber=4, width=0.3)
    fine = draw_family_field(np.random.default_rng(5), 128, wavenumber=4, width=0.3)
    np.testing.assert_allclose(fine[::2, ::2], coarse, atol=1e-6)
    assert coarse.mean() == pytest.approx(0, abs=1e-12)
    assert coarse.std() == pytest.approx(1)
    with pytest.raises(ValueError, match="cannot carry"):
        draw_family_field(np.random.default_rng(5), 16, wavenumber=8, width=0.3)


def test_random_field_lies_on_its_ring() -> None:
    field = draw_family_field(np.random.default_rng(2), 96, wavenumber=10, width=0.2)
    power = abs(np.fft.fft2(field)) ** 2
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(96, 1 / 96), np.fft.fftfreq(96, 1 / 96)))
    assert power[(k > 5) & (k < 15)].sum() / power.sum() > 0.99
    assert (k * power).sum() / power.sum() == pytest.approx(10, abs=1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.sampled(3)
def test_depths_stay_within_the_fixed_range(family: str, seed: int) -> None:
    run = simulate_family(SimulationJob(family, (seed, 0, 0), 96, 3, 12))
    low, high = FAMILIES[family].range
    assert low < run.h.min()
    assert run.h.max() < high
    assert np.isfinite(run.u).all()
    assert run.h.std(axis=(1, 2)).min() > 0.02  # every frame shows something


def test_tide_is_statistically_steady() -> None:
    run = simulate_family(SimulationJob("tide", (0, 0, 0), 96, 3, 60))
    spread = run.h.std(axis=(1, 2))
    assert abs(spread[:20].mean() / spread[-20:].mean() - 1) < 0.15
    # and it moves: frames decorrelate
    first, last = run.h[0].ravel(), run.h[-1].ravel()
    assert np.corrcoef(first, last)[0, 1] < 0.95


def test_tides_begin_at_phases_over_the_whole_cycle() -> None:
    """The depth-averaged momentum of each trajectory points along the forcing at its own phase, relaxed with a lag."""
    phases = []
    for k in range(8):
        run = simulate_family(SimulationJob("tide", (0, 1, k), 48, 3, 1))
        momentum = [float((run.h[0] * speed).mean()) for speed in (run.u[0], run.v[0])]
        assert np.hypot(*momentum) == pytest.approx(1.2, rel=0.2)
        phases.append(np.arctan2(*momentum[::-1]) / (2 * np.pi) % 1)
    gaps = np.diff([*sorted(phases), min(phases) + 1])
    assert gaps.min() > 0.05
    assert gaps.max() < 0.25
    other = simulate_family(SimulationJob("tide", (1, 1, 0), 48, 3, 1))
    first = np.arctan2((other.h * other.v).mean(), (other.h * other.u).mean()) / (2 * np.pi) % 1
    assert abs(first - phases[0]) > 0.01  # another seed, another first phase


def test_turbulence_keeps_its_energy() -> None:
    run = simulate_family(SimulationJob("turbulence", (0, 0, 0), 96, 3, 20))
    kinetic = (run.u**2 + run.v**2).mean(axis=(1, 2))
    np.testing.assert_allclose(kinetic, kinetic[0], rtol=0.1)
    assert np.sqrt(kinetic.mean()) == pytest.approx(0.15, rel=0.1)
