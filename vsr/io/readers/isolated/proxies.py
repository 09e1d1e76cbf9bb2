"""Readers whose libraries run in the child process (`isolated`), with the interfaces of those that run here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.base import ArrayReader, Details, Listing, Metadata, Part
from vsr.io.readers.isolated.parent import Remote
from vsr.io.readers.video_stream import MAX_PIXELS, VideoFacts, VideoFrame, VideoStream


class IsolatedReader(ArrayReader):
    """A reader whose methods run in the child process. Raises UserError like the reader, and like `parent.run`."""

    isolated = False

    def __init__(self, reader: ArrayReader) -> None:
        super().__init__(reader.path)
        self.name, self.suffixes = reader.name, reader.suffixes
        self.format, self.time_last, self.superseded = reader.format, reader.time_last, reader.superseded
        self._remote = Remote(reader.path, _itself, reader)

    @classmethod
    def recognize(cls, path: Path, head: bytes) -> ArrayReader | None:
        return None

    def listing(self) -> Listing:
        return self._remote.ask("listing")

    def details(self, name: str) -> Details:
        return self._remote.ask("details", name)

    def read(self, name: str, part: Part) -> np.ndarray:
        return self._remote.ask("read", name, part)

    def metadata(self, names: Sequence[str], axes: str) -> Metadata:
        return self._remote.ask("metadata", names, axes)

    def read_stored(self, name: str) -> np.ndarray:
        return self._remote.ask("read_stored", name)


class IsolatedVideo:
    """A `VideoStream` in the child: the same arguments, attributes, frames and errors, and those of `isolated.run`."""

    def __init__(self, path: Path, *, frames: int | None = None, limit: int = MAX_PIXELS, key: str = "frames") -> None:
        self.path, self.frames = Path(path), frames
        try:  # with this process's rights, which may be fewer than those of a new one
            self.path.open("rb").close()
        except PermissionError as error:
            raise UserError(f"{path}: cannot be opened ({error.strerror}); check its permissions") from error
        except OSError:
            pass  # the reader says it in its own words
        self._remote = Remote(self.path, _video, self.path, frames, limit, key)
        self.facts: VideoFacts = self._remote.ask("facts")

    def __iter__(self) -> Iterator[VideoFrame]:
        return self.read()

    def read(self, start: int = 0, known: tuple[int, int] | None = None) -> Iterator[VideoFrame]:
        """As of `VideoStream`, decoded one by one as they are asked for."""
        return self._remote.each("read", start, known)

    def times(self) -> tuple[list[int], list[int]]:
        """As of `VideoStream`."""
        return self._remote.ask("times")


def _itself(reader: ArrayReader) -> ArrayReader:
    return reader


def _video(path: Path, frames: int | None, limit: int, key: str) -> VideoStream:
    return VideoStream(path, frames=frames, limit=limit, key=key)
