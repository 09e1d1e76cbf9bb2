"""Filling of gaps in frames (land in an ocean field, missing observations)."""

from __future__ import annotations

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from vsr.types import HRFrames


def fill_masked_pixels(hr: HRFrames) -> tuple[Tensor, Tensor]:
    """Fill NaN and infinite values with the nearest finite pixel of the same frame.

    The degradation sees whole frames, and nearest values leave no artificial cliff at a coast.

    Args:
        hr: HR frames, (N, C, H, W).

    Returns:
        The filled frames, and a mask (N, 1, H, W) that is 1 where all channels were finite. A frame without finite pixels
        becomes zero.
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
