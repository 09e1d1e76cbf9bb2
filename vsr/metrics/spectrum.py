"""Scores of scales in space: which wavelengths are right."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from vsr.metrics.base import FrameTable, frames_of, unmasked
from vsr.metrics.power import MODES, POSITION, Power, PowerTable, coherence, log_distance, nearest
from vsr.types import HRClips

BANDS = ("band_low", "band_mid", "band_high")
FINEST = 2.0  # pixels per wave
RESOLVED = 0.5  # coherence
ROUNDING = 1e-9  # of wavenumbers: the edge of a band belongs to the band above


class BandErrors(FrameTable):
    """The RMSE of a frame in three bands of wavelengths, in physical units: their squares add up to the square of the RMSE.

    Args:
        scale: the LR Nyquist wavenumber is 0.5 / scale cycles per HR pixel.
        bounds: physical values that are 0 and 1.

    Bands are rings |k| of the error's Fourier transform without a window (Parseval): below half of the LR Nyquist wavenumber,
    from there to that, and from that on, the corners included. Means over channels. Frames with masked pixels have none.
    Takamoto et al. 2022 (PDEBench).
    """

    def __init__(self, scale: int, bounds: tuple[float, float]) -> None:
        super().__init__(BANDS)
        self.nyquist, self.range = 0.5 / scale, bounds[1] - bounds[0]

    def update(self, sr: HRClips, hr: HRClips, mask: Float[Tensor, "B 1 F H W"] | None = None) -> None:
        """Add clips in the unit interval."""
        height, width = hr.shape[-2:]
        waves = Waves.of(height, width, hr.device)
        energy = power_of(torch.fft.rfft2(frames_of(sr).double() - frames_of(hr).double())).mean(1)
        # Every mode counts in one band, once or (for its mirror image) twice.
        edges = torch.tensor([self.nyquist / 2, self.nyquist], dtype=torch.float64, device=hr.device) - ROUNDING
        band = torch.bucketize(waves.number, edges, right=True).flatten()
        share = torch.zeros(len(band), len(BANDS), dtype=torch.float64, device=hr.device)
        share.scatter_(1, band[:, None], waves.twice.reshape(-1, 1))
        squares = energy.flatten(1) @ share / (height * width) ** 2
        self.add(self.range * squares.sqrt(), unmasked(mask, hr))


class SpectrumScores(PowerTable):
    """Log-spectral distance and effective resolution of each segment, from power summed over its frames and rings.

    Args:
        scale: the LR Nyquist wavenumber is 0.5 / scale cycles per HR pixel.
        bounds: physical values that are 0 and 1.
        taper: (y, x), whether frames end there: not for periodic ones that are scored whole. A Hann window is laid over them.

    Rings are 1/min(H, W) cycles per pixel wide, from the first to the Nyquist wavenumber of the frames; each frame's and
    channel's mean is taken off. lsd = RMS over rings of 10 log10 (power of p / of y) in dB, lsd_high over the rings from the LR
    Nyquist wavenumber on. resolution = the wavelength in pixels at which the coherence Re sum P Y* / sqrt(sum |P|^2 sum |Y|^2)
    first falls below 0.5, linear between rings; 2 if it never does, min(H, W) if it does in the first ring. Segments with
    masked pixels have none. Harris et al. 2001; Subich et al. 2025 for the coherence.
    """

    def __init__(self, scale: int, bounds: tuple[float, float], taper: tuple[bool, bool]) -> None:
        super().__init__(bounds)
        self.nyquist, self.taper = 0.5 / scale, taper

    def update(self, sr: HRClips, hr: HRClips, mask: Float[Tensor, "B 1 F H W"] | None = None, follows: bool = False) -> None:
        """Add clips in the unit interval, each a segment of its own, or (B = 1, `follows`) going on with the last."""
        height, width = hr.shape[-2:]
        waves = Waves.of(height, width, hr.device)
        window = self._window(height, width, hr.device)
        measured = unmasked(mask, hr).unflatten(0, (hr.shape[0], hr.shape[2])).all(1)
        for i, (p, y) in enumerate(zip(sr, hr, strict=True)):
            power = self._power(p.double(), y.double(), window, waves)
            whole = bool(measured[i])
            if follows and self.any("shapes"):
                power[:, MODES:] += self.power[-1][:, MODES:]
                self.replace_segment(power, whole and bool(self.shapes[-1][0, 1]))
            else:
                self.add_segment(power, whole)

    def per_segment(self) -> dict[str, Tensor]:
        segments = self.segments()
        if all(power is None for power in segments):
            return {}
        scores = [3 * (float("nan"),) if power is None else self._scores(power) for power in segments]
        columns = torch.tensor(scores, dtype=torch.float64).unbind(1)
        return dict(zip(("lsd", "lsd_high", "resolution"), columns, strict=True))

    def curves(self) -> dict[str, dict[str, Tensor]]:
        """ "spectrum": wavenumber (cycles per HR pixel), sr and hr (power in physical units), coherence; over all segments."""
        pooled = self.pooled()
        return {} if pooled is None else {"spectrum": {"wavenumber": pooled.pop("position"), **pooled}}

    def _power(self, p: Tensor, y: Tensor, window: Tensor, waves: Waves) -> Power:
        """Of clips (C, F, H, W) in float64."""
        spectrum, true = (torch.fft.rfft2((x - x.mean((-2, -1), keepdim=True)) * window) for x in (p, y))
        cross = spectrum.real * true.real + spectrum.imag * true.imag
        # Channels share the rings, so that power is their mean.
        weight = waves.twice / (window.square().sum() * p.shape[0])
        planes = [x.sum((0, 1)) * weight for x in (power_of(spectrum), power_of(true), cross)]
        position = torch.arange(1, waves.rings + 1, dtype=torch.float64, device=p.device) / min(p.shape[-2:])
        return torch.stack([position, *(waves.sums(x) for x in (waves.twice * p.shape[1], *planes))], dim=1)

    def _scores(self, power: Power) -> tuple[float, float, float]:
        high = power[power[:, POSITION] >= self.nyquist - ROUNDING]
        return log_distance(power), log_distance(high), resolution(power)

    def _window(self, height: int, width: int, device: torch.device) -> Float[Tensor, "H W"]:
        sides = zip((height, width), self.taper, strict=True)
        y, x = (
            torch.hann_window(n, periodic=False, dtype=torch.float64, device=device)
            if tapered
            else torch.ones(n, dtype=torch.float64).to(device)
            for n, tapered in sides
        )
        return y[:, None] * x


def resolution(power: Power) -> float:
    """Wavelength in pixels down to which two spectra are coherent; NaN where they are not finite."""
    found, position = coherence(power), power[:, POSITION]
    if found.isnan().any():
        return float("nan")
    below = (found < RESOLVED).nonzero().flatten().tolist()
    if not below:
        return FINEST
    at = below[0]
    if at == 0:
        return 1 / float(position[0])
    share = (found[at - 1] - RESOLVED) / (found[at - 1] - found[at])
    return 1 / float(position[at - 1] + share * (position[at] - position[at - 1]))


@dataclass(frozen=True)
class Waves:
    """The plane of a real two-dimensional Fourier transform of (H, W) pixels, (H, W // 2 + 1).

    number: |k| in cycles per pixel. twice: 2 for modes that stand for their mirror image too, else 1. ring: the nearest multiple
    of 1 / min(H, W), at most rings + 1. rings: number of the last one below or at 0.5 cycles per pixel.
    """

    number: Float[Tensor, "H V"]
    twice: Float[Tensor, "H V"]
    ring: Tensor
    rings: int

    @classmethod
    @lru_cache(maxsize=2)
    def of(cls, height: int, width: int, device: torch.device) -> Waves:
        """Of frames of this size. The last ones are kept: at 1080 x 1920 they cost more than the transform."""
        ky = torch.fft.fftfreq(height, dtype=torch.float64, device=device)
        kx = torch.fft.rfftfreq(width, dtype=torch.float64, device=device)
        number = torch.hypot(ky[:, None], kx)
        twice = torch.where((kx == 0) | (kx == 0.5), 1.0, 2.0).double().expand(number.shape)
        size = min(height, width)
        return cls(number, twice, nearest(number * size).clamp(max=size // 2 + 1), size // 2)

    def sums(self, plane: Float[Tensor, "H V"]) -> Float[Tensor, " rings"]:
        """Over the rings 1..rings, that is without the mean and the corners."""
        found = torch.zeros(self.rings + 2, dtype=torch.float64, device=plane.device)
        return found.index_add_(0, self.ring.flatten(), plane.flatten())[1:-1]


def power_of(spectrum: Tensor) -> Tensor:
    """|x|^2 of complex numbers."""
    return spectrum.real.square() + spectrum.imag.square()
