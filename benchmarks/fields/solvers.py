"""Short runs of solvers of other people, each with a fixed start."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

FRAMES = 8


@lru_cache(maxsize=1)
def solve_sphere() -> np.ndarray:
    """Run the unstable jet of Galewsky on the sphere, and keep height and vorticity every 8 hours from day 4."""
    from torch_harmonics.examples.shallow_water_equations import ShallowWaterSolver

    solver = ShallowWaterSolver(nlat=128, nlon=256, dt=150, lmax=85, mmax=85, grid="legendre-gauss")
    state = solver.galewsky_initial_condition()
    frames = []
    for steps in [4 * 576] + [192] * (FRAMES - 1):
        state = solver.timestep(state, steps)
        frames.append(solver.spec2grid(state)[:2].numpy())
    return np.stack(frames)


def sphere(channel: int) -> np.ndarray:
    """Take one variable of the run on the sphere, with the geopotential divided by the gravity."""
    return solve_sphere()[:, channel, 4:76, :252] / (9.80616 if channel == 0 else 1.0)


@lru_cache(maxsize=1)
def solve_gyre() -> np.ndarray:
    """Run the quasi-geostrophic model, and keep vorticity and streamfunction."""
    from qgpython.model import QGModel, QGParams

    model = QGModel(QGParams(mrefin=6, dt=1.0, rkh2=2e-11, verbose=False))
    model.set_ic("fourier", amplitude=5.0, kmax=5, seed=0)
    frames = []
    for steps in [4000] + [300] * (FRAMES - 1):
        for _ in range(steps):
            model._do_step()
        frames.append(np.stack([model.q, model.psi]))
    return np.stack(frames)


def gyre(channel: int) -> np.ndarray:
    """Take one variable of the quasi-geostrophic run."""
    return solve_gyre()[:, channel, :96, :96]


def kolmogorov() -> np.ndarray:
    """Run a turbulent flow with Kolmogorov's forcing, and keep its vorticity."""
    import exponax
    import jax

    stepper = exponax.stepper.KolmogorovFlowVorticity(2, 2 * np.pi, 192, 0.002, diffusivity=0.003, drag=-0.1)
    state = exponax.ic.RandomTruncatedFourierSeries(2, cutoff=8, max_one=True)(192, key=jax.random.PRNGKey(0))
    state -= state.mean()
    return repeat(exponax, stepper, state, 4000, 1000)[:, 0]


def gray_scott() -> np.ndarray:
    """Run the reaction of Gray and Scott from some squares, and keep the second substance."""
    import exponax

    stepper = exponax.stepper.reaction.GrayScott(2, 2.5, 192, 1.0, feed_rate=0.035, kill_rate=0.06)
    seeds = np.zeros((192, 192), np.float32)
    for y, x in np.random.default_rng(0).integers(12, 180, (12, 2)):
        seeds[y - 8 : y + 8, x - 8 : x + 8] = 1
    return repeat(exponax, stepper, np.stack([1 - 0.5 * seeds, 0.25 * seeds]), 1000, 500)[:, 1]


def repeat(exponax: object, stepper: Callable, state: np.ndarray, first: int, steps: int) -> np.ndarray:
    """Keep FRAMES states: after the first steps, and then every few steps."""
    frames = []
    for count in [first] + [steps] * (FRAMES - 1):
        state = exponax.repeat(stepper, count)(state)  # type: ignore[attr-defined]
        frames.append(np.asarray(state))
    return np.stack(frames)
