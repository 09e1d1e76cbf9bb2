"""Images per second of training on one CPU process and on two, of one core each.

python benchmarks/ddp.py [--rounds 5] [--cases default doubled large movie]. Both take turns in one run: a process pinned to the
first core, and two in a group, pinned to one core each; every one computes in one thread. An image is a training patch (of a
movie network, a clip). Medians of the rounds, and of their ratios to one process, are printed: `shared`, two processes share the
batch of the one, so that only time changes; `as is`, the same with gloo's thread as gloo starts it (`ranks.join_group`);
`each`, both have as large a batch as the one; `apart`, two processes have nothing to do with each other, which is as much as
these two cores give. `core` is the part of its core's time that the single process had. Where `apart` is far from 2, or `core`
from 1, others were at work, and the ratios say little.
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
from vsr.degradations.resize import bicubic_down
from vsr.models.fsrcnn import FSRCNN
from vsr.models.normalize import Normalizer
from vsr.models.residual import StandardizedResidual
from vsr.models.srnet3d import SRNet3D
from vsr.recipe import Recipe
from vsr.system.ranks import join_group
from vsr.training.build import MODULES
from vsr.training.callbacks import EMA
from vsr.training.trainer import quiet_lightning

FRAMES, SIZE = 96, 144


@dataclass(frozen=True)
class Case:
    """A network, and what a step of it takes: `patch` in LR pixels, clips per step, frames per clip."""

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
    """From the end of the third step, which is past all that is done once, to the end of the last."""

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        now = time.perf_counter(), time.process_time()
        if index == 2:
            self.start = now
        self.steps = index - 2
        self.seconds, self.busy = (at - since for at, since in zip(now, getattr(self, "start", now), strict=True))


def images_per_second(case: Case, processes: int) -> tuple[float, float]:
    """Of all processes together, and the part of the time that this one computed."""
    torch.manual_seed(0)
    hr = torch.rand(FRAMES, 1, SIZE, SIZE)
    pair = LrHrPair(bicubic_down(hr, 2), hr)
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
    together = DDPStrategy(cluster_environment=LightningEnvironment(), broadcast_buffers=False)
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=processes,
        strategy=together if processes > 1 else "auto",
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
    """Measure what is ordered until told to stop; `join` makes the group of several."""
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    quiet_lightning()
    os.environ["LOCAL_RANK"] = str(rank)
    if processes > 1:
        join("gloo", init_method=f"file://{folder}/{join.__name__}", rank=rank, world_size=processes)
    while (case := orders.recv()) is not None:
        orders.send(images_per_second(case, processes))


def start(processes: int, cores: list[int], folder: str, join: Callable[..., None] = join_group) -> list[Connection]:
    """As many processes, on a core each; the ends of their pipes."""
    context = get_context("spawn")
    ends = []
    for rank in range(processes):
        mine, theirs = context.Pipe()
        context.Process(target=process, args=(rank, processes, cores[rank], folder, theirs, join), daemon=True).start()
        ends.append(mine)
    return ends


def measure(ends: list[Connection], case: Case) -> list[tuple[float, float]]:
    """What each of these processes found, working at the same time."""
    for end in ends:
        end.send(case)
    return [end.recv() for end in ends]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
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
