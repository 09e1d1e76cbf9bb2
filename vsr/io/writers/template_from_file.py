"""Derivation of the template of an output file from the file of the input movie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from vsr.io.formats import format_of_output, load_format_writer
from vsr.io.readers.attributes import portable_attributes
from vsr.io.readers.axes import DIMENSION_NAMES
from vsr.io.readers.base import Metadata
from vsr.io.readers.open import open_movie
from vsr.io.readers.printable import printable_name
from vsr.io.writers.metadata import carried_over_metadata, metadata_attributes
from vsr.io.writers.template import OutputTemplate


def template_from_file(
    path: Path,
    variable: str | list[str] | None,
    axes: str | None,
    scale: int,
    history: str = "",
    suffix: str | None = None,
    max_bytes: int = 2**40,
) -> OutputTemplate:
    """Describe the output file for a movie file: each pixel of each frame becomes scale x scale pixels.

    Names, units, the order of axes, other attributes, and coordinates such as time stay. Coordinates of rows and columns are
    refined (`refine_coordinates`). Values become unpacked float32. The template lists all other differences in `left_out` and
    `notes`.

    Args:
        path: The input, of any format that `open_movie` reads.
        variable: Name of the array, or names of the arrays that become channels; None as in `open_movie`.
        axes: Letter of each index, from n, c, t, y, x; None as in `open_movie`.
        scale: SR pixels per LR pixel, along rows and along columns.
        history: A line for the attribute `history`. If it contains the time, two equal runs give different files.
        suffix: Suffix of the output; None for the suffix of the input.
        max_bytes: Largest size in bytes, as float32, that the input may declare.

    Raises:
        UserError: The input cannot be read, or vsr writes no format with this suffix.
    """
    path = Path(path)
    movie = open_movie(path, variable=variable, axes=axes, max_bytes=max_bytes)
    reader, known = movie.reader, movie.meta["variable"]
    writer = load_format_writer(format_of_output(path if suffix is None else Path(f"output{suffix}")))
    names = [known] if isinstance(known, str) else list(known)
    metadata = reader.metadata(names, movie.axes)
    converted = writer.name != reader.name
    if converted:
        metadata = _portable(metadata)
    every = carried_over_metadata(reader, metadata, movie.axes, scale, decode=converted)
    fields = [entry for entry in every if entry.values.dtype.kind in writer.field_kinds]
    attrs, dims, groups = metadata_attributes(metadata, fields), metadata.dims, metadata.groups
    if not writer.has_attributes:
        attrs, dims, groups = (), None, {}
    elif dims is None and writer.needs_dims(reader.name):
        # A variable with the name of one of its dimensions would be taken for its coordinate.
        named = [DIMENSION_NAMES[letter] for letter in movie.axes]
        dims = tuple(f"{name}_dim" if name in names else name for name in named)
    listing = reader.listing()
    kinds = {v.name: np.dtype(v.dtype).name for v in listing.variables if v.name in names}
    others = {printable_name(name): kind for name, kind in kinds.items() if kind != "float32"}
    notes = [f"{name} is {kind} in {path.name}, float32 in the output" for name, kind in others.items()]
    if converted or reader.superseded:
        lost = " without units, names of dimensions and other attributes" if metadata.attrs and not writer.has_attributes else ""
        notes.append(f"{reader.format} becomes {writer.title}{lost}")
    kept, letters = {*names, *(entry.name for entry in fields)}, movie.axes
    if writer.single_array and len(names) > 1:
        names, letters = [path.stem], letters.replace("t", "tc")
        notes.append(f"a {writer.suffixes[0]} holds one array: the variables are its channels, axes={letters}")
    valid = writer.valid_names([*names, *(entry.name for entry in fields)])
    n, c, t, y, x = movie.shape
    return OutputTemplate(
        format=writer.name,
        names=tuple(valid[: len(names)]),
        axes=letters,
        shape=(n, c, t, y * scale, x * scale),
        dims=dims,
        attrs=attrs,
        fields=tuple(replace(entry, name=name) for entry, name in zip(fields, valid[len(names) :], strict=True)),
        groups=groups,
        history=history,
        storage={} if converted else metadata.storage,
        left_out=tuple(name for name in (*(v.name for v in listing.variables), *listing.refused) if name not in kept),
        notes=tuple(notes),
    )


def _portable(metadata: Metadata) -> Metadata:
    """Return the metadata with only those attributes that every format can hold."""
    return replace(
        metadata,
        attrs=tuple(portable_attributes(attrs) for attrs in metadata.attrs),
        groups={group: portable_attributes(attrs) for group, attrs in metadata.groups.items()},
        neighbours=[replace(entry, attrs=portable_attributes(entry.attrs)) for entry in metadata.neighbours],
    )
