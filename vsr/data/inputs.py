"""Inputs of networks beside the variables: planes of time and place, variables that only LR has, static fields."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vsr.data.splits import Segment
from vsr.errors import UserError
from vsr.io.readers.printable import printable_name
from vsr.io.static_fields import StaticField
from vsr.models.base import OF_FRAMES, LRLayout, add_input_planes
from vsr.models.normalize import frame_bounds
from vsr.types import FrameBounds, Movie, Offset

CHUNK_FRAMES = 64  # of the variables that only LR has, read at once


@dataclass(frozen=True)
class NetworkInputs:
    """Inputs of networks beside the variables of a data module.

    Attributes:
        words: Words of INPUT_PLANES, in this order.
        runs_up: For y and x, True if the coordinate grows; None where nothing says it.
        lr_variables: Names of the variables that only LR has, `Movie.further`.
        lr_offset: The physical value that is 0 in their frames, or one for each.
        lr_bounds: Range (low, high) of each; None before they are measured.
        static_names: Names of the fields of `Movie.static`.
        static_fields: The fields, if all movies have them in common.
        static_scales: (mean, std) of each static field; None before they are measured.
        scale: HR pixels per LR pixel.
    """

    words: tuple[str, ...]
    runs_up: Sequence[bool | None]
    lr_variables: tuple[str, ...]
    lr_offset: Offset
    lr_bounds: Sequence[Sequence[float]] | None
    static_names: tuple[str, ...]
    static_fields: tuple[StaticField, ...]
    static_scales: Sequence[Sequence[float]] | None
    scale: int

    def layout(self, channels: int) -> LRLayout:
        """Return the channels of LR frames of `channels` variables, whose pixels lie in the middle of their blocks."""
        return LRLayout(channels, self.words, None, self.lr_variables, self.static_names, self.scale**2)

    def facts(self) -> dict[str, Any]:
        """Return what the card says of the channels of LR beside the variables; keys that do not count are left out."""
        facts: dict[str, Any] = {"inputs": list(self.words)}
        if "position" in self.words:
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

    def measure(
        self, splits: dict[str, list[tuple[Movie, Segment]]], read: Callable[[Movie, int, int], Tensor], digest: str
    ) -> tuple[NetworkInputs, str]:
        """Return the inputs with the scales of the training movies, and the digest with all their values.

        Args:
            splits: Movies and segments of each split.
            read: Function of a movie and (start, stop) that returns these frames of its variables that only LR has.
            digest: SHA-256 of the other values.

        Raises:
            UserError: If such a variable or a static field has one value alone, or if `read` raises it.
        """
        if not self.lr_variables and not self.static_names:
            return self, digest
        total, ranges = hashlib.sha256(digest.encode()), []
        for name, parts in splits.items():
            for movie, part in parts if self.lr_variables else ():
                for start in range(part.start, part.stop, CHUNK_FRAMES):
                    further = read(movie, start, min(start + CHUNK_FRAMES, part.stop))
                    total.update(further.numpy().tobytes())
                    if name == "train":
                        flat = further.flatten(1).double().numpy()
                        ranges.append(np.stack([np.nanmin(flat, 1), np.nanmax(flat, 1)], 1))
        lr_bounds, static_scales = self.lr_bounds, self.static_scales
        if self.lr_variables and lr_bounds is None:
            lr_bounds = self._range_of_further(np.stack(ranges))
        if self.static_names:
            static_scales = self._scales_of_static([movie for movie, _ in splits["train"]])
            for movie, _ in [both for parts in splits.values() for both in parts]:
                total.update(b"" if movie.static is None else movie.static.numpy().tobytes())
        return replace(self, lr_bounds=lr_bounds, static_scales=static_scales), total.hexdigest()

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

    def _scales_of_static(self, train: Sequence[Movie]) -> Sequence[Sequence[float]]:
        """Return (mean, std) of each static field, measured on training movies if they are not known."""
        if self.static_scales is not None:
            return self.static_scales
        movies = {movie.number: movie for movie in train}.values()
        values = torch.cat([movie.static.flatten(1) for movie in movies if movie.static is not None], 1).double()
        scales = torch.stack([values.mean(1), values.std(1)], 1).tolist()
        for field, (mean, std) in zip(self.static_names, scales, strict=True):
            if not std > 0:
                raise UserError(
                    f"data.static: every value of {printable_name(field)} is {mean:.10g}; no network learns from it; leave it out"
                )
        return scales

    def join_bounds(self, bounds: FrameBounds, channels: int) -> FrameBounds:
        """Return the bounds of the frames of `channels` variables and, behind them, of the variables that only LR has."""
        both = zip(bounds, frame_bounds(self.lr_bounds or (), self.lr_offset), strict=True)
        low, high = (torch.cat([torch.as_tensor(a).expand(channels, 1, 1), torch.as_tensor(b).view(-1, 1, 1)]) for a, b in both)
        return low.float(), high.float()

    def add_planes(self, movie: Movie, start: int, stop: int, lr: Tensor, further: Tensor) -> Tensor:
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
        return add_input_planes(seen, self.words, known, static, self.scale) if self.words or static is not None else seen


def read_lr_variables(movie: Movie, start: int, stop: int, masked: bool) -> Tensor:
    """Read frames start..stop-1 of the variables that only LR has.

    Args:
        movie: The movie.
        start: Number of the first frame.
        stop: Number after the last frame.
        masked: True to accept values that are not finite.

    Returns:
        (variables, t, H, W), minus their offset.

    Raises:
        UserError: If a value is not finite.
    """
    assert movie.further is not None
    frames = movie.further.read(start, stop)
    whole = torch.isfinite(frames).all(dim=3).all(dim=2).all(dim=0)
    if not masked and not whole.all():
        at = start + int((~whole).nonzero()[0])
        raise UserError(
            f"{movie.further.name}: frame {at} holds NaN or infinite values; type data.mask=true, or leave it out of "
            f"data.lr_variable"
        )
    return frames
