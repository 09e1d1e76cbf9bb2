"""Functions of frames and their scores that several metrics share; without torchmetrics."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vsr.metrics.definitions import MSE_FLOOR


def metric_frames(clips: Float[Tensor, "B C F H W"]) -> Float[Tensor, "N C H W"]:
    """Concatenate the frames of all clips, (B, C, F, H, W) -> (B F, C, H, W)."""
    return clips.transpose(1, 2).flatten(0, 1)


def metric_valid_frames(mask: Float[Tensor, "B 1 F H W"] | None, clips: Float[Tensor, "B C F H W"]) -> Bool[Tensor, " N"]:
    """Return, for each frame of the clips, True if the mask is 1 at all of its pixels; without a mask, True for all frames."""
    if mask is None:
        return torch.ones(clips.shape[0] * clips.shape[2], dtype=torch.bool, device=clips.device)
    return metric_frames(mask).bool().flatten(1).all(1)


def metric_ratio(part: Tensor, whole: Tensor, floor: float = MSE_FLOOR) -> Tensor:
    """Return part / whole in float64, and NaN where `whole` <= `floor`: it is then only rounding of float32 data."""
    return torch.where(whole <= floor, torch.nan, part.double() / whole)
