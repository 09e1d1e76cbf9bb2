"""Compare a coarse run with super-resolution and the same solver on finer grids: error over CPU seconds.

    python -m benchmarks.break_even [--family tide] [--scale 4] [--model resnet] [--budget 10min] [--out runs/break_even]

The truth is a run on `--size` cells per side. Solvers on 1, 1.5, 2 and 3 times the cells of the run that is `--scale` times
coarser begin from the block means of the truth, or from values between its cells where their number does not divide that of the
truth. Their frames are interpolated to the grid of the truth by cubic splines. `coarse + SR` is the coarse run with a network
that was trained on `data=coarse`. Errors are mean squared errors over the frames of a window behind its start, in units of the
variance of the truth, on the trajectories that `data=coarse` tests on.

Seconds are CPU seconds of this process and of those that it starts, for one trajectory, without the spin-up of the truth. Data
and training are paid once: the page says after how many trajectories they are paid back against the cheapest method that is as
good, or that this never happens. Run it on a quiet machine; it writes break_even.md and .json in --out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import zoom

import vsr
from benchmarks.common.markdown import table
from vsr.data.simulation.families import FAMILIES, start_family
from vsr.data.simulation.shallow_water import ShallowWater
from vsr.system.files import write_json_file

SHARP = "coarse + SR"
FINER = (1.5, 2.0, 3.0)  # times the coarse resolution
WINDOW = 10  # frames

Upscale = Callable[[np.ndarray], np.ndarray]


class Method(NamedTuple):
    """A way to get frames on the fine grid.

    Attributes:
        name: What a table calls it.
        error: Mean squared error in units of the variance.
        seconds: CPU seconds for one trajectory.
    """

    name: str
    error: float
    seconds: float


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its ended children."""
    return time.process_time() + sum(os.times()[2:4])


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of a call, and the CPU seconds that it took."""
    before = cpu_seconds()
    return call(), cpu_seconds() - before


def on_cells(flow: ShallowWater, cells: int) -> ShallowWater:
    """Return a flow on another number of cells: means over blocks if it divides the cells of the flow, otherwise interpolated."""
    own = flow.h.shape[0]
    if own % cells == 0:
        return flow.coarsened(own // cells)
    h, hu, hv, bed = (resized(field, cells) for field in (*flow.state, flow.bed))
    # Interpolation changes the mass a little.
    h += flow.h.mean(dtype=np.float64) - h.mean()
    return flow.on_other_cells(h, hu, hv, bed)


def resized(field: np.ndarray, cells: int) -> np.ndarray:
    """Return a periodic field of cell values (n, n) at the centres of other cells, (cells, cells), by cubic splines."""
    found = zoom(field.astype(np.float64), cells / field.shape[0], order=3, mode="grid-wrap", grid_mode=True)
    assert found.shape == (cells, cells)
    return found


def resized_frames(frames: np.ndarray, cells: int) -> np.ndarray:
    """Return frames (T, n, n) on other cells, (T, cells, cells)."""
    return np.stack([resized(frame, cells) for frame in frames])


def run_window(flow: ShallowWater, family: str) -> np.ndarray:
    """Return the depths (WINDOW, n, n) of a flow at its time and at the next frames."""
    known, start = FAMILIES[family], flow.time
    frames = [flow.h.copy()]
    for k in range(1, WINDOW):
        flow.run(start + k * known.interval, known.courant)
        frames.append(flow.h.copy())
    return np.stack(frames)


def measure(family: str, seeds: Sequence[tuple[int, ...]], size: int, scale: int, upscale: Upscale) -> list[Method]:
    """Run the truth, the coarse solver with a network, and finer solvers from the same starts.

    Args:
        family: Name of the family of flows.
        seeds: Seed of each trajectory.
        size: Cells per side of the truth.
        scale: How many times coarser the coarse run is.
        upscale: Function of depths (T, n, n) of the coarse run that returns frames (T, size, size).
    """
    known, coarse = FAMILIES[family], "coarse solver"
    cells = {coarse: size // scale} | {f"{factor:g} times as fine": round(size // scale * factor) for factor in FINER}
    cells = {name: n for name, n in cells.items() if n < size}
    spent = dict.fromkeys([*cells, SHARP, "truth"], 0.0)
    found: dict[str, list[np.ndarray]] = {name: [] for name in spent}
    for seed in seeds:
        flow = start_family(family, seed, size)
        flow.run(known.spin_up, known.courant)
        starts = {name: on_cells(flow, n) for name, n in cells.items()}
        truth, seconds = timed(partial(run_window, flow, family))
        found["truth"].append(truth)
        spent["truth"] += seconds
        for name, start in starts.items():
            frames, running = timed(partial(run_window, start, family))
            fine, resizing = timed(partial(resized_frames, frames, size))
            found[name].append(fine)
            spent[name] += running + resizing
            if name == coarse:
                sharp, seconds = timed(partial(upscale, frames))
                found[SHARP].append(sharp)
                spent[SHARP] += running + seconds
    truth = np.stack(found["truth"])[:, 1:].astype(np.float64)
    errors = {name: float(np.mean((np.stack(made)[:, 1:] - truth) ** 2) / truth.var()) for name, made in found.items()}
    return [Method(name, errors[name], spent[name] / len(seeds)) for name in spent]


def paid_back(methods: list[Method], once: float) -> tuple[str, float]:
    """Return the cheapest other method that is as good as coarse + SR, and after how many trajectories `once` is paid back.

    The number is infinite if that method is no more expensive: then the network never pays.
    """
    [own] = [method for method in methods if method.name == SHARP]
    rival = min((m for m in methods if m.name != SHARP and m.error <= own.error), key=lambda method: method.seconds)
    saved = rival.seconds - own.seconds
    return rival.name, once / saved if saved > 0 else math.inf


def page(methods: list[Method], once: float, typed: str) -> str:
    """Return the result as Markdown."""
    rival, count = paid_back(methods, once)
    rows = [[method.name, f"{method.error:.4g}", f"{method.seconds:.3g}"] for method in methods]
    after = "never" if math.isinf(count) else f"after {math.ceil(count)} trajectories"
    return (
        f"# Break-even of {SHARP}\n\n`{typed}`\n\n{table(('method', 'error', 'CPU seconds per trajectory'), rows)}\n\n"
        f"Data and training took {once:.0f} CPU seconds. The cheapest other method with no larger error is: {rival}. Against it, "
        f"they are paid back: {after}.\n"
    )


def trained(given: argparse.Namespace) -> tuple[Path, float]:
    """Return the run of a network in the folder `given.out`, trained unless it is there, and CPU seconds of data and training."""
    run, record = given.out / "run", given.out / "once.json"
    if not record.exists():
        shutil.rmtree(given.out / "cache", ignore_errors=True)  # half of the data would look cheap
        typed = ["data=coarse", f"data.family={given.family}", f"scale={given.scale}", f"data.size={given.size}"]
        typed += [f"data.window={WINDOW}", "data.inputs=[time]", f"model={given.model}", *given.override]
        typed += [f"data.cache={given.out}/cache", f"hydra.run.dir={run}", *([f"budget={given.budget}"] if given.budget else [])]
        _, seconds = timed(partial(subprocess.run, [sys.executable, "-m", "vsr", "train", *typed], check=True))
        write_json_file(record, {"seconds": seconds})
    return run, float(json.loads(record.read_text(encoding="utf-8"))["seconds"])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--family", choices=FAMILIES, default="tide")
    parser.add_argument("--size", type=int, default=144, help="cells per side of the truth")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--model", default="resnet")
    parser.add_argument("--budget", default="10min", help="of training; empty for what --override says")
    parser.add_argument("--test", type=int, default=8, help="trajectories to measure on")
    parser.add_argument("--out", type=Path, default=Path("runs/break_even"))
    parser.add_argument("--override", action="append", default=[], help="a further key of vsr train")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    run, once = trained(given)
    network = vsr.load(run, device="cpu")
    seeds = [(0, 1, k) for k in range(given.test)]  # those that data=coarse tests on
    methods = measure(given.family, seeds, given.size, given.scale, network.upscale)
    words = shlex.join(["python", "-m", "benchmarks.break_even", *(sys.argv[1:] if arguments is None else arguments)])
    text = page(methods, once, words)
    rival, count = paid_back(methods, once)
    after = None if math.isinf(count) else count
    content = {"methods": [method._asdict() for method in methods], "once": once, "rival": rival, "paid_back_after": after}
    write_json_file(given.out / "break_even.json", content)
    (given.out / "break_even.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
