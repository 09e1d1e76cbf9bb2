"""Steps per second of a Lightning run, compared with a bare PyTorch loop that does the same work on the same batches.

    python -m benchmarks.train_loop [--steps 300] [--rounds 5] [--threads N] [--precisions | --compile]

Both loops run in one process and take turns. The script prints medians of the rounds and of their ratios. The bare loop has the
same network, loss, clipping, Adam, schedule and averaged weights, and nothing else.

With --precisions it measures Lightning runs of three networks in single precision and in bfloat16 instead, and with --compile
such runs with and without torch.compile, and the number of steps from which on compiling pays.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from itertools import product
from typing import Any, Literal

import lightning as L
import torch

from vsr.data.frames import LrHrPair, MemoryFrames
from vsr.data.loaders import PatchLoader
from vsr.degradations.resize import resize_bicubic_down
from vsr.models.base import Network
from vsr.models.fsrcnn import FSRCNN
from vsr.models.normalize import Normalizer
from vsr.models.plain import Plain
from vsr.models.residual import StandardizedResidual
from vsr.models.resnet import ResNet
from vsr.recipe import Recipe
from vsr.training.callbacks import EMA
from vsr.training.modules.frame import FrameSR
from vsr.training.progress_bars import TrainingProgressBar
from vsr.training.trainer import quiet_trainer

RECIPE = Recipe(batch=16, patch=16, schedule="constant")


Precision = Literal["32-true", "bf16-mixed"]
FORMATS: tuple[tuple[Precision, bool], ...] = (("32-true", False), ("bf16-mixed", True))
NETWORKS: dict[str, type[Network]] = {"fsrcnn": FSRCNN, "plain": Plain, "resnet": ResNet}


def make(steps: int, network: type[Network] = FSRCNN) -> tuple[FrameSR, PatchLoader]:
    """Return a new module and a loader of random frames of the default size."""
    torch.manual_seed(0)
    hr = torch.rand(96, 1, 72, 72)
    pair = LrHrPair(resize_bicubic_down(hr, 2), hr)
    module = FrameSR(StandardizedResidual(network(scale=2)), normalizer=Normalizer(0.0, 1.0), recipe=RECIPE, window=(0, 4, 4))
    module.prepare([(pair.lr, pair.hr, None)])
    loader = PatchLoader(
        MemoryFrames(pair, ((0, 96),)), patch=16, batch=16, steps=steps, symmetries=("flip_y", "flip_x", "transpose")
    )
    return module, loader


def bare_loop(steps: int) -> float:
    """Return steps per second without Lightning."""
    module, loader = make(steps)
    network = module.network
    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(parameters, lr=RECIPE.rate, fused=True)
    averaged = [p.detach().clone() for p in parameters]
    start = time.perf_counter()
    for lr, hr, *_ in loader:
        lr, hr = lr[:, :, 0], hr[:, :, 0]
        loss = torch.nn.functional.mse_loss(network(lr) / network.error_unit, hr / network.error_unit)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        torch._foreach_lerp_(averaged, [p.detach() for p in parameters], 1e-3)
    return steps / (time.perf_counter() - start)


class Clock(L.Callback):
    """Measures the time of training, without the start of the Trainer.

    Attributes:
        first: Seconds of the first two steps, which compile the network where it is compiled.
        seconds: Seconds of all steps.
    """

    def on_train_start(self, *_: Any) -> None:
        self.start = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, number: int) -> None:
        if number == 1:
            self.first = time.perf_counter() - self.start

    def on_train_end(self, *_: Any) -> None:
        self.seconds = time.perf_counter() - self.start


def lightning_loop(
    steps: int, network: type[Network] = FSRCNN, precision: Precision = "32-true", nhwc: bool = False, compiled: bool = False
) -> Clock:
    """Return the times of a run with the callbacks of train.py, without validation."""
    module, loader = make(steps, network)
    if nhwc:
        module.to(memory_format=torch.channels_last)
    if compiled:
        torch._dynamo.reset()
        module.network.compile()
    clock = Clock()
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
        callbacks=[TrainingProgressBar(), EMA(0.999), clock],
    )
    trainer.fit(module, train_dataloaders=loader)
    return clock


def print_precisions(steps: int, rounds: int) -> None:
    """Print the steps per second of each network in each precision and memory format, which take turns."""
    for name, network in NETWORKS.items():
        found: dict[str, list[float]] = {}
        for _ in range(rounds):
            for precision, nhwc in product(("32-true", "bf16-mixed"), (False, True)):
                label = precision.partition("-")[0] + " channels_last" * nhwc
                seconds = lightning_loop(steps, network, precision, nhwc).seconds  # type: ignore[arg-type]
                found.setdefault(label, []).append(steps / seconds)
        medians = ", ".join(f"{label} {statistics.median(each):.1f}" for label, each in found.items())
        print(f"{name}, steps/s: {medians}", flush=True)


def print_compiled(steps: int, rounds: int) -> None:
    """Print what torch.compile gains and costs for each network, and the number of steps for which the two are equal."""
    torch._inductor.config.force_disable_caches = True
    for name, network in NETWORKS.items():
        for precision, nhwc in FORMATS:
            rates: dict[bool, list[float]] = {False: [], True: []}
            start = []
            for _ in range(rounds):
                for compiled in rates:
                    clock = lightning_loop(2 + steps, network, precision, nhwc, compiled)
                    rates[compiled].append(steps / (clock.seconds - clock.first))
                    if compiled:
                        start.append(clock.first)
            plain, fast, begun = (statistics.median(each) for each in (*rates.values(), start))
            even = f"{begun / (1 / plain - 1 / fast):.0f}" if fast > plain else "never"
            label = precision.partition("-")[0] + " channels_last" * nhwc
            print(f"{name}, {label}: {plain:.1f} steps/s, compiled {fast:.1f} after {begun:.0f} s, even at {even}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precisions", action="store_true")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    quiet_trainer()
    if options.precisions:
        print_precisions(options.steps, options.rounds)
        return
    if options.compile:
        print_compiled(options.steps, options.rounds)
        return
    bare_loop(20), lightning_loop(20)
    pairs = [(options.steps / lightning_loop(options.steps).seconds, bare_loop(options.steps)) for _ in range(options.rounds)]
    ratio = statistics.median(a / b for a, b in pairs)
    ours, floor = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"fsrcnn, patch 32, batch 16, {options.threads} threads, {options.rounds} rounds of {options.steps} steps (medians)")
    print(f"lightning {ours:.1f} steps/s, bare loop {floor:.1f} steps/s, ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
