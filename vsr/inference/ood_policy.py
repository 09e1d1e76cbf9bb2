"""Policy for movies that are unlike the training data: warn, or use the linear filter (config key `guard`)."""

from __future__ import annotations

import logging

import numpy as np

from vsr.errors import UserError
from vsr.inference.out_of_distribution import FRAMES, OODScore, PairsScore
from vsr.inference.sources import ArraySource, Source
from vsr.inference.upscaler import Upscaler
from vsr.io.readers.paired import lead_times

log = logging.getLogger(__name__)

NAMED = 5  # movies of a file that get a warning each


def apply_ood_policy(source: Source, upscaler: Upscaler, policy: str) -> list[int]:
    """Warn of movies that are unlike the training data, and return the movies that the linear filter must upscale.

    Args:
        source: Reader of the LR movies. The first frames of each movie are read; for a network of pairs, evenly spread ones.
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
    pairs = bool(upscaler.trained.facts.get("pairs"))
    for movie, length in enumerate(source.lengths):
        score: OODScore | PairsScore | None
        if pairs:
            score = _pairs_score(source, movie, upscaler)
        else:
            score = upscaler.ood_score_of_frames(source.peek(movie), length, (source.height, source.width))
        if score is None and policy == "linear":
            raise UserError(
                f"guard=linear: {why_not_measured(upscaler, source)}; type guard=off, or evaluate the network on frames like "
                f"these first"
            )
        if movie == 0 and isinstance(score, OODScore):
            log.info("gain      %s", coarser_gain_text(score, upscaler))
        elif movie == 0 and score is None:
            log.info("gain      not measured: %s", why_not_measured(upscaler, source))
        if score is None or not score.unfamiliar:
            continue
        unfamiliar.append(movie)
        if len(unfamiliar) <= NAMED:
            name = "this movie" if len(source.lengths) == 1 else f"movie {movie + 1} of {len(source.lengths)}"
            advice = "the linear filter is used" if policy == "linear" else "type guard=linear to have that filter in its place"
            if pairs and policy != "linear":
                advice = "type guard=linear to have the linear filter in its place"
            log.warning("warning   %s is unlike what the network was trained on: %s; %s", name, score, advice)
    if len(unfamiliar) > NAMED:
        log.warning("warning   and so are %d more movies", len(unfamiliar) - NAMED)
    return unfamiliar if policy == "linear" else []


def _pairs_score(source: Source, movie: int, upscaler: Upscaler) -> PairsScore | None:
    """Compare evenly spread frames of a movie with the LR frames of the training pairs."""
    if not isinstance(source, ArraySource):
        return None
    length = source.array.shape[2]
    chosen = np.unique(np.linspace(0, length - 1, FRAMES).astype(int)).tolist()
    frames = np.stack([next(source.frames(movie, k, k + 1)) for k in chosen])[:, : upscaler.channels]
    lead, unit = lead_times(source.array)
    return upscaler.pairs_score(frames, float(lead[-1]), unit)


def coarser_gain_text(score: OODScore, upscaler: Upscaler) -> str:
    """Say what the network gains one scale coarser, and what that does not tell.

    Args:
        score: The score of the movie.
        upscaler: The network. The linear filter of a network of the package was fitted to generated fields, and is no rival;
            a network that is this filter has no other.
    """
    over = f"{score.coarser_over_bicubic:+.1f} dB over bicubic"
    rival = not (upscaler.trained.shipped or upscaler.is_linear)
    over += "" if not rival else f" and {score.coarser_gain:+.1f} dB over the linear filter of its training"
    return f"{over} on a coarser copy of this file, whose truth is the file; a rough guide, no forecast for the finer result"


def why_not_measured(upscaler: Upscaler, source: Source) -> str:
    """Explain why the out-of-distribution score cannot be measured."""
    if upscaler.trained.facts.get("pairs"):
        return f"{upscaler.trained.path} has no statistics of its LR frames, as an earlier version trained it"
    if not upscaler.trained.layout.plain:
        return "this network sees more than the variables, which nothing can give one scale coarser"
    if upscaler.trained.consistency is None:
        return f"{upscaler.trained.path} does not say how well the network agreed with LR in validation"
    return f"frames of {source.height}x{source.width} are too small, or hold too little, to compare the network on them"
