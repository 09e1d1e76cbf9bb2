"""Shallow-water solver: well-balanced, shock-capturing finite volumes on a periodic square, numpy only.

The equations, for depth h, velocity (u, v), bed b, gravity g and Coriolis parameter f (units: domain side 1, g = 1):

    h_t      + (hu)_x              + (hv)_y              = 0
    (hu)_t   + (hu^2 + g h^2/2)_x  + (huv)_y             = -g h b_x + f hv + h a_x
    (hv)_t   + (huv)_x             + (hv^2 + g h^2/2)_y  = -g h b_y - f hu + h a_y

Scheme: MUSCL reconstruction of (h+b, u, v) with van Leer's slopes (van Leer 1979), HLL fluxes with Davis' speeds
(Harten, Lax & van Leer 1983; Toro 2001, ch. 10), the transverse momentum carried upwind by the mass flux, Heun's
strong-stability-preserving Runge-Kutta (Shu & Osher 1988). The bed is single-valued at cell faces and its source term is
written with the reconstructed depths, so that a lake at rest stays at rest to rounding (Kurganov & Petrova 2007, sec. 2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np

GHOST = 2  # cells beyond each side: one for the slope, one for the slope of the neighbour
DEPTH_FLOOR = 1e-3  # keeps a nearly dry cell divisible; the flow families stay far above it

BodyForce = Callable[["ShallowWater"], tuple[float, float]]


class ShallowWater:
    """Shallow-water flow that is advanced in time.

    Arrays are (ny, nx), x last. Both directions are periodic. A cell is 1/ny wide, so the domain has length 1 along y.

    Args:
        h: Depth at the cell centres, above DEPTH_FLOOR.
        u: Velocity along x at the cell centres.
        v: Velocity along y at the cell centres.
        bed: Height of the bed; None for a flat bed.
        gravity: Constant g of the equations in the module's docstring.
        coriolis: Constant f of the equations in the module's docstring, equal over the plane.
        body_force: Function of the flow that is called before each stage of a time step; it returns the acceleration (a_x,
            a_y), uniform in space.
        dtype: Type of the arrays; float64 conserves mass to rounding, float32 is twice as fast and enough for pictures.

    Raises:
        ValueError: If a depth is at or below DEPTH_FLOOR.
    """

    def __init__(
        self,
        h: np.ndarray,
        u: np.ndarray,
        v: np.ndarray,
        *,
        bed: np.ndarray | None = None,
        gravity: float = 1.0,
        coriolis: float = 0.0,
        body_force: BodyForce | None = None,
        dtype: type = np.float32,
    ) -> None:
        if h.min() <= DEPTH_FLOOR:
            raise ValueError(f"the depth must exceed {DEPTH_FLOOR} everywhere, its minimum is {h.min():.3g}")
        self.state: np.ndarray = np.stack([h, h * u, h * v]).astype(dtype)
        self.time = 0.0
        self.gravity, self.coriolis, self.body_force = gravity, coriolis, body_force
        self.dx = 1.0 / h.shape[0]
        bed = np.zeros_like(h) if bed is None else bed
        self.bed: np.ndarray = bed.astype(dtype)
        self._flat = bool(np.ptp(self.bed) == 0)
        padded = np.pad(self.bed, GHOST, mode="wrap")
        self._bed_face = [
            _inner(0.5 * (padded[..., GHOST - 1 : -GHOST] + padded[..., GHOST : 1 - GHOST]), axis=0),
            _inner(0.5 * (padded[GHOST - 1 : -GHOST] + padded[GHOST : 1 - GHOST]), axis=1),
        ]
        ny, nx = h.shape
        self._primitive = np.empty((3, ny + 2 * GHOST, nx + 2 * GHOST), dtype)
        self._scratch: dict[str, np.ndarray] = {}

    @property
    def h(self) -> np.ndarray:
        """Depth, (ny, nx)."""
        return self.state[0]

    @property
    def velocity(self) -> tuple[np.ndarray, np.ndarray]:
        """Velocity (u, v), each (ny, nx)."""
        return self.state[1] / self.state[0], self.state[2] / self.state[0]

    @property
    def fields(self) -> np.ndarray:
        """Depth h and velocity u, v, (3, ny, nx)."""
        return np.stack([self.h, *self.velocity])

    def coarsened(self, scale: int) -> Self:
        """Return the flow at this time on cells that are `scale` times as wide, with the same equations.

        Depth, momentum and bed are means over blocks of cells, so that mass and momentum are those of this flow.

        Args:
            scale: Cells per new cell along each side.

        Raises:
            ValueError: If the number of cells per side is no multiple of `scale`.
        """
        ny, nx = self.h.shape
        if ny % scale or nx % scale:
            raise ValueError(f"{ny}x{nx} cells are no multiple of {scale}")
        blocks = np.stack([*self.state, self.bed]).astype(np.float64).reshape(4, ny // scale, scale, nx // scale, scale)
        return self.on_other_cells(*blocks.mean((2, 4)))

    def on_other_cells(self, h: np.ndarray, hu: np.ndarray, hv: np.ndarray, bed: np.ndarray) -> Self:
        """Return a flow with this one's time, gravity and forces, and depth, momentum and bed on another number of cells."""
        flow = type(self)(
            *(h, hu / h, hv / h),
            bed=bed,
            gravity=self.gravity,
            coriolis=self.coriolis,
            body_force=self.body_force,
            dtype=self.state.dtype.type,
        )
        flow.time = self.time
        return flow

    def step(self, dt: float) -> None:
        """Advance the flow by the time dt with Heun's method: average the start and the state after two Euler steps."""
        start = self._buffer("start", self.state.shape)
        np.copyto(start, self.state)
        for _ in range(2):
            rate = self._tendency()
            rate *= dt
            self.state += rate
        self.state += start
        self.state *= 0.5
        np.maximum(self.state[0], DEPTH_FLOOR, out=self.state[0])
        self.time += dt

    def run(self, until: float, courant: float) -> None:
        """Advance the flow to the time `until` with equal steps of at most courant * dx.

        Raises:
            FloatingPointError: If the flow is not finite.
        """
        steps = max(1, int(np.ceil((until - self.time) / (courant * self.dx) - 1e-9)))
        dt = (until - self.time) / steps
        for _ in range(steps):
            self.step(dt)
        self.time = until
        if not np.isfinite(self.state).all():
            raise FloatingPointError(f"the flow is not finite at t={until:.4g}; a smaller Courant number may help")

    def _buffer(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        found = self._scratch.get(name)
        if found is None or found.shape != shape:
            found = self._scratch[name] = np.empty(shape, self.state.dtype)
        return found

    def _tendency(self) -> np.ndarray:
        """Return the right-hand side of the equations for the current state, (3, ny, nx)."""
        h, hu, hv = self.state
        inside = self._primitive[:, GHOST:-GHOST, GHOST:-GHOST]
        np.add(h, self.bed, out=inside[0])
        np.divide(hu, h, out=inside[1])
        np.divide(hv, h, out=inside[2])
        _wrap(self._primitive)
        rate = self._buffer("rate", self.state.shape)
        rate.fill(0)
        # x: rows inside, all columns; normal velocity u. y: the same on transposed views, normal velocity v.
        self._sweep(self._primitive[:, GHOST:-GHOST, :], (0, 1, 2), self._bed_face[0], rate, "x")
        self._sweep(
            self._primitive[:, :, GHOST:-GHOST].swapaxes(1, 2),
            (0, 2, 1),
            self._bed_face[1].T,
            rate.swapaxes(1, 2),
            "y",
        )
        if self.coriolis:
            rate[1] += self.coriolis * hv
            rate[2] -= self.coriolis * hu
        if self.body_force is not None:
            for component, acceleration in enumerate(self.body_force(self), start=1):
                rate[component] += h * np.asarray(acceleration, self.state.dtype)
        return rate

    def _sweep(self, q: np.ndarray, order: tuple[int, int, int], bed: np.ndarray, rate: np.ndarray, name: str) -> None:
        """Add the flux differences along one direction to `rate`.

        q is (3, m, n+4) = (surface, u, v); bed is (m, n+1), at the faces of the last axis.
        """
        _, m, padded = q.shape
        n = padded - 2 * GHOST
        g = self.gravity

        def buffer(key: str, shape: tuple[int, ...]) -> np.ndarray:
            # Buffers are laid out like q, so that the transposed sweep runs along contiguous memory as well.
            if name == "x":
                return self._buffer(name + key, shape)
            return self._buffer(name + key, (*shape[:-2], shape[-1], shape[-2])).swapaxes(-1, -2)

        # Van Leer's harmonic mean of the one-sided differences a, b: half a slope is max(ab, 0) / (a + b).
        difference = np.subtract(q[..., 1:], q[..., :-1], out=buffer("d", (3, m, n + 3)))
        half = np.multiply(difference[..., 1:], difference[..., :-1], out=buffer("half", (3, m, n + 2)))
        np.maximum(half, 0, out=half)
        total = np.add(difference[..., 1:], difference[..., :-1], out=buffer("total", (3, m, n + 2)))
        total += 1e-30  # 0 / 0 where the field is constant; no other sum is changed
        half /= total
        # States at the n + 1 faces, from the cell on the left and from the cell on the right.
        left = np.add(q[..., 1:-2], half[..., :-1], out=buffer("left", (3, m, n + 1)))
        right = np.subtract(q[..., 2:-1], half[..., 1:], out=buffer("right", (3, m, n + 1)))
        for side in (left, right):
            side[0] -= bed  # surface -> depth
            np.maximum(side[0], DEPTH_FLOOR, out=side[0])
        _, normal, across = order
        h_left, h_right, u_left, u_right = left[0], right[0], left[normal], right[normal]

        if not self._flat:
            # -g h b_x as -g (h_l + h_r)/2 (b_r - b_l)/dx with the cell's own face depths: exact balance at rest.
            slope = np.subtract(bed[:, 1:], bed[:, :-1], out=buffer("s", (m, n)))
            depth = np.add(h_left[:, 1:], h_right[:, :-1], out=buffer("hs", (m, n)))
            slope *= depth
            slope *= 0.5 * g / self.dx
            rate[normal] -= slope

        shape = (m, n + 1)
        c_left = np.sqrt(np.multiply(h_left, g, out=buffer("cl", shape)), out=buffer("cl", shape))
        c_right = np.sqrt(np.multiply(h_right, g, out=buffer("cr", shape)), out=buffer("cr", shape))
        work = buffer("w", shape)
        slow = np.subtract(u_left, c_left, out=buffer("slow", shape))
        np.minimum(slow, np.subtract(u_right, c_right, out=work), out=slow)
        np.minimum(slow, 0, out=slow)
        fast = np.add(u_left, c_left, out=c_left)
        np.maximum(fast, np.add(u_right, c_right, out=work), out=fast)
        np.maximum(fast, 0, out=fast)
        width = np.subtract(fast, slow, out=c_right)
        width *= self.dx  # the fluxes leave this routine divided by dx

        # F = (fast F_l - slow F_r + slow fast (U_r - U_l)) / (fast - slow), for mass and then normal momentum.
        product = np.multiply(slow, fast, out=buffer("sf", shape))
        mass_left = np.multiply(h_left, u_left, out=buffer("ml", shape))
        mass_right = np.multiply(h_right, u_right, out=buffer("mr", shape))
        mass = np.subtract(h_right, h_left, out=buffer("f0", shape))
        mass *= product
        mass += np.multiply(fast, mass_left, out=work)
        mass -= np.multiply(slow, mass_right, out=work)
        mass /= width
        momentum = np.subtract(mass_right, mass_left, out=buffer("f1", shape))
        momentum *= product
        for mass_side, h_side, u_side, speed, sign in (
            (mass_left, h_left, u_left, fast, 1),
            (mass_right, h_right, u_right, slow, -1),
        ):
            mass_side *= u_side
            np.multiply(h_side, h_side, out=work)
            work *= 0.5 * g
            mass_side += work
            mass_side *= speed
            (np.add if sign > 0 else np.subtract)(momentum, mass_side, out=momentum)
        momentum /= width
        # The contact wave carries the transverse velocity: upwind by the sign of the mass flux.
        np.maximum(mass, 0, out=work)
        work *= left[across]
        np.minimum(mass, 0, out=product)
        product *= right[across]
        work += product
        for component, flux in ((0, mass), (normal, momentum), (across, work)):
            rate[component] -= flux[:, 1:]
            rate[component] += flux[:, :-1]


def _wrap(padded: np.ndarray) -> None:
    """Fill the ghost cells of an array (..., ny+4, nx+4) periodically."""
    padded[..., :GHOST, :] = padded[..., -2 * GHOST : -GHOST, :]
    padded[..., -GHOST:, :] = padded[..., GHOST : 2 * GHOST, :]
    padded[..., :GHOST] = padded[..., -2 * GHOST : -GHOST]
    padded[..., -GHOST:] = padded[..., GHOST : 2 * GHOST]


def _inner(padded: np.ndarray, axis: int) -> np.ndarray:
    """Return an array without its ghost rows (axis 0) or its ghost columns (axis 1)."""
    return np.ascontiguousarray(padded[GHOST:-GHOST] if axis == 0 else padded[:, GHOST:-GHOST])
