"""What is found out about all frames before anything is trained: their range, gaps, copies, and a hash of them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from typing import Any

import torch

from vsr.data.splits import Segment
from vsr.errors import UserError
from vsr.types import Movie

log = logging.getLogger(__name__)

CHUNK_BYTES = 64 << 20  # HR bytes that are checked at once


def check_leak(split: str, movie: str, seen: list[bytes], learned: set[bytes]) -> None:
    """Tell of test frames that were learned from, bit by bit; refuse when they are most of the split."""
    same = [frame in learned for frame in seen]
    if 2 * sum(same) > len(same):
        raise UserError(
            f"{split}: {sum(same)} of its {len(same)} frames are also among the training frames, as when a clip is there twice "
            f"({movie}); remove the copies"
        )
    if any(same):
        log.warning("%s: %d of %d frames are also training frames", split, sum(same), len(same))


def scan(parts: list[tuple[Movie, Segment]], digest: Any, masked: bool) -> tuple[float, float, list[bytes]]:
    """Least and largest finite value of a split, and a hash of each frame; adds the split to `digest`, chunk by chunk.

    Raises UserError for NaN and infinities unless they are `masked`.
    """
    low, high = float("inf"), float("-inf")
    seen: list[bytes] = []
    for movie, part in parts:
        bad, first_bad = 0, None
        for start, stop in _chunks(movie, part, CHUNK_BYTES):
            frames = movie.read(start, stop)
            digest.update(frames.numpy().tobytes())
            seen += [hashlib.blake2b(frames[:, k].numpy().tobytes(), digest_size=16).digest() for k in range(stop - start)]
            finite = torch.isfinite(frames)
            whole = finite.all(dim=3).all(dim=2).all(dim=0)
            if not whole.all():
                bad += int((~whole).sum())
                first_bad = start + int((~whole).nonzero()[0]) if first_bad is None else first_bad
                frames = frames[finite]
            if frames.numel():
                low, high = min(low, float(frames.min())), max(high, float(frames.max()))
        if bad and not masked:
            raise UserError(
                f"{movie.name}: {bad} of the frames {part.start} to {part.stop - 1} hold NaN or infinite values, the "
                f"first is frame {first_bad}; fill them, or type data.mask=true to leave them out of loss and scores"
            )
    if low > high:
        raise UserError(f"{parts[0][0].name}: holds no finite value")
    return low, high, seen


def _chunks(movie: Movie, part: Segment, limit: int) -> Iterator[tuple[int, int]]:
    channels, _, height, width = movie.shape
    step = max(1, limit // (4 * channels * height * width))
    for start in range(part.start, part.stop, step):
        yield start, min(start + step, part.stop)
