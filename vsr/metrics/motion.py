"""How a movie moves, against how the truth does."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vsr.metrics.base import Table, ratio
from vsr.types import HRClips

SEQUENCE_SCORES = ("change_error", "flicker")


class SequenceScores(Table):
    """How a movie moves: the error of the change from frame to frame, and flicker, mean over segments.

    change_error = RMS(dp - dy) / RMS(dy), with first differences in time d of the prediction p and the truth y: 0 is ideal, 1 is
    what a still picture scores. flicker = RMS(d2 p) / RMS(d2 y), with second differences: 1 is ideal, more flickers, less smears.
    A segment of one frame has no first, one of two no second difference; a segment whose truth does not move has neither score.
    Source: the temporal-difference metrics of anemoi and sup3r; flicker is this project's own.
    """

    sums: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_rows("sums", 4)
        self._before: tuple[Tensor, Tensor, Tensor] | None = None  # the last two frames of the batch before

    def update(self, sr: HRClips, hr: HRClips, mask: Float[Tensor, "B 1 F H W"] | None = None, follows: bool = False) -> None:
        """Add clips, each a segment of its own, or (B = 1, `follows`) the continuation of the one before."""
        with torch.autocast(sr.device.type, enabled=False):
            sr, hr = sr.float(), hr.float()
            mask = torch.ones_like(hr[:, :1]) if mask is None else mask.float()
            first = 0
            if follows and self._before is not None:
                first = self._before[0].shape[2]
                sr, hr, mask = (torch.cat(pair, dim=2) for pair in zip(self._before, (sr, hr, mask), strict=True))
            moved, real = _difference(sr, mask, 1), _difference(hr, mask, 1)
            turned, bent = _difference(sr, mask, 2), _difference(hr, mask, 2)
            # Frames of the batch before are there for the differences across the border only; count each difference once.
            one, two = slice(max(0, first - 1), None), slice(max(0, first - 2), None)
            squares = [(moved - real)[:, :, one], real[:, :, one], turned[:, :, two], bent[:, :, two]]
            sums = torch.stack([x.double().square().sum((1, 2, 3, 4)) for x in squares], dim=1)
            if first:
                self.sums[-1] = self.sums[-1] + sums
            else:
                for row in sums:
                    self.grow("sums", row[None])
            self._before = (sr[:, :, -2:], hr[:, :, -2:], mask[:, :, -2:])

    def per_segment(self) -> dict[str, Tensor]:
        """Score -> (S,), NaN for segments that do not have it."""
        error, change, turned, bent = self.rows("sums").unbind(1)
        if not len(error):
            return {}
        columns = (ratio(error, change, 0.0).sqrt(), ratio(turned, bent, 0.0).sqrt())
        return dict(zip(SEQUENCE_SCORES, columns, strict=True))

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self._before = None


def _difference(x: Tensor, mask: Tensor, order: int) -> Tensor:
    """Differences in time of the given order, (B, C, F - order, H, W), zero where a pixel of any frame involved is masked."""
    valid = mask
    for _ in range(order):
        x = x[:, :, 1:] - x[:, :, :-1]
        valid = valid[:, :, 1:] * valid[:, :, :-1]
    return x * valid
