"""From file to file: what upscale.py does."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from vsr import __version__
from vsr.config.schema import UpscaleSchema
from vsr.errors import UserError
from vsr.inference.engine import Options, reported
from vsr.inference.ood_policy import Movies, strange
from vsr.inference.stream import run
from vsr.inference.trained import read_trained
from vsr.inference.upscaler import Upscaler, chosen
from vsr.io.readers.open import ArrayMovie, open_movie
from vsr.io.readers.pictures import SUFFIXES as PICTURES
from vsr.io.readers.video import SUFFIXES as VIDEOS
from vsr.io.writers.base import Sink
from vsr.io.writers.open import array_sink, template_of
from vsr.io.writers.video.sink import stream_pair
from vsr.io.writers.video.source import Source as Blocks
from vsr.system.progress import progress_bar
from vsr.training.hardware import alone

log = logging.getLogger(__name__)

READ_BYTES = 1 << 25  # of LR frames that are read from an array file at once
OUTSIDE = 0.1  # of the training range: values further out than that are worth a warning


class ArraySource:
    """The movies of an array file, frame after frame."""

    def __init__(self, array: ArrayMovie) -> None:
        movies, self.channels, length, self.height, self.width = array.shape
        self.array = array
        self.lengths: list[int | None] = [length] * movies

    def frames(self, movie: int, start: int) -> Iterator[np.ndarray]:
        """(C, h, w) float32, from frame `start` of a movie on."""
        each = max(1, READ_BYTES // (4 * self.channels * self.height * self.width))
        for first in range(start, self.array.shape[2], each):
            values = self.array.read(movie, first, min(first + each, self.array.shape[2]))
            yield from np.moveaxis(values, 1, 0)

    def peek(self, movie: int) -> Iterator[np.ndarray]:
        """A movie's frames from the first on, to look at."""
        return self.frames(movie, 0)


class PictureSource:
    """The frames of a video or of pictures, frame after frame."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks
        self.channels, self.height, self.width = blocks.channels, blocks.height, blocks.width
        self.lengths: list[int | None] = [blocks.length]

    def frames(self, movie: int, start: int) -> Iterator[np.ndarray]:
        """(C, h, w) codes 0..255, from frame `start` on."""
        for _, block in self.blocks.blocks(1, start):
            yield from block

    def peek(self, movie: int) -> Iterator[np.ndarray]:
        """The frames from the first on, to look at."""
        return self.blocks.peek()


def upscale(settings: UpscaleSchema) -> Path:
    """Sharpen the movie `input` with the network `checkpoint` and return the path of the result.

    The same command goes on where an interrupted one stopped. Raises UserError for what cannot be read, written or computed.
    """
    alone("upscale.py")
    trained = read_trained(Path(settings.checkpoint).expanduser())
    options = Options(**{name: getattr(settings, name) for name in Options.__dataclass_fields__})
    ends: Any = settings.ends  # checked against ENDS
    agreeing = {"consistency": settings.consistency, "consistency_steps": settings.consistency_steps}
    upscaler = Upscaler(trained, options, device=chosen(settings.device), ends=ends, **agreeing)  # type: ignore[arg-type]
    given = Path(settings.input).expanduser()
    target = _beside(given, upscaler.scale) if settings.output is None else Path(settings.output).expanduser()
    if target.resolve() == given.resolve():
        raise UserError(f"output={target}: is the input; type another name")
    about = given.stat()
    # All that the frames depend on: only with the same is an interrupted run continued.
    identity = {
        "checkpoint": trained.sha256,
        "input": [str(given.resolve()), about.st_size, about.st_mtime_ns],
        "version": __version__,
        "ends": upscaler.engine.ends,
        **{name: upscaler.config[name] for name in agreeing},
        **{name: getattr(settings, name) for name in ("variable", "axes", "frames", "crf", "audio", "guard")},
        **{name: value for name, value in asdict(options).items() if name not in ("memory", "tile")},
    }
    history = f"vsr {__version__} upscale.py, {upscaler.name}"
    source, sink, notes = _open(settings, given, target, upscaler, identity, history)
    with sink:
        total = None if None in source.lengths else sum(n for n in source.lengths if n is not None)
        _describe(given, target, source, total, sink, upscaler, notes)
        instead = {movie: upscaler.linear for movie in strange(source, upscaler, settings.guard)}
        bar = progress_bar(total, "upscaling", "frame", sink.done)
        try:
            with bar:
                run(source, upscaler.engine, sink, bar.update, lambda lr: _first(lr, upscaler, options), instead)
        except KeyboardInterrupt:
            log.info("interrupted after %d frames; the same command continues", sink.done)
            raise
    log.info("result    %s", target)
    return target


def _beside(given: Path, scale: int) -> Path:
    """Where the result goes when nothing is said: next to the input."""
    if given.is_dir() and given.suffix != ".zarr":
        return given.with_name(f"{given.name}_x{scale}")
    suffix = given.suffix.lower()
    kept = given.suffix
    if suffix in VIDEOS:
        kept = ".mkv"
    elif suffix in (".jpg", ".jpeg", ".bmp"):
        kept = ".png"
    return given.with_name(f"{given.stem}_x{scale}{kept}")


def _open(
    settings: UpscaleSchema, given: Path, target: Path, upscaler: Upscaler, identity: Mapping[str, Any], history: str
) -> tuple[Movies, Sink, list[str]]:
    """Input and output, and sentences about what the output will not have. Raises UserError."""
    suffix = given.suffix.lower()
    if suffix in (*VIDEOS, *PICTURES) or _is_folder_of_pictures(given):
        kinds: dict[int, Literal["luma", "rgb"]] = {1: "luma", 3: "rgb"}
        if upscaler.channels not in kinds:
            raise UserError(
                f"{given}: a picture has 1 channel (luma) or 3 (rgb), {upscaler.trained.path} has {upscaler.channels}"
            )
        blocks, sink = stream_pair(
            given,
            target,
            scale=upscaler.scale,
            channels=kinds[upscaler.channels],
            identity=identity,
            overwrite=settings.overwrite,
            frames=settings.frames,
            audio=settings.audio,
            comment=history,
            **({} if settings.crf is None else {"crf": settings.crf}),  # type: ignore[arg-type]
        )
        return PictureSource(blocks), sink, blocks.notes
    variable = list(settings.variable) if isinstance(settings.variable, (list, tuple)) else settings.variable
    with _own_keys():
        movie = open_movie(given, variable=variable, axes=settings.axes, max_bytes=settings.max_bytes)
    if movie.shape[1] != upscaler.channels:
        raise UserError(
            f"{movie.name}: has {movie.shape[1]} channel(s), {upscaler.trained.path} was trained on {upscaler.channels}; "
            f"type variable=NAME of {'one array' if upscaler.channels == 1 else f'{upscaler.channels} arrays as [A,B,...]'}"
        )
    template = template_of(
        given, variable, settings.axes, upscaler.scale, history, suffix=target.suffix, max_bytes=settings.max_bytes
    )
    notes = list(template.notes)
    if template.left_out:
        notes.append(f"left out, as it is not upscaled: {', '.join(template.left_out)}")
    return ArraySource(movie), array_sink(target, template, identity=identity, overwrite=settings.overwrite), notes


@contextmanager
def _own_keys() -> Iterator[None]:
    """The readers speak of train.py's keys, data.axes and the like; here they have no group."""
    try:
        yield
    except UserError as error:
        raise UserError(re.sub(r"\bdata\.(variable|axes|max_bytes)=", r"\1=", str(error))) from error


def _is_folder_of_pictures(path: Path) -> bool:
    return path.is_dir() and any(entry.suffix.lower() in PICTURES for entry in path.iterdir())


def _describe(
    given: Path, target: Path, source: Movies, total: int | None, sink: Sink, upscaler: Upscaler, notes: list[str]
) -> None:
    """What is about to happen, in a few lines."""
    engine, scale = upscaler.engine, upscaler.scale
    size = f"{source.height}x{source.width} to {source.height * scale}x{source.width * scale}"
    count = "frames" if total is None else f"{total} frames"
    if len(source.lengths) > 1:
        count += f" of {len(source.lengths)} movies"
    lines = [f"input     {given}, {count}, {size}", f"network   {upscaler.name}, on {engine.device.type}"]
    for movie in source.lengths:
        if movie is not None and movie < 2 * engine.context + 1:
            short = f"a movie of {movie} frames, and the network looks {engine.context} to each side"
            lines.append(f"note      {short}: what lies beyond the ends is made up (ends={engine.ends})")
            break
    lines += [f"note      {note}" for note in notes]
    if sink.done:
        lines.append(f"continue  {sink.done} frames are there already")
    log.info("%s", "\n".join(lines))


def _first(lr: Tensor, upscaler: Upscaler, options: Options) -> None:
    """Of the first block: what reduced precision costs, and whether these are values that the network knows."""
    if reported(options):
        cost = upscaler.engine.error(lr)
        log.info(
            "precision %s%s against fp32 on the first frames: RMSE %.3g, largest difference %.3g, PSNR %.1f dB",
            options.precision,
            ", compiled" if options.compile else "",
            cost["rms"],
            cost["max"],
            cost["psnr"],
        )
    low, high = upscaler.bounds
    finite = lr[lr.isfinite()]
    if not finite.numel():
        return
    least, largest = float(finite.min()), float(finite.max())
    beyond = max(low - least, largest - high)
    if beyond > OUTSIDE * (high - low) and math.isfinite(beyond):
        log.warning(
            "warning   values from %.4g to %.4g, the network was trained on %.4g to %.4g: what it makes of the rest is a guess; "
            "check the units of the input",
            least,
            largest,
            low,
            high,
        )
