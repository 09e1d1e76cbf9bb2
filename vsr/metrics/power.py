"""What scores of power spectra have in common, in space and in time: rings (or frequencies) of power, summed per segment.

Power is a density, normalised so that white noise of variance v has the power v at every wavenumber. Both spectra stand on a
floor of MSE_FLOOR, so that nothing depends on the rounding of float32, where the truth of a smooth field has no power at all.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vsr.metrics.base import Table
from vsr.metrics.psnr_ssim import MSE_FLOOR

# Columns of a table of power: wavenumber or frequency, number of modes, and sums over them of |P|^2, |Y|^2 and Re P Y*.
POSITION, MODES, SR, HR, CROSS = range(5)
Power = Float[Tensor, "K 5"]


class PowerTable(Table):
    """Sums of power for each segment: `power` has the rows of all segments, `shapes` how many are whose.

    Args:
        bounds: physical values that are 0 and 1; curves are in physical units.
    """

    power: list[Tensor]
    shapes: list[Tensor]

    def __init__(self, bounds: tuple[float, float]) -> None:
        super().__init__()
        self.range = bounds[1] - bounds[0]
        self.add_rows("power", 5)
        self.add_rows("shapes", 2)  # rows of the segment, and whether it can have a spectrum

    def add_segment(self, power: Power, measured: bool) -> None:
        """One more segment."""
        self.grow("power", power)
        self.grow("shapes", self._shape(power, measured))

    def replace_segment(self, power: Power, measured: bool) -> None:
        """Other sums for the segment that was added last."""
        self.power[-1] = power.double()
        self.shapes[-1] = self._shape(power, measured)

    def segments(self) -> list[Power | None]:
        """The sums of each segment, None for those without a spectrum; on the CPU."""
        lengths, measured = (x.tolist() for x in self.rows("shapes").long().unbind(1))
        parts = self.rows("power").cpu().split(lengths)
        return [part if known else None for part, known in zip(parts, measured, strict=True)]

    def pooled(self) -> dict[str, Tensor] | None:
        """Mean power over the modes of all segments, in physical units, and their coherence; None where none has any.

        Frames of several sizes (or segments of several lengths) are put together on the positions of the smallest.
        """
        known = [part for part in self.segments() if part is not None and len(part)]
        if not known:
            return None
        size = min(round(1 / float(part[0, POSITION])) for part in known)
        rows = torch.cat(known)
        place = nearest(rows[:, POSITION] * size)
        kept = (place >= 1) & (place <= size // 2)
        sums = torch.zeros(size // 2 + 1, 5, dtype=torch.float64).index_add_(0, place[kept], rows[kept])[1:]
        sums[:, POSITION] = torch.arange(1, size // 2 + 1, dtype=torch.float64) / size
        density = self.range**2 / sums[:, MODES]
        return {
            "position": sums[:, POSITION],
            "sr": sums[:, SR] * density,
            "hr": sums[:, HR] * density,
            "coherence": coherence(sums),
        }

    def _shape(self, power: Power, measured: bool) -> Tensor:
        return torch.tensor([[len(power), measured]], dtype=torch.float64, device=power.device)


def log_distance(power: Power) -> float:
    """RMS in dB of the ratio of the two powers over the rows; NaN without any."""
    floor = MSE_FLOOR * power[:, MODES]
    ratio = 10 * torch.log10((power[:, SR] + floor) / (power[:, HR] + floor))
    return float(ratio.square().mean().sqrt())


def coherence(power: Power) -> Float[Tensor, " K"]:
    """Correlation of the two within each row, 1 where they are equal, below 0 where one is the other's negative."""
    floor = MSE_FLOOR * power[:, MODES]
    return (power[:, CROSS] + floor) / ((power[:, SR] + floor) * (power[:, HR] + floor)).sqrt()


def nearest(x: Tensor) -> Tensor:
    """Whole numbers, halves upwards."""
    return (x + 0.5).floor().long()
