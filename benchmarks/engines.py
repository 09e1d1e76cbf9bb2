"""Speed of the engines of `vsr upscale`, side by side in one process, and what they cost in PSNR.

    python -m benchmarks.engines [--models plain,resnet,fsrcnn,stacked] [--sizes 64,128,256,540x960] [--threads N] [--rounds 7]
        [--train 60 --path FILE] [--movies 1,10,100,1000 --longest 30]

The first table has frames per second of upscaling x2 by each engine and precision, of untrained networks as `vsr upscale` runs
them, with tiles and the bicubic skip. --sizes are those of LR frames. The engines take turns; figures are medians over rounds.

The second table is printed with --train N: networks are trained for N seconds on the tide, the bores, a film and a movie of your
own (--path, as data.path takes it), and scored on test frames. "loss" is the PSNR of torch fp32 minus that of the engine; "RMS"
and "largest" are differences from torch fp32 over the data range.

The third table is printed with --movies: seconds for movies of so many frames by `engine=torch`, `onnxruntime` and `auto`, from
the checkpoint to the last frame, each in a new process with an empty cache, so that opening, exporting and trials count. Movies
for which torch needs more than --longest seconds are left out.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

import vsr
from benchmarks.common.figures import compose_train_config
from benchmarks.common.markdown import table
from benchmarks.upscale import make_checkpoint
from vsr.config.check import RUNTIMES
from vsr.geometry import crop
from vsr.inference import engine_choice
from vsr.inference.engine import Engine
from vsr.inference.options import UpscaleOptions
from vsr.inference.trained import read_trained
from vsr.metrics.definitions import psnr_from_mse
from vsr.models.super_resolver import SuperResolver
from vsr.system.cpu import usable_cores
from vsr.system.provenance import cpu_name
from vsr.training.build import build_data
from vsr.training.build_network import build_super_resolver

ROOT = Path(__file__).parent.parent
PIXELS = 1 << 17  # LR pixels of the frames of a round, one frame at least
DATA = {"tide": ["data=climate"], "bores": ["data=climate", "data.family=bores"], "film": ["data=movies"]}
MOVIES, FRAMES = 6, 8  # of a test set; of a movie


def untrained(model: str) -> SuperResolver:
    """Return an untrained network: its speed does not depend on its weights."""
    cfg = compose_train_config([f"model={model}"])
    return build_super_resolver(cfg, {"name": "none", "channels": 1, "bounds": [0.0, 1.0]}).eval()


def installed_options() -> list[UpscaleOptions]:
    """Return the options of all engines and precisions that are installed here."""
    named = [("torch", "fp32"), ("torch", "bf16"), ("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16")]
    return [
        UpscaleOptions(device="cpu", engine=engine, precision=precision)  # type: ignore[arg-type]
        for engine, precision in named
        if all(map(find_spec, RUNTIMES.get(engine, ())))
    ]


def seconds(engine: Engine, lr: Tensor) -> float:
    length, block, start = len(lr), engine.block(*lr.shape[-2:]), time.perf_counter()
    for first in range(0, length, block):
        engine(lr[engine.window(first, min(first + block, length), length)])
    return time.perf_counter() - start


def speeds(model: str, size: tuple[int, int], rounds: int) -> dict[str, float]:
    """Return the frames per second of each engine, medians over rounds in which the engines take turns."""
    module = untrained(model)
    engines = {engine_choice.label_of(each): Engine(copy.deepcopy(module), each, channels=1) for each in installed_options()}
    length = max(1, min(64, PIXELS // (size[0] * size[1])))
    lr = torch.rand(length, 1, *size, generator=torch.Generator().manual_seed(0))
    taken: dict[str, list[float]] = {label: [] for label in engines}
    for engine in engines.values():
        seconds(engine, lr)
    for _ in range(rounds):
        for label, engine in engines.items():
            taken[label].append(seconds(engine, lr))
    return {label: length / statistics.median(times) for label, times in taken.items()}


def train(model: str, data: Sequence[str], budget: float, folder: Path) -> Path:
    """Train a network for some seconds and return its checkpoint."""
    typed = [f"model={model}", *data, f"budget={budget:g}s", f"hydra.run.dir='{folder}'"]
    done = subprocess.run([sys.executable, str(ROOT / "train.py"), *typed], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return folder / "checkpoints" / "best.ckpt"


@torch.inference_mode()
def losses(checkpoint: Path) -> Iterator[tuple[str, float, float, float]]:
    """Yield engine, PSNR in dB, and the root mean square and the largest difference from torch fp32 over the data range."""
    trained = read_trained(checkpoint)
    data, module = build_data(trained.config, trained.bounds), trained.module()
    frames, window, context = data.sets[data.test_splits[-1]], tuple(trained.config.window), module.network.context
    spans = [(start, min(stop, start + FRAMES)) for start, stop in frames.segments[:MOVIES]]
    clips = [frames.clip(*span, context, data.ends) for span in spans]
    exact: list[Tensor] = []
    for options in installed_options():
        engine = Engine(copy.deepcopy(module), options, channels=trained.channels)
        found = [module.normalizer(engine(clip.lr[0].transpose(0, 1))) for clip in clips]
        exact = exact or found
        true = [module.normalizer(clip.hr)[0].transpose(0, 1) for clip in clips]
        errors = [crop((sr - hr)[None].transpose(1, 2), (0, *window[1:])) for sr, hr in zip(found, true, strict=True)]
        psnr = torch.cat([psnr_from_mse(error.square().mean((0, 1, 3, 4))) for error in errors]).mean()
        apart = torch.cat([(a - b).flatten() for a, b in zip(found, exact, strict=True)])
        yield engine_choice.label_of(options), float(psnr), float(apart.square().mean().sqrt()), float(apart.abs().max())


def movie_seconds(checkpoint: Path, engine: str, size: tuple[int, int], frames: int, threads: int) -> float:
    """Return the seconds in which a new process upscales a movie. The cache of vsr is empty."""
    torch.set_num_threads(threads)
    lr = torch.rand(min(frames, 50), *size, generator=torch.Generator().manual_seed(0)).mul_(255)
    lr = lr[torch.arange(frames) % len(lr)]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VSR_CACHE"] = folder
        start = time.perf_counter()
        vsr.load(checkpoint, device="cpu", engine=engine).upscale(lr)
        return time.perf_counter() - start


def print_movies(
    models: Sequence[str], sizes: Sequence[tuple[int, int]], lengths: Sequence[int], longest: float, threads: int
) -> None:
    engines, rows = ["torch", *(["onnxruntime"] if find_spec("onnxruntime") else []), "auto"], []
    with (
        tempfile.TemporaryDirectory() as name,
        ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes,
    ):
        for model in models:
            checkpoint = make_checkpoint(Path(name) / model, model)
            for size in sizes:
                expected = 0.0
                for frames in lengths:
                    if expected * frames > longest:
                        break
                    taken = [
                        processes.submit(movie_seconds, checkpoint, engine, size, frames, threads).result() for engine in engines
                    ]
                    expected = taken[0] / frames
                    over = taken[-1] / min(taken[:-1])
                    rows.append([model, f"{size[0]}x{size[1]}", str(frames), *(f"{each:.2f}" for each in taken), f"{over:.2f}"])
                    print("\t".join(rows[-1]), flush=True)
    print(table(["network", "LR frame", "frames", *(f"{engine}, s" for engine in engines), "auto / best"], rows))


def sizes_of(text: str) -> list[tuple[int, int]]:
    pairs = [[int(side) for side in size.split("x")] for size in text.split(",")]
    return [(pair[0], pair[-1]) for pair in pairs]


def print_speeds(models: Sequence[str], sizes: Sequence[tuple[int, int]], rounds: int) -> None:
    found = {}
    for model in models:
        for size in sizes:
            found[model, size] = speeds(model, size, rounds)
            print(model, size, {label: float(f"{rate:.4g}") for label, rate in found[model, size].items()}, flush=True)
    labels = list(dict.fromkeys(label for rates in found.values() for label in rates))
    rows = [
        [model, f"{height}x{width}", *(f"{rates[label]:.4g}" if label in rates else "" for label in labels)]
        for (model, (height, width)), rates in found.items()
    ]
    print(table(["network", "LR frame", *labels], rows))


def print_losses(models: Sequence[str], budget: float, path: str | None) -> None:
    rows, given = [], dict(DATA)
    if path is not None:
        given[Path(path).name] = ["data=climate", f"data.path='{path}'"]
    with tempfile.TemporaryDirectory() as name:
        for data, typed in given.items():
            for model in models:
                exact = None
                for label, psnr, rms, most in losses(train(model, typed, budget, Path(name) / f"{model}-{data}")):
                    exact = psnr if exact is None else exact
                    rows.append([data, model, label, f"{psnr:.2f}", f"{exact - psnr:+.4f}", f"{rms:.1e}", f"{most:.1e}"])
                    print("\t".join(rows[-1]), flush=True)
    print(table(["data", "network", "engine", "PSNR, dB", "loss, dB", "RMS", "largest"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="plain,resnet,fsrcnn,stacked")
    parser.add_argument("--sizes", default="64,128,256,540x960")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--train", type=float, default=0.0)
    parser.add_argument("--path")
    parser.add_argument("--movies", default="")
    parser.add_argument("--longest", type=float, default=30.0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    models = options.models.split(",")
    print(f"{cpu_name()}, {options.threads} threads, medians of {options.rounds} rounds")
    if options.movies:
        lengths = [int(frames) for frames in options.movies.split(",")]
        print_movies(models, sizes_of(options.sizes), lengths, options.longest, options.threads)
    elif options.sizes:
        print_speeds(models, sizes_of(options.sizes), options.rounds)
    if options.train:
        print_losses(models, options.train, options.path)


if __name__ == "__main__":
    main()
