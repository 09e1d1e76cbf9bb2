"""Cost of the networks: parameters, multiplications and frames per second, measured in turn in one process."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.figures import compose_train_config
from vsr.inference.engine import Engine
from vsr.inference.options import UpscaleOptions
from vsr.models.cost import count_parameters, multiply_adds
from vsr.system.cpu import usable_cores
from vsr.system.files import write_json_file
from vsr.system.progress import progress_bar
from vsr.training.build import build_module
from vsr.training.modules.base import SRModule

FRAMES, ROUNDS, LONG = 8, 5, 60.0  # seconds after which a slow network gets no further rounds
WORK = {"h": 64, "w": 64, "t": 16}  # LR pixels and frames for counting the multiplications


def costs(
    models: Mapping[str, Sequence[str]],
    path: Path,
    side: int,
    again: bool,
    report_progress: Callable[[str], None],
    earlier: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure the cost of each network, or take it from the file `path` or from an earlier leaderboard.json.

    Speeds that were measured at different times are not comparable: if one is missing in the file, all are measured again.

    Args:
        models: label -> overrides of train.py.
        path: JSON file that keeps the result.
        side: LR pixels per side of a frame.
        again: ignore the file.
        report_progress: receives messages.
        earlier: costs of an earlier leaderboard.json.

    Returns:
        "frame" (LR pixels per side), "threads", and "networks": label -> parameters, multiply_adds (per HR pixel and frame),
        frames_per_second (median).
    """
    found: dict[str, Any] = dict(earlier or {})
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            report_progress(f"{path}: measured again")
    known = {label: cost.get("of") for label, cost in found.get("networks", {}).items()}
    if not again and found.get("frame") == side and all(known.get(label) == list(typed) for label, typed in models.items()):
        return found
    report_progress(f"measuring the speed of {len(models)} networks, side by side")
    torch.set_num_threads(usable_cores())
    modules = {label: _module(typed) for label, typed in models.items()}
    speeds = frames_per_second(modules, side)
    networks = {
        label: {
            "of": list(models[label]),
            "parameters": count_parameters(module.network),
            "multiply_adds": work(module),
            "frames_per_second": float(f"{speeds[label]:.4g}"),
        }
        for label, module in modules.items()
    }
    content = {"frame": side, "threads": torch.get_num_threads(), "networks": networks}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json_file(path, content)
    return content


def _module(typed: Sequence[str]) -> SRModule:
    cfg = compose_train_config(typed)
    return build_module(cfg, {"name": "none", "channels": 1, "bounds": [0.0, 1.0]}, ()).eval()


def work(module: SRModule) -> float:
    """Count the multiplications per HR pixel and frame of the folded network; 0 for interpolations."""
    if count_parameters(module.network) == 0:
        return 0.0
    return float(f"{multiply_adds(module.network, folded=True, **WORK):.6g}")


def frames_per_second(modules: Mapping[str, SRModule], side: int) -> dict[str, float]:
    """Measure upscaling as in upscale.py, in single precision: medians over rounds in which the networks take turns."""
    engines = {label: Engine(module, UpscaleOptions(device="cpu"), channels=1) for label, module in modules.items()}
    movie = torch.rand(FRAMES, 1, side, side, generator=torch.Generator().manual_seed(0))
    taken: dict[str, list[float]] = {label: [] for label in engines}
    with progress_bar(ROUNDS * len(engines), "timing", "movie") as bar:
        for engine in engines.values():
            engine(movie[engine.window(0, 1, FRAMES)])  # warm-up
        for turn in range(ROUNDS):
            for label, engine in engines.items():
                if turn == 0 or sum(taken[label]) < LONG:
                    taken[label].append(_seconds(engine, movie))
                bar.update()
    return {label: FRAMES / statistics.median(times) for label, times in taken.items()}


def _seconds(engine: Engine, movie: torch.Tensor) -> float:
    start, block = time.perf_counter(), engine.block(*movie.shape[-2:])
    for first in range(0, len(movie), block):
        engine(movie[engine.window(first, min(first + block, len(movie)), len(movie))])
    return time.perf_counter() - start
