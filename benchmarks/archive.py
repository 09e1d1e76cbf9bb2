"""Time and memory of `vsr upscale workers=N` on a Zarr store of global frames: `python -m benchmarks.archive [KEY=VALUE ...]`.

Keys: frames=240 (of 721x1440 float32, 4 MiB each), network=plain (trained for a few steps: the speed does not depend on its
weights) or a checkpoint, folder=FOLDER (default: a temporary one), workers=1,2, rounds=1.

Each worker computes with one thread. "network" is the network alone on the same frames in memory, with one thread in this
process; "overhead" is what a worker takes longer per frame. Memory is the largest resident set of a worker.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

SIZE = (721, 1440)
PATTERNS = 24  # different frames; the others repeat them


def main() -> None:
    """Run the benchmark with the arguments of this process and print a table."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    if unknown := sorted(set(given) - {"frames", "rounds", "workers", "folder", "network"}):
        sys.exit(f"{unknown[0]}: unknown key; python -m benchmarks.archive takes frames, rounds, workers, folder, network")
    frames, rounds = int(given.get("frames", "240")), int(given.get("rounds", "1"))
    numbers = [int(each) for each in given.get("workers", "1,2").split(",")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given.get("folder", temporary))
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = Path(given["network"]) if Path(given.get("network", "plain")).exists() else _train(given, folder)
        source = _archive(folder, frames)
        alone = _network_alone(checkpoint, source)
        print(f"{frames} frames of {SIZE[0]}x{SIZE[1]}, x2; network alone {1 / alone:.2f} frames/s with one thread", flush=True)
        print("workers    seconds   frames/s   overhead   MiB per worker", flush=True)
        base = None
        for number in numbers:
            found = [_run(checkpoint, source, folder / "out.zarr", number) for _ in range(rounds)]
            seconds, memory = median(each[0] for each in found), max(each[1] for each in found)
            base = base or seconds * number
            over = seconds * number / frames / alone - 1
            ratio = f"   {base / seconds:.2f} times one" if number > 1 else ""
            print(f"{number:>7}  {seconds:>9.1f}  {frames / seconds:>9.2f}  {over:>9.1%}  {memory:>15}{ratio}", flush=True)


def _train(given: dict[str, str], folder: Path) -> Path:
    model, run = given.get("network", "plain"), folder / "run"
    if not (run / "checkpoints" / "best.ckpt").exists():
        small = ["data=climate", "data.size=48", "data.learn=30", "data.test=10", "epochs=1", "recipe.steps=20"]
        command = [sys.executable, "train.py", f"model={model}", *small, "trainer.accelerator=cpu", f"hydra.run.dir={run}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return run / "checkpoints" / "best.ckpt"


def _archive(folder: Path, frames: int) -> Path:
    import zarr

    path = folder / f"in-{frames}.zarr"
    if path.exists():
        return path
    rng, (height, width) = np.random.default_rng(0), SIZE
    waves = []
    for a, b in rng.uniform(0.01, 0.5, (PATTERNS, 2)):
        waves.append(np.add.outer(np.sin(np.arange(height) * a), np.cos(np.arange(width) * b)))
    root: Any = zarr.open_group(path, mode="w")
    names = ("time", "lat", "lon")
    array = root.create_array("h", shape=(frames, *SIZE), chunks=(4, *SIZE), dtype="float32", dimension_names=names)
    noise = rng.standard_normal(SIZE) * 0.01
    for first in range(0, frames, 4):
        array[first : first + 4] = np.stack([waves[n % PATTERNS] + noise for n in range(first, min(first + 4, frames))])
    return path


def _network_alone(checkpoint: Path, source: Path) -> float:
    import torch
    import zarr

    import vsr

    torch.set_num_threads(1)
    network = vsr.load(checkpoint, device="cpu")
    root: Any = zarr.open_group(source, mode="r")
    values = np.asarray(root["h"][:16])
    lr = torch.from_numpy(values)[:, None]
    block, engine = network.engine.block(*SIZE), network.engine
    seconds = []
    for start in range(0, 16 - block + 1, block):
        window = lr[engine.window(start, start + block, 16)]
        since = time.perf_counter()
        engine(window)
        seconds.append((time.perf_counter() - since) / block)
    return median(seconds[1:])


def _run(checkpoint: Path, source: Path, target: Path, workers: int) -> tuple[float, int]:
    """Return the seconds of the command, and the peak memory of a worker in MiB."""
    shutil.rmtree(target, ignore_errors=True)
    typed = [f"checkpoint={checkpoint}", f"input={source}", f"output={target}", f"workers={workers}", "guard=off", "device=cpu"]
    since, peak = time.perf_counter(), 0
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "upscale.py", *typed], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
    )
    while process.poll() is None:
        peak = max(peak, *(_peak_memory(pid) for pid in _workers(process.pid, workers)), 0)
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"upscale.py ended with status {process.returncode}")
    seconds = time.perf_counter() - since
    shutil.rmtree(target)
    return seconds, peak


def _workers(pid: int, workers: int) -> list[int]:
    """Return the processes that compute: those of upscale_worker, or the command itself for one worker."""
    if workers == 1:
        return [pid]
    listed = subprocess.run(["pgrep", "-f", "vsr.inference.upscale_worker"], capture_output=True, text=True, check=False)
    return [int(each) for each in listed.stdout.split()]


def _peak_memory(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(found[0]) // 1024 if found else 0


if __name__ == "__main__":
    main()
