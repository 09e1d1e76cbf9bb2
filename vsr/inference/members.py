"""Members of an ensemble for LR frames, and what is kept of them: all of them, their mean and spread, quantiles."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vsr.errors import UserError
from vsr.inference.engine import Engine
from vsr.models.ensemble import MEMBERS_AT_ONCE, MemberNoise
from vsr.types import Offset

_QUANTILE = re.compile(r"q([0-9]{2})")


def check_kept(keep: Sequence[str], count: int) -> None:
    """Raise UserError unless each word is "members", "mean", "std" or a quantile such as "q05" that `count` members have."""
    for word in keep:
        quantile = _QUANTILE.fullmatch(word)
        if word not in ("members", "mean", "std") and quantile is None:
            raise UserError(f"keep={word}: must be members, mean, std or a quantile such as q05; type keep=[mean,std]")
        if quantile is None:
            continue
        level = int(quantile[1])
        if not 0 < level < 100:
            raise UserError(f"keep={word}: is no quantile; type q01 to q99")
        needed = int(np.ceil(100 / min(level, 100 - level))) - 1
        if count < needed:
            raise UserError(f"keep={word}: this quantile needs {needed} members, and members={count}; type members={needed}")
    if not keep or ("members" in keep and len(keep) > 1) or len(set(keep)) < len(keep):
        raise UserError(f"keep=[{','.join(keep)}]: must be members alone, or statistics; type keep=[mean,std]")


class MemberEngine:
    """A function from LR frames to what is kept of the members of an ensemble, block by block, as an `Engine` for one output.

    Args:
        engine: The engine of the network.
        count: Number of members.
        seed: Seed of the noise; the same seed, member and frame give the same noise.
        keep: As in `check_kept`.

    Attributes:
        kept: Name of each kept frame: "mean", "std", "q05" ..., or "1", "2" ... for members.

    Raises:
        UserError: If the network is no ensemble, or if `keep` cannot be kept.
    """

    def __init__(self, engine: Engine, count: int, seed: int, keep: Sequence[str]) -> None:
        network = engine.module.ensemble
        if network is None:
            raise UserError(f"members={count}: this network is no ensemble; train one with vsr train members=2")
        if engine.options.ensemble:
            raise UserError("ensemble=true: is the mean over flips of one frame, not for members; leave it out")
        check_kept(keep, count)
        self.engine, self.count, self.keep = engine, count, tuple(keep)
        self.kept = tuple(str(i + 1) for i in range(count)) if self.keep == ("members",) else self.keep
        self.context, self.ends = engine.context, engine.ends
        self._noise = [
            MemberNoise(network.noise_planes, min(MEMBERS_AT_ONCE, count - first), seed, first)
            for first in range(0, count, MEMBERS_AT_ONCE)
        ]

    def block(self, height: int, width: int) -> int:
        """Return the number of LR frames of `height` x `width` pixels that are computed at once."""
        return max(1, self.engine.block(height, width) // self.count)

    def __call__(self, lr: Tensor, *, first_frame: int = 0) -> Tensor:
        """Return what is kept of the members of a block of frames.

        Args:
            lr: LR frames (n + 2 * context, C, h, w), as `Engine` takes them.
            first_frame: Number in the movie of the first of the n frames, which decides on the noise.

        Returns:
            (n, K C, H, W) in physical units: the channels of the first kept frame, of the second, and so on.
        """
        frames = range(first_frame - self.context, first_frame - self.context + len(lr))
        parts = []
        for noise in self._noise:
            sr = self.engine(lr, first_frame=first_frame, noise=noise(frames, *lr.shape[-2:]))
            parts.append(sr[:, self.engine.channels :].unflatten(1, (-1, self.engine.channels)))
        members = torch.cat(parts, 1)
        if self.keep == ("members",):
            return members.flatten(1, 2)
        ordered = members.sort(1).values if any(map(_QUANTILE.fullmatch, self.keep)) else members
        return torch.cat([self._statistic(word, members, ordered) for word in self.keep], 1)

    def offset(self, own: Offset) -> Offset:
        """Return the physical value of 0 in the output, for each channel, from that of the frames; a spread has none."""
        if not np.any(own):
            return own
        each = np.broadcast_to(own, self.engine.channels).tolist()
        return tuple(0.0 if word == "std" else value for word in self.kept for value in each)

    def _statistic(self, word: str, members: Tensor, ordered: Tensor) -> Tensor:
        """Return a statistic of members (n, K, C, H, W), which `ordered` has in rising order, as (n, C, H, W)."""
        if word == "mean":
            return members.mean(1)
        if word == "std":
            return members.std(1)
        position = int(word[1:]) / 100 * (self.count + 1) - 1
        first = min(int(position), self.count - 1)
        share = position - first
        return ordered[:, first] * (1 - share) + ordered[:, min(first + 1, self.count - 1)] * share
