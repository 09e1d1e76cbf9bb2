"""Sources of LR frames for streamed upscaling, and the data of each frame that bypass the network."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from vsr.io.readers.isolated.proxies import IsolatedVideo
from vsr.io.writers.video.planes import Colours


class Beside:
    """Passes the data of each frame that bypass the network from the source to the sink: chroma, transparency, times.

    One thread may call `put` while another calls `take`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, Any] = {}
        self._first = 0  # frames before it will not be asked for

    def begin(self, number: int) -> None:
        """Ignore frames before `number`, which an earlier run has written."""
        with self._lock:
            self._first = number

    def put(self, number: int, what: Any) -> None:
        """Store the data of a frame."""
        with self._lock:
            if number >= self._first:
                self._waiting[number] = what

    def take(self, number: int) -> Any:
        """Return the data of a frame and forget them.

        Raises:
            ValueError: the frame was not read, or was taken before.
        """
        with self._lock:
            if number not in self._waiting:
                raise ValueError(f"frame {number} is to be written, but was not read, or was written before")
            self._first = number + 1
            return self._waiting.pop(number)


class Source(ABC):
    """LR frames in order.

    Attributes:
        channels: of the frames, for the network.
        height: in pixels.
        width: in pixels.
        notes: sentences for the user about losses and possible faults.
    """

    channels: int
    height: int
    width: int
    notes: list[str]

    @property
    @abstractmethod
    def length(self) -> int:
        """The expected number of frames; `blocks` may yield more or fewer."""

    @abstractmethod
    def blocks(self, size: int, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """Read frames from `start` on. To be used by one thread, which may differ from the sink's.

        Args:
            size: frames per block; the last block may be shorter.
            start: the first frame. After an interruption this lies before `Sink.done` by the context of a movie network.

        Yields:
            The number of the first frame, and float32 frames (t, C, h, w) in codes 0..255.
        """

    @abstractmethod
    def peek(self) -> Iterator[np.ndarray]:
        """Yield the frames (C, h, w) from the first on for inspection; nothing is passed to the sink."""


class VideoSource(Source):
    """Frames of a video for a network.

    Args:
        stream: the video.
        colours: splits frames into the part for the network and the rest.
        beside: passes the rest to the sink.
        known: number and time of a frame that an earlier run has read (see `IsolatedVideo.read`); None for a new run.
    """

    def __init__(self, stream: IsolatedVideo, colours: Colours, beside: Beside, known: tuple[int, int] | None) -> None:
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

    @cached_property
    def length(self) -> int:
        """The number of frames that the container declares; otherwise its packets are counted, which reads the whole file."""
        stream = self.stream
        count = stream.facts.frames or len(stream.times()[0])
        return count if stream.frames is None else min(count, stream.frames)

    def blocks(self, size: int, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        block: list[np.ndarray] = []
        first = start
        for frame in self.stream.read(start, self.known):
            lr, beside = self.colours.split([self.stream.facts.codes(plane) for plane in frame.planes])
            self.beside.put(frame.number, (frame.pts, beside))
            block.append(lr)
            if len(block) == size:
                yield first, np.stack(block)
                first, block = frame.number + 1, []
        if block:
            yield first, np.stack(block)

    def peek(self) -> Iterator[np.ndarray]:
        for frame in self.stream.read():
            yield self.colours.split([self.stream.facts.codes(plane) for plane in frame.planes])[0]
