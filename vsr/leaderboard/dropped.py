"""Ideas that did not earn their place, each with the figures that sank it and the run that gave them: a table by hand."""

from __future__ import annotations

from typing import NamedTuple

from vsr.pages.words import table


class Dropped(NamedTuple):
    """An idea against what is used in its place: the figures of both, and how to take them again."""

    idea: str
    instead: str
    figures: str
    run: str


DROPPED = (
    Dropped(
        "ReLU in `plain`",
        "SiLU",
        "unseen 42.58 dB against 42.89, one seed, tide; test 41.55 against 41.67",
        "python train.py model=plain model.act=relu epochs=15 patience=null",
    ),
)


def dropped() -> str:
    """The table in Markdown."""
    rows = [[each.idea, each.instead, each.figures, f"`{each.run}`"] for each in DROPPED]
    return table(["idea", "in its place", "what sank it", "run"], rows)
