"""Batches for training and for scoring, without worker processes and without a touch per sample.

Networks of ten thousand parameters take milliseconds per step, so a loader that touches samples one by one would starve them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vsr.data.frames import EVAL_PIXELS, Ends, FrameSet
from vsr.system.ranks import rank, share, whole_shares, world
from vsr.types import Clip

# Flips and the transpose are mirrors; what turns in one sense only (a flow on a rotating plane) has the turns alone.
SYMMETRIES = ("flip_y", "flip_x", "half_turn", "transpose", "quarter_turn")
NEED_SQUARES = ("transpose", "quarter_turn")


class PatchLoader:
    """Random training patches, a new draw each epoch, the same for the same seed.

    Args:
        frames: the training split.
        length: frames per clip.
        patch: side in LR pixels, None for whole frames.
        batch: clips per step, of all processes together: each draws all numbers and takes the clips of its share.
        steps: steps per epoch, None for one pass over all clips.
        symmetries: of SYMMETRIES, those that may be applied, each with probability 1/2; the last two need square patches.
        seed: of the draws.
    """

    def __init__(
        self,
        frames: FrameSet,
        *,
        length: int = 1,
        patch: int | None,
        batch: int,
        steps: int | None,
        symmetries: tuple[str, ...] = (),
        seed: int = 0,
    ) -> None:
        self.frames, self.length, self.patch, self.batch, self.seed, self.epoch = frames, length, patch, batch, seed, 0
        self.done = 0  # batches of the latest epoch that were given out
        self._skip = 0  # of the next epoch, those that were given out before an interruption
        h, w = frames.smallest_size()
        self.symmetries = tuple(x for x in symmetries if x not in NEED_SQUARES or patch is not None or h == w)
        self.draws = len(frames.starts(length)) if steps is None else steps * batch

    def __len__(self) -> int:
        return -(-self.draws // self.batch)

    def state_dict(self) -> dict[str, int]:
        """Where it is: how many epochs were begun, and how many batches of the latest were given out."""
        return {"epoch": self.epoch, "done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there: the next epoch that is begun is the rest of the one that was left."""
        self.epoch, self.done, self._skip = state["epoch"], state["done"], 0
        if 0 < self.done < len(self):
            self.epoch, self._skip = self.epoch - 1, self.done

    def __iter__(self) -> Iterator[Clip]:
        draw = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        self.epoch += 1
        self.done, self._skip = self._skip, 0
        starts = self.frames.order(self.length, self.draws, draw)
        place = torch.rand(self.draws, 2, generator=draw)
        flips = torch.randint(2, (len(self), len(self.symmetries)), generator=draw).tolist()
        for i in range(self.done, len(flips)):
            at, part = self._mine(i * self.batch, min((i + 1) * self.batch, self.draws))
            lr, hr, position, mask, *_ = self.frames.patches(starts[at], place[at], self.length, self.patch)
            for symmetry, applied in zip(self.symmetries, flips[i], strict=True):
                if applied:
                    lr, hr = _apply(symmetry, lr), _apply(symmetry, hr)
                    mask = None if mask is None else _apply(symmetry, mask)
            self.done = i + 1
            yield Clip(lr, hr, position, mask, share=part)

    def _mine(self, first: int, last: int) -> tuple[slice, float]:
        """Which of the draws first..last-1 are for this process, and `Clip.share`; one that counts nothing where none is left."""
        count = last - first
        a, b = share(count, rank(), world())
        return (slice(first + a, first + b) if a < b else slice(first, first + 1)), (b - a) * world() / count


def _apply(symmetry: str, x: Tensor) -> Tensor:
    if symmetry == "transpose":
        return x.transpose(-1, -2)
    if symmetry.endswith("turn"):
        return x.rot90(1 if symmetry == "quarter_turn" else 2, (-2, -1))
    return x.flip(-2 if symmetry == "flip_y" else -1)


class FrameLoader:
    """Every step-th whole frame of a split once, in order, as clips of one frame; of several processes each has a run of them."""

    def __init__(self, frames: FrameSet, step: int = 1) -> None:
        self.frames, self.step = frames, step

    def __iter__(self) -> Iterator[Clip]:
        first, last = share(-(-len(self.frames) // self.step), rank(), world())
        for pair in self.frames.pairs(self.step, first * self.step, last * self.step):
            yield pair.clip(first)
            first += len(pair)


class ClipLoader:
    """The frames of a split once, in order, as clips of one segment each, with the frames around them in LR.

    Args:
        frames: the split.
        context: LR frames before and after those of HR.
        trim: frames left out at both ends of each segment.
        ends: what stands in for LR frames beyond a segment.
        step: only the middle 1/step of each segment.
        whole: of several processes each has whole segments, as scores in time need it; else equal runs of frames.
    """

    def __init__(
        self,
        frames: FrameSet,
        *,
        context: int = 0,
        trim: int = 0,
        ends: Ends = "replicate",
        step: int = 1,
        whole: bool = True,
    ) -> None:
        self.frames, self.context, self.trim, self.ends, self.step, self.whole = frames, context, trim, ends, step, whole
        height, width = frames.smallest_size()
        # Long enough that the frames around a clip are not most of the work.
        self.length = max(1, EVAL_PIXELS // (height * width), 2 * context)

    def __iter__(self) -> Iterator[Clip]:
        for first, last in self._mine(self._scored()):
            for start in range(first, last, self.length):
                stop = min(start + self.length, last)
                yield self.frames.clip(start, stop, self.context, self.ends)._replace(follows=start > first)

    def _scored(self) -> list[tuple[int, int]]:
        """(start, stop) of what is scored of each segment."""
        found = []
        for a, b in self.frames.segments:
            first, last = a + self.trim, b - self.trim
            if self.step > 1:
                count = max(1, (last - first) // self.step)
                first += max(0, last - first - count) // 2
                last = first + count
            found.append((first, last))
        return found

    def _mine(self, runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those of this process."""
        lengths = [max(0, last - first) for first, last in runs]
        if self.whole:
            return [run for run, owner in zip(runs, whole_shares(lengths, world()), strict=True) if owner == rank()]
        start, stop = share(sum(lengths), rank(), world())
        found, before = [], 0
        for (first, _), length in zip(runs, lengths, strict=True):
            a, b = max(0, start - before), min(length, stop - before)
            if a < b:
                found.append((first + a, first + b))
            before += length
        return found
