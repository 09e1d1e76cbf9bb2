"""The solver against conservation laws and exact solutions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from vsr.data.simulation.families import FAMILIES, SimulationJob, simulate_family
from vsr.data.simulation.shallow_water import ShallowWater


def centres(cells: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = (np.mgrid[:cells, :cells] + 0.5) / cells
    return y, x


def strip(cells: int) -> np.ndarray:
    """x of the cell centres of a channel that is 8 cells wide and as long as the unit square's side times cells/8."""
    return (np.arange(cells) + 0.5) / cells


def channel(h: np.ndarray, u: np.ndarray, **options: object) -> ShallowWater:
    """A flow along y (the side of length 1) that is uniform over 4 cells in x."""
    wide = np.repeat(h[:, None], 4, axis=1)
    along = np.repeat(u[:, None], 4, axis=1)
    return ShallowWater(wide, np.zeros_like(wide), along, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
def test_mass_is_conserved(family: str) -> None:
    flow = FAMILIES[family].start(np.random.default_rng(3), 64)
    h, (u, v) = flow.h, flow.velocity
    flow = ShallowWater(h, u, v, bed=flow.bed, coriolis=flow.coriolis, body_force=flow.body_force, dtype=np.float64)
    before = flow.h.sum()
    flow.run(0.5, FAMILIES[family].courant)
    assert np.ptp(flow.h) > 0.01  # it is not standing still
    assert abs(flow.h.sum() / before - 1) < 1e-11


def test_lake_at_rest_stays_at_rest() -> None:
    y, x = centres(64)
    rng = np.random.default_rng(0)
    bed = 0.3 * np.sin(2 * np.pi * x) * np.cos(4 * np.pi * y) + 0.1 * rng.random((64, 64))  # rough, too
    flow = ShallowWater(1 - bed, np.zeros_like(x), np.zeros_like(x), bed=bed, dtype=np.float64)
    flow.run(1.0, 0.2)
    u, v = flow.velocity
    assert max(abs(u).max(), abs(v).max()) < 1e-13
    assert abs(flow.h + bed - 1).max() < 1e-13


def stoker(x: np.ndarray, t: float, left: float, right: float) -> np.ndarray:
    """Depth of a dam break at x = 0 onto water (Stoker 1957), g = 1."""
    cl = np.sqrt(left)

    def speed_mismatch(middle: float) -> float:
        rarefaction = 2 * (cl - np.sqrt(middle))
        shock = (middle - right) * np.sqrt(0.5 * (middle + right) / (middle * right))
        return rarefaction - shock

    middle = brentq(speed_mismatch, right, left)
    u = 2 * (cl - np.sqrt(middle))
    shock = middle * u / (middle - right)
    h = np.where(x < shock * t, middle, right)
    fan = (2 * cl - x / t) ** 2 / 9
    h = np.where(x < (u - np.sqrt(middle)) * t, fan, h)
    return np.where(x < -cl * t, left, h)


def dam_break_error(cells: int) -> float:
    """Mean |h - exact|, the dam at 0.5 and its mirror image at 0 (the domain is periodic)."""
    y = strip(cells)
    flow = channel(np.where(y < 0.5, 1.0, 0.2), np.zeros(cells), dtype=np.float64)
    flow.run(0.12, 0.2)
    part = (y > 0.25) & (y < 0.75)
    return float(abs(flow.h[:, 0] - stoker(y - 0.5, 0.12, 1.0, 0.2))[part].mean())


def test_dam_break_converges_to_stokers_solution() -> None:
    errors = np.array([dam_break_error(cells) for cells in (100, 200, 400)])
    assert errors[-1] < 2.5e-3
    # A shock limits any scheme to first order in the mean error; this one is not far from it.
    orders = np.log2(errors[:-1] / errors[1:])
    assert (orders > 0.8).all()
    assert (orders < 1.6).all()


def test_smooth_waves_converge_at_second_order() -> None:
    def run(cells: int) -> np.ndarray:
        y = strip(cells)
        flow = channel(1 + 0.05 * np.sin(2 * np.pi * y), np.zeros(cells), dtype=np.float64)
        flow.run(0.2, 0.2)
        return flow.h[:, 0]

    fine = run(512)
    errors = [abs(run(cells) - fine.reshape(cells, -1).mean(1)).mean() for cells in (32, 64, 128)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 1.6).all(), orders


def test_gravity_wave_travels_at_sqrt_gh() -> None:
    cells, depth, gravity = 256, 0.49, 2.0
    y, amplitude = strip(cells), 1e-5
    speed = np.sqrt(gravity * depth)
    bump = amplitude * np.exp(-(((y - 0.5) / 0.06) ** 2))
    flow = channel(depth + bump, speed / depth * bump, gravity=gravity, dtype=np.float64)  # one-way wave
    time = 0.4 / speed
    flow.run(time, 0.2)
    shape = flow.h[:, 0] - depth
    angle = np.angle(np.sum(shape * np.exp(2j * np.pi * y))) - np.angle(np.sum(bump * np.exp(2j * np.pi * y)))
    travelled = (angle / (2 * np.pi)) % 1
    assert travelled == pytest.approx(0.4, rel=1e-3)


def test_geostrophic_jet_stays_steady_and_does_so_better_on_finer_grids() -> None:
    def change(cells: int) -> float:
        y = strip(cells)
        coriolis, amplitude = 20.0, 0.05
        # u = -(g/f) dh/dy balances the slope; f u flows along x, which is uniform.
        h = 1 + amplitude * np.sin(2 * np.pi * y)
        u = -amplitude * 2 * np.pi * np.cos(2 * np.pi * y) / coriolis
        wide = np.repeat(h[:, None], 4, axis=1)
        along = np.repeat(u[:, None], 4, axis=1)
        flow = ShallowWater(wide, along, np.zeros_like(wide), coriolis=coriolis, dtype=np.float64)
        flow.run(2 * np.pi / coriolis * 5, 0.2)  # five inertial periods
        return float(abs(flow.h[:, 0] - h).max() / amplitude)

    coarse, fine = change(64), change(128)
    assert fine < 4e-3
    assert fine < coarse / 4


def test_both_directions_are_the_same_physics() -> None:
    y, x = centres(48)
    rng = np.random.default_rng(1)
    bed = 0.1 * rng.random((48, 48))
    h = 1 + 0.5 * (np.hypot(x - 0.4, y - 0.6) < 0.2) - bed
    u, v = 0.3 * np.sin(2 * np.pi * y), 0.2 * np.cos(2 * np.pi * x)
    a = ShallowWater(h, u, v, bed=bed, coriolis=2.0, dtype=np.float64)
    # Transposing swaps the axes and so the sense of rotation.
    b = ShallowWater(h.T, v.T, u.T, bed=bed.T, coriolis=-2.0, dtype=np.float64)
    a.run(0.2, 0.2)
    b.run(0.2, 0.2)
    np.testing.assert_allclose(a.h, b.h.T, rtol=0, atol=1e-13)
    np.testing.assert_allclose(a.state[1], b.state[2].T, rtol=0, atol=1e-13)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.sampled(2)
def test_same_seed_same_bits_other_seed_other_flow(family: str) -> None:
    job = SimulationJob(family, (7, 0, 0), 96, 4, 3)
    first, again = simulate_family(job), simulate_family(job)
    other = simulate_family(SimulationJob(family, (8, 0, 0), 96, 4, 3))
    assert first.h.tobytes() == again.h.tobytes()
    assert first.u.tobytes() == again.u.tobytes()
    assert abs(first.h - other.h).max() > 0.05


def test_dry_start_and_blow_up_are_refused() -> None:
    zero = np.zeros((16, 16))
    with pytest.raises(ValueError, match="depth must exceed"):
        ShallowWater(zero, zero, zero)
    flow = ShallowWater(zero + 1, zero, zero, body_force=lambda _: (1e30, 0.0))
    with pytest.raises(FloatingPointError, match="not finite"), np.errstate(all="ignore"):
        flow.run(1.0, 0.2)
