"""Ideas that were tried and dropped, each with its scores and its command; written by hand.

All runs are on the tide at x2 with one seed unless the entry says otherwise. Differences below 0.3 dB are within the noise.
"""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.common.markdown import table


class Dropped(NamedTuple):
    """A dropped idea.

    Attributes:
        idea: the idea.
        instead: what vsr uses.
        figures: scores of both.
        run: command of the idea's run.
    """

    idea: str
    instead: str
    figures: str
    run: str


FAST = "precision=bf16 channels_last=true patience=null"
MINUTE = "`unseen`, one minute of a core, gain over linear:"
DROPPED = (
    Dropped(
        "ReLU in `plain`",
        "SiLU",
        "`unseen` 44.37 dB against 44.76, `test` 42.72 against 43.13; ReLU takes less time per frame and remains available",
        f"python train.py model=plain model.act=relu recipe.rate=4e-3 epochs=30 recipe.steps=200 {FAST}",
    ),
    Dropped(
        "squared error for the networks that are not in the report",
        "`recipe=sharp`, absolute error",
        "`plain_24`: `unseen` 46.28 dB against 46.68, `test` 44.40 against 44.64",
        "python train.py model=plain_24 recipe.loss=mse recipe.rate=4e-3 epochs=30 recipe.steps=200 patience=null",
    ),
    Dropped(
        "residual over the linear filter, as a fallback where the network has learned nothing",
        "residual over bicubic",
        "`plain_24`: `unseen` 45.56 dB against 45.69; trained on the tide and tested on turbulence, 34.91 against 34.95, where "
        "the filter alone has 41.79 ([decision 019](../design/decisions/019-residual-over-the-linear-filter.md))",
        f"python train.py model=plain_24 recipe.residual=linear epochs=20 recipe.steps=200 {FAST}",
    ),
    Dropped(
        "augmentation by random contrast (a factor up to e^0.7 about the mean) and offset (up to 3 units), for other regimes",
        "augmentation by the symmetries of the data",
        "`plain_24`: `unseen` 45.67 dB against 45.69; trained on the tide and tested on turbulence, 35.25 against 34.95, where "
        "the filter alone has 41.79",
        f"python train.py model=plain_24 epochs=20 recipe.steps=200 {FAST}",
    ),
    Dropped(
        "training through the projection, tapered at the border of patches",
        "`consistency=projection` after the network",
        "`fsrcnn`, two seeds: `unseen` 43.26 and 42.49 dB against 43.24 and 42.67",
        "python train.py model=fsrcnn epochs=40 (20) recipe.steps=100 consistency=projection",
    ),
    Dropped(
        "block means equal to the LR pixels, the constraint of the literature",
        "`consistency=projection`",
        "under bicubic degradation 1.4 dB below no constraint ([consistency](consistency.md))",
        "python -m benchmarks.consistency",
    ),
    Dropped(
        "`model=span`: reparametrised layers, attention without parameters (Wan et al. 2024)",
        "`plain`",
        f"{MINUTE} +9.01 dB at 26 frames/s against +9.27 at 396",
        f"python train.py model=span epochs=13 recipe.steps=80 {FAST}",
    ),
    Dropped(
        "`plain` of width 32 on frames of half as many pixels along each axis, four channels each (`PixelUnshuffle`), for large "
        "frames, as a plugin; of width 16 with a third of the multiplications",
        "`plain`",
        "three minutes of a core, `test` 43.42 and 39.41 dB against 45.59; on the generated film the best validation PSNR is "
        "40.50 and 40.44 against 41.40",
        "python train.py plugins=[halved] model=halved model.width=32 (16) data=climate (movies) budget=3min",
    ),
    Dropped(
        "`model=rrn`: recurrent, each frame from the previous frames (Isobe et al. 2020)",
        "`stacked`",
        f"{MINUTE} +9.03 dB at 0.79 frames/s against +13.37 at 54",
        f"python train.py model=rrn epochs=4 recipe.steps=144 {FAST}",
    ),
    Dropped(
        "`model=basicvsr`: bidirectional recurrence, features with or without alignment by a learned flow (Chan et al. 2021)",
        "`stacked`",
        f"{MINUTE} +10.11 dB at 3.5 frames/s against +13.37 at 54; on the bores after five minutes +13.64 "
        "against +17.67, where `resnet` has +14.76 ([decision 016](../design/decisions/016-recurrent-networks-forget.md))",
        f"python train.py model=basicvsr epochs=10 recipe.steps=84 {FAST}",
    ),
    Dropped(
        "`model=st`: `edsr` with layers along time, all frames of a clip at once (Tran et al. 2018)",
        "`stacked`, or `resnet` frame by frame",
        f"{MINUTE} +11.66 dB at 1.7 frames/s against +13.37 at 54 and +12.83 at 59; on the bores after "
        "five minutes +16.95 against +17.67",
        f"python train.py model=st epochs=12 recipe.steps=95 {FAST}",
    ),
    Dropped(
        "nine frames for `stacked`",
        "five frames",
        "bores, five minutes of a core: `unseen` 58.20 dB against 58.10",
        f"python train.py model=stacked model.frames=9 recipe.frames=9 data.family=bores epochs=60 recipe.steps=355 {FAST}",
    ),
    Dropped(
        "patches of four times the area for `stacked` on nine frames",
        "patches of 16x16 LR pixels, five frames",
        "bores, five minutes of a core: `unseen` 58.26 dB against 58.10",
        "python train.py model=stacked model.frames=9 recipe.frames=9 recipe.patch=32 recipe.batch=4 data.family=bores "
        f"epochs=60 recipe.steps=355 {FAST}",
    ),
    Dropped(
        "temporal loss for `stacked` at equal time, on clips of seven frames, which give three output frames",
        "one output frame per clip, three times as many steps",
        "bores, five minutes of a core: `unseen` 57.30 dB against 58.10; at equal steps the term [helps](losses.md)",
        f"python train.py model=stacked recipe.frames=7 recipe.temporal=1 data.family=bores epochs=60 recipe.steps=125 {FAST}",
    ),
    Dropped(
        "clips played backwards as additional training data",
        "the symmetries of the data: bores break forwards only",
        "`stacked` of nine frames, bores: validation PSNR 56.37 dB after 33 of 60 epochs against 57.54; stopped there",
        "python train.py model=stacked model.frames=9 recipe.frames=9 recipe.patch=32 recipe.batch=4 data.family=bores "
        f"epochs=60 recipe.steps=355 {FAST}",
    ),
)


def dropped_ideas_table() -> str:
    """Render the table in Markdown."""
    rows = [[each.idea, each.instead, each.figures, f"`{each.run}`"] for each in DROPPED]
    remark = (
        "Runs are on version 1 of the tide at x2 with one seed unless the row says otherwise. Differences below 0.3 dB are "
        "within the noise. "
        "The last column is the command of the idea's run; options that no longer exist ran at commit f98d069."
    )
    return f"{remark}\n\n{table(['idea', 'vsr uses', 'scores', 'command'], rows)}"
