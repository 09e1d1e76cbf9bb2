"""Lazy reading of float movies from array files of all formats in `vsr.io.formats`, behind one interface.

The content of a file decides its format, not its name (recognize.py). Axes are never guessed: the user gives them, or the file
names them. The movie that is opened (array_movie.py) reads its frames.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from vsr.errors import UserError, error_suggestion
from vsr.io.readers import axes as axis_rules
from vsr.io.readers.array_movie import ArrayMovie
from vsr.io.readers.axes import Unspecified, is_geographic
from vsr.io.readers.base import ArrayReader, Listing, Variable
from vsr.io.readers.printable import printable_bytes, printable_name, printable_shape
from vsr.io.readers.recognize import open_reader
from vsr.io.readers.selection import example_value, selected_positions

__all__ = ["ArrayMovie", "Listing", "Unspecified", "Variable", "open_listing", "open_movie"]

EDGES = re.compile(r"(^|/)bounds_|_(bnds|bounds|vertices|corners)$")  # names of cell edges
MOST_EXAMINED = 200  # arrays whose attributes are read to find the only one that is not a coordinate


def open_listing(path: Path) -> Listing:
    """List the arrays in a file of any known format; raise UserError if the file cannot or must not be read."""
    return open_reader(path).listing()


def open_movie(
    path: Path,
    *,
    variable: str | list[str] | None,
    axes: str | None,
    select: Mapping[Any, Any] | None = None,
    missing: float | Sequence[float] | None = None,
    max_bytes: int = 2**40,
    frame: bool = False,
) -> ArrayMovie:
    """Open the movie in an array file without reading any value of it.

    Args:
        path: A file or Zarr folder, or the address of one (`vsr.system.address`).
        variable: Name of the array. Several names of arrays of one shape give one channel each. None is allowed if the file has
            only one array of 3 or more dimensions that is not a coordinate.
        axes: One letter for each index that `select` leaves, in the file's index order (for .mat, MATLAB's): n (movies), c
            (channels), t, y or x. None is allowed if the file names its dimensions.
        select: Dimension -> value, for arrays with more dimensions than a movie; see `selected_positions`.
        missing: Physical value, or values, that mean "missing", besides those that the file declares.
        max_bytes: Most bytes that the arrays may take as float32, by their declared shape.
        frame: Take an array of two dimensions, rows and columns, for a movie of one frame, whose axes have no t.

    Raises:
        UserError: If the file, the variable, the selection or the axes cannot be used.
        Unspecified: If the user must give the variable, the axes or a selection; a subclass of UserError.
    """
    reader = open_reader(path)
    listing = reader.listing()
    variable = _only(reader, listing, frame) if variable is None else variable
    names = [variable] if isinstance(variable, str) else list(variable)
    if not names:
        raise UserError(f"{path}: data.variable=[] names no variable; type data.variable=NAME")
    variables = [_find(reader, listing, name) for name in names]
    first = variables[0]
    where = f"{path}: {printable_name(first.name)}"

    def coordinate(at: int) -> np.ndarray | None:
        return reader.coordinate(first.name, at)

    positions = selected_positions(select or {}, first, coordinate, where)
    movies = [i for i, at in positions.items() if isinstance(at, tuple)]
    if len(movies) > 1:
        raise UserError(f"{where}: data.select gives several positions of {len(movies)} dimensions; give several of one only")
    kept = [i for i in range(len(first.shape)) if not isinstance(positions.get(i), int)]
    for other in variables:
        if not (2 if frame else 3) <= len(other.shape) - (len(first.shape) - len(kept)) <= 5:
            rest = f" and data.select leaves {len(kept)}" if positions else ""
            raise UserError(
                f"{path}: {printable_name(other.name)} is {printable_shape(other.shape)}, of {len(other.shape)} dimensions"
                f"{rest}; a movie has 3 (time, rows, columns) to 5; type data.variable=NAME of another one"
                f"{_select_advice(other, len(first.shape), coordinate)}"
            )
        if (other.shape, other.dims) != (first.shape, first.dims):
            raise UserError(
                f"{path}: {printable_name(other.name)} is {printable_shape(other.shape)}{_dims_text(other)}, "
                f"{printable_name(first.name)} is {printable_shape(first.shape)}{_dims_text(first)}; variables that become "
                f"channels must be alike"
            )
    total = 4 * sum(prod(v.shape[i] for i in kept) for v in variables)
    if total > max_bytes:
        raise UserError(
            f"{path}: {', '.join(map(printable_name, names))} of {printable_shape(first.shape)} declares "
            f"{printable_bytes(total)} as float32, more than the limit of {printable_bytes(max_bytes)}; "
            f"type data.max_bytes={total} if it is that large"
        )
    details = [reader.details(v.name) for v in variables]
    reduced = replace(
        first,
        shape=tuple(first.shape[i] for i in kept),
        dims=None if first.dims is None else tuple(first.dims[i] for i in kept),
    )
    if axes is not None:
        letters = axis_rules.check_axes(axes, reduced, where)
        if movies and letters[kept.index(movies[0])] != "n":
            letter = letters[kept.index(movies[0])]
            raise UserError(
                f"{where}: data.axes={letters} has {letter} where data.select gives several positions, which are movies; "
                f"type n there"
            )
    else:
        known = details[0].coordinates
        letters = axis_rules.infer_axes(
            reduced,
            None if known is None else [known[i] for i in kept],
            where,
            reader.time_last,
            [kept.index(i) for i in movies],
            lambda i: coordinate(kept[i]),
            alone=len(variables) == 1,
        )
    if len(variables) > 1 and "c" in letters:
        raise UserError(
            f"{where}: axes {letters} have channels already; type one variable, data.variable={printable_name(first.name)}"
        )
    numbers = [] if missing is None else missing if isinstance(missing, Sequence) else [missing]
    spread = iter(letters)
    every = [next(spread) if i in kept else "" for i in range(len(first.shape))]
    named = axis_rules.coordinates_by_name((v for v in listing.variables if v.name not in names), first, every)
    return ArrayMovie(reader, variables, letters, details, positions, numbers, named)


def _select_advice(variable: Variable, rank: int, coordinate: Callable[[int], np.ndarray | None]) -> str:
    """Return advice to select along the first dimension of an array with more dimensions than a movie."""
    if len(variable.shape) < 6 or len(variable.shape) != rank:
        return ""
    name = variable.dims[0] if variable.dims else "0"
    return f", or one position of the others, e.g. data.select={{{printable_name(name)}: {example_value(coordinate(0))}}}"


def _only(reader: ArrayReader, listing: Listing, frame: bool) -> str:
    """Return the name of the only array that can be a movie; raise Unspecified with all candidates if several arrays can.

    With `frame`, arrays of two dimensions count in a file without larger ones.
    """
    candidates = [v for v in listing.variables if len(v.shape) >= 3]
    if frame and not candidates:
        candidates = [v for v in listing.variables if len(v.shape) == 2 and min(v.shape) > 1]
    if len(candidates) > 1:
        candidates = without_coordinates(reader, candidates) or candidates
    if len(candidates) == 1:
        return candidates[0].name
    if candidates:
        found = ", ".join(f"{printable_name(v.name)} ({printable_shape(v.shape)} {v.dtype})" for v in candidates[:20])
        more = f" and {len(candidates) - 20} more" if len(candidates) > 20 else ""
        raise Unspecified(f"{reader.path}: several arrays can be the movie: {found}{more}; type data.variable=NAME")
    others = [f"{printable_name(name)} {problem}" for name, problem in listing.refused.items()]
    others += [f"{printable_name(v.name)} is {printable_shape(v.shape)}" for v in listing.variables]
    found = "; ".join(others[:8]) or "nothing else either"
    raise UserError(f"{reader.path}: no numeric array of 3 or more dimensions ({found}); {_advice_on_planes(listing)}")


def _advice_on_planes(listing: Listing) -> str:
    """Return advice for a file without a movie: three or more equal planes of a group or struct may be the frames of one."""
    planes = [v for v in listing.variables if len(v.shape) == 2 and min(v.shape) > 1]
    places = Counter((re.sub(r"[/.]?[^/.]*$", "", v.name), v.shape) for v in planes)
    for (group, shape), count in places.most_common(1):
        if count > 2:
            where = f" in {printable_name(group)}" if group else ""
            return (
                f"if the {count} arrays of {printable_shape(shape)}{where} are frames, stack them in order and give the result: "
                f"numpy.save('movie.npy', numpy.stack(frames))"
            )
    return "store the movie as one array of real numbers, or give another file"


def without_coordinates(reader: ArrayReader, candidates: Sequence[Variable]) -> list[Variable]:
    """Leave out coordinates of others: longitudes, latitudes, 1x1xN times, and what an attribute `coordinates` names."""
    attrs = {v.name: reader.details(v.name).attrs for v in candidates[:MOST_EXAMINED]}
    words = {word for found in attrs.values() for word in str(found.get("coordinates", "")).split()}
    return [
        v
        for v in candidates
        if v.name.rpartition("/")[2] not in words
        and not EDGES.search(v.name)
        and not (sum(n > 1 for n in v.shape) < 2 and axis_rules.axis_meanings(re.split(r"[/.]", v.name)[-1], {}))
        and not is_geographic(v.name.rpartition("/")[2], attrs.get(v.name, {}))
    ]


def _find(reader: ArrayReader, listing: Listing, name: str) -> Variable:
    for form in (lambda path: path, lambda path: path.replace("/", ".")):  # s/u and s.u are the same field of a struct
        wanted = form(name.strip("/"))
        for found in listing.variables:
            if form(found.name) == wanted:
                return found
        for refused, problem in listing.refused.items():
            if form(refused) == wanted:
                raise UserError(f"{reader.path}: {printable_name(refused)} {problem}")
    inside = [v for v in listing.variables if v.name.replace("/", ".").startswith(f"{wanted}.")]
    if inside:
        inside.sort(key=lambda v: len(v.shape) < 3)
        choices = ", or ".join(f"data.variable={printable_name(v.name)}" for v in inside[:3])
        raise UserError(f"{reader.path}: {printable_name(name)} holds arrays and is none itself; type {choices}")
    known = [printable_name(v.name) for v in listing.variables]
    hint = error_suggestion(printable_name(name), known) if known else "; it holds no numeric array"
    raise UserError(f"{reader.path}: data.variable={printable_name(name)}: there is no such array{hint}")


def _dims_text(variable: Variable) -> str:
    return f" ({', '.join(map(printable_name, variable.dims))})" if variable.dims else ""
