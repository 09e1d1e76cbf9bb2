"""MAE, MSE, PSNR and SSIM of every frame.

The scores are float32, in the unit interval (data range 1) and outside autocast. Nothing is clamped or rounded.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from vsr.metrics.base import TableMetric
from vsr.metrics.definitions import HEADLINE_SCORES, psnr_from_mse
from vsr.metrics.frames import metric_frames
from vsr.types import HRClips, HRFrames

SSIM_RADIUS = 5  # pixels: 11x11 Gaussian, sigma 1.5


def psnr_ssim_of_frames(sr: HRFrames, hr: HRFrames, mask: Float[Tensor, "N 1 H W"] | None = None) -> Tensor:
    """Compute MAE, MSE, PSNR (dB) and SSIM of each frame.

    The PSNR of a frame comes from its mean squared error over all channels. SSIM is two-dimensional: the mean of the SSIM map
    without the 5 pixels per side that the Gaussian window does not cover, as in Wang's code and scikit-image (Wang et al.
    2004). With a mask, it is the mean over the windows that hold no gap. All means are weighted by the mask.

    Args:
        sr: Predicted frames (N, C, H, W) in the unit interval.
        hr: True frames (N, C, H, W) in the unit interval.
        mask: Weight of each pixel, such as its area; 0 where a pixel does not count. None for all pixels alike. A frame without
            a pixel that counts scores NaN, and so does the SSIM of a frame without a window that holds no gap.

    Returns:
        (N, 4), columns as in `HEADLINE_SCORES`.

    Raises:
        ValueError: If frames are smaller than the 11x11 window of SSIM.
    """
    if min(sr.shape[-2:]) <= 2 * SSIM_RADIUS:
        raise ValueError(f"SSIM needs frames of at least 11x11 pixels, not {sr.shape[-2]}x{sr.shape[-1]}")
    with torch.autocast(sr.device.type, enabled=False):
        sr, hr = sr.float(), hr.float()
        weight = torch.ones_like(hr[:, :1]) if mask is None else mask.float()
        error = sr - hr
        mae, mse = _mean(error.abs(), weight), _mean(error.square(), weight)
        _, ssim_map = structural_similarity_index_measure(
            sr, hr, data_range=1.0, sigma=1.5, kernel_size=11, reduction="none", return_full_image=True
        )
        inner = (..., slice(SSIM_RADIUS, -SSIM_RADIUS), slice(SSIM_RADIUS, -SSIM_RADIUS))
        # Only windows without a gap: the others depend on what the gap was filled with.
        whole = weight[inner]
        if mask is not None:
            whole = whole * -F.max_pool2d(-(weight > 0).float(), 2 * SSIM_RADIUS + 1, stride=1)
        return torch.stack([mae, mse, psnr_from_mse(mse), _mean(ssim_map[inner], whole)], dim=1)


def _mean(x: Tensor, weight: Tensor) -> Tensor:
    """Average (N, C, H, W) over the channels and, weighted by (N, 1, H, W), over the pixels of each frame: (N,)."""
    return (x * weight).sum((1, 2, 3)) / (weight.sum((1, 2, 3)) * x.shape[1])


class HeadlineScores(TableMetric):
    """MAE, MSE, PSNR and SSIM of every frame of a split."""

    row_dtype = torch.float32  # in which they are computed; not every accelerator knows float64

    def __init__(self) -> None:
        super().__init__()
        self.add_table("values", len(HEADLINE_SCORES))

    def update(self, sr: HRClips, hr: HRClips, mask: Float[Tensor, "B 1 F H W"] | None = None) -> None:
        """Add clips (B, C, F, H, W) in the unit interval, already cut to the evaluation window."""
        frame_mask = None if mask is None else metric_frames(mask)
        self.append_rows("values", psnr_ssim_of_frames(metric_frames(sr), metric_frames(hr), frame_mask))

    def per_frame(self) -> dict[str, Tensor]:
        return dict(zip(HEADLINE_SCORES, self.rows("values").unbind(1), strict=True))
