"""Count hits and false alarms of the guard of pairs, which compares LR frames with those of training; no network is needed.

    python -m benchmarks.guard_pairs [--seed 0] [--pairs coarse.nc --variable eta,u,v]

Statistics are measured on LR of `--learn` trajectories of a family of flows. The guard then judges `--test` trajectories: of
other seeds of the same family (what it calls unlike is a false alarm), of the other families, and the same ones changed. With
`--pairs`, each trajectory of a coarse run is judged by the statistics of the two thirds of the others that follow it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from benchmarks.common.markdown import table
from vsr.data.lr_statistics import LRStatistics, measure_variable
from vsr.data.simulation.families import simulate_pair
from vsr.io.readers.paired import open_trajectories

FAMILIES = ("tide", "bores", "strong_tide", "thin_bores", "turbulence")
LEARNED = FAMILIES[:2]
SCALE, FRAMES = 2, 10


def simulate(family: str, part: int, seed: int, count: int, size: int) -> list[np.ndarray]:
    """Return LR of trajectories of a family, (T, 1, h, w) each."""
    return [simulate_pair(family, (seed, part, k), size, SCALE, FRAMES, FRAMES)[0][:, None] for k in range(count)]


def changed(frames: np.ndarray, wide: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield LR frames (T, C, h, w) as other coarse runs might have them, with a name; `wide` is the range of each variable."""
    frames = frames.astype(np.float64)
    shifted = np.roll(frames, 1, -1)
    yield "means of 2x2", (frames + shifted + np.roll(frames + shifted, 1, -2)) / 4
    noise = np.random.default_rng(0).standard_normal(frames.shape)
    yield "noise of 1% of the range", frames + 0.01 * wide[:, None, None] * noise
    yield "in a unit 100 times smaller", 100 * frames
    if frames.shape[1] > 1:
        yield "variables exchanged", np.roll(frames, 1, 1)


def statistics(trajectories: list[np.ndarray]) -> LRStatistics:
    """Measure trajectories (T, C, h, w)."""
    height, width = trajectories[0].shape[-2:]
    several = trajectories[0].shape[1]
    variables = tuple(measure_variable("", [each[:, c].astype(np.float64) for each in trajectories]) for c in range(several))
    return LRStatistics(variables, (height, width), (None, None), ("", ""), np.inf, "frames")


def judge(known: LRStatistics, name: str, movies: list[np.ndarray], counts: dict[str, list[bool]]) -> None:
    """Add whether movies, and changed copies of them, are unlike training to the lists of their names."""
    wide = np.array([one.range[1] - one.range[0] for one in known.variables])
    for movie in movies:
        cases = [(name, movie), *(changed(movie, wide) if name == "the same" else ())]
        for case, frames in cases:
            counts.setdefault(case, []).append(bool(known.differences(frames, None, "")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=96, help="cells per side of the fine grid")
    parser.add_argument("--learn", type=int, default=8)
    parser.add_argument("--test", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0, help="of the trajectories to learn from; the next one is that of the test")
    parser.add_argument("--pairs", help="file of a coarse run with trajectories")
    parser.add_argument("--variable", help="its variables, with commas")
    given = parser.parse_args()
    rows = []
    tests = {family: simulate(family, 1, given.seed + 1, given.test, given.size) for family in FAMILIES}
    for family in LEARNED:
        known = statistics(simulate(family, 0, given.seed, given.learn, given.size))
        counts: dict[str, list[bool]] = {}
        for other, movies in tests.items():
            judge(known, "the same" if other == family else other, movies, counts)
        rows += [[family, case, f"{sum(found)} of {len(found)}"] for case, found in counts.items()]
    if given.pairs:
        variable = given.variable.split(",") if given.variable else None
        opened = open_trajectories(given.pairs, variable=variable, axes=None)
        every = [np.moveaxis(one.array.read(one.which, 0, one.array.shape[2]), 1, 0) for one in opened]
        counts = {}
        for i, movie in enumerate(every):
            following = [every[(i + 1 + k) % len(every)] for k in range(2 * len(every) // 3)]
            judge(statistics(following), "the same", [movie[:: max(1, len(movie) // 16)]], counts)
        rows += [[given.pairs.rpartition("/")[2], case, f"{sum(found)} of {len(found)}"] for case, found in counts.items()]
    print(table(("trained on", "movies", "unlike"), rows))


if __name__ == "__main__":
    main()
