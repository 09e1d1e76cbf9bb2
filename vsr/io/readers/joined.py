"""Movies that lie in many files: one file per month, per run or per frame."""

from __future__ import annotations

import glob
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from vsr.errors import UserError
from vsr.geometry import PixelGrid
from vsr.io.formats import readable_suffixes
from vsr.io.readers.base import import_reader_library
from vsr.io.readers.open import ArrayMovie, open_listing, open_movie
from vsr.io.readers.pictures import SUFFIXES as PICTURE_SUFFIXES
from vsr.io.readers.pictures import natural_picture_order
from vsr.io.readers.printable import printable_name, printable_shape
from vsr.io.readers.video import SUFFIXES as VIDEO_SUFFIXES
from vsr.io.readers.zarr_store import is_zarr_store
from vsr.system.address import Address, path_or_address

OPEN_FILES = 16  # files of a joined movie that are open at a time
GAP = 1.5  # usual steps of time from which on a step is a gap; months differ by 1.11


class JoinedMovie:
    """Movies whose frames lie in several files, one behind the other in time. Few of the files are open at a time.

    Args:
        parts: The movies of the files, in the order of time; they have the same axes and sizes except for the number of frames.
        skipped: Number of frames at the beginning of each part that the part before has, too.

    Attributes:
        name: The files, for error messages and figures.
        shape: (movies, C, T, H, W).
        axes: Meaning of each index of the arrays, e.g. "tyx".
        meta: As in `ArrayMovie`, of the first file.
    """

    def __init__(self, parts: Sequence[ArrayMovie], skipped: Sequence[int]) -> None:
        first = parts[0]
        self.parts, self._skipped = list(parts), list(skipped)
        lengths = [part.shape[2] - skip for part, skip in zip(parts, skipped, strict=True)]
        self._ends = list(accumulate(lengths))
        movies, channels, _, height, width = first.shape
        self.shape = (movies, channels, self._ends[-1], height, width)
        self.name = f"{first.name} and {len(parts) - 1} more files"
        self.axes, self.meta, self.time_attrs, self.coordinates = first.axes, first.meta, first.time_attrs, first.coordinates
        self._open: list[int] = []

    def read(
        self, movie: int, start: int, stop: int, offset: float | Sequence[float] = 0.0, dtype: DTypeLike = np.float32
    ) -> np.ndarray:
        """Read the frames start..stop-1 of the movie with index `movie`; see `ArrayMovie.read`."""
        pieces = []
        at = start
        while at < stop:
            number = bisect_right(self._ends, at)
            if number == len(self.parts):
                raise IndexError(f"{self.name}: frames {start}..{stop} are not in {self.shape}")
            before = self._ends[number - 1] if number else 0
            last = min(stop, self._ends[number])
            shift = self._skipped[number] - before
            pieces.append(self._part(number).read(movie, at + shift, last + shift, offset, dtype))
            at = last
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)

    def times(self) -> np.ndarray | None:
        """Return the time of each frame, in the units of the first file, or None if a file has no times."""
        every = common_times(self.parts)
        if every is None:
            return None
        return np.concatenate([times[skip:] for times, skip in zip(every, self._skipped, strict=True)])

    def coordinate(self, letter: str) -> np.ndarray | None:
        """Return the coordinate of an axis of the first file; see `ArrayMovie.coordinate`."""
        return self.parts[0].coordinate(letter)

    def coordinate_units(self, letter: str) -> str:
        """Return the units of a coordinate of the first file; see `ArrayMovie.coordinate_units`."""
        return self.parts[0].coordinate_units(letter)

    @property
    def pixel_grid(self) -> PixelGrid:
        """The size of the pixels of the first file."""
        return self.parts[0].pixel_grid

    def storage_step(self, variable: int, largest: float) -> float:
        """Return the largest step of the files; see `ArrayMovie.storage_step`."""
        return max(part.storage_step(variable, largest) for part in self.parts)

    def _part(self, number: int) -> ArrayMovie:
        if number in self._open:
            self._open.remove(number)
        elif len(self._open) >= OPEN_FILES:
            self.parts[self._open.pop(0)].reader.close()
        self._open.append(number)
        return self.parts[number]


def files_of_movie(path: str | Sequence[str]) -> list[Path]:
    """List the files that a path means: a file or Zarr store, the files of a folder, of a pattern such as '*.nc', or of a list.

    The files of a folder or a pattern come in the natural order of their names: a2 before a10.

    Raises:
        UserError: If there is no such file.
    """
    if not isinstance(path, str):
        files = [file for each in path for file in files_of_movie(str(each))]
        if not files:
            raise UserError("data.path=[] names no file; type data.path=FILE")
        return files
    given = path_or_address(path)
    if isinstance(given, Address):
        return [given]
    if given.is_dir() and not is_zarr_store(given):
        return _files_of_folder(given)
    if not given.exists() and re.search(r"[*?\[]", path):
        found = [Path(name) for name in glob.glob(str(given), recursive=True)]
        if not found:
            raise UserError(f"{path}: no file fits this pattern; type ls {path} to see what is there")
        return sorted(found, key=natural_order)
    return [given]


def _files_of_folder(folder: Path) -> list[Path]:
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    known = [entry for entry in entries if entry.suffix.lower() in readable_suffixes()]
    other = [entry for entry in entries if entry.is_file() and not re.search(r"\.[a-zA-Z]\w{0,7}$", entry.name)]
    found = known or other  # names without an ending, such as wrfout_d01_2020-01-01_00:00:00
    if found:
        return sorted(found, key=natural_order)
    seen = {entry.suffix.lower() for entry in entries}
    if seen & {*VIDEO_SUFFIXES, *PICTURE_SUFFIXES}:
        raise UserError(f"{folder}: a folder of videos or pictures, not of arrays; type data=movies data.path={folder}")
    inside = {found.suffix for found in folder.glob("*/*") if found.suffix.lower() in readable_suffixes()}
    advice = f"type '{folder}/*/*{min(inside)}' for the files in its folders" if inside else "give a file or a folder of files"
    raise UserError(f"{folder}: a folder without a file of arrays, and no Zarr store; {advice}")


def natural_order(path: Path) -> list[Any]:
    """Return a key that sorts paths folder by folder in natural order: a2 before a10."""
    return [natural_picture_order(Path(part)) for part in path.parts]


def open_movies(
    path: str | Sequence[str],
    *,
    variable: str | list[str] | None,
    axes: str | None,
    select: Mapping[Any, Any] | None = None,
    missing: float | Sequence[float] | None = None,
    max_bytes: int = 2**40,
    apart: bool = False,
) -> list[ArrayMovie | JoinedMovie]:
    """Open the movies of one file or of many, which are joined in the order of time.

    Args:
        path: A file, a folder of files, a pattern, or a list of them; see `files_of_movie`.
        variable: As in `open_movie`. A name with * or ? stands for every array that fits, each a movie of its own: "*/data".
        axes: As in `open_movie`.
        select: As in `open_movie`.
        missing: As in `open_movie`.
        max_bytes: As in `open_movie`, for all files together.
        apart: True to keep files apart that do not continue each other in time, as runs of a simulation; each is a movie then.

    Raises:
        UserError: If a file cannot be used, or the files do not fit together.
    """
    files = files_of_movie(path)
    names: list[str | list[str] | None] = [variable]
    if isinstance(variable, str) and re.search(r"[*?]", variable):
        listed = [found.name for found in open_listing(files[0]).variables]
        names = [*sorted((name for name in listed if fnmatchcase(name, variable)), key=lambda name: natural_order(Path(name)))]
        if not names:
            known = ", ".join(map(printable_name, listed[:8]))
            raise UserError(f"{files[0]}: data.variable={variable}: no array has such a name; it has {known}")
    found: list[ArrayMovie | JoinedMovie] = []
    for name in names:
        parts = []
        for file in files:
            part = open_movie(file, variable=name, axes=axes, select=select, missing=missing, max_bytes=max_bytes)
            if len(files) > OPEN_FILES:
                part.reader.close()
            parts.append(part)
        found += parts if len(parts) == 1 or (apart and _are_apart(parts)) else [_joined(parts)]
    total = sum(4 * int(np.prod(movie.shape, dtype=object)) for movie in found)
    if total > max_bytes:
        raise UserError(f"{files[0]} and {len(files) - 1} more files: larger than data.max_bytes={max_bytes}; type {total}")
    return found


def _joined(parts: list[ArrayMovie]) -> JoinedMovie:
    """Join movies along time: by their times, or else in the given order. Raises UserError if they do not fit together."""
    first = parts[0]
    for part in parts[1:]:
        ours, theirs = ((m.axes, m.meta["units"], *m.shape[:2], *m.shape[3:]) for m in (first, part))
        if ours != theirs:
            coarse, fine = sorted((first, part), key=lambda movie: movie.shape[3])
            pair = first.shape[3:] != part.shape[3:] and len(parts) == 2
            raise UserError(
                f"{part.name} ({printable_shape(part.shape)}, axes {part.axes}, units {part.meta['units']}) does not continue "
                f"{first.name} ({printable_shape(first.shape)}, axes {first.axes}, units {first.meta['units']}); "
                f"give files of one grid and one variable"
                + (f"; for a coarse and a fine run: vsr inspect {coarse.reader.path} --hr {fine.reader.path}" if pair else "")
            )
    every = common_times(parts)
    if every is None:
        return JoinedMovie(parts, [0] * len(parts))
    anew = len({times[0] for times in every}) < len(parts) or any((np.diff(times) <= 0).any() for times in every)
    if anew and first.times_by_name is not None:  # such as the time since the start of each run; a note tells of it
        return JoinedMovie(parts, [0] * len(parts))
    return _in_order_of_time(parts, every)


def _are_apart(parts: Sequence[ArrayMovie]) -> bool:
    """Return True if files have no times, if two begin at the same time, or if there is a gap behind each of them."""
    every = common_times(parts)
    if every is None or len({float(times[0]) for times in every}) < len(parts):
        return True
    ordered = sorted(every, key=lambda times: float(times[0]))
    usual = float(np.median(np.concatenate([np.diff(times) for times in every]))) if max(map(len, every)) > 1 else np.inf
    return all(after[0] - before[-1] > GAP * usual for before, after in pairwise(ordered))


def _in_order_of_time(parts: Sequence[ArrayMovie], every: Sequence[np.ndarray]) -> JoinedMovie:
    """Join movies with the times `every`; frames that two of them share are used once. Raises UserError for other overlaps."""
    for part, times in zip(parts, every, strict=True):
        if (np.diff(times) <= 0).any():
            at = int(np.flatnonzero(np.diff(times) <= 0)[0])
            raise UserError(f"{part.name}: time goes back or repeats at frame {at + 1}; sort the file by time")
    order = sorted(range(len(parts)), key=lambda i: every[i][0])
    skipped = [0]
    for before, after in pairwise(order):
        repeated = int((every[after] <= every[before][-1]).sum())
        if repeated == len(every[after]) or not np.isin(every[after][:repeated], every[before]).all():
            raise UserError(
                f"{parts[after].name}: its times lie within those of {parts[before].name}; give files that follow each other"
            )
        skipped.append(repeated)
    return JoinedMovie([parts[i] for i in order], skipped)


def common_times(parts: Sequence[ArrayMovie]) -> list[np.ndarray] | None:
    """Return the times of the frames of several movies, in the units of the first, or None if one has no times."""
    every = [part.times() for part in parts]
    if any(times is None or times.dtype.kind not in "iuf" for times in every):
        return None
    told = [(str(part.time_attrs.get("units", "")), str(part.time_attrs.get("calendar", "standard"))) for part in parts]
    numbers = [np.asarray(times, np.float64) for times in every]
    if len(set(told)) == 1:
        return numbers
    if not all(" since " in units for units, _ in told):
        return None
    import_reader_library("cftime", "joining files with different units of time", "netcdf")
    return [converted_times(times, each, told[0]) for times, each in zip(numbers, told, strict=True)]


def converted_times(times: np.ndarray, told: tuple[str, str], wanted: tuple[str, str]) -> np.ndarray:
    """Return times in (units, calendar) `wanted` that are given in `told`. It needs the package cftime."""
    import cftime

    times, *others = known_units(times, *told)
    _, units, calendar = known_units(times, *wanted)
    found = np.asarray(cftime.date2num(cftime.num2date(times, *others), units, calendar), np.float64)
    return found if units == wanted[0] else found * 1000


def known_units(times: np.ndarray, units: str, calendar: str) -> tuple[np.ndarray, str, str]:
    """Return times in units that cftime knows: microseconds for nanoseconds, in which pandas and xarray may write them."""
    word, since, epoch = units.partition(" since ")
    if word.strip().lower() in ("nanoseconds", "nanosecond", "ns"):
        return np.asarray(times, np.float64) / 1000, f"microseconds{since}{epoch}", calendar
    return times, units, calendar


def time_runs(times: np.ndarray | None, length: int, units: str = "") -> tuple[list[tuple[int, int]], list[str]]:
    """Divide a movie at gaps of its times.

    Args:
        times: The time of each frame, or None if the file has none.
        length: Number of frames.
        units: Units of the times. Dates as numbers ("day as %Y%m%d.%f") have no steps that could be compared.

    Returns:
        The runs (start, stop) of two or more frames without a gap, and sentences on gaps and repeated times for the user.
    """
    if times is None or length < 3 or "%" in units or times.dtype.kind not in "iuf" or not np.isfinite(times).all():
        return [(0, length)], []
    steps = np.diff(times.astype(np.float64))
    notes = []
    if (steps <= 0).any():
        at = int(np.flatnonzero(steps <= 0)[0])
        notes.append(f"time repeats or goes back {int((steps <= 0).sum())} times, first at frame {at + 1}")
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    gaps = np.flatnonzero(steps > GAP * usual) if usual else np.array([], int)
    if len(gaps) > len(steps) // 2:  # frames that are not evenly spaced at all have no gaps
        return [(0, length)], [*notes, "frames are not evenly spaced in time"]
    edges = [0, *(int(at) + 1 for at in gaps), length]
    runs = [(start, stop) for start, stop in pairwise(edges) if stop - start > 1]
    if len(gaps):
        lost = round(float((steps[gaps] / usual - 1).sum()))
        alone = len(edges) - 1 - len(runs)
        left_out = f", and {alone} single frames between gaps are left out" if alone else ""
        notes.append(
            f"{len(gaps)} gaps in time, where about {lost} frames are missing, first behind frame {int(gaps[0])}; no clip "
            f"crosses a gap{left_out}"
        )
    return runs, notes
