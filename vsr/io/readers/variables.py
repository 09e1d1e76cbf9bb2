"""Choice of the variables of a file where none is named: those that lie on one grid, and the vectors among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vsr.io.readers.axes import Unspecified
from vsr.io.readers.base import ArrayReader, Variable
from vsr.io.readers.joined import files_of_movie
from vsr.io.readers.open import without_coordinates
from vsr.io.readers.printable import printable_name
from vsr.io.readers.recognize import open_reader

# Names of components along x and y, in lower case; CF names them by standard_name.
COMPONENTS = (("u", "v"), ("u10", "v10"), ("u100", "v100"), ("ua", "va"), ("uas", "vas"), ("uo", "vo"), ("uwnd", "vwnd"))
CF_COMPONENTS = (("eastward_", "northward_"), ("x_", "y_"))  # beginnings of standard names


def variables_on_one_grid(path: str | Sequence[str], select: Mapping[Any, Any] | None = None) -> tuple[list[str], list[str]]:
    """Choose the variables of a file, or of the first of many files, that become the channels of a movie.

    These are all arrays of real numbers with the same named dimensions, without coordinates and without flags (whole numbers
    that are not packed). Files that do not name dimensions are left to the user: equal sizes do not tell what belongs together.

    Args:
        path: As in `open_movies`.
        select: Dimension -> value, as in `open_movie`; only arrays with these dimensions count.

    Returns:
        The names of the variables, and the names of further arrays that are no coordinates. Both are empty if there is no choice,
        as in a file of one array.

    Raises:
        Unspecified: If the arrays lie on several grids.
    """
    file = files_of_movie(path)[0]
    reader = open_reader(file)
    listing = reader.listing()
    candidates = [v for v in listing.variables if len(v.shape) >= 3]
    candidates = without_coordinates(reader, candidates) if len(candidates) > 1 else candidates
    if len(candidates) < 2 or any(v.dims is None for v in candidates):
        return [], []
    usable = [v for v in candidates if set(map(str, select or ())) <= set(v.dims or ()) and not _is_flag(reader, v)]
    grids: dict[tuple[Any, ...], list[Variable]] = {}
    for variable in usable:
        grids.setdefault((variable.dims, variable.shape), []).append(variable)
    if len(grids) > 1:
        raise Unspecified(f"{file}: its arrays lie on {len(grids)} grids: {_described(grids)}; type {_typed(grids)}")
    names = [variable.name for variable in usable]
    return names, [variable.name for variable in candidates if variable.name not in names] if names else []


def _is_flag(reader: ArrayReader, variable: Variable) -> bool:
    """Return True for whole numbers that are not packed values, or that an attribute declares to be flags."""
    attrs = reader.details(variable.name).attrs
    packed = bool({"scale_factor", "add_offset", "ScaleFactor", "Offset"} & set(attrs))
    return bool({"flag_values", "flag_masks"} & set(attrs)) or (np.dtype(variable.dtype).kind in "iub" and not packed)


def _described(grids: Mapping[tuple[Any, ...], Sequence[Variable]]) -> str:
    """Describe groups of arrays: "t, q (time 9, lat 180, lon 360) and sst (time 9, y 90, x 180)"."""
    each = []
    for (dims, shape), variables in grids.items():
        sizes = ", ".join(f"{printable_name(name)} {size}" for name, size in zip(dims, shape, strict=True))
        each.append(f"{', '.join(printable_name(variable.name) for variable in variables)} ({sizes})")
    return f"{', '.join(each[:-1])} and {each[-1]}"


def _typed(grids: Mapping[tuple[Any, ...], Sequence[Variable]]) -> str:
    """Return what chooses each group of arrays, the largest group first."""
    each = []
    for variables in sorted(grids.values(), key=len, reverse=True):
        names = [printable_name(variable.name) for variable in variables]
        each.append(f"data.variable={names[0] if len(names) == 1 else '[' + ','.join(names) + ']'}")
    return ", or ".join(each)


def vectors_among(variables: Sequence[str], attributes: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Find the pairs of variables that are the components of a vector along x and along y, by CF names or usual names.

    Args:
        variables: Names of the variables.
        attributes: Attributes of each variable.

    Returns:
        Pairs of names, as for `data.vectors`. The two components have equal units, and each variable is in one pair at most.
    """
    bare = {name.rpartition("/")[2].lower(): name for name in variables}
    known = {str(attrs.get("standard_name", "")).lower(): name for name, attrs in zip(variables, attributes, strict=True)}
    units = {name: str(attrs.get("units", "")) for name, attrs in zip(variables, attributes, strict=True)}
    pairs = [
        (name, known.get(word.replace(first, second, 1)))
        for first, second in CF_COMPONENTS
        for word, name in known.items()
        if word.startswith(first)
    ]
    pairs += [(bare[along_x], bare.get(along_y)) for along_x, along_y in COMPONENTS if along_x in bare]
    found: list[list[str]] = []
    for u, v in pairs:
        used = {name for pair in found for name in pair}
        if v is not None and units[u] == units[v] and not {u, v} & used:
            found.append([u, v])
    return found
