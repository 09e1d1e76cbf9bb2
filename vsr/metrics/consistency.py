"""LR consistency: the distance between a degraded SR frame and the LR frame that the SR frame was made from."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from vsr.degradations.consistency import Degrade
from vsr.degradations.resize import pad_symmetric
from vsr.metrics.base import FrameMetric
from vsr.metrics.frames import metric_frames, metric_ratio, metric_valid_frames
from vsr.types import HRClips, LRClips

MIN_SIDE = 4  # LR pixels per side; smaller frames have no score
TOLERANCE = 1e-6  # of the data range: an LR pixel that changes less does not depend on what was changed


class ConsistencyScores(FrameMetric):
    """LR consistency of each frame, RMS(D p - x) / RMS(x - mean x) over LR pixels.

    D is the degradation that made the LR frame x; p is the predicted frame. The border that the window cuts from p is filled by
    mirroring before p is degraded. Only LR pixels that do not depend on that border count: `independent_pixels` finds them. For
    bicubic degradation at most ceil(window / scale) + 2 LR pixels per side do not count. Frames with masked pixels and frames
    with fewer than 4x4 remaining LR pixels have no score. Each channel has its own mean. Source: Aybar et al. 2024
    (opensr-test). The weight of an LR pixel is the mean of the mask over its block of HR pixels.

    Args:
        degrade: The degradation, from consecutive HR frames (N, C, H, W) to LR frames (N, C, h, w), both in the unit interval.
        scale: HR pixels per LR pixel, H / h.
        window: (y, x) HR pixels that are cut per side before scoring.
    """

    def __init__(self, degrade: Degrade, scale: int, window: tuple[int, int]) -> None:
        super().__init__(("consistency",))
        self.degrade, self.scale, self.window = degrade, scale, window
        self._cached: tuple[tuple[int, ...], Tensor] | None = None  # size of frames, and their independent pixels

    def update(self, sr: HRClips, lr: LRClips | None, mask: Float[Tensor, "B 1 F H W"] | None = None) -> None:
        """Add the LR consistency of clips in the unit interval.

        Args:
            sr: Predicted clips, cut to the window.
            lr: Whole LR clips, or None for clips without a score.
            mask: 1 at HR pixels with a true value, 0 at filled gaps, cut to the window; None for HR frames without gaps.

        Raises:
            ValueError: If the sizes of sr and lr do not fit.
        """
        if lr is None:
            none = torch.full((sr.shape[0] * sr.shape[2], 1), torch.nan, device=sr.device)
            self.append_frames(none, torch.zeros(len(none), dtype=torch.bool, device=sr.device))
            return
        y, x = self.window
        if (sr.shape[3] + 2 * y, sr.shape[4] + 2 * x) != (lr.shape[3] * self.scale, lr.shape[4] * self.scale):
            raise ValueError(f"SR {tuple(sr.shape)} cut by {self.window} is not LR {tuple(lr.shape)} at scale {self.scale}")
        with torch.autocast(sr.device.type, enabled=False):
            sr, lr = sr.float(), lr.float()
            counted = self.independent_pixels(sr)
            large = (counted.any(1).sum() >= MIN_SIDE) & (counted.any(0).sum() >= MIN_SIDE)
            degraded = torch.cat([self.degrade(self._with_border(clip)) for clip in sr.transpose(1, 2)])
        target = metric_frames(lr).double()[..., counted]
        error = degraded.double()[..., counted] - target
        weight = torch.ones_like(target[:, :1]) if mask is None else self._lr_weights(metric_frames(mask))[..., counted]
        weight = weight / weight.mean(-1, keepdim=True)
        centred = target - (target * weight).mean(-1, keepdim=True)
        above, below = ((x.square() * weight).mean((1, 2)) for x in (error, centred))
        scores = metric_ratio(above, below).sqrt()
        self.append_frames(scores[:, None], metric_valid_frames(mask, sr) & large)

    def independent_pixels(self, sr: HRClips) -> Bool[Tensor, "h w"]:
        """Return True for each LR pixel that does not depend on HR pixels outside the window, for clips of the size of `sr`.

        The degradation is applied to frames that are equal inside the window and differ outside.
        """
        key = (*sr.shape[1:2], *sr.shape[3:])
        if self._cached is None or self._cached[0] != key:
            (y, x), (height, width) = self.window, sr.shape[3:]
            grey = torch.full((1, sr.shape[1], height + 2 * y, width + 2 * x), 0.5, device=sr.device)
            rows, columns = self._unchanged(grey, -2, y).all(1), self._unchanged(grey, -1, x).all(0)
            self._cached = key, rows[:, None] & columns
        return self._cached[1].to(sr.device)

    def _unchanged(self, grey: Float[Tensor, "1 C H W"], axis: int, cut: int) -> Bool[Tensor, "h w"]:
        """Return True for each LR pixel that stays the same when the first and last `cut` HR rows (or columns) change."""
        base = self.degrade(grey)
        same = torch.ones(base.shape[-2:], dtype=torch.bool, device=grey.device)
        # A generator of its own: the probes are the same in every run, and no other random number changes.
        noise = torch.rand(grey.shape, generator=torch.Generator().manual_seed(0)).to(grey)
        # Several probes, as a codec may round a change away.
        for probe in (noise, torch.zeros_like(grey), torch.ones_like(grey)) if cut else ():
            probe.narrow(axis, cut, grey.shape[axis] - 2 * cut).fill_(0.5)
            same &= ((self.degrade(probe) - base).abs() < TOLERANCE).flatten(0, 1).all(0)
        return same

    def _lr_weights(self, mask: Float[Tensor, "N 1 H W"]) -> Float[Tensor, "N 1 h w"]:
        return avg_pool2d(self._with_border(mask).double(), self.scale)

    def _with_border(self, frames: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C rows columns"]:
        (y, x), most = self.window, max(self.window)
        padded = pad_symmetric(frames, most)
        return padded[..., most - y : padded.shape[-2] - most + y, most - x : padded.shape[-1] - most + x]
