"""Batches for training and for scoring, without worker processes and without a touch per sample.

Networks of ten thousand parameters take milliseconds per step, so a loader that touches samples one by one would starve them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vsr.data.frames import EVAL_PIXELS, Ends, FrameSet
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
        batch: clips per step; steps: steps per epoch, None for one pass over all clips.
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
        h, w = frames.smallest()
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
            at = slice(i * self.batch, (i + 1) * self.batch)
            lr, hr, position, mask, _ = self.frames.patches(starts[at], place[at], self.length, self.patch)
            for symmetry, applied in zip(self.symmetries, flips[i], strict=True):
                if applied:
                    lr, hr = _apply(symmetry, lr), _apply(symmetry, hr)
                    mask = None if mask is None else _apply(symmetry, mask)
            self.done = i + 1
            yield Clip(lr, hr, position, mask)


def _apply(symmetry: str, x: Tensor) -> Tensor:
    if symmetry == "transpose":
        return x.transpose(-1, -2)
    if symmetry.endswith("turn"):
        return x.rot90(1 if symmetry == "quarter_turn" else 2, (-2, -1))
    return x.flip(-2 if symmetry == "flip_y" else -1)


class FrameLoader:
    """Every step-th whole frame of a split once, in order, as clips of one frame."""

    def __init__(self, frames: FrameSet, step: int = 1) -> None:
        self.frames, self.step = frames, step

    def __iter__(self) -> Iterator[Clip]:
        first = 0
        for pair in self.frames.pairs(self.step):
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
    """

    def __init__(self, frames: FrameSet, *, context: int = 0, trim: int = 0, ends: Ends = "replicate", step: int = 1) -> None:
        self.frames, self.context, self.trim, self.ends, self.step = frames, context, trim, ends, step
        height, width = frames.smallest()
        # Long enough that the frames around a clip are not most of the work.
        self.length = max(1, EVAL_PIXELS // (height * width), 2 * context)

    def __iter__(self) -> Iterator[Clip]:
        for a, b in self.frames.segments:
            first, last = a + self.trim, b - self.trim
            if self.step > 1:
                count = max(1, (last - first) // self.step)
                first += max(0, last - first - count) // 2
                last = first + count
            for start in range(first, last, self.length):
                stop = min(start + self.length, last)
                yield self.frames.clip(start, stop, self.context, self.ends)._replace(follows=start > first)
