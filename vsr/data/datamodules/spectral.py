"""Data module of simulated two-dimensional turbulence (passive scalar or vorticity), generated once and cached."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch

from vsr.data.base import SRDataModule
from vsr.data.cache import cache_path, generate_in_parallel, load_cached_or_generate
from vsr.data.simulation.turbulence import BOUNDS, INTERVAL, LEAST_CELLS, simulate_turbulence
from vsr.data.splits import Split
from vsr.errors import UserError
from vsr.types import Movie

VERSION = 1  # of the generator; raise it when the same parameters give other values, so that no stale cache is read
TRAJECTORIES = 2  # in each part


class SpectralDataModule(SRDataModule):
    """Statistically steady two-dimensional turbulence. A second test split, `unseen`, has other seeds.

    Args:
        field: "scalar" (stirred against a mean gradient along y: plateaus and cliffs) or "vorticity", in the solver's units.
        size: Number of pixels per side of a frame.
        sampling: Solver cells per pixel: the solver has size * sampling cells per side, and every sampling-th cell is kept.
        seed: Seed of all trajectories.
        learn: Number of frames to learn from (a fifth of them for validation), over two trajectories.
        test: Number of frames to test on, the last frames of the two trajectories; `unseen` has as many frames.
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
        learn: int = 120,
        test: int = 50,
        cache: str | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.name, self.field = f"spectral-{field}", field
        self.bounds = BOUNDS[field]
        # A reflection changes the sign of the vorticity, and one in y also the sign of the scalar's gradient; only flip_x of the
        # scalar remains. (A half turn is a symmetry of the vorticity, but two independent flips are not.)
        self.symmetries = ("flip_x",) if field == "scalar" else ()
        if size < 16 or sampling < 1 or size * sampling < LEAST_CELLS:
            raise UserError(
                f"data.size={size} with data.sampling={sampling}: frames need 16 px, the solver {LEAST_CELLS} cells per side; "
                f"type data.size=72 data.sampling=3"
            )
        if learn < 1 or test < 1 or learn % TRAJECTORIES or test % TRAJECTORIES:
            raise UserError(
                f"data.learn={learn}, data.test={test}: both must be positive and even; type data.learn=120 data.test=50"
            )
        if seed < 0:
            raise UserError(f"data.seed={seed}: must be 0 or more; type data.seed=0")
        self.split = Split(learn=learn, test=test)
        lengths = {"main": (learn + test) // TRAJECTORIES, "unseen": test // TRAJECTORIES}
        self.calls = {
            f"{part}/{k}": ((seed, number, k), size * sampling, sampling, lengths[part])
            for number, part in enumerate(lengths)
            for k in range(TRAJECTORIES)
        }
        self.path = cache_path(cache, f"{self.name}-{size}px", {"version": VERSION, "field": field, "calls": self.calls})
        self._made: dict[str, Movie] = {}

    def movies(self) -> list[Movie]:
        """Return the trajectories that are cut into train, val and test."""
        return self._part("main")

    def extra_test_splits(self) -> dict[str, list[Movie]]:
        """Return the test split `unseen`, trajectories of other seeds."""
        return {"unseen": self._part("unseen")}

    def _part(self, part: str) -> list[Movie]:
        if not self._made:
            meta: dict[str, Any] = {"units": "1", "dt": INTERVAL, "periodic": True}
            arrays = load_cached_or_generate(self.path, list(self.calls), self._generate)
            self._made = {
                name: Movie(torch.from_numpy(values).unsqueeze(0), f"{self.path}:{name}", meta) for name, values in arrays.items()
            }
        return [movie for name, movie in self._made.items() if name.startswith(part)]

    def _generate(self) -> list[Any]:
        frames = sum(call[-1] for call in self.calls.values())
        try:
            simulate = partial(simulate_turbulence, field=self.field)
            return generate_in_parallel(simulate, list(self.calls.values()), frames, f"generating turbulence ({self.field})")
        except FloatingPointError as error:
            raise UserError(f"{self.name}: {error}; type another data.seed") from error
