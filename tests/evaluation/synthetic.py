"""Scores and samples that look like an evaluation's, small and seeded."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import zoom

from vsr.evaluation.scored import MethodScores, SampleFrames
from vsr.metrics.definitions import DEFINITIONS

BASELINES = ("nearest", "bilinear", "bicubic", "linear")
NASTY = '<script>alert("x")</script>'


def scored(split: str, *, methods: tuple[str, ...], segments: list[int], seed: int = 0) -> list[MethodScores]:
    """Every score of every method on one split; `segments` are the frames of each. Some frames and segments have no score."""
    rng = np.random.default_rng(seed)
    segment_of = np.repeat(np.arange(len(segments)), segments)
    frames, count = len(segment_of), len(segments)
    level = 10 ** (-3 + 0.3 * rng.standard_normal(count))[segment_of]
    k, f = np.linspace(0, 0.5, 17), np.linspace(0, 0.5, 9)
    found = []
    for rank, method in enumerate(methods):
        mse = level * 0.6**rank * np.exp(0.1 * rng.standard_normal(frames))
        columns = {
            name: np.sqrt(mse) * rng.uniform(0.5, 1.5, frames) * (-1) ** (one.better == "zero")
            for name, one in DEFINITIONS.items()
            if one.per == "frame"
        }
        columns |= {"mse": mse, "psnr": -10 * np.log10(mse), "ssim": 1 - mse}
        for column in columns.values():
            column[1] = np.nan  # a frame that is masked as a whole
        columns["vrmse"][-1] = np.nan
        if rank == 4:
            columns["mse"][2] = columns["psnr"][3] = np.nan  # which the references have
        whole = {name: rng.uniform(0.2, 1.2, count) for name, one in DEFINITIONS.items() if one.per == "segment"}
        whole["flicker"][0] = np.nan
        curves = {
            "spectrum": {
                "wavenumber": k,
                "hr": 1 / (0.01 + k**2),
                "sr": 1 / (0.02 + k**2),
                "floor": np.full_like(k, 1e-14),
                "coherence": 1 - k**2 * 2,
            },
            "temporal_spectrum": {"frequency": f, "hr": 1 / (0.1 + f), "sr": 1 / (0.2 + f), "floor": np.full_like(f, 1e-14)},
        }
        found.append(
            MethodScores(
                split=split,
                method=method,
                frames=columns,
                segments=whole,
                segment_of=segment_of,
                curves=curves,
                parameters=1000 * max(0, rank - 3),
                train_seconds=60.5 * max(0, rank - 3),
                baseline=method in BASELINES,
            )
        )
    return found


def sample(
    split: str,
    *,
    methods: tuple[str, ...] = ("bicubic", "net"),
    scale: int = 2,
    size: tuple[int, int, int, int] = (6, 1, 24, 36),
    first: int = 40,
    seed: int = 0,
) -> SampleFrames:
    """Moving waves with a rough patch: HR, its block means, and methods that miss less and less."""
    frames, channels, height, width = size
    rng = np.random.default_rng(seed)
    t, c, y, x = np.meshgrid(*(np.arange(n) for n in size), indexing="ij")
    hr = 0.5 + 0.2 * np.sin(0.35 * x + 0.2 * t + c) * np.cos(0.25 * y + 0.1 * t)
    hr[..., 8:14, 20:28] += 0.1 * rng.standard_normal((6, 8))
    lr = hr.reshape(frames, channels, height // scale, scale, width // scale, scale).mean((3, 5))
    smooth = zoom(lr, (1, 1, scale, scale), order=1, mode="nearest", grid_mode=True)
    made = {name: (hr + (smooth - hr) / (rank + 1)).astype(np.float32) for rank, name in enumerate(methods)}
    return SampleFrames(split=split, first=first, lr=lr.astype(np.float32), hr=hr.astype(np.float32), methods=made, window=(3, 2))
