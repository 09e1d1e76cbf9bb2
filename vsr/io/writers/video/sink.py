"""Sink that writes SR frames as a video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vsr.errors import UserError, error_suggestion
from vsr.io.readers.isolated.proxies import IsolatedVideo
from vsr.io.readers.picture_stream import PictureStream
from vsr.io.readers.video_stream import LEFT, VideoFacts
from vsr.io.writers.base import OutputProgress, Sink, writing_errors
from vsr.io.writers.video.layout import BT709, Layout
from vsr.io.writers.video.mux import MUXERS, Companions, mux_video
from vsr.io.writers.video.planes import Colours
from vsr.io.writers.video.segments import Encoding, Segments, scaled_display, segment_errors_as_os, turns_only
from vsr.io.writers.video.source import Beside
from vsr.system.files import sync_path

PIECE_BYTES = 2**28
SHORTEST_PIECE, LONGEST_PIECE = 64, 256
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


class VideoSink(Sink):
    """Sink that writes SR frames as a video with the times, audio, subtitles, colours and pixel shape of the input.

    .mkv holds FFV1: lossless, with the subsampling and depth of the input. .mp4 and .mov hold H.264 in 4:2:0 with 8 bits.
    Frames are encoded in pieces of 64 to 256 frames, each a file in the folder `.NAME.part`. If the process is killed, only the
    current piece is lost. `flush` completes a lossless piece early. It leaves a piece of H.264 open, so that an interrupted and
    continued run gives the same result as an uninterrupted one.

    `write`, `flush`, `finish` and `close` must be called by one thread, which may differ from the source's thread.

    Args:
        path: The file to write.
        source: The video that the frames come from.
        colours: Conversion that joins SR and the data in `beside` to planes.
        beside: Store of the frame data that do not pass through the network.
        identity: Everything that the frames depend on; the encoder's settings are added.
        overwrite: Replace an existing output (`OutputProgress`).
        crf: Quality of H.264, 0 (lossless) to 51.
        preset: Preset of x264, "ultrafast" to "veryslow".
        audio: Keep the audio.
        comment: Text of the tag `comment`.

    Raises:
        UserError: The container cannot hold the video or its audio, H.264 gets an odd size, `crf` or `preset` is invalid, or
            the output cannot be written (`OutputProgress`).
    """

    def __init__(
        self,
        path: Path,
        source: IsolatedVideo | PictureStream,
        colours: Colours,
        beside: Beside,
        *,
        identity: Mapping[str, Any],
        overwrite: bool = False,
        crf: int = 16,
        preset: str = "medium",
        audio: bool = True,
        comment: str = "",
    ) -> None:
        import av

        self.path, self.source, self.colours, self.beside, self.comment = path, source, colours, beside, comment
        self.encoding = _encoding(path, source.facts, colours, crf, preset)
        self.companions = Companions(source.path, self.encoding, path, audio=audio)
        self.notes = self.companions.notes
        if self.encoding.suffix == ".mkv" and self.encoding.display and not turns_only(self.encoding.display):
            self.notes.append(
                f"{path}: .mkv holds only turns and mirrors, not the display matrix of {source.path}, so players show the stored "
                f"frames; type output={path.stem}.mp4 to keep it"
            )
        if source.facts.hdr10:
            self.notes.append(f"{source.path}: the mastering display and the content light levels of HDR10 are left out")
        encoded = {
            "encoder": [self.encoding.codec, *av.library_versions["libavcodec"]],
            "pixels": self.encoding.pixels,
            "quality": None if self.encoding.lossless else [crf, preset],
        }
        self.journal = OutputProgress(path, {**identity, **encoded}, overwrite=overwrite)
        try:
            with self._guarded():
                self.segments = Segments(self.journal.partial, self.encoding, self.journal.state.get("pieces", 0))
                if not all(piece.is_file() for piece in self.segments.paths()):
                    self.journal.start_over()
                    self.segments = Segments(self.journal.partial, self.encoding, 0)
        except BaseException:
            self.journal.close()
            raise
        self.done = self.journal.done
        self.known: tuple[int, int] | None = (self.done - 1, self.journal.state["last"]) if self.done else None
        self.beside.begin(self.done)
        size = self.encoding.height * self.encoding.width * 3 * (1 if self.encoding.layout.bits == 8 else 2)
        self.piece = min(LONGEST_PIECE, max(SHORTEST_PIECE, PIECE_BYTES // size))
        self._last, self._end = 0, 0

    def write(self, start: int, frames: np.ndarray) -> None:
        """Append SR frames (t, C, H, W) in codes 0..255; `start`, the number of the first frame, must equal `done`."""
        if start != self.done:
            raise ValueError(f"frame {start} cannot follow {self.done - 1}")
        with self._guarded():
            for sr in frames:
                self._last, duration, beside = self.beside.take(self.done)
                self._end = self._last + (duration or round(1 / (self.encoding.rate * self.encoding.tick)))
                self.segments.add(self.colours.join(sr, beside), self._last)
                self.done += 1
                if self.segments.open == self.piece:
                    self._complete()

    def flush(self) -> None:
        """Sync the written frames of a lossless video to disk; with H.264 only complete pieces are durable."""
        if self.encoding.lossless:
            with self._guarded():
                self._complete()

    def finish(self) -> None:
        with self._guarded():
            self._complete()
            if not self.done:
                raise ValueError("no frame was written")
            whole = self.journal.partial / f"whole{self.encoding.suffix}"
            span = self.source.frames
            late, early = isinstance(span, Sequence) and span[0] > 0, span is not None
            end = self.journal.state["end"]
            count = mux_video(self.segments.paths(), self.companions, whole, self.comment, end, late=late, early=early)
            if count != self.done:
                raise ValueError(f"{whole}: {count} of {self.done} frames arrived")
            sync_path(whole)
            whole.replace(self.path)
            sync_path(self.path.parent)
        self.journal.start_over()
        self.close()

    def close(self) -> None:
        self.segments.abandon()
        self.journal.close()

    def discard(self) -> None:
        self.close()
        self.journal.start_over()

    def _complete(self) -> None:
        if self.segments.open:
            self.segments.complete()
            self.journal.record(self.done, pieces=self.segments.count, last=self._last, end=self._end)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with writing_errors(self.path, self.journal.done), segment_errors_as_os():
            yield


def target_layout(path: Path, source: Layout, width: int) -> Layout:
    """Return the layout of SR frames: that of the input for .mkv, 4:2:0 with 8 bits for H.264, and that of PNG for a folder.

    Chroma that FFV1 cannot store, 4:1:0 and 4:1:1 of a `width` (of SR) that 4 does not divide, gets twice the samples.
    """
    if path.suffix.lower() not in MUXERS:
        return Layout("gray" if source.kind == "gray" else "rgb", 16 if source.bits > 8 else 8, full=True)
    if path.suffix.lower() == ".mkv":
        rows, columns = source.chroma
        odd = rows == 4 or (columns == 4 and width % 4)
        return replace(source, siting=LEFT, chroma=(min(rows, 2), 2) if odd else source.chroma)
    if source.kind == "rgb":
        return Layout("yuv", chroma=(2, 2), matrix=BT709)
    return replace(source, kind="yuv", bits=8, chroma=(2, 2), siting=LEFT)


def _encoding(path: Path, facts: VideoFacts, colours: Colours, crf: int, preset: str) -> Encoding:
    height, width, suffix = facts.height * colours.scale, facts.width * colours.scale, path.suffix.lower()
    if not 0 <= crf <= 51:
        raise UserError(f"crf={crf}: must lie between 0 (lossless) and 51; type crf=16")
    if preset not in PRESETS:
        raise UserError(f"preset={preset}{error_suggestion(preset, PRESETS)}")
    if suffix != ".mkv" and (height % 2 or width % 2):
        raise UserError(f"{path}: H.264 in 4:2:0 needs even sizes, SR is {height}x{width}; type output={path.stem}.mkv")
    display = scaled_display(facts.display, colours.scale) if facts.display else None
    timing = facts.rate, facts.tick, facts.aspect, display, facts.variable
    return Encoding(suffix, height, width, colours.target, *timing, crf, preset)
