"""The spectral solver against conservation laws and exact solutions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr.data.simulation.families import draw_family_field
from vsr.data.simulation.turbulence import BOUNDS, DRAG, POWER, TurbulentFlow, simulate_turbulence


def grid(n: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:n, :n] * (2 * np.pi / n)
    return y, x


def eddies(n: int, seed: int, **options: float) -> TurbulentFlow:
    rng = np.random.default_rng(seed)
    vorticity = 3 * draw_family_field(rng, n, wavenumber=3, width=0.3)
    return TurbulentFlow(vorticity, draw_family_field(rng, n, wavenumber=3, width=0.3), **options)


def energy(flow: TurbulentFlow) -> float:
    return float(0.5 * np.mean(np.sum(flow.velocity**2, axis=0)))


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_ideal_flow_conserves_energy_enstrophy_and_scalar(seed: int) -> None:
    flow = eddies(48, seed)
    before = energy(flow), np.mean(flow.vorticity**2), np.mean(flow.scalar**2), flow.scalar.mean()
    start = flow.scalar
    flow.run(1.0, 0.05)
    assert np.std(flow.scalar - start) > 0.5  # it is being stirred
    after = energy(flow), np.mean(flow.vorticity**2), np.mean(flow.scalar**2), flow.scalar.mean()
    # Truncated to the kept modes the laws hold exactly; what is left is the error of the time step.
    np.testing.assert_allclose(after[:3], before[:3], rtol=1e-6)
    assert after[3] == pytest.approx(before[3], abs=1e-13)


def test_the_time_step_converges_at_fourth_order() -> None:
    def run(steps: int) -> np.ndarray:
        flow = eddies(32, 1, viscosity=0.01, diffusivity=0.02, drag=0.1, gradient=1.0)
        for _ in range(steps):
            flow.step(0.4 / steps)
        return flow.state

    fine = run(80)
    errors = [abs(run(steps) - fine).max() for steps in (5, 10, 20)]
    assert (np.log2(np.array(errors[:-1]) / errors[1:]) > 3.7).all()


@pytest.mark.parametrize("waves", [1, 3])
def test_taylor_green_vortices_decay_at_the_exact_rate(waves: int) -> None:
    y, x = grid(24)
    vorticity = 2 * waves * np.cos(waves * x) * np.cos(waves * y)
    flow = TurbulentFlow(vorticity, np.zeros_like(x), viscosity=0.05, drag=0.2)
    flow.run(1.5, 0.5)
    rate = 0.05 * 2 * waves**2 + 0.2
    np.testing.assert_allclose(flow.vorticity, vorticity * np.exp(-1.5 * rate), atol=1e-12)


def test_velocity_and_vorticity_fit() -> None:
    y, x = grid(24)
    u, v = np.sin(2 * y), np.cos(3 * x)
    flow = TurbulentFlow(-3 * np.sin(3 * x) - 2 * np.cos(2 * y), x * 0)  # v_x - u_y
    np.testing.assert_allclose(flow.velocity, [u, v], atol=1e-13)


@pytest.mark.parametrize("along", ["x", "y"])
def test_a_shear_flow_carries_the_scalar_along(along: str) -> None:
    y, x = grid(64)
    time = 0.8
    # u = sin y is steady; c(x, y, t) = c0(x - t sin y). And the same along y.
    if along == "x":
        flow, exact = TurbulentFlow(-np.cos(y), np.cos(2 * x)), np.cos(2 * (x - time * np.sin(y)))
    else:
        flow, exact = TurbulentFlow(np.cos(x), np.cos(2 * y)), np.cos(2 * (y - time * np.sin(x)))
    flow.run(time, 0.1)
    np.testing.assert_allclose(flow.scalar, exact, atol=1e-7)


def test_the_gradient_is_a_scalar_like_any_other() -> None:
    """c + y moves with the flow: with u = 0, v = sin x the deviation c is -t sin x."""
    _, x = grid(32)
    flow = TurbulentFlow(np.cos(x), np.zeros_like(x), gradient=1.0)
    flow.run(0.7, 0.2)
    np.testing.assert_allclose(flow.scalar, -0.7 * np.sin(x), atol=1e-12)


def test_diffusion_alone_is_exact_and_keeps_the_mean() -> None:
    y, x = grid(32)
    flow = TurbulentFlow(np.zeros_like(x), 0.3 + np.cos(2 * x + y), diffusivity=0.1)
    flow.run(1.0, 1.0)
    np.testing.assert_allclose(flow.scalar, 0.3 + np.exp(-0.5) * np.cos(2 * x + y), atol=1e-13)


def test_the_forcing_has_the_power_that_was_asked_for() -> None:
    given = []
    for seed in range(30):
        flow = TurbulentFlow(np.zeros((32, 32)), np.zeros((32, 32)), power=0.3, rng=np.random.default_rng(seed))
        flow.run(0.1, 0.1)
        given.append(energy(flow) / 0.1)
    assert np.mean(given) == pytest.approx(0.3, rel=0.1)
    with pytest.raises(ValueError, match="rng"):
        TurbulentFlow(np.zeros((32, 32)), np.zeros((32, 32)), power=0.3)


@pytest.mark.parametrize("field", BOUNDS)
def test_movies_are_steady_bounded_and_move(field: str) -> None:
    movies = [simulate_turbulence((seed, 0, 0), 48, 2, 40, field=field) for seed in range(4)]  # type: ignore[arg-type]
    low, high = BOUNDS[field]  # type: ignore[index]
    for movie in movies:
        assert movie.shape == (40, 24, 24)
        assert movie.dtype == np.float32
        assert low < movie.min() < 0 < movie.max() < high
        assert np.corrcoef(movie[0].ravel(), movie[1].ravel())[0, 1] > 0.95
        assert np.corrcoef(movie[0].ravel(), movie[-1].ravel())[0, 1] < 0.9
    spread = np.mean([movie.std(axis=(1, 2)) for movie in movies], axis=0)
    assert spread[:10].mean() == pytest.approx(spread[-10:].mean(), rel=0.3)
    assert POWER / DRAG == 1  # the velocity that the bounds suppose


def test_same_seed_same_bits_other_seed_other_flow() -> None:
    ticks: list[int] = []
    first = simulate_turbulence((7, 0), 48, 3, 3, field="scalar", tick=lambda: ticks.append(1))
    assert len(ticks) == 3
    assert first.tobytes() == simulate_turbulence((7, 0), 48, 3, 3, field="scalar").tobytes()
    assert abs(first - simulate_turbulence((8, 0), 48, 3, 3, field="scalar")).max() > 0.1


def test_sampling_picks_points_of_the_same_flow() -> None:
    fine, picked = (simulate_turbulence((5,), 48, sampling, 1, field="vorticity") for sampling in (1, 3))
    np.testing.assert_array_equal(picked, fine[:, 1::3, 1::3])


def test_too_few_cells_blow_up_and_values_beyond_the_bounds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="too few"):
        simulate_turbulence((0,), 40, 2, 1, field="scalar")
    flow = eddies(32, 0)
    flow.state *= 1e200
    with pytest.raises(FloatingPointError, match="not finite"), np.errstate(all="ignore"):
        flow.run(1.0, 0.2)
    monkeypatch.setitem(BOUNDS, "scalar", (-0.1, 0.1))
    with pytest.raises(FloatingPointError, match=r"scalar of seed \(0,\) spans .* beyond \(-0.1, 0.1\)"):
        simulate_turbulence((0,), 48, 2, 1, field="scalar")
