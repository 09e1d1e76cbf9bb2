"""Show the contents of a data file, or of a pair of files, and the command that trains on them: vsr inspect FILE [--hr FILE]."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike

from vsr.errors import UserError
from vsr.io.readers.joined import files_of_movie, open_movies, time_runs
from vsr.io.readers.open import Unspecified, open_listing
from vsr.io.readers.packing import ExtremeValues
from vsr.io.readers.paired import common_grid, frame_runs, lead_times, match_trajectories, open_trajectories, variable_names
from vsr.io.readers.printable import printable_bytes, printable_name, printable_shape, printable_value
from vsr.io.readers.variables import variables_on_one_grid
from vsr.io.readers.video import SUFFIXES as VIDEO_SUFFIXES
from vsr.io.readers.video import read_video_luma
from vsr.models.weights.shipped import WORD, kind_of_field, shipped_for
from vsr.system.address import Address

SAMPLE = 64  # frames
SLICES = 64  # neighbours that are compared along each axis
PAIRS_SHOWN = 6  # names of trajectories
BINS = 40  # of the histogram
BARS, PLAIN_BARS = " ▁▂▃▄▅▆▇█", " .:-=+*#@"  # of nine heights; the others where the terminal does not know the first


class Frames(Protocol):
    """Interface of the frames to inspect: an `ArrayMovie` or a decoded video."""

    shape: tuple[int, int, int, int, int]

    def read(self, movie: int, start: int, stop: int, offset: float = 0.0, dtype: DTypeLike = np.float32) -> np.ndarray: ...


class Decoded:
    """Decoded video in memory: luma (T, H, W), code values 0 to 255."""

    def __init__(self, luma: np.ndarray) -> None:
        self._frames = luma[None]
        self.shape: tuple[int, int, int, int, int] = (1, *self._frames.shape)

    def read(self, movie: int, start: int, stop: int, offset: float = 0.0, dtype: DTypeLike = np.float32) -> np.ndarray:
        return (self._frames[:, start:stop] - offset).astype(dtype)


@dataclass
class Statistics:
    """Statistics of a sample of frames, in physical units.

    Attributes:
        frames: Number of frames in the sample.
        whole: Number of frames in the file.
        low: Smallest finite value. Without finite values, low, high, mean and std are NaN.
        high: Largest finite value.
        mean: Mean of the finite values.
        std: Standard deviation of the finite values.
        nan: Number of NaN values.
        nan_frames: Number of frames with a NaN.
        inf: Number of infinite values.
        inf_frames: Number of frames with an infinite value.
        undeclared: Values that look like a constant for "missing" which the file does not declare, and their counts.
        warning: The same as a sentence, or None.
        change: Root mean square of the difference of consecutive frames, divided by std.
        along: Median correlation of neighbouring slices, by axis: t, y, x.
        histogram: Number of finite values in each of BINS equal parts of the range from low to high.
    """

    frames: int
    whole: int
    low: float
    high: float
    mean: float
    std: float
    nan: int
    nan_frames: int
    inf: int
    inf_frames: int
    undeclared: list[tuple[float, int]]
    warning: str | None
    change: float
    along: dict[str, float]
    histogram: np.ndarray


def inspect_sample(frames: Frames) -> Iterator[tuple[int, int, int]]:
    """Choose a sample of at most SAMPLE frames: all frames, or pairs of consecutive frames spread evenly over the movies.

    Yields:
        Index of the movie, index of the first frame, and index after the last frame.
    """
    movies, length = frames.shape[0], frames.shape[2]
    if movies * length <= SAMPLE:
        yield from ((movie, 0, length) for movie in range(movies))
        return
    pair = min(2, length)
    starts = movies * (length - pair + 1)
    for position in np.unique(np.linspace(0, starts - 1, SAMPLE // 2).astype(int)).tolist():
        movie, start = divmod(position, length - pair + 1)
        yield movie, start, start + pair


def inspect_statistics(frames: Frames) -> Statistics:
    """Compute the statistics of a sample of at most SAMPLE frames."""
    with np.errstate(invalid="ignore"):  # of NaN that signal
        blocks = [frames.read(*run, dtype=np.float64) for run in inspect_sample(frames)]
    values = np.concatenate([block.swapaxes(0, 1) for block in blocks])  # (frames, C, H, W)
    nan, inf = np.isnan(values), np.isinf(values)
    finite = values[~(nan | inf)]
    low, high, mean, std = (
        (float(finite.min()), float(finite.max()), float(finite.mean()), float(finite.std())) if finite.size else (np.nan,) * 4
    )
    with np.errstate(invalid="ignore"):
        steps = np.concatenate([np.diff(block, axis=1).ravel() for block in blocks])
    steps = steps[np.isfinite(steps)]
    change = float(np.sqrt(np.mean(steps**2)) / std) if steps.size and std else np.nan
    extremes = ExtremeValues()
    extremes.add(finite)
    stacks = [block[0] for block in blocks]  # the first channel
    return Statistics(
        frames=len(values),
        whole=frames.shape[0] * frames.shape[2],
        low=low,
        high=high,
        mean=mean,
        std=std,
        nan=int(nan.sum()),
        nan_frames=int(nan.any(axis=(1, 2, 3)).sum()),
        inf=int(inf.sum()),
        inf_frames=int(inf.any(axis=(1, 2, 3)).sum()),
        undeclared=extremes.undeclared_missing(),
        warning=extremes.describe(),
        change=change,
        along={
            "t": _median([c for stack in stacks for c in _neighbours(stack)]),
            "y": _median(_neighbours(values[:, 0].swapaxes(0, 1))),
            "x": _median(_neighbours(values[:, 0].transpose(2, 0, 1))),
        },
        histogram=np.histogram(finite, BINS)[0] if finite.size and np.isfinite(high - low) else np.zeros(BINS, int),
    )


def _neighbours(slices: np.ndarray) -> list[float]:
    """Return the correlations of neighbouring slices along the first axis, for at most SLICES evenly spread pairs."""
    found: list[float] = []
    if len(slices) < 2:
        return found
    for k in np.unique(np.linspace(0, len(slices) - 2, SLICES).astype(int)):
        a, b = slices[k].ravel(), slices[k + 1].ravel()
        both = np.isfinite(a) & np.isfinite(b)
        a, b = a[both], b[both]
        if a.size > 1 and np.ptp(a) > 0 and np.ptp(b) > 0:
            a, b = a - a.mean(), b - b.mean()
            found.append(float(a @ b / np.sqrt((a @ a) * (b @ b))))
    return found


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else np.nan


def _data_arguments(data: str, choices: dict[str, Any], frames: Frames, found: Statistics) -> str:
    """Return the arguments of `vsr train` and `vsr evaluate` that choose the inspected file."""
    from vsr.config.overrides import typed_argument  # imports Hydra, which --help does not need

    words = [typed_argument(f"data.{key}", value) for key, value in choices.items()]
    if found.undeclared and data == "climate" and "missing" not in choices:
        values = [float(f"{value:.7g}") for value, _ in found.undeclared]
        words.append(typed_argument("data.missing", values[0] if len(values) == 1 else values))
    if (found.nan or found.undeclared) and data == "climate":
        words.append("data.mask=true")
    return " ".join([f"data={data}", *words])


def _movie_report(frames: Frames, found: Statistics, check_time: bool, check_missing: bool) -> list[str]:
    """Describe a movie in lines of text, with warnings.

    Args:
        frames: The movie.
        found: Statistics of the movie.
        check_time: Warn if frames are much less alike than rows or columns.
        check_missing: Warn of values that look like a constant for "missing".
    """
    movies, channels, length, height, width = frames.shape
    low, high, mean = (printable_value(value, found.high - found.low) for value in (found.low, found.high, found.mean))
    several = (f", {movies} movies" if movies > 1 else "") + (f", {channels} channels" if channels > 1 else "")
    lines = [
        f"movie: {length} frames of {height}x{width}{several}",
        f"sample: {found.frames} of {found.whole} frames",
        f"  min {low}  max {high}  mean {mean}  std {found.std:.6g}",
        f"  from min to max: |{_bars(found.histogram)}|",
        f"  NaN: {found.nan} values in {found.nan_frames} frames; Inf: {found.inf} values in {found.inf_frames} frames",
        f"  change from frame to frame (rms / std): {found.change:.3g}",
        "  correlation of neighbours: " + ", ".join(f"along {axis} {value:.4f}" for axis, value in found.along.items()),
    ]
    if found.warning is not None and check_missing:
        lines.append(f"warning: {found.warning}")
    # Twice as unlike: along the true axes of a real movie the three are often nearly the same.
    if check_time and 1 - found.along["t"] > 2 * (1 - np.nanmax([found.along["y"], found.along["x"], -1.0])):
        lines.append(
            "warning: neighbouring frames are less alike than neighbouring rows or columns; "
            "check that t stands at the right place in --axes"
        )
    return lines


def _bars(histogram: np.ndarray) -> str:
    """Draw a histogram as a line of text. A part of the range with a value never looks empty."""
    try:
        BARS.encode(sys.stdout.encoding or "ascii")
        bars = BARS
    except UnicodeEncodeError:
        bars = PLAIN_BARS
    heights = np.ceil(histogram / max(1, histogram.max()) * (len(bars) - 1)).astype(int)
    return "".join(bars[height] for height in heights)


def _draw_frames(frames: Frames, path: Path, title: str) -> None:
    """Write a PNG of the first, middle and last frame of the first movie, first channel. Raises UserError if this fails."""
    from matplotlib.figure import Figure

    from vsr.system.files import replacing_file

    last = frames.shape[2] - 1
    chosen = sorted({0, last // 2, last})
    images = [frames.read(0, k, k + 1)[0, 0] for k in chosen]
    values = np.concatenate([image[np.isfinite(image)] for image in images])
    low, high = (values.min(), values.max()) if values.size else (0, 1)
    figure = Figure(figsize=(4 * len(chosen) + 1, 4), layout="constrained")
    axes: Any = figure.subplots(1, len(chosen), squeeze=False)[0]
    for place, image, k in zip(axes, images, chosen, strict=True):
        drawn = place.imshow(image, vmin=low, vmax=high)
        place.set_title(f"frame {k}")
    figure.colorbar(drawn, ax=list(axes))
    figure.suptitle(title, parse_math=False)
    try:
        with replacing_file(path) as temporary:
            figure.savefig(temporary, format="png")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); type --picture FILE in a folder of yours") from error


def _array_contents(path: Path) -> list[str]:
    """Describe a file of arrays in lines of text: its format, every array, and its other content."""
    listing = open_listing(path)
    size = f", {printable_bytes(path.stat().st_size)}" if not isinstance(path, Address) and path.is_file() else ""
    lines = [f"format: {listing.format}{size}"]
    for found in listing.variables:
        dims = f"  ({', '.join(map(printable_name, found.dims))})" if found.dims else ""
        units = f"  [{printable_name(found.units)}]" if found.units else ""
        lines.append(f"  {printable_name(found.name)}  {printable_shape(found.shape)}  {found.dtype}{dims}{units}")
    return lines + [f"  {printable_name(name)}  {problem}" for name, problem in listing.refused.items()]


def _inspect_file(
    given: Sequence[str],
    variable: str | list[str] | None,
    axes: str | None,
    select: Mapping[Any, Any] | None,
    missing: Sequence[float] | None,
    image: Path | None,
) -> None:
    """Print a file's content and the command that trains on it; draw frames to `image`. Raises UserError if that fails."""
    from vsr.config.overrides import typed_argument  # imports Hydra, which --help does not need

    choices: dict[str, Any] = {"path": given[0] if len(given) == 1 else list(given)}
    videos = [Path(name) for name in given if Path(name).suffix.lower() in VIDEO_SUFFIXES]
    files = videos or files_of_movie(given)
    path = files[0]
    frames: Frames
    if path.suffix.lower() in VIDEO_SUFFIXES:
        if not path.is_file():
            raise UserError(f"{path}: no such file; give a file of arrays or a video")
        frames, data, kind = Decoded(read_video_luma(path)), "movies", "film"
        print(printable_name(str(path)), "format: video (luma, code values 0 to 255)", sep="\n")
    else:
        print(printable_name(str(path)), *_array_contents(path), sep="\n")
        try:
            movies = open_movies(choices["path"], variable=variable, axes=axes, select=select, missing=missing)
        except Unspecified as error:
            print(f"movie: not opened; {error}")
            if variable is None:
                _print_all_variables(choices["path"], select)
            return
        frames = movie = movies[0]
        if len(files) > 1:
            print(f"and {len(files) - 1} more files, the last one {printable_name(str(files[-1]))}")
        for note in time_runs(movie.times(), movie.shape[2], str(movie.time_attrs.get("units", "")))[1]:
            print(f"note: {note}")
        if movie.coordinates:
            print(f"coordinates by their names: {', '.join(map(printable_name, movie.coordinates))}")
        choices |= {key: given for key, given in (("variable", variable), ("axes", axes), ("select", select)) if given}
        choices |= {"missing": missing[0] if len(missing) == 1 else missing} if missing else {}
        if methods := movie.meta["attrs"].get("cell_methods"):
            print(f"cell_methods: {printable_name(str(methods))}")
        if "packing" in movie.meta:
            print(f"decoded by its attributes: {printable_name(movie.meta['packing'])}")
        data, kind = "climate", kind_of_field(movie.meta["attrs"])
    found = inspect_statistics(frames)
    lines = _movie_report(frames, found, check_time=axes is not None and data == "climate", check_missing=data == "climate")
    typed = {"input": choices["path"], "variable": variable, "axes": axes, "select": select, "missing": choices.get("missing")}
    words = [typed_argument(key, value) for key, value in typed.items() if value]
    network, arguments = f"{WORD}:{shipped_for(kind, 2).stem}", _data_arguments(data, choices, frames, found)
    print(*lines, f"sharpen without a training: {' '.join(['vsr upscale', *words])}", sep="\n")
    if isinstance(path, Address):
        print("evaluate and train: on files of this machine; download it first")
    else:
        print(f"what is that worth: vsr evaluate checkpoint={network} {arguments}")
        print(f"train: vsr train preset=balanced {arguments}")
    if image is not None:
        _draw_frames(frames, image, path.name)


def _print_all_variables(path: str | Sequence[str], select: Mapping[Any, Any] | None) -> None:
    """Print the command that trains on all variables of one grid, if there are several."""
    from vsr.config.overrides import typed_argument  # imports Hydra, which --help does not need

    with suppress(UserError):
        names, _ = variables_on_one_grid(path, select)
        open_movies(path, variable=names, axes=None, select=select)
        words = [typed_argument(key, value) for key, value in (("data.path", path), ("data.select", select)) if value]
        print(f"train on {', '.join(map(printable_name, names))}: vsr train preset=balanced data=climate {' '.join(words)}")


def _inspect_pair(lr: Sequence[str], hr: Sequence[str], options: dict[str, Any], align: Literal["cell", "node"] | None) -> None:
    """Print how the trajectories, times, variables and grids of LR and HR belong together, and the command that trains on them.

    Args:
        lr: Files of LR.
        hr: Files of HR.
        options: Arguments "variable", "axes", "select" and "missing" of `open_movies`, which are the same for both.
        align: Alignment of files without coordinates.

    Raises:
        UserError: If a file cannot be read, or if LR and HR do not belong together.
    """
    from vsr.config.overrides import typed_argument  # imports Hydra, which --help does not need

    paths = [each[0] if len(each) == 1 else list(each) for each in (lr, hr)]
    if options["variable"] is None:
        options["variable"] = _common_variables(*(files_of_movie(path)[0] for path in paths))
    coarse, fine = (open_trajectories(path, **options) for path in paths)
    for side, path, found in (("LR", lr[0], coarse), ("HR", hr[0], fine)):
        sizes = " or ".join(dict.fromkeys(f"{t.array.shape[2]} frames of {t.array.shape[3]}x{t.array.shape[4]}" for t in found))
        several = f"trajector{'y' if len(found) == 1 else 'ies'}"
        print(f"{side}: {printable_name(path)}: {len(found)} {several} of {sizes}")
    pairs = match_trajectories(coarse, fine)
    grid = common_grid(pairs, align)
    (first, other), *_ = pairs
    keys = [one.key for one, _ in pairs]
    if None not in keys and all(one.key == its.key for one, its in pairs):
        shown = ", ".join(printable_name(str(key)) for key in keys[:PAIRS_SHOWN]) + (", ..." if len(keys) > PAIRS_SHOWN else "")
        print(f"trajectories: match by their names: {shown}")
    else:
        print(f"trajectories: no names in common; matched in their order, the first of LR {first.name} to {other.name}")
    names, units = ([each] if isinstance(each, str | None) else each for each in map(other.array.meta.get, ("variable", "units")))
    each = [*units, *units[:1] * (len(names) - len(units))]  # one unit stands for all
    told = [printable_name(name) + (f" ({printable_name(of)})" if of else "") for name, of in zip(names, each, strict=True)]
    print(f"variables: {', '.join(told)}")
    listed = open_listing(files_of_movie(paths[0])[0]).variables
    further = [found.name for found in listed if len(found.shape) >= 3 and found.name not in variable_names(first.array)]
    if further:
        shown = ",".join(map(printable_name, further))
        print(f"  LR has {shown}, too; data.lr_variable=[{shown}] shows such variables to the network")
    fine_alone = [v.name for v in open_listing(files_of_movie(paths[1])[0]).variables if len(v.shape) >= 3]
    if lacking := [name for name in fine_alone if name not in names and name not in [v.name for v in listed]]:
        shown = ", ".join(map(printable_name, lacking))
        print(f"  HR has {shown}, which LR lacks: no network learns it; give it the same name in both if LR has it")
    lead, unit = lead_times(other.array)
    gaps = len(frame_runs(other.array)) - 1
    span = f"{lead[-1] - lead[0]:.6g} {unit} from the first to the last frame" + (f", {gaps} gaps" if gaps > 0 else "")
    print(f"times: {'not known, frames are counted' if other.array.times() is None else f'the same in both; {span}'}")
    print(f"scale: {grid.scale}", f"alignment: {grid.describe()}", sep="\n")
    for letter in "yx" if grid.found else "":
        sides = []
        for side, one in (("LR", first), ("HR", other)):
            values, dims = one.array.coordinate(letter), one.array.meta["dims"]
            assert values is not None
            ends = [printable_value(float(v), abs(float(values[-1] - values[0]))) for v in values[[0, -1]]]
            name = printable_name(dims[one.array.axes.index(letter)]) if dims else letter
            sides.append(f"{name} of {side} from {ends[0]} to {ends[1]} {one.array.coordinate_units(letter)}".rstrip())
        print(f"  {letter}: {', '.join(sides)}")
    for side, one in (("LR", first), ("HR", other)):
        sample = inspect_statistics(one.array)
        if lost := sample.nan + sample.inf:
            print(
                f"warning: {side}: {lost} values of a sample of {sample.frames} frames are NaN or infinite; data=pairs needs "
                f"values everywhere, fill them in both"
            )
    if len(pairs) == 2:
        print("warning: two trajectories cannot be divided into train, val and test; training takes three or more, or one")
    choices: dict[str, Any] = {"lr": paths[0], "hr": paths[1], "variable": names if len(names) > 1 else names[0]}
    choices |= {key: value for key, value in options.items() if value and key != "variable"} | ({"align": align} if align else {})
    words = [typed_argument(f"data.{key}", value) for key, value in choices.items()]
    print("train: vsr train data=pairs", *words, f"scale={grid.scale} model=unet 'data.inputs=[time,position]'")


def _common_variables(lr: Path, hr: Path) -> str | list[str] | None:
    """Return the names of all arrays that can be movies in both files; None if a file names none, as .npy does."""
    listed = [[v.name for v in open_listing(path).variables if len(v.shape) >= 3] for path in (lr, hr)]
    common = [name for name in listed[0] if name in listed[1]]
    return (common if len(common) > 1 else common[0]) if common and max(map(len, listed)) > 1 else None


def inspect_command(arguments: Sequence[str]) -> None:
    """Run `vsr inspect`: print the content of a file.

    Args:
        arguments: The command line after the name of the command.

    Raises:
        UserError: The file cannot be read.
    """
    parser = argparse.ArgumentParser(prog="vsr inspect", description=__doc__.partition(":")[0] + ".")
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="+",
        help="mat, h5, nc, zarr, npy, npz, or a name without an ending; a folder, a pattern or several files are joined along "
        "time; y4m, mp4, mkv, avi, mov, webm; https:// or s3:// of Zarr, NetCDF-4 and HDF5",
    )
    parser.add_argument(
        "--hr", metavar="FILE", nargs="+", help="HR of a pair: whether FILE, a coarse run, and these files, a fine one, match"
    )
    parser.add_argument("--align", choices=("cell", "node"), help="with --hr: where LR pixels lie in files without coordinates")
    parser.add_argument("--variable", metavar="V", help="name of the array; several with commas become channels")
    parser.add_argument("--axes", metavar="A", help="meaning of each index, from n (movies), c (channels), t, y, x; e.g. tyx")
    parser.add_argument(
        "--select",
        metavar="DIM=VALUE",
        action="append",
        default=[],
        help="one level or member of an array with more dimensions: level=500, level=index:0, member=all (a movie each)",
    )
    parser.add_argument("--missing", metavar="X", type=float, action="append", help='a value that means "missing"')
    parser.add_argument("--picture", metavar="PNG", type=Path, help="write the first, middle and last frame to this file")
    given = parser.parse_args(arguments)
    variable = given.variable.split(",") if given.variable and "," in given.variable else given.variable
    select = dict(_selection(text) for text in given.select)
    if given.hr is not None:
        if given.picture is not None:
            raise UserError("--picture: draws the frames of one file; leave --hr out")
        missing = given.missing and (given.missing[0] if len(given.missing) == 1 else given.missing)
        options = {"variable": variable, "axes": given.axes, "select": select or None, "missing": missing}
        _inspect_pair(given.file, given.hr, options, given.align)
        return
    if given.align is not None:
        raise UserError(f"--align {given.align}: is for pairs; type --hr FILE, too")
    _inspect_file(given.file, variable, given.axes, select, given.missing, given.picture)


def _selection(text: str) -> tuple[str, Any]:
    """Parse a selection of the command line: "level=500" gives ("level", 500). Raises UserError."""
    key, equals, value = text.partition("=")
    if not key or not equals or not value:
        raise UserError(f"--select {text}: must be DIMENSION=VALUE; type e.g. --select level=500")
    if value.startswith("index:") and value[6:].isdigit():
        return key, {"index": int(value[6:])}
    for number in (int, float):
        with suppress(ValueError):
            return key, number(value)
    return key, value
