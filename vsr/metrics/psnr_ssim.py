"""Scores of frames against the truth, one value per frame, so that every mean can be taken and checked later.

All are float32 in the unit interval (data range 1) and outside autocast; nothing is clamped or rounded.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.utilities import dim_zero_cat

from vsr.types import HRClips, HRFrames

SCORES = ("mae", "mse", "psnr", "ssim")
SSIM_RADIUS = 5  # 11x11 Gaussian, sigma 1.5: Wang et al. 2004
# Float32 cannot tell frames closer than one unit in the last place apart. Without this floor one equal frame would make the
# mean PSNR infinite; with it such a frame scores 138.5 dB.
MSE_FLOOR = torch.finfo(torch.float32).eps ** 2


def frame_scores(sr: HRFrames, hr: HRFrames, mask: Float[Tensor, "N 1 H W"] | None = None) -> Tensor:
    """(N, C, H, W) twice, in the unit interval -> (N, 4): MAE, MSE, PSNR (dB), SSIM of each frame.

    PSNR is that of the frame's mean squared error over all its channels. SSIM is two-dimensional, the mean of the map without
    the 5 pixels per side that the Gaussian window does not cover (as Wang's code and scikit-image do). Only pixels where `mask`
    is 1 count; a frame without any is NaN. Raises ValueError for frames smaller than the 11x11 window.
    """
    if min(sr.shape[-2:]) <= 2 * SSIM_RADIUS:
        raise ValueError(f"SSIM needs frames of at least 11x11 pixels, not {sr.shape[-2]}x{sr.shape[-1]}")
    with torch.autocast(sr.device.type, enabled=False):
        sr, hr = sr.float(), hr.float()
        weight = torch.ones_like(hr[:, :1]) if mask is None else mask.float()
        error = sr - hr
        mae, mse = _mean(error.abs(), weight), _mean(error.square(), weight)
        psnr = -10 * torch.log10(mse.clamp_min(MSE_FLOOR))
        _, full = structural_similarity_index_measure(
            sr, hr, data_range=1.0, sigma=1.5, kernel_size=11, reduction="none", return_full_image=True
        )
        inner = (..., slice(SSIM_RADIUS, -SSIM_RADIUS), slice(SSIM_RADIUS, -SSIM_RADIUS))
        return torch.stack([mae, mse, psnr, _mean(full[inner], weight[inner])], dim=1)


def _mean(x: Tensor, weight: Tensor) -> Tensor:
    """Per frame, over the pixels of weight 1: (N, C, H, W), (N, 1, H, W) -> (N,)."""
    return (x * weight).sum((1, 2, 3)) / (weight.sum((1, 2, 3)) * x.shape[1])


class FrameScores(Metric):
    """Collects the scores of every frame of a split; `compute` gives their means, `per_frame` the (N, 4) table itself."""

    full_state_update = False
    rows: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        # torchmetrics cannot gather the empty list of one process with the rows of another.
        self.rows.append(torch.zeros(0, len(SCORES), device=self.device))

    def update(self, sr: HRClips, hr: HRClips, mask: Float[Tensor, "B 1 T H W"] | None = None) -> None:
        """Add clips (B, C, T, H, W) in the unit interval, already cut to the evaluation window."""
        flat_sr, flat_hr = (x.transpose(1, 2).flatten(0, 1) for x in (sr, hr))
        self.rows.append(frame_scores(flat_sr, flat_hr, None if mask is None else mask.transpose(1, 2).flatten(0, 1)))

    def per_frame(self) -> Tensor:
        """(N, 4), columns as in SCORES, frames in the order in which they came."""
        return dim_zero_cat(self.rows)

    def compute(self) -> dict[str, Tensor]:
        """Mean over frames of each score; frames that are masked as a whole do not count."""
        return dict(zip(SCORES, self.per_frame().nanmean(0), strict=True))
