"""Scores of ensembles: sharpness and calibration of several members against one truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vsr.degradations.activity import activity_classes
from vsr.geometry import SQUARE, PixelGrid
from vsr.metrics.base import TableMetric
from vsr.metrics.definitions import ACTIVITIES, LEVELS
from vsr.metrics.frames import metric_ratio, metric_valid_frames
from vsr.metrics.power import ROUNDING, power_of_spectrum
from vsr.metrics.spectrum import FourierModes
from vsr.types import HRFrames, LRClips

COVERAGES = tuple(f"coverage_{level}" for level in LEVELS)
BLOCK = 4  # HR pixels per side of the blocks of the energy score
LAGS = ((0, 1), (1, 0), (0, 2), (2, 0))  # (y, x) of the pairs of the variogram score
BANDS = 16  # of wavenumbers, between 0 and 0.5 cycles per pixel
FRAME_SCORES = ("crps", "spread", *COVERAGES, "width_90", "energy_score", "variogram_score")


def intervals_of_members(members: Tensor, level: int) -> tuple[Tensor, Tensor] | None:
    """Return the ends of the central interval that another draw like the K members (K, ...) falls into with a probability.

    An end at probability p is the order statistic number p (K + 1), linear between two of them. None if the level needs more
    members: 90% needs 19, 95% needs 39.

    Args:
        members: (K, ...).
        level: Probability in per cent.
    """
    position = (100 - level) / 200 * (len(members) + 1)
    if position < 1:
        return None
    ordered = members.sort(0).values
    first = int(position)
    share = position - first
    upper = min(first, len(members) - 1)
    low = ordered[first - 1] * (1 - share) + ordered[upper] * share
    return low, ordered[len(members) - first] * (1 - share) + ordered[len(members) - 1 - upper] * share


def members_needed(level: int) -> int:
    """Return the smallest number of members whose interval of a level in per cent has ends."""
    return math.ceil(200 / (100 - level)) - 1


def fair_score(members: Tensor, truth: Tensor, norm: Callable[[Tensor], Tensor]) -> Tensor:
    """Return E|x - y| - E|x - x'| / 2 of members x and truth y, without bias for any number of members.

    Source: Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation", 2007, sections 4.2 and 4.3; for
    the fair form Ferro, "Fair scores for ensemble forecasts", 2014.

    Args:
        members: (K, ...), K of 2 or more.
        truth: (...).
        norm: Size of a difference: the absolute value, or the length of vectors along the last axis.
    """
    count = len(members)
    error = norm(members - truth).mean(0)
    apart = sum(norm(members[i + 1 :] - members[i]).sum(0) for i in range(count - 1)) / (count * (count - 1))
    return error - apart


def blocks_of(x: Tensor, side: int) -> Tensor:
    """Return the pixels (..., h, w, side^2) of the whole blocks of images (..., H, W)."""
    h, w = (n // side for n in x.shape[-2:])
    x = x[..., : h * side, : w * side].unflatten(-1, (w, side)).unflatten(-3, (h, side))
    return x.transpose(-3, -2).flatten(-2)


def fair_crps(members: Tensor, truth: Tensor, drawn: bool = True) -> Tensor:
    """Return the fair continuous ranked probability score of each value: `fair_score` of absolute values, by one sort.

    A single member scores its absolute error.

    Args:
        members: (K, ...).
        truth: (...).
        drawn: True for random members; False for values that divide a distribution evenly, which is then taken as it is.
    """
    count = len(members)
    error = (members - truth).abs().mean(0)
    if count == 1:
        return error
    ranks = torch.arange(1, count + 1, device=members.device, dtype=members.dtype).view(-1, *(1,) * truth.ndim)
    apart = (members.sort(0).values * (2 * ranks - count - 1)).sum(0) / (count * (count - drawn))
    return error - apart


def energy_score(members: Tensor, truth: HRFrames) -> Tensor:
    """Return the fair energy score of each block of pixels, over the root of their number, (N, blocks).

    Source: Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation", 2007, section 4.3.

    Args:
        members: (K, N, C, H, W).
        truth: (N, C, H, W).
    """
    members, truth = (blocks_of(x, BLOCK).movedim(-4, -2).flatten(-2).flatten(-3, -2) for x in (members, truth))
    return fair_score(members, truth, lambda x: x.norm(dim=-1)) / members.shape[-1] ** 0.5


def variogram_score(members: Tensor, truth: HRFrames, weight: Tensor) -> Tensor:
    """Return the variogram score of each frame, of order 0.5 over pairs one and two pixels apart, (N,).

    Source: Scheuerer and Hamill, "Variogram-based proper scoring rules for probabilistic forecasts of multivariate
    quantities", 2015.

    Args:
        members: (K, N, C, H, W).
        truth: (N, C, H, W).
        weight: Weight of each pixel (N, 1, H, W).
    """
    total, counted = truth.new_zeros(len(truth), dtype=torch.float64), truth.new_zeros(len(truth), dtype=torch.float64)
    for y, x in LAGS:
        height, width = truth.shape[-2] - y, truth.shape[-1] - x
        own, other = (..., slice(0, height), slice(0, width)), (..., slice(y, None), slice(x, None))
        expected = (members[other] - members[own]).abs().sqrt().mean(0)
        error = ((truth[other] - truth[own]).abs().sqrt() - expected).square()
        both = torch.minimum(weight[own], weight[other])
        total = total + (error * both).sum((1, 2, 3), dtype=torch.float64)
        counted = counted + both.sum((1, 2, 3), dtype=torch.float64) * truth.shape[1]
    return metric_ratio(total, counted, 0.0)


class EnsembleScores(TableMetric):
    """Scores of ensembles: of each frame, each segment, and curves over ranks, activity and wavenumber.

    Scores of frames are the names in FRAME_SCORES; the score spread_error of a segment is the root of the mean variance of the
    members, times (K + 1) / K, over the mean squared error of their mean. A single member has "crps", its absolute error, alone.

    Args:
        members: Number of members K.
        edges: The two activities (`activity_of`) that divide quiet pixels, moderate ones and fronts.
        scale: HR pixels per LR pixel.
        window: (y, x) HR pixels that are cut per side before scoring.
        grid: The size of the pixels.
        drawn: True for random members; False for values that divide the distribution of each pixel evenly, as of a `Calibration`.
            These say nothing of several pixels together, and have no spread, no energy score and no variogram score.
    """

    def __init__(
        self,
        members: int,
        edges: tuple[float, float],
        scale: int,
        window: tuple[int, int],
        grid: PixelGrid = SQUARE,
        drawn: bool = True,
    ) -> None:
        super().__init__()
        self.members, self.edges, self.scale, self.window, self.grid, self.drawn = members, edges, scale, window, grid, drawn
        self.add_table("values", len(FRAME_SCORES))
        self.add_table("segments", 4)  # sums over frames: variance, squared error; squared second differences of members, HR
        self.add_table("ranks", members + 1)  # of each frame: share of the pixels
        self.add_table("activity", len(ACTIVITIES) * (3 + len(LEVELS)))  # of each frame: weight, variance, error, coverages
        self.add_table("power", 5 * BANDS)  # of each whole frame: modes; power of spread, error, members and HR

    def update(
        self,
        members: Float[Tensor, "K B C F H W"],
        hr: Float[Tensor, "B C F H W"],
        mask: Float[Tensor, "B 1 F H W"] | None = None,
        *,
        lr: LRClips,
        follows: bool = False,
    ) -> None:
        """Add clips in the unit interval.

        Args:
            members: Predicted clips, cut to the window.
            hr: True clips, cut to the window.
            mask: Weight of each pixel, 0 where it does not count; None for all pixels alike.
            lr: The LR clips, not cut.
            follows: True if the batch is a single clip that continues the last segment.
        """
        weight = torch.ones_like(hr[:, :1]) if mask is None else mask
        active = self._classes(lr)
        whole = metric_valid_frames(mask, hr).unflatten(0, (hr.shape[0], hr.shape[2]))
        for b in range(len(hr)):
            sums = torch.zeros(4, dtype=torch.float64, device=hr.device)
            for t in range(hr.shape[2]):
                sums[:2] += self._add_frame(members[:, b, :, t], hr[b, :, t], weight[b, :, t], active[b, t], bool(whole[b, t]))
            if self.drawn and hr.shape[2] > 2:
                sums[2] = _second_differences(members[:, b]) / self.members
                sums[3] = _second_differences(hr[b])
            self.append_segments("segments", sums[None], continues=follows and self.has_rows("segments"))

    def _add_frame(self, members: Tensor, hr: Tensor, weight: Tensor, active: Tensor, whole: bool) -> Tensor:
        """Add a frame: members (K, C, H, W), truth (C, H, W), weight (1, H, W), class of each pixel (H, W)."""
        count = self.members
        total = float(weight.sum()) * len(hr)

        def mean(x: Tensor) -> float:
            return float((x * weight).sum(dtype=torch.float64)) / total if total else math.nan

        def row(numbers: Iterable[float]) -> Tensor:
            return torch.tensor([list(numbers)], dtype=torch.float64, device=hr.device)

        values = dict.fromkeys(FRAME_SCORES, math.nan)
        values["crps"] = mean(fair_crps(members, hr, self.drawn))
        if count == 1:
            self.append_rows("values", row(values.values()))
            return row([math.nan, math.nan])[0]
        variance, error = members.var(0) * (count + 1) / count, (members.mean(0) - hr).square()
        if self.drawn:
            values["spread"] = mean(variance) ** 0.5
            blocks = energy_score(members[:, None], hr[None])
            least = -F.max_pool2d(-weight, BLOCK).flatten(1)
            values["energy_score"] = float((blocks * least).sum() / least.sum()) if float(least.sum()) else math.nan
            values["variogram_score"] = float(variogram_score(members[:, None], hr[None], weight[None])[0])
        hits = {}
        for level in LEVELS:
            ends = intervals_of_members(members, level)
            if ends is not None:
                hits[level] = ((hr >= ends[0]) & (hr <= ends[1])).float()
                values[f"coverage_{level}"] = mean(hits[level])
                if level == 90:
                    values["width_90"] = mean(ends[1] - ends[0])
        self.append_rows("values", row(values.values()))
        rank = (members < hr).sum(0).flatten()
        share = torch.zeros(count + 1, dtype=torch.float64, device=hr.device)
        share.index_add_(0, rank, weight.expand_as(hr).flatten().double())
        self.append_rows("ranks", share[None] / max(total, 1e-300))
        rows = []
        for i in range(len(ACTIVITIES)):
            own = weight * (active == i)
            columns = [torch.ones_like(hr), variance, error, *(hits.get(level, torch.zeros_like(hr)) for level in LEVELS)]
            rows += [float((x * own).sum(dtype=torch.float64)) for x in columns]
        self.append_rows("activity", row(rows))
        if whole and self.drawn:
            self._add_power(members, hr)
        return row([mean(variance), mean(error)])[0]

    def _add_power(self, members: Tensor, hr: Tensor) -> None:
        """Add the power over rings of wavenumbers of spread, error, members and HR, in a Hann window."""
        height, width = hr.shape[-2:]
        modes = FourierModes.of(height, width, self.grid, hr.device)
        y, x = (torch.hann_window(n, periodic=False, dtype=torch.float64, device=hr.device) for n in (height, width))
        window = y[:, None] * x
        count, centre = self.members, members.mean(0)
        planes = torch.stack(
            [
                torch.ones_like(modes.count),
                _power(members - centre, window).sum(0).mean(0) * (count + 1) / (count * (count - 1)),
                _power(centre - hr, window).mean(0),
                _power(members, window).mean((0, 1)),
                _power(hr, window).mean(0),
            ]
        )
        edges = torch.linspace(0, 0.5, BANDS + 1, dtype=torch.float64, device=hr.device)[1:] + ROUNDING
        band = torch.bucketize(modes.wavenumber, edges).flatten()
        kept = (band < BANDS) & (modes.wavenumber.flatten() > 0)
        sums = torch.zeros(5, BANDS, dtype=torch.float64, device=hr.device)
        sums.index_add_(1, band[kept], (planes * modes.count).flatten(1)[:, kept])
        self.append_rows("power", sums.flatten()[None])

    def _classes(self, lr: LRClips) -> Tensor:
        """Return the class of activity of each HR pixel inside the window, (B, F, H, W) integers."""
        active = activity_classes(lr, self.edges, self.scale)
        y, x = self.window
        return active[..., y : active.shape[-2] - y, x : active.shape[-1] - x]

    def per_frame(self) -> dict[str, Tensor]:
        columns = dict(zip(FRAME_SCORES, self.rows("values").unbind(1), strict=True))
        return {name: column for name, column in columns.items() if not column.isnan().all()}

    def per_segment(self) -> dict[str, Tensor]:
        variance, error, members, truth = self.rows("segments").unbind(1)
        if self.members == 1 or not self.drawn:
            return {}
        flicker = metric_ratio(members, truth).sqrt()
        found = {"spread_error": metric_ratio(variance, error).sqrt()}
        return found if flicker.isnan().all() else found | {"member_flicker": flicker}

    def curves(self) -> dict[str, dict[str, Tensor]]:
        """Return the curves "ranks", "activity" and "spread_spectrum" of the split; empty for a single member."""
        if self.members == 1:
            return {}
        found = {"ranks": {"rank": torch.arange(self.members + 1.0), "share": self.rows("ranks").mean(0)}}
        sums = self.rows("activity").sum(0).unflatten(0, (len(ACTIVITIES), -1))
        weight, variance, error, *hits = sums.unbind(1)
        known = [members_needed(level) <= self.members for level in LEVELS]
        columns = {name: hit / weight for name, hit, there in zip(COVERAGES, hits, known, strict=True) if there}
        found["activity"] = {
            "class": torch.arange(float(len(ACTIVITIES))),
            "share": weight / weight.sum(),
            **columns,
            **({"spread_error": metric_ratio(variance, error).sqrt()} if self.drawn else {}),
        }
        if len(self.rows("power")):
            modes, *powers = self.rows("power").sum(0).unflatten(0, (5, BANDS))
            middle = (torch.arange(BANDS, dtype=torch.float64) + 0.5) * 0.5 / BANDS / self.grid.side
            columns = dict(zip(("spread", "error", "members", "hr"), (power / modes for power in powers), strict=True))
            found["spread_spectrum"] = {"wavenumber": middle, **columns}
        return found


def _second_differences(clips: Tensor) -> Tensor:
    """Return the sum of the squared second differences in time of clips (..., F, H, W)."""
    return clips.diff(n=2, dim=-3).square().sum(dtype=torch.float64)


def _power(x: Tensor, window: Tensor) -> Tensor:
    """Return the power of the Fourier modes of centred and tapered frames (..., H, W)."""
    x = x.double()
    return power_of_spectrum(torch.fft.rfft2((x - x.mean((-2, -1), keepdim=True)) * window))
