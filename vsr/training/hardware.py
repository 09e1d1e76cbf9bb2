"""Choice of device, precision and number of processes of a run, checked against the hardware."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig

from vsr.config.overrides import with_overrides
from vsr.errors import UserError
from vsr.system.cpu import cpu_computes_bf16, usable_cores
from vsr.system.torchrun import count_slurm_tasks, torchrun_rank

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
TOGETHER = ("ddp", "ddp_spawn")  # strategies of several processes


@dataclass(frozen=True)
class Placement:
    """Hardware of a run: accelerator ("cpu", "cuda", "mps"), devices per node (their number or indices) and number of nodes."""

    accelerator: str
    devices: int | list[int]
    nodes: int = 1

    @property
    def local(self) -> int:
        """Return the number of processes per node."""
        return len(self.devices) if isinstance(self.devices, list) else self.devices

    @property
    def world(self) -> int:
        """Return the number of processes on all nodes."""
        return self.local * self.nodes


def hardware_placement(trainer: DictConfig) -> Placement:
    """Return the accelerator, the devices and the number of nodes that a config asks for.

    Args:
        trainer: The section `trainer` of the config.

    Raises:
        UserError: If the hardware or the launcher (torchrun, srun) does not provide what the config asks for.
    """
    if trainer.get("strategy") == "fsdp":
        gpus = torch.cuda.device_count()
        what = f"{gpus} GPU{'s' * (gpus > 1)}, on each of which every network here fits" if gpus else _there("cpu")
        raise UserError(
            f"strategy=fsdp: shards weights over GPUs, and here is {what}; averaged weights and scoring need them whole; "
            "type strategy=ddp"
        )
    accelerator = _accelerator(trainer)
    given: Any = trainer.devices
    kind, outside = trainer.get("strategy", "auto"), torchrun_rank()
    if kind == "ddp_spawn" and outside is not None:
        raise UserError("strategy=ddp_spawn: starts its processes itself, and torchrun has started them; type strategy=ddp")
    if kind not in TOGETHER:
        if outside is not None and outside.world > 1:
            raise UserError(f"torchrun started {outside.world} processes, and this strategy is for one; type strategy=ddp")
        if given != "auto" and _count(given) > 1:
            raise UserError(f"trainer.devices={given}: this strategy is for one; type strategy=ddp trainer.devices={given}")
    elif outside is None and count_slurm_tasks() > 1:
        raise UserError(
            f"srun started {count_slurm_tasks()} tasks; let it start one torchrun per node, as docs/guides/slurm/train.sh does"
        )
    if given == "auto":
        found = torch.cuda.device_count() if accelerator == "cuda" and kind in TOGETHER else 1
        given = outside.local if outside is not None else found
    nodes = int(trainer.get("num_nodes") or 1)
    if outside is not None:
        if outside.local != _count(given) or (nodes != outside.nodes and nodes > 1):
            raise UserError(
                f"trainer.devices={given}, trainer.num_nodes={nodes}: torchrun started {outside.local} processes on each of "
                f"{outside.nodes} nodes; leave both keys out"
            )
        nodes = outside.nodes
    elif nodes > 1:
        raise UserError(f"trainer.num_nodes={nodes}: torchrun joins nodes; start it on each of them, see docs/guides/scaling.md")
    _check_devices(accelerator, given)
    return Placement(accelerator, list(given) if isinstance(given, ListConfig | list) else int(given), nodes)


def check_hardware(cfg: DictConfig) -> Placement:
    """Return the hardware of a training run. Raises UserError, before data are read, for settings that cannot work on it."""
    placed = hardware_placement(cfg.trainer)
    precision = str(cfg.precision)
    if precision == "16" and placed.accelerator == "cpu":
        raise UserError("precision=16: for GPUs, and this is a CPU; type precision=bf16, or precision=32, often as fast on CPUs")
    if precision == "bf16" and placed.accelerator == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UserError(f"precision=bf16: {torch.cuda.get_device_name()} has none; type precision=16 or precision=32")
    if cfg.tf32 and (placed.accelerator != "cuda" or torch.cuda.get_device_capability()[0] < 8):
        raise UserError(f"tf32=true: for GPUs from Ampere on, and this is {_there(placed.accelerator)}; type tf32=false")
    if cfg.compile and (why := _cannot_compile(placed.accelerator)):
        raise UserError(f"compile=true: {why}; type compile=false")
    if cfg.recipe.batch < placed.world:
        raise UserError(
            f"recipe.batch={cfg.recipe.batch}: is that of all {placed.world} processes together; "
            f"type recipe.batch={placed.world} or more"
        )
    return placed


def fastest_precision(accelerator: str) -> str:
    """Return the value of precision=auto: "bf16" if the hardware supports it, else "32". Scores always use float32."""
    if accelerator == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"
    return "bf16" if accelerator == "cpu" and cpu_computes_bf16() else "32"


def with_hardware_precision(cfg: DictConfig) -> DictConfig:
    """Return a copy of a config with precision=auto resolved on this machine."""
    if cfg.precision != "auto":
        return cfg
    return with_overrides(cfg, {"precision": fastest_precision(hardware_placement(cfg.trainer).accelerator)})


def _accelerator(trainer: DictConfig) -> str:
    """Return the accelerator "cpu", "cuda" or "mps". Raises UserError if this machine lacks the GPU that the config asks for."""
    asked, kind = trainer.accelerator, trainer.get("strategy", "auto")
    if asked == "auto":
        asked = "gpu" if torch.cuda.is_available() or (torch.backends.mps.is_available() and kind not in TOGETHER) else "cpu"
    if asked == "cpu":
        return "cpu"
    if torch.cuda.is_available() and asked in ("gpu", "cuda"):
        return "cuda"
    if torch.backends.mps.is_available() and asked in ("gpu", "mps"):
        return "mps"
    key = "strategy=gpu" if (asked, kind) == ("gpu", "auto") else f"strategy={kind} trainer.accelerator={asked}"
    raise UserError(f"{key}: no GPU here, torch {torch.__version__} finds {_there('cpu')} only; type strategy=cpu")


def _there(accelerator: str) -> str:
    """Describe the GPU or the CPU of this machine in words."""
    names = {"cuda": torch.cuda.get_device_name, "mps": lambda: "Apple's GPU", "cpu": lambda: f"a CPU of {usable_cores()} cores"}
    return names[accelerator]()


def _count(devices: Any) -> int:
    return len(devices) if isinstance(devices, ListConfig | list) else int(devices)


def _check_devices(accelerator: str, devices: Any) -> None:
    """Raise UserError for missing GPUs and for indices of CPUs; more processes than cores are allowed, but slow."""
    if accelerator == "cuda":
        there = torch.cuda.device_count()
        wanted = max(devices) + 1 if isinstance(devices, ListConfig | list) else int(devices)
        if wanted > there:
            raise UserError(f"trainer.devices={devices}: {there} GPU{'s' * (there > 1)} here; type trainer.devices={there}")
    elif isinstance(devices, ListConfig | list):
        raise UserError(f"trainer.devices={list(devices)}: a CPU has no numbers; type trainer.devices={len(devices)}")


def _cannot_compile(accelerator: str) -> str | None:
    """Return the reason why torch.compile cannot work on this machine; None if it can."""
    if accelerator == "cuda" and importlib.util.find_spec("triton") is None:
        return "torch.compile needs the package triton for this GPU"
    if accelerator == "mps":
        return "is not for Apple's GPU"
    named = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([named] if named else ["g++", "clang++"])):
        return f"torch.compile needs a C++ compiler, and there is no {named or 'g++ or clang++'}"
    return None


def check_single_process_hardware(script: str, trainer: DictConfig | None = None) -> None:
    """Raise UserError if torchrun or the config starts several processes for a script that works in one process."""
    outside, kind = torchrun_rank(), "auto" if trainer is None else trainer.get("strategy", "auto")
    if outside is not None and outside.world > 1:
        raise UserError(f"{script} works in one process, torchrun started {outside.world}; start it with python")
    if kind in (*TOGETHER, "fsdp"):
        raise UserError(f"strategy={kind}: {script} works in one process; type strategy=auto")
