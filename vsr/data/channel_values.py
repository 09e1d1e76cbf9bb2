"""Values of channels: bounds, transforms and vectors as a user declares them, and as the training frames complete them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from vsr.data.checks import ratio_problem, transform_problem
from vsr.errors import UserError, error_suggestion
from vsr.io.readers.printable import printable_name, printable_value
from vsr.models.transform import POSITIVE, Transform
from vsr.types import Movie, Offset, TransformName, ValueBounds, ValueRange

log = logging.getLogger(__name__)

LEAST_FILLED = 0.01  # share of declared bounds that the training frames must fill
MOST_OUTSIDE = 0.1  # of declared bounds: values further outside get a warning


def parse_bounds(
    given: Sequence[float] | Mapping[str, Sequence[float]] | None, variables: Sequence[str], name: str
) -> tuple[ValueBounds | None, dict[str, ValueRange]]:
    """Return the bounds that a user gives, as far as they are known, and those of single variables.

    Args:
        given: (low, high), for each variable if there are several; or variable -> (low, high), for some of several variables.
        variables: Names of the channels; empty for channels with bounds in common.
        name: Name of the data, for messages.

    Raises:
        UserError: If there is no such variable.
    """
    bounds: ValueBounds | None = None
    declared: dict[str, ValueRange] = {}
    if isinstance(given, Mapping):
        _check_names(given, variables, f"{name}: data.bounds", "data.bounds=[LOW,HIGH]")
        declared = {variable: (float(low), float(high)) for variable, (low, high) in given.items()}
    elif given is not None:
        low, high = map(float, given)
        bounds, declared = (low, high), dict.fromkeys(variables, (low, high))
    if variables and len(declared) == len(variables):
        bounds = tuple(declared[variable] for variable in variables)
    return bounds, declared


def parse_transforms(
    given: TransformName | Mapping[str, TransformName], variables: Sequence[str], name: str
) -> tuple[TransformName | None, ...]:
    """Return the transform of each channel that a user gives; empty for none.

    Args:
        given: A transform, for all channels; or variable -> transform, for some of several variables.
        variables: Names of the channels; empty for channels without names.
        name: Name of the data, for messages.

    Raises:
        UserError: If there is no such variable.
    """
    if isinstance(given, Mapping):
        _check_names(given, variables, f"{name}: data.transform", "data.transform=log")
        return tuple(given.get(variable) for variable in variables) if given else ()
    return (given,) * max(1, len(variables))


def _check_names(given: Mapping[str, Any], variables: Sequence[str], typed: str, without: str) -> None:
    """Raise UserError for a name that is none of `variables`; the message advises to type `without` if there are none."""
    for name in given:
        if name not in variables:
            known = error_suggestion(str(name), variables) if variables else f"; type {without}"
            raise UserError(f"{typed}={{{printable_name(str(name))}: ...}}: no such variable{known}")


def parse_vectors(given: Sequence[Sequence[str]], variables: Sequence[str], name: str) -> tuple[tuple[int, int], ...]:
    """Return the channels (u, v) of vectors along x and along y.

    Args:
        given: Pairs of names of variables.
        variables: Names of the channels.
        name: Name of the data, for messages.

    Raises:
        UserError: If a vector does not consist of two of the variables, or if two vectors share one.
    """
    pairs = [printable_name(",".join(map(str, pair))) for pair in given]
    typed = f"data.vectors=[{','.join(f'[{pair}]' for pair in pairs)}]"
    names = [str(component) for pair in given for component in pair]
    for component in names:
        if component not in variables:
            known = error_suggestion(component, variables) if variables else "; type data.variable=[u,v]"
            raise UserError(f"{name}: {typed}: {printable_name(component)} is none of the variables{known}")
    if any(len(pair) != 2 for pair in given) or len(set(names)) < len(names):
        raise UserError(f"{name}: {typed}: a vector has two components of its own; type data.vectors=[[u,v]]")
    found = [[variables.index(component) for component in pair] for pair in given]
    return tuple((along_x, along_y) for along_x, along_y in found)


def merge_transforms(
    own: Sequence[TransformName | None], others: Sequence[TransformName | None]
) -> tuple[TransformName | None, ...]:
    """Return transforms whose domains lie in those of both: of the data and of a network to be scored, one per channel."""
    own = tuple(own) * (len(others) if len(own) == 1 else 1) or (None,) * len(others)
    both = zip(own, others, strict=False)
    return tuple("log" if "log" in pair else "sqrt" if "sqrt" in pair else None for pair in both)


@dataclass(frozen=True)
class ChannelValues:
    """Bounds and transforms of the channels of a data module, and the checks of values by them.

    Attributes:
        name: Name of the data, for messages.
        variables: Names of the channels, each with bounds of its own; empty for channels with bounds in common.
        bounds: Physical values that become 0 and 1; None before the training frames are measured.
        declared: Bounds that a user gives for some of `variables`.
        transforms: Transform of each channel; empty for none.
        offset: The physical value that is 0 in frames, or one per channel.
        physical: True for values of a physical field, False for code values of pictures.
        positive: True if negative values are refused.
        for_training: True if networks are trained on the values, False if they are only scored.
    """

    name: str
    variables: tuple[str, ...]
    bounds: ValueBounds | None
    declared: Mapping[str, ValueRange]
    transforms: tuple[TransformName | None, ...]
    offset: Offset
    physical: bool
    positive: bool
    for_training: bool

    @property
    def places(self) -> list[str]:
        """Beginning of messages on each range of values: the name of the data, and of the variable if there are several."""
        return [f"{self.name}: {printable_name(variable)}" for variable in self.variables] or [self.name]

    def complete_bounds(self, found: ValueBounds) -> ValueBounds:
        """Return the bounds, `found` where none are declared."""
        if self.bounds is not None:
            return self.bounds
        each = [found if np.ndim(found) == 1 else found[i] for i in range(len(self.variables))]
        own = tuple(self.declared.get(variable, one) for variable, one in zip(self.variables, each, strict=True))
        return own or found  # type: ignore[return-value]

    def measure_bounds(self, movie: str, ranges: list[ValueRange]) -> ValueBounds:
        """Check the value range of each channel of the training frames, and return the bounds that they give.

        Args:
            movie: Name of the first movie, for messages.
            ranges: The smallest and the largest value of each channel in frames, without `offset`.

        Raises:
            UserError: If a channel has one value alone or none, or if it fills too little of its declared bounds.
        """
        if not self.variables:
            self._warn_of_small_channels(ranges)
            ranges = [(min(low for low, _ in ranges), max(high for _, high in ranges))]
        own = []
        declared: list[Any] = [self.declared.get(variable) for variable in self.variables] or [self.bounds]
        for (low, high), offset, bounds, variable, where in zip(
            *(ranges, np.broadcast_to(self.offset, len(ranges)).tolist(), declared, self.variables or ("",), self.places),
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
        return tuple(own) if self.variables else own[0]

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

    def fit_transforms(self, ranges: list[ValueRange], sizes: list[float]) -> list[Transform | None]:
        """Fit the transform of each channel to the training frames; return none if no network is trained on them.

        Args:
            ranges: The smallest and the largest value of each channel in frames, without `offset`.
            sizes: Mean magnitude of the values of each channel.

        Raises:
            UserError: If a transform does not suit the values or the bounds.
        """
        if not any(self.transforms):
            return []
        found: list[Transform | None] = []
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
                found.append(None if kind is None else Transform(kind, least, most, sizes[i]))
        return found

    def check_hr(self, movie: Movie, start: int, frames: Tensor) -> None:
        """Raise UserError for HR frames (C, t, H, W), from frame `start` on, with values that a transform does not take."""
        frames = frames.transpose(0, 1)
        found, advice = transform_problem(frames, self.transforms, self.variables, self.offset), "asinh, which takes every value"
        if found is None and self.positive:
            found, advice = ratio_problem(frames, self.variables, self.offset), "consistency=projection"
        if found is not None:
            at, problem = found
            raise UserError(f"{movie.name}: frame {start + at}: {problem}; type {advice}")

    def check_lr(self, movie: Movie, start: int, lr: Tensor, given: bool) -> None:
        """Raise UserError for LR frames with values that a transform does not take.

        Args:
            movie: The movie, for messages.
            start: Number of the first frame.
            lr: LR frames, (N, C, h, w).
            given: True for frames of a file, False for those that a degradation made.
        """
        found = transform_problem(lr[:, : len(self.transforms)], self.transforms, self.variables, self.offset)
        if found is not None:
            at, problem = found
            area = "degradation=area, whose weights are not negative, as some of this degradation are; or "
            advice = f"type {'' if given else area}asinh, which takes every value"
            raise UserError(f"{movie.name}: frame {start + at}: in the LR frame, {problem}; {advice}")


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
