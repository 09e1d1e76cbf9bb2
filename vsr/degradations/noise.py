"""Degradation step that adds the Gaussian noise of a sensor or a measurement."""

from __future__ import annotations

import math

import numpy as np
import torch

from vsr.degradations.base import Bounds, Frames, SameSizeStep, format_degradation_number
from vsr.errors import UserError


class GaussianNoise(SameSizeStep):
    """Independent Gaussian noise on every value, without clipping.

    The noise of a frame depends only on the seed and the frame's number, not on the batches into which a movie is cut. Frames
    with equal numbers get equal noise, and so do two steps with the same seed in a chain.

    Args:
        sigma: Standard deviation as a share of the range between the bounds, 0 or more.
        seed: Seed of the noise, 0 or more.

    Raises:
        UserError: If sigma or seed is negative.
    """

    def __init__(self, sigma: float, seed: int = 0) -> None:
        if not 0 <= sigma < math.inf:
            raise UserError(
                f"sigma={sigma} of GaussianNoise: must be 0 or more (share of the range); type degradation.steps.noise.sigma=0.01"
            )
        if seed < 0:
            raise UserError(f"seed={seed} of GaussianNoise: must be 0 or more; type degradation.steps.noise.seed=0")
        self.sigma, self.seed = sigma, seed
        self.name = (
            f"noise({format_degradation_number(sigma)},seed={seed})" if seed else f"noise({format_degradation_number(sigma)})"
        )

    def apply(self, frames: Frames, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> Frames:
        # One random stream per frame; numpy accepts several numbers as a seed, torch does not.
        drawn = [
            np.random.default_rng((self.seed, first + i)).standard_normal(frames.shape[1:], dtype=np.float32)
            for i in range(frames.shape[0])
        ]
        low, high = bounds
        return frames + self.sigma * (high - low) * torch.from_numpy(np.stack(drawn)).to(frames)
