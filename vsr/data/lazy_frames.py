"""Frame set that stays in its file because its frames are too many for memory, and the choice between file and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from vsr.data.frames import (
    Ends,
    FrameSet,
    LrHrPair,
    MemoryFrames,
    MixedFrames,
    frame_indices_beyond_ends,
    frame_ranges_beyond_ends,
)
from vsr.data.splits import Segment
from vsr.degradations import Degradation
from vsr.degradations.scaling import Paired
from vsr.errors import UserError
from vsr.types import Clip, Movie

BLOCK_BYTES = 128 << 20  # HR bytes that are read from a file at once


class LazyFrames(FrameSet):
    """Frame set that stays in a file; blocks of consecutive frames are read and degraded when they are needed.

    Training draws many patches from one block before it reads the next block. The patches of one epoch therefore come from few
    blocks, and the patches of all epochs from all blocks.

    Args:
        read: Function of (start, stop) that returns frames start..stop-1 of the split, which lie within one segment.
        segments: First frame and end (start, stop) of each segment of the split.
        frame: Pair of one LR frame and one HR frame, which gives the frame sizes.
    """

    def __init__(self, read: Callable[[int, int], LrHrPair], segments: tuple[tuple[int, int], ...], frame: LrHrPair) -> None:
        self._read, self.segments, self._frame = read, segments, frame
        self.scale, self.channels = frame.hr.shape[-1] // frame.lr.shape[-1], frame.hr.shape[1]
        self._size = frame.hr.shape[-2], frame.hr.shape[-1]
        per_frame = frame.hr[0].numel() * frame.hr.element_size()
        self.block = max(1, min(256, BLOCK_BYTES // per_frame))
        self._held: tuple[int, MemoryFrames] | None = None

    def smallest_size(self) -> tuple[int, int]:
        return self._size

    def order(self, length: int, draws: int, generator: torch.Generator) -> Tensor:
        """Draw `draws` clips and return their first frames' indices: blocks in random order, 256 or more clips from each."""
        if self.block < length:  # frames so large that a clip would not fit
            self.block, self._held = 2 * length, None
        blocks = [block for block in self._blocks() if block[1] - block[0] >= length]
        each = max(256, -(-draws // len(blocks)))
        parts: list[Tensor] = []
        for b in torch.randperm(len(blocks), generator=generator).tolist():
            start, stop = blocks[b]
            parts.append(start + torch.randint(stop - start - length + 1, (each,), generator=generator))
            if sum(map(len, parts)) >= draws:
                break
        return torch.cat(parts)[:draws]

    def patches(self, starts: Tensor, place: Tensor, length: int, patch: int | None) -> Clip:
        clips = []
        for block in self._blocks():
            inside = (starts >= block[0]) & (starts < block[1])
            if inside.any():
                held = self._load(*block)
                clips.append(held.patches(starts[inside] - block[0], place[inside], length, patch))
        masks = [clip.mask for clip in clips if clip.mask is not None]
        columns = [torch.cat([clip[i] for clip in clips]) for i in range(2)]  # type: ignore[misc]
        return Clip(columns[0], columns[1], starts, torch.cat(masks) if masks else None)

    def pairs(self, step: int = 1, start: int = 0, stop: int | None = None) -> Iterator[LrHrPair]:
        stop = len(self) if stop is None else min(stop, len(self))
        if step >= self.block:  # few frames, far apart: read just these
            for at in range(start, stop, step):
                yield self.read(at, at + 1)
            return
        for a, b in self._blocks():
            first, last = max(start, a + -a % step), min(stop, b)
            if first < last:
                pair = self.read(first, last)[::step]
                yield from MemoryFrames(pair, ((0, len(pair)),)).pairs()

    def read(self, start: int, stop: int) -> LrHrPair:
        return self._read(start, stop)

    def padded(self, count: int, ends: Ends) -> LazyFrames:
        if not count:
            return self
        segments = frame_ranges_beyond_ends(self.segments, count)

        def read(start: int, stop: int) -> LrHrPair:
            number = next(i for i, (a, b) in enumerate(segments) if a <= start < b)
            shift = self.segments[number][0] - count - segments[number][0]
            index = frame_indices_beyond_ends(torch.arange(start + shift, stop + shift), *self.segments[number], ends)
            first = int(index.min())
            pair = self._read(first, int(index.max()) + 1)
            at = index - first
            return LrHrPair(pair.lr[at], pair.hr[at], None if pair.mask is None else pair.mask[at])

        return LazyFrames(read, segments, self._frame)

    def mapped(self, function: Callable[[LrHrPair], LrHrPair]) -> LazyFrames:
        return LazyFrames(lambda start, stop: function(self._read(start, stop)), self.segments, function(self._frame))

    def _blocks(self) -> list[tuple[int, int]]:
        return [(start, min(start + self.block, b)) for a, b in self.segments for start in range(a, b, self.block)]

    def _load(self, start: int, stop: int) -> MemoryFrames:
        if self._held is None or self._held[0] != start:
            self._held = None  # before the next is read, so that two are never in memory
            self._held = start, MemoryFrames(self.read(start, stop), ((0, stop - start),))
        return self._held[1]


def build_frame_set(
    parts: Sequence[tuple[Movie, Segment]],
    pair: Callable[[Movie, int, int], LrHrPair],
    *,
    memory: float,
    degradation: Degradation,
    name: str,
) -> FrameSet:
    """Read a split into memory, with one set per frame size; leave a split larger than `memory` in its file.

    Args:
        parts: Movies and segments of the split.
        pair: Function of a movie and (start, stop) that returns LR and HR frames start..stop-1 of it.
        memory: MiB of HR frames that are held in memory.
        degradation: The degradation, by which `pair` makes LR frames.
        name: Name of the data, for messages.

    Raises:
        UserError: If the split is larger than `memory`, and the degradation needs whole clips.
    """
    size = sum(4 * len(part) * movie.shape[0] * movie.shape[2] * movie.shape[3] for movie, part in parts)
    if size > memory * 2**20 and all(movie.lazy for movie, _ in parts):
        if degradation.temporal and not isinstance(degradation, Paired):
            raise UserError(
                f"{name}: degradation {degradation.name} needs whole clips in memory, {size >> 20} MiB; "
                f"type data.memory={(size >> 20) + 1}, or data.learn and data.test for fewer frames"
            )
        ends = torch.tensor([len(part) for _, part in parts]).cumsum(0).tolist()
        segments = tuple(zip([0, *ends[:-1]], ends, strict=True))

        def read(start: int, stop: int) -> LrHrPair:
            at = next(i for i, end in enumerate(ends) if start < end)
            movie, part = parts[at]
            shift = part.start - segments[at][0]
            return pair(movie, start + shift, stop + shift)

        return LazyFrames(read, segments, read(0, 1))
    groups: dict[tuple[int, int], list[LrHrPair]] = {}
    for movie, part in parts:
        frames = pair(movie, part.start, part.stop)
        groups.setdefault((frames.hr.shape[-2], frames.hr.shape[-1]), []).append(frames)
    sets = [MemoryFrames.of_segments(pairs) for pairs in groups.values()]
    return sets[0] if len(sets) == 1 else MixedFrames(sets)
