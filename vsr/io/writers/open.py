"""Functions that open outputs: array files (`open_array_sink`), videos and pictures (`open_writer_pair`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vsr.errors import UserError
from vsr.io.formats import format_of_output, load_format_writer
from vsr.io.readers.isolated.proxies import IsolatedVideo
from vsr.io.readers.picture_stream import PictureStream
from vsr.io.readers.pictures import SUFFIXES as PICTURES
from vsr.io.readers.selection import frame_span
from vsr.io.writers.base import OutputProgress, Sink
from vsr.io.writers.template import OutputTemplate

if TYPE_CHECKING:
    from vsr.io.writers.video.source import Source

__all__ = ["OutputTemplate", "open_array_sink", "open_writer_pair"]


def open_array_sink(path: Path, template: OutputTemplate, *, identity: Mapping[str, Any], overwrite: bool = False) -> Sink:
    """Open an array file for writing, or continue one that an interrupted run with the same identity and template left.

    Args:
        path: The target; its suffix must belong to the template's format.
        template: Description of the file without its pixels.
        identity: Everything that the frames depend on, as plain values: checkpoint, input, options.
        overwrite: Replace an existing file, and discard an unfinished one with another identity (`OutputProgress`).

    Raises:
        ValueError: The template contradicts itself, or does not fit the suffix or the format.
        UserError: The file exists, is being written by another process or has an unfinished part with another identity, or
            cannot be written for lack of room or permission.
    """
    path, writer = Path(path), load_format_writer(template.format)
    template.check()
    if format_of_output(path) != template.format:
        raise ValueError(f"{path} for a template of {template.format}")
    if writer.single_array and len(template.names) > 1:
        raise ValueError(f"{writer.title} holds one array")
    if (problem := writer.target_problem(path)) is not None:
        raise UserError(f"{path}: {problem}")
    whole = {**identity, "layout of the file": template.digest()}
    return writer.sink(OutputProgress(path, whole, overwrite=overwrite, folder=writer.folder), template)


def open_writer_pair(
    input: Path,
    output: Path,
    *,
    scale: int,
    channels: Literal["luma", "rgb"],
    identity: Mapping[str, Any] | Callable[[Source], Mapping[str, Any]],
    overwrite: bool = False,
    frames: int | Sequence[int] | None = None,
    crf: int = 16,
    preset: str = "medium",
    audio: bool = True,
    comment: str = "",
    fps: Fraction | None = None,
) -> tuple[Source, Sink]:
    """Open the source of LR frames and the sink of SR frames for a video, a folder of pictures, or one picture.

    A video may become a folder of pictures, and a folder of pictures a video.

    The source yields LR blocks (t, C, h, w). The sink takes SR blocks (t, C, h * scale, w * scale) from frame `sink.done` on.
    Both are in codes 0..255. Chroma, transparency and times do not pass through the network: the source hands them directly to
    the sink. Source and sink may run in two threads. In memory they keep only the frames between reading and writing, and the
    frames that the encoder looks ahead.

    Args:
        input: Path of the video, picture or folder.
        output: Path of the result; its suffix decides how the result is stored (`VideoSink`, `FrameSink`, `PictureSink`).
        scale: SR pixels per LR pixel along each axis.
        channels: Input of the network; with "luma", colour is enlarged by bicubic interpolation.
        identity: Everything that the frames depend on, or a function that finds it out from the source; name, size and date of
            the input are added.
        overwrite: Replace an existing output (`OutputProgress`).
        frames: Number of frames to use from the beginning, or (start, stop); None for all.
        crf: Quality of H.264 (`VideoSink`).
        preset: Preset of the encoder x264 (`VideoSink`).
        audio: Keep the audio.
        comment: Text of the tag `comment` of a video.
        fps: Frames per second of a folder of pictures that becomes a video; None for all other inputs and outputs.

    Raises:
        UserError: The input cannot be read, or the output cannot be written or cannot hold the result.
    """
    # These modules import torch, which array files do not need.
    from vsr.io.writers.pictures import FrameSink, open_picture_pair, picture_identity, pictures_of_span
    from vsr.io.writers.video.layout import video_layout
    from vsr.io.writers.video.mux import MUXERS
    from vsr.io.writers.video.planes import Colours
    from vsr.io.writers.video.sink import VideoSink, target_layout
    from vsr.io.writers.video.source import Beside, VideoSource

    if input.exists() and output.exists() and input.samefile(output):
        raise UserError(f"{output}: is the input; type another output=PATH")
    pictures, video = input.is_dir() or input.suffix.lower() in PICTURES, output.suffix.lower() in MUXERS
    joined = input.is_dir() and video
    if joined != (fps is not None):
        advice = f"type fps=25, or output={output.stem} for pictures" if joined else f"{input} has its own times; leave fps out"
        raise UserError(f"fps={fps or 'null'}: must be given for a folder of pictures that becomes a video, only there; {advice}")
    if pictures and not joined:
        return open_picture_pair(
            input, output, scale=scale, channels=channels, identity=identity, overwrite=overwrite, frames=frames
        )
    if not video and output.suffix and not output.is_dir():
        raise UserError(
            f"{output}: a video is written to .mkv (FFV1, lossless), .mp4 or .mov (H.264), or to PNG files in a folder; "
            f"type output={output.stem}.mkv or output={output.stem}"
        )
    stream: IsolatedVideo | PictureStream
    about: list[Any]
    if fps is not None:
        files = pictures_of_span(input, frames)
        stream, about = PictureStream(input, files, fps), picture_identity(input, files)
    else:
        stream, about = IsolatedVideo(input, frames=frames), [str(input), input.stat().st_size, input.stat().st_mtime_ns]
        if isinstance(frames, Sequence):
            frame_span(frames, stream.length, str(input))
    layout, beside = video_layout(stream.facts), Beside()
    target = target_layout(output, layout, stream.facts.width * scale)
    colours = Colours(layout, target, channels, scale)
    source = VideoSource(stream, colours, beside, None)
    known = identity(source) if callable(identity) else identity
    whole = {**known, "input": about, "frames": frames, "fps": fps and str(fps)}
    sink: VideoSink | FrameSink
    if not video:
        sink = FrameSink(output, stream, colours, beside, identity=whole, overwrite=overwrite)
    else:
        sink = VideoSink(
            output,
            stream,
            colours,
            beside,
            identity=whole,
            overwrite=overwrite,
            crf=crf,
            preset=preset,
            audio=audio,
            comment=comment,
        )
    source.known = sink.known
    source.notes += [*stream.notes, *sink.notes]
    if target.bits < layout.bits:
        source.notes.append(f"{output}: {layout.bits} bits become {target.bits}; type output={output.stem}.mkv to keep them")
    return source, sink
