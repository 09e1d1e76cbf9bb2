"""Named families of flows, from nearly linear to shock-dominated: initial states, forcings, trajectories.

docs/reference/data/climate.md measures how hard each family is to super-resolve. Sharp moving fronts (tide, bores) need a
non-linear network; the best linear filter nearly recovers the smooth height of balanced eddies (turbulence).
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from vsr.data.simulation.gyre import COURANT, gyre_family
from vsr.data.simulation.shallow_water import ShallowWater


class Flow(Protocol):
    """Flow that can run on a fine and on a coarse grid side by side.

    Attributes:
        fields: Values of the quantities in `Family.names`, (quantities, cells, cells).
        bed: Height of the bed, (cells, cells).
    """

    @property
    def fields(self) -> np.ndarray: ...

    @property
    def bed(self) -> np.ndarray: ...

    def run(self, until: float, courant: float) -> None:
        """Advance to a time."""

    def coarsened(self, scale: int) -> Any:
        """Return the flow at this time on a grid that is `scale` times coarser."""


@dataclass(frozen=True)
class Family:
    """Initial state and sampling in time of a family of flows. The domain side and gravity are 1.

    Attributes:
        start: Function that returns the flow at t = 0, given a seeded generator, the number of cells per side, and for a forced
            flow the keyword `phase` (0 to 1), the part of the forcing's cycle at t = 0.
        spin_up: Time of the first frame.
        interval: Time between frames.
        courant: Time step in units of the cell size (waves travel at up to 3).
        range: Values of the first quantity that are stored as -10 and 10, equal for every seed.
        cyclic: Whether the flow is forced in cycles; each trajectory then begins at another phase.
        symmetries: Symmetries of the frames' statistics, for augmentation. On a rotating plane a mirror image is not a
            solution, because cyclones and anticyclones differ. (The tide has a sense of rotation too, but its effect on single
            frames is within the noise.)
        names: Names of the quantities, first the one that is learned if no variable is named.
        package: Python package of the solver if it is not that of vsr.
        nodes: Whether values are those of grid points: then LR pixel k lies on HR pixel `scale` k, otherwise it is the mean of
            a block.
    """

    start: Callable[..., Any]
    spin_up: float
    interval: float
    courant: float
    range: tuple[float, float]
    cyclic: bool = False
    symmetries: tuple[str, ...] = ("flip_y", "flip_x", "transpose")
    # Not in the text of a family, which names cached files.
    names: tuple[str, ...] = field(default=("h", "u", "v"), repr=False)
    package: str | None = field(default=None, repr=False)
    nodes: bool = field(default=False, repr=False)


def _grid(cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates (y, x) of the cell centres, each (cells, cells)."""
    y, x = (np.mgrid[:cells, :cells] + 0.5) / cells
    return y, x


def draw_family_field(rng: np.random.Generator, cells: int, wavenumber: float, width: float) -> np.ndarray:
    """Draw a periodic Gaussian random field of zero mean and unit variance, (cells, cells).

    Noise is drawn on wavenumbers, not on cells, so that one seed gives the same field at each resolution.

    Args:
        rng: Random generator.
        cells: Number of grid cells per side.
        wavenumber: Number of waves per side at the centre of the ring of wavenumbers that holds the energy.
        width: Width of the ring relative to `wavenumber`.

    Raises:
        ValueError: If the grid is too coarse for the ring.
    """
    reach = int(np.ceil(wavenumber * (1 + 4 * width)))
    if reach >= cells // 2:
        raise ValueError(f"{cells} cells cannot carry {reach} waves")
    k = np.arange(-reach, reach + 1)
    radius = np.hypot(k[:, None], k[None, :])
    noise = rng.standard_normal((2, k.size, k.size))
    weight = np.exp(-0.5 * ((radius - wavenumber) / (width * wavenumber)) ** 2)
    weight[radius == 0] = 0
    spectrum = np.zeros((cells, cells), complex)
    spectrum[np.ix_(k % cells, k % cells)] = weight * (noise[0] + 1j * noise[1])
    field = np.fft.ifft2(spectrum).real
    return (field - field.mean()) / field.std()


def tide_family(rng: np.random.Generator, cells: int, *, phase: float = 0.0, momentum: float = 1.2) -> ShallowWater:
    """Return a statistically steady tidal flow over random hills, near the critical speed, with passing hydraulic jumps.

    The mean momentum is relaxed towards a vector of length `momentum` that turns once per 3 time units, from `phase` turns on.
    """
    hills = 0.15 * draw_family_field(rng, cells, wavenumber=4, width=0.4)
    bed = np.minimum(hills - hills.min(), 0.9)
    h = np.maximum(1.6 - bed, 0.2)

    def pull(flow: ShallowWater) -> tuple[float, float]:
        h, hu, hv = (float(a.mean(dtype=np.float64)) for a in flow.state)
        angle = 2 * np.pi * (flow.time / 3 + phase)
        return 6 * (momentum * np.cos(angle) - hu) / h, 6 * (momentum * np.sin(angle) - hv) / h

    u, v = (np.full_like(h, 0.9 * component(2 * np.pi * phase)) for component in (np.cos, np.sin))
    return ShallowWater(h, u, v, bed=bed, body_force=pull)


def bores_family(rng: np.random.Generator, cells: int, *, shallow: float = 0.6) -> ShallowWater:
    """Return a flow in which three columns of water, 2 deep, collapse into water of depth `shallow` and their bores collide.

    The columns are discs and rotated boxes. Nothing forces the flow, so trajectories are short.
    """
    y, x = _grid(cells)
    h = np.full((cells, cells), shallow)
    for k in range(3):
        cy, cx = rng.uniform(0, 1, 2)
        dy, dx = (y - cy + 0.5) % 1 - 0.5, (x - cx + 0.5) % 1 - 0.5
        angle = rng.uniform(0, np.pi)
        radius = rng.uniform(0.05, 0.13)
        half = rng.uniform((0.03, 0.05), (0.12, 0.20))
        if k % 2 == 0:
            inside = np.hypot(dx, dy) < radius
        else:
            along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
            inside = (abs(along) < half[0]) & (abs(across) < half[1])
        h[inside] = 2.0
    return ShallowWater(h, np.zeros_like(h), np.zeros_like(h))


def turbulence_family(rng: np.random.Generator, cells: int) -> ShallowWater:
    """Return a flow of eddies in geostrophic balance (Rossby radius 0.03, Froude number 0.15), kept up by linear forcing."""
    coriolis = 1 / 0.03
    psi = draw_family_field(rng, cells, wavenumber=12, width=0.3)
    k = np.fft.fftfreq(cells, 1 / cells) * 2 * np.pi
    spectrum = np.fft.fft2(psi)
    u = np.fft.ifft2(-1j * k[:, None] * spectrum).real
    v = np.fft.ifft2(1j * k[None, :] * spectrum).real
    amplitude = 0.15 / np.sqrt(np.mean(u * u + v * v))
    return LinearlyForcedFlow(1 + coriolis * amplitude * psi, amplitude * u, amplitude * v, coriolis=coriolis)


class LinearlyForcedFlow(ShallowWater):
    """Flow of constant kinetic energy: the velocity is scaled after every step (linear forcing, Lundgren 2003).

    The energy is that before the first step, so that a flow that is `coarsened` keeps the energy of the scales that it resolves.
    """

    def step(self, dt: float) -> None:
        if not hasattr(self, "_energy"):
            self._energy = self._kinetic()
        super().step(dt)
        self.state[1:] *= np.sqrt(self._energy / self._kinetic())

    def _kinetic(self) -> float:
        h, hu, hv = self.state
        return float(np.mean((hu * hu + hv * hv) / h, dtype=np.float64))


# Other regimes of the same equations, for testing: supercritical flow, and a depth ratio of 8 instead of 3.3.
def strong_tide_family(rng: np.random.Generator, cells: int, *, phase: float = 0.0) -> ShallowWater:
    """Return the flow of `tide_family`, driven beyond the critical speed."""
    return tide_family(rng, cells, phase=phase, momentum=1.8)


def thin_bores_family(rng: np.random.Generator, cells: int) -> ShallowWater:
    """Return the flow of `bores_family` over thinner water, which has steeper and faster fronts."""
    return bores_family(rng, cells, shallow=0.25)


TURNS = ("half_turn", "quarter_turn")
GOLDEN = (5**0.5 - 1) / 2  # its multiples modulo 1 are spread evenly, however many there are
FAMILIES: dict[str, Family] = {
    "tide": Family(tide_family, 0.6, 0.025, 0.15, (0.0, 3.0), cyclic=True),
    "bores": Family(bores_family, 0.05, 0.01, 0.15, (0.0, 3.0)),
    "strong_tide": Family(strong_tide_family, 0.6, 0.025, 0.15, (0.0, 3.0), cyclic=True),
    "thin_bores": Family(thin_bores_family, 0.05, 0.01, 0.15, (0.0, 3.0)),
    "turbulence": Family(turbulence_family, 0.5, 0.015, 0.2, (0.5, 1.5), symmetries=TURNS),
}
# Flows for pairs of runs alone. A gyre has walls, wind and a beta plane, so that no turned or mirrored frame is a solution.
PAIRED_FAMILIES: Mapping[str, Family] = ChainMap(
    FAMILIES,
    {
        "gyre": Family(
            *(gyre_family, 0.0, 10.0, COURANT, (-6e4, 6e4)), symmetries=(), names=("q", "psi"), package="qgpython", nodes=True
        )
    },
)


@dataclass(frozen=True)
class Trajectory:
    """Depth h and velocity u, v, each (T, H, W), and bed (H, W) of one simulation, at the kept cells; float32, solver units."""

    h: np.ndarray
    u: np.ndarray
    v: np.ndarray
    bed: np.ndarray


@dataclass(frozen=True)
class SimulationJob:
    """Description of one simulation that can be sent to another process.

    Attributes:
        family: Name in FAMILIES.
        seed: Integers that form the seed; the last one is the number of the trajectory in its part of the data.
        cells: Number of grid cells per side.
        sampling: Step in cells; every sampling-th cell is kept.
        frames: Number of frames.
    """

    family: str
    seed: tuple[int, ...]
    cells: int
    sampling: int
    frames: int


def simulate_family(job: SimulationJob, *, tick: Callable[[], None] | None = None) -> Trajectory:
    """Simulate one trajectory of a family of flows; equal jobs give equal bits.

    Args:
        job: Description of the simulation.
        tick: Function that is called after each frame.

    Raises:
        FloatingPointError: If the flow blows up.
    """
    family, flow = FAMILIES[job.family], start_family(job.family, job.seed, job.cells)
    pick = slice(job.sampling // 2, None, job.sampling)
    frames = []
    for k in range(job.frames):
        flow.run(family.spin_up + k * family.interval, family.courant)
        frames.append(np.stack([flow.h, *flow.velocity])[:, pick, pick].astype(np.float32))
        if tick is not None:
            tick()
    h, u, v = np.stack(frames, axis=1)
    return Trajectory(h, u, v, flow.bed[pick, pick].astype(np.float32))


def simulate_pair(
    family: str,
    seed: tuple[int, ...],
    cells: int,
    scale: int,
    frames: int,
    window: int,
    *,
    tick: Callable[[], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first quantity of `simulate_pair_of_states`, whose arguments it takes: (frames, h, w) and (frames, H, W)."""
    lr, hr, _ = simulate_pair_of_states(family, seed, cells, scale, frames, window, tick=tick)
    return np.ascontiguousarray(lr[:, 0]), np.ascontiguousarray(hr[:, 0])


def simulate_pair_of_states(
    family: str,
    seed: tuple[int, ...],
    cells: int,
    scale: int,
    frames: int,
    window: int,
    *,
    tick: Callable[[], None] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulate one trajectory of a family on a fine grid and, beside it, on a grid of cells that are `scale` times as wide.

    The coarse run begins at the first frame, from the block means of the fine run (or its values at the shared points), and
    again every `window` frames. In between, the two know nothing of each other. Both solve the same equations, each with the time
    step of its own grid.

    Args:
        family: Name in PAIRED_FAMILIES.
        seed: Integers that form the seed, as in `SimulationJob`.
        cells: Number of cells per side of the fine grid, a multiple of `scale`.
        scale: Fine cells per coarse cell along each side.
        frames: Number of frames.
        window: Number of frames from one start of the coarse run to the next; the first of them is the start itself.
        tick: Function that is called after each frame.

    Returns:
        The quantities of the coarse run, (frames, quantities, cells / scale, cells / scale), and of the fine run, (frames,
        quantities, cells, cells), and the bed of the fine run, (cells, cells); float32, solver units.

    Raises:
        FloatingPointError: If one of the flows blows up.
    """
    known: Family = PAIRED_FAMILIES[family]
    flow: Flow = start_family(family, seed, cells)
    pairs = []
    for k in range(frames):
        now = known.spin_up + k * known.interval
        flow.run(now, known.courant)
        if k % window == 0:
            coarse: Flow = flow.coarsened(scale)
        else:
            coarse.run(now, known.courant)
        pairs.append(tuple(side.fields.astype(np.float32) for side in (coarse, flow)))
        if tick is not None:
            tick()
    low, high = (np.stack(side) for side in zip(*pairs, strict=True))
    return low, high, flow.bed.astype(np.float32)


def start_family(family: str, seed: tuple[int, ...], cells: int) -> Any:
    """Return the flow of a trajectory at t = 0: a `ShallowWater`, or a `Gyre`."""
    known = PAIRED_FAMILIES[family]
    return known.start(np.random.default_rng(seed), cells, **_phase(seed) if known.cyclic else {})


def _phase(seed: tuple[int, ...]) -> dict[str, float]:
    """Return the phase of a trajectory: random for the first of a part, spread evenly over the cycle for all of them."""
    *part, number = seed
    return {"phase": (np.random.default_rng(part).uniform() + number * GOLDEN) % 1}
