"""Readers whose libraries run in the child process (`isolated`), with the interfaces of those that run here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.base import Details, Listing, Part, Source
from vsr.io.readers.isolated.parent import Remote
from vsr.io.readers.video_stream import MAX_PIXELS, VideoFacts, VideoFrame, VideoStream


class IsolatedSource(Source):
    """A source that has not been opened, to be opened in the child. Raises UserError as it does, and as `isolated.run`."""

    def __init__(self, source: Source) -> None:
        super().__init__(source.path)
        self.format = source.format
        self._remote = Remote(source.path, _itself, source)

    def listing(self) -> Listing:
        return self._remote.ask("listing")

    def details(self, name: str) -> Details:
        return self._remote.ask("details", name)

    def read(self, name: str, part: Part) -> np.ndarray:
        return self._remote.ask("read", name, part)


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


def _itself(source: Source) -> Source:
    return source


def _video(path: Path, frames: int | None, limit: int, key: str) -> VideoStream:
    return VideoStream(path, frames=frames, limit=limit, key=key)
