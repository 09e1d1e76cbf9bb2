"""What the accelerator of this machine does, against the CPU: make device-check.

python benchmarks/device_check.py [--steps 100]. Trains fsrcnn for some steps in fp32 on the CPU, and on the device in fp32, bf16,
fp16 (GPUs) and compiled, from the same start and on the same patches; scores each on the test frames; upscales frames of 270x480
with it; and compares that with what the CPU makes of the same weights in fp32. Without an accelerator the device is the CPU.
Prints one table, and exits with 1 where a difference is larger than the arithmetic explains. Two minutes on two cores.
"""

from __future__ import annotations

import argparse
import copy
import logging
import resource
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from vsr.config.check import check
from vsr.config.schema import register
from vsr.errors import UserError
from vsr.inference.engine import Engine
from vsr.inference.options import UpscaleOptions
from vsr.training.arithmetic import set_arithmetic, to_scoring_form, to_training_form
from vsr.training.build import build_data, build_module
from vsr.training.callbacks import EMA
from vsr.training.fit import quiet_warnings, serve
from vsr.training.hardware import PRECISIONS, Placement, check_hardware, placement
from vsr.training.modules.base import SRModule
from vsr.training.trainer import build_scorer, quiet_lightning

CONF = Path(__file__).parent.parent / "conf"
DATA = ["data=climate", "data.size=24", "data.sampling=3", "data.learn=20", "data.test=10", "name=fsrcnn", "degradation=bicubic"]
WARM = 20  # steps, and one frame, that are not measured: compiling, choosing kernels
FRAMES = 8
# What is allowed: dB between scores after training, and the largest difference between frames, of the data range.
ALLOWED = {"32": (0.05, 1e-4), "bf16": (0.5, 0.05), "16": (0.5, 0.02)}
ENGINE = {"32": "fp32", "bf16": "bf16", "16": "fp16"}


@dataclass(frozen=True)
class Variant:
    """One row: where, in which precision, compiled or not."""

    accelerator: str
    precision: str
    compiled: bool

    @property
    def name(self) -> str:
        return f"{self.accelerator} {ENGINE[self.precision]}{', compiled' if self.compiled else ''}"


@dataclass(frozen=True)
class Found:
    """Training patches and upscaled frames per second, test PSNR, largest difference from the CPU, peak memory in MiB."""

    images: float
    frames: float
    psnr: float
    difference: float
    memory: float


class Clock(L.Callback):
    """Seconds of the steps after the first ones."""

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        if index + 1 in (WARM, trainer.num_training_batches):
            wait(module.device)
            now = time.perf_counter()
            self.seconds = now - getattr(self, "start", now)
            self.start = now


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def config(variant: Variant, steps: int) -> DictConfig:
    """Of a training run like that. Raises UserError for what the machine lacks."""
    strategy = "cpu" if variant.accelerator == "cpu" else "gpu"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(
            "train",
            [
                *[*DATA, f"strategy={strategy}", f"precision={variant.precision}", f"compile={str(variant.compiled).lower()}"],
                *[f"recipe.steps={steps}", "recipe.batch=32", "recipe.patch=12"],
            ],
        )
    check(cfg)
    check_hardware(cfg)
    return cfg


def measure(variant: Variant, steps: int, lr: Tensor) -> Found:
    """Train, score and upscale in this way."""
    cfg = config(variant, steps)
    set_arithmetic(cfg.tf32)
    if variant.accelerator == "cuda":
        torch.cuda.reset_peak_memory_stats()
    L.seed_everything(0, verbose=False)
    data = build_data(cfg)
    module = build_module(cfg, data.card, data.test_splits)
    serve(data, module)
    module.prepare(data.training_frames())
    to_training_form(module.network, cfg)
    clock = Clock()
    trainer = L.Trainer(
        accelerator=cfg.trainer.accelerator,
        devices=1,
        precision=PRECISIONS[variant.precision],  # type: ignore[arg-type]
        max_epochs=1,
        limit_val_batches=0,
        gradient_clip_val=cfg.recipe.clip,
        callbacks=[EMA(cfg.recipe.ema), clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data)
    to_scoring_form(module.network)
    build_scorer(cfg).test(module, dataloaders=data.test_dataloader(), verbose=False)
    psnr = float(module.scored["test"]["psnr"].mean())
    frames, difference = upscaled(variant, module, lr, placement(cfg.trainer))
    images = (steps - WARM) * cfg.recipe.batch / clock.seconds
    return Found(images, frames, psnr, difference, peak(variant.accelerator))


def upscaled(variant: Variant, module: SRModule, lr: Tensor, placed: Placement) -> tuple[float, float]:
    """Frames per second, and the largest difference from the CPU in fp32, as a part of the data range."""
    chosen: dict[str, Any] = {"precision": ENGINE[variant.precision], "device": placed.accelerator}
    engine = Engine(copy.deepcopy(module), UpscaleOptions(compile=variant.compiled, **chosen), channels=1)
    exact = Engine(copy.deepcopy(module), UpscaleOptions(device="cpu"), channels=1)
    made = engine(lr[:1])
    start = time.perf_counter()
    for frame in lr:
        made = engine(frame[None])
    seconds = time.perf_counter() - start
    low, high = module.normalizer.bounds
    return len(lr) / seconds, float((made - exact(lr[-1:])).abs().max()) / (high - low)


def peak(accelerator: str) -> float:
    """MiB: of the GPU since it was reset, of the process so far on a CPU."""
    if accelerator == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    if accelerator == "mps":
        return torch.mps.driver_allocated_memory() / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def variants(accelerator: str) -> list[Variant]:
    """All that there may be; what the machine lacks is said when it is tried."""
    names = ["32", "bf16"] + ["16"] * (accelerator != "cpu")
    found = [Variant(accelerator, name, False) for name in names] + [Variant(accelerator, name, True) for name in names[:2]]
    return found if accelerator == "cpu" else [Variant("cpu", "32", False), *found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("torch").setLevel(logging.ERROR)
    quiet_lightning()
    quiet_warnings()
    register()
    accelerator = placement(OmegaConf.create({"accelerator": "auto", "devices": 1})).accelerator
    name = torch.cuda.get_device_name() if accelerator == "cuda" else "Apple's GPU" if accelerator == "mps" else "no accelerator"
    print(f"torch {torch.__version__}, {name}, {torch.get_num_threads()} threads on the CPU; fsrcnn x2")
    if accelerator == "cpu":
        print("there is no accelerator here: the rows are of the CPU, each against the CPU in fp32")
    lr = torch.rand(FRAMES, 1, 270, 480, generator=torch.Generator().manual_seed(0)) * 20 - 10
    print(f"{'':<20} {'training':>12} {'upscaling':>12} {'PSNR':>7} {'- CPU':>7} {'largest':>9} {'memory':>8}")
    print(f"{'':<20} {'patches/s':>12} {'frames/s':>12} {'dB':>7} {'dB':>7} {'error':>9} {'MiB':>8}")
    base, bad = None, []
    for variant in variants(accelerator):
        try:
            found = measure(variant, options.steps, lr)
        except UserError as error:
            print(f"{variant.name:<20} not here: {error}")
            continue
        base = found.psnr if base is None else base
        off = found.psnr - base
        print(
            f"{variant.name:<20} {found.images:>12.0f} {found.frames:>12.2f} {found.psnr:>7.2f} {off:>+7.3f} "
            f"{found.difference:>9.1e} {found.memory:>8.0f}",
            flush=True,
        )
        score, frame = ALLOWED[variant.precision]
        if not (abs(off) <= score and found.difference <= frame):
            bad.append(variant.name)
    print(f"differs by more than the arithmetic explains: {', '.join(bad)}" if bad else "all within what the arithmetic explains")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
