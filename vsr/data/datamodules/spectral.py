"""Data module of simulated two-dimensional turbulence (passive scalar or vorticity), generated once and cached."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch

from vsr.data.base import SRDataModule
from vsr.data.cache import cache_path, generate_in_parallel, load_cached_or_generate
from vsr.data.simulation.turbulence import BOUNDS, INTERVAL, LEAST_CELLS, simulate_turbulence
from vsr.data.splits import TRAJECTORY, Split, count_trajectories
from vsr.errors import UserError
from vsr.types import Movie

VERSION = 2  # of the generator; raise it when the same parameters give other values, so that no stale cache is read


class SpectralDataModule(SRDataModule):
    """Trajectories of statistically steady two-dimensional turbulence, each of them wholly in one split.

    Args:
        field: "scalar" (stirred against a mean gradient along y: plateaus and cliffs) or "vorticity", in the solver's units.
        size: Number of pixels per side of a frame.
        sampling: Solver cells per pixel: the solver has size * sampling cells per side, and every sampling-th cell is kept.
        seed: Seed of all trajectories.
        frames: Number of frames of each trajectory.
        learn: Number of frames to learn from, a fifth of them for validation.
        test: Number of frames to test on.
        cache: Folder of simulated files; None for $VSR_CACHE or ~/.cache/vsr.
        shared: Arguments of `SRDataModule`.

    Raises:
        UserError: If the size or the number of frames cannot be simulated.
    """

    def __init__(
        self,
        *,
        field: Literal["scalar", "vorticity"] = "scalar",
        size: int = 72,
        sampling: int = 3,
        seed: int = 0,
        frames: int = TRAJECTORY,
        learn: int = 150,
        test: int = 80,
        cache: str | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**{"crop": False, **shared})
        self.name, self.field = f"spectral-{field}-{VERSION}", field
        self.bounds = BOUNDS[field]
        # A reflection changes the sign of the vorticity, and one in y also the sign of the scalar's gradient; only flip_x of the
        # scalar remains. (A half turn is a symmetry of the vorticity, but two independent flips are not.)
        self.symmetries = ("flip_x",) if field == "scalar" else ()
        if size < 16 or sampling < 1 or size * sampling < LEAST_CELLS:
            raise UserError(
                f"data.size={size} with data.sampling={sampling}: frames need 16 px, the solver {LEAST_CELLS} cells per side; "
                f"type data.size=72 data.sampling=3"
            )
        if seed < 0:
            raise UserError(f"data.seed={seed}: must be 0 or more; type data.seed=0")
        self.split = Split(by="trajectory", learn=learn, test=test)
        counts = count_trajectories(learn, test, frames)
        self.calls = {
            f"{part}/{k:03d}": ((seed, number, k), size * sampling, sampling, frames)
            for number, part in enumerate(("learn", "test"))
            for k in range(counts[number])
        }
        self.path = cache_path(cache, f"{self.name}-{size}px", {"version": VERSION, "field": field, "calls": self.calls})
        self._made: list[Movie] = []

    def movies(self) -> list[Movie]:
        """Return the trajectories, first those to learn from, then those to test on."""
        if not self._made:
            meta: dict[str, Any] = {"units": "1", "dt": INTERVAL, "periodic": True}
            arrays = load_cached_or_generate(self.path, list(self.calls), self._generate)
            self._made = [Movie(torch.from_numpy(arrays[name]).unsqueeze(0), f"{self.path}:{name}", meta) for name in self.calls]
        return self._made

    def _generate(self) -> list[Any]:
        frames = sum(call[-1] for call in self.calls.values())
        try:
            simulate = partial(simulate_turbulence, field=self.field)
            return generate_in_parallel(simulate, list(self.calls.values()), frames, f"generating turbulence ({self.field})")
        except FloatingPointError as error:
            raise UserError(f"{self.name}: {error}; type another data.seed") from error
