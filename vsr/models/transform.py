"""Transforms of variables with heavy tails: a network sees and learns the logarithm of a value, say, in place of the value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import asinh, isfinite, log, sqrt
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from vsr.models.base import Network
from vsr.types import TrainingFrames, TransformName, ValueBounds

TRANSFORMS: tuple[TransformName, ...] = get_args(TransformName)
POSITIVE = ("log", "sqrt")  # transforms whose inverse gives no negative value
RESOLVED = 1e-6  # of the lower bound: the smallest value that float32 tells from 0 in the unit interval


@dataclass(frozen=True)
class Transform:
    """Transform f(x / scale) of one variable, mapped such that the training frames have values from 0 to 1.

    Attributes:
        kind: "log", "sqrt" or "asinh"; asinh is linear below `scale`, and a logarithm of the magnitude far above it.
        low: Smallest HR value of the training frames, in physical units; above 0 for "log", 0 or more for "sqrt".
        high: Largest HR value of the training frames.
        scale: Mean magnitude of the HR values of the training frames, above 0.

    Raises:
        ValueError: If the numbers do not suit the transform.
    """

    kind: TransformName
    low: float
    high: float
    scale: float

    def __post_init__(self) -> None:
        known = self.kind in TRANSFORMS and all(map(isfinite, (self.low, self.high, self.scale)))
        if not (known and self.scale > 0 and self.low < self.high and in_domain(self.kind, self.low)):
            raise ValueError(f"no transform: {self}")

    @property
    def ends(self) -> tuple[float, float]:
        """Return f(low / scale) and f(high / scale)."""
        function = {"log": log, "sqrt": sqrt, "asinh": asinh}[self.kind]
        return function(self.low / self.scale), function(self.high / self.scale)

    def __call__(self, x: Tensor) -> Tensor:
        """Transform physical values; the training frames get values from 0 to 1. Values must be in the domain."""
        x = x / self.scale
        x = x.log() if self.kind == "log" else x.sqrt() if self.kind == "sqrt" else x.asinh()
        first, last = self.ends
        return (x - first) / (last - first)

    def inverse(self, x: Tensor) -> Tensor:
        """Return the physical values of transformed values; 0 where a square root would be negative."""
        first, last = self.ends
        x = x * (last - first) + first
        x = x.exp() if self.kind == "log" else x.clamp_min(0).square() if self.kind == "sqrt" else x.sinh()
        return x * self.scale


def in_domain(kind: TransformName | None, value: Any) -> Any:
    """Return where a number or an array of physical values can be transformed; True for NaN, too."""
    return ~(np.less_equal(value, 0) if kind == "log" else np.less(value, 0) if kind == "sqrt" else np.zeros_like(value, bool))


def transforms_from_facts(facts: Mapping[str, Any]) -> tuple[Transform | None, ...]:
    """Return the transform of each channel from the description (`card`) of the data; empty where there is none.

    Raises:
        TypeError: If the description does not have the form that `transforms_to_facts` returns.
        ValueError: If a transform has impossible numbers.
    """
    found = tuple(None if one is None else Transform(**one) for one in facts.get("transforms") or ())
    if found and len(found) != int(facts["channels"]):
        raise ValueError(f"transforms={facts['transforms']}")
    return found


def transform_kinds(transforms: Sequence[Transform | None]) -> tuple[TransformName | None, ...]:
    """Return the name of each transform, None for none."""
    return tuple(None if one is None else one.kind for one in transforms)


def transforms_to_facts(transforms: Sequence[Transform | None]) -> list[dict[str, Any] | None]:
    """Return transforms as plain values."""
    return [None if one is None else asdict(one) for one in transforms]


class Transformed(Network):
    """Wrapper of a network that works on transformed variables: sr = f^-1(network(f(lr))), both ends in the unit interval.

    The unit interval of scores, baselines, degradations and consistency stays an affine map of physical values. The loss compares
    transformed frames, see `vsr.training.modules.base.SRModule`.

    Args:
        network: The network that sees transformed LR frames.
        transforms: Transform of each channel; None for a channel that stays as it is.
        bounds: Physical values that are 0 and 1 in the unit interval, for all channels or for each.
    """

    def __init__(self, network: Network, transforms: Sequence[Transform | None], bounds: ValueBounds) -> None:
        super().__init__()
        self.network, self.transforms = network, tuple(transforms)
        self.kind, self.geometry, self.context = network.kind, network.geometry, network.context
        self.reach, self.whole_frames = network.reach, network.whole_frames
        self.set_bounds(bounds)

    def set_bounds(self, bounds: ValueBounds) -> None:
        """Set the physical values that are 0 and 1 in the unit interval, for all channels or for each."""
        self.bounds = np.broadcast_to(np.asarray(bounds, np.float64), (len(self.transforms), 2)).tolist()

    @property
    def error_unit(self) -> Tensor | float:
        """Return the unit of errors of the wrapped network, in the transformed unit interval."""
        return self.network.error_unit

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR frames or clips to HR frames or clips, in the unit interval."""
        return self.restore(self.network(self.transform(lr)))

    def transform(self, frames: Tensor) -> Tensor:
        """Transform the variables of frames (N, C, H, W) or clips (B, C, T, H, W) in the unit interval; keep further planes."""
        parts = []
        for x, one, (low, high) in zip(frames.split(1, 1), self.transforms, self.bounds, strict=False):
            if one is not None:
                x = x * (high - low) + low
                # Data and inputs out of the domain are refused before; this keeps gaps and rounding errors finite.
                x = one(x.clamp_min(RESOLVED * max(one.low, low)) if one.kind in POSITIVE else x)
            parts.append(x)
        return torch.cat([*parts, frames[:, len(parts) :]], 1)

    def restore(self, frames: Tensor) -> Tensor:
        """Map transformed frames or clips back to the unit interval, in single precision; those of several members, too."""
        parts, members = [], frames.shape[1] // len(self.transforms)
        channels = [*zip(self.transforms, self.bounds, strict=True)] * members
        for x, (one, (low, high)) in zip(frames.float().split(1, 1), channels, strict=True):
            if one is not None:
                x = one.inverse(x)
                # So that rounding errors of the unit interval make no value negative.
                x = ((x.clamp_min(RESOLVED * max(0.0, low)) if one.kind in POSITIVE else x) - low) / (high - low)
            parts.append(x)
        return torch.cat(parts, 1)

    @torch.no_grad()
    def prepare(self, frames: TrainingFrames) -> None:
        """Prepare the wrapped network with transformed training frames."""
        self.network.prepare(self.transform_training_frames(frames))

    def transform_training_frames(self, frames: TrainingFrames) -> TrainingFrames:
        """Transform whole training frames in the unit interval."""
        return [(self.transform(lr), self.transform(hr), mask) for lr, hr, mask in frames]

    def fold(self) -> nn.Module:
        """Return a copy of the wrapper in which the network is folded; see `Network.fold`."""
        return self.with_modules(network=self.network.fold())

    def replace_layers(self, replace: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Return a copy of the wrapper with the layers of the network replaced; see `Network.replace_layers`."""
        return self.with_modules(network=self.network.replace_layers(replace))


def unwrap_transform(network: Network) -> Network:
    """Return the network without the transform around it, which the loss works on."""
    return network.network if isinstance(network, Transformed) else network
