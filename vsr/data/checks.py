"""What is found out about all frames before anything is trained: their range, gaps, copies, look-alikes, and a hash of them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vsr.data.splits import Segment
from vsr.errors import UserError
from vsr.types import Movie

log = logging.getLogger(__name__)

CHUNK_BYTES = 64 << 20  # HR bytes that are checked at once
THUMBNAIL = 16  # pixels per side of what is compared to find look-alikes
# Correlation of thumbnails. Of 108 photographs (T91 and those of scikit-image) no two different ones have more than 0.82; copies
# of two thirds of the size, JPEG of quality 10, have 0.958 or more.
ALIKE = 0.95
FLAT = 0.01  # of the largest value: thumbnails that vary less say nothing
LOOKED_AT = 4096  # frames of a split, evenly spread


def check_copies(split: str, movie: str, seen: list[bytes], learned: set[bytes]) -> bool:
    """Whether test frames were learned from, bit by bit: told where they are few, refused where they are most of the split."""
    same = [frame in learned for frame in seen]
    if 2 * sum(same) > len(same):
        raise UserError(
            f"{split}: {sum(same)} of its {len(same)} frames are also among the training frames, as when a clip is there twice "
            f"({movie}); remove the copies"
        )
    if any(same):
        log.warning("%s: %d of %d frames are also training frames", split, sum(same), len(same))
    return any(same)


def warn_near_duplicates(
    split: str, train: list[tuple[Movie, Segment]], tested: list[tuple[Movie, Segment]], bounds: tuple[float, float]
) -> None:
    """Tell of test frames that look like training frames of another file: encoded again, enlarged, or brightened copies.

    Only for files that are wholly in the test: later frames of a movie always look like its earlier ones. Crops and mirrored
    copies are not found.
    """
    learned = {movie.name for movie, _ in train}
    apart = [(movie, part) for movie, part in tested if movie.name not in learned]
    if not apart or not train:
        return
    (names, known), (mine, seen) = _thumbnails(train, bounds), _thumbnails(apart, bounds)
    if not len(known) or not len(seen):
        return
    best, which = (seen @ known.T).max(dim=1)
    found = (best > ALIKE).nonzero().flatten().tolist()
    if found:
        first = found[0]
        log.warning(
            "%s: %d of %d frames look like training frames, the first are %s and %s; scores of copies say little, remove them",
            split,
            len(found),
            len(mine),
            mine[first],
            names[int(which[first])],
        )


def _thumbnails(parts: list[tuple[Movie, Segment]], bounds: tuple[float, float]) -> tuple[list[str], Tensor]:
    """Names of frames, and their thumbnails (N, P) of mean 0 and length 1; without flat ones."""
    step = max(1, -(-sum(part.stop - part.start for _, part in parts) // LOOKED_AT))
    names, found = [], []
    for movie, part in parts:
        for at in range(part.start, part.stop, step):
            small = F.adaptive_avg_pool2d(movie.read(at, at + 1)[:, 0].mean(0, keepdim=True), THUMBNAIL).flatten()
            small = small - small.mean()
            if float(small.std()) > FLAT * (bounds[1] - bounds[0]):
                names.append(movie.name if movie.shape[1] == 1 else f"{movie.name}, frame {at}")
                found.append(small / small.norm())
    return names, torch.stack(found) if found else torch.empty(0, THUMBNAIL**2)


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
