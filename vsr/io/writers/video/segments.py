"""Encoding of a video in pieces, so that a kill loses only the unfinished piece; `mux` joins the pieces."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vsr.io.readers.heartbeat import send_heartbeat
from vsr.io.writers.video.layout import Layout
from vsr.system.files import sync_path

# Times in a piece are later by this many ticks: its container knows no negative ones, and decoding starts before showing.
SHIFT = 2**32
BUFFER = 2**20


@dataclass(frozen=True)
class Encoding:
    """Settings of the video stream in which SR frames are stored.

    Attributes:
        suffix: .mkv (FFV1, lossless), .mp4 or .mov (H.264).
        height, width, layout: Size in pixels and colour storage of SR frames.
        rate, tick, aspect, display: Frames per second, unit of times, pixel shape and display matrix, as in `VideoFacts`.
        variable: True to store the frames of H.264 in the order shown, since only then .mp4 keeps how long each is shown.
        crf, preset: Quality and preset of x264.
    """

    suffix: str
    height: int
    width: int
    layout: Layout
    rate: Fraction
    tick: Fraction
    aspect: Fraction | None
    display: tuple[int, ...] | None
    variable: bool
    crf: int
    preset: str

    @property
    def codec(self) -> str:
        return "ffv1" if self.suffix == ".mkv" else "libx264"

    @property
    def lossless(self) -> bool:
        return self.codec == "ffv1"

    @property
    def pixels(self) -> str:
        """Return the pixel format under its ffmpeg name."""
        layout, deep = self.layout, f"{self.layout.bits}le" if self.layout.bits > 8 else ""
        if layout.kind == "rgb":
            return f"gbrp{deep}" if deep else "bgr0"
        subsampled = {(1, 4): "411", (2, 2): "420", (1, 2): "422", (1, 1): "444"}[layout.chroma]
        return f"gray{deep}" if layout.kind == "gray" else f"yuv{subsampled}p{deep}"

    def stream(self, container: Any) -> Any:
        """Add the video stream to a container. Pieces and the whole video get equal settings, so that their headers agree."""
        stream = container.add_stream(self.codec, rate=self.rate)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt, context.time_base = self.width, self.height, self.pixels, self.tick
        context.color_range = 2 if self.layout.full else 1
        context.colorspace = 0 if self.layout.kind == "rgb" else self.layout.matrix
        context.color_primaries, context.color_trc = self.layout.primaries, self.layout.transfer
        if self.aspect:
            context.sample_aspect_ratio = self.aspect
        if self.display:
            stream.set_display_matrix(self.display)
        if self.lossless:
            context.options = dict(_ffv1(self.width, self.height, self.pixels))
            context.thread_count = min(16, os.cpu_count() or 1)
        else:
            # What x264 decides must not differ between a run and its continuation: neither by the number of its threads nor by
            # its macroblock tree, which (in the x264 of PyAV 18) reads memory that nobody wrote.
            context.options = {"crf": str(self.crf), "preset": self.preset, "mbtree": "0"}
            if self.variable:
                context.options |= {"bf": "0"}
            context.thread_count = 8
        if self.layout.chroma != (1, 1):
            context.options |= {"chroma_sample_location": "left"}
        return stream

    def frame(self, planes: Sequence[np.ndarray], pts: int) -> Any:
        """Convert integer planes, in the layout's order, to an ffmpeg frame that is shown at the time `pts` (ticks)."""
        import av

        frame = av.VideoFrame(self.width, self.height, self.pixels)
        if self.pixels == "bgr0":
            empty = np.zeros_like(planes[0])
            planes = [np.stack([*planes[::-1], empty], -1).reshape(self.height, -1)]
        elif self.layout.kind == "rgb":
            planes = [planes[1], planes[2], planes[0]]
        for plane, values in zip(frame.planes, planes, strict=True):
            rows = np.frombuffer(memoryview(plane), values.dtype).reshape(plane.height, -1)
            rows[:, : values.shape[1]] = values
        frame.pts, frame.time_base = pts, self.tick
        return frame


@cache
def _ffv1(width: int, height: int, pixels: str) -> dict[str, str]:
    """Return FFV1 options: every frame is coded alone, in slices with a checksum and a thread each.

    Not every number of slices suits every odd size. Where no number does, FFV1 version 1 is used, without slices and checksums.
    """
    import av

    counts = sorted({rows * columns for rows in range(1, 9) for columns in range(rows, 2 * rows + 1)})
    wanted = 16 if width * height > 2**19 else 4
    for count in sorted(counts, key=lambda count: abs(count - wanted)):
        options = {"level": "3", "g": "1", "slicecrc": "1", "slices": str(count)}
        context: Any = av.CodecContext.create("ffv1", "w")
        context.width, context.height, context.pix_fmt, context.time_base = width, height, pixels, Fraction(1, 25)
        context.options = dict(options)
        with suppress(av.FFmpegError):
            context.open()
            return options
    return {"level": "1", "g": "1"}


def scaled_display(matrix: tuple[int, ...], scale: int) -> tuple[int, ...]:
    """Return a display matrix (`VideoFacts.display`) for frames that are `scale` times as large: its shift grows alike."""
    shift = [value * scale for value in matrix[6:8]]
    if any(abs(value) >= 2**31 for value in shift):  # players place the picture themselves
        shift = [0, 0]
    return *matrix[:6], *shift, matrix[8]


def turns_only(matrix: tuple[int, ...]) -> bool:
    """Return True if a display matrix (`VideoFacts.display`) turns and mirrors, but does not stretch or skew the frames."""
    a, b, u, c, d, v, *_ = matrix
    return u == v == 0 and ((a, b) in ((d, -c), (-d, c))) and abs(np.hypot(a, b) / 2**16 - 1) < 0.01


class Segments:
    """Pieces of a video in a folder. The file of a piece appears when the piece is complete.

    Args:
        folder: Folder of the pieces; it is made when missing.
        encoding: Settings of the video stream.
        count: Number of complete pieces that exist; all other files in the folder are deleted.
    """

    def __init__(self, folder: Path, encoding: Encoding, count: int) -> None:
        self.folder, self.encoding, self.count = folder, encoding, count
        self.open = 0  # frames in the piece that is being written
        self._file: BinaryIO | None = None
        self._container: Any = None
        self._stream: Any = None
        folder.mkdir(exist_ok=True)
        known = {path.name for path in self.paths()}
        for path in folder.iterdir():
            if path.name not in known:
                path.unlink()

    def paths(self) -> list[Path]:
        """Return the paths of the complete pieces, in order."""
        return [self.folder / f"{number:06}.nut" for number in range(self.count)]

    def add(self, planes: Sequence[np.ndarray], pts: int) -> None:
        """Encode the next frame, shown at `pts` ticks, into the open piece. Raises OSError or av.FFmpegError on failure."""
        import av

        if self._file is None:
            self._file = (self.folder / "open.part").open("wb")
            self._container = av.open(self._file, "w", format="nut", buffer_size=BUFFER)
            self._stream = self.encoding.stream(self._container)
        self._container.mux(self._stream.encode(self.encoding.frame(planes, pts + SHIFT)))
        self.open += 1

    def complete(self) -> None:
        """Close the open piece and sync it to disk. Raises OSError or av.FFmpegError on failure."""
        if self._file is None:
            return
        self._container.mux(self._stream.encode())
        self._container.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        written = sum(1 for _ in segment_packets(self.folder / "open.part"))
        if written != self.open:
            raise OSError(f"{written} of {self.open} frames were stored")
        os.replace(self.folder / "open.part", self.folder / f"{self.count:06}.nut")
        sync_path(self.folder)
        self._file, self._container, self._stream, self.open = None, None, None, 0
        self.count += 1

    def abandon(self) -> None:
        """Close the open piece without completing it; its frames are lost."""
        if self._file is not None:
            # Nobody needs what closing it would still write.
            with suppress(Exception):
                self._container.close()
            self._file.close()
            self._file, self._container, self._stream, self.open = None, None, None, 0


def segment_packets(path: Path) -> Iterator[Any]:
    """Yield the video packets of a file in decoding order; empty and corrupt packets are skipped."""
    import av

    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.video[0]):
            send_heartbeat()
            if packet.size and not packet.is_corrupt:
                yield packet


@contextmanager
def segment_errors_as_os() -> Iterator[None]:
    """Turn errors of ffmpeg in the `with` block into OSError."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise OSError(error.errno, error.strerror) from error
