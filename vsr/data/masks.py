"""Filling of gaps in frames (land in an ocean field, missing observations)."""

from __future__ import annotations

from typing import Any

import torch

from vsr.types import HRFrames


def fill_masked_pixels(hr: HRFrames) -> tuple[HRFrames, HRFrames]:
    """Fill NaN and infinite values with the nearest finite pixel of the same channel of the same frame.

    The degradation sees whole frames, and nearest values leave no artificial cliff at a coast.

    Args:
        hr: HR frames, (N, C, H, W).

    Returns:
        The filled frames, and a mask (N, C, H, W) that is 1 where a value was finite. A channel of a frame without finite pixels
        becomes zero.
    """
    finite = torch.isfinite(hr)
    filled = hr.clone(memory_format=torch.contiguous_format)
    of: Any = None
    nearest: Any = None
    for frame, mask in zip(filled.flatten(0, 1), finite.flatten(0, 1), strict=True):
        if mask.all():
            continue
        if not mask.any():
            frame.zero_()
            continue
        if of is None or not torch.equal(mask, of):  # coasts stay where they are
            from scipy.ndimage import distance_transform_edt  # a fifth of a second, for frames with gaps alone

            of = mask
            nearest = torch.from_numpy(distance_transform_edt(~mask.numpy(), return_distances=False, return_indices=True)).long()
        frame.copy_(frame[nearest[0], nearest[1]])
    return filled, finite.to(hr.dtype)
