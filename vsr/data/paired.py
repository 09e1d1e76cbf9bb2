"""Base class of data modules of pairs, whose movies have LR frames of their own, and a movie of such pairs in memory."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vsr.data.base import SRDataModule
from vsr.data.frames import LrHrPair
from vsr.data.lr_statistics import LRStatistics, measure_variable
from vsr.data.splits import Segment
from vsr.degradations.resize import skip_planes
from vsr.degradations.scaling import Paired
from vsr.errors import UserError
from vsr.geometry import Alignment, is_cell
from vsr.models.base import INPUT_PLANES
from vsr.types import Movie

log = logging.getLogger(__name__)

MEASURED = 32  # frames of each trajectory, for the guard


class PairedDataModule(SRDataModule):
    """Base class of data modules whose LR frames are given, not made from HR frames.

    A subclass sets `key`, `alignment` and `where`; its `movies` returns `read`.

    Args:
        inputs: Further planes that the network sees: "time" (the lead time of `PairedMovie`, 1 at the longest one of training),
            "position" (y and x from -1 to 1), and words whose values a subclass puts into `Movie.known`.
        shared: Arguments of `SRDataModule`.

    Attributes:
        key: What is typed for these data.
        alignment: Place of the LR pixels on the HR grid along y and x.
        where: The same in words.
        read: The trajectories.

    Raises:
        UserError: If LR is to be made by a degradation, or if frames are to be cut or masked.
    """

    periodic = "none"
    key: str
    alignment: Alignment
    where: str
    read: Sequence[PairedMovie]

    def __init__(self, *, inputs: Sequence[str] | None = None, **shared: Any) -> None:
        super().__init__(**shared)
        if not isinstance(self.degradation, Paired):
            raise UserError(f"degradation={self.degradation.name}: {self.key} has LR frames of its own; type degradation=pairs")
        if self.mask or self.crop:
            raise UserError(
                f"data.{'mask' if self.mask else 'crop'}=true: {self.key} takes whole frames without gaps; leave the key out"
            )
        self.inputs = tuple(word for word in INPUT_PLANES if word in (inputs or ()))
        self.symmetries = ()

    def _cut_splits(self) -> dict[str, list[tuple[Movie, Segment]]]:
        splits = super()._cut_splits()
        if self.lead_length is None:
            self.lead_length = max(float(_paired(m).lead[part.start : part.stop].max()) for m, part in splits["train"]) or 1.0
        cut = {name: [(movie, run) for movie, part in parts for run in _runs(movie, part)] for name, parts in splits.items()}
        self._tested = [movie for movie, _ in cut.get(self.test_split_name, ())]
        self._leads = {name: [_paired(m).lead[part.start : part.stop] for m, part in parts] for name, parts in cut.items()}
        return cut

    def lead_times(self, split: str) -> tuple[np.ndarray, str]:
        """Return the lead time of each scored frame of a split, (N,), and its unit."""
        every = [lead[self.trim : len(lead) - self.trim] for lead in self._leads[split]]
        return np.concatenate(every), self.read[0].lead_unit

    def lr_statistics(self) -> LRStatistics:
        """Measure the LR frames to learn from: those of training and of validation, evenly spread ones of long trajectories."""
        offsets = np.broadcast_to(self.offset, self.channels).tolist()

        def trajectories(channel: int) -> Iterator[np.ndarray]:
            for frames in (self.sets[name] for name in ("train", "val")):
                for start, stop in frames.segments:
                    chosen = np.unique(np.linspace(start, stop - 1, MEASURED).astype(int)).tolist()
                    lr = torch.cat([frames.read(k, k + 1).lr[:, channel] for k in chosen])
                    yield lr.double().numpy() + offsets[channel]

        first = self.read[0]
        return LRStatistics(
            tuple(measure_variable(name, trajectories(i)) for i, name in enumerate(self.variables or ("",) * self.channels)),
            (first.lr_shape[2], first.lr_shape[3]),
            *self.lr_spacing(),
            lead=float(self.lead_length or 0),
            lead_unit=first.lead_unit,
        )

    def lr_spacing(self) -> tuple[tuple[float | None, float | None], tuple[str, str]]:
        """Return the distance of LR pixels along y and x, None where nothing says it, and its units."""
        return (None, None), ("", "")

    def _check_values(self, splits: dict[str, list[tuple[Movie, Segment]]]) -> str:
        digest = hashlib.sha256(super()._check_values(splits).encode())
        for parts in splits.values():
            for movie, part in parts:
                for start in range(part.start, part.stop, 64):
                    stop = min(start + 64, part.stop)
                    digest.update(_paired(movie).read_lr(start, stop).numpy().tobytes())
        return digest.hexdigest()

    def _pair(self, movie: Movie, start: int, stop: int) -> LrHrPair:
        movie = _paired(movie)
        hr = movie.read(start, stop).transpose(0, 1).contiguous()
        lr = movie.read_lr(start, stop).transpose(0, 1).contiguous()
        low, high = self.frame_bounds
        self.channel_values.check_lr(movie, start, lr, given=True)
        movie.known = {**movie.known, "time": movie.lead / self.lead_length}
        further = self._read_further(movie, start, stop).transpose(0, 1) if self.lr_variables else lr[:, :0]
        seen = self.network_inputs.add_planes(movie, start, stop, lr, further)
        if not is_cell(self.alignment, self.scale):
            seen = torch.cat([seen, skip_planes((lr - low) / (high - low), self.scale, self.alignment)], 1)
        return LrHrPair(seen, hr)

    def setup(self, stage: str | None = None) -> None:
        """Read, check and split the movies; later calls do nothing. Raises UserError as `SRDataModule.setup` does."""
        if self.sets:
            return
        super().setup(stage)
        self.card.pop("beside", None)
        first = self.read[0]
        self.card["pairs"] = {
            "alignment": None if is_cell(self.alignment, self.scale) else list(self.alignment),
            **self.network_inputs.facts(),
            "time": {"length": self.lead_length, "unit": first.lead_unit, "step": first.lead_step},
            "runs_up": first.runs_up,
        }
        log.info(
            "pairs     %d trajectories, LR %s, HR %s; %s\nnote      LR is no function of HR: no consistency with LR is "
            "scored, and nothing is measured one scale coarser",
            *(len(self.read), *("x".join(map(str, size)) for size in (first.lr_shape[2:], first.shape[2:]))),
            self.where,
        )


class PairedMovie(Movie):
    """HR frames of a trajectory with the LR frames of the same times, in memory.

    A subclass whose frames stay in files overrides `read` and `read_lr` and sets `lazy`.

    Args:
        frames: HR frames, (C, T, H, W), float32.
        lr: LR frames, (C, T, h, w), float32.
        name: As in `Movie`.
        meta: As in `Movie`.
        lead: Lead time of each frame, (T,): the time since both runs had the same state.
        lead_unit: Unit of `lead`.
        lead_step: Time between frames.
        runs: Runs (start, stop) of frames that follow each other; no clip crosses their ends.
        runs_up: For each of y and x, True if the coordinate of LR grows; None without one.
    """

    def __init__(
        self,
        frames: Tensor,
        lr: Tensor,
        name: str,
        meta: dict[str, Any],
        *,
        lead: np.ndarray,
        lead_unit: str,
        lead_step: float,
        runs: list[tuple[int, int]],
        runs_up: list[bool | None],
    ) -> None:
        super().__init__(frames, name, meta)
        self.lr, self.lr_shape = lr, tuple(lr.shape)
        self.lead, self.lead_unit, self.lead_step, self.runs, self.runs_up = lead, lead_unit, lead_step, runs, runs_up

    def read_lr(self, start: int, stop: int) -> Tensor:
        """Read LR frames start..stop-1, (C, t, h, w)."""
        return self.lr[:, start:stop]


def _paired(movie: Movie) -> PairedMovie:
    assert isinstance(movie, PairedMovie)
    return movie


def _runs(movie: Movie, part: Segment) -> list[Segment]:
    """Divide a segment at the ends of the movie's runs."""
    cut = [(max(a, part.start), min(b, part.stop)) for a, b in _paired(movie).runs]
    return [Segment(part.movie, a, b) for a, b in cut if a < b]
