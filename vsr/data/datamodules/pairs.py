"""Data module of pairs from files: movies on a coarse grid (LR), such as of a coarse simulation, and on a fine grid (HR)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vsr.data.file_movies import FileMovie, set_common_offset, variables_of
from vsr.data.paired import PairedDataModule, PairedMovie
from vsr.data.shared_grid import have_offsets
from vsr.data.splits import Split
from vsr.errors import UserError
from vsr.geometry import PixelGrid, is_cell
from vsr.io.readers.joined import JoinedMovie
from vsr.io.readers.paired import (
    Grid,
    Trajectory,
    common_grid,
    frame_runs,
    lead_times,
    match_trajectories,
    open_trajectories,
    pixel_spacing,
    variable_names,
)
from vsr.io.readers.printable import printable_name, printable_shape
from vsr.io.readers.selection import frame_span
from vsr.io.readers.variables import vectors_among
from vsr.io.time_and_place import coordinates_of, time_and_place
from vsr.models.base import OF_FRAMES
from vsr.types import Movie, TransformName

log = logging.getLogger(__name__)

NAMED = 8  # trajectories of the test, in a message
TESTED = 0.2  # share of the trajectories
Word = Literal["time", "position", "hour", "day_of_year", "latitude", "longitude"]


class PairsDataModule(PairedDataModule):
    """Trajectories of two sets of array files: LR as it is given, HR as the frames to learn.

    Trajectories belong together by their names, which are the values along the axis of trajectories or the names of files, or
    else in the order of the files. Their frames must be of the same times.

    Args:
        lr: Array file of LR; a folder, a pattern such as "*.nc" or a list of files. Files that follow each other in time are
            joined; files that begin at the same time are a trajectory each.
        hr: Array files of HR, in the same form.
        variable: Name of a variable in both, or several names that become channels with a range each.
        lr_variable: Further variables that only LR has: networks see them, each in the range of its training frames, and do not
            give them. Names that are also in `variable` do not count.
        axes: Meaning of the axes of the arrays in both, as in `ClimateDataModule`.
        select: Positions along further dimensions in both, as in `ClimateDataModule`.
        missing: As in `ClimateDataModule`; frames with missing values are refused.
        align: Where LR pixels lie if the files have no coordinates of rows and columns: "cell" (in the middle of their blocks)
            or "node" (both grids share their end points).
        inputs: Further planes that the network sees: "time" (since the first frame of the trajectory, 1 at the last frame of
            training), "position" (y and x from -1 to 1), and from the coordinates of LR "hour" (of UTC), "day_of_year"
            and "longitude" (sine and cosine each) and "latitude".
        bounds: Physical values that become 0 and 1, or such values for some of several variables by name; None for the range of
            the HR training frames.
        transform: "log", "sqrt" or "asinh": networks see and learn the transformed variable, for variables with heavy tails;
            {"q": "log"} transforms some of several variables. None for none.
        vectors: Pairs of variables that are the components of vectors along x and along y, as in [["u", "v"]]: their energy is
            scored, and `ensemble=true` of `vsr upscale` turns them. None for those that names and CF attributes tell.
        walls: True if the outermost rows and columns of HR are walls: the velocity through them is scored. Needs a vector.
        frames: Frames of each trajectory to use: the first N, or [START,STOP].
        learn: Number of frames to learn from, or a share below 1; None for all trajectories that are not tested on.
        test: Number of frames to test on, or a share below 1; None for a fifth of the trajectories.
        val: Share of the learning frames that is held out for validation.
        gap: Number of frames left out between the parts of a single trajectory, which is divided in time.
        max_bytes: Largest size in bytes, as float32, that files may declare.
        shared: Arguments of `SRDataModule`.

    Raises:
        UserError: If a file cannot be read, or if LR and HR do not belong together.
    """

    key = "data=pairs"
    read: list[PairedFileMovie]

    def __init__(
        self,
        *,
        lr: str | list[str],
        hr: str | list[str],
        variable: str | list[str] | None = None,
        lr_variable: str | list[str] | None = None,
        axes: str | None = None,
        select: dict[Any, Any] | None = None,
        missing: float | list[float] | None = None,
        align: Literal["cell", "node"] | None = None,
        inputs: list[Word] | None = None,
        bounds: tuple[float, float] | dict[str, tuple[float, float]] | None = None,
        transform: TransformName | dict[str, TransformName] | None = None,
        vectors: list[list[str]] | None = None,
        walls: bool | None = None,
        frames: int | list[int] | None = None,
        learn: float | None = None,
        test: float | None = None,
        val: float = 0.2,
        gap: int = 0,
        max_bytes: int = 2**40,
        **shared: Any,
    ) -> None:
        super().__init__(inputs=inputs, **shared)
        options = {"variable": variable, "axes": axes, "select": select, "missing": missing, "max_bytes": max_bytes}
        coarse, fine = open_trajectories(lr, **options), open_trajectories(hr, **options)
        pairs = match_trajectories(coarse, fine)
        self.grid = common_grid(pairs, align)
        if self.grid.scale != self.scale:
            raise UserError(
                f"scale={self.scale}: data.hr is {self.grid.scale} times as large as data.lr; type scale={self.grid.scale}"
            )
        self.alignment, self.where = self.grid.alignment, self.grid.describe()
        further = _further_variables(lr, lr_variable, coarse, options)
        self.lr_variables = variable_names(next(iter(further.values())).array) if further else ()
        self.read = [PairedFileMovie(*pair, self.grid, frames, further.get(id(pair[0]))) for pair in pairs]
        self.name = f"{_short_name(lr)} to {_short_name(hr)}"
        self.variables = variables_of([movie.fine for movie in self.read])
        self.declare_bounds(bounds)
        self.declare_transforms(transform)
        if self.transforms and not is_cell(self.alignment, self.scale):
            raise UserError(
                f"{self.name}: data.transform is for pairs whose LR pixels lie in the middle of their blocks; leave it out"
            )
        self._named_vectors = self._find_vectors() if vectors is None else ()
        self.declare_vectors(vectors)
        self.declare_walls(walls)
        self.split = self._split(learn, test, val, gap)

    def _split(self, learn: float | None, test: float | None, val: float, gap: int) -> Split:
        lengths = [movie.shape[1] for movie in self.read]
        if len(lengths) == 1:
            return Split(by="time", learn=0.7 if learn is None else learn, test=0.3 if test is None else test, val=val, gap=gap)
        if len(lengths) == 2:
            raise UserError(
                f"{self.name}: two trajectories cannot be divided into train, val and test; give three or more, or one"
            )
        tested = max(1, round(TESTED * len(lengths)))
        test = float(sum(lengths[-tested:])) if test is None else test
        share = round(test * sum(lengths)) if test < 1 else test
        return Split(by="trajectory", learn=sum(lengths) - share if learn is None else learn, test=test, val=val)

    def _find_vectors(self) -> tuple[tuple[int, int], ...]:
        """Find the channels of the vectors that names and attributes in the files of HR tell."""
        array = self.read[0].fine.array
        reader = (array.parts[0] if isinstance(array, JoinedMovie) else array).reader
        found = vectors_among(self.variables, [reader.details(name).attrs for name in self.variables])
        return tuple((self.variables.index(u), self.variables.index(v)) for u, v in found)

    @property
    def scored_vectors(self) -> tuple[tuple[int, int], ...]:
        """The vectors whose energy is scored: those of `data.vectors`, or those that names tell."""
        return self.vectors or self._named_vectors

    def trajectory_names(self, split: str) -> list[str]:
        """Return the names of the trajectories that are tested on; one that is cut at gaps in time has a segment for each run."""
        return [movie.name for movie in self._tested] if split == self.test_split_name else []

    def movies(self) -> list[Movie]:
        """Return the movies of HR, each with its LR frames."""
        self.offset = set_common_offset([movie.fine for movie in self.read])
        for movie in self.read:
            movie.coarse.offset = self.offset
        found = [movie.further for movie in self.read if isinstance(movie.further, FileMovie)]
        self.lr_offset = set_common_offset(found) if found else 0.0
        self._find_times_and_places()
        if not have_offsets(self._named_vectors, self.offset):
            self.vectors = self.vectors or self._named_vectors
        return [*self.read]

    def setup(self, stage: str | None = None) -> None:
        """Read, check and split the trajectories, and name those of the test; see `PairedDataModule.setup`."""
        if self.sets:
            return
        super().setup(stage)
        names = list(dict.fromkeys(movie.name for movie in self._tested))
        if self.split.by == "trajectory":
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            log.info("test      %s%s", ", ".join(map(printable_name, names[:NAMED])), more)

    def _find_times_and_places(self) -> None:
        """Give each movie the hours, days, latitudes and longitudes of its LR frames. Raises UserError where LR has none."""
        words, found = set(self.inputs) - {"time", "position"}, {}
        for movie in self.read if words else ():
            array, first = movie.coarse.array, movie.coarse.start
            if id(array) not in found:
                found[id(array)] = time_and_place(words, coordinates_of(array), array.name)
            part = slice(first, first + movie.shape[1])
            movie.known = {word: each[part] if word in OF_FRAMES else each for word, each in found[id(array)].items()}

    def pixel_grid_of(self, movie: Movie) -> PixelGrid:
        """Return the size of the HR pixels of a movie, from the coordinates in its file, in the direction of LR."""
        assert isinstance(movie, PairedFileMovie)
        grid = movie.fine.array.pixel_grid
        return grid.turned(self.grid.reversed, *movie.shape[2:])

    def lr_spacing(self) -> tuple[tuple[float | None, float | None], tuple[str, str]]:
        """Return the distance of LR pixels along y and x in the files, None where no coordinate says it, and its units."""
        return pixel_spacing(self.read[0].coarse.array)

    def _read_further(self, movie: Movie, start: int, stop: int) -> Tensor:
        assert isinstance(movie.further, FileMovie)
        return _finite(movie.further, start, stop)

    def storage_step(self, variable: int, largest: float) -> float:
        """Return the largest distance between neighbouring values in the files of HR."""
        arrays = {id(movie.fine.array): movie.fine.array for movie in self.read}
        return max(array.storage_step(variable, largest) for array in arrays.values())


class PairedFileMovie(PairedMovie):
    """HR frames of a trajectory, with the LR frames of the same times; both stay in their files.

    The lead time counts from the first frame of the trajectory in its file; runs end at gaps in time. Reading raises UserError
    for values that are not finite.

    Attributes:
        coarse: The LR frames.
        further: The frames of the variables that only LR has; None without any.
        fine: The HR frames as the file has them.
    """

    lazy = True

    def __init__(
        self, lr: Trajectory, hr: Trajectory, grid: Grid, frames: int | list[int] | None, further: Trajectory | None = None
    ) -> None:
        first, end = frame_span(frames, hr.array.shape[2], hr.name)
        self.coarse, self.fine = (FileMovie(one.array, one.which, first, end) for one in (lr, hr))
        self.coarse.name, self.fine.name = lr.name, hr.name
        self.further = None if further is None else FileMovie(further.array, further.which, first, end)
        self.name, self.meta, self.shape = hr.name, self.fine.meta, self.fine.shape
        self.lr_shape = self.coarse.shape
        self.turned = [{"y": -2, "x": -1}[letter] for letter in grid.reversed]
        lead, self.lead_unit = lead_times(hr.array)
        self.lead = lead[first:end]
        self.lead_step = float(np.median(np.diff(lead))) if len(lead) > 1 else 1.0
        self.runs = [(max(a, first) - first, min(b, end) - first) for a, b in frame_runs(hr.array) if max(a, first) < min(b, end)]
        known = (lr.array.coordinate(letter) for letter in "yx")
        self.runs_up = [None if values is None or len(values) < 2 else bool(values[-1] > values[0]) for values in known]

    def read(self, start: int, stop: int) -> Tensor:
        """Read HR frames start..stop-1, (C, t, H, W), in physical units minus the offset, in the direction of LR."""
        frames = _finite(self.fine, start, stop)
        return frames.flip(self.turned) if self.turned else frames

    def read_lr(self, start: int, stop: int) -> Tensor:
        """Read LR frames start..stop-1, (C, t, h, w), in physical units minus the offset."""
        return _finite(self.coarse, start, stop)


def _finite(movie: FileMovie, start: int, stop: int) -> Tensor:
    """Read frames. Raises UserError for values that are not finite."""
    frames = movie.read(start, stop)
    whole = torch.isfinite(frames).all(dim=3).all(dim=2).all(dim=0)
    if not whole.all():
        at = movie.start + start + int((~whole).nonzero()[0])
        raise UserError(
            f"{movie.name}: frame {at} holds NaN or infinite values; data=pairs needs values everywhere, fill them in both"
        )
    return frames


def _further_variables(
    lr: str | list[str], names: str | list[str] | None, coarse: Sequence[Trajectory], options: dict[str, Any]
) -> dict[int, Trajectory]:
    """Open the variables that only LR has.

    Args:
        lr: The files of LR.
        names: Names of variables; those of `coarse` do not count.
        coarse: The trajectories of LR.
        options: Arguments of `open_trajectories`.

    Returns:
        The `id` of each trajectory of LR -> its frames of these variables; empty if `names` is None.

    Raises:
        UserError: If there is no such variable, or if its frames are not those of the other variables of LR.
    """
    if names is None:
        return {}
    given = [names] if isinstance(names, str) else list(names)
    own = [name for name in dict.fromkeys(given) if name not in variable_names(coarse[0].array)]
    if not own:
        typed = ",".join(map(printable_name, given))
        raise UserError(f"data.lr_variable=[{typed}]: names no variable beside data.variable; leave it out")
    try:
        found = open_trajectories(lr, **options | {"variable": own})
    except UserError as error:
        raise type(error)(str(error).replace("data.variable", "data.lr_variable")) from error
    for one, other in zip(coarse, found, strict=False):
        sizes = [(each.array.shape[0], *each.array.shape[2:]) for each in (one, other)]
        if sizes[0] != sizes[1] or other.array.shape[1] != len(own):
            raise UserError(
                f"{other.name}: is {printable_shape(other.array.shape)} (movies, channels, frames, rows, columns), {one.name} is "
                f"{printable_shape(one.array.shape)}; data.lr_variable takes arrays of the same frames"
            )
    return {id(one): other for one, other in zip(coarse, found, strict=True)}


def _short_name(path: str | Sequence[str]) -> str:
    return Path(path).expanduser().name if isinstance(path, str) else f"{Path(path[0]).name} and {len(path) - 1} more"
