"""Scores of spectra in space: error in bands of wavelengths, log-spectral distance and effective resolution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from vsr.geometry import SQUARE, PixelGrid
from vsr.metrics.base import FrameMetric
from vsr.metrics.definitions import functions_of_definitions
from vsr.metrics.frames import metric_frames, metric_valid_frames
from vsr.metrics.power import MODES, ROUNDING, PowerMetric, SpectrumPair, power_of_spectrum, rounded_power_ring
from vsr.types import HRClips

BANDS = ("band_low", "band_mid", "band_high")


class BandErrors(FrameMetric):
    """RMSE of each frame in three bands of wavelengths, in physical units.

    The bands are rings of wavenumbers in the Fourier transform of the error: below half the LR Nyquist wavenumber, from there
    to the LR Nyquist wavenumber, and above it, corners included. There is no taper, so the squares of the three values add up
    to the squared RMSE (Parseval). Squares are averaged over channels. Frames with masked pixels have no score. Source:
    Takamoto et al. 2022 (PDEBench).

    Args:
        scale: Super-resolution factor.
        bounds: Physical values at 0 and 1 of the unit interval.
        grid: The size of the pixels.
    """

    def __init__(self, scale: int, bounds: tuple[float, float], grid: PixelGrid = SQUARE) -> None:
        super().__init__(BANDS)
        self.lr_nyquist, self.range, self.grid = 0.5 / scale, bounds[1] - bounds[0], grid

    def update(self, sr: HRClips, hr: HRClips, mask: Float[Tensor, "B 1 F H W"] | None = None) -> None:
        """Add clips in the unit interval."""
        height, width = hr.shape[-2:]
        modes = FourierModes.of(height, width, self.grid, hr.device)
        energy = power_of_spectrum(torch.fft.rfft2(metric_frames(sr).double() - metric_frames(hr).double())).mean(1)
        # Every mode counts in one band, once or (for its mirror image) twice.
        edges = torch.tensor([self.lr_nyquist / 2, self.lr_nyquist], dtype=torch.float64, device=hr.device) - ROUNDING
        band = torch.bucketize(modes.wavenumber, edges, right=True).flatten()
        share = torch.zeros(len(band), len(BANDS), dtype=torch.float64, device=hr.device)
        share.scatter_(1, band[:, None], modes.count.reshape(-1, 1))
        squares = energy.flatten(1) @ share / (height * width) ** 2
        self.append_frames(self.range * squares.sqrt(), metric_valid_frames(mask, hr))


class SpectrumScores(PowerMetric):
    """Log-spectral distance and effective resolution of each segment, and coherence of each frame, from power over rings.

    Rings of wavenumbers are 1/min(H, W) cycles per pixel wide. They go from 1/min(H, W) to the Nyquist wavenumber of the
    frames. Where the sides of pixels are known, wavenumbers are physical: rings are 1/min(H dy, W dx) wide, and go to the
    Nyquist wavenumber of the longer side of the pixels. On latitudes and longitudes, dx is the mean over the rows. Each
    channel of a frame is centred by its own mean. Segments with masked pixels have no score.

    The score lsd is the RMS over rings of 10 log10 (power of p / power of y) in dB, for prediction p and truth y. The score
    lsd_high uses only the rings from the LR Nyquist wavenumber on (Harris et al. 2001). The score resolution is the wavelength
    at which the coherence Re sum P Y* / sqrt(sum |P|^2 sum |Y|^2) first falls below 0.5, linear between rings. It is
    2 pixels if the coherence never falls below 0.5, and that of the first ring if it does so there (Subich et al. 2025 for
    the coherence). The score nyquist_coherence of a frame is this coherence in the ring at the LR Nyquist wavenumber; a frame
    whose truth has no power there, or with masked pixels, has no value.

    Args:
        scale: Super-resolution factor.
        bounds: Physical values at 0 and 1 of the unit interval.
        taper: (y, x), True for a Hann window in that direction. Periodic frames that are scored whole need no window.
        grid: The size of the pixels.
        step: As in `PowerMetric`.
    """

    coherent: list[Tensor]  # of each frame: 1 if it has no masked pixel, else 0; then the coherence at the LR Nyquist wavenumber

    def __init__(
        self,
        scale: int,
        bounds: tuple[float, float],
        taper: tuple[bool, bool],
        grid: PixelGrid = SQUARE,
        step: float = 0.0,
    ) -> None:
        functions = functions_of_definitions("segment", "spectrum")
        super().__init__(bounds, functions, lr_nyquist=0.5 / scale, side=grid.side, step=step)
        self.taper, self.grid = taper, grid
        self.add_table("coherent", 2)

    def update(self, sr: HRClips, hr: HRClips, mask: Float[Tensor, "B 1 F H W"] | None = None, follows: bool = False) -> None:
        """Add clips in the unit interval. If `follows`, the batch must be a single clip, which continues the last segment."""
        height, width = hr.shape[-2:]
        modes = FourierModes.of(height, width, self.grid, hr.device)
        window = self._window(height, width, hr.device)
        nyquist = min(max(1, int(rounded_power_ring(torch.tensor(self.lr_nyquist * modes.size)))), modes.rings) - 1
        measured = metric_valid_frames(mask, hr).unflatten(0, (hr.shape[0], hr.shape[2]))
        for p, y, valid in zip(sr, hr, measured, strict=True):
            powers = self._power(p.double(), y.double(), window, modes)
            pair = SpectrumPair(powers[:, nyquist], floor=self.floor)
            coherence = torch.where(pair.measured & valid, pair.coherence, torch.nan)
            self.append_rows("coherent", torch.stack([valid.double(), coherence], 1))
            power, whole = torch.cat([powers[0, :, :1], powers[..., 1:].sum(0)], 1), bool(valid.all())
            if follows and self.has_rows("shapes"):
                power[:, MODES:] += self.power[-1][:, MODES:]
                self.replace_last_segment(power, whole)
            else:
                self.append_segment(power, whole)

    def per_frame(self) -> dict[str, Tensor]:
        valid, coherence = self.rows("coherent").unbind(1)
        return {"nyquist_coherence": coherence} if valid.any() else {}

    def curves(self) -> dict[str, dict[str, Tensor]]:
        """Return the mean "spectrum" of all segments: wavenumber (cycles per unit of length), powers, floor, coherence."""
        mean = self.mean_power()
        return {} if mean is None else {"spectrum": {"wavenumber": mean.pop("position"), **mean}}

    def _power(self, p: Tensor, y: Tensor, window: Tensor, modes: FourierModes) -> Float[Tensor, "F K 5"]:
        """Return the power of each frame of a clip (C, F, H, W) in float64, summed over each ring of wavenumbers."""
        spectrum, true = (torch.fft.rfft2((x - x.mean((-2, -1), keepdim=True)) * window) for x in (p, y))
        cross = spectrum.real * true.real + spectrum.imag * true.imag
        # Channels share the rings, so that power is their mean.
        weight = modes.count / (window.square().sum() * p.shape[0])
        planes = [x.sum(0) * weight for x in (power_of_spectrum(spectrum), power_of_spectrum(true), cross)]
        position = torch.arange(1, modes.rings + 1, dtype=torch.float64, device=p.device) / modes.size
        same = [x.expand(p.shape[1], -1) for x in (position, modes.ring_sums(modes.count))]
        return torch.stack([*same, *(modes.ring_sums(x) for x in planes)], dim=-1)

    def _window(self, height: int, width: int, device: torch.device) -> Float[Tensor, "H W"]:
        """Return the Hann window (H, W) that tapers frames; 1 in directions without a taper."""
        sides = zip((height, width), self.taper, strict=True)
        y, x = (
            torch.hann_window(n, periodic=False, dtype=torch.float64, device=device)
            if tapered
            else torch.ones(n, dtype=torch.float64).to(device)
            for n, tapered in sides
        )
        return y[:, None] * x


@dataclass(frozen=True)
class FourierModes:
    """Modes of a real two-dimensional Fourier transform of (H, W) pixels, as planes (H, W // 2 + 1).

    Attributes:
        wavenumber: |k| in cycles per longer side of a pixel.
        count: 2 for modes that also stand for their mirror image, else 1.
        ring: Number of the mode's ring: |k| in units of 1 / size, rounded; at most rings + 1.
        rings: Number of the last ring below or at 0.5 cycles per longer side of a pixel.
        size: The shorter side of the frame, in longer sides of a pixel; min(H, W) for square pixels.
    """

    wavenumber: Float[Tensor, "H V"]
    count: Float[Tensor, "H V"]
    ring: Tensor
    rings: int
    size: float

    @classmethod
    @lru_cache(maxsize=2)
    def of(cls, height: int, width: int, grid: PixelGrid, device: torch.device) -> FourierModes:
        """Return the modes of frames of this size. They are cached, because they take longer to compute than the transform."""
        ky = torch.fft.fftfreq(height, dtype=torch.float64, device=device)
        kx = torch.fft.rfftfreq(width, dtype=torch.float64, device=device)
        dy, dx = grid.dy / grid.side, grid.mean_dx / grid.side
        wavenumber = torch.hypot(ky[:, None] / dy, kx / dx)
        count = torch.where((kx == 0) | (kx == 0.5), 1.0, 2.0).double().expand(wavenumber.shape)
        size = min(height * dy, width * dx)
        rings = int(size / 2 + ROUNDING * size)
        return cls(wavenumber, count, rounded_power_ring(wavenumber * size).clamp(max=rings + 1), rings, size)

    def ring_sums(self, planes: Float[Tensor, "*N H V"]) -> Float[Tensor, "*N rings"]:
        """Return the sums of planes over each ring 1..rings, without the mean (ring 0) and the corners (ring rings + 1)."""
        sums = torch.zeros(*planes.shape[:-2], self.rings + 2, dtype=torch.float64, device=planes.device)
        return sums.index_add_(-1, self.ring.flatten(), planes.flatten(-2))[..., 1:-1]
