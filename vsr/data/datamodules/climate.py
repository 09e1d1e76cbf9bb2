"""Data module of fields in a file of the user, or of simulated shallow-water heights that are generated once and cached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from vsr.data.base import SRDataModule
from vsr.data.cache import cache_path, generate_in_parallel, load_cached_or_generate
from vsr.data.file_movies import FileMovie, file_movies, set_common_offset, variables_of
from vsr.data.shared_grid import have_offsets
from vsr.data.simulation.families import FAMILIES, SimulationJob, simulate_family
from vsr.data.splits import TRAJECTORY, Split, count_trajectories
from vsr.degradations.border import Periodic
from vsr.errors import UserError
from vsr.geometry import SQUARE, PixelGrid
from vsr.io.readers.joined import JoinedMovie, open_movies
from vsr.io.readers.printable import printable_name, printable_shape
from vsr.io.readers.variables import variables_on_one_grid, vectors_among
from vsr.io.static_fields import StaticField, open_static_fields, ticks_of
from vsr.io.time_and_place import at_lr_pixels, coordinates_of, time_and_place
from vsr.models.base import INPUT_PLANES, OF_FRAMES
from vsr.types import Movie, TransformName

Word = Literal["position", "hour", "day_of_year", "latitude", "longitude"]
PLACES = ("position", "latitude", "longitude")  # the words that tell a pixel from its mirror image
Symmetry = Literal["flip_y", "flip_x", "half_turn", "transpose", "quarter_turn"]
VERSION = 2  # of the generator; raise it when the same parameters give other values, so that no stale cache is read
STORED = (-10.0, 10.0)  # the range of the report's own file
LEARN, TEST = 150, 80  # frames of a simulated data set, unless data.learn and data.test say otherwise
FIELDS = ("h", "u", "v", "bed")  # of each trajectory, in the cached file


class ClimateDataModule(SRDataModule):
    """Movies of an array file, or simulated shallow water: depths scaled to (-10, 10).

    Args:
        path: Array file (.mat 4 to 7.3, HDF5, NetCDF, Zarr, .npy or .npz); a folder, a pattern such as "*.nc" or a list of files,
            which are joined along time; None simulates shallow water.
        variable: Name of a variable in the file, or several names that become channels; None for a file with one variable. A
            name with * stands for several variables that are a movie each: "*/data". None also takes all variables of a file that
            names its dimensions, if they lie on one grid.
        axes: Meaning of the array's axes in the file's order, from n (movies), c (channels), t, y, x: "tyx", "xyt", "nyxt", ...
            None for a file that names its dimensions.
        select: Dimension -> value, for an array with more dimensions than a movie: {"level": 500} takes the level 500, {"level":
            {"index": 0}} the first level, {"member": "all"} every member as a movie of its own.
        missing: Physical value, or values, that mean "missing", besides those that the file declares; they become NaN.
        bounds: Physical values that become 0 and 1; None for the range of the training frames (simulated: -10, 10). Several
            variables have a range each, {"t": (230, 310)} gives some of them.
        transform: "log", "sqrt" or "asinh": networks see and learn the transformed variable, for variables with heavy tails;
            {"q": "log"} transforms some of several variables. None for none.
        vectors: Pairs of variables that are the components of vectors along x and along y, as in [["u", "v"]]; symmetries turn
            them, and poles. None for those that names and CF attributes tell.
        periodic: How frames continue beyond their borders: "x", "y" or "xy" at the opposite side, "globe" along x and beyond
            the poles, "none" not at all. None for what the coordinates of the file say; simulated frames do not continue.
        lr_variable: Further variables of the file that networks see at LR, each in the range of its training frames, and do not
            give.
        inputs: Further planes that networks see, from the coordinates of the file: "position" (y and x from -1 to 1), "hour" (of
            UTC) and "day_of_year" (sine and cosine each), "latitude", "longitude" (sine and cosine).
        static: Static fields on the HR grid that networks see, FILE:VARIABLE or FILE each; "bed" for the bed of simulated flows.
        symmetries: Symmetries that leave the law of the file's field unchanged; each is applied to half of the batches.
        by: "time" cuts every movie of the file, "trajectory" gives whole movies to each part. None is "trajectory" for a file
            of four or more movies, otherwise "time". Simulated trajectories are never cut.
        frames: Frames of each movie to use: the first N, or [START,STOP], which leaves out a spin-up; None for all. Number of
            frames of each simulated trajectory; None for 10.
        max_bytes: Largest size in bytes, as float32, that a file may declare.
        walls: True if the outermost rows and columns of a file are walls: the velocity of its vectors through them is scored.
        geostrophic: True if the file's field is the height of a fluid on a rotating plane, so that its vorticity is scored too.
        family: "tide" (hydraulic jumps in a tidal flow over hills), "bores" (collapsing columns of water), "turbulence"
            (rotating eddies), "strong_tide" (stronger forcing) or "thin_bores" (larger depth ratio).
        size: Number of pixels per side of a simulated frame.
        sampling: Solver cells per pixel: the solver has size * sampling cells per side, and every sampling-th cell is kept.
        seed: Seed of all simulated trajectories.
        learn: Number of frames to learn from, or for a file a share below 1; None for 150 simulated frames or 0.7 of a file.
        test: Number of frames to test on, or for a file a share below 1; None for 80 simulated frames or 0.3 of a file.
        val: Share of the learning frames that is held out for validation.
        gap: Number of frames left out between the parts.
        cache: Folder of simulated files; None for $VSR_CACHE or ~/.cache/vsr.
        mask: As in `SRDataModule`; None takes land and other pixels that are NaN in all frames.
        shared: Arguments of `SRDataModule`.

    Raises:
        UserError: If a file cannot be read, or if the frames cannot be simulated.
    """

    def __init__(
        self,
        *,
        path: str | list[str] | None = None,
        variable: str | list[str] | None = None,
        axes: str | None = None,
        select: dict[Any, Any] | None = None,
        missing: float | list[float] | None = None,
        bounds: tuple[float, float] | dict[str, tuple[float, float]] | None = None,
        transform: TransformName | dict[str, TransformName] | None = None,
        vectors: list[list[str]] | None = None,
        periodic: Periodic | None = None,
        walls: bool | None = None,
        lr_variable: str | list[str] | None = None,
        inputs: list[Word] | None = None,
        static: str | list[str] | None = None,
        symmetries: list[Symmetry] | None = None,
        by: Literal["time", "trajectory"] | None = None,
        frames: int | list[int] | None = None,
        max_bytes: int = 2**40,
        geostrophic: bool = False,
        family: Literal["tide", "bores", "turbulence", "strong_tide", "thin_bores"] = "tide",
        size: int = 72,
        sampling: int = 3,
        seed: int = 0,
        learn: float | None = None,
        test: float | None = None,
        val: float = 0.2,
        gap: int = 0,
        cache: str | None = None,
        mask: bool | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(mask=mask, **shared)
        self.flows: SimulatedFlows | None = None
        self.periodic = periodic
        self.inputs = tuple(word for word in INPUT_PLANES if word in (inputs or ()))
        fields = [static] if isinstance(static, str) else list(static or ())
        if path is None:
            self.crop = self.crop or False  # the size is typed, too
            if walls:
                raise UserError("data.walls=true: is for a file; simulated flows go on at the opposite border; leave it out")
            _check_simulated_inputs(lr_variable, self.inputs, fields)
            if frames is not None and not isinstance(frames, int):
                raise UserError(f"data.frames={list(frames)}: is for a file; type data.frames=N for simulated trajectories")
            learned, tested, frames = LEARN if learn is None else learn, TEST if test is None else test, frames or TRAJECTORY
            counts = count_trajectories(learned, tested, frames)
            self.flows = SimulatedFlows(family, size, sampling, seed, counts, frames, cache)
            self.name, self.bounds, self.geostrophic = f"{family}-{VERSION}", STORED, family == "turbulence"
            self.symmetries = () if self.inputs else self.flows.flow.symmetries
            self.static_names = tuple(fields)
            self.split = Split(by="trajectory", learn=learned, test=tested, val=val)
            self.declare_transforms(transform)
            self.declare_vectors(vectors)
            return
        chosen, left_out = ([], []) if variable is not None else variables_on_one_grid(path, select)
        variable = chosen if len(chosen) > 1 else next(iter(chosen), variable)
        self.read = file_movies(path, variable, axes, select, missing, frames, max_bytes)
        if chosen:
            self.choices.append(_chosen_variables(chosen, left_out))
        self.name = Path(path).expanduser().name if isinstance(path, str) else f"{Path(path[0]).name} and {len(path) - 1} more"
        self.symmetries = tuple(symmetries or ())
        if self.symmetries and (places := [word for word in self.inputs if word in PLACES]):
            raise UserError(
                f"data.symmetries=[{','.join(self.symmetries)}]: with data.inputs=[{','.join(places)}], a mirrored frame lies at "
                f"another place; leave one of the two out"
            )
        self.geostrophic = geostrophic
        self.variables = variables_of(self.read)
        self.declare_bounds(bounds)
        self.declare_transforms(transform)
        self._chosen_vectors = self._find_vectors() if vectors is None else []
        self.declare_vectors(self._chosen_vectors or vectors)
        self.declare_walls(walls)
        options = {"axes": axes, "select": select, "missing": missing, "max_bytes": max_bytes}
        self.lr_variables = self._open_further(path, lr_variable, options)
        self._given_fields = open_static_fields(fields)
        self.static_names = tuple(field.name for field in self._given_fields)
        whole = by == "trajectory" or (by is None and len(self.read) >= 4)
        rule: Literal["time", "trajectory"] = "trajectory" if whole else "time"
        self.split = Split(by=rule, learn=0.7 if learn is None else learn, test=0.3 if test is None else test, val=val, gap=gap)

    def use_static_fields(self, fields: Sequence[StaticField]) -> None:
        """Take static fields in place of those of `static`. Raises UserError for simulated flows."""
        if self.flows is not None:
            super().use_static_fields(fields)
        self._given_fields, self.static_names = list(fields), tuple(field.name for field in fields)

    def movies(self) -> list[Movie]:
        """Return the file's movies, or the simulated trajectories: first those to learn from, then those to test on."""
        if self.flows is not None:
            return self.flows.trajectories(bed=bool(self.static_names))
        self.offset = set_common_offset(self.read)
        further = [movie.further for movie in self.read if isinstance(movie.further, FileMovie)]
        self.lr_offset = set_common_offset(further) if further else 0.0
        self._find_inputs()
        if self._chosen_vectors and have_offsets(self.vectors, self.offset):
            self.vectors = ()
        elif self._chosen_vectors:
            shown = " and ".join(",".join(map(printable_name, pair)) for pair in self._chosen_vectors)
            self.choices.append(f"{shown} turn as vectors (data.vectors=[] if not)")
        return [*self.read]

    def _find_vectors(self) -> list[list[str]]:
        """Find the variables that are components of vectors."""
        array = self.read[0].array
        reader = (array.parts[0] if isinstance(array, JoinedMovie) else array).reader
        return vectors_among(self.variables, [reader.details(name).attrs for name in self.variables])

    def _open_further(self, path: str | list[str], given: str | list[str] | None, options: dict[str, Any]) -> tuple[str, ...]:
        """Open the variables that networks see at LR and do not give, and return their names.

        Raises:
            UserError: If there is no such variable, if it is also learned, or if its frames are not those of the others.
        """
        names = [given] if isinstance(given, str) else list(given or ())
        if not names:
            return ()
        first = self.read[0].meta["variable"]
        learned = [first] if isinstance(first, str) else list(first)
        if both := [name for name in names if name in learned]:
            raise UserError(
                f"data.lr_variable=[{','.join(map(printable_name, names))}]: {printable_name(both[0])} is also learned "
                f"(data.variable); leave it out of one of the two"
            )
        try:
            arrays = open_movies(path, variable=list(dict.fromkeys(names)), **options)
        except UserError as error:
            raise type(error)(str(error).replace("data.variable", "data.lr_variable")) from error
        own = list({id(movie.array): movie.array for movie in self.read}.values())
        for one, other in zip(own, arrays, strict=False):
            if len(own) != len(arrays) or (one.shape[0], *one.shape[2:]) != (other.shape[0], *other.shape[2:]):
                raise UserError(
                    f"{other.name}: is {printable_shape(other.shape)} (movies, channels, frames, rows, columns), {one.name} is "
                    f"{printable_shape(one.shape)}; data.lr_variable takes arrays of the same frames"
                )
        of = {id(one): other for one, other in zip(own, arrays, strict=True)}
        for movie in self.read:
            movie.further = FileMovie(of[id(movie.array)], movie.which, movie.start, movie.start + movie.shape[1])
        return tuple(dict.fromkeys(names))

    def _find_inputs(self) -> None:
        """Give each movie of the file its static fields, and what the words of `inputs` mean for its frames."""
        words, found = set(self.inputs) - {"position"}, {}
        if not self.inputs and not self._given_fields:
            return
        first = coordinates_of(self.read[0].array)
        ends = ticks_of(first["y"], first["x"])
        self.runs_up = [None if values is None else bool(values[-1] > values[0]) for values in ends]
        origin = float(self.degradation.origin(self.scale))
        grids: list[list[StaticField]] = []
        for movie in self.read:
            if id(movie.array) not in found:
                of = coordinates_of(movie.array)
                height, width = (n // self.scale * self.scale for n in movie.shape[2:])
                y, x = (of[letter]._replace(values=_first(of[letter].values, n)) for letter, n in (("y", height), ("x", width)))
                coarse = {
                    "t": of["t"],
                    "y": at_lr_pixels(y, height // self.scale, self.scale, origin),
                    "x": at_lr_pixels(x, width // self.scale, self.scale, origin),
                }
                grids.append([field.cut((height, width), ticks_of(y, x), movie.array.name) for field in self._given_fields])
                values = [torch.from_numpy(field.values) for field in grids[-1]]
                found[id(movie.array)] = time_and_place(words, coarse, movie.array.name), torch.stack(values) if values else None
            known, movie.static = found[id(movie.array)]
            part = slice(movie.start, movie.start + movie.shape[1])
            movie.known = {word: value[part] if word in OF_FRAMES else value for word, value in known.items()}
        if all(a.on_grid_of(b) and a.sha256 == b.sha256 for grid in grids for a, b in zip(grid, grids[0], strict=True)):
            self.static_fields = tuple(grids[0])

    def pixel_grid_of(self, movie: Movie) -> PixelGrid:
        """Return the size of the pixels of a movie, from the coordinates in its file."""
        return movie.array.pixel_grid if isinstance(movie, FileMovie) else SQUARE

    def storage_step(self, variable: int, largest: float) -> float:
        """Return the largest distance between neighbouring values in the files; 0 for simulated fields."""
        arrays = {} if self.flows is not None else {id(movie.array): movie.array for movie in self.read}
        return max((array.storage_step(variable, largest) for array in arrays.values()), default=0.0)


class SimulatedFlows:
    """Simulated trajectories of a family of flows, cached in a file whose name contains a hash of all parameters.

    Every trajectory has hills, columns or eddies, and a phase of the tide, of its own.

    Args:
        family: Name of the family of flows.
        size: Number of pixels per side.
        sampling: Solver cells per pixel.
        seed: Seed of all trajectories.
        counts: Number of trajectories to learn from, and to test on.
        frames: Number of frames per trajectory.
        cache: Folder of simulated files; None for the default.

    Raises:
        UserError: If the size cannot be simulated.
    """

    def __init__(
        self, family: str, size: int, sampling: int, seed: int, counts: tuple[int, int], frames: int, cache: str | None
    ) -> None:
        self.family, self.size, self.sampling, self.flow = family, size, sampling, FAMILIES[family]
        if size < 16 or sampling < 1 or size * sampling < 64:
            raise UserError(f"data.size={size} with data.sampling={sampling}: frames need 16 px, the solver 64 cells per side")
        # The trajectories to test on do not depend on the number of those to learn from.
        self.jobs = {
            f"{part}/{k:03d}": SimulationJob(family, (seed, number, k), size * sampling, sampling, frames)
            for number, part in enumerate(("learn", "test"))
            for k in range(counts[number])
        }
        # The hash in the file's name covers everything that the values depend on.
        parameters = {"version": VERSION, "family": repr(replace(self.flow, start=None, symmetries=())), "jobs": repr(self.jobs)}  # type: ignore[arg-type]
        self.path = cache_path(cache, f"climate-{family}-{size}px", parameters)
        self._made: list[Movie] = []

    def trajectories(self, bed: bool = False) -> list[Movie]:
        """Return the movies in the order of the jobs, read from the cache or simulated; with `bed`, it is their static field."""
        if not self._made:
            every = [f"{name}/{field}" for name in self.jobs for field in FIELDS]
            arrays = load_cached_or_generate(self.path, every, self._generate)
            meta: dict[str, Any] = {"units": "scaled depth", "dt": self.flow.interval, "periodic": True}
            self._made = [
                Movie(torch.from_numpy(arrays[f"{name}/h"]).unsqueeze(0), f"{self.path}:{name}", meta) for name in self.jobs
            ]
            for name, movie in zip(self.jobs, self._made, strict=True):
                movie.static = torch.from_numpy(arrays[f"{name}/bed"]).unsqueeze(0) if bed else None
        return self._made

    def _generate(self) -> list[np.ndarray]:
        """Simulate every trajectory and return its depth h (scaled to STORED), u, v and bed, in the order of FIELDS."""
        jobs = list(self.jobs.values())
        label = f"generating climate data ({self.family})"
        try:
            runs = generate_in_parallel(simulate_family, [(job,) for job in jobs], sum(job.frames for job in jobs), label)
        except FloatingPointError as error:
            raise UserError(f"data.family={self.family}, data.size={self.size}: {error}") from error
        low, high = self.flow.range
        arrays = []
        for run in runs:
            stored = STORED[0] + (run.h - low) / (high - low) * (STORED[1] - STORED[0])
            if not (STORED[0] < stored.min() and stored.max() < STORED[1]):
                raise UserError(
                    f"data.family={self.family}: depths of {run.h.min():.3g} to {run.h.max():.3g} leave ({low}, {high}); "
                    f"type another data.seed"
                )
            arrays += [stored.astype(np.float32), run.u, run.v, run.bed]
        return arrays


def _chosen_variables(chosen: Sequence[str], left_out: Sequence[str]) -> str:
    """Describe the variables of a file that are taken where none is named."""
    each = ", each in the range of its training frames" if len(chosen) > 1 else ""
    rest = f", without {', '.join(map(printable_name, left_out))}" if left_out else ""
    return f"takes {', '.join(map(printable_name, chosen))}{rest} (data.variable=[...] for others){each}"


def _first(values: np.ndarray | None, count: int) -> np.ndarray | None:
    return None if values is None else values[:count]


def _check_simulated_inputs(lr_variable: str | list[str] | None, inputs: tuple[str, ...], static: Sequence[str]) -> None:
    """Raise UserError for inputs that simulated flows do not have."""
    if lr_variable:
        raise UserError("data.lr_variable: is for variables of a file; leave it out, or type data.path=FILE")
    if words := [word for word in inputs if word != "position"]:
        raise UserError(f"data.inputs=[{','.join(words)}]: simulated flows have no dates, latitudes or longitudes; leave it out")
    if static and list(static) != ["bed"]:
        raise UserError(
            f"data.static=[{','.join(static)}]: simulated flows have a bed, which is another one in each trajectory; type "
            f"data.static=bed, or data.path=FILE"
        )
