"""Policy for movies that are unlike the training data: warn, or use the linear filter (config key `guard`)."""

from __future__ import annotations

import logging

from vsr.errors import UserError
from vsr.inference.out_of_distribution import OODScore
from vsr.inference.sources import Source
from vsr.inference.upscaler import Upscaler

log = logging.getLogger(__name__)

NAMED = 5  # movies of a file that get a warning each


def apply_ood_policy(source: Source, upscaler: Upscaler, policy: str) -> list[int]:
    """Warn of movies that are unlike the training data, and return the movies that the linear filter must upscale.

    Args:
        source: Reader of the LR movies. Only the first frames of each movie are read.
        upscaler: The network, which measures how unlike a movie is.
        policy: "warn" to warn only, "linear" to warn and use the linear filter, "off" to measure nothing.

    Returns:
        Indices of the movies that are unlike the training data if the policy is "linear", otherwise [].

    Raises:
        UserError: If the policy is "linear" and the out-of-distribution score cannot be measured.
    """
    if policy == "off":
        return []
    unfamiliar = []
    for movie, length in enumerate(source.lengths):
        score = upscaler.ood_score_of_frames(source.peek(movie), length, (source.height, source.width))
        if score is None and policy == "linear":
            raise UserError(
                f"guard=linear: {why_not_measured(upscaler, source)}; type guard=off, or evaluate the network on frames like "
                f"these first"
            )
        if movie == 0:
            told = why_not_measured(upscaler, source) if score is None else coarser_gain_text(score, upscaler.trained.shipped)
            log.info("gain      %s", told if score else f"not measured: {told}")
        if score is None or not score.unfamiliar:
            continue
        unfamiliar.append(movie)
        if len(unfamiliar) <= NAMED:
            name = "this movie" if len(source.lengths) == 1 else f"movie {movie + 1} of {len(source.lengths)}"
            advice = "the linear filter is used" if policy == "linear" else "type guard=linear to have that filter in its place"
            log.warning("warning   %s is unlike what the network was trained on: %s; %s", name, score, advice)
    if len(unfamiliar) > NAMED:
        log.warning("warning   and so are %d more movies", len(unfamiliar) - NAMED)
    return unfamiliar if policy == "linear" else []


def coarser_gain_text(score: OODScore, shipped: bool) -> str:
    """Say what the network gains one scale coarser, and what that does not tell.

    Args:
        score: The score of the movie.
        shipped: True for a network of the package, whose linear filter was fitted to generated fields.
    """
    over = f"{score.coarser_over_bicubic:+.1f} dB over bicubic"
    over += "" if shipped else f" and {score.coarser_gain:+.1f} dB over the linear filter of its training,"
    return f"{over} one scale coarser, with LR as the truth; the gain at this scale is not known, as there is no HR"


def why_not_measured(upscaler: Upscaler, source: Source) -> str:
    """Explain why the out-of-distribution score cannot be measured."""
    if upscaler.trained.facts.get("pairs"):
        return "LR of pairs is no degraded HR, so that nothing can be measured one scale coarser"
    if not upscaler.trained.layout.plain:
        return "this network sees more than the variables, which nothing can give one scale coarser"
    if upscaler.trained.consistency is None:
        return f"{upscaler.trained.path} does not say how well the network agreed with LR in validation"
    return f"frames of {source.height}x{source.width} are too small, or hold too little, to compare the network on them"
