"""Data module of generated pairs: the flows of data=climate on a fine grid (HR) and, beside it, on a coarse grid (LR)."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import torch

from vsr.data.cache import cache_path, generate_in_parallel, load_cached_or_generate
from vsr.data.paired import PairedDataModule, PairedMovie
from vsr.data.simulation.families import PAIRED_FAMILIES, simulate_pair, simulate_pair_of_states
from vsr.data.splits import TRAJECTORY, Split, count_trajectories
from vsr.errors import UserError
from vsr.types import Movie

VERSION = 1  # of the generator; raise it when the same parameters give other values, so that no stale cache is read
LEAST_CELLS, LEAST_COARSE = 64, 16  # per side of the fine and of the coarse grid
SIDES = ("lr", "hr")  # of each trajectory, in the cached file
STATES = (*SIDES, "bed")  # in the cached file where other quantities than the first, or the bed, are asked for


class CoarseDataModule(PairedDataModule):
    """Trajectories of a family of flows, solved twice: HR on a fine grid, LR on a grid that is `scale` times coarser.

    The coarse run begins from the block means of the fine run, and again every `window` frames. Values are in the
    solver's units, of the cells themselves: LR pixels lie in the middle of their blocks. Those of "gyre" are of grid points, and
    LR pixel k lies on HR pixel `scale` k.

    Args:
        family: Name of the family of flows, as in `ClimateDataModule`, or "gyre": ocean eddies of another solver, qg-python.
        size: Number of cells per side of the fine grid, a multiple of the scale.
        window: Number of frames from one start of the coarse run to the next; the first of them is the start itself.
        inputs: Further planes that the network sees: "time" (since the last start of the coarse run, 1 at the last frame before
            the next) and "position" (y and x from -1 to 1).
        variable: Some of "h" (depth), "u" and "v" (velocity along x and y), of both runs, as channels with a range each; None
            for the depth alone. Those of "gyre" are "q" (potential vorticity; None stands for it) and "psi" (stream function).
        static: "bed" for the bed of the fine run, which the network sees; None for none.
        seed: Seed of all trajectories.
        frames: Number of frames of each trajectory.
        learn: Number of frames to learn from.
        test: Number of frames to test on.
        val: Share of the learning frames that is held out for validation.
        cache: Folder of generated files; None for $VSR_CACHE or ~/.cache/vsr.
        shared: Arguments of `SRDataModule`.

    Raises:
        UserError: If the sizes or the numbers of frames cannot be simulated.
    """

    key = "data=coarse"

    def __init__(
        self,
        *,
        family: Literal["tide", "bores", "turbulence", "strong_tide", "thin_bores", "gyre"] = "tide",
        size: int = 144,
        window: int = 10,
        inputs: list[Literal["time", "position"]] | None = None,
        variable: list[Literal["h", "u", "v", "q", "psi"]] | None = None,
        static: Literal["bed"] | None = None,
        seed: int = 0,
        frames: int = TRAJECTORY,
        learn: int = 150,
        test: int = 80,
        val: float = 0.2,
        cache: str | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(inputs=inputs, **shared)
        if size % self.scale or size < LEAST_CELLS or size // self.scale < LEAST_COARSE:
            least = max(LEAST_COARSE, -(-LEAST_CELLS // self.scale)) * self.scale
            raise UserError(
                f"data.size={size}: the fine grid needs a multiple of scale={self.scale}, {least} cells per side or more; type "
                f"data.size={max(least, size // self.scale * self.scale)}"
            )
        if window < 2:
            raise UserError(
                f"data.window={window}: the coarse run would be block means of the fine run; type data.window=2 or more"
            )
        if seed < 0:
            raise UserError(f"data.seed={seed}: must be 0 or more; type data.seed=0")
        self.name, self.family, self.window, self.flow = f"coarse-{family}-{VERSION}", family, window, PAIRED_FAMILIES[family]
        names = self._names(variable)
        first = self.flow.names[0]
        self.variables = () if names == [first] else tuple(names)
        self.states, self.static_names = bool(self.variables) or static is not None, () if static is None else (static,)
        self.declare_bounds({first: self.flow.range} if first in self.variables else {} if self.variables else self.flow.range)
        self.geostrophic = family == "turbulence" and not self.variables
        if self.flow.nodes:
            self.alignment, place = (0.0, 0.0), "LR pixel k on HR pixel scale*k: LR begins from values of HR"
        else:
            self.alignment, place = ((self.scale - 1) / 2,) * 2, "cell: LR begins from block means of HR"
        self.where = f"{place}, every {window} frames anew"
        self.symmetries = () if "position" in self.inputs else self.flow.symmetries  # of both runs
        if {"u", "v"} <= set(names):
            self.declare_vectors([["u", "v"]])
        elif {"u", "v"} & set(names):
            self.symmetries = ()  # one component alone does not turn
        self.split = Split(by="trajectory", learn=learn, test=test, val=val)
        counts = count_trajectories(learn, test, frames)
        # The trajectories to test on do not depend on the number of those to learn from.
        self.calls = {
            f"{part}/{k:03d}": (family, (seed, number, k), size, self.scale, frames, window)
            for number, part in enumerate(("learn", "test"))
            for k in range(counts[number])
        }
        # The hash in the file's name covers everything that the values depend on.
        parameters = {"version": VERSION, "family": repr(replace(self.flow, start=None, symmetries=())), "calls": self.calls}  # type: ignore[arg-type]
        label = f"{self.name}-x{self.scale}-{size}px{'-states' if self.states else ''}"
        self.path = cache_path(cache, label, parameters | ({"fields": STATES} if self.states else {}))
        self.read: list[PairedMovie] = []

    def _names(self, variable: list[Any] | None) -> list[str]:
        """Return the names of the channels. Raises UserError for what the family does not have, or if its solver is missing."""
        known = self.flow.names
        for name in variable or ():
            if name not in known:
                raise UserError(
                    f"data.variable=[{name}]: data.family={self.family} has {', '.join(known)}; type data.variable=[{known[0]}]"
                )
        if self.flow.package is not None and find_spec(self.flow.package) is None:
            raise UserError(
                f"data.family={self.family}: needs the solver {self.flow.package}; type: pip install 'vsr-movies[solvers]'"
            )
        return list(dict.fromkeys(variable or known[:1]))

    def movies(self) -> list[Movie]:
        """Return the trajectories, read from the cache or simulated: first those to learn from, then those to test on."""
        if not self.read:
            kept = STATES if self.states else SIDES
            every = [f"{name}/{side}" for name in self.calls for side in kept]
            arrays = load_cached_or_generate(self.path, every, self._generate)
            chosen = [self.flow.names.index(name) for name in self.variables or self.flow.names[:1]]
            meta: dict[str, Any] = {"units": "1", "dt": self.flow.interval, "periodic": not self.flow.nodes}
            for name in self.calls:
                lr, hr = (torch.from_numpy(arrays[f"{name}/{side}"]) for side in SIDES)
                lr, hr = (x[:, chosen].transpose(0, 1).contiguous() if self.states else x.unsqueeze(0) for x in (lr, hr))
                count = hr.shape[1]
                self.read.append(
                    PairedMovie(
                        *(hr, lr, f"{self.path}:{name}", meta),
                        lead=np.arange(count) % self.window * self.flow.interval,
                        lead_unit="1",
                        lead_step=self.flow.interval,
                        runs=[(a, min(a + self.window, count)) for a in range(0, count, self.window)],
                        runs_up=[True, True],
                    )
                )
                if self.static_names:
                    self.read[-1].static = torch.from_numpy(arrays[f"{name}/bed"]).unsqueeze(0)
        return [*self.read]

    def _generate(self) -> list[np.ndarray]:
        """Simulate every trajectory and return its first quantity, in the order of SIDES, or all, in that of STATES."""
        simulate: Any = simulate_pair_of_states if self.states else simulate_pair
        calls, label = list(self.calls.values()), f"generating coarse and fine runs ({self.family})"
        try:
            pairs = generate_in_parallel(simulate, calls, sum(call[-2] for call in calls), label)
        except FloatingPointError as error:
            raise UserError(f"{self.name}: {error}; type another data.seed") from error
        return [values for pair in pairs for values in pair]
