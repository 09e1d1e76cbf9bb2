"""Ideas that did not earn their place, each with the figures that sank it and the run that gave them: a table by hand.

All on the tide at x2, one seed where none is said: less than 0.3 dB means nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.common.markdown import table


class Dropped(NamedTuple):
    """An idea against what is used in its place: the figures of both, and how to take them again."""

    idea: str
    instead: str
    figures: str
    run: str


FAST = "precision=bf16 channels_last=true patience=null"
MINUTE = "one minute of a core, unseen, over the linear filter:"
DROPPED = (
    Dropped(
        "ReLU in `plain`",
        "SiLU",
        "unseen 44.37 dB against 44.76, test 42.72 against 43.13; it takes less time per frame, and stays a choice",
        f"python train.py model=plain model.act=relu recipe.rate=4e-3 epochs=30 recipe.steps=200 {FAST}",
    ),
    Dropped(
        "squared error for networks beyond the report",
        "`recipe=sharp`, absolute error",
        "`plain_24`: unseen 46.28 dB against 46.68, test 44.40 against 44.64",
        "python train.py model=plain_24 recipe.loss=mse recipe.rate=4e-3 epochs=30 recipe.steps=200 patience=null",
    ),
    Dropped(
        "the residual over the linear filter, so that a network falls back on it where it has learned nothing",
        "the residual over bicubic",
        "`plain_24`: unseen 45.56 dB against 45.69; of turbulence, after learning on the tide, 34.91 against 34.95, the filter "
        "alone 41.79 ([decision 019](../design/decisions/019-residual-over-the-linear-filter.md))",
        f"python train.py model=plain_24 recipe.residual=linear epochs=20 recipe.steps=200 {FAST}",
    ),
    Dropped(
        "patches multiplied by up to e^0.7 about their mean and shifted by up to 3 units, for other regimes' sake",
        "the symmetries that the data have",
        "`plain_24`: unseen 45.67 dB against 45.69; of turbulence, after learning on the tide, 35.25 against 34.95, the filter "
        "alone 41.79",
        f"python train.py model=plain_24 epochs=20 recipe.steps=200 {FAST}",
    ),
    Dropped(
        "training through the projection onto what LR allows, tapered at the border of patches",
        "`consistency=projection` of the result",
        "`fsrcnn`, two seeds: unseen 43.26 and 42.49 dB against 43.24 and 42.67",
        "python train.py model=fsrcnn epochs=40 (20) recipe.steps=100 consistency=projection",
    ),
    Dropped(
        "block means that equal the LR pixels, the constraint of the literature",
        "`consistency=projection`",
        "under bicubic degradation 1.4 dB below no constraint at all ([agreement with LR](consistency.md))",
        "python benchmarks/consistency.py",
    ),
    Dropped(
        "`model=span`: layers that become one each, attention without parameters (Wan et al. 2024)",
        "`plain`",
        f"{MINUTE} +9.01 dB at 26 frames/s against +9.27 at 396",
        f"python train.py model=span epochs=13 recipe.steps=80 {FAST}",
    ),
    Dropped(
        "`model=rrn`: recurrent, every frame from those before it (Isobe et al. 2020)",
        "`stacked`",
        f"{MINUTE} +9.03 dB at 0.79 frames/s against +13.37 at 54",
        f"python train.py model=rrn epochs=4 recipe.steps=144 {FAST}",
    ),
    Dropped(
        "`model=basicvsr`: recurrent both ways, features aligned by a learned flow or not (Chan et al. 2021)",
        "`stacked`",
        f"{MINUTE} +10.11 dB at 3.5 frames/s against +13.37 at 54; on the bores, after five minutes, +13.64 "
        "against +17.67, and `resnet` +14.76 ([decision 016](../design/decisions/016-recurrent-networks-forget.md))",
        f"python train.py model=basicvsr epochs=10 recipe.steps=84 {FAST}",
    ),
    Dropped(
        "`model=st`: `edsr` with layers along time, all frames of a clip at once (Tran et al. 2018)",
        "`stacked`, or `resnet` frame by frame",
        f"{MINUTE} +11.66 dB at 1.7 frames/s against +13.37 at 54 and +12.83 at 59; on the bores, after "
        "five minutes, +16.95 against +17.67",
        f"python train.py model=st epochs=12 recipe.steps=95 {FAST}",
    ),
    Dropped(
        "nine frames in place of five for `stacked`",
        "five",
        "bores, five minutes of a core: unseen 58.20 dB against 58.10",
        f"python train.py model=stacked model.frames=9 recipe.frames=9 data.family=bores epochs=60 recipe.steps=355 {FAST}",
    ),
    Dropped(
        "patches of four times the area for `stacked`, on nine frames",
        "patches of 16x16 LR pixels, five frames",
        "bores, five minutes of a core: unseen 58.26 dB against 58.10",
        "python train.py model=stacked model.frames=9 recipe.frames=9 recipe.patch=32 recipe.batch=4 data.family=bores "
        f"epochs=60 recipe.steps=355 {FAST}",
    ),
    Dropped(
        "the temporal term for `stacked`, on clips of seven frames, which give three, at equal time",
        "one frame per clip, three times the steps",
        "bores, five minutes of a core: unseen 57.30 dB against 58.10; at equal steps it [pays](losses.md)",
        f"python train.py model=stacked recipe.frames=7 recipe.temporal=1 data.family=bores epochs=60 recipe.steps=125 {FAST}",
    ),
    Dropped(
        "clips played backwards as further training frames",
        "the symmetries that the data have: bores break forwards only",
        "`stacked` of nine frames, bores: 56.37 dB in validation after 33 of 60 epochs, against 57.54; ended there",
        "python train.py model=stacked model.frames=9 recipe.frames=9 recipe.patch=32 recipe.batch=4 data.family=bores "
        f"epochs=60 recipe.steps=355 {FAST}",
    ),
)


def dropped() -> str:
    """The table in Markdown."""
    rows = [[each.idea, each.instead, each.figures, f"`{each.run}`"] for each in DROPPED]
    remark = (
        "On the tide at x2, one seed unless more are named: differences below 0.3 dB mean nothing. The run is that of the idea; "
        "what is no longer here ran at commit f98d069."
    )
    return f"{remark}\n\n{table(['idea', 'in its place', 'what sank it', 'run'], rows)}"
