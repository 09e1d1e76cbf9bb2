"""Pixels without a value: land in an ocean field, gaps in an observation."""

from __future__ import annotations

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from vsr.types import HRFrames


def fill_gaps(hr: HRFrames) -> tuple[Tensor, Tensor]:
    """Frames (N, C, H, W) with NaN or infinite values -> filled frames and mask (N, 1, H, W), 1 where all channels are finite.

    Each gap takes the value of the nearest finite pixel of its frame, so that the degradation, which sees whole frames, meets no
    cliff at a coast. A frame without any finite value becomes zero, all of it masked.
    """
    mask = torch.isfinite(hr).all(dim=1, keepdim=True)
    filled = hr.clone()
    nearest = None
    for n in range(len(hr)):
        if mask[n].all():
            continue
        if not mask[n].any():
            filled[n] = 0
            continue
        if nearest is None or not torch.equal(mask[n], mask[n - 1]):  # coasts stay where they are
            nearest = torch.from_numpy(
                distance_transform_edt(~mask[n, 0].numpy(), return_distances=False, return_indices=True)
            ).long()
        filled[n] = filled[n][:, nearest[0], nearest[1]]
    return filled, mask.to(hr.dtype)
