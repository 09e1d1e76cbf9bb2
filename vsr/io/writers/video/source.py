"""Where LR frames come from one block at a time, while what does not go through the network waits beside them."""

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
    """What a source leaves for its sink about each frame: chroma, transparency, times. One thread may put while another takes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, Any] = {}
        self._first = 0  # frames before it will not be asked for

    def begin(self, number: int) -> None:
        """Frames before `number` are not wanted: they were written by an earlier run."""
        with self._lock:
            self._first = number

    def put(self, number: int, what: Any) -> None:
        """Leave something about a frame."""
        with self._lock:
            if number >= self._first:
                self._waiting[number] = what

    def take(self, number: int) -> Any:
        """What was left about a frame, once. Raises ValueError for a frame that was not read, or was written before."""
        with self._lock:
            if number not in self._waiting:
                raise ValueError(f"frame {number} is to be written, but was not read, or was written before")
            self._first = number + 1
            return self._waiting.pop(number)


class Source(ABC):
    """LR frames in order.

    Attributes:
        channels, height, width: of the frames.
        notes: sentences for the user about what is not kept or not as it may look.
    """

    channels: int
    height: int
    width: int
    notes: list[str]

    @property
    @abstractmethod
    def length(self) -> int:
        """How many frames there should be; what `blocks` gives is what counts."""

    @abstractmethod
    def blocks(self, size: int, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the first frame, float32 frames (t, C, h, w) of codes 0..255), t = `size` but for the last, from `start` on.

        To be used by one thread, which may be another one than that of the sink. Each frame once; after an interruption from as
        many frames before `Sink.done` as a movie network looks back.
        """

    @abstractmethod
    def peek(self) -> Iterator[np.ndarray]:
        """The same frames (C, h, w) from the first on, to look at: nothing is kept for writing them."""


class VideoSource(Source):
    """Frames of a video for a network; chroma and times wait beside them.

    Args:
        stream: the video. colours: what goes through the network. beside: where the rest waits.
        known: number and time of a frame that was read by an earlier run (`IsolatedVideo.read`).
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
        """As promised; where the container does not promise, its packets are counted, which reads the file once."""
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
