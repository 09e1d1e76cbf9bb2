"""Upscaling of a movie file to another file, the task of upscale.py."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vsr.config.check import find_checkpoint
from vsr.config.schema import UpscaleSchema
from vsr.degradations.border import choose_periodic
from vsr.errors import UserError
from vsr.inference.engine import UntransformableInput
from vsr.inference.inputs import chosen_checkpoint, is_movie_of_pixels, open_input_movie, output_of_each, upscale_inputs
from vsr.inference.ood_policy import apply_ood_policy, coarser_gain_text
from vsr.inference.options import UpscaleOptions
from vsr.inference.sources import ArraySource, Source, VideoSource
from vsr.inference.stream import upscale_stream
from vsr.inference.trained import read_trained
from vsr.inference.upscaler import Upscaler
from vsr.io.readers.open import ArrayMovie, open_listing
from vsr.io.readers.paired import lead_times
from vsr.io.readers.printable import printable_name, printable_shape, printable_value
from vsr.io.time_and_place import coordinates_of
from vsr.io.writers.base import Sink
from vsr.io.writers.open import open_array_sink, open_writer_pair
from vsr.io.writers.template_from_movie import template_from_movie
from vsr.models.base import OF_FRAMES, input_facts
from vsr.models.weights.shipped import FOLDER, read_safetensors_header
from vsr.system.progress import progress_bar
from vsr.training.hardware import check_single_process_hardware
from vsr.version import __version__

log = logging.getLogger(__name__)

OUTSIDE = 0.1  # of the training range: values further outside get a warning
MOST_CLASSES = 32  # different whole numbers in a frame that may be classes
PREVIEW_FRAMES = 12
UNIMPORTANT = ("device", "memory", "tile")  # options that do not change the result


@dataclass(frozen=True)
class Preview:
    """First frames of an input and of its result, for a page that compares them.

    Attributes:
        lr: LR frames (n, C, h, w) in physical units minus an offset, or code values 0..255.
        sr: SR frames (n, C, H, W), in the same units.
        of_pixels: True for a video or pictures.
        given: Path of the input.
        target: Path of the result.
        network: Name of the network.
        gain: What the network gains one scale coarser, in words; "" if that is not known.
        what: Variable and unit of the first channel; "" for videos and pictures.
        offset: What is to be added to values of the first channel.
    """

    lr: Tensor
    sr: Tensor
    of_pixels: bool
    given: Path
    target: Path
    network: str
    gain: str
    what: str
    offset: float


def upscale_file(settings: UpscaleSchema, show: Callable[[Preview], object] | None = None) -> Path:
    """Upscale movie files with the network of a checkpoint and return the output path; an interrupted run is continued.

    Several inputs give a file each in one folder; an output that is there already is kept.

    Args:
        settings: The settings of upscale.yaml.
        show: Function that is called with a preview of each result; None for no previews.

    Raises:
        UserError: If a file cannot be read or written, or if options contradict each other or the network.
    """
    check_single_process_hardware("upscale.py")
    path = find_checkpoint(chosen_checkpoint(settings))
    trained = read_trained(path)
    if path.parent == FOLDER:
        log.info("package   %s: %s", path.stem, read_safetensors_header(path).get("summary", ""))
    static = [settings.static] if isinstance(settings.static, str) else list(settings.static or ())
    upscaler = Upscaler(trained, UpscaleOptions.from_config(settings), static)
    inputs = upscale_inputs(settings.input)
    outputs = output_of_each(settings, inputs, upscaler.scale)
    if len(inputs) == 1:
        return _upscale_one(settings, inputs[0], outputs[0], upscaler, show)
    outputs[0].parent.mkdir(parents=True, exist_ok=True)
    log.info("inputs    %d files, to %s", len(inputs), outputs[0].parent)
    if upscaler.engine.context:
        log.info("note      each file is a movie of its own: frames beyond its ends are made up (ends=%s)", upscaler.engine.ends)
    for given, target in zip(inputs, outputs, strict=True):
        if target.exists() and not settings.overwrite:
            log.info("kept      %s is there already", target)
        else:
            _upscale_one(settings, given, target, upscaler, show)
    return outputs[0].parent


def _upscale_one(
    settings: UpscaleSchema, given: Path, target: Path, upscaler: Upscaler, show: Callable[[Preview], object] | None
) -> Path:
    """Upscale one movie file and return `target`."""
    movie = None if is_movie_of_pixels(given) else open_input_movie(settings, given, upscaler.variables, upscaler.any_values)
    if upscaler.any_values:
        upscaler = _for_movie(upscaler, movie)
    if movie is not None:
        periodic = choose_periodic(upscaler.options.periodic, movie.pixel_grid, movie.shape[-1], movie.name, "periodic")
        upscaler = upscaler.continued(periodic)
    source, sink, notes = _open_input_and_output(settings, given, target, upscaler, movie)
    with sink:
        total = None if None in source.lengths else sum(n for n in source.lengths if n is not None)
        _log_plan(given, source, total, sink, upscaler, notes)
        try:
            replacements = {movie: upscaler.linear for movie in apply_ood_policy(source, upscaler, settings.guard)}
            with progress_bar(total, "upscaling", "frame", sink.done) as bar:
                upscale_stream(
                    source, upscaler.engine, sink, bar.update, lambda lr: _check_first_block(lr, upscaler), replacements
                )
        except UntransformableInput as error:
            raise UserError(f"{given}: {error}") from error
        except KeyboardInterrupt:
            log.info("interrupted after %d frames; the same command continues", sink.done)
            raise
    log.info("result    %s", target)
    if show is not None:
        show(_preview(source, upscaler, movie, given, target))
    return target


def _preview(source: Source, upscaler: Upscaler, movie: ArrayMovie | None, given: Path, target: Path) -> Preview:
    """Upscale the first frames of an input once more, for a page."""
    lr = torch.from_numpy(np.stack(list(islice(source.peek(0), PREVIEW_FRAMES + upscaler.engine.context))))
    sr = upscaler.upscale_frames(lr)[:PREVIEW_FRAMES]
    score = upscaler.ood_score_of_frames(source.peek(0), source.lengths[0], (source.height, source.width))
    gain = "" if score is None else coarser_gain_text(score)
    lr, what, rows = lr[: len(sr), : sr.shape[1]], "", None
    if movie is not None:
        names, units = movie.meta["variable"], movie.meta["units"]
        name, unit = (each[0] if isinstance(each, list) else each for each in (names, units))
        several = f", the first of {len(names)} variables" if isinstance(names, list) else ""
        what = f"{printable_name(name)}{f' ({printable_name(str(unit))})' if unit else ''}{several}"
        rows = movie.coordinate("y")
    if rows is not None and len(rows) > 1 and rows[-1] > rows[0]:  # the north is up
        lr, sr = lr.flip(-2), sr.flip(-2)
    offset = float(np.ravel(source.offset)[0])
    return Preview(lr, sr, movie is None, given, target, upscaler.name, gain, what, offset)


def _for_movie(upscaler: Upscaler, movie: ArrayMovie | None) -> Upscaler:
    """Return the upscaler for the values of an input: those of the first frame of an array, or the codes of a video."""
    if movie is None:
        return upscaler.for_frames(np.array([0.0, 255.0]).reshape(1, 1, 1, 2))
    frames = np.moveaxis(movie.read(0, 0, 1, dtype=np.float64), 1, 0)
    known = frames[np.isfinite(frames)]
    if 1 < (classes := len(np.unique(known))) <= MOST_CLASSES and (known == np.round(known)).all():
        log.warning(
            "warning   %s: holds %d whole numbers; if they are classes (land cover, masks), means of them say nothing",
            movie.name,
            classes,
        )
    named = movie.meta["variable"]
    return upscaler.for_frames(frames, named if isinstance(named, list) else ())


def _identity(settings: UpscaleSchema, given: Path, upscaler: Upscaler) -> dict[str, Any]:
    """Return everything that the result depends on; only a run with the same identity continues an interrupted run."""
    about = given.stat()
    return {
        "checkpoint": upscaler.trained.sha256,
        "input": [str(given.resolve()), about.st_size, about.st_mtime_ns],
        "version": __version__,
        "static": [field.sha256 for field in upscaler.static_fields],
        **{
            name: getattr(settings, name)
            for name in ("variable", "axes", "select", "missing", "frames", "fps", "crf", "audio", "guard")
        },
        **{name: value for name, value in asdict(upscaler.options).items() if name not in UNIMPORTANT},
    }


def _open_input_and_output(
    settings: UpscaleSchema, given: Path, target: Path, upscaler: Upscaler, movie: ArrayMovie | None
) -> tuple[Source, Sink, list[str]]:
    """Open the input and the output; return both and a list of notes on data that the output loses. Raises UserError."""
    history = f"vsr {__version__} upscale.py, {upscaler.name}"
    identity = _identity(settings, given, upscaler)
    if movie is None:
        kinds: dict[int, Literal["luma", "rgb"]] = {1: "luma", 3: "rgb"}
        if upscaler.channels not in kinds:
            raise UserError(
                f"{given}: a picture has 1 channel (luma) or 3 (rgb), {upscaler.trained.path} has {upscaler.channels}"
            )
        blocks, sink = open_writer_pair(
            given,
            target,
            scale=upscaler.scale,
            channels=kinds[upscaler.channels],
            identity=identity,
            overwrite=settings.overwrite,
            frames=settings.frames,
            audio=settings.audio,
            comment=history,
            fps=None if settings.fps is None else Fraction(str(settings.fps)),
            **({} if settings.crf is None else {"crf": settings.crf}),  # type: ignore[arg-type]
        )
        return VideoSource(blocks), sink, blocks.notes
    if settings.fps is not None:
        raise UserError(f"fps={settings.fps}: is for a folder of pictures that becomes a video, not for {given}; leave it out")
    if movie.shape[1] != upscaler.channels:
        advice = f"variable=NAME of {'one array' if upscaler.channels == 1 else f'{upscaler.channels} arrays as [A,B,...]'}"
        if "c" in movie.axes and upscaler.channels == 1:
            at = movie.letters.index("c")
            name = movie.meta["dims"][movie.axes.index("c")] if movie.meta["dims"] else at
            advice = f"'select={{{name}:{{index:0}}}}' for one channel"
        raise UserError(
            f"{movie.name}: has {movie.shape[1]} channel(s), {upscaler.trained.path} was trained on {upscaler.channels}; "
            f"type {advice}"
        )
    add_planes = _input_planes(movie, _further_variables(settings, given, movie, upscaler), upscaler)
    template = template_from_movie(
        movie, upscaler.scale, history, suffix=target.suffix, alignment=upscaler.alignment, offset=upscaler.offset
    )
    notes = list(template.notes)
    trained_border = upscaler.trained.facts.get("border", "none")
    if upscaler.options.periodic is None and trained_border != "none" and movie.pixel_grid.cosines is None:
        notes.append(
            f"frames of the training go on beyond their borders, and {movie.name} has no coordinates that say so: its frames are "
            f"mirrored; type periodic={trained_border} if they go on, too"
        )
    if upscaler.variables and isinstance(movie.meta["variable"], str):
        order = ", ".join(map(printable_name, upscaler.variables))
        notes.append(f"the channels of {movie.name} have no names; they are taken as {order}, in this order")
    if upscaler.trained.facts.get("pairs") and settings.guard != "off":
        notes.append("it is not measured whether this movie is like the training pairs: their LR is no degraded HR")
    elif not upscaler.trained.layout.plain and settings.guard != "off":
        notes.append("it is not measured whether this movie is like the training data: the network sees more than the variables")
    if template.left_out:
        notes.append(f"left out, as it is not upscaled: {', '.join(template.left_out)}")
    sink = open_array_sink(target, template, identity=identity, overwrite=settings.overwrite)
    return ArraySource(movie, upscaler.offset, add_planes), sink, notes


def _further_variables(settings: UpscaleSchema, given: Path, movie: ArrayMovie, upscaler: Upscaler) -> ArrayMovie | None:
    """Open the variables of the input that only LR has, by their names in training; None if the network sees none.

    Raises:
        UserError: If the input lacks one of them, or if their frames are not those of the other variables.
    """
    names = upscaler.trained.layout.further
    if not names:
        return None
    held = {found.name for found in open_listing(given).variables}
    if missing := [name for name in names if name not in held]:
        raise UserError(
            f"{given}: has no {' and '.join(map(printable_name, missing))}, and {upscaler.trained.path} was trained with "
            f"data.lr_variable=[{','.join(map(printable_name, names))}]; give a file with variables of these names"
        )
    further = open_input_movie(replace(settings, variable=list(names)), given)
    sizes = [(one.shape[0], *one.shape[2:]) for one in (movie, further)]
    if sizes[0] != sizes[1] or further.shape[1] != len(names):
        shapes = [printable_shape(one.shape) for one in (further, movie)]
        raise UserError(f"{further.name}: is {shapes[0]}, {movie.name} is {shapes[1]}; give arrays of the same frames")
    return further


def _input_planes(
    movie: ArrayMovie, further: ArrayMovie | None, upscaler: Upscaler
) -> Callable[[np.ndarray, int, int], np.ndarray] | None:
    """Return a function that adds what the network sees beside variables to frames of a movie; None if it sees nothing else.

    Args:
        movie: The input.
        further: The variables that only LR has; None without any.
        upscaler: The network.

    Raises:
        UserError: If the movie runs in another direction, or counts time in another unit, than in training, if it lacks a
            coordinate, or if static fields do not fit it.
    """
    beside, path = input_facts(upscaler.trained.facts), upscaler.trained.path
    if not beside:
        return None
    for letter, up in zip("yx", beside.get("runs_up", (None, None)), strict=True):
        values = movie.coordinate(letter)
        if up is not None and values is not None and len(values) > 1 and bool(values[-1] > values[0]) != up:
            raise UserError(
                f"{movie.name}: {letter} {'falls' if up else 'grows'} from the first pixel to the last, in the training data of "
                f"{path} it {'grows' if up else 'falls'}; turn the file around along {letter}"
            )
    inputs = upscaler.trained.layout.inputs
    known, static = upscaler.known_of(coordinates_of(movie), (movie.shape[3], movie.shape[4]), movie.name)
    if not inputs and further is None and static is None:
        return None
    if "time" in inputs:
        known["time"], unit = lead_times(movie)
        if unit != (own := beside["time"]["unit"]):
            raise UserError(
                f"{movie.name}: counts time in {unit}, {path} was trained with data.inputs=[time] in {own}; give a file with "
                f"times in {own}"
            )

    def add_planes(frames: np.ndarray, which: int, first: int) -> np.ndarray:
        stop = first + len(frames)
        values = None if further is None else np.moveaxis(further.read(which, first, stop, dtype=np.float64), 1, 0)
        own = {word: each[first:stop] if word in OF_FRAMES else each for word, each in known.items()}
        return upscaler.add_planes(torch.from_numpy(np.array(frames, np.float32)), own, values, static).numpy()

    return add_planes


def _log_plan(given: Path, source: Source, total: int | None, sink: Sink, upscaler: Upscaler, notes: list[str]) -> None:
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


def _check_first_block(lr: Tensor, upscaler: Upscaler) -> None:
    """Log the rounding error of the options, and warn of LR values outside the training range."""
    options = upscaler.options
    if options.approximate:
        error = upscaler.engine.rounding_error(lr)
        compiled = ", compiled" if options.compile else ""
        part = " of the range of each variable" if upscaler.variables else ""
        scores = f"RMSE {error['rms']:.3g}{part}, largest difference {error['max']:.3g}{part}, PSNR {error['psnr']:.1f} dB"
        log.info("precision %s%s against fp32 on the first frames: %s", options.precision, compiled, scores)
    if upscaler.any_values:
        return
    lr, bounds = lr[:, : upscaler.channels], np.reshape(upscaler.bounds, (-1, 2)).tolist()  # without planes of time and position
    offsets = np.broadcast_to(upscaler.offset, len(bounds)).tolist()
    of = [f" of {printable_name(name)}" for name in upscaler.variables] or [""] * len(bounds)
    for values, (low, high), offset, name in zip(lr.unbind(1) if len(bounds) > 1 else [lr], bounds, offsets, of, strict=True):
        finite = values[values.isfinite()]
        if not finite.numel():
            continue
        least, largest = float(finite.min()) + offset, float(finite.max()) + offset
        excess = max(low - least, largest - high)
        if excess > OUTSIDE * (high - low) and math.isfinite(excess):
            shown = [printable_value(value, high - low) for value in (least, largest, low, high)]
            text = f"values{name} from {shown[0]} to {shown[1]}, the network was trained on {shown[2]} to {shown[3]}"
            log.warning("warning   %s: what it makes of the rest is a guess; check the units of the input", text)
