"""Scores in time: lag-1 correlation of the error, and the spectrum in time."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vsr.metrics.base import TableMetric
from vsr.metrics.definitions import MSE_FLOOR, functions_of_definitions
from vsr.metrics.frames import metric_valid_frames
from vsr.metrics.power import MODES, PowerMetric, PowerSums, power_of_spectrum
from vsr.types import HRClips

BLOCK = 64  # frames per block of Welch's method: bounds the memory for long movies
HOP = BLOCK // 2
MIN_FRAMES = 8  # four frequencies
MAX_SIDE = 64  # pixels


class ErrorLag(TableMetric):
    """Lag-1 correlation of the error of each segment, error_lag = sum e_t e_t+1 / sqrt(sum e_t^2 sum e_t+1^2).

    e_t is the error of frame t. The sums cover the unmasked pixels of all pairs of consecutive frames, weighted by the mask.
    The error is not centred. A constant error scores 1, an error that is random in each frame scores about 0, and an error that
    changes its sign in every frame scores -1. A segment has no score if it has one frame or if its error is at most the
    rounding of float32.
    """

    sums: list[Tensor]  # of each segment: e_t e_t+1, e_t^2, e_t+1^2, sum of the weights

    def __init__(self) -> None:
        super().__init__()
        self.add_table("sums", 4)
        self._last_frame: tuple[Tensor, Tensor] | None = None  # error and mask

    def update(self, sr: HRClips, hr: HRClips, mask: Float[Tensor, "B 1 F H W"] | None = None, follows: bool = False) -> None:
        """Add clips in the unit interval. If `follows`, the batch must be a single clip, which continues the last segment."""
        valid = torch.ones_like(hr[:, :1]) if mask is None else mask
        error = (sr.double() - hr.double()) * valid.double().sqrt()
        before = self._last_frame if follows else None
        if before is not None:
            error, valid = (torch.cat(pair, dim=2) for pair in zip(before, (error, valid), strict=True))
        both = (valid[:, :, 1:] > 0) & (valid[:, :, :-1] > 0)
        one, two = error[:, :, :-1] * both, error[:, :, 1:] * both
        parts = (one * two, one.square(), two.square(), both * valid[:, :, 1:].double() * error.shape[1])
        sums = torch.stack([x.sum((1, 2, 3, 4)) for x in parts], dim=1)
        self.append_segments("sums", sums, continues=before is not None)
        self._last_frame = error[:, :, -1:], valid[:, :, -1:]

    def per_segment(self) -> dict[str, Tensor]:
        product, one, two, count = self.rows("sums").unbind(1)
        if not len(product):
            return {}
        floor = MSE_FLOOR * count
        lag = product / (one * two).sqrt()
        return {"error_lag": torch.where((one <= floor) | (two <= floor), torch.nan, lag)}

    def reset(self) -> None:
        super().reset()
        self._last_frame = None


class TemporalSpectrum(PowerMetric):
    """Log-spectral distance in time of each segment (temporal_lsd): RMS over frequencies of 10 log10 (P / Y), in dB.

    P and Y are the powers of prediction and truth, averaged over channels and, weighted by the mask, over pixels. They are
    computed with the method of Welch (1967), in blocks of 64 frames that overlap by half. The last block ends with the segment,
    and a shorter segment is one block. Each pixel is centred by its mean over the block and multiplied by a Hann window in
    time. Frequencies go from the first above 0 to 0.5 cycles per frame. Segments of fewer than 8 frames and segments with
    masked pixels have no score.

    At most 64 x 64 evenly spread pixels of each frame are used, the same in all frames. So memory depends neither on the size
    nor on the number of frames. Source of the score: sup3r.

    Args:
        bounds: Physical values at 0 and 1 of the unit interval.
        step: As in `PowerMetric`.
    """

    def __init__(self, bounds: tuple[float, float], step: float = 0.0) -> None:
        super().__init__(bounds, functions_of_definitions("segment", "time"), step=step)
        # Of the last segment, which may continue: its frames (2, C, T, pixels) from the last full block on, and the power of all
        # full blocks.
        self._frames: Tensor | None = None
        self._blocks: PowerSums | None = None
        self._weights: Tensor | None = None  # of the pixels

    def update(self, sr: HRClips, hr: HRClips, mask: Float[Tensor, "B 1 F H W"] | None = None, follows: bool = False) -> None:
        """Add clips in the unit interval. If `follows`, the batch must be a single clip, which continues the last segment."""
        rows, columns = (_spread_indices(n, hr.device) for n in hr.shape[-2:])
        clips = torch.stack([x[..., rows[:, None], columns].flatten(-2) for x in (sr, hr)])
        measured = metric_valid_frames(mask, hr).unflatten(0, (hr.shape[0], hr.shape[2])).all(1).tolist()
        for i, whole in enumerate(measured):
            self._weights = None if mask is None else mask[i, 0, 0][rows[:, None], columns].flatten().double()
            if follows and self._frames is not None:
                self.replace_last_segment(self._add_frames(torch.cat([self._frames, clips[:, i]], dim=2)), whole)
            else:
                self._blocks = None
                self.append_segment(self._add_frames(clips[:, i]), whole)

    def curves(self) -> dict[str, dict[str, Tensor]]:
        """Return the mean "temporal_spectrum" of all segments: frequency (cycles per frame), sr and hr (physical power)."""
        mean = self.mean_power()
        return (
            {}
            if mean is None
            else {"temporal_spectrum": {"frequency": mean["position"], **{key: mean[key] for key in ("sr", "hr", "floor")}}}
        )

    def reset(self) -> None:
        super().reset()
        self._frames = self._blocks = self._weights = None

    def _add_frames(self, frames: Float[Tensor, "2 C T pixels"]) -> PowerSums:
        """Return the power of the segment including `frames`, and keep the frames that a continuation of the segment needs."""
        start = 0 if self._blocks is None else HOP
        while frames.shape[2] - start >= BLOCK:
            frames = frames[:, :, start:]
            block = _temporal_power(frames[:, :, :BLOCK], self._weights)
            self._blocks = block if self._blocks is None else _add_power(self._blocks, block)
            start = HOP
        self._frames = frames.clone()  # frees the rest of a long clip
        if self._blocks is None:
            short = frames.shape[2] < MIN_FRAMES
            return torch.zeros(0, 5).to(frames) if short else _temporal_power(frames, self._weights)
        if frames.shape[2] <= BLOCK:
            return self._blocks
        return _add_power(self._blocks, _temporal_power(frames[:, :, -BLOCK:], self._weights))


def _temporal_power(frames: Float[Tensor, "2 C T pixels"], weights: Float[Tensor, " pixels"] | None) -> PowerSums:
    """Compute the power in time of prediction and truth in one block of Welch's method, averaged over channels and pixels.

    Weights of the pixels are None for pixels that count alike.
    """
    count = frames.shape[2]
    window = torch.hann_window(count, periodic=False, dtype=torch.float64, device=frames.device)
    centred = frames.double() - frames.double().mean(2, keepdim=True)
    sr, hr = torch.fft.rfft(centred * window[:, None], dim=2)[:, :, 1:]
    pixels = [power_of_spectrum(x) for x in (sr, hr)]
    means = [x.mean((0, 2)) if weights is None else x.mean(0) @ weights / weights.sum() for x in pixels]
    powers = [x / window.square().sum() for x in means]
    position = torch.arange(1, count // 2 + 1, dtype=torch.float64, device=frames.device) / count
    no_cross = torch.zeros_like(position)  # no score in time asks for the coherence
    return torch.stack([position, torch.ones_like(position), *powers, no_cross], dim=1)


def _add_power(one: PowerSums, other: PowerSums) -> PowerSums:
    """Return the sums of `one` and `other`, with the positions (frequencies) of `one`."""
    return torch.cat([one[:, :MODES], one[:, MODES:] + other[:, MODES:]], dim=1)


def _spread_indices(size: int, device: torch.device) -> Tensor:
    """Return the indices of at most MAX_SIDE evenly spread rows (or columns): the middles of equal parts of `size`."""
    count = min(size, MAX_SIDE)
    return ((torch.arange(count, device=device) + 0.5) * size / count).long()
