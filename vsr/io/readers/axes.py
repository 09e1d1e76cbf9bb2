"""Axes of an array (movie, channel, time, row, column), given by the user or named in the file, but never guessed."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from vsr.errors import UserError
from vsr.io.readers.base import Variable
from vsr.io.readers.printable import printable_name, printable_shape
from vsr.io.readers.selection import describe_coordinate, example_value

ORDER = "nctyx"
DIMENSION_NAMES = {"n": "member", "c": "channel", "t": "time", "y": "y", "x": "x"}  # for dimensions without a name
MEANING = {"n": "movies", "c": "channels", "t": "frames", "y": "rows", "x": "columns"}

NAMES = {
    "n": "n member members ensemble ens realization realisation number sample samples trajectory movie run",
    "c": "c channel channels variable var band bands",
    "t": "t time times valid_time frame frames nt ntime time_counter ocean_time mt date dates datetime day days month year hour "
    "record records snapshot snapshots",
    "y": "y lat lats latitude latitudes nlat rlat yc yg yh yq ny nj j south_north south_north_stag grid_latitude grid_yt ydim "
    "projection_y_coordinate row rows eta_rho eta_u eta_v eta_psi",
    "x": "x lon lons long longitude longitudes nlon rlon xc xg xh xq nx ni i west_east west_east_stag grid_longitude grid_xt "
    "xdim projection_x_coordinate col column columns xi_rho xi_u xi_v xi_psi",
}
PARTS_OF_DATES = {"date", "dates", "datetime", "day", "days", "hour", "month", "year"}  # their steps are not steps of time
LEAD_TIMES = ("step", "lead_time", "lead", "forecast_period")  # time, if no other dimension is
BY_NAME = {name: letter for letter, names in NAMES.items() for name in names.split()}
STANDARD_NAMES = {name: BY_NAME[name] for name in BY_NAME if len(name) > 3}
UNITS = {"degrees_north": "y", "degree_north": "y", "degrees_east": "x", "degree_east": "x"}
GEOGRAPHIC = {
    *("lat", "latitude", "xlat", "xlat_u", "xlat_v", "xlat_m", "tlat", "ulat", "nav_lat", "lat_rho", "lat_u", "lat_v", "geolat"),
    *("lon", "longitude", "xlong", "xlong_u", "xlong_v", "xlong_m", "tlong", "ulong", "nav_lon", "lon_rho", "lon_u", "lon_v"),
    *("geolon", "tlon", "ulon", "xlon"),
}
# Orders that occur in practice, to be listed; any other order of these letters works as well.
USUAL = {2: ("yx", "xy"), 4: ("tcyx", "tyxc", "ctyx", "ntyx", "xytn", "yxtn"), 5: ("ntcyx", "nctyx", "ntyxc", "xytcn", "yxtcn")}


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
    if missing := [letter for letter in _needed(variable) if letter not in letters]:
        raise UserError(f"{where}: data.axes={letters}: {', '.join(missing)} is missing{example}")
    if len(letters) != rank:
        raise UserError(
            f"{where}: data.axes={letters} has {len(letters)} letters, the array {rank} dimensions "
            f"({printable_shape(variable.shape)}){example}"
        )
    return letters


def _needed(variable: Variable) -> str:
    """Return the letters that the axes of an array must have: without time for a single frame."""
    return "yx" if len(variable.shape) == 2 else "tyx"


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


def infer_axes(
    variable: Variable,
    coordinates: Sequence[Mapping[str, Any]] | None,
    where: str,
    matlab: bool,
    movies: Collection[int] = (),
    values: Callable[[int], np.ndarray | None] = lambda _: None,
    alone: bool = True,
) -> str:
    """Derive the axes of an array, e.g. "tyx", from the names and the coordinates of its dimensions.

    Args:
        variable: The array.
        coordinates: CF attributes of the coordinate of each dimension, or None.
        where: Name of the file and the array; the error message begins with it.
        matlab: True if the error message must list the usual axis orders of MATLAB files first.
        movies: Numbers of the dimensions that count movies, whatever their names say.
        values: Function that returns the values of the coordinate of a dimension, or None; for the message.
        alone: False if further arrays are channels, so that the message offers none.

    Raises:
        Unspecified: If names and attributes do not settle every axis. The message lists the choices.
    """
    if not variable.dims and len(variable.shape) == 2:
        return "yx"
    if not variable.dims:
        choices = _usual_axes(len(variable.shape), matlab)
        rest = "" if len(variable.shape) == 3 else "; any other order works too"
        raise Unspecified(
            f"{where}: the file does not say which index of {printable_shape(variable.shape)} is time; "
            f"type e.g. data.axes={choices[0]} ({_listed_axes(choices, variable.shape)}{rest})"
        )
    letters = _from_names(variable, coordinates, movies)
    if len(letters) == 2 and "t" not in letters:
        return "xy" if letters in (["x", "y"], ["x", None], [None, "y"]) else "yx"
    if None not in letters and set("tyx") <= set(letters):
        return "".join(letter or "" for letter in letters)
    raise Unspecified(f"{where}: {_open_axes(variable, letters, values, alone)}")


def _from_names(variable: Variable, coordinates: Sequence[Mapping[str, Any]] | None, movies: Collection[int]) -> list[str | None]:
    """Return the letter of each dimension as names and CF attributes tell it; None where they tell none, or several."""
    assert variable.dims is not None
    letters: list[str | None] = []
    for i, name in enumerate(variable.dims):
        found = {"n"} if i in movies else axis_meanings(name, coordinates[i] if coordinates else {})
        letters.append(found.pop() if len(found) == 1 else None)
    letters = [letter if letters.count(letter) == 1 else None for letter in letters]
    if "t" not in letters:
        leads = [i for i, name in enumerate(variable.dims) if name.lower() in LEAD_TIMES and letters[i] is None]
        if len(leads) == 1:
            letters[leads[0]] = "t"
    # An unknown dimension of length 1 (a single level, say) changes nothing, whatever it is called.
    spare = [letter for letter in "cn" if letter not in letters]
    for i, letter in enumerate(letters):
        if letter is None and variable.shape[i] == 1 and spare:
            letters[i] = spare.pop(0)
    return letters


def _open_axes(variable: Variable, letters: Sequence[str | None], values: Callable[[int], np.ndarray | None], alone: bool) -> str:
    """Say which dimensions have no meaning yet, and what to type."""
    assert variable.dims is not None
    dims = variable.dims
    unknown = [i for i, letter in enumerate(letters) if letter is None]
    missing = [letter for letter in "tyx" if letter not in letters]
    if not missing:
        described = " and ".join(describe_coordinate(dims[i], variable.shape[i], values(i)) for i in unknown)
        one = ",".join(f"{printable_name(dims[i])}:{example_value(values(i))}" for i in unknown)
        advice = [f"'data.select={{{one}}}' for one of them"]
        if len(unknown) == 1 and "n" not in letters:
            advice.append(f"'data.select={{{printable_name(dims[unknown[0]])}:all}}' for a movie each")
        if len(unknown) == 1 and "c" not in letters and alone:
            advice.append(f"data.axes={''.join(letter or 'c' for letter in letters)} for channels")
        verb = "is" if len(unknown) == 1 else "are"
        return f"{described} {verb} neither time, row nor column; type {', or '.join(advice)}"
    spare = [letter for letter in "cn" if letter not in letters]
    choices = [
        "".join(letter or chosen.pop(0) for letter in letters)
        for order in permutations([*missing, *spare], len(unknown))
        if set(missing) <= set(order) and (chosen := list(order))
    ]
    if not choices:  # the names contradict each other
        choices = [axes for axes in _usual_axes(len(variable.shape)) if len(axes) == len(variable.shape)]
    named = ", ".join(map(printable_name, dims))
    return (
        f"the file does not say what {', '.join(printable_name(dims[i]) for i in unknown) or 'each'} of the dimensions {named} "
        f"({printable_shape(variable.shape)}) is; type e.g. data.axes={choices[0]} ({_listed_axes(choices[:6], variable.shape)})"
    )


def _listed_axes(choices: Sequence[str], shape: Sequence[int]) -> str:
    return "; ".join(f"{axes} is {_axes_meaning(axes, shape)}" for axes in choices)


def axis_meanings(name: str, attrs: Mapping[str, Any]) -> set[str]:
    """Return the axis letters for which the name of a dimension and the CF attributes of its coordinate stand."""
    axis = str(attrs.get("axis", "")).lower()
    found = {axis} if axis in ("t", "y", "x") else set()
    for key, table in (("standard_name", STANDARD_NAMES), ("units", UNITS)):
        if (letter := table.get(str(attrs.get(key, "")).lower())) is not None:
            found.add(letter)
    if re.match(r"[a-z]+ since ", str(attrs.get("units", "")).lower()):
        found.add("t")
    # HDF-EOS writes the grid behind the name: "YDim:NorthernHemisphere".
    if (letter := BY_NAME.get(name.lower().partition(":")[0])) is not None:
        found.add(letter)
    return found


def coordinates_by_name(variables: Iterable[Variable], movie: Variable, letters: Sequence[str]) -> dict[str, str]:
    """Find the coordinates of an array in a file that does not name dimensions, by their names and shapes.

    Args:
        variables: The arrays of the file.
        movie: The array.
        letters: Letter of each index of the array; "" where one position was selected.

    Returns:
        Name -> "t", "y" or "x" for a vector (also 1xN and Nx1) that is as long as the axis of which its name speaks, and "yx" or
        "xy" for rows and columns as `meshgrid` makes them. They lie in the group or struct of the movie, or above it.
    """
    if movie.dims is not None:
        return {}
    size = {letter: n for letter, n in zip(letters, movie.shape, strict=True) if letter in ("t", "y", "x")}
    plane = "".join(letter for letter in size if letter != "t")
    home = re.split(r"[/.]", movie.name)[:-1]
    found: dict[str, str] = {}
    for variable in variables:
        *group, base = re.split(r"[/.]", variable.name.lower())
        letter = BY_NAME.get(base, "")
        if variable.dims is not None or group != [part.lower() for part in home[: len(group)]] or variable.name == movie.name:
            continue
        if letter in size and [n for n in variable.shape if n > 1] == [size[letter]]:
            found[variable.name] = letter
        elif (letter in ("y", "x") or base in GEOGRAPHIC) and min(variable.shape, default=0) > 1:
            for order in (plane[::-1], plane):  # of a square, the movie's own order
                if variable.shape == tuple(size[axis] for axis in order):
                    found[variable.name] = order
    return found


def may_be_times(name: str) -> bool:
    """Return True unless the name of an array says that it holds dates as numbers, or parts of dates such as the month."""
    return re.split(r"[/.]", name.lower())[-1] not in PARTS_OF_DATES


def is_geographic(name: str, attrs: Mapping[str, Any]) -> bool:
    """Return True if the name or the CF attributes of an array say that it holds latitudes or longitudes."""
    words = {str(attrs.get(key, "")).lower() for key in ("units", "standard_name")}
    return bool(words & {*UNITS, "latitude", "longitude"}) or name.lower() in GEOGRAPHIC


def arrange_axes(values: np.ndarray, axes: str, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Arrange an array with the axes `axes`, e.g. "yxt", as (N, C, T, H, W) of type `dtype`; a missing n, c or t gets length 1.

    Raises:
        FloatingPointError: If a finite value is too large for the type.
    """
    present = [letter for letter in ORDER if letter in axes]
    values = values.transpose([axes.index(letter) for letter in present])
    values = values[tuple(slice(None) if letter in axes else np.newaxis for letter in ORDER)]
    with np.errstate(over="raise"):
        return np.ascontiguousarray(values, dtype=dtype)
