"""Pseudo-spectral solver of two-dimensional turbulence that stirs a passive scalar, numpy and scipy.fft only.

The equations, for vorticity w = v_x - u_y, scalar c and forcing f, on a doubly periodic square of side 2 pi:

    w_t + (u w)_x + (v w)_y = f - drag w + viscosity laplace(w),      laplace(psi) = w, u = -psi_y, v = psi_x
    c_t + (u c)_x + (v c)_y = -gradient v + diffusivity laplace(c)

c is the deviation from a mean gradient along y, which is what keeps it alive: stirring turns it into plateaus that are
separated by cliffs (Warhaft 2000, "Passive scalars in turbulent flows").

Scheme: Fourier collocation with Orszag's 2/3 rule, in flux form, so that the truncated equations conserve energy, enstrophy and
the variance of the scalar; fourth-order Runge-Kutta with the linear terms in an integrating factor (Canuto, Hussaini,
Quarteroni & Zang 2006, ch. 3). The forcing is white in time on a ring of wavenumbers (Lilly 1969), so that its power is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy import fft

from vsr.data.simulation.families import draw_family_field

Field = Literal["scalar", "vorticity"]

# Fixed range of the values of `simulate_turbulence`, for each field. The forcing keeps the velocity near 1 and the gradient is 1,
# so the scalar is of the order of an eddy's size. Largest values in 4 time units on 216 cells, 14 seeds: 5.6 and 13 (median),
# 6.9 and 16 (maximum); they hardly grow with finer grids, 7.5 and 16 on 432 cells.
BOUNDS: dict[Field, tuple[float, float]] = {"scalar": (-12.0, 12.0), "vorticity": (-30.0, 30.0)}

POWER, DRAG = 0.1, 0.1  # without viscosity, their ratio is the mean square velocity, 1
RING = (3.0, 5.0)  # forced wavenumbers: eddies of a quarter of the side
SMOOTHING = 4.0  # viscosity and diffusivity in units of 1 / (largest wavenumber)^2: fronts of about 3 cells
SPIN_UP = (8.0, 1.0)  # time on half as many cells per side, then on all of them
INTERVAL = 0.04  # time between frames
COURANT = 0.2
LEAST_CELLS = 48  # so that half of them, during the spin-up, still carry the forcing


class TurbulentFlow:
    """Two-dimensional flow with its passive scalar, advanced in time.

    Arrays are (n, n), y first and x last, float64. The side is 2 pi, so that wavenumbers are integers. The module's docstring
    has the equations.

    Args:
        vorticity: Vorticity at the n x n grid points; its mean and wavenumbers of n / 3 and more are dropped.
        scalar: Deviation of the scalar from its mean gradient, at the grid points; wavenumbers of n / 3 and more are dropped.
        viscosity: Coefficient in the equations.
        diffusivity: Coefficient in the equations.
        drag: Coefficient in the equations.
        gradient: Mean gradient of the scalar along y.
        power: Mean energy that the forcing injects per area and time; 0 for no forcing.
        rng: Generator that draws the forcing; needed when power is not 0.

    Raises:
        ValueError: If power is not 0 and rng is None.
    """

    def __init__(
        self,
        vorticity: np.ndarray,
        scalar: np.ndarray,
        *,
        viscosity: float = 0.0,
        diffusivity: float = 0.0,
        drag: float = 0.0,
        gradient: float = 0.0,
        power: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        if power and rng is None:
            raise ValueError("a forced flow needs a generator, rng")
        self.n = n = vorticity.shape[0]
        self.viscosity, self.diffusivity, self.drag, self.gradient = viscosity, diffusivity, drag, gradient
        self.power, self.rng, self.time = power, rng, 0.0
        ky, kx = fft.fftfreq(n, 1 / n)[:, None], fft.rfftfreq(n, 1 / n)[None, :]
        self._square = kx**2 + ky**2
        kept = (abs(ky) < n / 3) & (kx < n / 3)
        inverse = kept / np.where(self._square == 0, np.inf, self._square)
        self._to_velocity = np.stack([1j * ky * inverse, -1j * kx * inverse])
        self._divergence = np.stack([-1j * kx * kept, -1j * ky * kept])
        self.state: np.ndarray = fft.rfft2(np.stack([vorticity, scalar])) * kept
        self.state[0, 0, 0] = 0  # the mean vorticity of a periodic flow is 0
        radius = np.sqrt(self._square)
        # One of each pair (k, -k): the left column of a real field's half spectrum holds both.
        self._forced = np.nonzero((radius >= RING[0]) & (radius <= RING[1]) & ((kx > 0) | (ky > 0)))
        self._factors: tuple[float, np.ndarray] | None = None

    @property
    def vorticity(self) -> np.ndarray:
        """Vorticity, (n, n)."""
        return fft.irfft2(self.state[0], s=(self.n, self.n))

    @property
    def scalar(self) -> np.ndarray:
        """Deviation of the scalar from its mean gradient, (n, n)."""
        return fft.irfft2(self.state[1], s=(self.n, self.n))

    @property
    def velocity(self) -> np.ndarray:
        """Velocity (u, v), (2, n, n)."""
        return fft.irfft2(self._to_velocity * self.state[0], s=(self.n, self.n))

    def step(self, dt: float) -> None:
        """Advance the flow by the time dt; the forcing is added last."""
        half = self._integrating_factor(dt)
        decayed = half * self.state
        first = self._tendency(self.state)
        first *= half
        second = self._tendency(decayed + (0.5 * dt) * first)
        third = self._tendency(decayed + (0.5 * dt) * second)
        decayed *= half
        fourth = self._tendency(decayed + dt * (half * third))
        second += third
        second *= 2
        second += first
        second *= half
        second += fourth
        second *= dt / 6
        decayed += second
        self.state = decayed
        if self.power and self.rng is not None:
            self._add_forcing(dt, self.rng)
        self.time += dt

    def run(self, until: float, courant: float) -> None:
        """Advance the flow to the time `until` with equal steps of at most courant * 2 pi / n.

        Raises:
            FloatingPointError: If the flow is not finite.
        """
        steps = max(1, int(np.ceil((until - self.time) / (courant * 2 * np.pi / self.n) - 1e-9)))
        dt = (until - self.time) / steps
        for _ in range(steps):
            self.step(dt)
        self.time = until
        if not np.isfinite(self.state).all():
            raise FloatingPointError(f"the flow is not finite at t={until:.4g}; a smaller Courant number may help")

    def _integrating_factor(self, dt: float) -> np.ndarray:
        """Return the decay of each mode by the linear terms over dt / 2; cached, because the step seldom changes."""
        if self._factors is None or self._factors[0] != dt:
            rates = np.stack([self.viscosity * self._square + self.drag, self.diffusivity * self._square])
            self._factors = dt, np.exp(-0.5 * dt * rates)
        return self._factors[1]

    def _tendency(self, state: np.ndarray) -> np.ndarray:
        """Return the time derivative by the non-linear terms and the scalar's source, (2, n, n // 2 + 1)."""
        velocity = self._to_velocity * state[0]
        u, v, *carried = fft.irfft2(np.concatenate([velocity, state]), s=(self.n, self.n), overwrite_x=True)
        fluxes = fft.rfft2(np.stack([u * carried[0], u * carried[1], v * carried[0], v * carried[1]]), overwrite_x=True)
        rate = fluxes[:2]
        rate *= self._divergence[0]
        fluxes[2:] *= self._divergence[1]
        rate += fluxes[2:]
        if self.gradient:
            rate[1] -= self.gradient * velocity[1]
        return rate

    def _add_forcing(self, dt: float, rng: np.random.Generator) -> None:
        """Add the random forcing of one step to the vorticity, with equal power in each mode of the ring."""
        rows, columns = self._forced
        noise = rng.standard_normal((2, rows.size))
        amplitude = self.n**2 * np.sqrt(0.5 * self.power * dt / rows.size * self._square[rows, columns])
        kick = amplitude * (noise[0] + 1j * noise[1])
        self.state[0, rows, columns] += kick
        left = columns == 0
        self.state[0, -rows[left], 0] += kick[left].conj()


def simulate_turbulence(
    seed: tuple[int, ...], cells: int, sampling: int, frames: int, *, field: Field, tick: Callable[[], None] | None = None
) -> np.ndarray:
    """Simulate turbulence from random eddies. The frames begin after a spin-up, when the flow is statistically steady.

    Args:
        seed: Integers that form the seed; equal arguments give equal bits.
        cells: Number of grid cells per side, LEAST_CELLS or more.
        sampling: Step in grid points; every sampling-th grid point is returned.
        frames: Number of frames, INTERVAL apart.
        field: Name of the returned field; both fields of a seed belong to the same flow.
        tick: Function that is called after each frame.

    Returns:
        Frames, (frames, cells / sampling, cells / sampling) float32, within BOUNDS[field] without clipping.

    Raises:
        ValueError: If there are fewer cells than LEAST_CELLS.
        FloatingPointError: If the flow blows up or leaves its bounds.
    """
    if cells < LEAST_CELLS:
        raise ValueError(f"{cells} cells per side are too few, the least is {LEAST_CELLS}")
    rng = np.random.default_rng(seed)
    coarse = _spin_up(rng, cells // 2)
    flow = _forced_flow(_refine(coarse.vorticity, cells), _refine(coarse.scalar, cells), rng)
    flow.run(SPIN_UP[1], COURANT)
    pick = slice(sampling // 2, None, sampling)
    low, high = BOUNDS[field]
    movie = []
    for k in range(frames):
        flow.run(SPIN_UP[1] + (k + 1) * INTERVAL, COURANT)
        frame = flow.scalar if field == "scalar" else flow.vorticity
        if not (low < frame.min() and frame.max() < high):
            raise FloatingPointError(
                f"the {field} of seed {seed} spans {frame.min():.3g} to {frame.max():.3g}, beyond {low, high}"
            )
        movie.append(frame[pick, pick].astype(np.float32))
        if tick is not None:
            tick()
    return np.stack(movie)


def _forced_flow(vorticity: np.ndarray, scalar: np.ndarray, rng: np.random.Generator) -> TurbulentFlow:
    smoothing = SMOOTHING / (len(vorticity) / 3) ** 2
    return TurbulentFlow(
        vorticity, scalar, viscosity=smoothing, diffusivity=smoothing, drag=DRAG, gradient=1.0, power=POWER, rng=rng
    )


def _spin_up(rng: np.random.Generator, cells: int) -> TurbulentFlow:
    """Return a flow of random eddies of unit velocity, advanced until the scalar has forgotten its initial state."""
    vorticity = draw_family_field(rng, cells, wavenumber=4, width=0.2)
    flow = _forced_flow(vorticity, np.zeros_like(vorticity), rng)
    flow.state[0] /= np.sqrt(np.mean(np.sum(flow.velocity**2, axis=0)))
    flow.run(SPIN_UP[0], COURANT)
    return flow


def _refine(field: np.ndarray, cells: int) -> np.ndarray:
    """Interpolate a field without wavenumbers of m / 3 and more trigonometrically, (m, m) -> (cells, cells)."""
    old = len(field)
    k = np.arange(-(old // 3), old // 3 + 1)
    columns = slice(0, old // 3 + 1)
    fine = np.zeros((cells, cells // 2 + 1), complex)
    fine[k % cells, columns] = fft.rfft2(field)[k % old, columns] * (cells / old) ** 2
    return fft.irfft2(fine, s=(cells, cells))
