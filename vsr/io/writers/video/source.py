"""Sources of LR frames for streamed upscaling, and the store of the frame data that bypass the network."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from vsr.io.readers.isolated.proxies import IsolatedVideo
from vsr.io.readers.picture_stream import PictureStream
from vsr.io.readers.selection import frame_span
from vsr.io.writers.video.planes import Colours


class Beside:
    """Store of the frame data that do not pass through the network: chroma, transparency, times.

    The source calls `put` and the sink calls `take`, possibly in two threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, Any] = {}
        self._first = 0  # frames before it will not be asked for

    def begin(self, number: int) -> None:
        """Let `put` ignore all frames before `number`, because an earlier run has written them."""
        with self._lock:
            self._first = number

    def put(self, number: int, what: Any) -> None:
        """Store the data of frame `number` that bypass the network."""
        with self._lock:
            if number >= self._first:
                self._waiting[number] = what

    def take(self, number: int) -> Any:
        """Return the data of frame `number` and remove them from the store.

        Raises:
            ValueError: The frame was not read, or was taken before.
        """
        with self._lock:
            if number not in self._waiting:
                raise ValueError(f"frame {number} is to be written, but was not read, or was written before")
            self._first = number + 1
            return self._waiting.pop(number)


class Source(ABC):
    """Interface of the sources of LR frames, which yield them in order.

    Attributes:
        channels: Channels of the frames for the network.
        height: Rows of a frame.
        width: Columns of a frame.
        notes: Sentences for the user about losses and possible faults.
    """

    channels: int
    height: int
    width: int
    notes: list[str]

    @property
    @abstractmethod
    def length(self) -> int:
        """Return the expected number of frames; `blocks` may yield more or fewer."""

    @abstractmethod
    def blocks(self, size: int, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """Read frames from `start` on. Only one thread may use the iterator; the sink may run in another thread.

        Args:
            size: Frames per block; the last block may be shorter.
            start: Number of the first frame. To continue after an interruption, pass `Sink.done` minus the network's context.

        Yields:
            The number of the block's first frame, and float32 frames (t, C, h, w) in codes 0..255.
        """

    @abstractmethod
    def peek(self) -> Iterator[np.ndarray]:
        """Yield the frames (C, h, w) from the first on, for inspection only: no data are passed to the sink."""


class VideoSource(Source):
    """Source that reads the frames of a video.

    Args:
        stream: The video, or pictures as a video.
        colours: Conversion that splits frames into the part for the network and the rest.
        beside: Store that passes the rest to the sink.
        known: Number and time of a frame that an earlier run has read (see `IsolatedVideo.read`); None for a new run.
    """

    def __init__(
        self, stream: IsolatedVideo | PictureStream, colours: Colours, beside: Beside, known: tuple[int, int] | None
    ) -> None:
        self.stream, self.colours, self.beside, self.known = stream, colours, beside, known
        facts = stream.facts
        self.channels = 3 if colours.channels == "rgb" else 1
        self.height, self.width = facts.height, facts.width
        self.notes = []
        if facts.interlaced:
            self.notes.append(
                f"{stream.path}: is interlaced, two moments in one frame, which no network here knows; "
                f"better deinterlace it first, for example: ffmpeg -vf bwdif"
            )

    @property
    def length(self) -> int:
        """Return the number of frames to read."""
        frames = self.stream.frames
        if isinstance(frames, int):
            return min(self.stream.length, frames)
        start, stop = frame_span(frames, self.stream.length, str(self.stream.path))
        return stop - start

    def blocks(self, size: int, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        block: list[np.ndarray] = []
        first = start
        for frame in self.stream.read(start, self.known):
            lr, beside = self.colours.split([self.stream.facts.codes(plane) for plane in frame.planes])
            self.beside.put(frame.number, (frame.pts, frame.duration, beside))
            block.append(lr)
            if len(block) == size:
                yield first, np.stack(block)
                first, block = frame.number + 1, []
        if block:
            yield first, np.stack(block)

    def peek(self) -> Iterator[np.ndarray]:
        for frame in self.stream.read():
            yield self.colours.split([self.stream.facts.codes(plane) for plane in frame.planes])[0]
