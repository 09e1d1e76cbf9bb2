"""Power spectra of prediction and truth, summed per segment: the common part of the spectra in space and in time.

Power is a density: white noise of variance v has the power v at every wavenumber. Both spectra stand on a floor of MSE_FLOOR, so
that no score depends on the rounding of float32 where the truth of a smooth field has no power at all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vsr.metrics.base import TableMetric
from vsr.metrics.definitions import MSE_FLOOR

# Columns of a table of power: wavenumber or frequency, number of modes, and sums over the modes of |P|^2, |Y|^2 and Re P Y*.
POSITION, MODES, SR, HR, CROSS = range(5)
PowerSums = Float[Tensor, "K 5"]

FINEST = 2.0  # pixels per wave
RESOLVED = 0.5  # coherence
ROUNDING = 1e-9  # of wavenumbers: the edge of a band belongs to the band above


class PowerMetric(TableMetric):
    """Power of every segment, and the scores that are functions of it.

    Args:
        bounds: physical values at 0 and 1 of the unit interval; curves are in physical units.
        functions: formulas of a `SpectrumPair` by score.
        lr_nyquist: the LR Nyquist wavenumber in cycles per HR pixel; 0 for spectra in time.
    """

    power: list[Tensor]  # the rows of all segments
    shapes: list[Tensor]  # of each segment: its number of rows, and whether it can have a spectrum

    def __init__(
        self, bounds: tuple[float, float], functions: dict[str, Callable[[Any], float]], lr_nyquist: float = 0.0
    ) -> None:
        super().__init__()
        self.range, self.functions, self.lr_nyquist = bounds[1] - bounds[0], functions, lr_nyquist
        self.add_table("power", 5)
        self.add_table("shapes", 2)

    def append_segment(self, power: PowerSums, measured: bool) -> None:
        """Append a segment; `measured` False: the segment cannot have a spectrum."""
        self.append_rows("power", power)
        self.append_rows("shapes", self._shape(power, measured))

    def replace_last_segment(self, power: PowerSums, measured: bool) -> None:
        """Replace the sums of the last segment; the segment stays without a spectrum if it was."""
        self.power[-1] = power.double()
        self.shapes[-1] = self._shape(power, measured and bool(self.shapes[-1][0, 1]))

    def per_segment(self) -> dict[str, Tensor]:
        segments = self._segments()
        if all(power is None for power in segments):
            return {}
        pairs = [None if power is None else SpectrumPair(power, self.lr_nyquist) for power in segments]
        return {
            name: torch.tensor([torch.nan if pair is None else function(pair) for pair in pairs], dtype=torch.float64)
            for name, function in self.functions.items()
        }

    def mean_power(self) -> dict[str, Tensor] | None:
        """Average the power over the modes of all segments.

        Frames of several sizes, or segments of several lengths, are put on the positions of the smallest.

        Returns:
            Columns "position" (cycles per pixel or per frame), "sr" and "hr" (power in physical units) and "coherence"; None
            without any spectrum.
        """
        known = [power for power in self._segments() if power is not None and len(power)]
        if not known:
            return None
        size = min(round(1 / float(power[0, POSITION])) for power in known)
        rows = torch.cat(known)
        place = round_half_up(rows[:, POSITION] * size)
        kept = (place >= 1) & (place <= size // 2)
        sums = torch.zeros(size // 2 + 1, 5, dtype=torch.float64).index_add_(0, place[kept], rows[kept])[1:]
        sums[:, POSITION] = torch.arange(1, size // 2 + 1, dtype=torch.float64) / size
        density = self.range**2 / sums[:, MODES]
        return {
            "position": sums[:, POSITION],
            "sr": sums[:, SR] * density,
            "hr": sums[:, HR] * density,
            "coherence": SpectrumPair(sums).coherence,
        }

    def _segments(self) -> list[PowerSums | None]:
        """The sums of each segment on the CPU, None for segments without a spectrum."""
        lengths, measured = (x.tolist() for x in self.rows("shapes").long().unbind(1))
        parts = self.rows("power").cpu().split(lengths)
        return [part if known else None for part, known in zip(parts, measured, strict=True)]

    def _shape(self, power: PowerSums, measured: bool) -> Tensor:
        return torch.tensor([[len(power), measured]], dtype=torch.float64, device=power.device)


class SpectrumPair:
    """The spectra of prediction and truth of one segment.

    Args:
        sums: rows of (wavenumber or frequency, modes, |P|^2, |Y|^2, Re P Y*).
        lr_nyquist: the LR Nyquist wavenumber in cycles per HR pixel; 0 for spectra in time.
    """

    def __init__(self, sums: PowerSums, lr_nyquist: float = 0.0) -> None:
        floor = MSE_FLOOR * sums[:, MODES]
        self.position, self.lr_nyquist = sums[:, POSITION], lr_nyquist
        self.sr, self.hr, self.cross = (sums[:, column] + floor for column in (SR, HR, CROSS))

    def log_distance(self, lowest: float = 0.0) -> float:
        """Compute the RMS in dB of the ratio of both powers, from the wavenumber `lowest` on; NaN without any row."""
        high = self.position >= lowest - ROUNDING
        return float((10 * torch.log10(self.sr[high] / self.hr[high])).square().mean().sqrt())

    @cached_property
    def coherence(self) -> Float[Tensor, " K"]:
        """The correlation of both at each position, from -1 to 1, where 1 means equal up to a factor."""
        return self.cross / (self.sr * self.hr).sqrt()

    def resolution(self) -> float:
        """Find the wavelength in pixels down to which both are coherent; NaN where they are not finite."""
        if self.coherence.isnan().any():
            return float("nan")
        below = (self.coherence < RESOLVED).nonzero().flatten().tolist()
        if not below:
            return FINEST
        at = below[0]
        if at == 0:
            return 1 / float(self.position[0])
        before, after = self.coherence[at - 1], self.coherence[at]
        share = (before - RESOLVED) / (before - after)
        return 1 / float(self.position[at - 1] + share * (self.position[at] - self.position[at - 1]))


def spectral_power(spectrum: Tensor) -> Tensor:
    """Compute |x|^2 of complex numbers."""
    return spectrum.real.square() + spectrum.imag.square()


def round_half_up(x: Tensor) -> Tensor:
    """Round to whole numbers, halves upwards."""
    return (x + 0.5).floor().long()
