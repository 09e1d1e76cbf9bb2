"""Noise of the sensor or of the measurement."""

from __future__ import annotations

import math

import numpy as np
import torch

from vsr.degradations.base import Bounds, Frames, SameSizeStep, short
from vsr.errors import UserError


class GaussianNoise(SameSizeStep):
    """Independent Gaussian noise on every value: (N, C, rows, columns) -> the same shape, not clipped.

    sigma: standard deviation as a share of the range between the bounds. seed: the noise of a frame depends on it and on the
    frame's number in its movie alone, however a movie is cut into batches; frames of the same number in two movies get the
    same noise, and so do two such steps of one seed in a chain. Raises UserError where one of them is negative.
    """

    def __init__(self, sigma: float, seed: int = 0) -> None:
        if not 0 <= sigma < math.inf:
            raise UserError(
                f"sigma={sigma} of GaussianNoise: must be 0 or more (share of the range); type degradation.steps.noise.sigma=0.01"
            )
        if seed < 0:
            raise UserError(f"seed={seed} of GaussianNoise: must be 0 or more; type degradation.steps.noise.seed=0")
        self.sigma, self.seed = sigma, seed
        self.name = f"noise({short(sigma)},seed={seed})" if seed else f"noise({short(sigma)})"

    def apply(self, frames: Frames, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> Frames:
        # numpy, because it seeds a stream by several numbers; one stream per frame.
        drawn = [
            np.random.default_rng((self.seed, first + i)).standard_normal(frames.shape[1:], dtype=np.float32)
            for i in range(frames.shape[0])
        ]
        low, high = bounds
        return frames + self.sigma * (high - low) * torch.from_numpy(np.stack(drawn)).to(frames)
