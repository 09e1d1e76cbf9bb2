"""Scores in time beside those of `SequenceScores`: whether errors stay, and which frequencies are right."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vsr.metrics.base import Table, unmasked
from vsr.metrics.power import MODES, Power, PowerTable, log_distance
from vsr.metrics.psnr_ssim import MSE_FLOOR
from vsr.metrics.spectrum import power_of
from vsr.types import HRClips

BLOCK = 64  # frames per block of Welch's method: long movies are averaged, and kept in bounded memory
HOP = BLOCK // 2
SHORTEST = 8  # frames, for four frequencies
PIXELS = 64  # per side


class ErrorLag(Table):
    """error_lag = sum e_t e_t+1 / sqrt(sum e_t^2 sum e_t+1^2), over the unmasked pixels and the pairs of frames of a segment.

    No mean is taken off: an error that stays where it is scores 1, a constant one too, one that is drawn anew in each frame 0,
    one that changes its sign -1. A segment of one frame, or without an error that float32 can tell, has none.
    """

    sums: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_rows("sums", 4)
        self._before: tuple[Tensor, Tensor] | None = None

    def update(self, sr: HRClips, hr: HRClips, mask: Float[Tensor, "B 1 F H W"] | None = None, follows: bool = False) -> None:
        """Add clips, each a segment of its own, or (B = 1, `follows`) going on with the last."""
        valid = torch.ones_like(hr[:, :1]) if mask is None else mask
        error = (sr.double() - hr.double()) * valid
        joined = follows and self._before is not None
        if joined and self._before is not None:
            error, valid = (torch.cat(pair, dim=2) for pair in zip(self._before, (error, valid), strict=True))
        both = valid[:, :, 1:] * valid[:, :, :-1]
        one, two = error[:, :, :-1] * both, error[:, :, 1:] * both
        parts = (one * two, one.square(), two.square(), both.double() * error.shape[1])
        sums = torch.stack([x.sum((1, 2, 3, 4)) for x in parts], dim=1)
        if joined:
            self.sums[-1] = self.sums[-1] + sums
        else:
            for row in sums:
                self.grow("sums", row[None])
        self._before = error[:, :, -1:], valid[:, :, -1:]

    def per_segment(self) -> dict[str, Tensor]:
        product, one, two, count = self.rows("sums").unbind(1)
        if not len(product):
            return {}
        floor = MSE_FLOOR * count
        lag = product / (one * two).sqrt()
        return {"error_lag": torch.where((one <= floor) | (two <= floor), torch.nan, lag)}

    def reset(self) -> None:
        super().reset()
        self._before = None


class TemporalSpectrum(PowerTable):
    """temporal_lsd = RMS over frequencies of 10 log10 (power of p / of y) in dB, power being the mean over pixels.

    Power is Welch's: blocks of 64 frames that overlap by half and a last one that ends with the segment, or one block of the
    whole segment if it is shorter; each pixel's mean over the block taken off, a Hann window in time, frequencies from the first
    above 0 to 0.5 cycles per frame. Of each frame it looks at no more than 64 x 64 pixels, evenly spread and always the same, so
    that the memory it takes depends neither on the size of frames nor on the number of them. Segments of fewer than 8 frames and
    segments with masked pixels have none. Welch 1967; the score is sup3r's.
    """

    def __init__(self, bounds: tuple[float, float]) -> None:
        super().__init__(bounds)
        # Of the segment that may go on: its frames (2, C, T, pixels) from the last full block on, and sums over full blocks.
        self._frames: Tensor | None = None
        self._blocks: Power | None = None

    def update(self, sr: HRClips, hr: HRClips, mask: Float[Tensor, "B 1 F H W"] | None = None, follows: bool = False) -> None:
        """Add clips in the unit interval, each a segment of its own, or (B = 1, `follows`) going on with the last."""
        rows, columns = (_spread(n, hr.device) for n in hr.shape[-2:])
        clips = torch.stack([x[..., rows[:, None], columns].flatten(-2).float() for x in (sr, hr)])
        measured = unmasked(mask, hr).unflatten(0, (hr.shape[0], hr.shape[2])).all(1)
        for i in range(hr.shape[0]):
            whole = bool(measured[i])
            if follows and self._frames is not None:
                power = self._take(torch.cat([self._frames, clips[:, i]], dim=2))
                self.replace_segment(power, whole and bool(self.shapes[-1][0, 1]))
            else:
                self._blocks = None
                self.add_segment(self._take(clips[:, i]), whole)

    def per_segment(self) -> dict[str, Tensor]:
        segments = self.segments()
        if all(power is None for power in segments):
            return {}
        found = [log_distance(power) if power is not None and len(power) else float("nan") for power in segments]
        return {"temporal_lsd": torch.tensor(found, dtype=torch.float64)}

    def curves(self) -> dict[str, dict[str, Tensor]]:
        """ "temporal_spectrum": frequency (cycles per frame), sr and hr (power in physical units), over all segments."""
        pooled = self.pooled()
        if pooled is None:
            return {}
        return {"temporal_spectrum": {"frequency": pooled["position"], "sr": pooled["sr"], "hr": pooled["hr"]}}

    def reset(self) -> None:
        super().reset()
        self._frames = self._blocks = None

    def _take(self, frames: Float[Tensor, "2 C T pixels"]) -> Power:
        """The power of the segment up to the last of `frames`, of which those are kept that may be needed again."""
        start = 0 if self._blocks is None else HOP
        while frames.shape[2] - start >= BLOCK:
            frames = frames[:, :, start:]
            block = temporal_power(frames[:, :, :BLOCK])
            self._blocks = block if self._blocks is None else _sum(self._blocks, block)
            start = HOP
        self._frames = frames.clone()  # the rest of a long clip is let go
        if self._blocks is None:
            return temporal_power(frames) if frames.shape[2] >= SHORTEST else torch.zeros(0, 5).to(frames)
        return _sum(self._blocks, temporal_power(frames[:, :, -BLOCK:])) if frames.shape[2] > BLOCK else self._blocks


def temporal_power(frames: Float[Tensor, "2 C T pixels"]) -> Power:
    """One block of Welch's method: mean power in time over channels and pixels, of the prediction and the truth."""
    count = frames.shape[2]
    window = torch.hann_window(count, periodic=False, dtype=torch.float64, device=frames.device)
    centred = frames.double() - frames.double().mean(2, keepdim=True)
    sr, hr = torch.fft.rfft(centred * window[:, None], dim=2)[:, :, 1:]
    cross = sr.real * hr.real + sr.imag * hr.imag
    powers = [x.mean((0, 2)) / window.square().sum() for x in (power_of(sr), power_of(hr), cross)]
    position = torch.arange(1, count // 2 + 1, dtype=torch.float64, device=frames.device) / count
    return torch.stack([position, torch.ones_like(powers[0]), *powers], dim=1)


def _sum(one: Power, other: Power) -> Power:
    """The sums of both, at the positions of the first."""
    return torch.cat([one[:, :MODES], one[:, MODES:] + other[:, MODES:]], dim=1)


def _spread(size: int, device: torch.device) -> Tensor:
    """Numbers of at most PIXELS rows (or columns) out of `size`: the middles of equal parts."""
    count = min(size, PIXELS)
    return ((torch.arange(count, device=device) + 0.5) * size / count).long()
