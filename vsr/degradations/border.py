"""Continuation of frames beyond their borders: mirrored, at the opposite side, or on the other side of a pole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from vsr.degradations.base import Bounds, Degradation
from vsr.errors import UserError
from vsr.geometry import PixelGrid
from vsr.types import HRFrames, LRFrames

Periodic = Literal["none", "x", "y", "xy", "globe"]
# LR pixels around a frame that is degraded: more than any kernel needs, and whole blocks of JPEG.
DEGRADED_BORDER = 16


@dataclass(frozen=True)
class Border:
    """Continuation of frames beyond their borders.

    On a globe, columns continue at the opposite side, and rows beyond a pole are the rows before it, turned by half a circle. The
    two components of a vector change their signs there, because east and north point the other way.

    Args:
        periodic: Axes along which frames continue at the opposite side, or "globe". Frames are mirrored along other axes.
        vectors: Channel of each component of a vector -> the value that stands for a component of 0.
        packed: (first, stop, scale): the channels first..stop-1 are finer fields, packed by space to depth, whose rows are turned
            beyond a pole, too. None without such channels.
    """

    periodic: Periodic = "none"
    vectors: Mapping[int, float] = field(default_factory=dict)
    packed: tuple[int, int, int] | None = None

    @classmethod
    def in_unit_interval(cls, facts: dict[str, Any]) -> Border:
        """Return the border of frames in the unit interval, from the description (`card`) of their data module."""
        vectors = [channel for pair in facts.get("vectors", ()) for channel in pair]
        zeros = {channel: -low / (high - low) for channel in vectors for low, high in [facts["bounds"][channel]]}
        return cls(facts.get("border", "none"), zeros)

    def of_channel(self, channel: int) -> Border:
        """Return the border of frames that have only one of the channels."""
        return replace(self, vectors={0: self.vectors[channel]} if channel in self.vectors else {}, packed=None)

    @property
    def closed(self) -> tuple[bool, bool]:
        """Tell for y and for x whether frames continue beyond the border, instead of being mirrored."""
        globe = self.periodic == "globe"
        return globe or "y" in self.periodic, globe or "x" in self.periodic

    def width(self, pixels: int) -> tuple[int, int]:
        """Return (y, x): the number of pixels along axes on which frames continue, and 0 along other axes."""
        y, x = self.closed
        return pixels * y, pixels * x

    def pad(self, frames: Tensor, width: tuple[int, int]) -> Tensor:
        """Add a border to frames or clips; it may be wider than the frame.

        Args:
            frames: Frames (N, C, H, W) or clips (B, C, T, H, W). On a globe, W is even.
            width: (y, x) pixels to add on each side.
        """
        for axis, letter, n in zip((-2, -1), "yx", width, strict=True):
            if not n:
                continue
            size = frames.shape[axis]
            index = torch.arange(-n, size + n, device=frames.device)
            if letter == "y" and self.periodic == "globe":
                frames = self._beyond_poles(frames, index)
            elif self.closed["yx".index(letter)]:
                frames = frames.index_select(axis, index % size)
            else:
                index = index % (2 * size)
                frames = frames.index_select(axis, torch.minimum(index, 2 * size - 1 - index))
        return frames

    def _beyond_poles(self, frames: Tensor, index: Tensor) -> Tensor:
        """Return the rows `index`, counted from the first row of frames; rows beyond a pole are turned."""
        height = frames.shape[-2]
        index = index % (2 * height)
        beyond = index >= height
        rows = frames.index_select(-2, torch.minimum(index, 2 * height - 1 - index))
        turned = rows.roll(frames.shape[-1] // 2, -1)
        for channel, zero in self.vectors.items():
            if channel < frames.shape[1]:  # a probe has one channel
                turned[:, channel] = 2 * zero - turned[:, channel]
        first, stop, scale = self.packed or (0, 0, 1)
        if first < min(stop, frames.shape[1]):  # frames of variables alone have no such channels
            turned[:, first:stop] = turned[:, first:stop].unflatten(1, (-1, scale, scale)).flip(2).flatten(1, 3)
        return torch.where(beyond[:, None], turned, rows)


class Bordered:
    """Degradation of frames that continue beyond their borders.

    Args:
        degradation: The degradation, which mirrors frames at their borders.
        border: How frames continue beyond their borders.
    """

    def __init__(self, degradation: Degradation, border: Border) -> None:
        self.degradation, self.border = degradation, border
        self.name, self.temporal = f"{degradation.name}, periodic({border.periodic})", degradation.temporal

    def __call__(self, hr: HRFrames, scale: int, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> LRFrames:
        y, x = self.border.width(DEGRADED_BORDER)
        lr = self.degradation(self.border.pad(hr, (y * scale, x * scale)), scale, bounds=bounds, first=first)
        return lr[..., y : lr.shape[-2] - y, x : lr.shape[-1] - x].contiguous()

    def origin(self, scale: int) -> float:
        """Return the position of the first LR pixel along each axis, in HR pixels from the first HR pixel."""
        return self.degradation.origin(scale)


def choose_periodic(typed: Periodic | None, grid: PixelGrid, width: int, name: str, key: str) -> Periodic:
    """Return how the frames of a movie continue beyond their borders.

    Args:
        typed: What the user typed; None for what the coordinates say.
        grid: The pixels of the frames.
        width: Number of columns.
        name: Name of the movie, for error messages.
        key: The typed key, for error messages.

    Raises:
        UserError: If the coordinates contradict what is typed.
    """
    if typed is None:
        return grid.closed
    if grid.cosines is not None and typed not in ("none", grid.closed) and (typed, grid.closed) != ("x", "globe"):
        says = {
            "none": "longitudes do not go round the globe",
            "x": "longitudes go round the globe, but rows do not end half a pixel before both poles",
            "globe": "longitudes go round the globe, and latitudes end at the poles",
        }
        raise UserError(f"{name}: {key}={typed}: its {says[grid.closed]}; type {key}={grid.closed}, or leave the key out")
    if typed == "globe" and width % 2:
        raise UserError(
            f"{name}: {key}=globe: a row beyond a pole is turned by half a circle, {width} columns are odd; type {key}=x"
        )
    return typed


def with_border(degradation: Degradation, border: Border) -> Degradation:
    """Return the degradation of frames that continue beyond their borders as `border` says."""
    return Bordered(degradation, border) if any(border.closed) else degradation
