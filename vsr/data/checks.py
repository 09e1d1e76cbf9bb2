"""Checks of all movies before training: sizes, value range, gaps, exact copies and near-duplicates across splits."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vsr.data.splits import Segment
from vsr.errors import UserError
from vsr.geometry import frame_size_problem
from vsr.io.readers.packing import ExtremeValues
from vsr.io.readers.printable import printable_name
from vsr.models.transform import in_domain
from vsr.types import FrameBounds, Movie, Offset, TransformName, ValueRange

log = logging.getLogger(__name__)

CHUNK_BYTES = 64 << 20  # HR bytes per chunk
THUMBNAIL = 16  # pixels per side
# Correlation of thumbnails above which frames count as near-duplicates. Different photographs reach 0.82 at most (108 of T91 and
# scikit-image); copies of two thirds of the size, or as JPEG of quality 10, reach 0.958 at least.
NEAR_DUPLICATE = 0.95
FLAT = 0.01  # share of the data range; thumbnails with a smaller standard deviation are not compared
MAX_THUMBNAILS = 4096  # evenly spread frames per split
TESTED_TWINS, LEARNED_TWINS = 8, 32  # frames of the test split, and movies of the training split, that `warn_twins` compares


def check_movie_shape(movie: Movie, variables: Sequence[str], least_frames: int, scale: int, crop: bool | None) -> None:
    """Raise UserError for a movie with other channels than its variables, or with too few frames or pixels.

    Args:
        movie: The movie.
        variables: Names of the channels; empty for channels without names.
        least_frames: Number of frames that a movie has at least.
        scale: Number of HR pixels per LR pixel along each side.
        crop: False to refuse frames that the scale does not divide.
    """
    channels, length, height, width = movie.shape
    if len(variables) not in (0, channels):
        names = ",".join(map(printable_name, variables))
        raise UserError(f"{movie.name}: has {channels} channel(s), not one for each of {names}; type data.variable=[{names}]")
    if length < least_frames:
        raise UserError(f"{movie.name}: one frame is not a movie; give a file with at least {least_frames} frames")
    if (problem := frame_size_problem(height, width, scale, crop)) is not None:
        raise UserError(f"{movie.name}: {problem}")


def check_copied_frames(split: str, movie: str, tested: list[bytes], learned: set[bytes]) -> bool:
    """Check a test split for exact copies of training frames; warn of copies, and refuse a split of mostly copies.

    Args:
        split: Label of the test split, for messages.
        movie: Name of the first movie of the test split, for messages.
        tested: Hashes of the test frames, from `scan_frames_for_checks`.
        learned: Hashes of the training frames, from `scan_frames_for_checks`.

    Returns:
        True if there are copies.

    Raises:
        UserError: If more than half of the test frames are copies.
    """
    same = [frame in learned for frame in tested]
    if 2 * sum(same) > len(same):
        raise UserError(
            f"{split}: {sum(same)} of its {len(same)} frames are also among the training frames, as when a clip is there twice "
            f"({movie}); remove the copies"
        )
    if any(same):
        log.warning("%s: %d of %d frames are also training frames", split, sum(same), len(same))
    return any(same)


def warn_near_duplicates(
    split: str, train: list[tuple[Movie, Segment]], tested: list[tuple[Movie, Segment]], bounds: FrameBounds
) -> None:
    """Warn of test frames that look like training frames, such as re-encoded, resized or brightened copies.

    Only movies without training frames are compared, because later frames of a movie always look like its earlier frames. Crops
    and mirrored copies are not found.

    Args:
        split: Label of the test split, for the warning.
        train: Movies and segments of the training split.
        tested: Movies and segments of the test split.
        bounds: Physical values that become 0 and 1.
    """
    learned = {movie.name for movie, _ in train}
    apart = [(movie, part) for movie, part in tested if movie.name not in learned]
    if not apart or not train:
        return
    (names, known), (mine, seen) = _thumbnails(train, bounds), _thumbnails(apart, bounds)
    if not len(known) or not len(seen):
        return
    best, which = (seen @ known.T).max(dim=1)
    found = (best > NEAR_DUPLICATE).nonzero().flatten().tolist()
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


def warn_twins(
    split: str,
    train: list[tuple[Movie, Segment]],
    tested: list[tuple[Movie, Segment]],
    read: Callable[[Movie, int], tuple[Tensor, Tensor]],
) -> None:
    """Warn of test movies that are nearly training movies, frame by frame, such as members of one ensemble forecast.

    A frame is a twin if, in every channel, it differs less from the frame of the same number of a training movie than from its
    own interpolation: a network that has learned the training frames by heart would then score well.

    Args:
        split: Label of the test split, for the warning.
        train: Movies and segments of the training split.
        tested: Movies and segments of the test split.
        read: Function of a movie and the number of a frame that returns the HR frame and its bicubic frame, (C, H, W) each.
    """
    learned = {movie.number for movie, _ in train}
    apart = [(movie, at) for movie, part in tested if movie.number not in learned for at in range(part.start, part.stop)]
    chosen, others = apart[:: max(1, -(-len(apart) // TESTED_TWINS))], train[:: max(1, -(-len(train) // LEARNED_TWINS))]
    found = []
    for movie, at in chosen:
        hr, bicubic = read(movie, at)
        lost = (hr - bicubic).square().mean((1, 2))
        alike = [other for other, part in others if part.start <= at < part.stop and other.shape[2:] == movie.shape[2:]]
        twins = (other for other in alike if bool(((read(other, at)[0] - hr).square().mean((1, 2)) < lost).all()))
        found += [(movie, at, twin) for twin in islice(twins, 1)]
    if found:
        movie, at, twin = found[0]
        log.warning(
            "%s: %d of %d frames that were looked at differ less from a training frame than from their own bicubic frame (frame "
            "%d of %s and of %s): a network that knows these by heart scores well; if they are members of one forecast, test on "
            "other times (data.by=time, or another file)",
            *(split, len(found), len(chosen), at, movie.name, twin.name),
        )


def _thumbnails(parts: list[tuple[Movie, Segment]], bounds: FrameBounds) -> tuple[list[str], Tensor]:
    """Return the names of the frames that are not flat, and their thumbnails (N, P) with mean 0 and norm 1."""
    step = max(1, -(-sum(part.stop - part.start for _, part in parts) // MAX_THUMBNAILS))
    names, found = [], []
    for movie, part in parts:
        for at in range(part.start, part.stop, step):
            small = F.adaptive_avg_pool2d(movie.read(at, at + 1)[:, 0].mean(0, keepdim=True), THUMBNAIL).flatten()
            small = small - small.mean()
            if float(small.std()) > FLAT * (bounds[1] - bounds[0]):
                names.append(movie.name if movie.shape[1] == 1 else f"{movie.name}, frame {at}")
                found.append(small / small.norm())
    return names, torch.stack(found) if found else torch.empty(0, THUMBNAIL**2)


class FixedGaps:
    """Pixels of movies without a value, such as land, which are the same in all frames.

    Attributes:
        share: Largest share of such pixels in a movie.
    """

    def __init__(self) -> None:
        self.share = 0.0
        self._known: dict[int, Tensor] = {}

    def are_fixed(self, movie: Movie, frames: Tensor) -> bool:
        """Take further frames (C, t, H, W) of a movie, and return False if its gaps change, or if a value is infinite."""
        known = ~torch.isnan(frames)
        first = self._known.setdefault(movie.number, known[:, 0].clone())
        self.share = max(self.share, 1 - float(first.all(0).float().mean()))
        return bool((known == first[:, None]).all()) and not bool(torch.isinf(frames).any())


def scan_frames_for_checks(
    parts: list[tuple[Movie, Segment]],
    digest: Any,
    masked: bool | FixedGaps,
    extremes: Sequence[ExtremeValues] = (),
    check: Callable[[Movie, int, Tensor], None] = lambda movie, start, frames: None,
) -> tuple[list[ValueRange], list[bytes], list[float], list[float]]:
    """Read a split once, in chunks, and return its value ranges and the hashes of its frames.

    Args:
        parts: Movies and segments of the split.
        digest: Object of hashlib that is updated with all values.
        masked: True to accept NaN and infinite values, False to refuse them; an object that takes fixed gaps refuses others.
        extremes: Objects that collect the extreme values: one for all channels, one per channel, or none.
        check: Function of a movie, a frame number, and the frames (C, t, H, W) of the movie from this number on, that raises
            UserError for values that cannot be used.

    Returns:
        The smallest and the largest finite value of each channel (inf, -inf without one), one hash per frame, the share of the
        finite values of each channel at pixels where another channel is not finite, and the mean magnitude of the finite values
        of each channel.

    Raises:
        UserError: If there are NaN or infinite values that `masked` refuses, or if there is no finite value at all.
    """
    channels = parts[0][0].shape[0]
    low, high = torch.full((channels,), torch.inf), torch.full((channels,), -torch.inf)
    seen: list[bytes] = []
    count = alone = torch.zeros(channels)
    total = torch.zeros(channels, dtype=torch.float64)
    for movie, part in parts:
        bad, first_bad, accepted = 0, None, masked is True
        for start, stop in _chunks(movie, part, CHUNK_BYTES):
            frames = movie.read(start, stop)
            digest.update(frames.numpy().tobytes())
            check(movie, start, frames)
            seen += [hashlib.blake2b(frames[:, k].numpy().tobytes(), digest_size=16).digest() for k in range(stop - start)]
            finite = torch.isfinite(frames)
            whole = finite.all(dim=3).all(dim=2).all(dim=0)
            if not whole.all():
                bad += int((~whole).sum())
                first_bad = start + int((~whole).nonzero()[0]) if first_bad is None else first_bad
                alone = alone + (finite & ~finite.all(0)).sum((1, 2, 3))
            count = count + finite.sum((1, 2, 3))
            total += torch.where(finite, frames, 0).abs().sum((1, 2, 3), dtype=torch.float64)
            for one, values in zip(extremes, frames if len(extremes) > 1 else [frames], strict=bool(extremes)):
                one.add(values.numpy())
            if isinstance(masked, FixedGaps):
                accepted = masked.are_fixed(movie, frames) and (accepted or start == part.start)
            low = torch.minimum(low, torch.where(finite, frames, torch.inf).amin((1, 2, 3)))
            high = torch.maximum(high, torch.where(finite, frames, -torch.inf).amax((1, 2, 3)))
        if not accepted and (bad or isinstance(masked, FixedGaps)):
            some = f"{bad} of the frames {part.start} to {part.stop - 1} hold NaN or infinite values"
            some += f", the first is frame {first_bad}" if bad else ", others do"
            changing = ", not at the same pixels in all frames" if isinstance(masked, FixedGaps) else ""
            raise UserError(
                f"{movie.name}: {some}{changing}; fill them, or type data.mask=true to leave them out of loss and scores"
            )
    if not (low <= high).any():
        raise UserError(f"{parts[0][0].name}: holds no finite value")
    known = count.clamp_min(1)
    return list(zip(low.tolist(), high.tolist(), strict=True)), seen, (alone / known).tolist(), (total / known).tolist()


def transform_problem(
    frames: Tensor,
    transforms: Sequence[TransformName | None],
    variables: Sequence[str],
    offset: Offset = 0.0,
    asked: str | None = None,
) -> tuple[int, str] | None:
    """Find the first frame with a value that its variable's transform does not take.

    Args:
        frames: Frames (N, C, H, W) in physical units minus `offset`; NaN is no problem.
        transforms: Transform of each channel, or None; empty for none.
        variables: Names of the channels; empty for channels without names.
        offset: The physical value that is 0 in the frames, or one per channel.
        asked: What the user typed to get the transforms; None for data.transform.

    Returns:
        The index of the frame, and a text such as "q is -0.1, and data.transform={q: log} takes values above 0"; None if all
        values can be transformed.
    """
    offsets = np.broadcast_to(offset, len(transforms)).tolist() if any(transforms) else ()
    for channel, (kind, zero) in enumerate(zip(transforms, offsets, strict=False)):
        values = frames[:, channel].numpy() if kind is None or not zero else frames[:, channel].double().numpy() + zero
        good = in_domain(kind, values)
        if kind is not None and not good.all():
            at = int((~good).reshape(len(good), -1).any(1).argmax())
            value = values[at][~good[at]].min()
            name = printable_name(variables[channel]) if variables else f"channel {channel}" if len(transforms) > 1 else ""
            typed = asked or f"data.transform={f'{{{name}: {kind}}}' if variables else kind}"
            takes = "values above 0" if kind == "log" else "no negative values"
            return at, f"{name or 'a value'} is {value:.4g}, and {typed} takes {takes}"
    return None


def ratio_problem(frames: Tensor, variables: Sequence[str], offset: Offset = 0.0) -> tuple[int, str] | None:
    """Find the first frame with a negative value, which consistency=ratio does not take; as `transform_problem`."""
    kinds: list[TransformName] = ["sqrt"] * frames.shape[1]  # which take no negative value, either
    return transform_problem(frames, kinds, variables, offset, asked="consistency=ratio")


def _chunks(movie: Movie, part: Segment, limit: int) -> Iterator[tuple[int, int]]:
    channels, _, height, width = movie.shape
    step = max(1, limit // (4 * channels * height * width))
    for start in range(part.start, part.stop, step):
        yield start, min(start + step, part.stop)
