"""Out-of-distribution score of a movie, computed from its LR frames alone.

On a movie unlike its training data, a network may be far worse than the best linear filter, and its sharp output does not show
this. Two measures need no HR frames.

First, the LR frames are the truth one scale coarser: they are degraded once more, and the network must restore them about as
well as the linear filter does. (Shocher et al., "Zero-shot super-resolution using deep internal learning", 2018, train on such
pairs.)

Second, the SR frames, degraded, must agree with the LR frames about as well as in validation.

The product of the two, the MSE over that of the filter times the LR consistency error over that of validation, decides: each
alone is far from 1 on familiar movies, too. A network that is above the filter one scale coarser is kept in any case.
docs/results/guard.md has hits and false alarms.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from vsr.data.frames import Ends, FrameSet
from vsr.data.masks import fill_masked_pixels
from vsr.degradations.base import Degradation
from vsr.degradations.border import Periodic
from vsr.degradations.consistency import Degrade, degradation_for_consistency
from vsr.degradations.resize import resize_bicubic_up
from vsr.inference.engine import Engine, UntransformableInput
from vsr.inference.options import UpscaleOptions
from vsr.metrics.definitions import psnr_from_mse
from vsr.metrics.frames import metric_ratio
from vsr.models.base import Network
from vsr.models.super_resolver import SuperResolver

MOST_DISTRUST = 3.0  # of an OODScore: a network with more that is below the filter one scale coarser is not trusted
SMALLEST = 8  # pixels per side of the coarser frames, below which nothing is measured
FRAMES = 16  # of a movie that are measured together
SEGMENTS = 8  # of a split that are measured
EDGE = 2  # pixels per side of the coarser frames that do not count, as what lies beyond the border is made up
BORDER = 4  # LR pixels per side that do not count in the agreement, for the same reason


class OODScore(NamedTuple):
    """Out-of-distribution score: two measures of how unlike the training data of a network a movie is.

    Attributes:
        coarser_gain: Gain in PSNR (dB) of the network over the linear filter, when both restore the LR frames from frames that
            are one scale coarser.
        disagreement: LR consistency error of the movie divided by that of validation. The error is the difference between
            degraded SR frames and LR frames.
        coarser_over_bicubic: Gain in PSNR (dB) of the network over bicubic interpolation, one scale coarser, too.
    """

    coarser_gain: float
    disagreement: float
    coarser_over_bicubic: float = 0.0

    @property
    def distrust(self) -> float:
        """Return the disagreement times the MSE of the network over that of the linear filter one scale coarser."""
        return float(self.disagreement * 10 ** (-self.coarser_gain / 10))

    @property
    def unfamiliar(self) -> bool:
        """Return True if the linear filter is to be preferred to the network."""
        return self.coarser_gain < 0 and self.distrust > MOST_DISTRUST

    def as_json(self) -> dict[str, float | bool]:
        """Return the score under its names in results.json."""
        return {"coarser": self.coarser_gain, "disagreement": self.disagreement, "strange": self.unfamiliar}

    def __str__(self) -> str:
        side = "above" if self.coarser_gain >= 0 else "below"
        return (
            f"one scale coarser the network is {abs(self.coarser_gain):.1f} dB {side} the linear filter, and its result, "
            f"degraded, {self.disagreement:.1f} times as far from LR as in validation"
        )


class PairsScore(NamedTuple):
    """Comparison of the LR frames of a movie with those of the training pairs of a network.

    Attributes:
        differences: In which respects, in words; () if in none.
    """

    differences: tuple[str, ...]

    @property
    def unfamiliar(self) -> bool:
        """Return True if the movie is unlike the training pairs."""
        return bool(self.differences)

    def __str__(self) -> str:
        return "; ".join(self.differences)


def out_of_distribution_clip_score(
    engine: Engine, degradation: Degradation, validation_error: float | None, clips: Iterable[Tensor]
) -> OODScore | None:
    """Compute the out-of-distribution score of one movie as the mean over clips.

    Args:
        engine: The network; `engine.module.reference` is the linear filter that was fitted to the same training frames.
        degradation: The degradation that made the LR frames.
        validation_error: The LR consistency error in validation; None if it is unknown.
        clips: LR frames (n + 2 * context, C, h, w) in physical units.

    Returns:
        The score. None if the frames are constant or too small to be degraded once more, if the validation error is unknown, if
        the degradation is not linear, if the network sees more than the variables, or if the module has no linear filter.
    """
    degrade, linear = degradation_for_consistency(degradation, engine.scale), engine.module.reference
    if degrade is None or validation_error is None or linear is None or not engine.layout.plain:
        return None
    scores = [score for lr in clips if (score := _score_clip(engine, linear, degrade, lr)) is not None]
    if not scores or not validation_error > 0:
        return None
    coarser_gain, error, over_bicubic = torch.tensor(scores, dtype=torch.float64).mean(0).tolist()
    return OODScore(coarser_gain, error / validation_error, over_bicubic)


def out_of_distribution_score(
    module: SuperResolver,
    frames: FrameSet,
    degradation: Degradation,
    validation_error: float | None,
    ends: Ends,
    periodic: Periodic = "none",
) -> OODScore | None:
    """Compute the out-of-distribution score of a split on the CPU, from the first frames of at most SEGMENTS segments."""
    engine = Engine(module, UpscaleOptions(device="cpu", ends=ends, periodic=periodic), channels=frames.channels)
    block = min(FRAMES, engine.block(*(size // frames.scale for size in frames.smallest_size())))
    segments = frames.segments[:: -(-len(frames.segments) // SEGMENTS)]
    clips = (frames.clip(a, min(b, a + block), engine.context, ends).lr[0].transpose(0, 1) for a, b in segments)
    return out_of_distribution_clip_score(engine, degradation, validation_error, clips)


@torch.inference_mode()
def _score_clip(engine: Engine, linear: Network, degrade: Degrade, lr: Tensor) -> tuple[float, float, float] | None:
    """Return (PSNR gain over the linear filter one scale coarser, LR consistency error, gain over bicubic) of a clip, or None.

    Gains are in dB.
    """
    scale, context, normalizer = engine.scale, engine.context, engine.module.normalizer
    height, width = (size // scale * scale for size in lr.shape[-2:])
    if min(height, width) < scale * SMALLEST:
        return None
    unit = normalizer(lr.to(engine.device))
    inner = unit[context : len(unit) - context]
    middle = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    error = (degrade(normalizer(engine(lr, exact=True, consistent=False).to(engine.device))) - inner)[middle]
    centred = inner[middle] - inner[middle].nanmean((2, 3), keepdim=True)
    agreement = metric_ratio(error.square().nanmean((1, 2, 3)), centred.square().nanmean((1, 2, 3))).sqrt()
    agreement = agreement[agreement.isfinite()]  # constant frames give NaN
    truth = unit[..., :height, :width]
    coarse = degrade(truth)
    try:
        restored = normalizer(engine(normalizer.inverse(coarse).cpu(), exact=True, consistent=False).to(engine.device))
    except UntransformableInput:  # weights of the degradation are partly negative
        return None
    known = coarse if bool(coarse.isfinite().all()) else fill_masked_pixels(coarse)[0]
    known = known[context : len(unit) - context]
    filtered, bicubic = linear(known), resize_bicubic_up(known, scale)
    cut = (..., slice(EDGE * scale, height - EDGE * scale), slice(EDGE * scale, width - EDGE * scale))
    goal = truth[context : len(unit) - context][cut]
    errors = [frames[cut] - goal for frames in (restored, filtered, bicubic)]
    compared = errors[0].isfinite() & errors[1].isfinite()
    if not len(agreement) or not compared.any():
        return None
    mses = [float(each[compared].square().mean()) for each in errors]
    if min(mses) <= 0:
        return None
    restored_psnr, filtered_psnr, bicubic_psnr = (float(psnr_from_mse(mse)) for mse in mses)
    return restored_psnr - filtered_psnr, float(agreement.mean()), restored_psnr - bicubic_psnr
