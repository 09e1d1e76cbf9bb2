"""Inputs and outputs of `vsr upscale`: which files a path means, and what is checked before torch is imported."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from vsr.config.schema import UpscaleSchema
from vsr.errors import UserError
from vsr.io.formats import format_of_output, load_format_writer, readable_suffixes
from vsr.io.output_names import default_output
from vsr.io.readers.joined import files_of_movie, natural_order
from vsr.io.readers.open import ArrayMovie, Unspecified, open_listing, open_movie
from vsr.io.readers.pictures import SUFFIXES as PICTURES
from vsr.io.readers.printable import printable_name
from vsr.io.readers.selection import frame_span
from vsr.io.readers.tiff import SUFFIXES as TIFF
from vsr.io.readers.tiff import tiff_holds_values
from vsr.io.readers.video import SUFFIXES as VIDEOS
from vsr.io.writers.base import check_target
from vsr.models.weights.shipped import WORD, kind_of_field, shipped_for
from vsr.system.address import EXCLUSIVE, Address, path_or_address
from vsr.system.work_units import completed_identity, units_folder


def upscale_inputs(given: str | Sequence[str]) -> list[Path]:
    """List the inputs that are upscaled to a file each.

    A folder of videos means its videos, a folder of pictures is one movie, and any other folder means its array files.

    Args:
        given: A file, a folder, a pattern such as "*.nc", or a list of them.

    Raises:
        UserError: If there is no such file.
    """
    if not isinstance(given, str):
        return [path for each in given for path in upscale_inputs(str(each))]
    path = path_or_address(given)
    if isinstance(path, Address):
        if path.suffix.lower() in (*VIDEOS, *PICTURES, *TIFF):
            raise UserError(f"{path}: videos and pictures are not read from an address; download it and give the local file")
        return [path]
    if path.is_dir():
        entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
        videos = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in VIDEOS]
        if videos:
            return sorted(videos, key=natural_order)
        if any(entry.suffix.lower() in PICTURES for entry in entries):
            others = [entry.name for entry in entries if entry.suffix.lower() in set(readable_suffixes()) - {*PICTURES, *TIFF}]
            if others:
                raise UserError(f"{path}: holds pictures and arrays ({others[0]}); type 'input={path}/*.nc' or another pattern")
            return [path]
    return files_of_movie(given)


def is_movie_of_pixels(path: Path) -> bool:
    """Return True for a video, a picture or a folder of pictures, False for a file of arrays.

    A TIFF file is a picture if it has one page with codes of colours.
    """
    if isinstance(path, Address):
        return False
    if path.suffix.lower() in TIFF and path.is_file():
        return not tiff_holds_values(path)
    folder = path.is_dir() and any(entry.suffix.lower() in PICTURES for entry in path.iterdir())
    return folder or path.suffix.lower() in (*VIDEOS, *PICTURES)


def chosen_checkpoint(settings: UpscaleSchema) -> Path:
    """Return the checkpoint of the settings; without one, the x2 network of the package for the kind of the inputs.

    Raises:
        UserError: If there are inputs of two kinds, or the package has no network for the kind.
    """
    if settings.checkpoint not in (None, WORD):
        return Path(str(settings.checkpoint)).expanduser()
    kinds = sorted({"film" if is_movie_of_pixels(path) else "field" for path in upscale_inputs(settings.input)})
    if len(kinds) > 1:
        raise UserError(f"input={settings.input}: has fields and pictures, which take networks of their own; give one kind")
    return shipped_for(_kind_of_field(settings) if kinds == ["field"] else kinds[0], 2)


def _kind_of_field(settings: UpscaleSchema) -> str:
    """Return the kind of the arrays in the first input that can be read; see `vsr.models.weights.shipped.kind_of_field`."""
    for path in upscale_inputs(settings.input):
        with suppress(UserError):
            return kind_of_field(open_input_movie(settings, path, all_variables=True).meta["attrs"])
    return "field"


def output_of_each(settings: UpscaleSchema, inputs: Sequence[Path], scale: int) -> list[Path]:
    """Return the path of the output of each input; with several inputs, `output` is a folder.

    Raises:
        UserError: If two inputs would have one output, or an output is an input.
    """
    given = None if settings.output is None else path_or_address(settings.output)
    if len(inputs) == 1 and _is_one(settings.input):
        outputs = [default_output(inputs[0], scale) if given is None else given]
    else:
        if given is not None and given.suffix and not given.is_dir():
            raise UserError(f"output={given}: must be a folder for {len(inputs)} inputs; type output={given.with_suffix('')}")
        if isinstance(given or inputs[0], Address):
            raise UserError(f"input={settings.input}: has {len(inputs)} parts; type output=FOLDER on this machine")
        folder = given or inputs[0].parent.with_name(f"{inputs[0].parent.resolve().name}_x{scale}")
        outputs = [folder / default_output(each, scale).name for each in inputs]
    for number, output in enumerate(outputs):
        if output.resolve() in {each.resolve() for each in inputs}:
            raise UserError(f"output={output}: is the input; type another name")
        if output in outputs[:number]:
            raise UserError(f"{output}: would be the output of two inputs; upscale them one by one")
    return outputs


def _is_one(given: str | Sequence[str]) -> bool:
    """Return True if an input names one file or one folder of pictures, not a folder of files, a pattern or a list."""
    if not isinstance(given, str):
        return False
    path = path_or_address(given)
    return isinstance(path, Address) or (path.exists() and (not path.is_dir() or upscale_inputs(given) == [path]))


def open_input_movie(settings: UpscaleSchema, path: Path, trained: Sequence[str] = (), all_variables: bool = False) -> ArrayMovie:
    """Open the movie in an array file; messages name the keys of upscale.yaml.

    Args:
        settings: The settings of upscale.yaml.
        path: The file.
        trained: The variables that the network was trained on, if there are several: they are read by name, in this order.
        all_variables: True to read all movies of a file if none is chosen, provided that they have one shape.

    Raises:
        UserError: If the file, the variable, the selection or the axes cannot be used, or if the variables are others than
            those of the network.
    """
    variable = list(settings.variable) if isinstance(settings.variable, (list, tuple)) else settings.variable
    if trained and (variable is None or isinstance(variable, list)):
        variable = _variables_of_network(path, variable, trained)
    if all_variables and variable is None and len(alike := _movies_alike(path)) > 1:
        variable = alike
    chosen = {"axes": settings.axes, "select": settings.select, "missing": settings.missing, "max_bytes": settings.max_bytes}
    try:
        movie = open_movie(path, variable=variable, frame=True, **chosen)
        return movie.part(*frame_span(settings.frames, movie.shape[2], movie.name))
    except UserError as error:  # data.axes= of train.py is axes= of upscale.py
        raise type(error)(re.sub(r"\bdata\.(variable|axes|max_bytes|select|missing|path)\b", r"\1", str(error))) from error


def _movies_alike(path: Path) -> list[str]:
    """Return the names of the arrays of a file with three indices or more, if all have the same shape; otherwise none."""
    found = [held for held in open_listing(path).variables if len(held.shape) > 2]
    return [held.name for held in found] if len({held.shape for held in found}) == 1 else []


def _variables_of_network(path: Path, given: list[str] | None, trained: Sequence[str]) -> list[str] | None:
    """Return the variables to read from a file, in the order of the network; None for a file of one array, its channels.

    Raises:
        UserError: If `given` or the file has other variables than the network.
    """
    if given is not None:
        others, where = [name for name in given if name not in trained], f"variable=[{','.join(map(printable_name, given))}]"
        missing = [name for name in trained if name not in given]
    else:
        held = [found.name for found in open_listing(path).variables]
        if len(held) == 1:
            return None
        others, where, missing = [], str(path), [name for name in trained if name not in held]
    if others or missing or (given is not None and len(given) != len(trained)):
        wanted = ", ".join(map(printable_name, trained))
        lacks = f"has no {' and '.join(map(printable_name, missing))}" if missing else "names something else"
        raise UserError(f"{where}: {lacks}, and the network was trained on {wanted}; give a file with variables of these names")
    return list(trained)


def check_keys_for_workers(settings: UpscaleSchema) -> None:
    """Check that the settings do not contradict the key `workers`. Raises UserError."""
    if settings.page:
        raise UserError("page=true: is not made with workers; leave one of them out")
    if str(settings.workers).startswith("dask://") and find_spec("distributed") is None:
        raise UserError("workers=dask://...: needs Dask; type: pip install 'vsr-movies[dask]'")


def _check_for_workers(settings: UpscaleSchema, given: Path) -> None:
    """Check that parts of one input can be written by several processes.

    Raises:
        UserError: If the input or the output is of another kind, or the output exists and is of other origin.
    """
    if is_movie_of_pixels(given):
        raise UserError(f"workers={settings.workers}: are for arrays and for several files; leave it out for one video ({given})")
    output = default_output(given, 2) if settings.output is None else path_or_address(settings.output)
    if output.suffix.lower() != ".zarr":
        told = f"several processes write one file only to Zarr; type output={output.with_suffix('.zarr')}"
        raise UserError(f"workers={settings.workers}: {told}")
    if settings.output is not None:
        check_zarr_target(output, settings.overwrite)


def _check_address_of_output(settings: UpscaleSchema, output: Address) -> None:
    """Check that a store at an address can be written. Raises UserError."""
    where = f"output={output}"
    if output.suffix.lower() != ".zarr":
        raise UserError(f"{where}: only Zarr is written to an address; type output=ADDRESS/NAME.zarr")
    if output.scheme not in EXCLUSIVE:
        raise UserError(f"{where}: {output.scheme}:// is only read; type an output of s3:// or gs://, or on this machine")
    if settings.workers is None:
        raise UserError(f"{where}: is written in units; type workers=1 with it")
    if str(settings.workers).startswith("dask://"):
        raise UserError(f"{where}: workers of a cluster share units on their file system; type workers=N, or use .vsr.upscale()")
    output.located()  # raises for a package that is not installed


def check_zarr_target(target: Path, overwrite: bool) -> None:
    """Check that several processes may write a store, or that such processes have completed it.

    Raises:
        UserError: If there is something else, or a store that something else wrote and that must not be replaced.
    """
    if isinstance(target, Address):
        left = units_folder(target).exists()  # of a command that was killed, perhaps while it made the output visible
        if not left and target.exists() and (overwrite or completed_identity(target) is None):
            raise UserError(f"{target}: exists, and stores at an address are not replaced; remove it, or type another output=")
        return
    if (problem := load_format_writer("zarr").target_problem(target)) is not None:
        raise UserError(f"{target}: {problem}")
    left = (units_folder(target) / "store").exists()  # of a command that replaces the output
    if os.path.lexists(target) and not overwrite and not left and completed_identity(target) is None:
        raise UserError(
            f"{target}: exists, and this command did not make it; type overwrite=true to replace it, or another output=PATH"
        )


def check_upscale_files(settings: UpscaleSchema) -> None:
    """Check the input and the output as far as possible before torch is imported.

    Raises:
        UserError: If no input can be opened, or the output exists or has an ending that is not written.
    """
    inputs = upscale_inputs(settings.input)
    chosen_checkpoint(settings)
    if settings.workers is not None:
        check_keys_for_workers(settings)
        if len(inputs) == 1:
            _check_for_workers(settings, inputs[0])
    if settings.output is not None and len(inputs) == 1:
        output = path_or_address(settings.output)
        if isinstance(output, Address):
            _check_address_of_output(settings, output)
        elif not output.is_dir():
            check_target(output, settings.overwrite)
        if not is_movie_of_pixels(inputs[0]):
            format_of_output(output)
    problems = []
    for path in inputs:  # one that cannot be read does not keep the others from being upscaled
        try:
            _check_input(settings, path)
            return
        except UserError as error:
            problems.append(error)
    raise problems[0]


def _check_input(settings: UpscaleSchema, path: Path) -> None:
    """Check that a file of arrays holds a movie. Raises UserError."""
    if not is_movie_of_pixels(path):
        arrays = [] if settings.variable is not None else [v for v in open_listing(path).variables if len(v.shape) > 2]
        with suppress(*([Unspecified] if len(arrays) > 1 else [])):  # the network may name its variables
            open_input_movie(settings, path)
