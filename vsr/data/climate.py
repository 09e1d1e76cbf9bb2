"""Climate data: a file of the user's, or height fields of the embedded shallow-water solver, generated once and cached."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import torch

from vsr.data.base import SRDataModule
from vsr.data.files import file_movies
from vsr.data.splits import Split
from vsr.degradations import Degradation
from vsr.errors import UserError
from vsr.files import replacing
from vsr.physics.families import FAMILIES
from vsr.physics.generate import Job, Trajectory, simulate_all
from vsr.recipe import Recipe
from vsr.types import Movie

VERSION = 1  # of the generator: raise it when the same parameters give other values, so that no stale cache is read
STORED = (-10.0, 10.0)  # the range of the report's own file

log = logging.getLogger(__name__)


class ClimateDataModule(SRDataModule):
    """Movies of fields: of a file, or depths of shallow-water flows in (-10, 10) with a second test split, `unseen`.

    Args:
        path: .mat (4 to 7.3), HDF5, NetCDF, Zarr, .npy or .npz; None generates.
        variable: its name in the file, or several as channels; None when there is only one.
        axes: what its indices mean, in the file's own order, from n (movies), c (channels), t, y, x: "tyx", "xyt", "nyxt", ...
            None when the file names its dimensions.
        bounds: the values that become 0 and 1; None for the least and the largest of the training frames (generated: -10, 10).
        symmetries: of "flip_y", "flip_x", "transpose", those that leave the law of the file's field unchanged.
        by: "time" or "trajectory" (whole movies); None for whole movies where a file has at least four.
        max_bytes: the largest size as float32 that a file may declare.
        family: "tide" (hydraulic jumps in a tidal flow over hills, steady statistics), "bores" (falling columns, where time
            helps), "turbulence" (rotating eddies, the nearly linear control).
        size: pixels per side of a generated frame.
        sampling: the solver has size * sampling cells per side and each sampling-th one is kept.
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
        symmetries: list[Literal["flip_y", "flip_x", "transpose"]] | None = None,
        by: Literal["time", "trajectory"] | None = None,
        max_bytes: int = 2**40,
        family: Literal["tide", "bores", "turbulence"] = "tide",
        size: int = 72,
        sampling: int = 3,
        seed: int = 0,
        learn: float | None = None,
        test: float | None = None,
        val: float = 0.2,
        gap: int = 0,
        cache: str | None = None,
        scale: int,
        degradation: Degradation,
        recipe: Recipe,
        draw: int = 0,
        crop: bool = False,
        mask: bool = False,
        memory: float = 1024,
    ) -> None:
        super().__init__(scale=scale, degradation=degradation, recipe=recipe, seed=draw, crop=crop, mask=mask, memory=memory)
        self.flows: Flows | None = None
        rule: Literal["time", "trajectory"]
        if path is None:
            self.flows = Flows(family, size, sampling, seed, int(learn or 120), int(test or 50), cache)
            self.name, self.bounds = f"climate-{family}", STORED
            rule = self.flows.known.split
            self.split = Split(by=rule, learn=learn or 120, test=test or 50, val=val, gap=gap)
            return
        self.read = file_movies(path, variable, axes, max_bytes)
        self.name, self.symmetries = Path(path).expanduser().name, tuple(symmetries or ())
        self.bounds = None if bounds is None else (float(bounds[0]), float(bounds[1]))
        whole = by == "trajectory" or (by is None and len(self.read) >= 4)
        rule = "trajectory" if whole else "time"
        self.split = Split(by=rule, learn=0.7 if learn is None else learn, test=0.3 if test is None else test, val=val, gap=gap)

    def movies(self) -> list[Movie]:
        """The trajectories that are split into train, val and test."""
        return self.read if self.flows is None else self.flows.trajectories()["main"]

    def further_tests(self) -> dict[str, list[Movie]]:
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
        self.folder = Path(cache or os.environ.get("VSR_CACHE") or Path.home() / ".cache" / "vsr").expanduser()
        self._read: dict[str, list[Movie]] = {}

    def _job(self, seed: tuple[int, ...], frames: int) -> Job:
        return Job(self.family, seed, self.size * self.sampling, self.sampling, frames)

    def trajectories(self) -> dict[str, list[Movie]]:
        """Movies of the parts "main" and "unseen"; generated, with a progress bar, when the cache has none or a damaged one."""
        if not self._read:
            path = self.path
            try:
                self._read = self._load(path)
            except FileNotFoundError:
                self._generate(path)
                self._read = self._load(path)
            except (OSError, KeyError) as error:
                log.warning("%s is damaged (%s); generating it again", path, error)
                self._generate(path)
                self._read = self._load(path)
        return self._read

    @property
    def path(self) -> Path:
        """The cached file; its name is a hash of everything that its values depend on."""
        parameters = {"version": VERSION, "family": repr(replace(FAMILIES[self.family], start=None)), "jobs": repr(self.jobs)}  # type: ignore[arg-type]
        key = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:12]
        return self.folder / f"climate-{self.family}-{self.size}px-{key}.h5"

    def _generate(self, path: Path) -> None:
        """Run the solver and write the file whole or not at all."""
        jobs = [*self.jobs["main"], *self.jobs["unseen"]]
        try:
            with replacing(path) as temporary:
                runs = iter(simulate_all(jobs, f"generating climate data ({self.family})"))
                with h5py.File(temporary, "w") as file:
                    file.attrs["parameters"] = repr(self.jobs)
                    for part, part_jobs in self.jobs.items():
                        for k in range(len(part_jobs)):
                            self._write(file.create_group(f"{part}/{k:03d}"), next(runs))
        except OSError as error:
            raise UserError(f"data.cache={self.folder}: cannot be written ({error}); type data.cache=FOLDER") from error
        except FloatingPointError as error:
            raise UserError(f"data.family={self.family}, data.size={self.size}: {error}") from error

    def _write(self, group: h5py.Group, run: Trajectory) -> None:
        low, high = FAMILIES[self.family].range
        stored = STORED[0] + (run.h - low) / (high - low) * (STORED[1] - STORED[0])
        if not (STORED[0] < stored.min() and stored.max() < STORED[1]):
            raise UserError(f"data.family={self.family}: depths of {run.h.min():.3g} to {run.h.max():.3g} leave ({low}, {high})")
        fields: dict[str, np.ndarray] = {"h": stored.astype(np.float32), "u": run.u, "v": run.v, "bed": run.bed}
        for name, values in fields.items():
            group.create_dataset(name, data=values, fletcher32=True)

    def _load(self, path: Path) -> dict[str, list[Movie]]:
        family = FAMILIES[self.family]
        meta: dict[str, Any] = {"units": "scaled depth", "dt": family.interval, "periodic": True}
        with h5py.File(path, "r") as file:
            return {
                part: [
                    Movie(torch.from_numpy(file[f"{part}/{k:03d}/h"][()]).unsqueeze(0), f"{path}:{part}/{k:03d}", meta)
                    for k in range(len(jobs))
                ]
                for part, jobs in self.jobs.items()
            }
