"""Climate data: a file of the user's, or height fields of the embedded shallow-water solver, generated once and cached."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from vsr.data.base import SRDataModule
from vsr.data.cache import cache_path, cached, run_in_parallel
from vsr.data.file_movies import file_movies
from vsr.data.simulation.families import FAMILIES
from vsr.data.simulation.generate import Job, simulate
from vsr.data.splits import Split
from vsr.errors import UserError
from vsr.types import Movie

Symmetry = Literal["flip_y", "flip_x", "half_turn", "transpose", "quarter_turn"]
VERSION = 1  # of the generator: raise it when the same parameters give other values, so that no stale cache is read
STORED = (-10.0, 10.0)  # the range of the report's own file
FIELDS = ("h", "u", "v", "bed")  # of each trajectory, in the cached file


class ClimateDataModule(SRDataModule):
    """Movies of fields: of a file, or depths of shallow-water flows in (-10, 10) with a second test split, `unseen`.

    Args:
        path: .mat (4 to 7.3), HDF5, NetCDF, Zarr, .npy or .npz; None generates.
        variable: its name in the file, or several as channels; None when there is only one.
        axes: what its indices mean, in the file's own order, from n (movies), c (channels), t, y, x: "tyx", "xyt", "nyxt", ...
            None when the file names its dimensions.
        bounds: the values that become 0 and 1; None for the least and the largest of the training frames (generated: -10, 10).
        symmetries: of "flip_y", "flip_x", "half_turn", "transpose", "quarter_turn", those that leave the law of the file's field
            unchanged; each is applied to half of the batches.
        by: "time" or "trajectory" (whole movies); None for whole movies where a file has at least four.
        max_bytes: the largest size as float32 that a file may declare.
        family: "tide" (hydraulic jumps in a tidal flow over hills, steady statistics), "bores" (falling columns, where time
            helps), "turbulence" (rotating eddies, the nearly linear control); "strong_tide" and "thin_bores": the first two under
            stronger forcing and with a larger depth ratio.
        size: pixels per side of a generated frame.
        sampling: the solver has size * sampling cells per side and each sampling-th one is kept.
        geostrophic: the file's field is the height of a fluid on a rotating plane: its vorticity is scored too.
        seed: of all generated trajectories.
        learn, test: frames, or shares below 1, to learn from and to test on; None for 120 and 50 (generated; `unseen` has as many
            as `test`) or 0.7 and 0.3 (file). val: share of the learning frames. gap: frames left out between the parts.
        cache: folder of generated files; None is $VSR_CACHE or ~/.cache/vsr.
        scale, degradation, recipe, crop, mask, memory: as in `SRDataModule`.

    Raises UserError for what cannot be read or generated.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        variable: str | list[str] | None = None,
        axes: str | None = None,
        bounds: tuple[float, float] | None = None,
        symmetries: list[Symmetry] | None = None,
        by: Literal["time", "trajectory"] | None = None,
        max_bytes: int = 2**40,
        geostrophic: bool = False,
        family: Literal["tide", "bores", "turbulence", "strong_tide", "thin_bores"] = "tide",
        size: int = 72,
        sampling: int = 3,
        seed: int = 0,
        learn: float | None = None,
        test: float | None = None,
        val: float = 0.2,
        gap: int = 0,
        cache: str | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.flows: Flows | None = None
        rule: Literal["time", "trajectory"]
        if path is None:
            learned, tested = int(120 if learn is None else learn), int(50 if test is None else test)
            self.flows = Flows(family, size, sampling, seed, learned, tested, cache)
            self.name, self.bounds, self.geostrophic = f"climate-{family}", STORED, family == "turbulence"
            rule, self.symmetries = self.flows.known.split, self.flows.known.symmetries
            self.split = Split(by=rule, learn=learned, test=tested, val=val, gap=gap)
            return
        self.read = file_movies(path, variable, axes, max_bytes)
        self.name, self.symmetries = Path(path).expanduser().name, tuple(symmetries or ())
        self.geostrophic = geostrophic
        self.bounds = None if bounds is None else (float(bounds[0]), float(bounds[1]))
        whole = by == "trajectory" or (by is None and len(self.read) >= 4)
        rule = "trajectory" if whole else "time"
        self.split = Split(by=rule, learn=0.7 if learn is None else learn, test=0.3 if test is None else test, val=val, gap=gap)

    def movies(self) -> list[Movie]:
        """The trajectories that are split into train, val and test."""
        return self.read if self.flows is None else self.flows.trajectories()["main"]

    def extra_test_splits(self) -> dict[str, list[Movie]]:
        """Generated: `unseen`, trajectories of other seeds, so other hills, columns or eddies."""
        return {} if self.flows is None else {"unseen": self.flows.trajectories()["unseen"]}


class Flows:
    """Generated trajectories of a family, cached in a file whose name is a hash of all that its values depend on.

    Arguments as in `ClimateDataModule`. Raises UserError for a size or a number of frames that cannot be generated.
    """

    def __init__(self, family: str, size: int, sampling: int, seed: int, learn: int, test: int, cache: str | None) -> None:
        self.family, self.size, self.sampling, self.known = family, size, sampling, FAMILIES[family]
        if size < 16 or sampling < 1 or size * sampling < 64:
            raise UserError(f"data.size={size} with data.sampling={sampling}: frames need 16 px, the solver 64 cells per side")
        length, whole = self.known.frames, self.known.split == "trajectory"
        if whole and (learn % length or test % length):
            raise UserError(
                f"data.family={family} comes in trajectories of {length} frames; type data.learn and data.test as multiples of it"
            )
        movies = self.known.movies
        count, tests = ((learn + test) // length, test // length) if whole else (movies, movies)
        if learn < 1 or test < 1 or (learn + test) % count or test % tests:
            raise UserError(f"data.learn={learn}, data.test={test}: both, and their sum, must be multiples of {movies}")
        self.jobs = {
            "main": [self._job((seed, 0, k), (learn + test) // count) for k in range(count)],
            "unseen": [self._job((seed, 1, k), test // tests) for k in range(tests)],
        }
        # Whatever the values depend on is part of the file's name.
        parameters = {"version": VERSION, "family": repr(replace(self.known, start=None, symmetries=())), "jobs": repr(self.jobs)}  # type: ignore[arg-type]
        self.path = cache_path(cache, f"climate-{family}-{size}px", parameters)
        self._made: dict[str, list[Movie]] = {}

    def _job(self, seed: tuple[int, ...], frames: int) -> Job:
        return Job(self.family, seed, self.size * self.sampling, self.sampling, frames)

    def trajectories(self) -> dict[str, list[Movie]]:
        """Movies of the parts "main" and "unseen"; generated, with a progress bar, when the cache has none or a damaged one."""
        if not self._made:
            names = {part: [f"{part}/{k:03d}" for k in range(len(jobs))] for part, jobs in self.jobs.items()}
            every = [f"{name}/{field}" for found in names.values() for name in found for field in FIELDS]
            arrays = cached(self.path, every, self._generate)
            meta: dict[str, Any] = {"units": "scaled depth", "dt": self.known.interval, "periodic": True}
            self._made = {
                part: [Movie(torch.from_numpy(arrays[f"{name}/h"]).unsqueeze(0), f"{self.path}:{name}", meta) for name in found]
                for part, found in names.items()
            }
        return self._made

    def _generate(self) -> list[np.ndarray]:
        """h (scaled to STORED), u, v and bed of every trajectory, in the order of FIELDS."""
        jobs = [job for part in self.jobs.values() for job in part]
        label = f"generating climate data ({self.family})"
        try:
            runs = run_in_parallel(simulate, [(job,) for job in jobs], sum(job.frames for job in jobs), label)
        except FloatingPointError as error:
            raise UserError(f"data.family={self.family}, data.size={self.size}: {error}") from error
        low, high = self.known.range
        arrays = []
        for run in runs:
            stored = STORED[0] + (run.h - low) / (high - low) * (STORED[1] - STORED[0])
            if not (STORED[0] < stored.min() and stored.max() < STORED[1]):
                raise UserError(
                    f"data.family={self.family}: depths of {run.h.min():.3g} to {run.h.max():.3g} leave ({low}, {high}); "
                    f"type another data.seed"
                )
            arrays += [stored.astype(np.float32), run.u, run.v, run.bed]
        return arrays
