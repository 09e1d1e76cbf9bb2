"""Derivation of the template of an output file from the input movie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vsr.geometry import Alignment
from vsr.io.formats import format_of_output, load_format_writer
from vsr.io.readers.attributes import portable_attributes
from vsr.io.readers.axes import DIMENSION_NAMES
from vsr.io.readers.base import MAX_CHUNK, Metadata
from vsr.io.readers.open import ArrayMovie
from vsr.io.readers.printable import printable_name
from vsr.io.writers.metadata import FinerGrid, attach_coordinates_by_name, carried_over_metadata, metadata_attributes
from vsr.io.writers.template import AuxiliaryField, OutputTemplate, output_dtype


def template_from_movie(
    movie: ArrayMovie,
    scale: int,
    history: str = "",
    suffix: str | None = None,
    alignment: Alignment | None = None,
    offset: float | Sequence[float] = 0.0,
) -> OutputTemplate:
    """Describe the output file for a movie of an array file: each pixel of each frame becomes scale x scale pixels.

    Names, units, the order of axes, other attributes, and coordinates such as time stay. Coordinates of rows and columns are
    refined (`refine_coordinates`). Values become unpacked floats (`output_dtype`). All other differences are listed in `left_out`
    and `notes`.

    Args:
        movie: The input.
        scale: SR pixels per LR pixel, along rows and along columns.
        history: A line for the attribute `history`. If it contains the time, two equal runs give different files.
        suffix: Suffix of the output; None for the suffix of the input.
        alignment: Place of the LR pixels on the SR grid along y and x; None for the middle of their blocks.
        offset: As in `output_dtype`.

    Raises:
        UserError: The input cannot be read, or vsr writes no format with this suffix.
    """
    path = movie.reader.path
    reader, known = movie.reader, movie.meta["variable"]
    writer = load_format_writer(format_of_output(path if suffix is None else Path(f"output{suffix}")))
    names = [known] if isinstance(known, str) else list(known)
    metadata = reader.metadata(names, movie.letters)
    listing = reader.listing()
    converted = writer.name != reader.name
    if movie.coordinates:
        metadata = attach_coordinates_by_name(metadata, movie.coordinates, names, movie.letters, vectors=converted)
    if converted:
        metadata = _portable(metadata)
    grid = FinerGrid(scale, alignment)
    every = carried_over_metadata(reader, metadata, movie.letters, grid, converted, movie.positions)
    fields = [entry for entry in every if entry.values.dtype.kind in writer.field_kinds]
    if metadata.dims and "t" in movie.letters:
        fields = [_frames_of(entry, metadata.dims[movie.letters.index("t")], movie) for entry in fields]
    attrs = metadata_attributes(metadata, fields, grid)
    groups = {group: grid.attributes(found) for group, found in metadata.groups.items()}
    dims = metadata.dims and tuple(dim for dim, letter in zip(metadata.dims, movie.letters, strict=True) if letter)
    if not writer.has_attributes:
        attrs, dims, groups = (), None, {}
    elif dims is None and writer.needs_dims(reader.name):
        # A variable with the name of one of its dimensions would be taken for its coordinate.
        named = [DIMENSION_NAMES[letter] for letter in movie.axes]
        dims = tuple(f"{name}_dim" if name in names else name for name in named)
    kinds = {v.name: np.dtype(v.dtype) for v in listing.variables if v.name in names}
    dtype = max(output_dtype(kind, offset) for kind in kinds.values())
    shown = np.dtype(dtype).name
    others = {printable_name(name): kind.name for name, kind in kinds.items() if kind.name != shown}
    notes = [f"{name} is {kind} in {path.name}, {shown} in the output" for name, kind in others.items()]
    if converted or reader.superseded:
        lost = " without units, names of dimensions and other attributes" if metadata.attrs and not writer.has_attributes else ""
        notes.append(f"{reader.format} becomes {writer.title}{lost}")
    notes += [*metadata.notes, *grid.notes()]
    frame_bytes = np.dtype(dtype).itemsize * movie.shape[1] * movie.shape[3] * movie.shape[4] * scale**2
    unlimited = metadata.unlimited if writer.growing and frame_bytes <= MAX_CHUNK else ""
    fixed = [
        name for name, letter in zip(metadata.dims or movie.letters, movie.letters, strict=True) if letter in metadata.unlimited
    ]
    if not unlimited and writer.name != "zarr":  # arrays of Zarr can always grow
        notes += [f"{name} has a fixed length in the output; it was unlimited" for name in fixed]
    kept, letters = {*names, *(entry.name for entry in fields)}, movie.axes
    if writer.single_array and len(names) > 1:
        names, letters = [path.stem], letters.replace("t", "tc") if "t" in letters else f"c{letters}"
        notes.append(f"a {writer.suffixes[0]} holds one array: the variables are its channels, axes={letters}")
    given = [*names, *(entry.name for entry in fields)]
    valid = writer.valid_names(given)
    renamed = [f"{printable_name(old)} is {new}" for old, new in zip(given, valid, strict=True) if old != new]
    if renamed:
        notes.append(f"names that {writer.title} takes: {', '.join(renamed)}")
    n, c, t, y, x = movie.shape
    return OutputTemplate(
        format=writer.name,
        names=tuple(valid[: len(names)]),
        axes=letters,
        shape=(n, c, t, y * scale, x * scale),
        dtype=dtype,
        dims=dims,
        attrs=attrs,
        fields=tuple(replace(entry, name=name) for entry, name in zip(fields, valid[len(names) :], strict=True)),
        groups=groups,
        history=history,
        storage={} if converted else metadata.storage,
        left_out=tuple(name for name in (*(v.name for v in listing.variables), *listing.refused) if name not in kept),
        notes=tuple(notes),
        unlimited=unlimited,
    )


def _frames_of(entry: AuxiliaryField, time: str, movie: ArrayMovie) -> AuxiliaryField:
    """Return a field of the file with the frames of the movie alone, if it has the dimension `time`."""
    if time not in entry.dims:
        return entry
    span = range(movie.first, movie.first + movie.shape[2])
    return replace(entry, values=entry.values.take(span, axis=entry.dims.index(time)))


def _portable(metadata: Metadata) -> Metadata:
    """Return the metadata with only those attributes that every format can hold."""
    return replace(
        metadata,
        attrs=tuple(portable_attributes(attrs) for attrs in metadata.attrs),
        groups={group: portable_attributes(attrs) for group, attrs in metadata.groups.items()},
        neighbours=[replace(entry, attrs=portable_attributes(entry.attrs)) for entry in metadata.neighbours],
    )
