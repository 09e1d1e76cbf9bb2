"""Activity of LR frames, which divides pixels into quiet ones, moderate ones and fronts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vsr.types import LRClips

ACTIVITY_SHARES = (0.5, 0.9)  # quantiles of the activity that divide its classes


def activity_of(lr: LRClips) -> Tensor:
    """Return the standard deviation of LR frames over 3x3 pixels, the mean over channels, (B, 1, T, h, w)."""
    # In double precision, as the variance is a difference of nearly equal values.
    frames = F.pad(lr.transpose(1, 2).flatten(0, 1).double(), (1, 1, 1, 1), mode="replicate")
    mean, square = F.avg_pool2d(frames, 3, 1), F.avg_pool2d(frames.square(), 3, 1)
    deviation = (square - mean.square()).clamp_min(0).sqrt().mean(1, keepdim=True)
    return deviation.to(lr).unflatten(0, (len(lr), lr.shape[2])).transpose(1, 2)


def activity_classes(lr: LRClips, edges: tuple[float, float], scale: int) -> Tensor:
    """Return the class of activity (0, 1 or 2) of each HR pixel of whole LR clips (B, C, F, h, w), as (B, F, H, W)."""
    active = torch.bucketize(activity_of(lr)[:, 0].contiguous(), torch.tensor(edges, device=lr.device))
    return active.repeat_interleave(scale, -2).repeat_interleave(scale, -1)
