"""Stream of the frames of a video, with the decoder's own planes and times, in constant memory. Needs PyAV."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.base import import_reader_library
from vsr.io.readers.heartbeat import send_heartbeat
from vsr.io.readers.selection import frame_span

MAX_PIXELS = 2**28
# ffmpeg recognises formats by content. Playlists and concatenation lists are left out, since they make ffmpeg open other files.
FORMATS = "yuv4mpegpipe,mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,h264,hevc,obu,ivf,flv,ogg,nut,asf,gif,mxf,mjpeg,m4v,dv"
FULL_RANGE = 2  # number of the colour range in H.273 and ffmpeg; 1 is limited, 0 unspecified
UNSPECIFIED = 2  # number of an undeclared matrix, primaries or transfer in H.273
LEFT = (0.5, 0.0)  # siting of H.264, FFV1 and most other codecs

_YUV = re.compile(r"yuvj?(410|411|420|422|444)p(?:(9|10|12|14|16)le)?")
_GRAY = re.compile(r"gray(?:(9|10|12|14|16)le)?")
_SUBSAMPLED = {"410": (4, 4), "411": (1, 4), "420": (2, 2), "422": (1, 2), "444": (1, 1)}
_SITINGS = {
    **{"left": (0.5, 0.0), "center": (0.5, 0.5), "topleft": (0.0, 0.0), "top": (0.0, 0.5)},
    **{"bottomleft": (1.0, 0.0), "bottom": (1.0, 0.5)},
}
_PACKED = {"yuyv422": (0, 1, 3), "yvyu422": (0, 3, 1), "uyvy422": (1, 0, 2)}  # place of the first y, u and v in a row


@dataclass(frozen=True)
class VideoFacts:
    """Properties of a video, from its first frame and its container.

    Attributes:
        height, width: Size of the stored frames in pixels, before a player turns them.
        kind: Type of the planes: "yuv", "gray" (luma only) or "rgb".
        bits: Depth of the planes in bits per value.
        chroma: Luma pixels per chroma sample (y, x).
        siting: Place (y, x) of a chroma sample among its luma pixels: 0 at the first, 0.5 in the middle, 1 at the last. If the
            file does not declare it, (0.5, 0.5) for JPEG and MPEG-1 and (0.5, 0) for other codecs.
        full: True if codes use the full range 0..255; False if luma uses only 16..235 (both on the 8-bit scale).
        matrix, primaries, transfer: Numbers in ITU-T H.273 of the colour matrix, primaries and transfer function; 2 if the file
            does not declare them.
        aspect: Width of a pixel over its height, or None if undeclared.
        display: Matrix a, b, u, c, d, v, x, y, w (ISO/IEC 14496-12, fixed point) by which a player turns, mirrors or shifts the
            frames, or None.
        interlaced: True if frames consist of two fields.
        hdr10: True if the frames name the display that they were mastered on, or their content light levels.
        rate: Average number of frames per second.
        variable: True if the container declares a variable frame rate, or shows the first frame longer than the rate says.
        tick: Unit of the frame times in seconds.
        frames: Number of frames that the container declares, or None.
        end: End of the video in seconds, if the container declares an end but no number of frames; otherwise None.
        beside: (type, codec) of each audio or subtitle stream in the file.
    """

    height: int
    width: int
    kind: Literal["yuv", "gray", "rgb"]
    bits: int
    chroma: tuple[int, int]
    siting: tuple[float, float]
    full: bool
    matrix: int
    primaries: int
    transfer: int
    aspect: Fraction | None
    display: tuple[int, ...] | None
    interlaced: bool
    hdr10: bool
    rate: Fraction
    variable: bool
    tick: Fraction
    frames: int | None
    end: float | None
    beside: tuple[tuple[str, str], ...]

    def codes(self, plane: np.ndarray) -> np.ndarray:
        """Convert the stored integers of a plane, of any depth, to float32 on the 8-bit scale 0..255."""
        values = plane.astype(np.float32)
        return values if self.bits == 8 else values * np.float32(255 / (2**self.bits - 1))


@dataclass(frozen=True)
class VideoFrame:
    """Decoded frame of a video.

    Attributes:
        number: Index of the frame, from 0 for the first frame to use.
        pts: Time of the frame in ticks (units of `VideoFacts.tick`).
        planes: (y,), (y, u, v) or (r, g, b); uint8 or uint16 codes of `VideoFacts.bits` bits.
        duration: Time in ticks for which the container shows the frame; 0 if undeclared.
    """

    number: int
    pts: int
    planes: tuple[np.ndarray, ...]
    duration: int


class VideoStream:
    """Video whose frames are read from the start or from any frame on. Each iteration opens the file again.

    Args:
        path: A file in a container of FORMATS. Its pixel format is yuv420p, 422p, 444p or grey of 8 to 16 bits, yuv410p, yuv411p,
            nv12, nv21, yuyv422, yvyu422, uyvy422 or RGB.
        frames: Number of frames to use from the start, or (start, stop), without a check that the rest is complete; None for all
            frames. Fewer frames than in (start, stop) are an error.
        limit: Largest number of pixels per frame.
        key: Config key of `frames`, named in error messages.

    Raises:
        UserError: If the file is not a video, is cut short, changes its frame size or has an unknown pixel format.
    """

    def __init__(
        self, path: Path, *, frames: int | Sequence[int] | None = None, limit: int = MAX_PIXELS, key: str = "frames"
    ) -> None:
        self.path, self.frames, self.limit, self.key = Path(path), frames, limit, key
        span: Sequence[int | None] = frames if isinstance(frames, Sequence) else (0, frames)
        self.first, self.stop = span[0] or 0, span[1]
        if not self.path.is_file():
            raise UserError(f"{path}: no such file; type input=PATH of a video")
        with self._opened() as (container, stream):
            first = next(container.decode(stream), None)
            if first is None:
                raise UserError(f"{path}: no frame can be decoded; not a video, or cut short")
            self.facts = _facts(self.path, container, stream, first)

    def __iter__(self) -> Iterator[VideoFrame]:
        return self.read()

    def read(self, start: int = 0, known: tuple[int, int] | None = None) -> Iterator[VideoFrame]:
        """Yield the frames from number `start` on, with the same values as in a full read.

        Args:
            start: Number of the first frame, counted from the first frame to use.
            known: Number and time in ticks of a frame that was read before, or None. If the times in the container agree with
                this frame, decoding starts at a keyframe shortly before `start`. Otherwise decoding starts at the first frame,
                because frame numbers counted from a keyframe could be wrong.
        """
        first = self.first + start
        near = (self.first + known[0], known[1]) if start and known else None
        number, decoded = self._seek_to(first, near) if near else (0, self._decoded())
        facts, until = self.facts, 0
        step = round(1 / (facts.rate * facts.tick))
        size = facts.height, facts.width
        for pts, frame in decoded if self.stop is None else islice(decoded, max(0, self.stop - number)):
            if (frame.height, frame.width) != size or _layout(frame, self.path)[:2] != (facts.kind, facts.bits):
                raise UserError(
                    f"{self.path}: frame {number} is {frame.height}x{frame.width} {frame.format.name}, the first is "
                    f"{size[0]}x{size[1]}; {self._advice(number, 'what comes before it')}"
                )
            if number >= first:
                yield VideoFrame(number - self.first, pts, _planes(frame, facts.kind, facts.bits), frame.duration)
            number, until = number + 1, pts + (frame.duration or step)
        if self.stop is not None and number >= self.stop:
            return
        # Ends are rounded to the container's unit: one frame of tolerance.
        early = facts.end is not None and float(until * facts.tick + 1 / facts.rate) + 0.002 < facts.end
        if early or number < (facts.frames or 0):
            wanted = f"{number} of {facts.frames} frames" if facts.frames else f"{number} frames"
            raise UserError(f"{self.path}: cut short, {wanted} can be decoded; {self._advice(number)}")
        if isinstance(self.frames, Sequence):
            frame_span(self.frames, number, str(self.path))

    def _advice(self, stop: int, what: str = "these") -> str:
        span = stop if not self.first else f"[{min(self.first, stop - 1)},{stop}]"
        return f"type {self.key}={span} to use {what}"

    def times(self) -> tuple[list[int], list[int]]:
        """Return the sorted times (in ticks) of all frames, and those of the keyframes, read without decoding."""
        shown, keys = [], []
        with self._opened() as (container, stream):
            for packet in container.demux(stream):
                send_heartbeat()
                if packet.size and packet.pts is not None and not packet.is_discard:
                    shown.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
        return sorted(shown), sorted(keys)

    def _seek_to(self, start: int, known: tuple[int, int]) -> tuple[int, Iterator[tuple[int, Any]]]:
        """Seek to a frame at or before number `start`; return its number and the decoded frames from that frame on."""
        times, keys = self.times()
        number = {time: n for n, time in enumerate(times)}
        agreed = len(number) == len(times) and number.get(known[1]) == known[0]
        start = min(start, len(times) - 1)  # the last frame says where the video ends
        before = [key for key in keys if agreed and key <= times[start]]
        # The last keyframe but one, since frames after a keyframe may refer to frames before it (open GOP).
        if len(before) > 2:
            decoded = self._decoded(before[-2], number[before[-2]])
            found = next(decoded, None)
            for here in range(number[before[-2]], start):
                if found is None or found[0] != times[here]:
                    break
                found = next(decoded, None)
            if found is not None and found[0] == times[start]:
                return start, chain([found], decoded)
        return 0, self._decoded()

    def _decoded(self, seek: int | None = None, number: int = 0) -> Iterator[tuple[int, Any]]:
        """Yield (time in ticks, frame), with times rising strictly, from the start or keyframe `number` (time `seek`) on."""
        import av

        begin, last = number, None
        with self._opened() as (container, stream):
            stream.thread_type = "AUTO"
            if seek is not None:
                container.seek(seek, stream=stream)
            step = max(1, round(1 / (_rate(stream) * stream.time_base)))
            try:
                for packet in container.demux(stream):
                    send_heartbeat()
                    for frame in packet.decode():
                        pts = frame.pts
                        if pts is None or (last is not None and pts <= last):
                            pts = 0 if last is None else last + step
                        last = pts
                        yield pts, frame
                        number += 1
            except av.FFmpegError as error:
                if number == begin:
                    raise
                why = f"damaged or cut short after {number} frames ({error.strerror})"
                raise UserError(f"{self.path}: {why}; {self._advice(number)}") from error

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        """Open the container, and yield it with its first stream of moving pictures (cover pictures do not count)."""
        av = import_reader_library("av", "reading video", "video", "PyAV")
        try:
            options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
            with av.open(str(self.path), options=options, metadata_errors="replace") as container:  # titles need not be UTF-8
                streams = moving_pictures(container)
                if not streams or streams[0].codec_context is None:  # unknown codec
                    raise UserError(f"{self.path}: holds no video stream; not a video, or cut short")
                if streams[0].width * streams[0].height > self.limit:
                    size = f"{streams[0].height}x{streams[0].width}"
                    raise UserError(f"{self.path}: frames of {size} pixels are more than {self.limit}; cut them into parts")
                yield container, streams[0]
        except av.error.PermissionError as error:
            raise UserError(f"{self.path}: cannot be opened ({error.strerror}); check its permissions") from error
        except av.FFmpegError as error:
            raise UserError(f"{self.path}: not a readable video, or cut short ({error.strerror})") from error


def moving_pictures(container: Any) -> list[Any]:
    """Return the video streams of a container that are no cover pictures; the first one is the video."""
    import av

    return [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]


def _rate(stream: Any) -> Fraction:
    return Fraction(stream.average_rate or stream.guessed_rate or 25)


def _facts(path: Path, container: Any, stream: Any, frame: Any) -> VideoFacts:
    kind, bits, chroma = _layout(frame, path)
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    if tags.get("alpha_mode") == "1" and stream.codec_context.name in ("vp8", "vp9", "libvpx", "libvpx-vp9"):
        # WebM keeps the transparency beside the frames, where the decoder ignores it.
        advice = "convert the video to yuv420p, for example: ffmpeg -pix_fmt yuv420p NAME.mp4"
        raise UserError(f"{path}: {stream.codec_context.name} carries transparency, which would be lost; {advice}")
    said = frame.color_range or stream.codec_context.color_range
    name, rate, base = stream.codec_context.name, _rate(stream), stream.base_rate
    beside = [(s.type, s.codec_context.name) for s in container.streams if s.type in ("audio", "subtitle") and s.codec_context]
    with path.open("rb") as file:
        jpeg = name in ("mjpeg", "mpeg1video") or (path.suffix.lower() == ".y4m" and b"mpeg2" not in file.readline(1000))
    frames, end = _declared_length(path, container, stream, frame, bits)
    return VideoFacts(
        height=frame.height,
        width=frame.width,
        kind=kind,
        bits=bits,
        chroma=chroma,
        siting=_siting(container, stream) or (0.5, 0.5 if jpeg else 0.0),
        full=said == FULL_RANGE or frame.format.name.startswith("yuvj") or (kind != "yuv" and not said),
        matrix=int(frame.colorspace),
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        aspect=stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or None,
        display=_display(frame),
        interlaced=bool(frame.interlaced_frame),
        hdr10=any(data.type.name in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL") for data in frame.side_data),
        rate=rate,
        variable=(bool(base) and abs(base / rate - 1) > Fraction(1, 1000)) or frame.duration > 1.5 / (rate * stream.time_base),
        tick=stream.time_base,
        frames=frames,
        end=end,
        beside=tuple(beside),
    )


def _siting(container: Any, stream: Any) -> tuple[float, float] | None:
    """Return the declared place of chroma samples (`VideoFacts.siting`), or None."""
    import av

    before = av.logging.get_level()
    av.logging.set_level(av.logging.VERBOSE)  # PyAV has no attribute for it, and at lower levels ffmpeg's text leaves it out
    av.logging.set_libav_level(av.logging.VERBOSE)
    try:
        text = container.dumps_format()
    finally:
        av.logging.set_libav_level(av.logging.INFO)
        av.logging.set_level(before)
    said = re.search(rf"Stream #0:{stream.index}\b.*? yuvj?\d+p\w*\([^)]*?\b({'|'.join(_SITINGS)})\)", text)
    return _SITINGS[said[1]] if said else None


def _display(frame: Any) -> tuple[int, ...] | None:
    found = [data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"]
    return tuple(np.frombuffer(found[0], np.int32).tolist()) if found else None


def _declared_length(path: Path, container: Any, stream: Any, frame: Any, bits: int) -> tuple[int | None, float | None]:
    """Return the number of frames that the container declares, or else the end in seconds; None for an undeclared value."""
    if path.suffix.lower() == ".y4m":
        # The header has no count, but all frames have one size: a remainder is a frame cut short.
        with path.open("rb") as file:
            header, mark = len(file.readline()), len(file.readline())
        pixels = sum(c.width * c.height for c in frame.format.components)
        return -(-(path.stat().st_size - header) // (mark + pixels * (1 if bits == 8 else 2))), None
    if stream.frames:
        # The count of an MP4 includes frames that its edit list hides; the index of ffmpeg marks these.
        shown = sum(not entry.is_discard for entry in stream.index_entries) if "mov" in container.format.name else stream.frames
        return shown, None
    if said := re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = said.groups()
        return None, 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    if container.duration and len(container.streams) == 1 and "matroska" in container.format.name:
        return None, (container.start_time or 0) / 1e6 + container.duration / 1e6
    return None, None


def _layout(frame: Any, path: Path) -> tuple[Literal["yuv", "gray", "rgb"], int, tuple[int, int]]:
    """Return the kind of planes, bits, and luma pixels per chroma sample (y, x); raise UserError for other pixel formats."""
    name = frame.format.name
    if yuv := _YUV.fullmatch(name):
        return "yuv", int(yuv[2] or 8), _SUBSAMPLED[yuv[1]]
    if name in ("nv12", "nv21"):
        return "yuv", 8, (2, 2)
    if name in _PACKED:
        return "yuv", 8, (1, 2)
    if gray := _GRAY.fullmatch(name):
        return "gray", int(gray[1] or 8), (1, 1)
    if name == "pal8":
        return "rgb", 8, (1, 1)
    alpha = any(component.is_alpha for component in frame.format.components)
    bits = max(component.bits for component in frame.format.components)
    if frame.format.is_rgb and not alpha and (bits == 8 or (name.startswith(("gbrp", "rgb48le")) and name.endswith("le"))):
        return "rgb", bits, (1, 1)
    why = "carries transparency, which would be lost" if alpha else "is not supported"
    raise UserError(f"{path}: pixel format {name} {why}; convert the video to yuv420p, for example: ffmpeg -pix_fmt yuv420p")


def _planes(frame: Any, kind: str, bits: int) -> tuple[np.ndarray, ...]:
    if kind == "rgb":
        values = frame.to_ndarray(format="rgb24" if bits == 8 else frame.format.name).transpose(2, 0, 1)
        return tuple(np.ascontiguousarray(values))
    rows = [np.frombuffer(plane, np.uint8 if bits == 8 else np.uint16).reshape(plane.height, -1) for plane in frame.planes]
    if frame.format.name in ("nv12", "nv21"):
        pair = [rows[1][:, n : frame.width + frame.width % 2 : 2] for n in (0, 1)]
        planes = [rows[0][:, : frame.width], *(pair if frame.format.name == "nv12" else pair[::-1])]
    elif frame.format.name in _PACKED:
        y, u, v = _PACKED[frame.format.name]
        half = -(-frame.width // 2)
        planes = [rows[0][:, y::2][:, : frame.width], rows[0][:, u::4][:, :half], rows[0][:, v::4][:, :half]]
    else:
        planes = [row[:, : plane.width] for row, plane in zip(rows, frame.planes, strict=True)]
    # Copies: the decoder uses its memory again.
    return tuple(np.array(plane) for plane in planes)
