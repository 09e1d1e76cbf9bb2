"""Division of movies into train, val and test splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vsr.errors import UserError

TRAJECTORY = 10  # frames of a generated trajectory, unless data.frames says otherwise


def count_trajectories(learn: float, test: float, frames: int) -> tuple[int, int]:
    """Return the numbers of generated trajectories to learn from and to test on.

    Args:
        learn: Number of frames to learn from, training and validation together.
        test: Number of frames to test on.
        frames: Number of frames of each trajectory.

    Raises:
        UserError: If the numbers of frames are no multiples of `frames`, or fewer than two trajectories are left to learn from.
    """
    if frames < 1:
        raise UserError(f"data.frames={frames}: must be 1 or more; type data.frames={TRAJECTORY}")
    if learn % frames or test % frames or learn < 2 * frames or test < frames:
        raise UserError(
            f"data.learn={learn:g}, data.test={test:g}: data come in trajectories of {frames} frames, each of them wholly in one "
            f"split; type multiples of {frames}, data.learn={2 * frames} or more"
        )
    return int(learn) // frames, int(test) // frames


@dataclass(frozen=True)
class Segment:
    """Consecutive frames start..stop-1 of one movie; no clip crosses the ends of a segment."""

    movie: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, kw_only=True)
class Split:
    """Rule that divides movies into train, val and test.

    Attributes:
        by: "time" cuts every movie into earlier frames to learn from and later frames to test on; "trajectory" gives whole
            movies to each part.
        learn: Number of frames to learn from, over all movies; below 1, the share of all frames.
        test: Number of frames to test on, over all movies; below 1, the share of all frames; 0 for no test part.
        val: Share of the learning frames that is held out for validation; the latest frames are held out.
        gap: Number of frames left out between the parts, used for by="time" only.
    """

    by: Literal["time", "trajectory"] = "time"
    learn: float = 0.7
    test: float = 0.3
    val: float = 0.2
    gap: int = 0

    def cut(self, lengths: list[int], source: str) -> dict[str, list[Segment]]:
        """Cut movies into the segments of "train", "val" and "test".

        Args:
            lengths: Number of frames of each movie.
            source: Name of the data, for messages.

        Raises:
            UserError: If there are too few frames, or if a part would be empty.
        """
        total = sum(lengths)
        learn, test = (round(n * total) if n < 1 else int(n) for n in (self.learn, self.test))
        if learn + test > total:
            raise UserError(
                f"{source}: the split asks for {learn} frames to learn from and {test} to test on, there are {total}; "
                f"type data.learn=0.7 data.test=0.3 for shares"
            )
        parts = self._by_time(lengths, learn, test) if self.by == "time" else self._by_trajectory(lengths, learn, test)
        if not test:  # other movies are tested on
            del parts["test"]
        empty = [name for name, segments in parts.items() if not sum(map(len, segments))]
        if empty:
            raise UserError(
                f"{source}: {total} frames in {len(lengths)} movie(s) are too few for the split, nothing is left for "
                f"{' and '.join(empty)}; give a longer movie or other data.learn, data.val, data.test, data.gap"
            )
        return parts

    def _by_time(self, lengths: list[int], learn: int, test: int) -> dict[str, list[Segment]]:
        parts: dict[str, list[Segment]] = {"train": [], "val": [], "test": []}
        before, total = 0, sum(lengths)
        for movie, length in enumerate(lengths):
            # Shares of the running total, so that the rounded parts add up to the numbers asked for.
            after = before + length
            own, used = (after * n // total - before * n // total for n in (learn, learn + test))
            val = round(after * learn * self.val / total) - round(before * learn * self.val / total)
            val = min(val, own)  # both numbers are rounded, and may exceed a very short movie
            borders = {"train": (0, own - val), "val": (own - val, own), "test": (own, used)}
            for name, (start, stop) in borders.items():
                start += self.gap if name != "train" else 0
                if stop > start:
                    parts[name].append(Segment(movie, start, stop))
            before = after
        return parts

    def _by_trajectory(self, lengths: list[int], learn: int, test: int) -> dict[str, list[Segment]]:
        learned = _whole_movies(lengths, learn)
        val = max(1, round(self.val * learned)) if self.val and learned > 1 else 0
        tested = _whole_movies(lengths[learned:], test)
        edges = {"train": (0, learned - val), "val": (learned - val, learned), "test": (learned, learned + tested)}
        return {name: [Segment(i, 0, lengths[i]) for i in range(*edge)] for name, edge in edges.items()}


def _whole_movies(lengths: list[int], frames: int) -> int:
    """Return the largest number of leading movies that together hold at most `frames` frames."""
    count = 0
    while count < len(lengths) and sum(lengths[: count + 1]) <= frames:
        count += 1
    return count
