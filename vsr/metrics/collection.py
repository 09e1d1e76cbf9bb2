"""One front for all groups of scores: told what is known of the data, it gives every score that they support."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vsr.metrics.base import Table
from vsr.metrics.consistency import ConsistencyScores, Degrade
from vsr.metrics.definitions import DEFINITIONS
from vsr.metrics.fields import FieldScores
from vsr.metrics.motion import SequenceScores
from vsr.metrics.spectrum import BandErrors, SpectrumScores
from vsr.metrics.temporal import ErrorLag, TemporalSpectrum
from vsr.metrics.vorticity import VorticityScores
from vsr.types import HRClips, LRClips

PIECE = 1 << 21  # HR pixels that are worked on at once: bounds the memory of sums in float64


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of the data, which decides the scores that they support.

    Attributes:
        scale: of the super-resolution.
        bounds: physical values that are 0 and 1.
        window: (t, y, x) frames and pixels per side that are cut from sr and hr before they come.
        periodic: the truth's whole frame is periodic in y and in x. Counts for directions in which the window cuts nothing.
        movie: frames of a clip follow each other in time. False: no scores in time.
        field: values of a physical field, whose sum is a mass. False: no mass error.
        geostrophic: g / (f spacing^2) of a height field, in physical units. None: no vorticity. (It cancels from both scores.)
        degrade: consecutive HR frames (N, C, H, W) -> LR frames (N, C, h, w), both in the unit interval, as LR was made. It is
            given the frames of one clip at a time. None: no consistency.
    """

    scale: int
    bounds: tuple[float, float]
    window: tuple[int, int, int]
    periodic: bool = False
    movie: bool = True
    field: bool = True
    geostrophic: float | None = None
    degrade: Degrade | None = None


class Referee(Table):
    """All scores of `DEFINITIONS` that the facts support, for every frame and segment, and spectra.

    Under DDP each process adds clips of its own, whole segments each; what is told is then of all processes, one process after
    the other, and all of them must ask for it. Scores that no frame of the data can have are not there: in time for stills,
    spectra, vorticity and consistency where pixels are masked, vorticity of colours, consistency of frames so small that the
    window leaves fewer than 4x4 LR pixels.
    """

    lengths: list[Tensor]

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        self.facts = facts
        self.add_rows("lengths", 1)
        scale, bounds, cut = facts.scale, facts.bounds, facts.window[1:]
        taper = (not facts.periodic or cut[0] > 0, not facts.periodic or cut[1] > 0)
        self.by_frame = nn.ModuleList([FieldScores(bounds, facts.field), BandErrors(scale, bounds)])
        if facts.geostrophic is not None:
            self.by_frame.append(VorticityScores())
        self.by_segment = nn.ModuleList([SpectrumScores(scale, bounds, taper)])
        if facts.movie:
            self.by_segment.extend([SequenceScores(), ErrorLag(), TemporalSpectrum(bounds)])
        self.consistency = nn.ModuleList([ConsistencyScores(facts.degrade, scale, cut)] if facts.degrade else [])

    def update(
        self,
        sr: HRClips,
        hr: HRClips,
        mask: Float[Tensor, "B 1 F H W"] | None = None,
        *,
        lr: LRClips | None = None,
        follows: bool = False,
    ) -> None:
        """Add clips in the unit interval, cut by the window, each a segment of its own, or (B = 1) going on with the last one.

        mask: 1 where the truth is real, cut likewise. lr: whole LR frames that sr was made from, as many as those of sr; without
        them the frames have no consistency. Raises ValueError when shapes do not fit.
        """
        if sr.shape != hr.shape or (mask is not None and mask.shape != hr[:, :1].shape):
            raise ValueError(f"sr {tuple(sr.shape)}, hr {tuple(hr.shape)} and the mask must be of equal size")
        if follows and len(hr) != 1:
            raise ValueError(f"{len(hr)} clips cannot go on with one segment")
        follows = follows and self.any("lengths")
        with torch.autocast(sr.device.type, enabled=False):
            sr, hr, mask = sr.float(), hr.float(), None if mask is None else mask.float()
            for p, y, valid, goes_on in _pieces(sr, hr, mask, follows):
                for metric in self.by_frame:
                    metric.update(p, y, valid)  # type: ignore[operator]
                for metric in self.by_segment:
                    metric.update(p, y, valid, goes_on)  # type: ignore[operator]
            for metric in self.consistency:
                metric.update(sr, lr, mask)  # type: ignore[operator]
        count = torch.full((len(hr), 1), hr.shape[2], dtype=torch.float64, device=hr.device)
        if follows:
            self.lengths[-1] = self.lengths[-1] + count
        else:
            for row in count:
                self.grow("lengths", row[None])

    def frames(self) -> dict[str, np.ndarray]:
        """Score -> (N,) float64, one value per frame; NaN for a frame that does not have it."""
        return _in_order(self._told("per_frame"))

    def segments(self) -> dict[str, np.ndarray]:
        """Score -> (S,) float64, one value per segment; NaN for a segment that does not have it."""
        return _in_order(self._told("per_segment"))

    def segment_of(self) -> np.ndarray:
        """(N,) int64: the segment that each frame belongs to."""
        with self.sync_context():
            lengths = self.rows("lengths")[:, 0].long().cpu().numpy()
        return np.repeat(np.arange(len(lengths)), lengths)

    def curves(self) -> dict[str, dict[str, np.ndarray]]:  # type: ignore[override]
        """Over all frames: "spectrum", with wavenumber (cycles per HR pixel), sr and hr (power in physical units) and coherence,
        and for movies "temporal_spectrum", with frequency (cycles per frame), sr and hr.
        """
        found = self._told("curves")
        return {name: {key: column.cpu().numpy() for key, column in columns.items()} for name, columns in found.items()}

    def compute(self) -> dict[str, Tensor]:
        """The mean over frames, or segments, of each score; those that do not have it do not count."""
        columns = {**self.frames(), **self.segments()}
        return {name: torch.from_numpy(columns[name]).nanmean() for name in DEFINITIONS if name in columns}

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        for metric in self._groups():
            metric.reset()

    def _groups(self) -> list[Table]:
        return [*self.by_frame, *self.by_segment, *self.consistency]

    def _told(self, what: str) -> dict[str, Any]:
        """What all groups tell of all processes."""
        found: dict[str, Any] = {}
        for metric in self._groups():
            with metric.sync_context():
                found |= getattr(metric, what)()
        return found


def _in_order(columns: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: columns[name].cpu().numpy() for name in DEFINITIONS if name in columns}


def _pieces(sr: HRClips, hr: HRClips, mask: Tensor | None, follows: bool) -> Iterator[tuple[Tensor, Tensor, Tensor | None, bool]]:
    """Clips in pieces of bounded size, whole clips where they are small, with whether a piece goes on with the one before."""
    clips, _, count, height, width = hr.shape
    frames = max(1, PIECE // (height * width))
    together = max(1, frames // count)
    for first in range(0, clips, together):
        for start in range(0, count, frames):
            at = (slice(first, first + together), slice(None), slice(start, start + frames))
            yield sr[at], hr[at], None if mask is None else mask[at], follows or start > 0
