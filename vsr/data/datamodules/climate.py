"""Data module of fields in a file of the user, or of simulated shallow-water heights that are generated once and cached."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from vsr.data.base import SRDataModule
from vsr.data.cache import cache_path, generate_in_parallel, load_cached_or_generate
from vsr.data.file_movies import file_movies, set_common_offset, variables_of
from vsr.data.simulation.families import FAMILIES, SimulationJob, simulate_family
from vsr.data.splits import Split
from vsr.errors import UserError
from vsr.types import Movie

Symmetry = Literal["flip_y", "flip_x", "half_turn", "transpose", "quarter_turn"]
VERSION = 1  # of the generator; raise it when the same parameters give other values, so that no stale cache is read
STORED = (-10.0, 10.0)  # the range of the report's own file
FIELDS = ("h", "u", "v", "bed")  # of each trajectory, in the cached file


class ClimateDataModule(SRDataModule):
    """Movies of an array file, or simulated shallow water: depths scaled to (-10, 10), with a second test split `unseen`.

    Args:
        path: Array file (.mat 4 to 7.3, HDF5, NetCDF, Zarr, .npy or .npz); a folder, a pattern such as "*.nc" or a list of files,
            which are joined along time; None simulates shallow water.
        variable: Name of a variable in the file, or several names that become channels; None for a file with one variable. A
            name with * stands for several variables that are a movie each: "*/data".
        axes: Meaning of the array's axes in the file's order, from n (movies), c (channels), t, y, x: "tyx", "xyt", "nyxt", ...
            None for a file that names its dimensions.
        select: Dimension -> value, for an array with more dimensions than a movie: {"level": 500} takes the level 500, {"level":
            {"index": 0}} the first level, {"member": "all"} every member as a movie of its own.
        missing: Physical value, or values, that mean "missing", besides those that the file declares; they become NaN.
        bounds: Physical values that become 0 and 1; None for the range of the training frames (simulated: -10, 10). Several
            variables have a range each, {"t": (230, 310)} gives some of them.
        symmetries: Symmetries that leave the law of the file's field unchanged; each is applied to half of the batches.
        by: "time" cuts every movie of the file, "trajectory" gives whole movies to each part. None is "trajectory" for a file
            of four or more movies, otherwise "time".
        frames: Frames of each movie to use: the first N, or [START,STOP], which leaves out a spin-up; None for all.
        max_bytes: Largest size in bytes, as float32, that a file may declare.
        geostrophic: True if the file's field is the height of a fluid on a rotating plane, so that its vorticity is scored too.
        family: "tide" (hydraulic jumps in a tidal flow over hills), "bores" (collapsing columns of water), "turbulence"
            (rotating eddies), "strong_tide" (stronger forcing) or "thin_bores" (larger depth ratio).
        size: Number of pixels per side of a simulated frame.
        sampling: Solver cells per pixel: the solver has size * sampling cells per side, and every sampling-th cell is kept.
        seed: Seed of all simulated trajectories.
        learn: Number of frames to learn from, or for a file a share below 1; None for 120 simulated frames or 0.7 of a file.
        test: Number of frames to test on, or for a file a share below 1; None for 50 simulated frames or 0.3 of a file.
            `unseen` has as many frames.
        val: Share of the learning frames that is held out for validation.
        gap: Number of frames left out between the parts.
        cache: Folder of simulated files; None for $VSR_CACHE or ~/.cache/vsr.
        shared: Arguments of `SRDataModule`.

    Raises:
        UserError: If a file cannot be read, or if the frames cannot be simulated.
    """

    def __init__(
        self,
        *,
        path: str | list[str] | None = None,
        variable: str | list[str] | None = None,
        axes: str | None = None,
        select: dict[Any, Any] | None = None,
        missing: float | list[float] | None = None,
        bounds: tuple[float, float] | dict[str, tuple[float, float]] | None = None,
        symmetries: list[Symmetry] | None = None,
        by: Literal["time", "trajectory"] | None = None,
        frames: int | list[int] | None = None,
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
        self.flows: SimulatedFlows | None = None
        rule: Literal["time", "trajectory"]
        if path is None:
            learned, tested = int(120 if learn is None else learn), int(50 if test is None else test)
            self.flows = SimulatedFlows(family, size, sampling, seed, learned, tested, cache)
            self.name, self.bounds, self.geostrophic = f"climate-{family}", STORED, family == "turbulence"
            rule, self.symmetries = self.flows.flow.split, self.flows.flow.symmetries
            self.split = Split(by=rule, learn=learned, test=tested, val=val, gap=gap)
            return
        self.read = file_movies(path, variable, axes, select, missing, frames, max_bytes)
        self.name = Path(path).expanduser().name if isinstance(path, str) else f"{Path(path[0]).name} and {len(path) - 1} more"
        self.symmetries = tuple(symmetries or ())
        self.geostrophic = geostrophic
        self.variables = variables_of(self.read)
        self.declare_bounds(bounds)
        whole = by == "trajectory" or (by is None and len(self.read) >= 4)
        rule = "trajectory" if whole else "time"
        self.split = Split(by=rule, learn=0.7 if learn is None else learn, test=0.3 if test is None else test, val=val, gap=gap)

    def movies(self) -> list[Movie]:
        """Return the file's movies, or the simulated trajectories for train, val and test."""
        if self.flows is not None:
            return self.flows.trajectories()["main"]
        self.offset = set_common_offset(self.read)
        return [*self.read]

    def extra_test_splits(self) -> dict[str, list[Movie]]:
        """Return the test split `unseen`: simulations of other seeds (other hills, columns or eddies); empty for a file."""
        return {} if self.flows is None else {"unseen": self.flows.trajectories()["unseen"]}


class SimulatedFlows:
    """Simulated trajectories of a family of flows, cached in a file whose name contains a hash of all parameters.

    `ClimateDataModule` describes the arguments.

    Raises:
        UserError: If the size or the number of frames cannot be simulated.
    """

    def __init__(self, family: str, size: int, sampling: int, seed: int, learn: int, test: int, cache: str | None) -> None:
        self.family, self.size, self.sampling, self.flow = family, size, sampling, FAMILIES[family]
        if size < 16 or sampling < 1 or size * sampling < 64:
            raise UserError(f"data.size={size} with data.sampling={sampling}: frames need 16 px, the solver 64 cells per side")
        length, whole = self.flow.frames, self.flow.split == "trajectory"
        if whole and (learn % length or test % length):
            raise UserError(
                f"data.family={family} comes in trajectories of {length} frames; type data.learn and data.test as multiples of it"
            )
        movies = self.flow.movies
        count, tests = ((learn + test) // length, test // length) if whole else (movies, movies)
        if learn < 1 or test < 1 or (learn + test) % count or test % tests:
            raise UserError(f"data.learn={learn}, data.test={test}: both, and their sum, must be multiples of {movies}")
        self.jobs = {
            "main": [self._job((seed, 0, k), (learn + test) // count) for k in range(count)],
            "unseen": [self._job((seed, 1, k), test // tests) for k in range(tests)],
        }
        # The hash in the file's name covers everything that the values depend on.
        parameters = {"version": VERSION, "family": repr(replace(self.flow, start=None, symmetries=())), "jobs": repr(self.jobs)}  # type: ignore[arg-type]
        self.path = cache_path(cache, f"climate-{family}-{size}px", parameters)
        self._made: dict[str, list[Movie]] = {}

    def _job(self, seed: tuple[int, ...], frames: int) -> SimulationJob:
        return SimulationJob(self.family, seed, self.size * self.sampling, self.sampling, frames)

    def trajectories(self) -> dict[str, list[Movie]]:
        """Return the movies of the parts "main" and "unseen", read from the cache or simulated with a progress bar."""
        if not self._made:
            names = {part: [f"{part}/{k:03d}" for k in range(len(jobs))] for part, jobs in self.jobs.items()}
            every = [f"{name}/{field}" for found in names.values() for name in found for field in FIELDS]
            arrays = load_cached_or_generate(self.path, every, self._generate)
            meta: dict[str, Any] = {"units": "scaled depth", "dt": self.flow.interval, "periodic": True}
            self._made = {
                part: [Movie(torch.from_numpy(arrays[f"{name}/h"]).unsqueeze(0), f"{self.path}:{name}", meta) for name in found]
                for part, found in names.items()
            }
        return self._made

    def _generate(self) -> list[np.ndarray]:
        """Simulate every trajectory and return its depth h (scaled to STORED), u, v and bed, in the order of FIELDS."""
        jobs = [job for part in self.jobs.values() for job in part]
        label = f"generating climate data ({self.family})"
        try:
            runs = generate_in_parallel(simulate_family, [(job,) for job in jobs], sum(job.frames for job in jobs), label)
        except FloatingPointError as error:
            raise UserError(f"data.family={self.family}, data.size={self.size}: {error}") from error
        low, high = self.flow.range
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
