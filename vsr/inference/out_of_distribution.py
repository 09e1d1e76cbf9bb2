"""Whether a movie is of the kind that a network was trained on, told from its LR frames alone.

A network outside of what it has learned may be far below the best linear filter, and nothing in its sharp output shows it. Two
questions can be asked without HR frames:

- One scale coarser, LR is the truth. Does the network bring LR back from frames that were made from it as they were made from HR,
  clearly better than the linear filter does? (Shocher et al., "Zero-shot super-resolution using deep internal learning", 2018,
  train on such pairs.)
- Degraded again, does its result give LR about as well as it did in validation?

A network that fails both is not to be trusted. Measured on all families of the climate data: docs/guides/out-of-distribution.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from vsr.data.frames import Ends, FrameSet
from vsr.degradations.base import Degradation
from vsr.degradations.consistency import Degrade, again
from vsr.inference.engine import Engine, Options
from vsr.metrics.base import ratio
from vsr.models.base import Network
from vsr.training.modules.base import SRModule

CLEARLY = 0.25  # dB over the linear filter one scale coarser: less than that, and
DISAGREES = 1.5  # times the LR consistency error of validation: more than that, and the network is not trusted
SMALLEST = 8  # pixels per side of the coarser frames, below which nothing is said
FRAMES = 16  # of a movie that are looked at together
SEGMENTS = 8  # of a split that are looked at
EDGE = 2  # pixels of the coarser frames per side that do not count: their surroundings are made up
BORDER = 4  # LR pixels per side that do not count in the agreement, for the same reason


class Familiarity(NamedTuple):
    """What the two questions gave: dB over the linear filter one scale coarser, LR consistency error over that of validation."""

    coarser: float
    disagreement: float

    @property
    def strange(self) -> bool:
        """Whether the linear filter is to be preferred."""
        return self.coarser < CLEARLY and self.disagreement > DISAGREES

    def __str__(self) -> str:
        side = "above" if self.coarser >= 0 else "below"
        return (
            f"one scale coarser the network is {abs(self.coarser):.1f} dB {side} the linear filter, and its result, degraded, "
            f"{self.disagreement:.1f} times as far from LR as in validation"
        )


def familiarity(
    engine: Engine, linear: Network, degrade: Degrade, expected: float, clips: Iterable[Tensor]
) -> Familiarity | None:
    """Of clips of one movie, LR frames in physical units with those around them as `engine` takes them (F, C, h, w).

    Args:
        engine: the network. linear: the filter that was fitted to the same training frames, on frames in the unit interval.
        degrade: what made the LR frames. expected: the LR consistency error in validation.

    Means over the clips. None where frames are too small to be degraded once more, or hold too little to compare.
    """
    found = [both for lr in clips if (both := _of(engine, linear, degrade, lr)) is not None]
    if not found or not expected > 0:
        return None
    coarser, consistency = torch.tensor(found, dtype=torch.float64).mean(0).tolist()
    return Familiarity(coarser, consistency / expected)


def of_frames(
    module: SRModule, frames: FrameSet, degradation: Degradation, expected: float | None, ends: Ends
) -> Familiarity | None:
    """Of the first frames of a few movies of a split. None also where `expected` or what degrades once more is not there."""
    degrade = again(degradation, frames.scale)
    if degrade is None or expected is None or module.reference is None:
        return None
    engine = Engine(module, Options(), channels=frames.channels, ends=ends)
    block = min(FRAMES, engine.block(*(size // frames.scale for size in frames.smallest())))
    few = frames.segments[:: -(-len(frames.segments) // SEGMENTS)]
    clips = (frames.clip(a, min(b, a + block), engine.context, ends).lr[0].transpose(0, 1) for a, b in few)
    return familiarity(engine, module.reference, degrade, expected, clips)


@torch.inference_mode()
def _of(engine: Engine, linear: Network, degrade: Degrade, lr: Tensor) -> tuple[float, float] | None:
    """(dB over linear one scale coarser, LR consistency error); None where there is nothing to compare."""
    scale, context, normalizer = engine.scale, engine.context, engine.module.normalizer
    height, width = (size // scale * scale for size in lr.shape[-2:])
    if min(height, width) < scale * SMALLEST:
        return None
    unit = normalizer(lr.to(engine.device))
    inner = unit[context : len(unit) - context]
    middle = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    error = (degrade(normalizer(engine(lr, exact=True, agreeing=False).to(engine.device))) - inner)[middle]
    centred = inner[middle] - inner[middle].nanmean((2, 3), keepdim=True)
    agreement = ratio(error.square().nanmean((1, 2, 3)), centred.square().nanmean((1, 2, 3))).sqrt()
    agreement = agreement[agreement.isfinite()]  # a constant frame has none
    truth = unit[..., :height, :width]
    coarse = degrade(truth)
    own = normalizer(engine(normalizer.inverse(coarse).cpu(), exact=True, agreeing=False).to(engine.device))
    filtered = linear(coarse.nan_to_num(0.5)[context : len(unit) - context])
    cut = (..., slice(EDGE * scale, height - EDGE * scale), slice(EDGE * scale, width - EDGE * scale))
    goal = truth[context : len(unit) - context][cut]
    errors = [(frames[cut] - goal) for frames in (own, filtered)]
    compared = errors[0].isfinite() & errors[1].isfinite()
    if not len(agreement) or not compared.any():
        return None
    mses = [float(each[compared].square().mean()) for each in errors]
    return (10 * math.log10(mses[1] / mses[0]), float(agreement.mean())) if min(mses) > 0 else None
