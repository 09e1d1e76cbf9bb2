"""Climate data: height fields of the embedded shallow-water solver, generated once and cached."""

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
    """Depth of shallow-water flows as float movies in (-10, 10), with a second test split of other seeds, `unseen`.

    Args:
        family: "tide" (hydraulic jumps in a tidal flow over hills, steady statistics), "bores" (falling columns, where time
            helps), "turbulence" (rotating eddies, the nearly linear control).
        size: pixels per side of a frame.
        sampling: the solver has size * sampling cells per side and each sampling-th one is kept.
        seed: of all trajectories.
        learn, test: frames to learn from (a fifth of them for validation) and to test on; `unseen` has as many as `test`.
            The family says over how many trajectories they are spread and how they are split.
        cache: folder of generated files; None is $VSR_CACHE or ~/.cache/vsr.
        scale, degradation, recipe, crop: as in `SRDataModule`.

    Raises UserError for a family, size or number of frames that cannot be generated.
    """

    bounds = STORED

    def __init__(
        self,
        *,
        family: Literal["tide", "bores", "turbulence"] = "tide",
        size: int = 72,
        sampling: int = 3,
        seed: int = 0,
        learn: int = 120,
        test: int = 50,
        cache: str | None = None,
        scale: int,
        degradation: Degradation,
        recipe: Recipe,
        draw: int = 0,
        crop: bool = False,
    ) -> None:
        super().__init__(scale=scale, degradation=degradation, recipe=recipe, seed=draw, crop=crop)
        known = FAMILIES[family]
        self.family, self.size, self.sampling, self.flow_seed = family, size, sampling, seed
        self.name = f"climate-{family}"
        if size < 16 or sampling < 1 or size * sampling < 64:
            raise UserError(f"data.size={size} with data.sampling={sampling}: frames need 16 px, the solver 64 cells per side")
        length, whole = known.frames, known.split == "trajectory"
        if whole and (learn % length or test % length):
            raise UserError(
                f"data.family={family} comes in trajectories of {length} frames; type data.learn and data.test as multiples of it"
            )
        count, tests = ((learn + test) // length, test // length) if whole else (known.movies, known.movies)
        if learn < 1 or test < 1 or (learn + test) % count or test % tests:
            raise UserError(f"data.learn={learn}, data.test={test}: both, and their sum, must be multiples of {known.movies}")
        self.jobs = {
            "main": [self._job((seed, 0, k), (learn + test) // count) for k in range(count)],
            "unseen": [self._job((seed, 1, k), test // tests) for k in range(tests)],
        }
        self.split = Split(by=known.split, learn=learn, test=test)  # type: ignore[arg-type]
        self.folder = Path(cache or os.environ.get("VSR_CACHE") or Path.home() / ".cache" / "vsr").expanduser()
        self._read: dict[str, list[Movie]] = {}

    def movies(self) -> list[Movie]:
        """The trajectories that are split into train, val and test."""
        return self._trajectories()["main"]

    def further_tests(self) -> dict[str, list[Movie]]:
        """`unseen`: trajectories of other seeds, so other hills, columns or eddies."""
        return {"unseen": self._trajectories()["unseen"]}

    def _job(self, seed: tuple[int, ...], frames: int) -> Job:
        return Job(self.family, seed, self.size * self.sampling, self.sampling, frames)

    def _trajectories(self) -> dict[str, list[Movie]]:
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
