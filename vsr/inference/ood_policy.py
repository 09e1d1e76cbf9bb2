"""Movies that a network does not know: said so, or left to the linear filter."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from vsr.errors import UserError
from vsr.inference.stream import Source
from vsr.inference.upscaler import Upscaler

log = logging.getLogger(__name__)

NAMED = 5  # movies of a file that have a line of their own


class Movies(Source, Protocol):
    """Movies that can be looked at before they are read."""

    def peek(self, movie: int) -> Iterator[np.ndarray]:
        """(C, h, w) float32, the frames of a movie from the first on; nothing depends on how far this is read."""
        ...


def strange(source: Movies, upscaler: Upscaler, guard: str) -> list[int]:
    """The movies that the linear filter is to be used for: those that the network does not know, with guard "linear".

    With "warn" these are named and none is returned; with "off" nothing is looked at. Raises UserError for "linear" with a
    checkpoint or frames that do not allow to tell.
    """
    if guard == "off":
        return []
    found = []
    for movie, length in enumerate(source.lengths):
        known = upscaler.familiarity(source.peek(movie), length, (source.height, source.width))
        if known is None and guard == "linear":
            raise UserError(
                f"guard=linear: {_why(upscaler, source)}; type guard=off, or evaluate the network on frames like these first"
            )
        if known is None or not known.strange:
            continue
        found.append(movie)
        if len(found) <= NAMED:
            name = "this movie" if len(source.lengths) == 1 else f"movie {movie + 1} of {len(source.lengths)}"
            end = "the linear filter is used" if guard == "linear" else "type guard=linear to have that filter in its place"
            log.warning("warning   %s is unlike what the network was trained on: %s; %s", name, known, end)
    if len(found) > NAMED:
        log.warning("warning   and so are %d more movies", len(found) - NAMED)
    return found if guard == "linear" else []


def _why(upscaler: Upscaler, source: Movies) -> str:
    """Why nothing can be told."""
    if upscaler.trained.consistency is None:
        return f"{upscaler.trained.path} does not say how well the network agreed with LR in validation"
    return f"frames of {source.height}x{source.width} are too small, or hold too little, to compare the network on them"
