"""Time per training step of a small network with one thread and with all threads, alone and beside one other busy process.

    python -m benchmarks.threads [--seconds 6] [--model plain_24]

Threads that compute one layer wait for each other. When one thread has to share its core, all threads wait, dozens of times per
step. The script prints medians and means over the steps. Each measurement runs in a process of its own, and the other busy
process is pinned to the first core.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from vsr.models.base import Network
from vsr.models.plain import Plain
from vsr.models.residual import StandardizedResidual
from vsr.models.resnet import ResNet

MODELS: dict[str, Callable[[], Network]] = {
    "plain": lambda: Plain(scale=2),
    "plain_24": lambda: Plain(width=24, depth=4, scale=2),
    "resnet": lambda: ResNet(scale=2),
}


def measure(model: str, seconds: float) -> None:
    """Print median and mean of the time per step in ms, for 16 patches of 16x16 LR pixels, bfloat16, channels last."""
    network = StandardizedResidual(MODELS[model]()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    lr, hr = torch.rand(16, 1, 16, 16), torch.rand(16, 1, 32, 32)
    steps: list[float] = []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            loss = (network(lr).float() - hr).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps.append(1e3 * (time.perf_counter() - began))
    steps = steps[3:]
    print(f"{statistics.median(steps):.1f} {statistics.mean(steps):.1f}")


def keep_busy(core: int) -> None:
    """Compute on one core until terminated."""
    os.sched_setaffinity(0, {core})
    while True:
        sum(range(10000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--model", choices=MODELS, default="plain_24")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.model, options.seconds)
        return
    cores = sorted(os.sched_getaffinity(0))
    print(f"{options.model}, {len(cores)} cores, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}, ms per step")
    print("threads  beside      median    mean")
    for beside in ("nothing", "a process"):
        other = multiprocessing.get_context("spawn").Process(target=keep_busy, args=(cores[0],), daemon=True)
        if beside != "nothing":
            other.start()
        for threads in sorted({1, len(cores)}):
            command = [sys.executable, str(Path(__file__)), "--measure", "--model", options.model]
            command += ["--seconds", str(options.seconds)]
            done = subprocess.run(
                command, env={**os.environ, "OMP_NUM_THREADS": str(threads)}, stdout=subprocess.PIPE, text=True, check=True
            )
            median, mean = map(float, done.stdout.split())
            print(f"{threads:>7}  {beside:<10} {median:>7.1f} {mean:>7.1f}", flush=True)
        if other.is_alive():
            other.terminate()


if __name__ == "__main__":
    main()
