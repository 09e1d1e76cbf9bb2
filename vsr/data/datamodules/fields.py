"""Data module of generated fields of many kinds, to train a network that works on fields of others."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vsr.data.base import SRDataModule
from vsr.data.cache import cache_path, generate_in_parallel, load_cached_or_generate
from vsr.data.simulation.families import SimulationJob, simulate_family
from vsr.data.simulation.random_fields import random_field_movie
from vsr.data.splits import TRAJECTORY, Split, count_trajectories
from vsr.degradations.resize import resize_bicubic_up
from vsr.errors import UserError
from vsr.types import Movie

VERSION = 1  # of the generator; raise it when the same parameters give other values, so that no stale cache is read
FLOWS = ("tide", "bores", "turbulence")  # families of simulated flows, in turn
SAMPLING = 2  # solver cells per pixel
LEAST_UNIT = 1e-4  # of the spread of a frame: the smallest unit in which a frame is given, as float32 has 7 digits


class FieldDataModule(SRDataModule):
    """Random fields of many kinds, and depths and velocities of simulated flows; frames have nothing to do with each other.

    Each frame is given in a unit of its own, the root mean square of what bicubic interpolation of its LR frame loses. The
    squared error is then relative: a smooth field counts as much as a rough one.

    Args:
        size: Number of pixels per side of a frame.
        seed: Seed of all frames.
        frames: Number of frames that are generated as one movie; every movie is wholly in one split.
        learn: Number of random fields to learn from, a part `val` of them for validation.
        test: Number of random fields to test on.
        flows: Number of simulated flows to learn from, each with `frames` frames of depth and both velocities.
        val: Share of the frames to learn from that is kept for validation.
        cache: Folder of generated files; None for $VSR_CACHE or ~/.cache/vsr.
        shared: Arguments of `SRDataModule`.

    Raises:
        UserError: If a number of frames is not allowed.
    """

    physical = False  # the units are made up

    def __init__(
        self,
        *,
        size: int = 96,
        seed: int = 0,
        frames: int = TRAJECTORY,
        learn: int = 8000,
        test: int = 200,
        flows: int = 24,
        val: float = 0.05,
        cache: str | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.name, self.bounds = f"fields-{VERSION}", None
        for name, number, least in (("size", size, 48), ("seed", seed, 0), ("flows", flows, 0)):
            if number < least:
                raise UserError(f"data.{name}={number}: must be {least} or more; type data.{name}={least}")
        counts = count_trajectories(learn, test, frames)
        self.flows = [SimulationJob(FLOWS[k % len(FLOWS)], (seed, 2, k), size * SAMPLING, SAMPLING, frames) for k in range(flows)]
        self.calls = [((seed, part, k), size, frames) for part, count in enumerate(counts) for k in range(count)]
        self.split = Split(by="trajectory", learn=learn + 3 * flows * frames, test=test, val=val)
        self.path = cache_path(
            cache, f"{self.name}-{size}px", {"version": VERSION, "calls": self.calls, "flows": [str(job) for job in self.flows]}
        )
        self._made: list[Movie] = []

    def movies(self) -> list[Movie]:
        """Return the movies: simulated flows, random fields to learn from, random fields to test on."""
        if not self._made:
            arrays = load_cached_or_generate(self.path, ["flows", "fields"], self._generate)
            for kind, values in arrays.items():
                for number, frames in enumerate(values):
                    scaled = self._in_own_units(torch.from_numpy(frames).unsqueeze(1))
                    self._made.append(Movie(scaled.transpose(0, 1), f"{self.path}:{kind}/{number}", {"units": "1"}))
        return self._made

    def _generate(self) -> list[np.ndarray]:
        flows: list[Any] = []
        if self.flows:
            count = sum(job.frames for job in self.flows)
            runs = generate_in_parallel(simulate_family, [(job,) for job in self.flows], count, "simulating flows")
            flows = [values for run in runs for values in (run.h, run.u, run.v)]
        drawn: list[Any] = generate_in_parallel(
            random_field_movie, list(self.calls), sum(frames for *_, frames in self.calls), "drawing random fields"
        )
        shape = (0, *drawn[0].shape)
        return [np.stack(flows) if flows else np.zeros(shape, np.float32), np.stack(drawn)]

    def _in_own_units(self, frames: Tensor) -> Tensor:
        """Return frames (T, 1, H, W) without their means, each over the root mean square of its residual over bicubic."""
        height, width = (size // self.scale * self.scale for size in frames.shape[-2:])
        frames = frames[..., :height, :width].double()
        frames = frames - frames.mean((2, 3), keepdim=True)
        lost = frames - resize_bicubic_up(self.degradation(frames, self.scale), self.scale)
        unit, spread = (each.square().mean((2, 3), keepdim=True).sqrt() for each in (lost, frames))
        return (frames / torch.maximum(unit, LEAST_UNIT * spread).clamp_min(1e-30)).float()
