"""Movies on a coarse grid (LR) and the same movies on a fine grid (HR): which belong together, and where LR pixels lie."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from vsr.errors import UserError
from vsr.geometry import MOST_SCALE_OF_PAIRS, Alignment, Origin
from vsr.io.readers.joined import JoinedMovie, common_times, converted_times, open_movies, time_runs
from vsr.io.readers.open import ArrayMovie
from vsr.io.readers.printable import printable_name, printable_value

Arrays = ArrayMovie | JoinedMovie
Align = Literal["cell", "node"]
TOLERANCE = 0.05  # HR pixels that coordinates may be off, as those of single precision or of slightly stretched grids are
SAME_TIME = 1e-3  # of a step of time
CALENDARS = {"gregorian": "standard", "365_day": "noleap", "366_day": "all_leap"}
REFORM = 1582  # the year from whose end on the standard calendar is the proleptic Gregorian one
SHOWN = 4  # names in a message


@dataclass(frozen=True)
class Trajectory:
    """One movie of array files.

    Attributes:
        array: The movies of the files.
        which: Number of the movie in `array`.
        key: What the file calls the movie: its value along the axis of movies, or the name of the file; None without a name.
    """

    array: Arrays
    which: int
    key: str | None

    @property
    def name(self) -> str:
        """Files and variables of the movie, for messages."""
        of = self.which if self.key is None else self.key
        return f"{self.array.name}[{of}]" if self.array.shape[0] > 1 else self.array.name


@dataclass(frozen=True)
class Grid:
    """Relation of the grids of LR and HR.

    Attributes:
        scale: HR pixels per LR pixel along each axis.
        alignment: Place of the LR pixels on the HR grid along y and x.
        reversed: Axes ("y", "x") along which HR has to be turned around to run as LR does.
        found: True if the coordinates of the files say so; False if `align` does.
    """

    scale: int
    alignment: Alignment
    reversed: tuple[str, ...]
    found: bool

    def describe(self) -> str:
        """Return where LR pixels lie, in words."""
        middle = (self.scale - 1) / 2
        words = ["node" if origin == "node" else "cell" if origin == middle else f"{origin:.4g}" for origin in self.alignment]
        told = {
            "node": "node: both grids share their end points",
            "cell": "cell: LR pixels lie in the middle of their blocks",
        }
        shifts = f"staggered: LR pixel 0 lies at HR pixel {words[0]} (y), {words[1]} (x)"
        where = told.get(words[0], shifts) if words[0] == words[1] else shifts
        turned = f"; HR is read with {' and '.join(self.reversed)} turned around, as LR has it" if self.reversed else ""
        return f"{where}, {'from the coordinates' if self.found else 'as data.align says'}{turned}"


def open_trajectories(path: str | Sequence[str], **options: Any) -> list[Trajectory]:
    """Open all movies of a path; `open_movies` explains the arguments.

    Files that continue each other in time are one movie. Files with a gap between them, that begin at the same time, or have no
    times, are movies of their own.
    """
    arrays = open_movies(path, **options, apart=True)
    several, names = len(arrays) > 1, [_names(array) for array in arrays]
    files = _names_of_files(arrays) if several else [None]
    every = [name for each in names for name in each or ()]
    repeat = len(set(every)) < len(every)  # each file counts its movies from the same number on
    found: list[Trajectory] = []
    for array, own, file in zip(arrays, names, files, strict=True):
        keys: Sequence[str | None] = own or [None] * array.shape[0]
        if file is not None and own is not None and repeat:
            keys = [f"{file}[{name}]" for name in own]
        elif file is not None and own is None:
            keys = [file] if array.shape[0] == 1 else [f"{file}[{which}]" for which in range(array.shape[0])]
        found += [Trajectory(array, which, key) for which, key in enumerate(keys)]
    return found


def _names_of_files(arrays: Sequence[Arrays]) -> list[str | None]:
    """Return what tells the files of movies apart: their names, or their folders where the names repeat; None for joined files.

    Files run0/out.nc and run1/out.nc are called run0 and run1.
    """
    paths = [array.reader.path for array in arrays if isinstance(array, ArrayMovie)]
    stems = [path.stem for path in paths]
    if len(set(stems)) < len(stems):
        folders = [path.absolute().parent for path in paths]
        common = Path(os.path.commonpath(folders))
        alike = len(set(stems)) == 1 and len(set(folders)) == len(folders)
        stems = [str(path.absolute().relative_to(common)) for path in paths]
        stems = [str(folder.relative_to(common)) for folder in folders] if alike else stems
    left = iter(stems)
    return [next(left) if isinstance(array, ArrayMovie) else None for array in arrays]


def _names(array: Arrays) -> list[str] | None:
    """Return the values along the axis of movies, or None if they are missing, repeat or only count the movies."""
    if "n" not in array.axes or (values := array.coordinate("n")) is None or len(values) != array.shape[0]:
        return None
    names = [str(value) for value in values.tolist()]
    return names if len(set(names)) == len(names) and names != [str(i) for i in range(len(names))] else None


def match_trajectories(lr: Sequence[Trajectory], hr: Sequence[Trajectory]) -> list[tuple[Trajectory, Trajectory]]:
    """Match the movies of LR and HR: by their names if both have names in common, otherwise in the order of the files.

    Raises:
        UserError: If a movie has no partner, or if partners differ in variables, units or times.
    """
    names, others = ([one.key for one in side] for side in (lr, hr))
    if None not in names and None not in others and set(names) & set(others):
        for side, missing, key in (("hr", set(names) - set(others), "lr"), ("lr", set(others) - set(names), "hr")):
            if missing:
                shown = ", ".join(sorted(map(str, missing))[:SHOWN])
                raise UserError(f"data.{side}: lacks trajectory {shown}, which data.{key} has; give both for every trajectory")
        by_name = {one.key: one for one in hr}
        pairs = [(one, by_name[one.key]) for one in lr]
    elif len(lr) != len(hr):
        raise UserError(f"data.lr has {len(lr)} trajectories, data.hr has {len(hr)}; give files of the same trajectories")
    else:
        pairs = list(zip(lr, hr, strict=True))
    for one, other in {(id(a.array), id(b.array)): (a, b) for a, b in pairs}.values():
        _check_alike(one, other)
        _check_times(one, other)
    return pairs


def _check_alike(lr: Trajectory, hr: Trajectory) -> None:
    """Raise UserError if two movies have other variables or units."""
    ours, theirs = variable_names(lr.array), variable_names(hr.array)
    if not (_is_npy(lr.array) or _is_npy(hr.array)) and ours != theirs:
        shown = [", ".join(map(printable_name, names)) for names in (ours, theirs)]
        single = len(ours) == len(theirs) == 1
        renamed = f", or rename it in one of them: ncrename -v {','.join(shown)} FILE" if single else ""
        raise UserError(
            f"{lr.name}: holds {shown[0]}, {hr.name} holds {shown[1]}; type data.variable=NAME that both have{renamed}"
        )
    if lr.array.shape[1] != hr.array.shape[1]:
        raise UserError(
            f"{lr.name}: has {lr.array.shape[1]} channels, {hr.name} has {hr.array.shape[1]}; give the same variables in both"
        )
    units = lr.array.meta["units"], hr.array.meta["units"]
    if None not in units and units[0] != units[1]:
        raise UserError(f"{lr.name}: is in {units[0]}, {hr.name} in {units[1]}; give both in the same units")


def variable_names(array: Arrays) -> tuple[str, ...]:
    """Return the names of the arrays of a movie."""
    name = array.meta["variable"]
    return (name,) if isinstance(name, str) else tuple(name)


def _is_npy(array: Arrays) -> bool:
    """Return True for an array that has the name of its file."""
    first = array.parts[0] if isinstance(array, JoinedMovie) else array
    return first.reader.name == "npy"


def _check_times(lr: Trajectory, hr: Trajectory) -> None:
    """Raise UserError if the frames of two movies are not of the same times."""
    count, other = lr.array.shape[2], hr.array.shape[2]
    told = [str(one.array.time_attrs.get("calendar", "standard")).lower() for one in (lr, hr)]
    times = [one.array.times() for one in (lr, hr)]
    calendars = [_calendar(one, word) for one, word in zip((lr, hr), told, strict=True)]
    if all(each is not None for each in times):
        if calendars[0] != calendars[1]:
            raise UserError(f"{lr.name}: has the calendar {told[0]}, {hr.name} {told[1]}; give both in one calendar")
        units = [str(one.array.time_attrs.get("units", "")) for one in (lr, hr)]
        numeric = all(each is not None and each.dtype.kind in "iuf" for each in times)
        parts = [
            part for one in (lr, hr) for part in (one.array.parts[:1] if isinstance(one.array, JoinedMovie) else [one.array])
        ]
        if numeric and units[0] != units[1]:
            if common_times(parts) is None:
                raise UserError(
                    f"{lr.name}: counts time in '{units[0]}', {hr.name} in '{units[1]}'; give both in one unit of time"
                )
            ours, theirs = _in_one_unit(times, units, told)
        else:
            ours, theirs = times  # type: ignore[assignment]
        same = min(len(ours), len(theirs))
        if numeric:
            step = float(np.median(np.abs(np.diff(theirs.astype(np.float64))))) if len(theirs) > 1 else 1.0
            differs = np.abs(ours[:same].astype(np.float64) - theirs[:same]) > SAME_TIME * step
        else:
            differs = ours[:same] != theirs[:same]
        if differs.any():
            at = int(np.flatnonzero(differs)[0])
            raise UserError(
                f"{lr.name}: frame {at} is of time {ours[at]}, that of {hr.name} of {theirs[at]}; give frames of the same times"
            )
    if count != other:
        raise UserError(f"{lr.name}: has {count} frames, {hr.name} has {other}; give frames of the same times")


def _calendar(one: Trajectory, told: str) -> str:
    """Return the calendar of a movie under the name that alike calendars share: after 1582, the proleptic one is the standard."""
    epoch, times = re.search(r"since\s+(\d{4})", str(one.array.time_attrs.get("units", ""))), one.array.times()
    if told == "proleptic_gregorian" and epoch and int(epoch[1]) > REFORM and times is not None and (times >= 0).all():
        return "standard"
    return CALENDARS.get(told, told)


def _in_one_unit(
    times: Sequence[np.ndarray | None], units: Sequence[str], calendars: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the times of LR and HR in the units of HR."""
    ours, theirs = (np.asarray(each, np.float64) for each in times)
    return converted_times(ours, (units[0], calendars[0]), (units[1], calendars[1])), theirs


def lead_times(array: Arrays) -> tuple[np.ndarray, str]:
    """Return the time of each frame since the first frame of the file, (T,) float64, and its unit: "frames" without times."""
    if isinstance(array, ArrayMovie) and array.first:  # a part of the trajectory
        lead, unit = lead_times(array.part(-array.first, array.shape[2]))
        return lead[array.first :], unit
    times, units = array.times(), str(array.time_attrs.get("units", ""))
    if times is None or times.dtype.kind not in "iuf" or "%" in units or not np.isfinite(times).all():
        return np.arange(array.shape[2], dtype=np.float64), "frames"
    return times.astype(np.float64) - float(times[0]), units.partition(" since ")[0] or "units of the file"


def frame_runs(array: Arrays) -> list[tuple[int, int]]:
    """Return the runs (start, stop) of frames without a gap in time."""
    return time_runs(array.times(), array.shape[2], str(array.time_attrs.get("units", "")))[0]


def grid_of_pairs(lr: Trajectory, hr: Trajectory, align: Align | None) -> Grid:
    """Find scale, alignment and direction of the grids of LR and HR.

    Args:
        lr: A movie of LR.
        hr: Its partner.
        align: Alignment for files without coordinates; None if the coordinates must say it.

    Raises:
        UserError: If the sizes or the coordinates do not fit together, or if nothing says how the grids lie.
    """
    (height, width), (rows, columns) = lr.array.shape[3:], hr.array.shape[3:]
    sizes = f"{lr.name} is {height}x{width}, {hr.name} is {rows}x{columns}"
    if rows < height or columns < width:
        raise UserError(f"data.lr: is finer than data.hr ({sizes}); exchange data.lr and data.hr")
    scale = rows // height
    if rows % height or columns % width or columns // width != scale:
        raise UserError(f"data.hr: must be a whole number of times as large as data.lr, the same along y and x ({sizes})")
    if not 1 < scale <= MOST_SCALE_OF_PAIRS:
        raise UserError(f"data.hr: is {scale} times as large as data.lr ({sizes}); must be 2 to {MOST_SCALE_OF_PAIRS} times")
    if height == 1 or width == 1:
        raise UserError(f"data.lr: {lr.name} is {height}x{width}; must be 2 pixels or more along y and x")
    y, x = (_axis_of_pairs(lr, hr, letter, scale, align) for letter in "yx")
    turned = tuple(letter for letter, axis in zip("yx", (y, x), strict=True) if axis.turned)
    return Grid(scale, (y.origin, x.origin), turned, y.found and x.found)


def common_grid(pairs: Sequence[tuple[Trajectory, Trajectory]], align: Align | None) -> Grid:
    """Return the relation of the grids, which all pairs share. Raises UserError if they do not, as `grid_of_pairs` does."""
    grids = {(id(lr.array), id(hr.array)): ((lr, hr), grid_of_pairs(lr, hr, align)) for lr, hr in pairs}
    (_, first), *others = grids.values()
    for (lr, _), grid in others:
        if grid != first:
            raise UserError(
                f"{lr.name}: {grid.describe()}, and {pairs[0][0].name}: {first.describe()}; give files of one pair of grids"
            )
    return first


class _Axis(NamedTuple):
    """One axis of a `Grid`."""

    origin: Origin
    turned: bool
    found: bool


def _axis_of_pairs(lr: Trajectory, hr: Trajectory, letter: str, scale: int, align: Align | None) -> _Axis:
    """Find where LR pixels lie along one axis. Raises UserError if coordinates do not fit together, or nothing says it."""
    coarse, fine = (_coordinate(one.array, letter) for one in (lr, hr))
    middle = (scale - 1) / 2
    if coarse is None or fine is None or (_counts_pixels(coarse) and _counts_pixels(fine)):
        if align is None:
            lacking = hr.name if fine is None and coarse is not None else lr.name
            raise UserError(
                f"{lacking}: has no coordinate of {letter} that says where LR pixels lie; type data.align=cell if each lies "
                f"in the middle of its block, data.align=node if both grids share their end points"
            )
        return _Axis("node" if align == "node" else middle, False, False)
    units = [one.array.coordinate_units(letter) for one in (lr, hr)]
    if all(units) and units[0] != units[1]:
        raise UserError(f"{lr.name}: has {letter} in {units[0]}, {hr.name} in {units[1]}; give both in the same units")
    turned = bool((coarse[-1] > coarse[0]) != (fine[-1] > fine[0]))
    fine = fine[::-1] if turned else fine
    origin = _origin(coarse, fine, scale)
    if origin is None:
        ends = [printable_value(float(v), abs(float(fine[-1] - fine[0]))) for v in (*coarse[[0, -1]], *fine[[0, -1]])]
        raise UserError(
            f"{lr.name}: {letter} from {ends[0]} to {ends[1]} at {len(coarse)} pixels is no grid {scale} times coarser than "
            f"{letter} from {ends[2]} to {ends[3]} at {len(fine)} of {hr.name}; check the coordinates of both"
        )
    if align is not None and origin != ("node" if align == "node" else middle):
        said = "node" if origin == "node" else "cell" if origin == middle else f"LR pixel 0 at HR pixel {origin:.4g}"
        raise UserError(f"data.align={align}: the coordinate {letter} of {lr.name} says {said}; leave data.align out")
    return _Axis(origin, turned, True)


def _coordinate(array: Arrays, letter: str) -> np.ndarray | None:
    """Return the coordinate of an axis, or None if the file has none that grows or falls."""
    values = array.coordinate(letter)
    if values is None or values.dtype.kind not in "iuf" or len(values) < 2:
        return None
    values = values.astype(np.float64)
    steps = np.diff(values)
    if not np.isfinite(values).all() or not ((steps > 0).all() or (steps < 0).all()):
        return None
    return values


def pixel_spacing(array: Arrays) -> tuple[tuple[float | None, float | None], tuple[str, str]]:
    """Return the distance of pixels along y and x, and its units; None and "" where no coordinate says it."""
    steps: list[float | None] = []
    units: list[str] = []
    for letter in "yx":
        values = _coordinate(array, letter)
        known = values is not None and not _counts_pixels(values)
        steps.append(float(np.abs(np.diff(values)).mean()) if known and values is not None else None)
        units.append(array.coordinate_units(letter) if known else "")
    return (steps[0], steps[1]), (units[0], units[1])


def _counts_pixels(values: np.ndarray) -> bool:
    return any(np.array_equal(values, np.arange(len(values)) + first) for first in (0, 1))


def _origin(coarse: np.ndarray, fine: np.ndarray, scale: int) -> Origin | None:
    """Return where LR pixel 0 lies in HR pixels, "node" for shared end points, or None if the two grids do not fit together."""
    sign = 1.0 if fine[-1] > fine[0] else -1.0
    at = np.arange(len(fine), dtype=np.float64)
    position = np.interp(sign * coarse, sign * fine, at)
    low, high = sign * coarse < sign * fine[0], sign * coarse > sign * fine[-1]
    position[low] = (coarse[low] - fine[0]) / (fine[1] - fine[0])
    position[high] = at[-1] + (coarse[high] - fine[-1]) / (fine[-1] - fine[-2])
    count = np.arange(len(coarse))
    if np.abs(position - count * at[-1] / count[-1]).max() <= TOLERANCE:
        return "node"
    shifts = position - count * scale
    origin = float(np.median(shifts))
    if np.abs(shifts - origin).max() > TOLERANCE or not -1 <= origin <= scale:
        return None
    rounded = round(2 * origin) / 2
    return rounded if abs(origin - rounded) <= TOLERANCE else round(origin, 6)
