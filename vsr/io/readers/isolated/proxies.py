"""Proxies of `ArrayReader` and `VideoStream` with the same interfaces, whose work runs in the child process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.base import ArrayAttributes, ArrayReader, Listing, Metadata, Part
from vsr.io.readers.isolated.parent import ChildObject
from vsr.io.readers.video_stream import MAX_PIXELS, VideoFacts, VideoFrame, VideoStream


class IsolatedReader(ArrayReader):
    """Proxy of an array reader that runs in the child process. Methods raise errors of the reader and of `run_isolated`."""

    isolated = False

    def __init__(self, reader: ArrayReader) -> None:
        super().__init__(reader.path)
        self.name, self.suffixes = reader.name, reader.suffixes
        self.format, self.time_last, self.superseded = reader.format, reader.time_last, reader.superseded
        self._remote = ChildObject(reader.path, _itself, reader)

    @classmethod
    def recognize(cls, path: Path, head: bytes) -> ArrayReader | None:
        return None

    def listing(self) -> Listing:
        return self._remote.call("listing")

    def details(self, name: str) -> ArrayAttributes:
        return self._remote.call("details", name)

    def read(self, name: str, part: Part) -> np.ndarray:
        return self._remote.call("read", name, part)

    def metadata(self, names: Sequence[str], axes: Sequence[str]) -> Metadata:
        return self._remote.call("metadata", names, axes)

    def coordinate(self, name: str, dimension: int) -> np.ndarray | None:
        return self._remote.call("coordinate", name, dimension)

    def close(self) -> None:
        self._remote.forget()

    def read_stored(self, name: str) -> np.ndarray:
        return self._remote.call("read_stored", name)


class IsolatedVideo:
    """Proxy of a `VideoStream` in the child process: equal arguments, frames and errors, plus the errors of `run_isolated`."""

    def __init__(
        self, path: Path, *, frames: int | Sequence[int] | None = None, limit: int = MAX_PIXELS, key: str = "frames"
    ) -> None:
        self.path, self.frames = Path(path), frames
        self.notes: list[str] = []
        try:  # this process may have fewer rights than the child
            self.path.open("rb").close()
        except PermissionError as error:
            raise UserError(f"{path}: cannot be opened ({error.strerror}); check its permissions") from error
        except OSError:
            pass  # the reader has a better message
        self._remote = ChildObject(self.path, partial(VideoStream, self.path, frames=frames, limit=limit, key=key))
        self.facts: VideoFacts = self._remote.call("facts")

    @cached_property
    def length(self) -> int:
        """Return the number of frames in the file: as the container declares, or counted if it declares none."""
        return self.facts.frames or len(self.times()[0])

    def __iter__(self) -> Iterator[VideoFrame]:
        return self.read()

    def read(self, start: int = 0, known: tuple[int, int] | None = None) -> Iterator[VideoFrame]:
        """Yield the frames from number `start` on, as `VideoStream.read` does; decode each frame when it is requested."""
        return self._remote.iterate("read", start, known)

    def times(self) -> tuple[list[int], list[int]]:
        """Return the sorted times (in ticks) of all frames, and those of the keyframes, like `VideoStream.times`."""
        return self._remote.call("times")


def _itself(reader: ArrayReader) -> ArrayReader:
    return reader
