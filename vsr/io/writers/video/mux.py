"""Join the encoded pieces of a video with the other streams of the input, without encoding again."""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

from vsr.errors import UserError
from vsr.io.readers.isolated.parent import run_isolated
from vsr.io.readers.video_stream import moving_pictures
from vsr.io.writers.video.aspect import write_matroska_aspect
from vsr.io.writers.video.segments import BUFFER, SHIFT, Encoding, segment_errors_as_os, segment_packets

MUXERS = {".mkv": "matroska", ".mp4": "mp4", ".mov": "mov"}
# Tags that a container writes for itself, or that tell of the input's streams.
OWN_TAGS = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration", "comment")
STREAM_TAGS = ("language", "title", "filename", "mimetype")


class Companions:
    """The parts of the input that are copied unchanged: audio, subtitles, fonts, chapters, tags.

    Args:
        path: The input.
        encoding: Settings of the output's video stream.
        output: Path of the output.
        audio: Keep the audio.

    Attributes:
        kept: Indices of the copied streams.
        notes: A sentence for each stream that the output cannot hold.

    Raises:
        UserError: The output cannot hold the video or its audio.
    """

    def __init__(self, path: Path, encoding: Encoding, output: Path, *, audio: bool = True) -> None:
        import av

        if encoding.codec not in av.codec.codecs_available:
            raise UserError(
                f"{output}: this PyAV has no {encoding.codec}; type pip install 'vsr-movies[video]', or another kind of output"
            )
        self.path, self.encoding = path, encoding
        self.kept: list[int]
        self.notes: list[str]
        self.kept, self.notes = run_isolated(path, _chosen, path, encoding, output, audio)


def _chosen(path: Path, encoding: Encoding, output: Path, audio: bool) -> tuple[list[int], list[str]]:
    """Return the indices of the streams to copy, and a sentence for each stream that the output cannot hold."""
    import av

    kept: list[int] = []
    notes: list[str] = []
    if (why := _refused([], encoding)) is not None:
        raise UserError(f"{output}: cannot hold {encoding.pixels} at {encoding.height}x{encoding.width} ({why})")
    if path.is_dir():  # pictures
        return kept, notes
    with av.open(str(path), options={"protocol_whitelist": "file"}, metadata_errors="replace") as container:
        video = moving_pictures(container)[0]
        for stream in container.streams:
            if stream.type == "audio" and not audio:
                continue
            codec = stream.codec_context.name if stream.codec_context else stream.name
            if stream.type not in ("audio", "subtitle") and not (stream.type == "attachment" and encoding.suffix == ".mkv"):
                if stream.type != "video" or video.index != stream.index:
                    cover = stream.type == "video" and stream.disposition & av.stream.Disposition.attached_pic
                    what = "the cover picture" if cover else f"{stream.type} {stream.index} ({codec})"
                    notes.append(f"{what} of {path} is left out: only audio, subtitles and, in .mkv, attachments are copied")
                continue
            why = _refused([stream], encoding)
            if why is None:
                kept.append(stream.index)
            elif stream.type == "audio":
                advice = f"output={output.with_suffix('.mkv')} or audio=false"
                if encoding.suffix == ".mkv":
                    advice = "audio=false"
                raise UserError(f"{output}: {encoding.suffix} cannot hold the {codec} audio of {path}; type {advice}")
            else:
                notes.append(f"{stream.type} {stream.index} ({codec}) is left out: {encoding.suffix} cannot hold it")
    return kept, notes


def _refused(streams: list[Any], encoding: Encoding) -> str | None:
    """Return the reason why a file cannot hold the video and these streams; None if it can."""
    import av

    out = av.open(io.BytesIO(), "w", format=MUXERS[encoding.suffix])
    try:
        encoding.stream(out)
        for stream in streams:
            out.add_stream_from_template(stream)
        out.start_encoding()
    except (ValueError, av.FFmpegError) as error:
        return str(getattr(error, "strerror", error))
    finally:
        with suppress(av.FFmpegError):
            out.close()
    return None


def mux_video(
    pieces: list[Path], companions: Companions, output: Path, comment: str, end: int, *, late: bool, early: bool
) -> int:
    """Write the whole video file and return the number of frames that are found in the file.

    Args:
        pieces: The encoded pieces, in order.
        companions: The streams to copy from the input.
        output: The file to write.
        comment: Text of the tag `comment`; "" for none.
        end: Time in ticks until which the last frame is shown.
        late: Copy nothing from the input that ends before the first frame, and let the output begin at that frame.
        early: Copy nothing from the input from `end` on.

    Raises:
        OSError: The disk refuses the file.
        UserError: A file cannot be parsed (see `vsr.io.readers.isolated.parent.run_isolated`).
    """
    return run_isolated(companions.path, _joined, pieces, companions, output, comment, end, late, early)


def _joined(pieces: list[Path], companions: Companions, output: Path, comment: str, end: int, late: bool, early: bool) -> int:
    import av

    encoding = companions.encoding
    with segment_errors_as_os():
        with output.open("wb") as file, _input(companions.path) as source:
            muxer = MUXERS[encoding.suffix]
            with av.open(file, "w", format=muxer, buffer_size=BUFFER) as out:
                said = source.metadata if source else {}
                tags = {key: value for key, value in said.items() if key.lower() not in OWN_TAGS}
                out.metadata.update(tags | ({"comment": comment} if comment else {}))
                video = encoding.stream(out)
                streams = {n: _added(out, source.streams[n]) for n in companions.kept}
                first = _times(pieces[0], encoding)[0]
                shift = (-first if late else max(0, -first)) * encoding.tick
                span = first * encoding.tick if late else None, end * encoding.tick if early else None
                out.set_chapters(_chapters(source.chapters() if source else [], *span, shift))
                out.start_encoding()
                pictures = _pictures(pieces, video, encoding, end)
                others = _others(source, streams, *span, hide=muxer != "matroska")
                for packet in heapq.merge(pictures, others, key=_time):
                    ticks = round(shift / packet.time_base)
                    packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
                    out.mux_one(packet)
        if encoding.aspect and muxer == "matroska":
            write_matroska_aspect(output, encoding.height, encoding.width, encoding.aspect)
        return sum(1 for _ in segment_packets(output))


@contextmanager
def _input(path: Path) -> Iterator[Any]:
    """Open the input of a video; yield None for a folder of pictures, which holds no other streams."""
    import av

    if path.is_dir():
        yield None
        return
    with av.open(str(path), options={"protocol_whitelist": "file"}, metadata_errors="replace") as container:
        yield container


def _added(out: Any, stream: Any) -> Any:
    copy = out.add_stream_from_template(stream)
    copy.metadata.update({key: value for key, value in stream.metadata.items() if key.lower() in STREAM_TAGS})
    copy.disposition = stream.disposition
    return copy


def _time(packet: Any) -> Fraction:
    return Fraction(packet.dts * packet.time_base)


def _pictures(pieces: list[Path], video: Any, encoding: Encoding, end: int) -> Iterator[Any]:
    """Yield the packets of the video with the times of their frames, each shown until the next one, the last one until `end`.

    Decoding times are the presentation times in order, moved back by the encoder's reordering delay, so that every frame is
    decoded before it is shown.
    """
    ahead = video.codec_context.reorder_depth
    step = max(1, round(1 / (encoding.rate * encoding.tick)))
    following = _times(pieces[0], encoding)
    before = [following[0] - n * step for n in range(ahead, 0, -1)]
    for piece, after in zip(pieces, [*pieces[1:], None], strict=True):
        times, following = following, [end] if after is None else _times(after, encoding)
        until = dict(zip(times, [*times[1:], following[0]], strict=True))
        queue = before + times
        before = queue[len(times) :]
        for packet, dts in zip(segment_packets(piece), queue, strict=False):
            packet.pts = _ticks(packet, encoding)
            packet.dts, packet.duration, packet.time_base = dts, until[packet.pts] - packet.pts, encoding.tick
            packet.stream = video
            yield packet


def _times(piece: Path, encoding: Encoding) -> list[int]:
    return sorted(_ticks(packet, encoding) for packet in segment_packets(piece))


def _ticks(packet: Any, encoding: Encoding) -> int:
    return int(packet.pts * packet.time_base / encoding.tick) - SHIFT


def _chapters(found: list[Any], start: Fraction | None, stop: Fraction | None, shift: Fraction) -> list[Any]:
    """Return the chapters between the times `start` and `stop` in seconds, moved by `shift` seconds."""
    kept = []
    for chapter in found:
        tick = chapter["time_base"]
        begin, end = chapter["start"] * tick, chapter["end"] * tick
        begin, end = begin if start is None else max(begin, start), end if stop is None else min(end, stop)
        if begin < end:
            kept.append({**chapter, "start": round((begin + shift) / tick), "end": round((end + shift) / tick)})
    return kept


def _others(source: Any, streams: dict[int, Any], start: Fraction | None, stop: Fraction | None, *, hide: bool) -> Iterator[Any]:
    """Yield the packets of the copied streams between the times `start` and `stop` in seconds. Subtitles begin at `start`.

    Of the sound before `start`, and of the sound that an edit list cuts away if the output cannot `hide` it, only the last packet
    remains, because decoders need it for the next one.
    """
    wanted = [source.streams[n] for n in streams if source.streams[n].type != "attachment"]
    hidden: dict[int, Any] = {}
    for packet in source.demux(wanted) if wanted else ():
        if not packet.size or packet.pts is None:
            continue
        if packet.dts is None:
            packet.dts = packet.pts
        if stop is None or packet.pts * packet.time_base < stop:
            index, kind = packet.stream_index, packet.stream.type
            packet.stream = streams[index]
            missed = 0 if start is None else ceil(start / packet.time_base) - packet.pts
            over = missed > 0 and (packet.duration or 0) <= missed
            if missed > 0 and kind == "subtitle":
                if over:
                    continue
                packet.pts, packet.dts, packet.duration = packet.pts + missed, packet.pts + missed, packet.duration - missed
            elif over or (packet.is_discard and not hide):
                hidden[index] = packet
                continue
            if index in hidden:
                yield hidden.pop(index)
            yield packet
