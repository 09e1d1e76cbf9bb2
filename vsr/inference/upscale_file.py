"""Upscaling of a movie file to another file, the task of upscale.py."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vsr.config.check import find_checkpoint
from vsr.config.overrides import typed_argument
from vsr.config.schema import UpscaleSchema
from vsr.errors import UserError, WriteError
from vsr.geometry import MapAxis, lr_position
from vsr.inference.archive import Archive, ManyFiles, Work
from vsr.inference.engine import UntransformableInput
from vsr.inference.inputs import (
    check_keys_for_workers,
    chosen_checkpoint,
    is_movie_of_pixels,
    open_input_movie,
    output_of_each,
    upscale_inputs,
)
from vsr.inference.ood_policy import apply_ood_policy, coarser_gain_text, why_not_measured
from vsr.inference.open_files import open_input_and_output
from vsr.inference.options import UpscaleOptions
from vsr.inference.sources import Source
from vsr.inference.stream import Gaps, upscale_stream
from vsr.inference.trained import read_trained
from vsr.inference.upscaler import Upscaler
from vsr.io.readers.open import ArrayMovie
from vsr.io.readers.pictures import SUFFIXES as PICTURES
from vsr.io.readers.printable import printable_name, printable_value
from vsr.io.writers.base import Sink, writing_errors
from vsr.models.weights.shipped import WORD, read_safetensors_header, shipped_for
from vsr.system.address import Address
from vsr.system.progress import progress_bar
from vsr.system.work_units import units_folder
from vsr.training.hardware import check_single_process_hardware

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
        gain: What the network gains one scale coarser, or why that is not measured, in words.
        what: Variable and unit of the first channel; "" for videos and pictures.
        offset: What is to be added to values of the first channel.
        axes: Coordinates of rows and columns of SR; None without them.
        judge: Command that compares the network with the linear filter; "" if there is none.
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
    axes: tuple[MapAxis, MapAxis] | None
    judge: str


def upscale_file(settings: UpscaleSchema, show: Callable[[Preview], object] | None = None) -> Path:
    """Upscale movie files with the network of a checkpoint and return the output path; an interrupted run is continued.

    Several inputs give a file each in one folder; an output that is there already is kept. A file that cannot be read ends
    none of the others.

    Args:
        settings: The settings of upscale.yaml.
        show: Function that is called with a preview of each result; None for no previews.

    Raises:
        UserError: If a file cannot be read or written, or if options contradict each other or the network.
    """
    check_single_process_hardware("upscale.py")
    upscaler, inputs, outputs = _open_network(settings)
    if len(inputs) == 1:
        if (folder := units_folder(outputs[0])).exists() and not settings.overwrite:
            raise UserError(f"{folder}: was begun with workers; type workers=1 to continue it, or overwrite=true to start over")
        target = _upscale_one(settings, inputs[0], outputs[0], upscaler, show)
        _log_next(_judging_command(settings, inputs[0], upscaler), upscaler)
        return target
    with writing_errors(outputs[0].parent):
        outputs[0].parent.mkdir(parents=True, exist_ok=True)
    log.info("inputs    %d files, to %s", len(inputs), outputs[0].parent)
    if upscaler.engine.context:
        log.info("note      each file is a movie of its own: frames beyond its ends are made up (ends=%s)", upscaler.engine.ends)
    failed: dict[Path, str] = {}
    for given, target in zip(inputs, outputs, strict=True):
        if target.exists() and not settings.overwrite:
            log.info("kept      %s is there already", target)
            continue
        try:
            _upscale_one(settings, given, target, upscaler, show)
        except WriteError:  # the others would fail in the same way
            raise
        except UserError as error:
            failed[given] = str(error)
            log.error("failed    %s", error)
    if failed:
        done = f"{len(inputs) - len(failed)} of {len(inputs)} files are in {outputs[0].parent}"
        names = ", ".join(map(str, failed))
        raise UserError(f"{done}, {len(failed)} failed: {names}; mend them and type the same command again")
    _log_next(_judging_command(settings, inputs[0], upscaler), upscaler)
    return outputs[0].parent


def open_work(settings: UpscaleSchema) -> Work:
    """Open the input and the network for several processes.

    Raises:
        UserError: If a file cannot be read, or if options contradict each other or the network.
    """
    check_keys_for_workers(settings)
    upscaler, inputs, outputs = _open_network(settings)
    if len(inputs) > 1:
        return ManyFiles(
            settings, inputs, outputs, upscaler, lambda given, target: _upscale_one(settings, given, target, upscaler, None)
        )
    return Archive(settings, inputs[0], outputs[0], upscaler)


def _open_network(settings: UpscaleSchema) -> tuple[Upscaler, list[Path], list[Path]]:
    """Return the network of the settings, and the paths of inputs and outputs."""
    path = find_checkpoint(chosen_checkpoint(settings))
    trained = read_trained(path)
    if trained.shipped:
        header = read_safetensors_header(path)
        log.info("package   %s: %s", path.stem, header.get("summary", ""))
        if settings.checkpoint in (None, WORD) and (told := _assumed(path, trained.config.scale, header)):
            log.info("note      %s", told)
    static = [settings.static] if isinstance(settings.static, str) else list(settings.static or ())
    upscaler = Upscaler(trained, UpscaleOptions.from_config(settings), static)
    inputs = upscale_inputs(settings.input)
    return upscaler, inputs, output_of_each(settings, inputs, upscaler.scale)


def _assumed(path: Path, scale: int, header: Mapping[str, str]) -> str:
    """Say which kind of values a network of the package assumes that was chosen for the input; "" for pictures."""
    suits, other = header.get("suits"), {"field": "area", "area": "field"}
    if suits not in other:
        return ""
    instead = f"type checkpoint={WORD}:{shipped_for(other[suits], scale).stem}"
    if suits == "area":
        return f"cell_methods of the input says means over grid cells, which {path.stem} assumes; for others {instead}"
    told = f"{path.stem} assumes that LR comes from {header['degradation']} downscaling"
    return f"{told}; if its values are means over grid cells, as in many models, {instead}"


def _upscale_one(
    settings: UpscaleSchema, given: Path, target: Path, upscaler: Upscaler, show: Callable[[Preview], object] | None
) -> Path:
    """Upscale one movie file and return `target`."""
    movie = None if is_movie_of_pixels(given) else open_input_movie(settings, given, upscaler.variables, upscaler.any_values)
    upscaler_of, source, sink, notes = open_input_and_output(settings, given, target, upscaler, movie)
    upscaler = upscaler_of(0)
    with sink:
        total, gaps = None if None in source.lengths else sum(n for n in source.lengths if n is not None), Gaps()
        _log_plan(given, source, total, sink, upscaler, notes)
        try:
            replacements = {number: upscaler_of(number).linear for number in apply_ood_policy(source, upscaler, settings.guard)}
            with progress_bar(total, "upscaling", "frame", sink.done) as bar:
                computed = upscale_stream(
                    source,
                    upscaler.members or upscaler.engine,
                    sink,
                    bar.update,
                    lambda lr: _check_first_block(lr, upscaler),
                    replacements,
                    None if upscaler.members else lambda number: upscaler_of(number).engine,
                    gaps,
                )
        except UntransformableInput as error:
            raise UserError(f"{given}: {error}") from error
        except KeyboardInterrupt:
            log.info("interrupted after %d frames; the same command continues", sink.done)
            raise
    if (told := gaps.describe(computed, source.height * source.width)) and not upscaler.knows_gaps:
        log.info("note      %s", told)
    kept = () if upscaler.members is None else upscaler.members.kept
    held = f": {len(kept)} members" if kept and kept[0].isdecimal() else f": {', '.join(kept)}" if kept else ""
    log.info("result    %s%s", target, held)
    if show is not None:
        show(_preview(source, upscaler, movie, given, target, _judging_command(settings, given, upscaler)))
    return target


def _log_next(command: str, upscaler: Upscaler) -> None:
    if command:
        what = "score it" if upscaler.is_linear else "compare it with the best linear filter"
        where = "of this file" if upscaler.trained.shipped else "on the test frames of its training"
        log.info("next      %s %s: %s", what, where, command)


def _judging_command(settings: UpscaleSchema, given: Path, upscaler: Upscaler) -> str:
    """Return the command that tells what the network is worth: on the file, or on the test frames of its training."""
    path = upscaler.trained.path
    if not upscaler.trained.shipped:
        return f"vsr evaluate {typed_argument('checkpoint', str(path))}"
    if isinstance(given, Address):  # evaluate reads files of this machine
        return ""
    if is_movie_of_pixels(given):
        still = given.suffix.lower() in PICTURES
    else:
        still = open_input_movie(settings, given, upscaler.variables, upscaler.any_values).shape[2] < 2
    if still:  # one frame is not divided into frames to learn from and frames to test on
        return ""
    data = "movies" if is_movie_of_pixels(given) else "climate"
    keys = ("frames",) if data == "movies" else ("variable", "axes", "select", "missing", "frames")
    chosen = {"path": str(given), **{key: value for key in keys if (value := getattr(settings, key)) is not None}}
    words = [f"checkpoint={WORD}:{path.stem}", f"data={data}", *(typed_argument(f"data.{k}", v) for k, v in chosen.items())]
    return f"vsr evaluate {' '.join(words)}"


def _preview(source: Source, upscaler: Upscaler, movie: ArrayMovie | None, given: Path, target: Path, judge: str) -> Preview:
    """Upscale the first frames of an input once more, for a page."""
    lr = torch.from_numpy(np.stack(list(islice(source.peek(0), PREVIEW_FRAMES + upscaler.engine.context))))
    sr = upscaler.upscale_frames(lr)[:PREVIEW_FRAMES]
    if upscaler.trained.facts.get("pairs"):
        gain = "not measured: LR of pairs is no degraded HR, so that there is no truth one scale coarser"
    else:
        score = upscaler.ood_score_of_frames(source.peek(0), source.lengths[0], (source.height, source.width))
        gain = coarser_gain_text(score, upscaler) if score else f"not measured: {why_not_measured(upscaler, source)}"
    lr, what, axes = lr[: len(sr), : sr.shape[1]], "", None
    if movie is not None:
        names, units = movie.meta["variable"], movie.meta["units"]
        name, unit = (each[0] if isinstance(each, list) else each for each in (names, units))
        several = f", the first of {len(names)} variables" if isinstance(names, list) else ""
        what = f"{printable_name(name)}{f' ({printable_name(str(unit))})' if unit else ''}{several}"
        axes = _finer_axes(movie, upscaler)
        rows = movie.coordinate("y")
        if rows is not None and len(rows) > 1 and rows[-1] > rows[0]:  # the north is up
            lr, sr = lr.flip(-2), sr.flip(-2)
            axes = axes and (axes[0].turned(sr.shape[-2]), axes[1])
    offset = float(np.ravel(source.offset(0))[0])
    return Preview(lr, sr, movie is None, given, target, upscaler.name, gain, what, offset, axes, judge)


def _finer_axes(movie: ArrayMovie, upscaler: Upscaler) -> tuple[MapAxis, MapAxis] | None:
    """Return the coordinates of rows and columns of SR; None without coordinates of LR."""
    if (coarse := movie.pixel_grid.axes) is None:
        return None
    finer = []
    for axis, size, origin in zip(coarse, movie.shape[-2:], upscaler.alignment, strict=True):
        first, second = lr_position(size, upscaler.scale, origin)[:2]
        finer.append(axis._replace(first=axis.first + first * axis.step, step=(second - first) * axis.step))
    return finer[0], finer[1]


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
        error = upscaler.engine.rounding_error(lr[: 2 * upscaler.engine.context + 1])
        compiled = ", compiled" if options.compile else ""
        by = "" if options.engine == "torch" else f" by {options.engine}"
        units = upscaler.trained.facts.get("units")
        part = " of the range of each variable" if upscaler.variables else f" {printable_name(str(units))}" if units else ""
        scores = f"RMSE {error['rms']:.3g}{part}, largest difference {error['max']:.3g}{part}, PSNR {error['psnr']:.1f} dB"
        log.info("precision %s%s%s against fp32 on the first frame: %s", options.precision, by, compiled, scores)
    if upscaler.any_values or upscaler.trained.lr_statistics is not None:  # the guard compares ranges, too
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
