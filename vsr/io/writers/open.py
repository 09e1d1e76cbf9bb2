"""Outputs: array files (`template_of`, `array_sink`), videos and pictures (`stream_pair`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vsr.errors import UserError
from vsr.io.formats import format_of_output, load_writer
from vsr.io.readers.isolated.proxies import IsolatedVideo
from vsr.io.readers.pictures import SUFFIXES as PICTURES
from vsr.io.writers.base import Journal, Sink
from vsr.io.writers.template import Field, Template
from vsr.io.writers.template_from_file import template_of

if TYPE_CHECKING:
    from vsr.io.writers.video.source import Source

__all__ = ["Field", "Template", "array_sink", "stream_pair", "template_of"]


def array_sink(path: Path, template: Template, *, identity: Mapping[str, Any], overwrite: bool = False) -> Sink:
    """Open an output file for writing, or continue one that an interrupted run with the same identity and template left.

    Args:
        path: the target; its ending must be one of the template's format.
        template: content of the file beside its pixels.
        identity: all that the frames depend on, plain values: checkpoint, input, options.
        overwrite: see `Journal`.

    Raises:
        UserError: the path cannot be written (exists, no room, no permission, another writer, another identity).
    """
    path, writer = Path(path), load_writer(template.format)
    template.check()
    if format_of_output(path) != template.format:
        raise ValueError(f"{path} for a template of {template.format}")
    if writer.single_array and len(template.names) > 1:
        raise ValueError(f"{writer.title} holds one array")
    if (problem := writer.target_problem(path)) is not None:
        raise UserError(f"{path}: {problem}")
    whole = {**identity, "layout of the file": template.digest()}
    return writer.sink(Journal(path, whole, overwrite=overwrite, folder=writer.folder), template)


def stream_pair(
    input: Path,
    output: Path,
    *,
    scale: int,
    channels: Literal["luma", "rgb"],
    identity: Mapping[str, Any],
    overwrite: bool = False,
    frames: int | None = None,
    crf: int = 16,
    preset: str = "medium",
    audio: bool = True,
    comment: str = "",
) -> tuple[Source, Sink]:
    """Open what is to be enlarged and where the result goes: a video, a folder of pictures, or one picture, each to its kind.

    The source gives LR blocks (t, C, h, w) of codes 0..255, the sink takes SR (t, C, h * scale, w * scale) from `sink.done` on;
    what does not go through the network (chroma, transparency, times) goes from one to the other by itself. Each of the two may
    have a thread of its own. Together they hold the frames between reading and writing, and one piece's look-ahead.

    Args:
        input, output: paths; the output's suffix says how it is stored (`VideoSink`, `PictureSink`).
        scale, channels: of the network; "luma" leaves colour to bicubic interpolation.
        identity: all that the frames depend on; the input's name, size and date are added.
        frames: use only the first so many.
        overwrite, crf, preset, audio, comment: as of `VideoSink`; pictures know `overwrite` alone.

    Raises UserError for what cannot be read, written or kept.
    """
    # These modules import torch, which array files do not need.
    from vsr.io.writers.pictures import picture_pair
    from vsr.io.writers.video.layout import stored
    from vsr.io.writers.video.mux import MUXERS
    from vsr.io.writers.video.planes import Colours
    from vsr.io.writers.video.sink import VideoSink, _target
    from vsr.io.writers.video.source import Beside, VideoSource

    if input.exists() and output.exists() and input.samefile(output):
        raise UserError(f"{output}: is the input; type another output=PATH")
    if input.is_dir() or input.suffix.lower() in PICTURES:
        return picture_pair(input, output, scale=scale, channels=channels, identity=identity, overwrite=overwrite, frames=frames)
    if output.suffix.lower() not in MUXERS:
        raise UserError(
            f"{output}: a video is written to .mkv (FFV1, lossless), .mp4 or .mov (H.264); type output={output.stem}.mkv"
        )
    stream, beside = IsolatedVideo(input, frames=frames), Beside()
    layout = stored(stream.facts)
    target = _target(output, layout)
    colours = Colours(layout, target, channels, scale)
    about = input.stat()
    sink = VideoSink(
        output,
        stream,
        colours,
        beside,
        identity={**identity, "input": [str(input), about.st_size, about.st_mtime_ns], "frames": frames},
        overwrite=overwrite,
        crf=crf,
        preset=preset,
        audio=audio,
        comment=comment,
    )
    source = VideoSource(stream, colours, beside, sink.known)
    source.notes += sink.notes
    if target.bits < layout.bits:
        source.notes.append(f"{output}: {layout.bits} bits become {target.bits}; type output={output.stem}.mkv to keep them")
    return source, sink
