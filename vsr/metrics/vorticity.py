"""Scores of the flow that a height field stands for."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vsr.metrics.base import FrameTable, frames_of, ratio, unmasked
from vsr.types import HRClips, HRFrames


class VorticityScores(FrameTable):
    """Error and strength of the geostrophic vorticity z = g / (f dx^2) L h of a height h, L the Laplacian of five points.

    vorticity_rmse = RMS(z_p - z_y) / RMS(z_y), enstrophy = mean z_p^2 / mean z_y^2, over the pixels that have four neighbours;
    g / (f dx^2) and the data range cancel. Frames of several channels and frames with masked pixels have neither.
    """

    def __init__(self) -> None:
        super().__init__(("vorticity_rmse", "enstrophy"))

    def update(self, sr: HRClips, hr: HRClips, mask: Float[Tensor, "B 1 F H W"] | None = None) -> None:
        """Add clips, in any unit."""
        p, y = laplacian(frames_of(sr)), laplacian(frames_of(hr))
        found, true, error = (x.square().mean((1, 2, 3), dtype=torch.float64) for x in (p, y, p - y))
        measured = unmasked(mask, hr) & (hr.shape[1] == 1)
        self.add(torch.stack([ratio(error, true).sqrt(), ratio(found, true)], dim=1), measured)


def laplacian(x: HRFrames) -> Float[Tensor, "N C H-2 W-2"]:
    """Sum of the four neighbours less four times the pixel."""
    # By way of first differences, which are exact in float32 where neighbours are alike.
    y, x = x[..., 1:-1].diff(dim=-2), x[..., 1:-1, :].diff(dim=-1)
    return y.diff(dim=-2) + x.diff(dim=-1)
