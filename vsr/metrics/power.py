"""Power spectra of prediction and truth per segment: common base of the spectra in space and in time.

Power is a density: white noise of variance v has the power v at every wavenumber. Both spectra stand on a floor: MSE_FLOOR, the
rounding of float32 in the unit interval, or the square of the step in which the values are stored, if that is more. The variance
of rounding to a step is a twelfth of its square. Where the truth has less power than the floor, as a smooth field at short
waves, nothing is scored.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vsr.metrics.base import TableMetric
from vsr.metrics.definitions import MSE_FLOOR, RESOLVED

# Columns of a table of power: wavenumber or frequency, number of modes, and sums over the modes of |P|^2, |Y|^2 and Re P Y*.
POSITION, MODES, SR, HR, CROSS = range(5)
PowerSums = Float[Tensor, "K 5"]

FINEST = 2.0  # pixel sides per wave
ROUNDING = 1e-9  # of wavenumbers: the edge of a band belongs to the band above


class PowerMetric(TableMetric):
    """Base class of metrics that keep the power of every segment and score its spectra.

    Args:
        bounds: Physical values at 0 and 1 of the unit interval; curves are in physical units.
        functions: Score name -> formula of a `SpectrumPair`.
        lr_nyquist: The LR Nyquist wavenumber in cycles per HR pixel; 0 for spectra in time.
        side: The longer side of a pixel, in the unit of lengths; positions are in cycles per this side, or per frame.
        step: Distance between neighbouring values that the data can have, in physical units.
    """

    power: list[Tensor]  # the rows of all segments
    shapes: list[Tensor]  # of each segment: its number of rows, and whether it can have a spectrum

    def __init__(
        self,
        bounds: tuple[float, float],
        functions: dict[str, Callable[[Any], float]],
        lr_nyquist: float = 0.0,
        side: float = 1.0,
        step: float = 0.0,
    ) -> None:
        super().__init__()
        self.range, self.functions, self.lr_nyquist, self.side = bounds[1] - bounds[0], functions, lr_nyquist, side
        self.floor = max(MSE_FLOOR, (step / self.range) ** 2)
        self.add_table("power", 5)
        self.add_table("shapes", 2)

    def append_segment(self, power: PowerSums, measured: bool) -> None:
        """Append the power of a segment; `measured` is False for a segment that cannot have a spectrum."""
        self.append_rows("power", power)
        self.append_rows("shapes", self._shape(power, measured))

    def replace_last_segment(self, power: PowerSums, measured: bool) -> None:
        """Replace the power of the last segment, unless an earlier part of the segment could not have a spectrum."""
        self.power[-1] = power.double()
        self.shapes[-1] = self._shape(power, measured and bool(self.shapes[-1][0, 1]))

    def per_segment(self) -> dict[str, Tensor]:
        segments = self._segments()
        if all(power is None for power in segments):
            return {}
        pairs = [None if power is None else SpectrumPair(power, self.lr_nyquist, self.side, self.floor) for power in segments]
        return {
            name: torch.tensor([torch.nan if pair is None else function(pair) for pair in pairs], dtype=torch.float64)
            for name, function in self.functions.items()
        }

    def mean_power(self) -> dict[str, Tensor] | None:
        """Average the power over the Fourier modes of all segments.

        If frames differ in size, or segments in length, the wavenumbers (or frequencies) of the smallest are used.

        Returns:
            Columns "position" (cycles per unit of length or per frame), "sr" and "hr" (power in physical units), "floor" (that of
            rounding) and "coherence"; None if no segment has a spectrum.
        """
        known = [power for power in self._segments() if power is not None and len(power)]
        if not known:
            return None
        size = min(1 / float(power[0, POSITION]) for power in known)
        size = round(size) if abs(size - round(size)) < ROUNDING * size else size  # exactly, on square pixels
        last = int(size / 2 + ROUNDING * size)
        rows = torch.cat(known)
        place = rounded_power_ring(rows[:, POSITION] * size)
        kept = (place >= 1) & (place <= last)
        sums = torch.zeros(last + 1, 5, dtype=torch.float64).index_add_(0, place[kept], rows[kept])[1:]
        sums[:, POSITION] = torch.arange(1, last + 1, dtype=torch.float64) / size
        density = self.range**2 / sums[:, MODES]
        return {
            "position": sums[:, POSITION] / self.side,
            "sr": sums[:, SR] * density,
            "hr": sums[:, HR] * density,
            "floor": torch.full_like(density, self.floor * self.range**2),
            "coherence": SpectrumPair(sums, floor=self.floor).coherence,
        }

    def _segments(self) -> list[PowerSums | None]:
        """Return the power of each segment on the CPU; None for segments without a spectrum."""
        lengths, measured = (x.tolist() for x in self.rows("shapes").long().unbind(1))
        parts = self.rows("power").cpu().split(lengths)
        return [part if known else None for part, known in zip(parts, measured, strict=True)]

    def _shape(self, power: PowerSums, measured: bool) -> Tensor:
        return torch.tensor([[len(power), measured]], dtype=torch.float64, device=power.device)


class SpectrumPair:
    """Spectra of the prediction and the truth of one segment.

    Args:
        sums: (K, 5), rows of (wavenumber or frequency, modes, |P|^2, |Y|^2, Re P Y*).
        lr_nyquist: The LR Nyquist wavenumber in cycles per HR pixel; 0 for spectra in time.
        side: The longer side of a pixel, in the unit of lengths; wavenumbers are in cycles per this side.
        floor: Power of what is only rounding, in the unit interval.
    """

    def __init__(self, sums: PowerSums, lr_nyquist: float = 0.0, side: float = 1.0, floor: float = MSE_FLOOR) -> None:
        floors = floor * sums[:, MODES]
        self.position, self.lr_nyquist, self.side = sums[:, POSITION], lr_nyquist, side
        self.sr, self.hr, self.cross = (sums[:, column] + floors for column in (SR, HR, CROSS))
        self.measured = sums[:, HR] > floors  # the rest of the truth is rounding

    def log_distance(self, lowest: float = 0.0) -> float:
        """Return the RMS of 10 log10 (predicted / true power) in dB, over the wavenumbers where the truth has power.

        Args:
            lowest: The smallest wavenumber that counts. Without any, the result is NaN.
        """
        high = self.measured & (self.position >= lowest - ROUNDING)
        return float((10 * torch.log10(self.sr[high] / self.hr[high])).square().mean().sqrt())

    @cached_property
    def coherence(self) -> Float[Tensor, " K"]:
        """Return the correlation of prediction and truth at each wavenumber, from -1 to 1; 1 means equal up to a factor."""
        return self.cross / (self.sr * self.hr).sqrt()

    def resolution(self) -> float:
        """Return the wavelength down to which prediction and truth are coherent, where the truth has power.

        It is in the unit of lengths of `side`, and NaN for values that are not finite and for frames without a ring.
        """
        if not len(self.coherence) or self.coherence.isnan().any():
            return float("nan")
        below = ((self.coherence < RESOLVED) & self.measured).nonzero().flatten().tolist()
        if not below:
            return FINEST * self.side
        at = below[0]
        if at == 0:
            return self.side / float(self.position[0])
        # A ring where the truth has no power cannot be wrong.
        before = self.coherence[at - 1] if self.measured[at - 1] else self.coherence.new_ones(())
        after = self.coherence[at]
        share = (before - RESOLVED) / (before - after)
        return self.side / float(self.position[at - 1] + share * (self.position[at] - self.position[at - 1]))


def power_of_spectrum(spectrum: Tensor) -> Tensor:
    """Return |x|^2 of complex numbers."""
    return spectrum.real.square() + spectrum.imag.square()


def rounded_power_ring(x: Tensor) -> Tensor:
    """Round to whole numbers (int64), halves upwards."""
    return (x + 0.5).floor().long()
