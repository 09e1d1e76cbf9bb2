"""A trained network and its options, for blocks of LR frames whose shape, type and channels are those of the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor

from vsr.config.schema import method_label
from vsr.degradations.border import Periodic
from vsr.errors import UserError
from vsr.geometry import Alignment, is_cell
from vsr.inference.engine import Engine
from vsr.inference.engine_choice import choose_options, computes_as
from vsr.inference.members import MemberEngine, read_calibration
from vsr.inference.options import UpscaleOptions
from vsr.inference.out_of_distribution import FRAMES, OODScore, PairsScore, out_of_distribution_clip_score
from vsr.inference.stream import read_stream_blocks
from vsr.inference.trained import Trained
from vsr.io.readers.pixel_grid import Coordinate
from vsr.io.readers.printable import printable_name
from vsr.io.static_fields import open_fields_of_network, ticks_of
from vsr.io.time_and_place import time_and_place
from vsr.io.writers.coordinates import refine_field
from vsr.metrics.calibration import Calibration
from vsr.models.base import add_input_planes, input_facts
from vsr.models.linear import Linear
from vsr.models.super_resolver import SuperResolver
from vsr.training.build_network import build_from_node

MOST_RANGES = 64  # upscalers of movies of different ranges that are kept: tasks of Dask go from level to level


class FrameUpscaler:
    """A trained network that upscales LR frames (T, C, h, w), float32, in physical units minus the offset.

    Its subclass `vsr.inference.upscaler.Upscaler` takes whole movies of any type; it explains the arguments and attributes.
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
        self._continued: dict[Periodic, Self] = {}
        self._for_values: dict[tuple[Any, ...], Self] = {}
        self._decided: dict[tuple[int, ...], Engine] = {}  # by the size of LR frames
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

    def continued(self, periodic: Periodic) -> Self:
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
        return choose_options(self.engine, self.trained.sha256, frames[self.engine.window(0, 1, len(frames))], length)

    def with_options(self, options: UpscaleOptions) -> Self:
        """Return the upscaler of the same network with other options, but those of members and intervals."""
        other = type(self)(self.trained, options, calibration=self.calibration)
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

    def for_frames(self, frames: np.ndarray, variables: Sequence[str] = ()) -> Self:
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
            found = type(self)(trained, self.options)
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
                options = self.decided_options(frames, len(frames))
                own = computes_as(self.engine, options)
                self._decided[size] = self.engine if own else self.with_options(options).engine
            return self._in_blocks(self._decided[size], frames)
        return self._in_blocks(self.engine, frames)

    def _in_blocks(self, engine: Engine | MemberEngine, frames: Tensor) -> Tensor:
        length, block, window = len(frames), engine.block(*frames.shape[-2:]), self.engine.window
        starts = range(0, length, block)
        return torch.cat([engine(frames[window(a, min(a + block, length), length)], first_frame=a) for a in starts])


def _range_of(values: np.ndarray) -> tuple[float, float]:
    """Return the smallest and the largest of the finite values, apart from each other."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return (low, high) if high > low else (low, low + max(1.0, abs(low)))
