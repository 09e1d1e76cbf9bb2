"""Comparison of the accelerator of this machine with the CPU: speed, scores and frames (make device-check).

    python -m benchmarks.device_check [--steps 100]

The script trains fsrcnn for some steps in fp32 on the CPU, and on the device in fp32, bf16, fp16 (GPUs only) and compiled, always
from the same start and on the same patches. It scores each network on the test frames, upscales frames of 270x480 with it, and
compares these frames with those of the CPU with the same weights in fp32. Without an accelerator the device is the CPU.

The script prints one table and exits with status 1 if a difference is larger than the arithmetic explains. It takes two minutes
on two cores.
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

from vsr.config.check import check_config
from vsr.config.schema import register_schemas
from vsr.errors import UserError
from vsr.inference.engine import Engine
from vsr.inference.options import UpscaleOptions
from vsr.training.arithmetic import set_arithmetic, to_scoring_arithmetic, to_training_arithmetic
from vsr.training.build import build_data, build_module
from vsr.training.callbacks import EMA
from vsr.training.fit import prepare_fit_loaders, quiet_fit_warnings
from vsr.training.hardware import PRECISIONS, Placement, check_hardware, hardware_placement
from vsr.training.modules.base import SRModule
from vsr.training.trainer import build_scoring_trainer, quiet_trainer

CONF = Path(__file__).parent.parent / "conf"
DATA = ["data=climate", "data.size=24", "data.sampling=3", "data.learn=20", "data.test=10", "name=fsrcnn", "degradation=bicubic"]
WARM = 20  # first steps, which are not measured because they include compiling and choosing kernels
FRAMES = 8
# Tolerances: difference of the scores after training in dB, largest difference of frames as a part of the data range.
ALLOWED = {"32": (0.05, 1e-4), "bf16": (0.5, 0.05), "16": (0.5, 0.02)}
ENGINE = {"32": "fp32", "bf16": "bf16", "16": "fp16"}


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        accelerator: "cpu", "cuda" or "mps".
        precision: a key of ENGINE.
        compiled: whether torch.compile is used.
    """

    accelerator: str
    precision: str
    compiled: bool

    @property
    def name(self) -> str:
        return f"{self.accelerator} {ENGINE[self.precision]}{', compiled' if self.compiled else ''}"


@dataclass(frozen=True)
class Found:
    """Results of one variant.

    Attributes:
        images: training patches per second.
        frames: upscaled frames per second.
        psnr: PSNR on the test frames, dB.
        difference: largest difference of a frame from the CPU in fp32, as a part of the data range.
        memory: peak memory, MiB.
    """

    images: float
    frames: float
    psnr: float
    difference: float
    memory: float


class Clock(L.Callback):
    """Measures the time of the steps after the first WARM steps, in seconds."""

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        if index + 1 in (WARM, trainer.num_training_batches):
            wait(module.device)
            now = time.perf_counter()
            self.seconds = now - getattr(self, "start", now)
            self.start = now


def wait(device: torch.device) -> None:
    """Wait until the device has finished its queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def compose_config(variant: Variant, steps: int) -> DictConfig:
    """Compose and check the config of a training run of this variant.

    Raises:
        UserError: the machine does not support the variant.
    """
    strategy = "cpu" if variant.accelerator == "cpu" else "gpu"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(
            "train",
            [
                *[*DATA, f"strategy={strategy}", f"precision={variant.precision}", f"compile={str(variant.compiled).lower()}"],
                *[f"recipe.steps={steps}", "recipe.batch=32", "recipe.patch=12"],
            ],
        )
    check_config(cfg)
    check_hardware(cfg)
    return cfg


def measure(variant: Variant, steps: int, lr: Tensor) -> Found:
    """Train, score and upscale with this variant.

    Args:
        variant: accelerator, precision and compilation.
        steps: training steps; the first WARM steps are not measured.
        lr: frames to upscale, (N, 1, h, w) in the data's unit.

    Raises:
        UserError: the machine does not support the variant.
    """
    cfg = compose_config(variant, steps)
    set_arithmetic(cfg.tf32)
    if variant.accelerator == "cuda":
        torch.cuda.reset_peak_memory_stats()
    L.seed_everything(0, verbose=False)
    data = build_data(cfg)
    module = build_module(cfg, data.card, data.test_splits)
    prepare_fit_loaders(data, module)
    module.prepare(data.training_frames())
    to_training_arithmetic(module.network, cfg)
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
    to_scoring_arithmetic(module.network)
    build_scoring_trainer(cfg).test(module, dataloaders=data.test_dataloader(), verbose=False)
    psnr = float(module.scored["test"][0]["psnr"].mean())
    frames, difference = measure_upscaling(variant, module, lr, hardware_placement(cfg.trainer))
    images = (steps - WARM) * cfg.recipe.batch / clock.seconds
    return Found(images, frames, psnr, difference, peak_memory(variant.accelerator))


def measure_upscaling(variant: Variant, module: SRModule, lr: Tensor, placed: Placement) -> tuple[float, float]:
    """Return frames per second, and the largest difference from the CPU in fp32 as a part of the data range."""
    chosen: dict[str, Any] = {"precision": ENGINE[variant.precision], "device": placed.accelerator}
    engine = Engine(copy.deepcopy(module), UpscaleOptions(compile=variant.compiled, **chosen), channels=1)
    exact = Engine(copy.deepcopy(module), UpscaleOptions(device="cpu"), channels=1)
    made = engine(lr[:1])
    start = time.perf_counter()
    for frame in lr:
        made = engine(frame[None])
    seconds = time.perf_counter() - start
    made, truth = (module.normalizer(frames.to(module.device)) for frames in (made, exact(lr[-1:])))
    return len(lr) / seconds, float((made - truth).abs().max())


def peak_memory(accelerator: str) -> float:
    """Return the peak memory in MiB: of the GPU since its last reset, or of the process since its start on a CPU."""
    if accelerator == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    if accelerator == "mps":
        return torch.mps.driver_allocated_memory() / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def variants(accelerator: str) -> list[Variant]:
    """Return all rows for this accelerator; `measure_step_rate` raises UserError for a row that the machine does not support."""
    names = ["32", "bf16"] + ["16"] * (accelerator != "cpu")
    found = [Variant(accelerator, name, False) for name in names] + [Variant(accelerator, name, True) for name in names[:2]]
    return found if accelerator == "cpu" else [Variant("cpu", "32", False), *found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("torch").setLevel(logging.ERROR)
    quiet_trainer()
    quiet_fit_warnings()
    register_schemas()
    accelerator = hardware_placement(OmegaConf.create({"accelerator": "auto", "devices": 1})).accelerator
    name = torch.cuda.get_device_name() if accelerator == "cuda" else "Apple's GPU" if accelerator == "mps" else "no accelerator"
    print(f"torch {torch.__version__}, {name}, {torch.get_num_threads()} threads on the CPU; fsrcnn x2")
    if accelerator == "cpu":
        print("no accelerator was found: all rows are measured on the CPU and compared with the CPU in fp32")
    lr = torch.rand(FRAMES, 1, 270, 480, generator=torch.Generator().manual_seed(0)) * 20 - 10
    print(f"{'':<20} {'training':>12} {'upscaling':>12} {'PSNR':>7} {'- CPU':>7} {'largest':>9} {'memory':>8}")
    print(f"{'':<20} {'patches/s':>12} {'frames/s':>12} {'dB':>7} {'dB':>7} {'error':>9} {'MiB':>8}")
    base, bad = None, []
    for variant in variants(accelerator):
        try:
            found = measure(variant, options.steps, lr)
        except UserError as error:
            print(f"{variant.name:<20} not available: {error}")
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
    print(
        f"error: larger differences than the arithmetic explains: {', '.join(bad)}"
        if bad
        else "all differences are within the tolerances of the arithmetic"
    )
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
