"""A trained network for use from Python, as in `vsr.load("best.ckpt").upscale(movie)`."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor

from vsr.config.check import RUNTIMES
from vsr.config.plugins import open_announced_plugins, open_plugins
from vsr.config.schema import method_label
from vsr.degradations.border import Periodic, choose_periodic
from vsr.errors import UserError
from vsr.geometry import Alignment, is_cell
from vsr.inference.engine import Engine
from vsr.inference.engine_choice import choose_options
from vsr.inference.labelled_arrays import movies_of_dataset, upscale_labelled
from vsr.inference.lazy_arrays import is_lazy, upscale_lazily
from vsr.inference.members import MemberEngine, read_calibration
from vsr.inference.options import UpscaleOptions
from vsr.inference.out_of_distribution import FRAMES, OODScore, PairsScore, out_of_distribution_clip_score
from vsr.inference.runtimes import runtime_version
from vsr.inference.stream import Gaps, read_stream_blocks
from vsr.inference.trained import Trained, read_trained
from vsr.io.readers.pixel_grid import Coordinate, grid_of_coordinates
from vsr.io.readers.printable import printable_name, printable_shape
from vsr.io.static_fields import StaticField, open_fields_of_network, ticks_of
from vsr.io.time_and_place import time_and_place
from vsr.io.writers.coordinates import refine_field
from vsr.io.writers.template import output_dtype
from vsr.metrics.calibration import Calibration
from vsr.models.base import add_input_planes, input_facts
from vsr.models.linear import Linear
from vsr.models.super_resolver import SuperResolver
from vsr.training.build_network import build_from_node
from vsr.version import __version__

log = logging.getLogger(__name__)

_rebuilding = threading.Lock()
_rebuilt: dict[tuple[Any, ...], Upscaler] = {}  # the last upscaler that another process sent

MOST_RANGES = 64  # upscalers of movies of different ranges that are kept: tasks of Dask go from level to level

Array = TypeVar("Array")  # a NumPy array, a torch tensor, an xarray.DataArray or an xarray.Dataset


class Upscaler:
    """A trained network that upscales movies. `vsr.load` makes one from a checkpoint.

    Args:
        trained: Content of the checkpoint.
        options: Options of upscaling. None values are replaced by the values of the training.
        static: Static fields on the grid of SR frames, FILE:VARIABLE each, for a network that was trained with data.static; empty
            for those of training.
        calibration: The intervals of `options.calibration` if they have been read already; None to read them.

    Attributes:
        scale: SR pixels per LR pixel along y and x.
        alignment: Place of the LR pixels on the SR grid along y and x; see `vsr.geometry.lr_position`.
        variables: Names of the variables that are the channels, in their order; empty for one variable.
        bounds: The physical values that the normalizer maps to 0 and 1; a pair for each of several variables.
        offset: The physical value that is 0 in the frames of `engine`, or one for each variable; `upscale` takes and gives
            physical values.

    Raises:
        UserError: If weights are not finite, or if the options contradict each other or the network.
    """

    def __init__(
        self, trained: Trained, options: UpscaleOptions, static: Sequence[str] = (), calibration: Calibration | None = None
    ) -> None:
        self.config = trained.config.copy()
        self.options = replace(
            options,
            ends=options.ends or self.config.ends,
            consistency=options.consistency or self.config.consistency,
            consistency_steps=options.consistency_steps or self.config.consistency_steps,
        )
        self.config.consistency, self.config.consistency_steps = self.options.consistency, self.options.consistency_steps
        self.degradation = build_from_node("degradation", self.config.degradation)
        self.trained = trained
        self._continued: dict[Periodic, Upscaler] = {}
        self._for_values: dict[tuple[Any, ...], Upscaler] = {}
        self._decided: dict[tuple[int, ...], Upscaler] = {}
        for name, values in trained.state.items():
            if name.startswith("network.") and values.is_floating_point() and not values.isfinite().all():
                raise UserError(f"{trained.path}: {name} is not finite; train it again with a lower recipe.rate")
            if name.endswith(".std") and not (values > 0).all():  # inputs are divided by it
                raise UserError(f"{trained.path}: {name} is not positive; it was not written by vsr")
        self.module = trained.module(self.config, periodic=options.periodic or "none")
        self.scale, self.channels, self.bounds = int(trained.config.scale), trained.channels, trained.bounds
        self.variables, self.offset = trained.variables, trained.offset
        origin = float(self.degradation.origin(self.scale))
        self.alignment: Alignment = trained.layout.alignment or (origin, origin)
        centred = is_cell(self.alignment, self.scale)
        self.static_fields = open_fields_of_network(static, trained.layout.static, trained.path) if static else trained.static
        self.engine = Engine(self.module, self.options, channels=self.channels, centred=centred)
        self.members = self._member_engine(calibration) if self.options.several else None

    def _member_engine(self, calibration: Calibration | None) -> MemberEngine:
        """Return what computes several fields: members, or calibrated intervals, read if they are None. Raises UserError."""
        count, path = self.options.members or 0, self.options.calibration
        if path is None or calibration is not None:
            return MemberEngine(self.engine, count, self.options.seed, self.options.keep or (), calibration)
        if self.any_values:
            raise UserError(
                f"calibration={path}: is for a network of one kind of field, and this one takes fields of any unit, whose errors "
                f"differ; train one on these: vsr train preset=balanced data=..."
            )
        facts = {
            "checkpoint": self.trained.sha256,
            "members": count,
            "scale": self.scale,
            "degradation": self.degradation.name,
            "consistency": self.options.consistency,
            "variables": list(self.variables),
        }
        normalizer = self.module.normalizer
        calibration = read_calibration(Path(path).expanduser(), facts, (normalizer.high - normalizer.low).flatten().tolist())
        return MemberEngine(self.engine, count, self.options.seed, self.options.keep or (), calibration)

    def continued(self, periodic: Periodic) -> Upscaler:
        """Return the upscaler of movies that continue beyond their borders, unless the option `periodic` says otherwise."""
        if self.options.periodic is not None or periodic == "none" or self.trained.layout.bordered:
            return self
        if periodic not in self._continued:
            self._continued[periodic] = self.with_options(replace(self.options, periodic=periodic))
        return self._continued[periodic]

    def decided_options(self, frames: Tensor, length: int | None) -> UpscaleOptions:
        """Return options that name an engine and a precision, chosen for a movie where the options leave them open.

        Args:
            frames: The first frames (n, C, h, w) of the movie, as `engine` takes them: context + 1, or all of a shorter movie.
            length: Number of frames to be upscaled; None if it is not known.
        """
        return choose_options(self, frames[self.engine.window(0, 1, len(frames))], length)

    def with_options(self, options: UpscaleOptions) -> Upscaler:
        """Return the upscaler of the same network with other options, but those of members and intervals."""
        other = Upscaler(self.trained, options, calibration=self.calibration)
        other.static_fields = self.static_fields
        return other

    @property
    def calibration(self) -> Calibration | None:
        """The intervals of the option `calibration`; None without them."""
        return None if self.members is None else self.members.calibration

    @property
    def any_values(self) -> bool:
        """True if the network takes values of any unit and range; see `Network.equivariant`."""
        return self.trained.any_values

    @property
    def knows_gaps(self) -> bool:
        """True if data.mask=true was typed in training: gaps are no news then."""
        return OmegaConf.select(self.trained.config, "data.mask") is True

    @property
    def is_linear(self) -> bool:
        """True for the network `linear`, which is the filter that other networks are compared with."""
        return isinstance(self.module.network, Linear)

    def for_frames(self, frames: np.ndarray, variables: Sequence[str] = ()) -> Upscaler:
        """Return the upscaler of movies like some frames, whose range becomes the unit interval; for networks of any values.

        Args:
            frames: Frames (T, C, h, w) in physical units, of which NaN does not count.
            variables: Names of the channels; empty if they have none.
        """
        ranges = [_range_of(channel) for channel in np.moveaxis(np.asarray(frames, np.float64), 1, 0)]
        # float32 has seven digits: what is common to all values is taken off in float64.
        offsets = [low if abs(low) > high - low else 0.0 for low, high in ranges]
        several = len(ranges) > 1
        key = (tuple(ranges), tuple(variables))
        found = self._for_values.get(key)
        if found is None:
            trained = self.trained.for_values(
                tuple(ranges) if several else ranges[0], tuple(offsets) if several else offsets[0], variables if several else ()
            )
            found = Upscaler(trained, self.options)
            self._for_values = dict([*self._for_values.items(), (key, found)][-MOST_RANGES:])
        return found

    @property
    def name(self) -> str:
        """The name of the network and its checkpoint, such as "fsrcnn+projection x2 (checkpoint 0123456789ab)"."""
        name = method_label(str(self.config.name), self.config.consistency, self.trained.config.consistency)
        return f"{name} x{self.scale} (checkpoint {self.trained.sha256[:12]})"

    @cached_property
    def linear(self) -> Engine:
        """The linear filter that was fitted to the training frames of the network, as an `Engine` with the same options."""
        own, reference = self.module, self.module.reference
        assert reference is not None
        module = SuperResolver(
            reference, normalizer=own.normalizer, card=own.card, consistency=own.consistency, layout=own.layout
        )
        return Engine(module, self.options, channels=self.channels)

    def upscale(self, movie: Array) -> Array:
        """Upscale a movie `scale` times along y and x. No frame is lost, and NaN stays NaN.

        Args:
            movie: LR frames in physical units, the units of the training data. A NumPy array or a torch tensor has any real
                dtype and the shape (H, W), (T, H, W) or (T, C, H, W) for a network with one channel, and (C, H, W) or (T, C, H,
                W) for a network with C channels, in the order of `variables`; variables of data.lr_variable are further
                channels behind them, and no output. In an xarray.DataArray, rows, columns and time
                are found by the names or CF attributes of dimensions (y, lat, x, lon, time, ...), and each index of a further
                dimension is a movie of its own. An xarray.Dataset must hold one such array, or the several `variables`. A network
                with data.inputs=[time] takes the first frame as the first of its trajectory, and frames as far apart as in
                training. Hours, days, latitudes and longitudes come from the coordinates of a DataArray, and static fields are
                those of training, or `static` of `vsr.load`; they must fit the size and the coordinates of the movie.

        Returns:
            SR frames of the same type, dimensions and units, on the same device; H and W are `scale` times larger. With the
            option `members`, the first dimension is that of the members, or of the statistics `keep` ("member" or "statistic"
            in a DataArray). Values are float64 for float64 input, and for integers if there is an `offset`; otherwise float32. A
            DataArray keeps its attributes, and its coordinates along rows and columns are refined.

        Raises:
            UserError: If the type or the shape is not listed here, or if values are so large that the network overflows.
        """
        if self.any_values and type(movie).__module__.startswith("xarray.") and hasattr(movie, "data_vars"):
            dataset: Any = movie
            movies = movies_of_dataset(dataset)
            if left := [str(name) for name in dataset.data_vars if name not in movies]:
                warnings.warn(f"without rows and columns, and left out: {', '.join(left)}", stacklevel=2)
            if finer := {name: self.upscale(dataset[name]) for name in movies}:  # one by one
                return type(dataset)(finer, attrs=dataset.attrs)
        if isinstance(movie, Tensor):
            held = movie.detach().cpu()
            values = (held.float() if held.dtype == torch.bfloat16 else held).numpy()
            return torch.from_numpy(self._upscale_array(values)).to(movie.device)  # type: ignore[return-value]
        if isinstance(movie, np.ndarray):
            return self._upscale_array(movie)  # type: ignore[return-value]
        if type(movie).__module__.startswith("xarray.") and hasattr(movie, "dims"):
            if names := self.trained.layout.further:
                raise UserError(
                    f"this network takes {', '.join(map(printable_name, names))} beside what it gives; give an array (T, C, H, "
                    f"W) whose last channels they are, or type vsr upscale input=FILE"
                )
            kept = () if self.members is None else self.members.kept
            return upscale_labelled(
                movie, self.scale, self.channels, self._upscale_on_grid, self.alignment, self.variables, kept=kept
            )
        raise UserError(
            f"upscale takes a numpy array, a torch tensor, an xarray.DataArray or an xarray.Dataset, not {type(movie).__name__}"
        )

    def ood_score(self, movie: Array) -> OODScore | PairsScore | None:
        """Compute the out-of-distribution score of a movie from its LR frames.

        Args:
            movie: LR frames as for `upscale`.

        Returns:
            The score; `score.unfamiliar` is True if the linear filter is to be preferred, `str(score)` says why. None if the
            score cannot be measured.
        """
        if self.trained.facts.get("pairs"):
            values = np.asarray(movie)
            if self.trained.layout.further and values.ndim > 2:
                values = values[..., : self.channels, :, :]
            every = self._as_frames(values).numpy()
            step = float(self.trained.facts["pairs"]["time"]["step"])
            chosen = np.unique(np.linspace(0, len(every) - 1, FRAMES).astype(int))
            return self.pairs_score(every[chosen], step * (len(every) - 1), self.trained.facts["pairs"]["time"]["unit"])
        upscaler = self._for_array(np.asarray(movie)) if self.any_values else self
        frames = upscaler._as_frames(np.asarray(movie))
        return upscaler.ood_score_of_frames((frame.numpy() for frame in frames), len(frames), frames.shape[-2:])

    def pairs_score(self, frames: np.ndarray, lead: float, lead_unit: str) -> PairsScore | None:
        """Compare LR frames with those of the training pairs; None for a checkpoint without their statistics.

        Args:
            frames: LR frames (T, C, h, w) in physical units minus the offset.
            lead: Longest lead time of the movie.
            lead_unit: Unit of `lead`.
        """
        known, physical = self.trained.lr_statistics, frames.astype(np.float64) + np.reshape(self.offset, (-1, 1, 1))
        return None if known is None else PairsScore(known.differences(physical, lead, lead_unit))

    def ood_score_of_frames(self, frames: Iterable[np.ndarray], length: int | None, size: Sequence[int]) -> OODScore | None:
        """Compute the out-of-distribution score of a movie that is read frame by frame; see `ood_score`.

        Args:
            frames: LR frames (C, h, w) in physical units, from the first frame on.
            length: Number of frames of the movie; None if it is unknown.
            size: (h, w) in LR pixels.
        """
        engine = self.engine
        # Fewer frames of short movies: the score must not take longer than upscaling.
        block = min(FRAMES, engine.block(*size), FRAMES if length is None else max(1, length // 8))
        clips = islice(read_stream_blocks(frames, 0, base=0, context=engine.context, block=block, ends=engine.ends), 1)
        return out_of_distribution_clip_score(engine, self.degradation, self.trained.consistency, clips)

    def known_of(
        self, of: Mapping[str, Coordinate], size: tuple[int, int], whose: str
    ) -> tuple[dict[str, np.ndarray], Tensor | None]:
        """Return what the network sees of time and place of a movie, and its scaled static fields on the SR grid, (S, H, W).

        Args:
            of: Coordinates "t", "y" and "x" of the LR movie.
            size: Number of rows and columns of an LR frame.
            whose: The movie, for messages.

        Raises:
            UserError: If a coordinate is missing, or if static fields are missing, do not fit, or have other values.
        """
        layout, trained = self.trained.layout, self.trained
        known = time_and_place(layout.inputs, of, whose)
        if not layout.static:
            return known, None
        height, width = (n * self.scale for n in size)
        files = ",".join(f"FILE:{printable_name(name)}" for name in layout.static)
        typed = f"type static=[{files}] with fields of {height}x{width}"
        if not self.static_fields or any(field.values is None for field in self.static_fields):
            why = "are too large to be kept in it" if self.static_fields else "were others for each of its movies"
            names = ", ".join(map(printable_name, layout.static))
            raise UserError(f"{trained.path}: was trained with data.static ({names}), which {why}; {typed} on the grid of SR")
        ticks = ticks_of(*(self._refined(of[letter], i) for i, letter in enumerate("yx")))
        try:
            cut = [field.cut((height, width), ticks, whose) for field in self.static_fields]
        except UserError as error:
            if self.static_fields is not trained.static:
                raise
            raise UserError(f"the static fields in {error}; {typed} on the grid of SR") from error
        trained.check_static_fields(cut, whose)
        scales = zip(cut, trained.static_scales, strict=True)
        scaled = [(np.asarray(field.values, np.float64) - mean) / std for field, (mean, std) in scales]
        return known, torch.from_numpy(np.stack(scaled).astype(np.float32))

    def _refined(self, coordinate: Coordinate, axis: int) -> Coordinate:
        """Return the coordinate of rows (axis 0) or columns (axis 1) of SR frames."""
        name, values, attrs = coordinate
        if values is None or values.ndim != 1 or len(values) < 2 or values.dtype.kind not in "iuf":
            return coordinate._replace(values=None)
        finer, _ = refine_field(name, attrs, values.astype(np.float64), [0], self.scale, [self.alignment[axis]])
        return coordinate._replace(values=finer)

    def add_planes(
        self, frames: Tensor, known: Mapping[str, np.ndarray], further: np.ndarray | None = None, static: Tensor | None = None
    ) -> Tensor:
        """Add the planes that the network sees beside variables.

        Args:
            frames: LR frames (T, C, h, w).
            known: As `known_of` returns it, of these frames; with "time", the time of each frame since the first frame of its
                trajectory, (T,), in the unit of training.
            further: The variables that only LR has, (T, variables, h, w), in physical units; None for networks without any.
            static: As `known_of` returns it.
        """
        layout, beside = self.trained.layout, input_facts(self.trained.facts)
        if layout.further:
            assert further is not None
            low, high = np.reshape(beside["lr_variables"]["bounds"], (-1, 2, 1, 1)).swapaxes(0, 1)
            unit = ((further.astype(np.float64) - low) / (high - low)).astype(np.float32)
            frames = torch.cat([frames, torch.from_numpy(unit)], 1)
        if not layout.inputs and static is None:
            return frames
        values = {word: torch.from_numpy(each) for word, each in known.items()}
        if "time" in layout.inputs:
            values["time"] = values["time"] / beside["time"]["length"]
        return add_input_planes(frames, layout.inputs, values, static, self.scale)

    def _upscale_on_grid(self, movies: Any, axes: str, of: Mapping[str, Coordinate]) -> Any:
        """Upscale an array (..., *axes) on a grid, each index of the other axes as a movie; a Dask array is not computed."""
        grid = grid_of_coordinates(of["y"], of["x"])
        periodic = choose_periodic(self.options.periodic, grid, movies.shape[-1], "the array", "periodic")
        upscaler = self.continued(periodic)
        if is_lazy(movies):
            return upscale_lazily(upscaler, movies, axes, of)
        lead, own = movies.shape[: -len(axes)], dict(zip(axes, movies.shape[-len(axes) :], strict=True))
        frames = movies.reshape(-1, own.get("t", 1), own.get("c", 1), own["y"], own["x"])
        finer = [upscaler._upscale_array(each, of) for each in frames]
        sr = np.stack([each.astype(finer[0].dtype, copy=False) for each in finer], axis=0 if self.members is None else 1)
        kept = () if self.members is None else (len(self.members.kept),)
        return sr.reshape(*kept, *lead, *movies.shape[-len(axes) : -2], *sr.shape[-2:])

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the network to another process, which rebuilds it once."""
        return _rebuilt_upscaler, (self.trained, self.options, self.static_fields, self.calibration, _versions(self.options))

    def _upscale_array(self, movie: np.ndarray, of: Mapping[str, Coordinate] | None = None) -> np.ndarray:
        if self.any_values:
            return self._for_array(movie)._upscale_values(movie, of)
        return self._upscale_values(movie, of)

    def _for_array(self, movie: np.ndarray) -> Upscaler:
        """Return the upscaler of an array (..., T, C, h, w), or one without channels, whose first frame gives the range."""
        if movie.ndim < 2 or not movie.size:
            return self
        channels = movie.shape[-3] if movie.ndim == 4 else 1
        return self.for_frames(movie.reshape(-1, channels, *movie.shape[-2:])[:1])

    def _upscale_values(self, movie: np.ndarray, of: Mapping[str, Coordinate] | None) -> np.ndarray:
        dtype, further, names = output_dtype(movie.dtype, self.offset), None, self.trained.layout.further
        if names:
            if movie.ndim not in (3, 4) or movie.shape[-3] != self.channels + len(names):
                raise UserError(
                    f"a movie of shape {tuple(movie.shape)}: this network takes (T, {self.channels + len(names)}, H, W), whose "
                    f"last channels are {', '.join(map(printable_name, names))}"
                )
            movie, further = movie[..., : self.channels, :, :], movie[..., self.channels :, :, :]
            further = further.reshape(-1, *further.shape[-3:])
        frames = self._as_frames(movie)
        whose = f"a movie of {printable_shape(frames.shape[2:])}"
        nothing = dict.fromkeys("tyx", Coordinate("", None, {}))
        gaps = Gaps()
        gaps.add(frames)
        if (told := gaps.describe(len(frames), frames[0, 0].numel())) and not self.knows_gaps:
            log.info("note      %s", told)
        known, static = self.known_of(of or nothing, (frames.shape[2], frames.shape[3]), whose)
        if "time" in self.trained.layout.inputs:
            known["time"] = self.trained.facts["pairs"]["time"]["step"] * np.arange(len(frames))
        seen = self.add_planes(frames, known, further, static)
        if self.members is None:
            sr = self.with_offset(self.upscale_frames(seen).numpy(), np.dtype(dtype))
            return sr.reshape(*movie.shape[:-2], *sr.shape[-2:])
        sr = self.with_offset(self._in_blocks(self.members, seen).numpy(), np.dtype(dtype))
        kept = np.moveaxis(sr.reshape(len(sr), len(self.members.kept), self.channels, *sr.shape[-2:]), 1, 0)
        return kept.reshape(len(kept), *movie.shape[:-2], *sr.shape[-2:])

    def with_offset(self, sr: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Add the offset to SR frames (T, C, H, W), in float64, and return them in a type."""
        offset = self.offset if self.members is None else self.members.offset(self.offset)
        return (sr.astype(np.float64) + np.reshape(offset, (-1, 1, 1)) if offset else sr).astype(dtype, copy=False)

    def without_offset(self, frames: np.ndarray) -> Tensor:
        """Take the offset off frames (T, C, h, w) of any real dtype, in float64, and return them as float32."""
        try:
            with np.errstate(over="raise"):
                values = frames.astype(np.float64) - np.reshape(self.offset, (-1, 1, 1)) if self.offset else frames
                return torch.from_numpy(np.array(values, np.float32, order="C"))
        except FloatingPointError:
            largest = f"{np.abs(frames[np.isfinite(frames)]).max():.3g}"
            raise UserError(
                f"values up to {largest} are beyond the range of float32; give other units, or NaN where missing"
            ) from None

    def upscale_frames(self, frames: Tensor) -> Tensor:
        """Upscale frames (T, C, h, w) block by block to (T, C, H, W), both in physical units minus the offset."""
        if self.options.undecided:
            size = tuple(frames.shape[-2:])
            if size not in self._decided:
                self._decided[size] = self.with_options(self.decided_options(frames, len(frames)))
            return self._decided[size].upscale_frames(frames)
        return self._in_blocks(self.engine, frames)

    def _in_blocks(self, engine: Engine | MemberEngine, frames: Tensor) -> Tensor:
        length, block, window = len(frames), engine.block(*frames.shape[-2:]), self.engine.window
        starts = range(0, length, block)
        return torch.cat([engine(frames[window(a, min(a + block, length), length)], first_frame=a) for a in starts])

    def _as_frames(self, movie: np.ndarray) -> Tensor:
        """Reshape a movie to (T, C, h, w), without the offset. Raises UserError for a shape that does not fit the network."""
        expected = "(H, W), (T, H, W)" if self.channels == 1 else f"({self.channels}, H, W)"
        if self.channels == 1 and movie.ndim in (2, 3):
            frames = movie.reshape(-1, 1, *movie.shape[-2:])
        elif movie.ndim in (3, 4) and movie.shape[-3] == self.channels:
            frames = movie.reshape(-1, *movie.shape[-3:])
        else:
            raise UserError(
                f"a movie of shape {tuple(movie.shape)}: this network has {self.channels} channel(s) and takes {expected} or "
                f"(T, {self.channels}, H, W)"
            )
        if not frames.size:
            raise UserError(f"a movie of shape {tuple(movie.shape)} holds no pixel")
        return self.without_offset(frames)


def _range_of(values: np.ndarray) -> tuple[float, float]:
    """Return the smallest and the largest of the finite values, apart from each other."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return (low, high) if high > low else (low, low + max(1.0, abs(low)))


def _versions(options: UpscaleOptions) -> list[str]:
    """Return what the result of a network depends on beside the network, such as "torch 2.13.0"."""
    engine = options.engine
    runtimes = [f"{engine} {runtime_version(engine)}"] if engine in RUNTIMES else []
    return [f"vsr {__version__}", f"torch {torch.__version__}", *runtimes]


def _rebuilt_upscaler(
    trained: Trained,
    options: UpscaleOptions,
    static: tuple[StaticField, ...],
    calibration: Calibration | None,
    versions: list[str],
) -> Upscaler:
    """Rebuild an upscaler that another process sent, once for each process.

    Args:
        trained: Content of the checkpoint.
        options: Options of upscaling.
        static: The static fields of the sender.
        calibration: The intervals of the sender, whose file this process may not see.
        versions: Versions of vsr, torch and the engine of the sender.

    Raises:
        UserError: If this process has other versions, whose results differ.
    """
    own = _versions(options)
    if own != versions:
        raise UserError(
            f"this worker has {' and '.join(own)}, the network was sent by {' and '.join(versions)}; install the same versions "
            f"on all workers"
        )
    intervals = None if calibration is None else str(calibration.to_plain())
    key = (trained.sha256, str(trained.facts), options, tuple(field.sha256 for field in static), intervals)
    with _rebuilding:
        if key not in _rebuilt:
            _rebuilt.clear()
            _rebuilt[key] = Upscaler(trained, options, calibration=calibration)
            _rebuilt[key].static_fields = static
        return _rebuilt[key]


def load_upscaler(path: str | Path, *, plugins: Sequence[str] = (), static: str | Sequence[str] = (), **options: Any) -> Upscaler:
    """Load a trained network from a checkpoint, ready to upscale movies.

    Example:
        >>> network = vsr.load("best.ckpt", device="cpu", ensemble=True)
        >>> sr = network.upscale(lr)  # (T, H, W) -> (T, 2 * H, 2 * W) for a network that was trained with scale=2

    Args:
        path: A checkpoint that training wrote (.ckpt) or `vsr export` (.safetensors), or "pretrained:NAME" for a network of the
            package, such as "pretrained:field_x2"; `vsr weights` lists them.
        plugins: Packages whose classes the checkpoint may name, such as ["mypackage"].
        static: Static fields on the grid of SR frames, such as ["orography.nc:z"], for a network that was trained with
            data.static; without any, those of training are used where they fit.
        **options: Fields of `vsr.inference.options.UpscaleOptions`, which explains them: `device`, `engine`, `precision`,
            `compile`, `channels_last`, `ensemble`, `periodic`, `ends`, `consistency`, `consistency_steps`, `tile`,
            `memory`, `members`, `keep`, `seed` and `calibration`.

    Returns:
        An `Upscaler` with the methods `upscale(movie)` and `ood_score(movie)`.

    Raises:
        UserError: If the file is not a checkpoint of vsr, is damaged or incomplete, or if an option is unknown, has a value that
            is not allowed, or contradicts the network or another option.
    """
    open_announced_plugins()
    open_plugins(plugins)
    known = UpscaleOptions.__dataclass_fields__
    if unknown := [name for name in options if name not in known]:
        raise UserError(f"{unknown[0]}: no such option; known: {', '.join(sorted(known))}")
    given = [static] if isinstance(static, str) else list(static)
    return Upscaler(read_trained(Path(path).expanduser()), UpscaleOptions(**options), given)
