"""Axes of an array (movie, channel, time, row, column), given by the user or named in the file, but never guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from vsr.errors import UserError
from vsr.io.readers.base import Variable
from vsr.io.readers.printable import printable_name, printable_shape

ORDER = "nctyx"
DIMENSION_NAMES = {"n": "member", "c": "channel", "t": "time", "y": "y", "x": "x"}  # for dimensions without a name
MEANING = {"n": "movies", "c": "channels", "t": "frames", "y": "rows", "x": "columns"}

NAMES = {
    "n": "n member members ensemble ens realization realisation number sample samples trajectory movie run",
    "c": "c channel channels variable var band bands",
    "t": "t time times valid_time frame frames nt ntime",
    "y": "y lat latitude nlat rlat yc ny south_north grid_latitude projection_y_coordinate row rows",
    "x": "x lon long longitude nlon rlon xc nx west_east grid_longitude projection_x_coordinate col column columns",
}
BY_NAME = {name: letter for letter, names in NAMES.items() for name in names.split()}
STANDARD_NAMES = {name: BY_NAME[name] for name in BY_NAME if len(name) > 3}
UNITS = {"degrees_north": "y", "degree_north": "y", "degrees_east": "x", "degree_east": "x"}
# Orders that occur in practice, to be listed; any other order of these letters works as well.
USUAL = {4: ("tcyx", "tyxc", "ctyx", "ntyx", "xytn", "yxtn"), 5: ("ntcyx", "nctyx", "ntyxc", "xytcn", "yxtcn")}


class Unspecified(UserError):
    """UserError for a file that does not say which array is the movie or how its axes are ordered; the user must say so."""


def check_axes(axes: str, variable: Variable, where: str) -> str:
    """Check that `axes`, e.g. "tyx", fits the array, and return it in lower case; a UserError begins with `where`."""
    letters, rank = axes.strip().lower(), len(variable.shape)
    example = f"; type e.g. data.axes={_usual_axes(rank)[0]}"
    if unknown := sorted(set(letters) - set(ORDER)):
        raise UserError(
            f"{where}: data.axes={printable_name(axes)}: unknown letter '{printable_name(unknown[0])}', "
            f"known are n, c, t, y, x{example}"
        )
    if len(set(letters)) < len(letters):
        raise UserError(f"{where}: data.axes={letters}: a letter occurs twice{example}")
    if missing := [letter for letter in "tyx" if letter not in letters]:
        raise UserError(f"{where}: data.axes={letters}: {', '.join(missing)} is missing{example}")
    if len(letters) != rank:
        raise UserError(
            f"{where}: data.axes={letters} has {len(letters)} letters, the array {rank} dimensions "
            f"({printable_shape(variable.shape)}){example}"
        )
    return letters


def _usual_axes(rank: int, matlab: bool = False) -> list[str]:
    """List usual axis orders of arrays with `rank` dimensions, e.g. "tyx", likeliest first (MATLAB: x and y before time)."""
    if rank == 3:
        orders = ["".join(order) for order in permutations("tyx")]
        return sorted(orders, key=("yxt", "xyt").__contains__, reverse=True) if matlab else orders
    listed = list(USUAL.get(rank, ("tyx",)))
    return sorted(listed, key=lambda order: order[-2:] in ("tn", "cn"), reverse=True) if matlab else listed


def _axes_meaning(axes: str, shape: Sequence[int]) -> str:
    """Describe in words a shape whose axes are known: ("yxt", (5, 6, 7)) gives "7 frames of 5x6"."""
    size = dict(zip(axes, shape, strict=True))
    extra = "".join(f", {size[letter]} {MEANING[letter]}" for letter in "cn" if letter in size)
    return f"{size['t']} frames of {size['y']}x{size['x']}{extra}"


def infer_axes(variable: Variable, coordinates: Sequence[Mapping[str, Any]] | None, where: str, matlab: bool) -> str:
    """Derive the axes of an array, e.g. "tyx", from the names and the coordinates of its dimensions.

    Args:
        variable: The array.
        coordinates: CF attributes of the coordinate of each dimension, or None.
        where: Name of the file and the array; the error message begins with it.
        matlab: True if the error message must list the usual axis orders of MATLAB files first.

    Raises:
        Unspecified: If names and attributes do not settle every axis. The message lists the choices.
    """
    letters = _from_names(variable, coordinates) if variable.dims else None
    if letters is not None:
        return letters
    choices = _usual_axes(len(variable.shape), matlab)
    listed = "; ".join(f"{axes} is {_axes_meaning(axes, variable.shape)}" for axes in choices)
    named = f", dimensions {', '.join(map(printable_name, variable.dims))}" if variable.dims else ""
    rest = "" if len(variable.shape) == 3 else "; any other order works too"
    raise Unspecified(
        f"{where}: the file does not say which index of {printable_shape(variable.shape)}{named} is time; "
        f"type e.g. data.axes={choices[0]} ({listed}{rest})"
    )


def _from_names(variable: Variable, coordinates: Sequence[Mapping[str, Any]] | None) -> str | None:
    """Return the axes told by names and CF attributes, or None unless each dimension has one meaning and t, y, x occur."""
    assert variable.dims is not None
    letters: list[str | None] = []
    for i, name in enumerate(variable.dims):
        found = axis_meanings(name, coordinates[i] if coordinates else {})
        if len(found) > 1:
            return None
        letters.append(found.pop() if found else None)
    # An unknown dimension of length 1 (a single level, say) changes nothing, whatever it is called.
    spare = [letter for letter in "cn" if letter not in letters]
    for i, letter in enumerate(letters):
        if letter is None and variable.shape[i] == 1 and spare:
            letters[i] = spare.pop(0)
    axes = "".join(letter or "" for letter in letters)
    complete = len(axes) == len(variable.shape) == len(set(axes)) and set("tyx") <= set(axes)
    return axes if complete else None


def axis_meanings(name: str, attrs: Mapping[str, Any]) -> set[str]:
    """Return the axis letters for which the name of a dimension and the CF attributes of its coordinate stand."""
    axis = str(attrs.get("axis", "")).lower()
    found = {axis} if axis in ("t", "y", "x") else set()
    for key, table in (("standard_name", STANDARD_NAMES), ("units", UNITS)):
        if (letter := table.get(str(attrs.get(key, "")).lower())) is not None:
            found.add(letter)
    if (letter := BY_NAME.get(name.lower())) is not None:
        found.add(letter)
    return found


def arrange_axes(values: np.ndarray, axes: str) -> np.ndarray:
    """Arrange an array with the axes `axes`, e.g. "yxt", as float32 (N, C, T, H, W); a missing n or c gets length 1."""
    present = [letter for letter in ORDER if letter in axes]
    values = values.transpose([axes.index(letter) for letter in present])
    values = values[tuple(slice(None) if letter in axes else np.newaxis for letter in ORDER)]
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is counted as such
        return np.ascontiguousarray(values, dtype=np.float32)
