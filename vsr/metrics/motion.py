"""Scores of motion: error of the change from frame to frame, and flicker."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vsr.metrics.base import TableMetric
from vsr.metrics.frames import metric_ratio
from vsr.types import HRClips

MOTION_SCORES = ("change_error", "flicker")


class MotionScores(TableMetric):
    """Scores "change_error" and "flicker" of every segment; `DEFINITIONS` has their formulas.

    A segment needs at least two frames for the change error and three for flicker. If its truth is still, it has neither score.
    """

    sums: list[Tensor]  # of each segment, of squares: error of first differences, their truth, second differences of p and of y

    def __init__(self) -> None:
        super().__init__()
        self.add_table("sums", 4)
        self._last_frames: tuple[Tensor, Tensor, Tensor] | None = None  # the last two of sr, hr and mask, of the batch before

    def update(self, sr: HRClips, hr: HRClips, mask: Float[Tensor, "B 1 F H W"] | None = None, follows: bool = False) -> None:
        """Add clips in any unit. If `follows`, the batch must be a single clip, which continues the last segment."""
        with torch.autocast(sr.device.type, enabled=False):
            sr, hr = sr.float(), hr.float()
            mask = torch.ones_like(hr[:, :1]) if mask is None else mask.float()
            overlap = 0
            if follows and self._last_frames is not None:
                overlap = self._last_frames[0].shape[2]
                sr, hr, mask = (torch.cat(pair, dim=2) for pair in zip(self._last_frames, (sr, hr, mask), strict=True))
            sr_change, hr_change = _difference(sr, mask, 1), _difference(hr, mask, 1)
            # Frames of the batch before serve only for the differences across the border; each difference counts once.
            new_first, new_second = slice(max(0, overlap - 1), None), slice(max(0, overlap - 2), None)
            squares = [(sr_change - hr_change)[:, :, new_first], hr_change[:, :, new_first]]
            squares += [_difference(x, mask, 2)[:, :, new_second] for x in (sr, hr)]
            sums = torch.stack([x.double().square().sum((1, 2, 3, 4)) for x in squares], dim=1)
            self.append_segments("sums", sums, continues=overlap > 0)
            self._last_frames = (sr[:, :, -2:], hr[:, :, -2:], mask[:, :, -2:])

    def per_segment(self) -> dict[str, Tensor]:
        error, change, sr_second, hr_second = self.rows("sums").unbind(1)
        if not len(error):
            return {}
        columns = (metric_ratio(error, change, 0.0).sqrt(), metric_ratio(sr_second, hr_second, 0.0).sqrt())
        return dict(zip(MOTION_SCORES, columns, strict=True))

    def reset(self) -> None:
        super().reset()
        self._last_frames = None


def _difference(x: Tensor, mask: Tensor, order: int) -> Tensor:
    """Return differences in time of the given order, (B, C, F - order, H, W), times the root of a pixel's weight in `mask`.

    They are 0 where a pixel of any frame involved is masked.
    """
    valid = (mask > 0).to(x)
    for _ in range(order):
        x = x[:, :, 1:] - x[:, :, :-1]
        valid = valid[:, :, 1:] * valid[:, :, :-1]
    return x * (valid * mask[:, :, order:].sqrt())
