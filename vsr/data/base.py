"""Base class of all data modules: checks, splits, degradation and loaders of HR movies.

A subclass only provides HR movies; docs/guides/adding-a-dataset.md shows how.
"""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from vsr.data.checks import (
    FixedGaps,
    check_copied_frames,
    ratio_problem,
    scan_frames_for_checks,
    transform_problem,
    warn_near_duplicates,
    warn_twins,
)
from vsr.data.frames import Ends, FrameSet, LrHrPair, MemoryFrames, MixedFrames
from vsr.data.lazy_frames import LazyFrames
from vsr.data.loaders import ClipLoader, FrameLoader, PatchLoader
from vsr.data.lr_statistics import LRStatistics
from vsr.data.masks import fill_masked_pixels
from vsr.data.splits import Segment, Split
from vsr.degradations import Degradation
from vsr.degradations.base import is_centred
from vsr.degradations.border import Border, Bordered, Periodic, choose_periodic, with_border
from vsr.degradations.resize import resize_bicubic_up
from vsr.degradations.scaling import Paired
from vsr.errors import UserError, error_suggestion
from vsr.geometry import SQUARE, PixelGrid, Triple, frame_size_problem
from vsr.io.readers.packing import ExtremeValues
from vsr.io.readers.printable import printable_name, printable_shape, printable_value
from vsr.io.static_fields import StaticField
from vsr.metrics.psnr_ssim import SSIM_RADIUS
from vsr.models.base import OF_FRAMES, LRLayout, add_input_planes
from vsr.models.normalize import frame_bounds
from vsr.models.transform import POSITIVE, Transform, transforms_to_facts
from vsr.recipe import Recipe
from vsr.types import FrameBounds, Movie, Offset, TrainingFrames, TransformName, ValueBounds, ValueRange

log = logging.getLogger(__name__)

ALL_SYMMETRIES = ("flip_y", "flip_x", "transpose")  # they generate the rotations too
LEAST_FILLED = 0.01  # share of declared bounds that the training frames must fill
MOST_OUTSIDE = 0.1  # of declared bounds: values further outside get a warning
VALIDATION_PIXELS = 1 << 23  # HR pixels per split that are scored after each epoch
MOVIE_VALIDATION_PIXELS = 1 << 18  # the limit for movie networks, which do some twenty times more work per pixel
PREPARE_PIXELS = 1 << 24  # HR pixels for statistics and closed-form fits, from evenly spread training frames


class SRDataModule(L.LightningDataModule, ABC):
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
    # configure_loaders() sets these.
    context, margin, trim, length, reach = 0, 0, 0, 1, 0

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
        super().__init__()
        self.scale, self.degradation, self.recipe, self.draw_seed = scale, degradation, recipe, draw_seed
        self.crop, self.mask, self.memory = crop, mask, memory
        self.sets: dict[str, FrameSet] = {}
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
        self.bounds, self.declared = None, {}
        if isinstance(given, Mapping):
            for name in given:
                if name not in self.variables:
                    known = error_suggestion(str(name), self.variables) if self.variables else "; type data.bounds=[LOW,HIGH]"
                    raise UserError(f"{self.name}: data.bounds={{{printable_name(str(name))}: ...}}: no such variable{known}")
            self.declared = {name: (float(low), float(high)) for name, (low, high) in given.items()}
        elif given is not None:
            low, high = map(float, given)
            self.bounds, self.declared = (low, high), dict.fromkeys(self.variables, (low, high))
        if self.variables and len(self.declared) == len(self.variables):
            self.bounds = tuple(self.declared[name] for name in self.variables)

    def declare_transforms(self, given: TransformName | Mapping[str, TransformName] | None) -> None:
        """Set `transforms` from what the user gives; call this after `variables` is set.

        Args:
            given: A transform, for all channels; or variable -> transform, for some of several variables.

        Raises:
            UserError: If there is no such variable.
        """
        if isinstance(given, Mapping):
            for name in given:
                if name not in self.variables:
                    known = error_suggestion(str(name), self.variables) if self.variables else "; type data.transform=log"
                    raise UserError(f"{self.name}: data.transform={{{printable_name(str(name))}: ...}}: no such variable{known}")
            self.transforms = tuple(given.get(name) for name in self.variables) if given else ()
        elif given is not None:
            self.transforms = (given,) * max(1, len(self.variables))

    def declare_vectors(self, given: Sequence[Sequence[str]] | None) -> None:
        """Set `vectors` from pairs of names of variables, along x and along y; call this after `variables` is set.

        Raises:
            UserError: If a vector does not consist of two of the variables, or if two vectors share one.
        """
        if not given:
            return
        pairs = [printable_name(",".join(map(str, pair))) for pair in given]
        typed = f"data.vectors=[{','.join(f'[{pair}]' for pair in pairs)}]"
        for name in (names := [str(name) for pair in given for name in pair]):
            if name not in self.variables:
                known = error_suggestion(name, self.variables) if self.variables else "; type data.variable=[u,v]"
                raise UserError(f"{self.name}: {typed}: {printable_name(name)} is none of the variables{known}")
        if any(len(pair) != 2 for pair in given) or len(set(names)) < len(names):
            raise UserError(f"{self.name}: {typed}: a vector has two components of its own; type data.vectors=[[u,v]]")
        found = [[self.variables.index(name) for name in pair] for pair in given]
        self.vectors = tuple((along_x, along_y) for along_x, along_y in found)

    def declare_walls(self, given: bool | None) -> None:
        """Set `walls` from what the user gives; call this after the vectors are known. Raises UserError if there are none."""
        if given and not self.scored_vectors:
            raise UserError(
                f"{self.name}: data.walls=true: is for velocities, and no two variables are known to be components of one; type "
                f"data.vectors=[[u,v]] with their names"
            )
        self.walls = bool(given)

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
        own = self.transforms * (len(transforms) if len(self.transforms) == 1 else 1) or (None,) * len(transforms)
        both = zip(own, transforms, strict=False)
        self.transforms = tuple("log" if "log" in pair else "sqrt" if "sqrt" in pair else None for pair in both)

    def complete_bounds(self, found: ValueBounds) -> None:
        """Set the bounds that are not declared to `found`: those of the training frames, or of a network."""
        if self.bounds is None:
            each = [found if np.ndim(found) == 1 else found[i] for i in range(len(self.variables))]
            own = tuple(self.declared.get(name, one) for name, one in zip(self.variables, each, strict=True))
            self.bounds = own or found  # type: ignore[assignment]

    @property
    def frame_bounds(self) -> FrameBounds:
        """Values of the frames that become 0 and 1: `bounds` minus `offset`. Known after setup."""
        assert self.bounds is not None
        return frame_bounds(self.bounds, self.offset)

    @property
    def channels(self) -> int:
        """Number of channels of every frame."""
        return self.sets["train"].channels

    @property
    def test_splits(self) -> tuple[str, ...]:
        """Names of the test splits."""
        return tuple(name for name in self.sets if name not in ("train", "val"))

    def setup(self, stage: str | None = None) -> None:
        """Read, check, split and degrade the movies; later calls do nothing.

        Raises:
            UserError: If a movie cannot be used, or if the split, the patch size or the protocol does not suit the movies.
        """
        if self.sets:
            return
        splits = self._cut_splits()
        self.pixel_grid = self._common_grid([movie for parts in splits.values() for movie, _ in parts])
        self.border = self._find_border([movie for parts in splits.values() for movie, _ in parts])
        self.degradation = with_border(self.degradation, self.border)
        digest = self._check_inputs(splits, self._check_values(splits))
        if self.choices:
            log.info("note      %s: %s", self.name, "; ".join(self.choices))
        if self.protocol == "classical" and self.bounds != (0.0, 255.0):
            raise UserError(f"{self.name}: protocol=classical is for 8-bit pictures and video, not for values in {self.bounds}")
        tested = [movie for name, found in splits.items() if name not in ("train", "val") for movie, _ in found]
        sets = {name: self._build_frame_set(found) for name, found in splits.items()}
        self._warn_of_easy_tests(splits)
        if self.for_training:
            self._check_patch(sets["train"])
        self.card = {
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
            self.card["variables"] = list(self.variables)
        if self.border.periodic != "none":
            self.card["border"] = self.border.periodic
        if self.vectors:
            self.card |= {"vectors": [list(pair) for pair in self.vectors], "north_up": self.pixel_grid.falling}
        if self.fitted_transforms:
            self.card["transforms"] = transforms_to_facts(self.fitted_transforms)
        if self.inputs or self.lr_variables or self.static_names:
            self.card["beside"] = self._input_facts()
        self.sets = sets

    def _common_grid(self, movies: Sequence[Movie]) -> PixelGrid:
        """Return the size of the pixels that all movies share, without the rows that are cut off; else none is known."""
        known = [self.pixel_grid_of(movie).between(0, movie.shape[2] // self.scale * self.scale) for movie in movies]
        grid = known[0] if len(set(known)) == 1 else PixelGrid(reason="its movies have different grids")
        if len({each.axes for each in known}) > 1:  # pixels of one size in different places
            grid = replace(grid, axes=None)
        if grid.reason and self.physical:
            log.info("note      %s: lengths and gradients in scores are per pixel: %s", self.name, grid.reason)
        return grid

    def _find_border(self, movies: Sequence[Movie]) -> Border:
        """Return how frames continue beyond their borders, as typed or by coordinates; refuse a contradiction between the two."""
        widths = {movie.shape[3] for movie in movies}
        cut = any(width % self.scale for width in widths)
        grid = replace(self.pixel_grid, closed="none") if cut else self.pixel_grid
        periodic = choose_periodic(self.periodic, grid, min(widths, key=lambda width: width % 2 == 0), self.name, "data.periodic")
        layout = LRLayout(movies[0].shape[0], self.inputs, None, self.lr_variables, self.static_names, self.scale**2)
        if periodic != "none" and layout.bordered:
            if self.periodic is not None:
                raise UserError(
                    f"{self.name}: data.periodic={periodic}: with data.inputs=[position], frames say where their borders are; "
                    f"leave one of the two out"
                )
            self.choices.append("frames are mirrored at their borders, as data.inputs=[position] says where these are")
            periodic = "none"
        elif periodic == "globe" and (odd := [width // self.scale for width in widths if width // self.scale % 2]):
            if self.periodic is not None:
                raise UserError(
                    f"{self.name}: data.periodic=globe: a row beyond a pole is turned by half a circle, and LR frames have "
                    f"{odd[0]} columns, which is odd; type data.periodic=x"
                )
            self.choices.append(f"longitudes go round the globe, and rows are mirrored at the poles: {odd[0]} LR columns are odd")
            periodic = "x"
        elif self.periodic is None and periodic != "none":
            poles = ", and rows go on beyond the poles" if periodic == "globe" else ""
            self.choices.append(f"longitudes go round the globe{poles} (data.periodic=none if not)")
        elif cut and self.pixel_grid.closed != "none":
            self.choices.append(f"longitudes go round the globe, but scale={self.scale} cuts columns: frames are mirrored there")
        if self.walls and periodic != "none":
            raise UserError(
                f"{self.name}: data.walls=true: its frames go on beyond their borders (data.periodic={periodic}); leave "
                f"data.walls out, or type data.periodic=none"
            )
        if self._vectors_have_offsets():
            raise UserError(
                f"{self.name}: data.vectors: these components hardly differ from a number that is not 0, they do not turn; "
                f"leave the key out"
            )
        return Border(periodic, {channel: 0.0 for pair in self.vectors for channel in pair}, layout.packed)

    def _vectors_have_offsets(self) -> bool:
        """Return True if a component of a vector is not 0 in frames where it is 0."""
        offsets = np.ravel(self.offset)
        return any(offsets[channel if len(offsets) > 1 else 0] != 0 for pair in self.vectors for channel in pair)

    def unit_degradation(self, channel: int | None = None) -> Degradation:
        """Return the degradation of frames in the unit interval, of all channels or of one alone."""
        if not isinstance(self.degradation, Bordered):
            return self.degradation
        border = Border.in_unit_interval(self.card)
        return with_border(self.degradation.degradation, border if channel is None else border.of_channel(channel))

    def _cut_splits(self) -> dict[str, list[tuple[Movie, Segment]]]:
        """Return the segments (runs of frames) of every split, each with its movie."""
        movies, extra_movies = self.movies(), self.extra_test_splits()
        cut: dict[str, str] = {}
        for number, movie in enumerate([*movies, *(movie for extra in extra_movies.values() for movie in extra)]):
            movie.number = number
            self._check_shape(movie)
            whole = [n // self.scale * self.scale for n in movie.shape[2:]]
            if whole == list(movie.shape[2:]):
                continue
            if self.walls:
                raise UserError(
                    f"{movie.name}: data.walls=true: frames of {printable_shape(movie.shape[2:])} are cut to "
                    f"{printable_shape(whole)} for scale={self.scale}, without the wall at the end; leave data.walls out"
                )
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

    def _check_values(self, splits: dict[str, list[tuple[Movie, Segment]]]) -> str:
        """Check all values, take missing `bounds` from the training frames, and return the SHA-256 of all values."""
        digest = hashlib.sha256()
        learned: set[bytes] = set()
        extremes = [ExtremeValues() for _ in self.variables or ("",)] if self.physical else []
        gaps = FixedGaps() if self.mask is None else None
        for name, parts in splits.items():
            masked = bool(self.mask) if gaps is None else gaps
            ranges, hashes, lost, sizes = scan_frames_for_checks(parts, digest, masked, extremes, self._check_transforms)
            if name == "train":
                learned = set(hashes)
                for where, share in zip(self._places(), lost, strict=False):
                    if share and self.variables:
                        log.warning(
                            "%s: %.3g %% of its values do not count, as another variable has a gap there", where, 100 * share
                        )
                self._measure_bounds(parts[0][0].name, ranges)
                self._measure_transforms(ranges, sizes)
            elif name != "val":
                label = f"{self.name}: the split '{name}'"
                if not check_copied_frames(label, parts[0][0].name, hashes, learned) and not self.physical:
                    warn_near_duplicates(label, splits["train"], parts, self.frame_bounds)
        for where, found, offset in zip(self._places(), extremes, np.broadcast_to(self.offset, len(extremes)), strict=False):
            if (warning := found.describe(float(offset))) is not None:
                log.warning("%s: %s", where, warning)
        if gaps is not None:
            self.mask = gaps.share > 0
            if self.mask:
                self.choices.append(f"{100 * gaps.share:.2g} % of the pixels are NaN in every frame and do not count")
        return digest.hexdigest()

    def _check_inputs(self, splits: dict[str, list[tuple[Movie, Segment]]], digest: str) -> str:
        """Measure the scales of what networks see beside the variables on the training movies, and add its values to a digest."""
        if not self.lr_variables and not self.static_names:
            return digest
        total, ranges = hashlib.sha256(digest.encode()), []
        for name, parts in splits.items():
            for movie, part in parts if self.lr_variables else ():
                for start in range(part.start, part.stop, 64):
                    further = self._read_further(movie, start, min(start + 64, part.stop))
                    total.update(further.numpy().tobytes())
                    if name == "train":
                        flat = further.flatten(1).double().numpy()
                        ranges.append(np.stack([np.nanmin(flat, 1), np.nanmax(flat, 1)], 1))
        if self.lr_variables and self.lr_bounds is None:
            self.lr_bounds = self._range_of_further(np.stack(ranges))
        if self.static_names:
            movies = {movie.number: movie for movie, _ in splits["train"]}.values()
            values = torch.cat([movie.static.flatten(1) for movie in movies if movie.static is not None], 1).double()
            scales = torch.stack([values.mean(1), values.std(1)], 1).tolist()
            for field, (mean, std) in zip(self.static_names, scales, strict=True):
                if self.static_scales is None and not std > 0:
                    raise UserError(
                        f"data.static: every value of {printable_name(field)} is {mean:.10g}; no network learns from it; "
                        f"leave it out"
                    )
            self.static_scales = scales if self.static_scales is None else self.static_scales
            for movie, _ in [both for parts in splits.values() for both in parts]:
                total.update(b"" if movie.static is None else movie.static.numpy().tobytes())
        return total.hexdigest()

    def _range_of_further(self, ranges: np.ndarray) -> list[list[float]]:
        """Return the range of each variable that only LR has, given those of parts (N, variables, 2) of the training frames."""
        low, high = ranges[..., 0].min(0) + self.lr_offset, ranges[..., 1].max(0) + self.lr_offset
        for name, least, most in zip(self.lr_variables, low, high, strict=True):
            if not least < most:
                raise UserError(
                    f"data.lr_variable: every value of {printable_name(name)} is {least:.10g} in the training frames; no "
                    f"network learns from it; leave it out"
                )
        return np.stack([low, high], 1).tolist()

    def _read_further(self, movie: Movie, start: int, stop: int) -> Tensor:
        """Read frames start..stop-1 of the variables that only LR has, (variables, t, H, W), minus their offset."""
        assert movie.further is not None
        frames = movie.further.read(start, stop)
        whole = torch.isfinite(frames).all(dim=3).all(dim=2).all(dim=0)
        if not self.mask and not whole.all():
            at = start + int((~whole).nonzero()[0])
            raise UserError(
                f"{movie.further.name}: frame {at} holds NaN or infinite values; type data.mask=true, or leave it out of "
                f"data.lr_variable"
            )
        return frames

    def _input_facts(self) -> dict[str, Any]:
        """Return what the card says of the channels of LR beside the variables; keys that do not count are left out."""
        facts: dict[str, Any] = {"inputs": list(self.inputs)}
        if "position" in self.inputs:
            facts["runs_up"] = list(self.runs_up)
        if self.lr_variables:
            facts["lr_variables"] = {"names": list(self.lr_variables), "bounds": self.lr_bounds}
        if self.static_names:
            hashes: list[str | None] = [field.sha256 for field in self.static_fields]
            hashes = hashes or [None] * len(self.static_names)
            each = zip(self.static_names, self.static_scales or (), hashes, strict=True)
            facts["static"] = [{"name": name, "mean": mean, "std": std, "sha256": sha} for name, (mean, std), sha in each]
            facts["blocks"] = self.scale**2
        return facts

    def _places(self) -> list[str]:
        """Return the beginning of messages on each range of values: the name of the data, and of the variable if several."""
        return [f"{self.name}: {printable_name(name)}" for name in self.variables] or [self.name]

    def _measure_bounds(self, movie: str, ranges: list[ValueRange]) -> None:
        """Check the value range of each channel of the training frames, and take missing `bounds` from them."""
        if not self.variables:
            self._warn_of_small_channels(ranges)
            ranges = [(min(low for low, _ in ranges), max(high for _, high in ranges))]
        own = []
        declared: list[Any] = [self.declared.get(name) for name in self.variables] or [self.bounds]
        for (low, high), offset, bounds, variable, where in zip(
            *(ranges, np.broadcast_to(self.offset, len(ranges)).tolist(), declared, self.variables or ("",), self._places()),
            strict=True,
        ):
            low, high = low + offset, high + offset
            if low > high:
                raise UserError(f"{movie}: {printable_name(variable)} has no finite value in the training frames; leave it out")
            if low == high:
                of = f" of {printable_name(variable)}" if variable else ""
                raise UserError(f"{movie}: every value{of} is {low:.10g}; a constant field cannot be learned from")
            if bounds is not None and self.physical and self.for_training:
                _check_bounds(where, f"{{{printable_name(variable)}: %s}}" if variable else "%s", bounds, low, high)
            own.append((low, high))
        self.complete_bounds(tuple(own) if self.variables else own[0])

    def _warn_of_small_channels(self, ranges: list[ValueRange]) -> None:
        """Warn of channels of one array whose values hardly differ, in the range that all channels have in common."""
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        for channel, (least, most) in enumerate(ranges):
            if self.physical and 0 < most - least < LEAST_FILLED * (high - low):
                log.warning(
                    "%s: channel %d, %.4g to %.4g, hardly counts in the range of all channels, %.4g to %.4g; save quantities of "
                    "different size as arrays of their own (.npz, HDF5, NetCDF), and type data.variable=[A,B]",
                    *(self.name, channel, *(value + float(np.max(self.offset)) for value in (least, most, low, high))),
                )

    def _check_transforms(self, movie: Movie, start: int, frames: torch.Tensor) -> None:
        """Raise UserError for HR frames (C, t, H, W), from frame `start` on, with values that a transform does not take."""
        found = transform_problem(frames.transpose(0, 1), self.transforms, self.variables, self.offset)
        if found is not None:
            at, problem = found
            raise UserError(f"{movie.name}: frame {start + at}: {problem}; type asinh, which takes every value")
        if self.positive and (found := ratio_problem(frames.transpose(0, 1), self.variables, self.offset)) is not None:
            at, problem = found
            raise UserError(f"{movie.name}: frame {start + at}: {problem}; type consistency=projection")

    def _measure_transforms(self, ranges: list[ValueRange], sizes: list[float]) -> None:
        """Fit the transform of each channel to the value range and the mean magnitude in the training frames."""
        if not any(self.transforms):
            return
        bounds = np.broadcast_to(np.asarray(self.bounds), (len(ranges), 2)).tolist()
        offsets = np.broadcast_to(self.offset, len(ranges)).tolist()
        for i, (kind, (least, most), (low, high)) in enumerate(zip(self.transforms, ranges, bounds, strict=True)):
            form = f"{{{printable_name(self.variables[i])}: %s}}" if self.variables else "%s"
            if kind is not None and offsets[i] and self.for_training:
                raise UserError(
                    f"{self.name}: data.transform={form % kind}: values of {least + offsets[i]:.10g} to {most + offsets[i]:.10g} "
                    f"differ so little that every transform is a straight line; leave it out"
                )
            if kind in POSITIVE and not (0 <= low <= least if self.for_training else low >= 0):
                raise UserError(
                    f"{self.name}: data.bounds={form % f'[{low:g},{high:g}]'}: with data.transform={form % kind}, they begin "
                    f"at 0 or at the smallest value; type data.bounds={form % f'[0,{high:g}]'}"
                )
            if self.for_training:
                self.fitted_transforms.append(None if kind is None else Transform(kind, least, most, sizes[i]))

    def training_frames(self) -> TrainingFrames:
        """Return whole training frames for closed-form fits, thinned out evenly to about PREPARE_PIXELS HR pixels."""
        return self._whole_frames("train", PREPARE_PIXELS)

    def validation_frames(self) -> TrainingFrames:
        """Return whole validation frames, thinned out evenly to about VALIDATION_PIXELS HR pixels."""
        return self._whole_frames("val", VALIDATION_PIXELS)

    def _whole_frames(self, split: str, pixels: int) -> TrainingFrames:
        frames = self.sets[split]
        height, width = frames.smallest_size()
        step = max(1, -(-len(frames) * height * width // pixels))
        return [(pair.lr, pair.hr, pair.mask) for pair in frames.pairs(step)]

    def configure_loaders(self, recipe: Recipe, *, context: int, margin: int, trim: int, reach: int = 0) -> None:
        """Set the lengths of the clips that the loaders give to a network; call this before the loaders are built.

        Args:
            recipe: Training recipe of the network.
            context: Number of LR frames before and after each HR frame in scoring.
            margin: Number of frames that the network removes at each end of a clip. Training movies are padded by this number
                at each end.
            trim: Number of frames at both ends of every movie that are not scored.
            reach: LR pixels on each side on which an HR pixel depends.

        Raises:
            UserError: If no training movie is long enough for clips of recipe.frames frames, or if the network removes all
                frames of a clip.
        """
        self.recipe, self.context, self.margin, self.trim, self.reach = recipe, context, margin, trim, reach
        self.length = recipe.frames if context else 1
        longest = max(b - a for a, b in self.sets["train"].segments)
        if self.for_training and longest + 2 * margin < self.length:
            raise UserError(
                f"{self.name}: no training movie is long enough for clips of recipe.frames={self.length} frames, the longest has "
                f"{longest}, and {margin} made up at each end; type recipe.frames={longest + 2 * margin} or less"
            )
        if self.for_training and recipe.mix and len(self.sets["train"].segments) < 2:
            raise UserError(
                f"{self.name}: recipe.mix={recipe.mix:g} needs two training trajectories or more; type recipe.mix=null"
            )
        if self.length <= 2 * margin:
            raise UserError(f"recipe.frames={self.length}: this network takes off {margin} at each end; type recipe.frames=7")

    def train_dataloader(self) -> PatchLoader:
        """Return the loader of random patches or whole frames of the training split."""
        recipe = self.recipe
        return PatchLoader(
            self._on_device(self._for_patches(self.sets["train"].padded(self.margin, self.ends))),
            length=self.length,
            patch=recipe.patch,
            batch=recipe.batch,
            steps=recipe.steps,
            symmetries=self._usable_symmetries() if recipe.augment else (),
            vectors=self.vectors,
            north_up=self.pixel_grid.falling,
            static=len(self.static_names) * self.scale**2,
            mix=recipe.mix or 0.0,
            seed=self.draw_seed,
        )

    def _for_patches(self, frames: FrameSet) -> FrameSet:
        """Let patches of training frames lie across borders beyond which frames continue, and weight pixels by `recipe.area`."""
        areas, width = self._row_weights() if self.recipe.area else None, self.border.width((self.recipe.patch or 0) // 2)
        if self.recipe.area and areas is None:
            raise UserError(f"recipe.area=true: the rows of {self.name} are no latitudes, their pixels are alike; leave it out")
        if not any(width) and areas is None:
            return frames
        fine, masks = (width[0] * self.scale, width[1] * self.scale), Border(self.border.periodic)

        def prepare(pair: LrHrPair) -> LrHrPair:
            mask = None if pair.mask is None else masks.pad(pair.mask, fine)
            if areas is not None:
                area = masks.pad(areas.to(pair.hr).expand(1, 1, *pair.hr.shape[-2:]), fine).expand(len(pair), -1, -1, -1)
                mask = area if mask is None else mask * area
            return LrHrPair(self.border.pad(pair.lr, width), self.border.pad(pair.hr, fine), mask)

        return frames.mapped(prepare)

    def val_dataloader(self) -> list[FrameLoader] | list[ClipLoader]:
        """Return two loaders for validation: first of training frames, then of validation frames, about equally many.

        Each split is thinned out to VALIDATION_PIXELS (for movie networks: MOVIE_VALIDATION_PIXELS), because scoring must not
        take longer than training. Single-frame networks get evenly spread frames, movie networks get consecutive frames. Test
        splits are not thinned out.
        """
        train, val = self.sets["train"], self.sets["val"]
        height, width = val.smallest_size()
        limit = MOVIE_VALIDATION_PIXELS if self.context else VALIDATION_PIXELS
        step = max(1, -(-len(val) * height * width // limit))
        both = ((train, max(1, step * len(train) // len(val))), (val, step))
        if self.context:  # single frames would spend most of the work on their context
            return [self._clips(frames, each, whole=False) for frames, each in both]
        around = self._row_weights(), self.border, self.reach
        return [FrameLoader(self._on_device(frames), each, *around) for frames, each in both]

    def test_dataloader(self) -> list[ClipLoader]:
        """Return one loader per test split, in the order of `test_splits`."""
        return [self.split_dataloader(name) for name in self.test_splits]

    def split_dataloader(self, split: str) -> ClipLoader:
        """Return a loader of all frames of a split, in order."""
        return self._clips(self.sets[split])

    def _clips(self, frames: FrameSet, step: int = 1, whole: bool = True) -> ClipLoader:
        placed = self._on_device(frames)
        options = {"context": self.context, "trim": self.trim, "ends": self.ends, "step": step, "whole": whole}
        around = {"weights": self._row_weights(), "border": self.border, "reach": self.reach}
        return ClipLoader(placed, **options, **around)  # type: ignore[arg-type]

    def _row_weights(self) -> torch.Tensor | None:
        """Return the area of the pixels of each row for scores, (H, 1); None for pixels of one size."""
        cosines = self.pixel_grid.cosines
        return None if cosines is None else torch.tensor(cosines)[:, None]

    def check_window(self, window: Triple) -> None:
        """Check that frames are still large enough for SSIM after scoring has left out their borders.

        Args:
            window: Number of frames, rows and columns (t, y, x) that scoring leaves out on each side.

        Raises:
            UserError: If no frames are left of a movie, or if the frames that are left are too small.
        """
        height, width = (min(sizes) for sizes in zip(*(found.smallest_size() for found in self.sets.values()), strict=True))
        left = (height - 2 * window[1], width - 2 * window[2])
        if min(left) <= 2 * SSIM_RADIUS:
            raise UserError(
                f"{self.name}: window={list(window)} leaves {left[0]}x{left[1]} of frames of {height}x{width}, SSIM needs 11x11; "
                f"type window=[0,0,0] or give larger frames"
            )
        for name, found in self.sets.items():
            shortest = min(b - a for a, b in found.segments)
            if shortest <= 2 * window[0] and name != "train":
                raise UserError(
                    f"{self.name}: window={list(window)} leaves no frame of a movie of {shortest} in '{name}'; "
                    f"type window=[0,{window[1]},{window[2]}]"
                )

    def _usable_symmetries(self) -> tuple[str, ...]:
        """Return the symmetries without flips that would shift LR against HR, as flips do if the degradation is not centred."""
        if is_centred(self.degradation, self.scale):
            return self.symmetries
        return tuple(x for x in self.symmetries if x == "transpose")

    def _on_device(self, frames: FrameSet) -> FrameSet:
        """Move a split to the accelerator, unless the split takes more than half of the free memory there."""
        device = self.trainer.strategy.root_device if self.trainer is not None else torch.device("cpu")
        if device.type == "cuda" and frames.nbytes() > torch.cuda.mem_get_info(device)[0] // 2:
            return frames
        return frames.to(device)

    def _check_shape(self, movie: Movie) -> None:
        channels, length, height, width = movie.shape
        if len(self.variables) not in (0, channels):
            names = ",".join(map(printable_name, self.variables))
            raise UserError(f"{movie.name}: has {channels} channel(s), not one for each of {names}; type data.variable=[{names}]")
        if length < self.min_frames:
            raise UserError(f"{movie.name}: one frame is not a movie; give a file with at least {self.min_frames} frames")
        if (problem := frame_size_problem(height, width, self.scale, self.crop)) is not None:
            raise UserError(f"{movie.name}: {problem}")

    def _build_frame_set(self, parts: list[tuple[Movie, Segment]]) -> FrameSet:
        """Read a split into memory, with one set per frame size; leave a split larger than `memory` in its file."""
        size = sum(4 * len(part) * movie.shape[0] * movie.shape[2] * movie.shape[3] for movie, part in parts)
        ends = torch.tensor([len(part) for _, part in parts]).cumsum(0).tolist()
        segments = tuple(zip([0, *ends[:-1]], ends, strict=True))
        if size > self.memory * 2**20 and all(movie.lazy for movie, _ in parts):
            if self.degradation.temporal and not isinstance(self.degradation, Paired):
                raise UserError(
                    f"{self.name}: degradation {self.degradation.name} needs whole clips in memory, {size >> 20} MiB; "
                    f"type data.memory={(size >> 20) + 1}, or data.learn and data.test for fewer frames"
                )

            def read(start: int, stop: int) -> LrHrPair:
                at = next(i for i, end in enumerate(ends) if start < end)
                movie, part = parts[at]
                shift = part.start - segments[at][0]
                return self._pair(movie, start + shift, stop + shift)

            return LazyFrames(read, segments, read(0, 1))
        groups: dict[tuple[int, int], list[LrHrPair]] = {}
        for movie, part in parts:
            pair = self._pair(movie, part.start, part.stop)
            groups.setdefault((pair.hr.shape[-2], pair.hr.shape[-1]), []).append(pair)
        sets = [_concatenate(pairs) for pairs in groups.values()]
        return sets[0] if len(sets) == 1 else MixedFrames(sets)

    def _pair(self, movie: Movie, start: int, stop: int) -> LrHrPair:
        """Read frames start..stop-1 of a movie, cut them to a multiple of the scale, fill gaps, and add degraded LR frames."""
        height, width = (n // self.scale * self.scale for n in movie.shape[2:])
        hr = movie.read(start, stop)[..., :height, :width].transpose(0, 1).contiguous()
        mask = None
        if self.mask:
            hr, known = fill_masked_pixels(hr)
            mask = known.amin(1, keepdim=True)
        # Frames of different movies have different numbers, because equal numbers would give equal noise.
        first = movie.number * 2**32 + start
        every, bounds = hr, self.frame_bounds
        if self.lr_variables:
            further = self._read_further(movie, start, stop)[..., :height, :width].transpose(0, 1)
            every = torch.cat([hr, fill_masked_pixels(further)[0] if self.mask else further], 1)
            both = zip(bounds, frame_bounds(self.lr_bounds or (), self.lr_offset), strict=True)
            own = hr.shape[1]
            low, high = (torch.cat([torch.as_tensor(a).expand(own, 1, 1), torch.as_tensor(b).view(-1, 1, 1)]) for a, b in both)
            bounds = (low.float(), high.float())
        lr = self.degradation(every, self.scale, bounds=bounds, first=first)
        lr, more = lr[:, : hr.shape[1]], lr[:, hr.shape[1] :]
        self._check_transformed_lr(movie, start, lr if mask is None else lr[mask.flatten(1).any(1)])
        return LrHrPair(self._with_inputs(movie, start, stop, lr, more), hr, mask)

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

    def _with_inputs(self, movie: Movie, start: int, stop: int, lr: Tensor, further: Tensor) -> Tensor:
        """Return LR frames start..stop-1 with all that networks see beside the variables.

        Args:
            movie: The movie.
            start: Number of the first frame.
            stop: Number after the last frame.
            lr: LR frames (N, C, h, w).
            further: The variables that only LR has, (N, variables, h, w), minus their offset.
        """
        seen = lr
        if self.lr_variables:
            least, most = (torch.as_tensor(end).view(-1, 1, 1) for end in frame_bounds(self.lr_bounds or (), self.lr_offset))
            seen = torch.cat([lr, (further - least) / (most - least)], 1)
        known = {
            word: torch.from_numpy(values[start:stop] if word in OF_FRAMES else values) for word, values in movie.known.items()
        }
        static = None
        if movie.static is not None:
            mean, std = torch.tensor(self.static_scales, dtype=torch.float64).T.reshape(2, -1, 1, 1)
            static = (movie.static - mean) / std
        return add_input_planes(seen, self.inputs, known, static, self.scale) if self.inputs or static is not None else seen

    def _check_transformed_lr(self, movie: Movie, start: int, lr: torch.Tensor) -> None:
        """Raise UserError for LR frames (N, C, h, w), of frames `start` on, with values that a transform does not take."""
        found = transform_problem(lr[:, : len(self.transforms)], self.transforms, self.variables, self.offset)
        if found is not None:
            at, problem = found
            area = "degradation=area, whose weights are not negative, as some of this degradation are; or "
            advice = f"type {'' if isinstance(self.degradation, Paired) else area}asinh, which takes every value"
            raise UserError(f"{movie.name}: frame {start + at}: in the LR frame, {problem}; {advice}")

    def _check_patch(self, train: FrameSet) -> None:
        h, w = (n // self.scale for n in train.smallest_size())
        patch = self.recipe.patch
        if patch is None and isinstance(train, MixedFrames):
            raise UserError(f"{self.name}: frames differ in size, whole frames cannot be batched; type recipe.patch=16")
        if patch is not None and patch > min(h, w):
            raise UserError(
                f"{self.name}: recipe.patch={patch} LR pixels is larger than the LR frames ({h}x{w} at scale={self.scale}); "
                f"type recipe.patch={min(h, w)} or recipe.patch=null for whole frames"
            )


def _concatenate(pairs: list[LrHrPair]) -> MemoryFrames:
    """Concatenate the frames of several segments, which have one frame size."""
    ends = torch.tensor([len(pair) for pair in pairs]).cumsum(0).tolist()
    masks = [pair.mask for pair in pairs if pair.mask is not None]
    joined = LrHrPair(
        torch.cat([pair.lr for pair in pairs]), torch.cat([pair.hr for pair in pairs]), torch.cat(masks) if masks else None
    )
    return MemoryFrames(joined, tuple(zip([0, *ends[:-1]], ends, strict=True)))


def _check_bounds(where: str, form: str, bounds: ValueRange, low: float, high: float) -> None:
    """Check declared bounds against training frames with values from `low` to `high`.

    Args:
        where: Beginning of a message.
        form: What is typed for data.bounds, with %s for a pair of values.
        bounds: The declared bounds.
        low: The smallest value of the training frames.
        high: The largest value of the training frames.

    Raises:
        UserError: If the frames fill less than LEAST_FILLED of the bounds.
    """
    least, most = bounds
    typed = f"data.bounds={form % f'[{least:g},{most:g}]'}"
    if not most > least:
        raise UserError(f"{where}: {typed}: must be two values, the smaller first")
    first, last = printable_value(low, high - low), printable_value(high, high - low)
    filled = (min(high, most) - max(low, least)) / (most - least)
    if filled < LEAST_FILLED:
        share = f"fill {100 * max(filled, 0):.2g} % of it" if filled > 0 else "lie outside of it"
        raise UserError(
            f"{where}: {typed}: the training frames, {first} to {last}, {share}, so that no score tells a good network from a "
            f"bad one; type data.bounds={form % f'[{first},{last}]'}, or leave the key out"
        )
    outside = max(least - low, high - most) / (most - least)
    if outside > MOST_OUTSIDE:
        log.warning("%s: training frames of %s to %s leave %s; scores count in units of these bounds", where, first, last, typed)
