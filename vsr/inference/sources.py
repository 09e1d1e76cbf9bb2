"""LR movies that are read frame by frame from array files, videos and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from vsr.io.readers.open import ArrayMovie
from vsr.io.writers.video.source import Source as VideoBlocks
from vsr.types import Offset

READ_BYTES = 1 << 25  # of LR frames that are read from an array file at once
PEEKED = 8  # frames that are read at once for inspection: a damaged chunk further on is found when its turn comes


class Source(Protocol):
    """A reader of LR movies that all have the same number of channels, height and width.

    Attributes:
        lengths: Number of frames of each movie; None for a movie whose end is only found by reading.
        channels: Number of channels of a frame.
        height: Height of a frame in pixels.
        width: Width of a frame in pixels.
    """

    lengths: list[int | None]
    channels: int
    height: int
    width: int

    def offset(self, movie: int) -> Offset:
        """Return the physical value of 0 in the frames of a movie, or one per channel."""
        ...

    def frames(self, movie: int, start: int) -> Iterator[np.ndarray]:
        """Yield the frames (C, h, w) of a movie from frame `start` to the end, float32, in physical units minus the offset."""
        ...

    def peek(self, movie: int) -> Iterator[np.ndarray]:
        """Yield the frames (C, h, w) of a movie from the first on, for inspection before `frames` reads them."""
        ...


class ArraySource:
    """Reader of the LR movies in an array file.

    Args:
        array: The movies.
        offset: Function of the number of a movie: the value that is taken off its values before they become float32.
        add_planes: Function of frames (n, C, h, w), the number of their movie and of the first of them, that adds planes to them.
    """

    def __init__(
        self,
        array: ArrayMovie,
        offset: Callable[[int], Offset] = lambda _: 0.0,
        add_planes: Callable[[np.ndarray, int, int], np.ndarray] | None = None,
    ) -> None:
        self.add_planes = add_planes
        movies, self.channels, length, self.height, self.width = array.shape
        self.array, self._offset = array, offset
        self.lengths: list[int | None] = [length] * movies

    def offset(self, movie: int) -> Offset:
        return self._offset(movie)

    def frames(self, movie: int, start: int, stop: int | None = None, most: int | None = None) -> Iterator[np.ndarray]:
        """Yield the frames of a movie from frame `start` to the end, or to `stop`, and read at most `most` of them at once."""
        length = self.array.shape[2] if stop is None else stop
        count = most or max(1, READ_BYTES // (4 * self.channels * self.height * self.width))
        for first in range(start, length, count):
            frames = np.moveaxis(self.array.read(movie, first, min(first + count, length), self._offset(movie)), 1, 0)
            yield from frames if self.add_planes is None else self.add_planes(frames, movie, first)

    def peek(self, movie: int) -> Iterator[np.ndarray]:
        return self.frames(movie, 0, most=PEEKED)


class VideoSource:
    """Reader of a video or a folder of pictures as one LR movie, with code values 0..255."""

    def __init__(self, blocks: VideoBlocks) -> None:
        self.blocks = blocks
        self.channels, self.height, self.width = blocks.channels, blocks.height, blocks.width
        self.lengths: list[int | None] = [blocks.length]

    def offset(self, movie: int) -> Offset:
        return 0.0

    def frames(self, movie: int, start: int) -> Iterator[np.ndarray]:
        for _, block in self.blocks.blocks(1, start):
            yield from block

    def peek(self, movie: int) -> Iterator[np.ndarray]:
        return self.blocks.peek()
