"""Whether a result, degraded, is the LR frame that it was made from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vsr.degradations.resize import pad_symmetric
from vsr.metrics.base import FrameTable, frames_of, ratio, unmasked
from vsr.types import HRClips, LRClips

SMALLEST = 4  # LR pixels per side, below which there is no score
TOLERANCE = 1e-6  # of the data range: an LR pixel that changes less does not depend on what was changed

Degrade = Callable[[Tensor], Tensor]


class ConsistencyScores(FrameTable):
    """consistency = RMS(D p - x) / RMS(x - mean x), over LR pixels, with the degradation D that made the LR frame x.

    Args:
        degrade: consecutive HR frames (N, C, H, W) -> LR frames (N, C, h, w), both in the unit interval.
        scale: H / h.
        window: (y, x) HR pixels per side that are cut from what is scored.

    What is cut is made up again by mirroring, degraded with the rest, and then only those LR pixels count that do not depend on
    it. Which ones, is measured: D is applied to frames that are equal inside the window and differ outside. (For bicubic that
    leaves out at most ceil(window / scale) + 2 LR pixels per side.) Frames with masked pixels, and frames with fewer than 4x4
    LR pixels left, have no score. Means are each channel's own. Aybar et al. 2024.
    """

    def __init__(self, degrade: Degrade, scale: int, window: tuple[int, int]) -> None:
        super().__init__(("consistency",))
        self.degrade, self.scale, self.window = degrade, scale, window
        self._inside: tuple[tuple[int, ...], Tensor] | None = None  # of the last size of frames: another one is rare

    def update(self, sr: HRClips, lr: LRClips | None, mask: Float[Tensor, "B 1 F H W"] | None = None) -> None:
        """Add clips in the unit interval: sr cut to the window, lr whole frames or None, without which there is no score.

        Raises ValueError if their sizes do not fit.
        """
        if lr is None:
            none = torch.full((sr.shape[0] * sr.shape[2], 1), torch.nan, device=sr.device)
            self.add(none, torch.zeros(len(none), dtype=torch.bool, device=sr.device))
            return
        y, x = self.window
        if (sr.shape[3] + 2 * y, sr.shape[4] + 2 * x) != (lr.shape[3] * self.scale, lr.shape[4] * self.scale):
            raise ValueError(f"SR {tuple(sr.shape)} cut by {self.window} is not LR {tuple(lr.shape)} at scale {self.scale}")
        with torch.autocast(sr.device.type, enabled=False):
            sr, lr = sr.float(), lr.float()
            inside = self.inside(sr)
            measured = unmasked(mask, sr) & _large_enough(inside)
            again = torch.cat([self.degrade(self._whole(clip)) for clip in sr.transpose(1, 2)])
        target = frames_of(lr).double()[..., inside]
        error = again.double()[..., inside] - target
        centred = target - target.mean(-1, keepdim=True)
        scores = ratio(error.square().mean((1, 2)), centred.square().mean((1, 2))).sqrt()
        self.add(scores[:, None], measured)

    def inside(self, sr: HRClips) -> Bool[Tensor, "h w"]:
        """The LR pixels that do not depend on HR pixels outside the window; of the clips, only their size and device matter."""
        key = (*sr.shape[1:2], *sr.shape[3:])
        if self._inside is None or self._inside[0] != key:
            (y, x), (height, width) = self.window, sr.shape[3:]
            grey = torch.full((1, sr.shape[1], height + 2 * y, width + 2 * x), 0.5, device=sr.device)
            rows, columns = self._unchanged(grey, -2, y).all(1), self._unchanged(grey, -1, x).all(0)
            self._inside = key, rows[:, None] & columns
        return self._inside[1].to(sr.device)

    def _unchanged(self, grey: Float[Tensor, "1 C H W"], axis: int, cut: int) -> Bool[Tensor, "h w"]:
        """LR pixels that stay as they are when `cut` HR rows (or columns) at both ends do not."""
        base = self.degrade(grey)
        same = torch.ones(base.shape[-2:], dtype=torch.bool, device=grey.device)
        # By a generator of its own: the probes are the same in every run, and no other draw changes.
        drawn = torch.rand(grey.shape, generator=torch.Generator().manual_seed(0)).to(grey)
        # Several, as a codec may round a change away.
        for probe in (drawn, torch.zeros_like(grey), torch.ones_like(grey)) if cut else ():
            probe.narrow(axis, cut, grey.shape[axis] - 2 * cut).fill_(0.5)
            same &= ((self.degrade(probe) - base).abs() < TOLERANCE).flatten(0, 1).all(0)
        return same

    def _whole(self, frames: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C rows columns"]:
        (y, x), most = self.window, max(self.window)
        padded = pad_symmetric(frames, most)
        return padded[..., most - y : padded.shape[-2] - most + y, most - x : padded.shape[-1] - most + x]


def _large_enough(inside: Bool[Tensor, "h w"]) -> Tensor:
    return (inside.any(1).sum() >= SMALLEST) & (inside.any(0).sum() >= SMALLEST)
