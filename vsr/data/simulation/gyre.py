"""Wind-driven ocean gyres: pairs of runs of qg-python, a quasi-geostrophic model of other authors (extra `solvers`).

The model has one and a half layers on a square with walls and solves, for the stream function psi and the potential vorticity
q = laplace(psi) - F psi,

    q_t + r J(psi, q) + psi_x = -A laplace^3(psi) + curl of the wind,

with psi = 0 at the walls (Sakov & Oke 2008, "A deterministic formulation of the ensemble Kalman filter"). x runs along the first
axis of the arrays.
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np
from scipy.interpolate import RectBivariateSpline

WIND = 2 * math.pi  # strength of the wind
VISCOSITY, VISCOUS_CELLS = 2e-11, 96  # A on a grid of this many cells; it goes with the fourth power of the cell size
LONGEST_STEP = 2.5
SPIN_UP_CELLS, SPIN_UP_TIME = 48, 3000.0  # the eddies grow on this coarser grid, which costs little
SETTLING_TIME = 500.0  # on the own grid afterwards
COURANT = 120.0  # time step in units of the cell size


class Gyre:
    """Double gyre that is advanced in time by qg-python.

    The grid has `cells` + 1 points per side, and the walls are its first and last points. `fields` leaves out the last row and
    column, so that point k of a grid that is `scale` times coarser lies at point `scale` k.

    Args:
        psi: Stream function at all points, (cells + 1, cells + 1).
        time: Time of this state.
    """

    def __init__(self, psi: np.ndarray, time: float = 0.0) -> None:
        from qgpython.model import QGModel, QGParams

        self.cells = len(psi) - 1
        viscosity = VISCOSITY * (VISCOUS_CELLS / self.cells) ** 4
        settings = QGParams(
            mrefin=1, nx1=self.cells, ny1=self.cells, rkb=0.0, rkh=0.0, rkh2=viscosity, a=WIND, scheme="rk4", verbose=False
        )
        self.model, self.time = QGModel(settings), time
        inside = np.zeros_like(psi, np.float64)
        inside[1:-1, 1:-1] = psi[1:-1, 1:-1]
        self.model.psi = inside
        self.model._q_from_psi()

    @property
    def fields(self) -> np.ndarray:
        """Potential vorticity q and stream function psi, (2, cells, cells)."""
        return np.stack([self.model.q, self.model.psi])[:, :-1, :-1]

    @property
    def bed(self) -> np.ndarray:
        """Bed of the ocean, which is flat, (cells, cells)."""
        return np.zeros((self.cells, self.cells))

    def run(self, until: float, courant: float) -> None:
        """Advance to a time with steps of at most `courant` cell sizes. Raises FloatingPointError if the flow blows up."""
        steps = math.ceil((until - self.time) / min(LONGEST_STEP, courant / self.cells) - 1e-9)
        for _ in range(steps):
            self.model.prm.dt = (until - self.time) / steps
            self.model._do_step()
        self.time = until
        if not np.isfinite(self.model.psi).all():
            raise FloatingPointError(f"the gyre on {self.cells} cells blew up before time {until:g}")

    def coarsened(self, scale: int) -> Self:
        """Return the flow at this time on a grid that is `scale` times coarser, with the values of the shared points."""
        return type(self)(self.model.psi[::scale, ::scale], self.time)

    def refined(self, cells: int) -> Self:
        """Return the flow at this time on a grid of more cells, between whose points cubic splines give the values."""
        own, finer = np.linspace(0, 1, self.cells + 1), np.linspace(0, 1, cells + 1)
        return type(self)(RectBivariateSpline(own, own, self.model.psi)(finer, finer), self.time)


def gyre_family(rng: np.random.Generator, cells: int) -> Gyre:
    """Return gyres with grown eddies, at time 0: from random waves on a coarse grid, then on the own one."""
    least = min(SPIN_UP_CELLS, cells)
    flow = Gyre(np.zeros((least + 1, least + 1)), -SPIN_UP_TIME - SETTLING_TIME)
    flow.model.set_ic("fourier", amplitude=5.0, kmax=5, seed=int(rng.integers(2**31)))
    flow.run(-SETTLING_TIME, COURANT)
    if cells > least:
        flow = flow.refined(cells)
    flow.run(0.0, COURANT)
    return flow
