"""Collection of all metrics that apply to a data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vsr.degradations.consistency import Degrade
from vsr.geometry import SQUARE, PixelGrid
from vsr.metrics.base import TableMetric
from vsr.metrics.consistency import ConsistencyScores
from vsr.metrics.definitions import DEFINITIONS
from vsr.metrics.ensemble import EnsembleScores
from vsr.metrics.fields import FieldScores
from vsr.metrics.motion import MotionScores
from vsr.metrics.spectrum import BandErrors, SpectrumScores
from vsr.metrics.temporal import ErrorLag, TemporalSpectrum
from vsr.types import HRClips, LRClips

MAX_PIXELS = 1 << 21  # HR pixels per step: bounds the memory of sums in float64


@dataclass(frozen=True, kw_only=True)
class DataProperties:
    """Properties of the data that decide which scores apply.

    Attributes:
        scale: Super-resolution factor; the LR Nyquist wavenumber is 0.5 / scale cycles per HR pixel.
        bounds: Physical values at 0 and 1 of the unit interval.
        window: (t, y, x) frames and HR pixels per side that are cut from sr and hr before scoring.
        periodic: True if whole frames are periodic in y and in x. Ignored in directions that the window cuts.
        movie: True if consecutive frames of a clip follow each other in time. False: no scores in time.
        field: True for a physical field, whose sum is a mass. False: no mass error.
        geostrophic: True for heights of a fluid in geostrophic balance. False: no vorticity.
        degrade: The degradation that made LR, from consecutive HR frames (N, C, H, W) of one clip to LR frames (N, C, h, w),
            both in the unit interval. None: no consistency.
        grid: The size of the pixels of whole HR frames.
        step: Distance between neighbouring values that HR frames can have, in physical units: what is less is rounding.
        activity: The two activities that divide the pixels into classes, see `vsr.metrics.ensemble`. None: no scores of
            ensembles.
    """

    scale: int
    bounds: tuple[float, float]
    window: tuple[int, int, int]
    periodic: bool = False
    movie: bool = True
    field: bool = True
    geostrophic: bool = False
    degrade: Degrade | None = None
    grid: PixelGrid = SQUARE
    step: float = 0.0
    activity: tuple[float, float] | None = None


class MetricCollection(TableMetric):
    """Collection of every metric that applies to the data.

    In a distributed run each process adds its own clips. All clips of a segment must go to the same process. The results cover
    all processes, one process after the other, so all processes must call the methods that return results. Scores that no frame
    of the data can have are left out: scores in time for stills; spectra, vorticity and consistency for masked frames;
    vorticity for frames of several channels; consistency for frames with fewer than 4x4 LR pixels inside the window.
    """

    lengths: list[Tensor]  # frames of each segment

    def __init__(self, data: DataProperties, members: int = 1, drawn: bool = True) -> None:
        super().__init__()
        self.add_table("lengths", 1)
        scale, bounds, cut = data.scale, data.bounds, data.window[1:]
        taper = (not data.periodic or cut[0] > 0, not data.periodic or cut[1] > 0)
        rows = len(data.grid.cosines or ())
        grid = data.grid.between(cut[0], rows - cut[0])
        needs = {"field": data.field, "geostrophic": data.geostrophic}
        self.by_frame = nn.ModuleList(
            [FieldScores(bounds, [need for need, met in needs.items() if met], grid), BandErrors(scale, bounds, grid)]
        )
        self.by_segment = nn.ModuleList([SpectrumScores(scale, bounds, taper, grid, data.step)])
        if data.movie:
            self.by_segment.extend([MotionScores(), ErrorLag(), TemporalSpectrum(bounds, data.step)])
        activity = [data.activity] if data.activity else []
        self.ensemble = nn.ModuleList([EnsembleScores(members, edges, scale, cut, grid, drawn) for edges in activity])
        self.consistency = nn.ModuleList([ConsistencyScores(data.degrade, scale, cut)] if data.degrade else [])

    def update(
        self,
        sr: HRClips,
        hr: HRClips,
        mask: Float[Tensor, "B 1 F H W"] | None = None,
        *,
        lr: LRClips | None = None,
        follows: bool = False,
        members: Float[Tensor, "B C K F H W"] | None = None,
    ) -> None:
        """Add clips in the unit interval to all metrics.

        Args:
            sr: Predicted clips, cut to the window.
            hr: True clips, cut to the window.
            mask: Weight of each HR pixel in means over pixels, such as its area; 0 at filled gaps. Cut to the window. None for
                frames without gaps whose pixels count alike.
            lr: The LR frames that sr was made from, not cut, one per frame of sr. None: no consistency for these frames.
            follows: True if the batch is a single clip that continues the last segment. False: each clip is a segment.
            members: The members whose mean sr is, cut to the window; None for a single prediction.

        Raises:
            ValueError: If shapes do not fit, or if `follows` is True for several clips.
        """
        if sr.shape != hr.shape or (mask is not None and mask.shape != hr[:, :1].shape):
            raise ValueError(f"sr {tuple(sr.shape)}, hr {tuple(hr.shape)} and the mask must be of equal size")
        if follows and len(hr) != 1:
            raise ValueError(f"{len(hr)} clips cannot go on with one segment")
        follows = follows and self.has_rows("lengths")
        with torch.autocast(sr.device.type, enabled=False):
            sr, hr, mask = sr.float(), hr.float(), None if mask is None else mask.float()
            for p, y, valid, continues in _pieces(sr, hr, mask, follows):
                for metric in self.by_frame:
                    metric.update(p, y, valid)  # type: ignore[operator]
                for metric in self.by_segment:
                    metric.update(p, y, valid, continues)  # type: ignore[operator]
            for metric in self.consistency:
                metric.update(sr, lr, mask)  # type: ignore[operator]
            for metric in self.ensemble:
                each = sr.unsqueeze(2) if members is None else members
                metric.update(each.float().movedim(2, 0), hr, mask, lr=lr, follows=follows)  # type: ignore[operator]
        count = torch.full((len(hr), 1), hr.shape[2], dtype=torch.float64, device=hr.device)
        self.append_segments("lengths", count, continues=follows)

    def frames(self) -> dict[str, np.ndarray]:
        """Return the scores of all frames by name, (N,) float64; NaN for a frame without a value."""
        return _in_order(self._collect("per_frame"))

    def segments(self) -> dict[str, np.ndarray]:
        """Return the scores of all segments by name, (S,) float64; NaN for a segment without a value."""
        return _in_order(self._collect("per_segment"))

    def segment_of(self) -> np.ndarray:
        """Return for each frame the number of its segment, (N,) int64."""
        with self.sync_context():
            lengths = self.rows("lengths")[:, 0].long().cpu().numpy()
        return np.repeat(np.arange(len(lengths)), lengths)

    def curves(self) -> dict[str, dict[str, np.ndarray]]:  # type: ignore[override]
        """Return the columns of the mean spectra over all frames: "spectrum" and, for movies, "temporal_spectrum"."""
        found = self._collect("curves")
        return {name: {key: column.cpu().numpy() for key, column in columns.items()} for name, columns in found.items()}

    def compute(self) -> dict[str, Tensor]:
        columns = {**self.frames(), **self.segments()}
        return {name: torch.from_numpy(columns[name]).nanmean() for name in DEFINITIONS if name in columns}

    def reset(self) -> None:
        super().reset()
        for metric in self._metrics():
            metric.reset()

    def _metrics(self) -> list[TableMetric]:
        return [*self.by_frame, *self.by_segment, *self.consistency, *self.ensemble]

    def _collect(self, method: str) -> dict[str, Any]:
        """Merge the dictionaries that the named method of each metric returns, over all processes."""
        found: dict[str, Any] = {}
        for metric in self._metrics():
            with metric.sync_context():
                found |= getattr(metric, method)()
        return found


def _in_order(columns: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: columns[name].cpu().numpy() for name in DEFINITIONS if name in columns}


def _pieces(sr: HRClips, hr: HRClips, mask: Tensor | None, follows: bool) -> Iterator[tuple[Tensor, Tensor, Tensor | None, bool]]:
    """Yield pieces of sr, hr and mask of bounded size, whole clips if small, and True if a piece continues the one before."""
    clips, _, count, height, width = hr.shape
    frames = max(1, MAX_PIXELS // (height * width))
    together = max(1, frames // count)
    for first in range(0, clips, together):
        for start in range(0, count, frames):
            at = (slice(first, first + together), slice(None), slice(start, start + frames))
            yield sr[at], hr[at], None if mask is None else mask[at], follows or start > 0
