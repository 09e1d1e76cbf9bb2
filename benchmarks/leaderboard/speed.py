"""What the networks cost: parameters, work, and frames per second, measured in one process side by side."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.drawing import composed
from vsr.inference.engine import Engine
from vsr.inference.options import UpscaleOptions
from vsr.models.base import parameter_count
from vsr.models.cost import multiply_adds
from vsr.system.files import write_json
from vsr.system.jobs import cores
from vsr.system.progress import progress_bar
from vsr.training.build import build_module
from vsr.training.modules.base import SRModule

FRAMES, ROUNDS, LONG = 8, 5, 60.0  # a network that has taken so many seconds has fewer rounds
WORK = {"h": 64, "w": 64, "t": 16}  # LR pixels and frames on which the work is counted


def costs(
    models: Mapping[str, Sequence[str]], path: Path, side: int, again: bool, heard: Callable[[str], None]
) -> dict[str, Any]:
    """What each network costs, kept in a file: "frame" (LR pixels per side), "threads", and "networks".

    Of a network: parameters, multiply_adds (per HR pixel and frame), frames_per_second (median).

    Speeds of different hours do not compare: one that is missing in the file means that all are measured again.
    """
    if path.is_file() and not again:
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if found["frame"] == side and all(found["networks"][label]["of"] == list(typed) for label, typed in models.items()):
                return found
        except (OSError, ValueError, KeyError, TypeError):
            heard(f"{path}: measured again")
    heard(f"measuring the speed of {len(models)} networks, side by side")
    torch.set_num_threads(cores())
    modules = {label: _module(typed) for label, typed in models.items()}
    speeds = frames_per_second(modules, side)
    networks = {
        label: {
            "of": list(models[label]),
            "parameters": parameter_count(module.network),
            "multiply_adds": work(module),
            "frames_per_second": float(f"{speeds[label]:.4g}"),
        }
        for label, module in modules.items()
    }
    content = {"frame": side, "threads": torch.get_num_threads(), "networks": networks}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)
    return content


def _module(typed: Sequence[str]) -> SRModule:
    cfg = composed(typed)
    return build_module(cfg, {"name": "none", "channels": 1, "bounds": [0.0, 1.0]}, ()).eval()


def work(module: SRModule) -> float:
    """Multiplications per HR pixel and frame, in the form that is evaluated; 0 for interpolations."""
    if parameter_count(module.network) == 0:
        return 0.0
    return float(f"{multiply_adds(module.network, folded=True, **WORK):.6g}")


def frames_per_second(modules: Mapping[str, SRModule], side: int) -> dict[str, float]:
    """Of upscaling as upscale.py does it, in single precision: medians of rounds in which every network has its turn."""
    engines = {label: Engine(module, UpscaleOptions(device="cpu"), channels=1) for label, module in modules.items()}
    movie = torch.rand(FRAMES, 1, side, side, generator=torch.Generator().manual_seed(0))
    taken: dict[str, list[float]] = {label: [] for label in engines}
    with progress_bar(ROUNDS * len(engines), "timing", "movie") as bar:
        for engine in engines.values():
            engine(movie[engine.window(0, 1, FRAMES)])  # the first call sets things up
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
