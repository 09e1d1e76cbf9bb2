"""Base class of all data modules: checks, splits and degradation of HR movies.

A subclass only provides HR movies; docs/guides/adding-a-dataset.md shows how. `SRDataModule.setup` has the steps from movies to
aligned LR and HR frames; split_loaders.py has the loaders of these frames.
"""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vsr.data.channel_values import ChannelValues, merge_transforms, parse_bounds, parse_transforms, parse_vectors
from vsr.data.checks import (
    FixedGaps,
    check_copied_frames,
    check_movie_shape,
    scan_frames_for_checks,
    warn_near_duplicates,
    warn_twins,
)
from vsr.data.frames import Ends, FrameSet, LrHrPair
from vsr.data.inputs import NetworkInputs, read_lr_variables
from vsr.data.lazy_frames import build_frame_set
from vsr.data.lr_statistics import LRStatistics
from vsr.data.masks import fill_masked_pixels
from vsr.data.shared_grid import find_border, find_shared_grid, parse_walls, refuse_cut_walls
from vsr.data.split_loaders import SplitLoaders
from vsr.data.splits import Segment, Split
from vsr.degradations import Degradation
from vsr.degradations.border import Border, Bordered, Periodic, with_border
from vsr.degradations.resize import resize_bicubic_up
from vsr.degradations.scaling import Paired
from vsr.errors import UserError
from vsr.geometry import SQUARE, PixelGrid
from vsr.io.readers.packing import ExtremeValues
from vsr.io.readers.printable import printable_shape
from vsr.io.static_fields import StaticField
from vsr.models.normalize import frame_bounds
from vsr.models.transform import Transform, transforms_to_facts
from vsr.recipe import Recipe
from vsr.types import FrameBounds, Movie, Offset, TransformName, ValueBounds, ValueRange

log = logging.getLogger(__name__)

ALL_SYMMETRIES = ("flip_y", "flip_x", "transpose")  # they generate the rotations too


class SRDataModule(SplitLoaders, ABC):
    """Base class of the data modules, which turn HR movies into splits of aligned LR and HR frames in physical units.

    A subclass takes the arguments below as `**shared` and hands them to this constructor, so that a new shared argument is
    added here alone.

    Args:
        scale: Number of HR pixels per LR pixel along each side.
        degradation: Degradation that makes LR frames from whole HR frames.
        recipe: Training recipe, which sets batch, patch and augmentation of the training loader.
        draw_seed: Seed of the random draws in training (patches, clips, flips).
        crop: True to cut frames at the lower and right border to a multiple of the scale, False to refuse other sizes. None cuts
            them, too, and says so.
        mask: True to fill values that are not finite (land, gaps) and leave them out of loss and scores, False to refuse them.
            None is True, and says so, if the same pixels are NaN in all frames of a movie; other gaps are refused.
        memory: MiB of HR frames per split that are held in memory; a larger split stays in its file and is read in blocks.
    """

    # Subclasses set these.
    name: str
    bounds: ValueBounds | None  # physical values that become 0 and 1; None for the range of the training frames
    split: Split
    variables: tuple[str, ...] = ()  # that are the channels, each with bounds of its own; () for channels with bounds in common
    declared: Mapping[str, ValueRange] = MappingProxyType({})  # bounds of some of `variables`; see declare_bounds()
    transforms: tuple[TransformName | None, ...] = ()  # of each channel, in which networks see it; see declare_transforms()
    symmetries: tuple[str, ...] = ALL_SYMMETRIES  # of SYMMETRIES in loaders.py, those that leave the data's law unchanged
    min_frames = 2  # per movie
    test_split_name = "test"  # name of the test part of `split`
    periodic: Periodic | None = None  # how frames continue beyond their borders; None for what their coordinates say
    vectors: tuple[tuple[int, int], ...] = ()  # channels (u, v) of vectors; see declare_vectors()
    physical = True  # values of a physical field, not code values of pictures
    geostrophic = False  # heights of a fluid on a rotating plane, whose gradient is balanced by the flow
    walls = False  # the outermost rows and columns are walls, which no velocity crosses; see declare_walls()
    # What networks see beside the variables; docs/guides/earth-fields.md.
    inputs: tuple[str, ...] = ()  # words of INPUT_PLANES
    lr_variables: tuple[str, ...] = ()  # names of the variables that only LR has, `Movie.further`
    lr_offset: Offset = 0.0  # their `offset`
    runs_up: Sequence[bool | None] = (None, None)  # for y and x, True if the coordinate grows; None where nothing says it
    static_names: tuple[str, ...] = ()  # of the fields of `Movie.static`
    static_fields: tuple[StaticField, ...] = ()  # the same, if all movies have them in common
    # The caller sets these before setup().
    for_training = True  # whether patches and clips are drawn from the training split
    protocol = "float"  # or "classical"
    ends: Ends = "replicate"  # padding in time at both ends of a movie
    positive = False  # whether negative values are refused, as by consistency=ratio
    lead_length: float | None = None  # time that is 1 in planes of time; None for the longest training trajectory
    lr_bounds: Sequence[Sequence[float]] | None = None  # of each variable that only LR has; None for the training frames' range
    static_scales: Sequence[Sequence[float]] | None = None  # (mean, std) of each static field; None for those of training movies
    offset: Offset = 0.0  # frames hold physical values minus this; set by movies() for values that float32 cannot tell apart
    pixel_grid: PixelGrid = SQUARE  # of HR frames; known after setup()
    border = Border()  # of frames; known after setup()

    def __init__(
        self,
        *,
        scale: int,
        degradation: Degradation,
        recipe: Recipe,
        draw_seed: int = 0,
        crop: bool | None = None,
        mask: bool | None = False,
        memory: float = 1024,
    ) -> None:
        super().__init__(scale=scale, degradation=degradation, recipe=recipe, draw_seed=draw_seed)
        self.crop, self.mask, self.memory = crop, mask, memory
        self.choices: list[str] = []  # what was not typed and is chosen from the data; setup() says it in one note
        self.fitted_transforms: list[Transform | None] = []  # of each channel, measured on the training frames
        self.card: dict[str, Any] = {}

    @abstractmethod
    def movies(self) -> list[Movie]:
        """Return the movies that `split` divides into train, val and test.

        Raises:
            UserError: If a file cannot be used.
        """

    def extra_test_splits(self) -> dict[str, list[Movie]]:
        """Return further test splits: for each name, a list of movies of which all frames are tested."""
        return {}

    def pixel_grid_of(self, movie: Movie) -> PixelGrid:
        """Return the size of the HR pixels of a movie of this data module; by default it is not known."""
        return SQUARE

    def lead_times(self, split: str) -> tuple[np.ndarray, str] | None:
        """Return the time since the first frame of its trajectory of each scored frame of a split, (N,), and its unit.

        None for data whose scores do not depend on this time.
        """
        return None

    def trajectory_names(self, split: str) -> list[str]:
        """Return the names of the trajectories of a test split, in the order of its segments; [] where they have no names."""
        return []

    def lr_statistics(self) -> LRStatistics | None:
        """Measure what upscaling compares LR frames with; None for LR frames that are made from HR. Known after setup."""
        return None

    def storage_step(self, variable: int, largest: float) -> float:
        """Return the distance between neighbouring stored values of a size, in physical units; 0 if storage loses nothing."""
        return 0.0

    @property
    def rounding_steps(self) -> list[float]:
        """Distance between neighbouring values of HR frames, of each range of values: in storage, or in float32 if larger."""
        stored = np.abs(np.atleast_2d(np.array(self.bounds))).max(1)
        frames = np.abs([np.ravel(bound) for bound in self.frame_bounds]).max(0)
        own = [self.storage_step(i, float(largest)) for i, largest in enumerate(stored)]
        return [max(step, float(np.spacing(np.float32(largest)))) for step, largest in zip(own, frames, strict=True)]

    def declare_bounds(self, given: Sequence[float] | Mapping[str, Sequence[float]] | None) -> None:
        """Set `bounds` from what the user gives; call this after `variables` is set.

        Args:
            given: (low, high), for each variable if there are several; or variable -> (low, high), for some of several
                variables. Those that are not given have the range of their training frames.

        Raises:
            UserError: If there is no such variable.
        """
        self.bounds, self.declared = parse_bounds(given, self.variables, self.name)

    def declare_transforms(self, given: TransformName | Mapping[str, TransformName] | None) -> None:
        """Set `transforms` from what the user gives; call this after `variables` is set.

        Args:
            given: A transform, for all channels; or variable -> transform, for some of several variables.

        Raises:
            UserError: If there is no such variable.
        """
        if given is not None:
            self.transforms = parse_transforms(given, self.variables, self.name)

    def declare_vectors(self, given: Sequence[Sequence[str]] | None) -> None:
        """Set `vectors` from pairs of names of variables, along x and along y; call this after `variables` is set.

        Raises:
            UserError: If a vector does not consist of two of the variables, or if two vectors share one.
        """
        if given:
            self.vectors = parse_vectors(given, self.variables, self.name)

    def declare_walls(self, given: bool | None) -> None:
        """Set `walls` from what the user gives; call this after the vectors are known. Raises UserError if there are none."""
        self.walls = parse_walls(given, self.scored_vectors, self.name)

    @property
    def scored_vectors(self) -> tuple[tuple[int, int], ...]:
        """The vectors whose energy is scored: channels (u, v) of each."""
        return self.vectors

    def use_static_fields(self, fields: Sequence[StaticField]) -> None:
        """Take static fields in place of those of the config; call this before setup. Raises UserError if there cannot be any."""
        raise UserError(
            f"static=[{','.join(field.name for field in fields)}]: {self.name} has no static fields of files; leave it out"
        )

    def require_transforms(self, transforms: Sequence[TransformName | None]) -> None:
        """Add the transforms of a network to be scored, one per channel: `setup` refuses values that they do not take."""
        self.transforms = merge_transforms(self.transforms, transforms)

    def complete_bounds(self, found: ValueBounds) -> None:
        """Set the bounds that are not declared to `found`: those of the training frames, or of a network."""
        self.bounds = self.channel_values.complete_bounds(found)

    @property
    def channel_values(self) -> ChannelValues:
        """Bounds and transforms of the channels, as far as they are known now."""
        return ChannelValues(
            name=self.name,
            variables=self.variables,
            bounds=self.bounds,
            declared=self.declared,
            transforms=self.transforms,
            offset=self.offset,
            physical=self.physical,
            positive=self.positive,
            for_training=self.for_training,
        )

    @property
    def network_inputs(self) -> NetworkInputs:
        """Planes, LR variables and static fields that networks see beside the variables, as far as they are known now."""
        return NetworkInputs(
            words=self.inputs,
            runs_up=self.runs_up,
            lr_variables=self.lr_variables,
            lr_offset=self.lr_offset,
            lr_bounds=self.lr_bounds,
            static_names=self.static_names,
            static_fields=self.static_fields,
            static_scales=self.static_scales,
            scale=self.scale,
        )

    @property
    def frame_bounds(self) -> FrameBounds:
        """Values of the frames that become 0 and 1: `bounds` minus `offset`. Known after setup."""
        assert self.bounds is not None
        return frame_bounds(self.bounds, self.offset)

    def setup(self, stage: str | None = None) -> None:
        """Read, check, split and degrade the movies; later calls do nothing.

        Raises:
            UserError: If a movie cannot be used, or if the split, the patch size or the protocol does not suit the movies.
        """
        if self.sets:
            return
        splits = self._cut_splits()
        self._find_grid_and_border([movie for parts in splits.values() for movie, _ in parts])
        digest = self._measure_inputs(splits, self._check_values(splits))
        if self.choices:
            log.info("note      %s: %s", self.name, "; ".join(self.choices))
        if self.protocol == "classical" and self.bounds != (0.0, 255.0):
            raise UserError(f"{self.name}: protocol=classical is for 8-bit pictures and video, not for values in {self.bounds}")
        options: dict[str, Any] = {"memory": self.memory, "degradation": self.degradation, "name": self.name}
        sets = {name: build_frame_set(parts, self._pair, **options) for name, parts in splits.items()}
        self._warn_of_easy_tests(splits)
        if self.for_training:
            self.check_patch(sets["train"])
        tested = [movie for name, parts in splits.items() if name not in ("train", "val") for movie, _ in parts]
        self.card = self._describe(sets, tested, digest)
        self.sets = sets

    def _cut_splits(self) -> dict[str, list[tuple[Movie, Segment]]]:
        """Return the segments (runs of frames) of every split, each with its movie."""
        movies, extra_movies = self.movies(), self.extra_test_splits()
        cut: dict[str, str] = {}
        for number, movie in enumerate([*movies, *(movie for extra in extra_movies.values() for movie in extra)]):
            movie.number = number
            check_movie_shape(movie, self.variables, self.min_frames, self.scale, self.crop)
            whole = [n // self.scale * self.scale for n in movie.shape[2:]]
            if whole == list(movie.shape[2:]):
                continue
            if self.walls:
                refuse_cut_walls(movie, whole, self.scale)
            if self.crop is None:
                cut[printable_shape(movie.shape[2:])] = printable_shape(whole)
        for size, rest in cut.items():
            self.choices.append(f"frames of {size} are cut to {rest} for scale={self.scale}")
        splits = {
            self.test_split_name if name == "test" else name: [(movies[part.movie], part) for part in parts]
            for name, parts in self.split.cut([movie.shape[1] for movie in movies], self.name).items()
        }
        if len(self.transforms) == 1:
            self.transforms *= movies[0].shape[0]
        for name, extra in extra_movies.items():
            splits[name] = [(movie, Segment(i, 0, movie.shape[1])) for i, movie in enumerate(extra)]
        return splits

    def _find_grid_and_border(self, movies: Sequence[Movie]) -> None:
        """Find the pixel grid that all movies share, and how frames, and thus degraded frames, continue beyond their borders."""
        # Without the rows that are cut off.
        grids = [self.pixel_grid_of(movie).between(0, movie.shape[2] // self.scale * self.scale) for movie in movies]
        self.pixel_grid = find_shared_grid(grids)
        if self.pixel_grid.reason and self.physical:
            log.info("note      %s: lengths and gradients in scores are per pixel: %s", self.name, self.pixel_grid.reason)
        self.border, choice = find_border(
            self.name,
            self.periodic,
            self.pixel_grid,
            widths={movie.shape[3] for movie in movies},
            scale=self.scale,
            layout=self.network_inputs.layout(movies[0].shape[0]),
            vectors=self.vectors,
            offset=self.offset,
            walls=self.walls,
        )
        self.choices += [] if choice is None else [choice]
        self.degradation = with_border(self.degradation, self.border)

    def _check_values(self, splits: dict[str, list[tuple[Movie, Segment]]]) -> str:
        """Check all values, take missing `bounds` from the training frames, and return the SHA-256 of all values."""
        digest, values = hashlib.sha256(), self.channel_values
        learned: set[bytes] = set()
        extremes = [ExtremeValues() for _ in self.variables or ("",)] if self.physical else []
        gaps = FixedGaps() if self.mask is None else None
        for name, parts in splits.items():
            masked = bool(self.mask) if gaps is None else gaps
            ranges, hashes, lost, sizes = scan_frames_for_checks(parts, digest, masked, extremes, values.check_hr)
            if name == "train":
                learned = set(hashes)
                for where, share in zip(values.places, lost, strict=False):
                    if share and self.variables:
                        log.warning(
                            "%s: %.3g %% of its values do not count, as another variable has a gap there", where, 100 * share
                        )
                self.complete_bounds(values.measure_bounds(parts[0][0].name, ranges))
                self.fitted_transforms = self.channel_values.fit_transforms(ranges, sizes)  # which knows the bounds now
            elif name != "val":
                label = f"{self.name}: the split '{name}'"
                if not check_copied_frames(label, parts[0][0].name, hashes, learned) and not self.physical:
                    warn_near_duplicates(label, splits["train"], parts, self.frame_bounds)
        for where, found, offset in zip(values.places, extremes, np.broadcast_to(self.offset, len(extremes)), strict=False):
            if (warning := found.describe(float(offset))) is not None:
                log.warning("%s: %s", where, warning)
        if gaps is not None:
            self.mask = gaps.share > 0
            if self.mask:
                self.choices.append(f"{100 * gaps.share:.2g} % of the pixels are NaN in every frame and do not count")
        return digest.hexdigest()

    def _measure_inputs(self, splits: dict[str, list[tuple[Movie, Segment]]], digest: str) -> str:
        """Measure the scales of what networks see beside the variables, and return a digest with its values."""
        measured, digest = self.network_inputs.measure(splits, self._read_further, digest)
        self.lr_bounds, self.static_scales = measured.lr_bounds, measured.static_scales
        return digest

    def _read_further(self, movie: Movie, start: int, stop: int) -> Tensor:
        """Read frames start..stop-1 of the variables that only LR has, (variables, t, H, W), minus their offset."""
        return read_lr_variables(movie, start, stop, masked=bool(self.mask))

    def _pair(self, movie: Movie, start: int, stop: int) -> LrHrPair:
        """Read frames start..stop-1 of a movie, cut them to a multiple of the scale, fill gaps, and add degraded LR frames."""
        height, width = (n // self.scale * self.scale for n in movie.shape[2:])
        hr = movie.read(start, stop)[..., :height, :width].transpose(0, 1).contiguous()
        mask = None
        if self.mask:
            hr, known = fill_masked_pixels(hr)
            mask = known.amin(1, keepdim=True)
        every, bounds, channels = hr, self.frame_bounds, hr.shape[1]
        if self.lr_variables:
            further = self._read_further(movie, start, stop)[..., :height, :width].transpose(0, 1)
            every = torch.cat([hr, fill_masked_pixels(further)[0] if self.mask else further], 1)
            bounds = self.network_inputs.join_bounds(bounds, channels)
        # Frames of different movies have different numbers, because equal numbers would give equal noise.
        lr = self.degradation(every, self.scale, bounds=bounds, first=movie.number * 2**32 + start)
        lr, more = lr[:, :channels], lr[:, channels:]
        whole = lr if mask is None else lr[mask.flatten(1).any(1)]
        self.channel_values.check_lr(movie, start, whole, given=isinstance(self.degradation, Paired))
        return LrHrPair(self.network_inputs.add_planes(movie, start, stop, lr, more), hr, mask)

    def _warn_of_easy_tests(self, splits: dict[str, list[tuple[Movie, Segment]]]) -> None:
        """Say if test frames are later times of training movies, or nearly training frames."""
        learned, tested = ({part.movie for _, part in splits.get(name, ())} for name in ("train", self.test_split_name))
        if self.split.by == "time" and learned & tested:
            easy = "test frames are later times of the movie that training frames are of, an easy test; another movie says more"
            log.info("note      %s: %s (vsr evaluate checkpoint=... data=... data.path=ANOTHER)", self.name, easy)
        if self.physical and self.split.by == "trajectory" and not isinstance(self.degradation, Paired):
            for name in splits.keys() - {"train", "val"}:
                warn_twins(f"{self.name}: the split '{name}'", splits["train"], splits[name], self._with_bicubic)

    def _with_bicubic(self, movie: Movie, frame: int) -> tuple[Tensor, Tensor]:
        """Return an HR frame of a movie, without the rows and columns that are cut off, and its bicubic frame, (C, H, W) each."""
        pair = self._pair(movie, frame, frame + 1)
        return pair.hr[0], resize_bicubic_up(pair.lr[:, : pair.hr.shape[1]], self.scale)[0]

    def _describe(self, sets: Mapping[str, FrameSet], tested: Sequence[Movie], digest: str) -> dict[str, Any]:
        """Return the card of the data: their sizes, ranges and inputs, which checkpoints and results keep.

        Args:
            sets: The splits.
            tested: The movies of all test splits.
            digest: SHA-256 of all values.
        """
        card: dict[str, Any] = {
            "name": self.name,
            "frames": {name: len(frame_set) for name, frame_set in sets.items()},
            "size": list(sets["train"].smallest_size()),
            "channels": sets["train"].channels,
            "bounds": np.array(self.bounds).tolist(),
            "offset": np.array(self.offset).tolist(),
            "units": tested[0].meta.get("units") if tested else None,
            # Whether the test fields continue at the opposite border.
            "periodic": bool(tested) and all(movie.meta.get("periodic") is True for movie in tested),
            "sha256": digest,
        }
        if self.variables:
            card["variables"] = list(self.variables)
        if self.border.periodic != "none":
            card["border"] = self.border.periodic
        if self.vectors:
            card |= {"vectors": [list(pair) for pair in self.vectors], "north_up": self.pixel_grid.falling}
        if self.fitted_transforms:
            card["transforms"] = transforms_to_facts(self.fitted_transforms)
        if self.inputs or self.lr_variables or self.static_names:
            card["beside"] = self.network_inputs.facts()
        return card

    def unit_degradation(self, channel: int | None = None) -> Degradation:
        """Return the degradation of frames in the unit interval, of all channels or of one alone."""
        if not isinstance(self.degradation, Bordered):
            return self.degradation
        border = Border.in_unit_interval(self.card)
        return with_border(self.degradation.degradation, border if channel is None else border.of_channel(channel))
