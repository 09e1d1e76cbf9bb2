"""Conformal calibration: intervals around predictions whose widths come from the errors on a calibration split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vsr.degradations.activity import activity_classes
from vsr.metrics.definitions import ACTIVITIES
from vsr.system.ranks import gather_from_ranks
from vsr.types import HRClips, LRClips

CALIBRATED_LEVELS = tuple(range(5, 100, 5))  # per cent
SMALLEST_SPREAD = 1e-6  # of the data range: the spread of members that is not divided by less
VALUES_OF_FRAME = 4096  # errors that are kept of each frame
LEADS = tuple(k / 8 for k in range(1, 8))  # of the longest lead time of training: parts with widths of their own


@dataclass(frozen=True)
class Calibration:
    """Widths of intervals for each class and each level; a class is one of activity, in a part of the lead time if it is known.

    An interval of a level is the prediction plus and minus a width, for ensembles in units of the spread of the members: the
    quantile of the errors on n trajectories of equal weight. On a random pixel (of a class of activity) of one more trajectory
    that is drawn as they were, it covers the truth with at least n / (n + 1) times the level, whatever the network.

    Source: Lee, Barber and Willett, "Distribution-free inference with hierarchical data", 2023, section 2 (HCP), with an interval
    per class as in Vovk, "Conditional validity of inductive conformal predictors", 2012.

    Attributes:
        widths: (variables, classes, levels), in the unit interval, or in units of the spread; the classes of activity of the
            first part of the lead time come first, then those of the next.
        edges: For each variable, the two activities between the classes, see `vsr.degradations.activity`.
        scale: HR pixels per LR pixel.
        relative: True if the widths are in units of the spread of members.
        trajectories: Number of trajectories of the calibration split.
        leads: Lead times between the parts, 1 for the longest one of training; () for one part.
    """

    widths: np.ndarray
    edges: Sequence[tuple[float, float]]
    scale: int
    relative: bool
    trajectories: int
    leads: tuple[float, ...] = ()

    def guaranteed(self, level: int) -> float:
        """Return the coverage, in per cent, that the interval of a level in per cent has at least."""
        return level * self.trajectories / (self.trajectories + 1)

    def members(self, sr: HRClips, spread: HRClips | None, lr: LRClips, lead: Tensor | None = None) -> Tensor:
        """Return 39 values that divide the predicted distribution of each pixel evenly, (B, C, 39, F, H, W).

        Args:
            sr: Predictions (B, C, F, H, W) in the unit interval.
            spread: Standard deviation of the members, for `relative` widths; None for others.
            lr: LR frames of sr in the unit interval, (B, C, F, h, w).
            lead: Lead time of each frame, (B, F), 1 for the longest one of training; None if it is not known.
        """
        return sr.unsqueeze(2) + self.deviations(sr, spread, lr, range(2 * len(CALIBRATED_LEVELS) + 1), lead)

    def deviations(
        self, sr: HRClips, spread: HRClips | None, lr: LRClips, kept: Sequence[int], lead: Tensor | None = None
    ) -> Tensor:
        """Return what is added to predictions for some of the values of `members`, (B, C, kept, F, H, W).

        Args:
            sr: As for `members`.
            spread: As for `members`.
            lr: As for `members`.
            kept: Numbers of the values, 0 to 38 from the lowest to the highest.
            lead: As for `members`.
        """
        found = []
        for i, (widths, edges) in enumerate(zip(self.widths, self.edges, strict=True)):
            own = slice(None) if len(self.edges) == 1 else slice(i, i + 1)
            active = _centre(activity_classes(lr[:, own], edges, self.scale), sr) + _first_class(lead, self.leads, sr)
            signed = np.concatenate([-widths[:, ::-1], np.zeros((len(widths), 1)), widths], 1)[:, list(kept)]
            each = torch.from_numpy(signed).to(sr)[active].movedim(-1, 1).unsqueeze(1)  # (B, 1, kept, F, H, W)
            if spread is not None:
                each = each * spread[:, own].clamp_min(SMALLEST_SPREAD).unsqueeze(2)
            found.append(each.expand(-1, sr[:, own].shape[1], -1, -1, -1, -1))
        return torch.cat(found, 1)

    def in_other_units(self, factors: Sequence[float]) -> Calibration:
        """Return the calibration with widths and edges times the factor of each variable; relative widths stay."""
        each = np.reshape(factors, (-1, 1, 1))
        edges = [(low * factor, high * factor) for (low, high), factor in zip(self.edges, factors, strict=True)]
        return replace(self, widths=self.widths if self.relative else self.widths * each, edges=edges)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], scale: int) -> Calibration:
        """Return the calibration that `to_plain` described. Raises KeyError, TypeError or ValueError for other values."""
        widths = np.array(plain["widths"], np.float64)
        edges = [(float(low), float(high)) for low, high in plain["edges"]]
        leads = tuple(float(lead) for lead in plain.get("leads", ()))
        classes = len(ACTIVITIES) * (len(leads) + 1)
        if widths.shape != (len(edges), classes, len(CALIBRATED_LEVELS)) or not np.isfinite(widths).all():
            raise ValueError("widths do not suit the levels")
        return cls(widths, edges, scale, bool(plain["relative"]), int(plain["trajectories"]), leads)

    def to_plain(self) -> dict[str, object]:
        """Return the calibration as plain values."""
        return {
            "levels": list(CALIBRATED_LEVELS),
            "classes": list(ACTIVITIES),
            "leads": list(self.leads),
            "widths": self.widths.tolist(),
            "edges": [list(edge) for edge in self.edges],
            "relative": self.relative,
            "trajectories": self.trajectories,
            "guaranteed": [self.guaranteed(level) for level in CALIBRATED_LEVELS],
        }


def trajectories_needed(level: int, coverage: int) -> int:
    """Return the smallest number of trajectories with which the interval of a level covers so much at least, in per cent."""
    return ceil(coverage / (level - coverage) - 1e-9)


class CalibrationErrors:
    """Collector of the errors of predictions on a calibration split.

    Args:
        edges: As in `Calibration`.
        scale: HR pixels per LR pixel.
        window: (y, x) HR pixels that are cut per side.
        relative: True to divide errors by the spread of members.
        leads: As in `Calibration`.
    """

    def __init__(
        self,
        edges: Sequence[tuple[float, float]],
        scale: int,
        window: tuple[int, int],
        relative: bool,
        leads: tuple[float, ...] = (),
    ) -> None:
        self.edges, self.scale, self.window, self.relative, self.leads = edges, scale, window, relative, leads
        self.classes = len(ACTIVITIES) * (len(leads) + 1)
        self._errors: dict[tuple[int, int, int], list[np.ndarray]] = {}  # (variable, class, trajectory)

    def update(
        self,
        sr: HRClips,
        spread: HRClips | None,
        hr: HRClips,
        lr: LRClips,
        trajectories: Sequence[int],
        mask: Tensor | None,
        lead: Tensor | None = None,
    ) -> None:
        """Add clips in the unit interval, not cut; predictions may lack a border.

        Args:
            sr: Predictions (B, C, F, H, W).
            spread: Standard deviation of the members; None for a single prediction.
            hr: Truth.
            lr: LR frames (B, C, F, h, w).
            trajectories: Number of the trajectory of each clip.
            mask: (B, 1, F, H, W), 0 where a pixel does not count; None for all pixels.
            lead: As for `Calibration.members`.
        """
        lost = [(whole - own) // 2 for whole, own in zip(hr.shape[-2:], sr.shape[-2:], strict=True)]
        y, x = (n - own for n, own in zip(self.window, lost, strict=True))
        cut = (..., slice(y, sr.shape[-2] - y), slice(x, sr.shape[-1] - x))
        error = (sr - _centre(hr, sr)).abs()
        if self.relative:
            assert spread is not None
            error = error / spread.clamp_min(SMALLEST_SPREAD)
        counts = torch.ones_like(sr[:, :1]) if mask is None else _centre(mask, sr)
        for i, edges in enumerate(self.edges):
            own = slice(None) if len(self.edges) == 1 else slice(i, i + 1)
            active = (_centre(activity_classes(lr[:, own], edges, self.scale), sr) + _first_class(lead, self.leads, sr))[cut]
            for b, trajectory in enumerate(trajectories):
                values, classes = error[b, own][cut], active[b].expand_as(error[b, own][cut])
                step = max(1, -(-values[:, 0].numel() // VALUES_OF_FRAME))
                kept = (counts[b][cut] > 0).expand_as(values).flatten()[::step]
                values, classes = values.flatten()[::step][kept], classes.flatten()[::step][kept]
                for number in range(self.classes):
                    found = values[classes == number].cpu().numpy()
                    self._errors.setdefault((i, number, trajectory), []).append(found)

    def fit(self) -> Calibration:
        """Return the calibration from the errors of all processes; a class without pixels has the widths of all activities."""
        gathered: dict[tuple[int, int, int], list[np.ndarray]] = {}
        for errors in gather_from_ranks(self._errors):
            for key, parts in errors.items():
                gathered.setdefault(key, []).extend(parts)
        self._errors = gathered
        trajectories = sorted({trajectory for _, _, trajectory in gathered})
        widths = np.zeros((len(self.edges), self.classes, len(CALIBRATED_LEVELS)))
        for i in range(len(self.edges)):
            for number in range(self.classes):
                start = number - number % len(ACTIVITIES)
                part, whole = range(start, start + len(ACTIVITIES)), range(self.classes)
                choices = ([self._of(i, tuple(some), one) for one in trajectories] for some in ((number,), part, whole))
                own = next(found for found in choices if any(map(len, found)))
                widths[i, number] = trajectory_quantiles(own, np.array(CALIBRATED_LEVELS) / 100)
        return Calibration(widths, self.edges, self.scale, self.relative, len(trajectories), self.leads)

    def _of(self, variable: int, classes: tuple[int, ...], trajectory: int) -> np.ndarray:
        parts = [each for number in classes for each in self._errors.get((variable, number, trajectory), [])]
        return np.concatenate([*parts, np.empty(0, np.float32)])


def _first_class(lead: Tensor | None, leads: Sequence[float], like: Tensor) -> Tensor | int:
    """Return the number of the first class of each frame's part of the lead time, (B, F, 1, 1); 0 for one part."""
    if not leads:
        return 0
    assert lead is not None
    parts = torch.bucketize(lead.to(like).contiguous(), torch.tensor(leads, device=like.device, dtype=like.dtype))
    return len(ACTIVITIES) * parts[..., None, None]


def _centre(x: Tensor, like: Tensor) -> Tensor:
    """Cut frames (..., H, W) to the size of others, the same number of pixels on opposite sides."""
    y, x_ = ((whole - own) // 2 for whole, own in zip(x.shape[-2:], like.shape[-2:], strict=True))
    return x[..., y : x.shape[-2] - y, x_ : x.shape[-1] - x_]


def trajectory_quantiles(errors: Sequence[np.ndarray], levels: np.ndarray) -> np.ndarray:
    """Return quantiles of errors, in which every trajectory with errors has the same weight.

    Args:
        errors: The errors of each trajectory.
        levels: Levels between 0 and 1.
    """
    known = [each for each in errors if len(each)]
    values = np.concatenate(known).astype(np.float64)
    weights = np.concatenate([np.full(len(each), 1 / len(known) / len(each)) for each in known])
    order = np.argsort(values, kind="stable")
    shares = np.cumsum(weights[order])
    return values[order][np.minimum(np.searchsorted(shares, levels - 1e-9), len(values) - 1)]
