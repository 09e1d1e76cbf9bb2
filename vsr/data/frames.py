"""Aligned LR and HR frames of a split that are held in memory, in one size or in several sizes.

lazy_frames.py has the frame set that stays in a file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vsr.types import Clip

Ends = Literal["replicate", "reflect"]  # padding in time before the first and after the last frame
EVAL_PIXELS = 1 << 20  # HR pixels per evaluation batch; limits memory and keeps small frames in few batches


@dataclass(frozen=True)
class LrHrPair:
    """Aligned LR frames (N, C, h, w) and HR frames (N, C, H, W). An optional mask (N, 1, H, W) is 0 at filled HR pixels."""

    lr: Tensor
    hr: Tensor
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.hr)

    def __getitem__(self, at: slice) -> LrHrPair:
        return LrHrPair(self.lr[at], self.hr[at], None if self.mask is None else self.mask[at])

    def to(self, device: torch.device) -> LrHrPair:
        return LrHrPair(self.lr.to(device), self.hr.to(device), None if self.mask is None else self.mask.to(device))

    def clip(self, first: int) -> Clip:
        """Return the frames as a batch of one-frame clips; `first` is the position of the first frame in its split."""
        position = torch.arange(first, first + len(self), device=self.lr.device)
        return Clip(self.lr.unsqueeze(2), self.hr.unsqueeze(2), position, None if self.mask is None else self.mask.unsqueeze(2))


class FrameSet(ABC):
    """Aligned LR and HR frames 0..N-1 of a split, cut into segments that no clip crosses.

    Attributes:
        segments: First frame and end (start, stop) of each segment.
        scale: Number of HR pixels per LR pixel along each side.
        channels: Number of channels of every frame.
    """

    segments: tuple[tuple[int, int], ...]
    scale: int
    channels: int

    def __len__(self) -> int:
        return self.segments[-1][1] if self.segments else 0

    def starts(self, length: int) -> Tensor:
        """Return the index of the first frame of every clip of `length` frames that lies within one segment."""
        return torch.cat([torch.arange(a, b - length + 1) for a, b in self.segments if b - a >= length] or [torch.arange(0)])

    def order(self, length: int, draws: int, generator: torch.Generator) -> Tensor:
        """Draw `draws` clips and return their first frames' indices: all clips in random order, as often as needed."""
        starts = self.starts(length)
        passes = -(-draws // len(starts))
        return torch.cat([starts[torch.randperm(len(starts), generator=generator)] for _ in range(passes)])[:draws]

    @abstractmethod
    def smallest_size(self) -> tuple[int, int]:
        """Return the smallest height and the smallest width of the HR frames."""

    @abstractmethod
    def patches(self, starts: Tensor, place: Tensor, length: int, patch: int | None) -> Clip:
        """Cut one patch from each of B clips.

        Args:
            starts: Index of the first frame of each clip, (B,).
            place: Position (y, x) of each patch, (B, 2): 0 is at the upper or left border, 1 (excluded) at the lower or right
                border.
            length: Number of frames per clip.
            patch: Side of the patches in LR pixels; None for whole frames.
        """

    @abstractmethod
    def pairs(self, step: int = 1, start: int = 0, stop: int | None = None) -> Iterator[LrHrPair]:
        """Yield every step-th frame of start..stop-1 in order, in pieces of bounded memory; `start` is a multiple of `step`."""

    @abstractmethod
    def read(self, start: int, stop: int) -> LrHrPair:
        """Read frames start..stop-1, which must lie in one segment."""

    @abstractmethod
    def padded(self, count: int, ends: Ends) -> FrameSet:
        """Return the frame set with every segment padded by `count` frames at both ends."""

    @abstractmethod
    def mapped(self, function: Callable[[LrHrPair], LrHrPair]) -> FrameSet:
        """Return the frame set with a function applied to its frames, which may change their size."""

    def clip(self, start: int, stop: int, context: int = 0, ends: Ends = "replicate") -> Clip:
        """Return HR frames start..stop-1 of one segment as one clip, with `context` more LR frames before and after them."""
        a, b = next((a, b) for a, b in self.segments if a <= start < b)
        wanted = frame_indices_beyond_ends(torch.arange(start - context, stop + context), a, b, ends)
        first, last = int(wanted.min()), int(wanted.max())
        pair = self.read(first, last + 1)
        lr = pair.lr[(wanted - first).to(pair.lr.device)]
        own = pair[start - first : stop - first]
        mask = None if own.mask is None else own.mask.transpose(0, 1).unsqueeze(0)
        at = torch.tensor([start], device=lr.device)
        return Clip(lr.transpose(0, 1).unsqueeze(0), own.hr.transpose(0, 1).unsqueeze(0), at, mask)

    def to(self, device: torch.device) -> FrameSet:
        """Return the frame set on a device. Only `MemoryFrames` are moved; other frame sets stay where they are."""
        return self

    def nbytes(self) -> int:
        """Return the number of bytes of LR and HR frames that `to` can move to a device."""
        return 0


class MemoryFrames(FrameSet):
    """Frame set in memory with frames of one size. A batch of patches is cut by one indexing operation on strided views."""

    def __init__(self, pair: LrHrPair, segments: tuple[tuple[int, int], ...]) -> None:
        self.pair, self.segments = pair, segments
        self.scale, self.channels = pair.hr.shape[-1] // pair.lr.shape[-1], pair.hr.shape[1]
        self._views: dict[tuple[int, int | None], tuple[Tensor, Tensor, Tensor | None]] = {}

    @classmethod
    def of_segments(cls, pairs: Sequence[LrHrPair]) -> MemoryFrames:
        """Return the frame set of several segments, which have one frame size."""
        ends = torch.tensor([len(pair) for pair in pairs]).cumsum(0).tolist()
        masks = [pair.mask for pair in pairs if pair.mask is not None]
        lr, hr = torch.cat([pair.lr for pair in pairs]), torch.cat([pair.hr for pair in pairs])
        segments = tuple(zip([0, *ends[:-1]], ends, strict=True))
        return cls(LrHrPair(lr, hr, torch.cat(masks) if masks else None), segments)

    def smallest_size(self) -> tuple[int, int]:
        return self.pair.hr.shape[-2], self.pair.hr.shape[-1]

    def patches(self, starts: Tensor, place: Tensor, length: int, patch: int | None) -> Clip:
        lr, hr, mask = self._cut(length, patch)
        s, room = self.scale, torch.tensor(lr.shape[2:4])
        y, x = (place * room).long().clamp(max=room - 1).to(lr.device).unbind(1)
        at = starts.to(lr.device)
        masked = None if mask is None else mask[at, :, y * s, x * s]
        return Clip(lr[at, :, y, x], hr[at, :, y * s, x * s], at, masked)

    def _cut(self, length: int, patch: int | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return views (N', C, h', w', length, ph, pw) of all patches, cached because unfolding costs more than indexing."""
        if (length, patch) not in self._views:
            h, w = self.pair.lr.shape[-2:]
            ph, pw = (h, w) if patch is None else (patch, patch)

            def view(x: Tensor, s: int) -> Tensor:
                return x.unfold(0, length, 1).unfold(2, ph * s, 1).unfold(3, pw * s, 1)

            mask = self.pair.mask
            cut = view(self.pair.lr, 1), view(self.pair.hr, self.scale), None if mask is None else view(mask, self.scale)
            self._views[length, patch] = cut
        return self._views[length, patch]

    def pairs(self, step: int = 1, start: int = 0, stop: int | None = None) -> Iterator[LrHrPair]:
        thin = self.pair[start:stop:step]
        size = max(1, EVAL_PIXELS // (thin.hr.shape[-1] * thin.hr.shape[-2]))  # frames per batch
        for at in range(0, len(thin), size):
            yield thin[at : at + size]

    def read(self, start: int, stop: int) -> LrHrPair:
        return self.pair[start:stop]

    def padded(self, count: int, ends: Ends) -> MemoryFrames:
        if not count:
            return self
        index = torch.cat([frame_indices_beyond_ends(torch.arange(a - count, b + count), a, b, ends) for a, b in self.segments])
        at = index.to(self.pair.lr.device)
        mask = None if self.pair.mask is None else self.pair.mask[at]
        return MemoryFrames(LrHrPair(self.pair.lr[at], self.pair.hr[at], mask), frame_ranges_beyond_ends(self.segments, count))

    def mapped(self, function: Callable[[LrHrPair], LrHrPair]) -> MemoryFrames:
        return MemoryFrames(function(self.pair), self.segments)

    def to(self, device: torch.device) -> FrameSet:
        return self if self.pair.lr.device == device else MemoryFrames(self.pair.to(device), self.segments)

    def nbytes(self) -> int:
        return sum(x.numel() * x.element_size() for x in (self.pair.lr, self.pair.hr))


class MixedFrames(FrameSet):
    """Frame set in memory, one `MemoryFrames` per frame size. If clips have to repeat, larger frames are drawn more often."""

    def __init__(self, parts: list[MemoryFrames]) -> None:
        self.parts = parts
        self.scale, self.channels = parts[0].scale, parts[0].channels
        offsets = torch.tensor([0, *[len(part) for part in parts]]).cumsum(0)
        self.offsets = offsets[:-1]
        self.segments = tuple(
            (a + o, b + o) for part, o in zip(parts, self.offsets.tolist(), strict=True) for a, b in part.segments
        )

    def smallest_size(self) -> tuple[int, int]:
        sizes = [part.smallest_size() for part in self.parts]
        return min(h for h, _ in sizes), min(w for _, w in sizes)

    def order(self, length: int, draws: int, generator: torch.Generator) -> Tensor:
        starts = self.starts(length)
        if draws <= len(starts):  # a pass over whole frames: each once
            return super().order(length, draws, generator)
        area = torch.tensor([float(part.pair.hr.shape[-1] * part.pair.hr.shape[-2]) for part in self.parts])
        return starts[torch.multinomial(area[self._part(starts)], draws, replacement=True, generator=generator)]

    def patches(self, starts: Tensor, place: Tensor, length: int, patch: int | None) -> Clip:
        part = self._part(starts)
        clips = [
            self.parts[p].patches(starts[i : i + 1] - self.offsets[p], place[i : i + 1], length, patch)
            for i, p in enumerate(part.tolist())
        ]
        masks = [clip.mask for clip in clips if clip.mask is not None]
        lr, hr = torch.cat([clip.lr for clip in clips]), torch.cat([clip.hr for clip in clips])
        return Clip(lr, hr, starts, torch.cat(masks) if masks else None)

    def pairs(self, step: int = 1, start: int = 0, stop: int | None = None) -> Iterator[LrHrPair]:
        stop = len(self) if stop is None else stop
        for part, offset in zip(self.parts, self.offsets.tolist(), strict=True):
            first = max(start - offset, -offset % step)  # the step goes on across parts
            last = min(stop - offset, len(part))
            if first < last:
                yield from part.pairs(step, first, last)

    def read(self, start: int, stop: int) -> LrHrPair:
        part = int(self._part(torch.tensor([start])))
        offset = int(self.offsets[part])
        return self.parts[part].read(start - offset, stop - offset)

    def padded(self, count: int, ends: Ends) -> MixedFrames:
        return MixedFrames([part.padded(count, ends) for part in self.parts])

    def mapped(self, function: Callable[[LrHrPair], LrHrPair]) -> MixedFrames:
        return MixedFrames([part.mapped(function) for part in self.parts])

    def _part(self, starts: Tensor) -> Tensor:
        return torch.searchsorted(self.offsets, starts, right=True) - 1


def frame_indices_beyond_ends(index: Tensor, start: int, stop: int, ends: Ends) -> Tensor:
    """Replace frame indices outside start..stop-1 by the nearest frame ("replicate") or the mirrored frame ("reflect")."""
    if ends == "replicate" or stop - start == 1:
        return index.clamp(start, stop - 1)
    period = 2 * (stop - start - 1)
    phase = (index - start) % period
    return start + torch.minimum(phase, period - phase)


def frame_ranges_beyond_ends(segments: tuple[tuple[int, int], ...], count: int) -> tuple[tuple[int, int], ...]:
    """Return the segments of a padded frame set: laid end to end, each longer by 2 * count frames."""
    found, at = [], 0
    for a, b in segments:
        found.append((at, at + b - a + 2 * count))
        at = found[-1][1]
    return tuple(found)
