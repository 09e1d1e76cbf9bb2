"""Scores of the flow that a height field describes."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vsr.metrics.base import FrameMetric, clips_to_frames, fully_valid, safe_ratio
from vsr.types import HRClips, HRFrames


class VorticityScores(FrameMetric):
    """Error and strength of the geostrophic vorticity z = g / (f dx^2) L h of a height h, with the five-point Laplacian L.

    vorticity_rmse = RMS(z_p - z_y) / RMS(z_y) and enstrophy = mean z_p^2 / mean z_y^2, over the pixels with four neighbours. The
    factor g / (f dx^2) and the data range cancel. Frames of several channels and frames with masked pixels have neither score.
    """

    def __init__(self) -> None:
        super().__init__(("vorticity_rmse", "enstrophy"))

    def update(self, sr: HRClips, hr: HRClips, mask: Float[Tensor, "B 1 F H W"] | None = None) -> None:
        """Add clips in any unit."""
        p, y = laplacian(clips_to_frames(sr)), laplacian(clips_to_frames(hr))
        found, true, error = (x.square().mean((1, 2, 3), dtype=torch.float64) for x in (p, y, p - y))
        measured = fully_valid(mask, hr) & (hr.shape[1] == 1)
        self.append_frames(torch.stack([safe_ratio(error, true).sqrt(), safe_ratio(found, true)], dim=1), measured)


def laplacian(x: HRFrames) -> Float[Tensor, "N C H-2 W-2"]:
    """Sum the four neighbours of each inner pixel and subtract four times the pixel."""
    # First differences are exact in float32 where neighbours are alike.
    y, x = x[..., 1:-1].diff(dim=-2), x[..., 1:-1, :].diff(dim=-1)
    return y.diff(dim=-2) + x.diff(dim=-1)
