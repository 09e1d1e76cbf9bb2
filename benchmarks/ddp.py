"""Training speed in images per second of one CPU process and of two processes, with one core each.

    python -m benchmarks.ddp [--rounds 5] [--cases default doubled large movie]

One process is pinned to the first core; two processes form a group and are pinned to one core each. Every process computes in one
thread, and the single process and the group take turns. An image is a training patch, or a clip for movie networks. The script
prints medians of the rounds, and medians of the ratios to the single process:

- `shared`: two processes share the batch of the single process.
- `as is`: like `shared`, with the network thread of gloo as gloo starts it (see `vsr.system.ranks.join_ranks`).
- `each`: both processes have as large a batch as the single process.
- `apart`: two independent processes, the upper bound on these two cores.
- `core`: processor time over elapsed time of the single process.

If `apart` is far from 2 or `core` far from 1, other processes were busy, and the ratios are not reliable.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy

from vsr.data.frames import LrHrPair, MemoryFrames
from vsr.data.loaders import PatchLoader
from vsr.degradations.resize import resize_bicubic_down
from vsr.models.fsrcnn import FSRCNN
from vsr.models.normalize import Normalizer
from vsr.models.residual import StandardizedResidual
from vsr.models.srnet3d import SRNet3D
from vsr.recipe import Recipe
from vsr.system.ranks import join_ranks
from vsr.training.build import MODULES
from vsr.training.callbacks import EMA
from vsr.training.trainer import quiet_trainer

FRAMES, SIZE = 96, 144


@dataclass(frozen=True)
class Case:
    """A network and its training steps.

    Attributes:
        network: "fsrcnn" or "srnet3d".
        patch: LR pixels per side of a patch.
        batch: clips per step.
        length: frames per clip.
        steps: number of measured steps.
    """

    network: str
    patch: int
    batch: int
    length: int
    steps: int


CASES = {
    "default": Case("fsrcnn", 16, 16, 1, 150),
    "doubled": Case("fsrcnn", 16, 32, 1, 100),
    "large": Case("fsrcnn", 32, 64, 1, 20),
    "movie": Case("srnet3d", 16, 4, 7, 20),
}


class Clock(L.Callback):
    """Measures the time from the end of the third step to the end of the last; the first steps include one-time work."""

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        now = time.perf_counter(), time.process_time()
        if index == 2:
            self.start = now
        self.steps = index - 2
        self.seconds, self.busy = (at - since for at, since in zip(now, getattr(self, "start", now), strict=True))


def images_per_second(case: Case, processes: int) -> tuple[float, float]:
    """Train and return images per second of all processes together, and processor time over elapsed time of this process."""
    torch.manual_seed(0)
    hr = torch.rand(FRAMES, 1, SIZE, SIZE)
    pair = LrHrPair(resize_bicubic_down(hr, 2), hr)
    network = StandardizedResidual(FSRCNN(scale=2) if case.network == "fsrcnn" else SRNet3D(scale=2))
    recipe = Recipe(batch=case.batch, patch=case.patch, schedule="constant", frames=case.length)
    module = MODULES[network.kind](network, normalizer=Normalizer(0.0, 1.0), recipe=recipe, window=(0, 8, 8))
    module.prepare([(pair.lr[:8], pair.hr[:8], None)])
    loader = PatchLoader(
        MemoryFrames(pair, ((0, FRAMES),)),
        length=case.length,
        patch=case.patch,
        batch=case.batch,
        steps=case.steps + 3,
        symmetries=("flip_y", "flip_x", "transpose"),
    )
    clock = Clock()
    group = DDPStrategy(cluster_environment=LightningEnvironment(), broadcast_buffers=False)
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=processes,
        strategy=group if processes > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        gradient_clip_val=1.0,
        callbacks=[EMA(0.999), clock],
    )
    trainer.fit(module, train_dataloaders=loader)
    return clock.steps * case.batch / clock.seconds, clock.busy / clock.seconds


def process(rank: int, processes: int, core: int, folder: str, orders: Connection, join: Callable[..., None]) -> None:
    """Measure each case that arrives through the pipe, until None arrives.

    Args:
        rank: rank in the group.
        processes: size of the group.
        core: CPU core to run on.
        folder: folder for the rendezvous file of the group.
        orders: receives a Case or None, sends the result of `images_per_second`.
        join: joins the process group when there are several processes.
    """
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    quiet_trainer()
    os.environ["LOCAL_RANK"] = str(rank)
    if processes > 1:
        join("gloo", init_method=f"file://{folder}/{join.__name__}", rank=rank, world_size=processes)
    while (case := orders.recv()) is not None:
        orders.send(images_per_second(case, processes))


def start(processes: int, cores: list[int], folder: str, join: Callable[..., None] = join_ranks) -> list[Connection]:
    """Start a group of processes, each pinned to its core, and return the parent's ends of their pipes."""
    context = get_context("spawn")
    ends = []
    for rank in range(processes):
        mine, theirs = context.Pipe()
        context.Process(target=process, args=(rank, processes, cores[rank], folder, theirs, join), daemon=True).start()
        ends.append(mine)
    return ends


def measure(ends: list[Connection], case: Case) -> list[tuple[float, float]]:
    """Let all processes measure a case at the same time and return their results."""
    for end in ends:
        end.send(case)
    return [end.recv() for end in ends]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    cores = sorted(os.sched_getaffinity(0))[:2]
    with TemporaryDirectory() as folder:
        one, two, apart = start(1, cores, folder), start(2, cores, folder), start(1, cores[1:], folder)
        as_is = start(2, cores, folder, dist.init_process_group)
        print(f"cores {cores}, load {os.getloadavg()[0]:.1f}, {options.rounds} rounds, medians")
        print("case     network   patch  batch    1 process   2, shared       as is     2, each", end="")
        print("  shared  as is   each  apart  core  rounds, shared")
        for name in options.cases:
            case = CASES[name]
            turns = ((one, case), (two, case), (as_is, case), (two, replace(case, batch=2 * case.batch)), (one + apart, case))
            rounds = [[measure(ends, each) for ends, each in turns] for _ in range(options.rounds + 1)][1:]
            rates = [[found[i][0][0] for found in rounds] for i in range(4)]
            rates.append([sum(rate for rate, _ in found[4]) for found in rounds])
            ratios = [[b / a for a, b in zip(rates[0], other, strict=True)] for other in rates[1:]]
            core = statistics.median(found[0][0][1] for found in rounds)
            seconds = "".join(f"{statistics.median(rate):>10.1f}/s" for rate in rates[:4])
            over = "".join(f"{statistics.median(ratio):>7.2f}" for ratio in ratios)
            shown = " ".join(f"{ratio:.2f}" for ratio in ratios[0])
            line = f"{name:<8} {case.network:<8} {2 * case.patch:>6} {case.batch:>6} {seconds} {over} {core:>5.2f}  {shown}"
            print(line, flush=True)
        for end in (*one, *two, *as_is, *apart):
            end.send(None)


if __name__ == "__main__":
    main()
