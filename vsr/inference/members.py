"""Members of an ensemble and calibrated intervals for LR frames, and what is kept of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vsr.errors import UserError
from vsr.inference.engine import Engine
from vsr.metrics.calibration import Calibration
from vsr.models.ensemble import MemberNoise
from vsr.types import Offset

_QUANTILE = re.compile(r"q([0-9]{2})")


CALIBRATED_QUANTILES = (*range(5, 50, 5), *range(55, 100, 5))  # per cent


def check_kept(keep: Sequence[str], count: int, calibrated: bool = False) -> None:
    """Raise UserError unless `count` members, or calibrated intervals, have each word.

    A word is "members", "mean", "std" or a quantile such as "q05". Calibrated intervals have no members.
    """
    for word in keep:
        quantile = _QUANTILE.fullmatch(word)
        if word not in ("members", "mean", "std") and quantile is None:
            raise UserError(f"keep={word}: must be members, mean, std or a quantile such as q05; type keep=[mean,std]")
        if calibrated and (word == "members" or (word == "std" and not count)):
            raise UserError(f"keep={word}: calibration= gives intervals, which have quantiles; type keep=[mean,q05,q95]")
        if quantile is None:
            continue
        level = int(quantile[1])
        if calibrated and level not in (*CALIBRATED_QUANTILES, 50):
            raise UserError(f"keep={word}: the calibration holds q05, q10, q15 to q95; type keep=[q05,q95] for 90%")
        if not 0 < level < 100:
            raise UserError(f"keep={word}: is no quantile; type q01 to q99")
        needed = int(np.ceil(100 / min(level, 100 - level))) - 1
        if count < needed and not calibrated:
            raise UserError(f"keep={word}: this quantile needs {needed} members, and members={count}; type members={needed}")
    if not keep or ("members" in keep and len(keep) > 1) or len(set(keep)) < len(keep):
        raise UserError(f"keep=[{','.join(keep)}]: must be members alone, or statistics; type keep=[mean,std]")


def read_calibration(path: Path, facts: Mapping[str, Any], ranges: Sequence[float]) -> Calibration:
    """Read the intervals of a network from the calibration.json of an evaluation.

    Args:
        path: Path of the file.
        facts: "checkpoint" (SHA-256), "members" (0 for the output of the network), "scale", "degradation", "consistency" and
            "variables" of the network that is used, as they must be in the file.
        ranges: For each variable, the physical size of the unit interval of this network.

    Raises:
        UserError: If the file is no calibration, or is that of another network or use.
    """
    try:
        entries = [dict(entry) for entry in json.loads(path.read_text()).values()]
        known = [entry for entry in entries if entry["checkpoint"] == facts["checkpoint"]]
        found = [entry for entry in known if entry["members"] == facts["members"]]
        calibrations = [Calibration.from_plain(entry, int(entry["scale"])) for entry in found]
        measured = [[float(size) for size in entry["ranges"]] for entry in found]
    except OSError as error:
        raise UserError(f"calibration={path}: {error.strerror}; make one with vsr evaluate calibrate=true") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"calibration={path}: is no calibration that this version wrote; make one with vsr evaluate calibrate=true"
        ) from error
    here = str(facts["checkpoint"])[:12]
    if not known:
        there = ", ".join(dict.fromkeys(str(entry["checkpoint"])[:12] for entry in entries)) or "none"
        raise UserError(
            f"calibration={path}: is of checkpoint {there}, not of this one, {here}; make one with "
            f"vsr evaluate checkpoint=FILE calibrate=true"
        )
    if not found:
        counts = sorted({int(entry["members"]) for entry in known})
        options = " or ".join(f"members={count}" if count else "no members" for count in counts)
        wrong = f"members={facts['members']}" if facts["members"] else "no members"
        leave = f"members={counts[-1]}" if counts[-1] else "no members="
        raise UserError(f"calibration={path}: is for {options}, not for {wrong}; type {leave}")
    for key in ("scale", "degradation", "consistency", "variables"):
        if found[0].get(key) != facts[key]:
            raise UserError(
                f"calibration={path}: is for {key}={found[0].get(key)}, not for {facts[key]}; calibrate again with "
                f"vsr evaluate calibrate=true"
            )
    if len(measured[0]) != len(ranges):
        raise UserError(f"calibration={path}: has other variables than this network; calibrate again")
    factors = [there / own for there, own in zip(measured[0], ranges, strict=True)]
    return calibrations[0].in_other_units(factors)


class MemberEngine:
    """A function from LR frames to what is kept of members or of calibrated intervals, block by block, as an `Engine`.

    Args:
        engine: The engine of the network.
        count: Number of members; 0 for the intervals around the output of the network.
        seed: Seed of the noise; the same seed, member and frame give the same noise.
        keep: As in `check_kept`.
        calibration: Intervals whose ends are the quantiles; None for the quantiles of the members.

    Attributes:
        kept: Name of each kept frame: "mean", "std", "q05" ..., or "1", "2" ... for members.

    Raises:
        UserError: If the network is no ensemble, or if `keep` cannot be kept.
    """

    def __init__(
        self, engine: Engine, count: int, seed: int, keep: Sequence[str], calibration: Calibration | None = None
    ) -> None:
        network = engine.module.ensemble
        if network is None and count:
            raise UserError(f"members={count}: this network is no ensemble; train one with vsr train members=2")
        if engine.options.ensemble:
            raise UserError("ensemble=true: is the mean over flips of one frame, not for members or calibration=; leave it out")
        check_kept(keep, count, calibration is not None)
        self.engine, self.count, self.keep = engine, count, tuple(keep)
        self.kept = tuple(str(i + 1) for i in range(count)) if self.keep == ("members",) else self.keep
        self.context, self.ends, self.calibration = engine.context, engine.ends, calibration
        self._noise = MemberNoise(network.noise_planes if network is not None else 0, count, seed)

    def describe(self, word: str) -> str:
        """Say what one of `kept` is."""
        of = f"{self.count} members"
        if word.isdecimal():
            return f"member {word} of {of}"
        if word in ("mean", "std"):
            return f"{'mean' if word == 'mean' else 'standard deviation'} of {of}"
        level = int(word[1:])
        if self.calibration is None:
            return f"{level}% quantile of {of}"
        around = f"the mean of {of}" if self.count else "the output of the network"
        if level == 50:
            return f"middle of the calibrated intervals around {around}"
        return f"{'lower' if level < 50 else 'upper'} end of the calibrated {abs(2 * level - 100)}% interval around {around}"

    def block(self, height: int, width: int) -> int:
        """Return the number of LR frames of `height` x `width` pixels that are computed at once."""
        return max(1, self.engine.block(height, width) // max(1, self.count))

    def held_bytes(self, height: int, width: int) -> int:
        """Estimate the bytes that a block of `height` x `width` pixels takes beside the intermediate results of layers."""
        if not self.count:
            return 0
        frames = self.block(height, width)
        members = 4 * frames * self.engine.channels  # of the network, consistent, joined, and with NaN
        noise = 4 * (frames + 2 * self.context) + 2  # white, of frames, behind LR, and with a border
        return 4 * height * width * self.engine.scale**2 * self.count * (members + noise)

    def __call__(self, lr: Tensor, *, first_frame: int = 0, before: int = 0) -> Tensor:
        """Return what is kept of the members of a block of frames.

        Args:
            lr: LR frames (n + 2 * context, C, h, w), as `Engine` takes them.
            first_frame: Number in the movie of the first of the n frames, which decides on the noise.
            before: Number of frames of the movies before this one in its file, which have noise of their own.

        Returns:
            (n, K C, H, W) in physical units: the channels of the first kept frame, of the second, and so on.
        """
        if not self.count:
            return self._calibrated(self.engine(lr, first_frame=first_frame).unsqueeze(1), lr)
        start = before + first_frame - self.context
        frames = range(start, start + len(lr))
        sr = self.engine(lr, first_frame=first_frame, noise=self._noise(frames, *lr.shape[-2:]))
        members = sr[:, self.engine.channels :].unflatten(1, (-1, self.engine.channels))
        if self.calibration is not None:
            return self._calibrated(members, lr)
        if self.keep == ("members",):
            return members.flatten(1, 2)
        ordered = members.sort(1).values if any(map(_QUANTILE.fullmatch, self.keep)) else members
        return torch.cat([self._statistic(word, members, ordered) for word in self.keep], 1)

    def _calibrated(self, members: Tensor, lr: Tensor) -> Tensor:
        """Return what is kept of calibrated intervals around the mean of members (n, K, C, H, W), (n, kept C, H, W)."""
        assert self.calibration is not None
        normalizer, seen = self.engine.module.normalizer, lr[self.context : len(lr) - self.context, : self.engine.channels]
        size = (normalizer.high - normalizer.low).view(-1, 1, 1).to(members)
        mean = members.mean(1)
        spread = _spread(members) if self.count else None
        # Only differences count: neither the offset nor the lower end of the range is taken off.
        centre, around = ((x / size).transpose(0, 1).unsqueeze(0) for x in (mean, seen.to(members)))
        unit = None if spread is None else (spread / size).transpose(0, 1).unsqueeze(0)
        quantiles = [word for word in self.keep if _QUANTILE.fullmatch(word)]
        numbers = [int(word[1:]) * 2 // 5 - 1 for word in quantiles]  # of the values in steps of 2.5%
        plane = self.engine.layout.time_plane
        lead = None if plane is None else lr[self.context : len(lr) - self.context, plane, 0, 0].unsqueeze(0)
        signed = self.calibration.deviations(centre, unit, around, numbers, lead)[0]  # (C, kept, n, H, W)
        ends = signed.permute(1, 2, 0, 3, 4) * size
        found = {word: mean + end for word, end in zip(quantiles, ends, strict=True)} | {"mean": mean}
        return torch.cat([found[word] if word != "std" else spread for word in self.keep], 1)  # type: ignore[misc]

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
            return _spread(members)
        position = int(word[1:]) / 100 * (self.count + 1) - 1
        first = min(int(position), self.count - 1)
        share = position - first
        return ordered[:, first] * (1 - share) + ordered[:, min(first + 1, self.count - 1)] * share


def _spread(members: Tensor) -> Tensor:
    """Return the standard deviation over the members (n, K, ...). Torch's own is slow along this axis."""
    return ((members - members.mean(1, keepdim=True)).square_().sum(1) / (members.shape[1] - 1)).sqrt_()
