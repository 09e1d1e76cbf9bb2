"""Opening of the input and the output of `vsr upscale`, with the network fitted to the input."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, fields, replace
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
import torch

from vsr.config.check import RUNTIMES
from vsr.config.overrides import typed_argument
from vsr.config.schema import UpscaleSchema
from vsr.data.lr_statistics import SPACING
from vsr.degradations.border import choose_periodic
from vsr.errors import UserError
from vsr.inference.inputs import open_input_movie
from vsr.inference.members import MemberEngine
from vsr.inference.runtimes import runtime_version
from vsr.inference.sources import ArraySource, Source, VideoSource
from vsr.inference.upscaler import Upscaler
from vsr.io.formats import load_format_writer
from vsr.io.readers.open import ArrayMovie, open_listing
from vsr.io.readers.paired import lead_times, pixel_spacing
from vsr.io.readers.printable import printable_name, printable_shape, printable_value
from vsr.io.time_and_place import coordinates_of
from vsr.io.writers.base import Sink, check_target, interrupted_identity
from vsr.io.writers.open import OutputTemplate, open_array_sink, open_writer_pair
from vsr.io.writers.template import AuxiliaryField
from vsr.io.writers.template_from_movie import template_from_movie
from vsr.io.writers.video.source import Source as VideoBlocks
from vsr.models.base import OF_FRAMES, input_facts
from vsr.system.address import Address
from vsr.system.checksums import file_sha256
from vsr.version import __version__

log = logging.getLogger(__name__)

MOST_CLASSES = 32  # different whole numbers in a frame that may be classes
UNIMPORTANT = ("device", "memory", "tile")  # options that do not change the result
# Keys that `history` does not name, and those whose files it names without their folders.
UNSAID = (*UNIMPORTANT, "plugins", "output", "overwrite", "max_bytes", "page", "workers", "dry")
OF_FILES = ("checkpoint", "static", "calibration")
MEMBER = {"standard_name": "realization", "long_name": "number of the member", "units": "1"}


UpscalerOf = Callable[[int], Upscaler]  # of the number of a movie in the input


def upscaler_of_movies(upscaler: Upscaler, movie: ArrayMovie | None) -> UpscalerOf:
    """Return the function that gives the upscaler of each movie of an input: for its values, and for its borders.

    Args:
        upscaler: The network.
        movie: The array of the input; None for a video or pictures.
    """
    if movie is None:
        codes = np.array([0.0, 255.0]).reshape(1, 1, 1, 2)
        alike = upscaler.for_frames(codes) if upscaler.any_values else upscaler
        return lambda _: alike
    continued = upscaler.continued(
        choose_periodic(upscaler.options.periodic, movie.pixel_grid, movie.shape[-1], movie.name, "periodic")
    )
    if not upscaler.any_values:
        return lambda _: continued
    if not upscaler.options.undecided:  # otherwise this function is called again
        _warn_of_classes(movie)
    named = movie.meta["variable"]

    @lru_cache(maxsize=4)  # reading, computing and writing are at most at two movies at a time
    def of_movie(number: int) -> Upscaler:
        frames = np.moveaxis(movie.read(number, 0, 1, dtype=np.float64), 1, 0)
        return continued.for_frames(frames, named if isinstance(named, list) else ())

    return of_movie


def _warn_of_classes(movie: ArrayMovie) -> None:
    """Warn if the first frame of an input holds a few whole numbers, which may be classes."""
    frames = movie.read(0, 0, 1, dtype=np.float64)
    known = frames[np.isfinite(frames)]
    if 1 < (classes := len(np.unique(known))) <= MOST_CLASSES and (known == np.round(known)).all():
        log.warning(
            "warning   %s: holds %d whole numbers; if they are classes (land cover, masks), means of them say nothing",
            movie.name,
            classes,
        )


def output_identity(settings: UpscaleSchema, given: Path, upscaler: Upscaler) -> dict[str, Any]:
    """Return everything that the result depends on; only a run with the same identity continues an interrupted run."""
    left_out = (*UNIMPORTANT, "engine", "calibration", *(("members", "keep", "seed") if upscaler.members is None else ()))
    calibration = upscaler.options.calibration
    return {
        "checkpoint": upscaler.trained.sha256,
        "input": _identity_of_input(given),
        "version": __version__,
        "static": [field.sha256 for field in upscaler.static_fields],
        **{
            name: getattr(settings, name)
            for name in ("variable", "axes", "select", "missing", "frames", "fps", "crf", "audio", "guard")
        },
        **{name: value for name, value in asdict(upscaler.options).items() if name not in left_out},
        **engine_identity(upscaler.options.engine),
        **({} if calibration is None else {"calibration": file_sha256(Path(calibration).expanduser())}),
    }


def _identity_of_input(given: Path) -> list[Any]:
    """Return what tells whether an input is still the same; of a store at an address, its metadata."""
    if isinstance(given, Address):
        return [str(given), *given.fingerprint()]
    about = given.stat()
    return [str(given.resolve()), about.st_size, about.st_mtime_ns]


def engine_identity(engine: str) -> dict[str, str]:
    """Return what says which engine computes, with its version; nothing for torch, as in records of before there were others."""
    return {"engine": engine, "engine_version": runtime_version(engine)} if engine in RUNTIMES else {}


def decided_engine(
    settings: UpscaleSchema, given: Path, target: Path, upscaler: Upscaler, source: Source, recorded: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options that name an engine and a precision for an input; {} if the settings name them.

    Args:
        settings: The settings of upscale.yaml.
        given: Path of the input.
        target: Path of the output.
        upscaler: The network for the first movie of the input.
        source: The input, whose first frames decide if no run has begun the output.
        recorded: Identity of the run that began the output, whose engine is kept; {} if there is none.

    Raises:
        UserError: If the output exists and must not be replaced: nothing is measured for it.
    """
    if not upscaler.options.undecided:
        return {}
    names = ("engine", "precision")
    begun = {name: recorded.get(name, "torch") for name in names}  # no engine is recorded for torch
    if recorded and upscaler.options.engine in ("auto", begun["engine"]):
        with suppress(UserError):  # an engine that is not installed here
            identity = output_identity(settings, given, upscaler.with_options(replace(upscaler.options, **begun)))
            same = json.loads(json.dumps(identity))
            if all(recorded.get(key) == value for key, value in same.items() if key != "input"):  # of pictures it has more
                log.info("engine    %s %s, with which the output was begun", begun["engine"], begun["precision"])
                return begun
    if not target.is_dir():  # a folder may take further pictures
        check_target(target, settings.overwrite)
    counts = [length for length in source.lengths if length is not None]
    first = torch.from_numpy(np.stack(list(islice(source.peek(0), 1 + upscaler.engine.context))))
    options = upscaler.decided_options(first, sum(counts) if len(counts) == len(source.lengths) else None)
    return {name: getattr(options, name) for name in names}


def open_input_and_output(
    settings: UpscaleSchema, given: Path, target: Path, upscaler: Upscaler, movie: ArrayMovie | None
) -> tuple[UpscalerOf, Source, Sink, list[str]]:
    """Open the input and the output, with the network fitted to the input.

    Args:
        settings: The settings of upscale.yaml.
        given: Path of the input.
        target: Path of the output.
        upscaler: The network.
        movie: The array of the input; None for a video or pictures.

    Returns:
        The upscaler of each movie, the input, the output, and a list of notes on data that the output loses.

    Raises:
        UserError: If the input does not suit the network, or if one of them cannot be opened.
    """
    several = [f"{key}={value}" for key in ("members", "calibration") if (value := getattr(settings, key)) is not None]
    if movie is None and several:
        raise UserError(f"{several[0]}: for arrays, not for {given}; leave it out")
    recorded = interrupted_identity(target)
    if movie is not None:
        upscaler_of, source, template, notes = open_array(settings, given, target, upscaler, movie, recorded)
        identity = output_identity(settings, given, upscaler_of(0))
        return upscaler_of, source, open_array_sink(target, template, identity=identity, overwrite=settings.overwrite), notes
    upscaler_of = upscaler_of_movies(upscaler, None)

    def identity_of(blocks: VideoBlocks) -> dict[str, Any]:
        nonlocal upscaler_of
        if found := decided_engine(settings, given, target, upscaler_of(0), VideoSource(blocks), recorded):
            upscaler_of = upscaler_of_movies(upscaler.with_options(replace(upscaler.options, **found)), None)
        return output_identity(settings, given, upscaler_of(0))

    first = upscaler_of(0)
    kinds: dict[int, Literal["luma", "rgb"]] = {1: "luma", 3: "rgb"}
    if first.channels not in kinds:
        raise UserError(f"{given}: a picture has 1 channel (luma) or 3 (rgb), {first.trained.path} has {first.channels}")
    blocks, sink = open_writer_pair(
        given,
        target,
        scale=first.scale,
        channels=kinds[first.channels],
        identity=identity_of,
        overwrite=settings.overwrite,
        frames=settings.frames,
        audio=settings.audio,
        comment=_history(settings, given, first),
        fps=None if settings.fps is None else Fraction(str(settings.fps)),
        **({} if settings.crf is None else {"crf": settings.crf}),  # type: ignore[arg-type]
    )
    return upscaler_of, VideoSource(blocks), sink, blocks.notes


def open_array(
    settings: UpscaleSchema, given: Path, target: Path, upscaler: Upscaler, movie: ArrayMovie, recorded: Mapping[str, Any]
) -> tuple[UpscalerOf, ArraySource, OutputTemplate, list[str]]:
    """Open an array for reading, describe the output, and choose the engine where the settings leave it open.

    Args:
        settings: The settings of upscale.yaml.
        given: Path of the input.
        target: Path of the output.
        upscaler: The network.
        movie: The array.
        recorded: Identity of the run that began the output; {} if there is none.

    Returns:
        The upscaler of each movie, the input, the description of the output, and a list of notes on data that the output loses.

    Raises:
        UserError: If the array does not suit the network, or if an option is for videos.
    """
    if settings.guard == "linear" and upscaler.options.several:
        raise UserError("guard=linear: the linear filter has neither members nor intervals; type guard=warn")
    upscaler_of = upscaler_of_movies(upscaler, movie)
    opened = open_array_source(settings, given, target, upscaler_of, movie)
    if found := decided_engine(settings, given, target, upscaler_of(0), opened[0], recorded):
        return open_array(settings, given, target, upscaler.with_options(replace(upscaler.options, **found)), movie, recorded)
    return upscaler_of, *opened


def open_array_source(
    settings: UpscaleSchema, given: Path, target: Path, upscaler_of: UpscalerOf, movie: ArrayMovie
) -> tuple[ArraySource, OutputTemplate, list[str]]:
    """Open an array for reading and describe the output; return also a list of notes on data that the output loses.

    Raises:
        UserError: If the array does not suit the network, or if an option is for videos.
    """
    upscaler = upscaler_of(0)
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
    if settings.guard != "off" and not upscaler.any_values:
        _check_quantity(movie, upscaler)
        _warn_of_units(movie, upscaler)
        _check_spacing(movie, upscaler)
    add_planes = _input_planes(movie, _further_variables(settings, given, movie, upscaler), upscaler)
    template = template_from_movie(
        movie,
        upscaler.scale,
        _history(settings, given, upscaler),
        suffix=target.suffix,
        alignment=upscaler.alignment,
        offset=upscaler.offset,
    )
    if upscaler.members is not None:
        template = _template_of_members(template, upscaler.members)
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
    if upscaler.trained.facts.get("pairs"):
        if settings.guard != "off" and upscaler.trained.lr_statistics is None:
            why = "as an earlier version of vsr trained on them"
            notes.append(f"it is not measured whether this movie is like the training pairs, {why}")
    elif not upscaler.trained.layout.plain and settings.guard != "off":
        notes.append("it is not measured whether this movie is like the training data: the network sees more than the variables")
    if template.left_out:
        notes.append(f"left out, as it is not upscaled: {', '.join(template.left_out)}")
    return ArraySource(movie, lambda number: upscaler_of(number).offset, add_planes), template, notes


def _template_of_members(template: OutputTemplate, members: MemberEngine) -> OutputTemplate:
    """Describe an output file with what is kept of members: a dimension of members, or arrays of statistics.

    Args:
        template: The output file of a network without members.
        members: What computes them.

    Raises:
        UserError: If a file of the format does not hold them, or if the input has a dimension "member".
    """
    kept = members.kept
    movies, channels, *sizes = template.shape
    shape = (movies, channels * len(kept), *sizes)
    attrs = template.attrs or ({},) * len(template.names)
    if kept[0].isdecimal() and len(template.names) == 1 and "c" not in template.axes:
        at = template.axes.index("y") if template.axes.index("y") < template.axes.index("x") else template.axes.index("x")
        if "member" in (*(template.dims or ()), *(field.name for field in template.fields)):
            raise UserError("keep=members: the input has members already, in which they would be lost; type keep=[mean,std]")
        dims = template.dims and (*template.dims[:at], "member", *template.dims[at:])
        numbers = AuxiliaryField("member", ("member",), np.arange(1, len(kept) + 1, dtype=np.int32), MEMBER)
        fields = (*template.fields, numbers) if dims else template.fields
        return replace(template, axes=f"{template.axes[:at]}c{template.axes[at:]}", shape=shape, dims=dims, fields=fields)  # type: ignore[arg-type]
    if len(template.names) < channels or (len(kept) > 1 and load_format_writer(template.format).single_array):
        typed = "keep=members" if members.calibration is None and len(template.names) == channels else "keep=[mean]"
        raise UserError(
            f"keep=[{','.join(kept)}]: this output holds one array; type {typed}, or give an output of another format "
            f"(output=NAME.nc, NAME.npz)"
        )
    names, described = [], []
    for word in kept:
        for name, own in zip(template.names, attrs, strict=True):
            names.append(name if word == "mean" else f"{name}_{f'member{word}' if word.isdecimal() else word}")
            described.append(_attributes_of_kept(own, name, word, members) if template.attrs else {})
    return replace(template, names=tuple(names), shape=shape, attrs=tuple(described) if template.attrs else ())  # type: ignore[arg-type]


def _attributes_of_kept(own: Mapping[str, Any], name: str, word: str, members: MemberEngine) -> dict[str, Any]:
    """Return the attributes of a variable with what is kept of members or of calibrated intervals.

    Args:
        own: The attributes of the variable.
        name: Its name.
        word: Name of the member or of the statistic.
        members: What computes them.
    """
    if word == "mean" and not members.count:  # the output of the network
        return dict(own)
    found = {**own, "long_name": f"{own.get('long_name', name.rpartition('/')[2])}, {members.describe(word)}"}
    if (method := {"mean": "mean", "std": "standard_deviation"}.get(word)) is not None:
        found["cell_methods"] = f"{own.get('cell_methods', '')} realization: {method}".strip()
    return found


def _check_quantity(movie: ArrayMovie, upscaler: Upscaler) -> None:
    """Check that the first frame has values of the quantity that the network was trained on.

    Raises:
        UserError: If all values of a variable are further from the training range than that range is wide.
    """
    bounds, units = np.reshape(upscaler.bounds, (-1, 2)), movie.meta["units"]
    frame = movie.read(0, 0, 1, dtype=np.float64)
    of_channels = [*frame] if len(bounds) > 1 else [frame]
    for number, (values, (low, high)) in enumerate(zip(of_channels, bounds, strict=True)):
        finite, wide = values[np.isfinite(values)], high - low
        if not finite.size or (finite.min() <= high + wide and finite.max() >= low - wide):
            continue
        unit, trained_unit = (
            f" {printable_name(str(each))}" if each else ""
            for each in (units[number] if isinstance(units, list) else units, _unit_of_training(upscaler, number))
        )
        name = f"{printable_name(upscaler.variables[number])} of " if upscaler.variables else ""
        shown = [printable_value(value, wide) for value in (finite.min(), finite.max(), low, high)]
        raise UserError(
            f"{name}{movie.name}: has values from {shown[0]} to {shown[1]}{unit}, and {upscaler.trained.path} was trained on "
            f"{shown[2]} to {shown[3]}{trained_unit}: another quantity, or other units; give values in the units of training, "
            f"take a network for any unit (leave checkpoint out), or type guard=off"
        )


def _warn_of_units(movie: ArrayMovie, upscaler: Upscaler) -> None:
    """Warn of variables in another unit than in training; values are not converted."""
    units = movie.meta["units"]
    for number, name in enumerate(upscaler.variables or ("",)):
        own, known = units[number] if isinstance(units, list) else units, _unit_of_training(upscaler, number)
        if own and known and _same_spelling(str(own)) != _same_spelling(known):
            log.warning(
                "warning   %s%s is in %s, and %s was trained on %s: values are not converted",
                f"{printable_name(name)} of " if name else "",
                *(movie.name, printable_name(str(own)), upscaler.trained.path, printable_name(known)),
            )


def _same_spelling(unit: str) -> str:
    """Return a unit without what spellings differ in: "m/s", "m s**-1" and "m s-1" become one."""
    return re.sub(r"[\s.*^]", "", re.sub(r"/\s*([a-zA-Z]+)(\d*)", lambda found: f" {found[1]}-{found[2] or 1}", unit))


def _check_spacing(movie: ArrayMovie, upscaler: Upscaler) -> None:
    """Check that pixels are as far apart as in LR of the training pairs.

    Raises:
        UserError: If they are as close as those of HR.
    """
    known, scale = upscaler.trained.lr_statistics, upscaler.scale
    fine = None if known is None else known.times_as_fine(*pixel_spacing(movie), movie.shape[3:], scale)
    if known is None or fine is None:
        return
    if abs(fine - scale) < SPACING * scale:
        raise UserError(
            f"{movie.name}: {movie.shape[3]}x{movie.shape[4]} pixels as fine as those of HR in the training pairs of "
            f"{upscaler.trained.path}, whose LR is {scale} times coarser; give the coarse file, or type guard=off"
        )
    log.warning(
        "warning   %s: its pixels are %.3g times as %s as LR of the training pairs: what the network makes of them is a guess",
        movie.name,
        max(fine, 1 / fine),
        "fine" if fine > 1 else "coarse",
    )


def _unit_of_training(upscaler: Upscaler, number: int) -> str:
    units = upscaler.trained.facts.get("units", "")
    return str(units[number] if isinstance(units, list) else units)


def _history(settings: UpscaleSchema, given: Path, upscaler: Upscaler) -> str:
    """Return a line on this run: version, network, and the command without folders and without what does not change the result.

    It has no date, as a run that was interrupted and continued writes the bytes of one that was not.
    """
    words = []
    for one in fields(settings):
        value = getattr(settings, one.name)
        if one.name == "input":
            value = given.name
        elif one.name in OF_FILES and value is not None:
            value = [PurePath(str(each)).name for each in (value if isinstance(value, list) else [value])]
            value = value[0] if len(value) == 1 else value
        elif one.name in UNSAID or value == one.default:
            continue
        if value is not None:
            words.append(typed_argument(one.name, value))
    return f"vsr {__version__} upscale.py, {upscaler.name}: vsr upscale {' '.join(words)}"


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
        log.info("note      the network sees the time since the first frame of %s; give a run from its start on", movie.name)

    def add_planes(frames: np.ndarray, which: int, first: int) -> np.ndarray:
        stop = first + len(frames)
        values = None if further is None else np.moveaxis(further.read(which, first, stop, dtype=np.float64), 1, 0)
        own = {word: each[first:stop] if word in OF_FRAMES else each for word, each in known.items()}
        return upscaler.add_planes(torch.from_numpy(np.array(frames, np.float32)), own, values, static).numpy()

    return add_planes
