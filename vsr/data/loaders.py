"""Batches cut from tensors in memory: whole batches by one indexing operation, no worker processes, no copies per sample.

Networks of ten thousand parameters take milliseconds per step, so a loader that touches samples one by one would starve them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vsr.types import Clip

EVAL_PIXELS = 1 << 20  # HR pixels per evaluation batch: bounds memory, leaves small frames in few batches


@dataclass(frozen=True)
class FrameSet:
    """A split in memory: lr (N, C, h, w) and hr (N, C, H, W), and where the N frames are cut into segments (start, stop)."""

    lr: Tensor
    hr: Tensor
    segments: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.lr)

    @property
    def scale(self) -> int:
        return self.hr.shape[-1] // self.lr.shape[-1]

    def starts(self, length: int) -> Tensor:
        """First frames of all clips of `length` frames that lie within one segment."""
        return torch.cat([torch.arange(a, b - length + 1) for a, b in self.segments if b - a >= length] or [torch.arange(0)])

    def every(self, step: int) -> FrameSet:
        """Each step-th frame, as single frames."""
        kept = tuple((i, i + 1) for i in range(len(self.lr[::step])))
        return FrameSet(self.lr[::step], self.hr[::step], kept)

    def to(self, device: torch.device) -> FrameSet:
        return FrameSet(self.lr.to(device), self.hr.to(device), self.segments)


class PatchLoader:
    """Random training patches, a new draw each epoch, the same for the same seed.

    Args:
        frames: the training split.
        length: frames per clip.
        patch: side in LR pixels, None for whole frames.
        batch: clips per step; steps: steps per epoch, None for one pass over all clips.
        symmetries: of "flip_y", "flip_x", "transpose", those that may be applied (transpose needs square patches).
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
        self.frames, self.batch, self.seed, self.epoch = frames, batch, seed, 0
        self.clips = frames.starts(length)
        h, w = frames.lr.shape[-2:]
        ph, pw = (h, w) if patch is None else (patch, patch)
        s = frames.scale
        # Views (N', C, h', w', T, ph, pw): no memory, and indexing them copies just the batch.
        self._lr = frames.lr.unfold(0, length, 1).unfold(2, ph, 1).unfold(3, pw, 1)
        self._hr = frames.hr.unfold(0, length, 1).unfold(2, ph * s, 1).unfold(3, pw * s, 1)
        self.symmetries = tuple(x for x in symmetries if x != "transpose" or ph == pw)
        self.draws = len(self.clips) if steps is None else steps * batch

    def __len__(self) -> int:
        return -(-self.draws // self.batch)

    def __iter__(self) -> Iterator[Clip]:
        draw = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        self.epoch += 1
        passes = -(-self.draws // len(self.clips))
        order = torch.cat([torch.randperm(len(self.clips), generator=draw) for _ in range(passes)])[: self.draws]
        device, s = self._lr.device, self.frames.scale
        where = self.clips[order].to(device)
        y, x = (torch.randint(n, (self.draws,), generator=draw).to(device) for n in self._lr.shape[2:4])
        flips = torch.randint(2, (len(self), len(self.symmetries)), generator=draw).tolist()
        for i, flip in enumerate(flips):
            at = slice(i * self.batch, (i + 1) * self.batch)
            lr = self._lr[where[at], :, y[at], x[at]]
            hr = self._hr[where[at], :, y[at] * s, x[at] * s]
            for symmetry, applied in zip(self.symmetries, flip, strict=True):
                if applied:
                    lr, hr = _apply(symmetry, lr), _apply(symmetry, hr)
            yield Clip(lr, hr, where[at])


def _apply(symmetry: str, x: Tensor) -> Tensor:
    if symmetry == "transpose":
        return x.transpose(-1, -2)
    return x.flip(-2 if symmetry == "flip_y" else -1)


class FrameLoader:
    """Every whole frame of a split once, in order, as clips of one frame."""

    def __init__(self, frames: FrameSet) -> None:
        self.frames = frames
        self.batch = max(1, EVAL_PIXELS // (frames.hr.shape[-1] * frames.hr.shape[-2]))

    def __len__(self) -> int:
        return -(-len(self.frames) // self.batch)

    def __iter__(self) -> Iterator[Clip]:
        for start in range(0, len(self.frames), self.batch):
            at = slice(start, start + self.batch)
            lr, hr = self.frames.lr[at], self.frames.hr[at]
            yield Clip(lr.unsqueeze(2), hr.unsqueeze(2), torch.arange(start, start + len(lr), device=lr.device))
