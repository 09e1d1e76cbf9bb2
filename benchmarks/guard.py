"""Measure hits, false alarms and cost of `guard=linear`; write docs/results/guard.md and .json.

    python -m benchmarks.leaderboard only=1min models=[plain,fsrcnn,edsr,resnet,stacked] data=[tide,bores,turbulence] \\
        out=runs page=runs/page.md
    python -m benchmarks.guard runs/*-1min-*/*/checkpoints/best.ckpt [--work runs/guard] [--add NAME="data=movies data.path=FILE"]

Each network upscales each movie of each test set. The script compares the true gain over the linear filter with the decision of
the guard, which sees the LR frames alone. The limit of the guard was chosen on DESIGN, its form with SEEN in view; all other
pairs are held out. Measurements stay in the folder --work, so that an interrupted run continues.

The values of climate families are in the units of the networks. Other data are mapped to the unit interval by their own bounds,
as if a user had rescaled them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import OmegaConf

from benchmarks.common.figures import compose_train_config
from benchmarks.common.markdown import table
from vsr.data.base import SRDataModule
from vsr.geometry import crop
from vsr.inference.options import UpscaleOptions
from vsr.inference.out_of_distribution import OODScore
from vsr.inference.trained import Trained, read_trained
from vsr.inference.upscaler import Upscaler
from vsr.metrics.definitions import psnr_from_mse
from vsr.models.super_resolver import SuperResolver
from vsr.system.files import replacing_file, write_json_file
from vsr.training.build import build_data
from vsr.training.fit import quiet_fit_warnings

FAMILIES = ("tide", "bores", "turbulence", "strong_tide", "thin_bores")
FEW = "data.learn=20 data.test=40"  # frames of data that no network was trained on
TESTS = {
    **{family: f"data=climate data.family={family}" for family in FAMILIES[:3]},
    "photographs": "data=images",
    "camera": "data=movies",
    "phantom": f"data=phantom {FEW}",
    "scalar": f"data=spectral data.field=scalar {FEW}",
    "vorticity": f"data=spectral data.field=vorticity {FEW}",
    **{family: f"data=climate data.family={family} {FEW}" for family in FAMILIES[3:]},
}
DESIGN = (("tide", "bores"), ("tide", "bores", "strong_tide", "scalar"))  # trained on, tested on
SEEN = ("turbulence", "phantom", "photographs")  # and networks for turbulence on tide and bores
MOVIES, FRAMES = 8, 16  # of a test set; of a movie
BELOW, FAR_BELOW = -0.05, -1.0  # dB: a network with less is below the filter, or far below it


class Movie(NamedTuple):
    """A movie of a test set that a network has upscaled.

    Attributes:
        trained: Training family of the network.
        network: Name of the network.
        test: Name of the test set.
        gain: PSNR of the network over the linear filter, dB.
        score: What the guard measures.
    """

    trained: str
    network: str
    test: str
    gain: float
    score: OODScore

    @property
    def group(self) -> str:
        """Return what the pair was used for: the limit was chosen on DESIGN, the form of the rule with SEEN in view."""
        if self.trained in DESIGN[0] and self.test in DESIGN[1]:
            return "design"
        return "seen" if self.test in (*SEEN, *DESIGN[0]) else "held out"


@torch.inference_mode()
def measure(trained: Trained, data: SRDataModule) -> Iterator[dict[str, float]]:
    """Yield the gain over the linear filter and the score of the guard for each movie of the last test split."""
    upscaler = Upscaler(trained, UpscaleOptions(device="cpu", ends=data.ends))
    module, frames = upscaler.module, data.sets[data.test_splits[-1]]
    module.normalizer.set(*data.frame_bounds)
    assert module.reference is not None
    linear = SuperResolver(module.reference, normalizer=module.normalizer, layout=module.layout)
    window = tuple(trained.config.window)
    for start, stop in frames.segments[:MOVIES]:
        clip = frames.clip(start, min(stop, start + FRAMES), module.network.context, data.ends)
        truth = crop(module.normalizer(clip.hr), window)
        network, filtered = (
            psnr_from_mse((crop(each.predict_clip(clip), window) - truth).square().mean((0, 1, 3, 4))).mean()
            for each in (module, linear)
        )
        lr = frames.clip(start, min(stop, start + FRAMES)).lr[0].transpose(0, 1)
        score = upscaler.ood_score_of_frames((frame.numpy() for frame in lr), stop - start, lr.shape[-2:])
        if score is not None:
            yield {"gain": round(float(network - filtered), 3), **{k: float(f"{v:.4g}") for k, v in score._asdict().items()}}


def measured(paths: Sequence[Path], tests: Mapping[str, str], work: Path) -> Iterator[Movie]:
    """Yield every movie of every pair of network and test set; measure what is not in the folder `work`."""
    networks = [read_trained(path) for path in paths]
    for test, overrides in tests.items():
        held: dict[tuple[Any, ...], SRDataModule] = {}
        for trained in networks:
            path = work / f"{trained.sha256[:12]}-{test}.json"
            if not path.is_file():
                config = trained.config.copy()
                OmegaConf.resolve(config)
                config.data = compose_train_config(overrides.split()).data
                bounds = [trained.bounds] if test in FAMILIES else []
                key = (*bounds, config.scale)
                data = held[key] if key in held else held.setdefault(key, build_data(config, *bounds))
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json_file(path, {"movies": list(measure(trained, data))})
            name, family = str(trained.config.name), str(trained.config.data.family)
            for row in json.loads(path.read_text(encoding="utf-8"))["movies"]:
                gain = row.pop("gain")
                yield Movie(family, name, test, gain, OODScore(**row))


def summary(movies: Sequence[Movie]) -> list[str]:
    """Return the cells of a row: counts, gains, hits, false alarms, the largest cost and the largest loss with guard=linear."""
    gains = [movie.gain for movie in movies]
    below = [movie for movie in movies if movie.gain < BELOW]
    far = [movie for movie in movies if movie.gain < FAR_BELOW]
    replaced = [movie for movie in movies if movie.score.unfamiliar]
    cost = max([0.0, *(movie.gain for movie in replaced)])
    loss = max([0.0, *(-movie.gain for movie in movies if not movie.score.unfamiliar)])
    hits = sum(movie.score.unfamiliar for movie in below)
    return [
        str(len(movies)),
        f"{min(gains):+.2f} to {max(gains):+.2f}",
        f"{hits} of {len(below)}",
        f"{sum(movie.score.unfamiliar for movie in far)} of {len(far)}",
        f"{len(replaced) - hits} of {len(movies) - len(below)}",
        f"{cost:.2f}",
        f"{max([0.0, *(-gain for gain in gains)]):.2f}",
        f"{loss:.2f}",
    ]


HEADER = (
    "movies",
    "gain over the filter",
    "hits",
    "hits, far below",
    "false alarms",
    "largest cost",
    "largest loss",
    "with the guard",
)
PAGE = """\
# Hits and false alarms of the guard

`python -m benchmarks.guard` writes this page; the beginning of that file has the commands.
[The guide](../guides/out-of-distribution.md) explains the guard. {networks} networks were tested on {tests} sets of movies, x2.
Gains are PSNR of the network over the linear filter of its training, in dB, movie by movie. A hit is a movie below the filter
by more than {below} dB (far below: {far} dB) that the guard rejects; a false alarm is another movie that it rejects. The largest
cost is the largest gain that `guard=linear` gives away. The last two columns are the largest loss against the filter, without and
with `guard=linear`. The numbers of each movie are in [guard.json](guard.json).

The limit was chosen on the pairs `design`. The form of the rule was chosen with the pairs `seen` in view, too. The pairs
`held out` were used for neither.

{summary}

## By training family and test set

{pairs}
"""


def page(movies: Sequence[Movie]) -> str:
    """Render the whole page."""
    groups = {name: [movie for movie in movies if movie.group == name] for name in ("design", "seen", "held out")}
    pairs = {(movie.trained, movie.test): movie.group for movie in movies}
    return PAGE.format(
        networks=len({(movie.trained, movie.network) for movie in movies}),
        tests=len({movie.test for movie in movies}),
        below=-BELOW,
        far=-FAR_BELOW,
        summary=table(["", *HEADER], [[name, *summary(group)] for name, group in groups.items() if group]),
        pairs=table(
            ["trained on", "tested on", "", *HEADER],
            [[a, b, group, *summary([m for m in movies if (m.trained, m.test) == (a, b)])] for (a, b), group in pairs.items()],
        ),
    )


def main() -> None:
    """Measure what is missing; write the page and its JSON file."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="networks for climate families")
    parser.add_argument("--add", action="append", default=[], metavar="NAME=OVERRIDES", help="another test set")
    parser.add_argument("--work", type=Path, default=Path("runs/guard"), help="folder of the measurements")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    arguments = parser.parse_args()
    quiet_fit_warnings()
    added = dict(each.split("=", 1) for each in arguments.add)
    movies = list(measured(arguments.checkpoints, {**TESTS, **added}, arguments.work))
    rows = [[m.trained, m.network, m.test, m.gain, *m.score] for m in movies]
    write_json_file(
        arguments.out / "guard.json", {"columns": ["trained", "network", "test", "gain", *OODScore._fields], "rows": rows}
    )
    with replacing_file(arguments.out / "guard.md") as temporary:
        temporary.write_text(page(movies), encoding="utf-8")
    print(page(movies))


if __name__ == "__main__":
    main()
