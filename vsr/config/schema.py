"""Top-level keys of train.yaml, evaluate.yaml and upscale.yaml, with types and defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf


@dataclass
class TrainSchema:
    """Top-level keys of train.yaml. Config groups are checked against the classes that they name."""

    plugins: list[str] = field(default_factory=list)
    name: str = MISSING
    scale: int = 2
    seed: int = 0
    epochs: int = MISSING
    patience: int | None = None
    monitor: str = "val/psnr"
    budget: str | None = None
    window: tuple[int, int, int] = (0, 4, 4)
    ends: str = "replicate"
    protocol: str = "float"
    consistency: str = "none"
    consistency_steps: int = 3
    members: int | None = None
    weights: str | None = None
    resume: str = "never"
    checkpoint_seconds: float | None = 60.0
    checkpoint_steps: int | None = None
    prelu: dict[str, Any] = field(default_factory=dict)
    model: Any = MISSING
    data: Any = MISSING
    degradation: Any = MISSING
    recipe: Any = MISSING
    init: Any = MISSING
    tune: Any = None
    trainer: Any = MISSING
    precision: Any = 32
    compile: bool = False
    tf32: bool = False
    channels_last: bool = False
    deterministic: bool = False
    callbacks: Any = None
    logger: Any = None
    hparams_search: Any = None


@dataclass
class EvaluateSchema:
    """Top-level keys of evaluate.yaml; a null key keeps the value from training. `checkpoint` is one file or a list of files."""

    plugins: list[str] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    checkpoint: Any = MISSING
    static: Any = None
    window: tuple[int, int, int] | None = None
    protocol: str | None = None
    consistency: str | None = None
    consistency_steps: int | None = None
    report: bool = True
    members: int | None = None
    calibrate: bool = False
    workers: int | None = None
    data: Any = None
    degradation: Any = None
    trainer: Any = MISSING


@dataclass
class UpscaleSchema:
    """Top-level keys of upscale.yaml."""

    plugins: list[str] = field(default_factory=list)
    checkpoint: str | None = None
    input: Any = MISSING
    output: str | None = None
    overwrite: bool = False
    variable: Any = None
    axes: str | None = None
    select: Any = None
    missing: Any = None
    static: Any = None
    max_bytes: int = 2**40
    device: str = "auto"
    engine: str = "torch"
    precision: str | None = None
    compile: bool = False
    ensemble: bool = False
    periodic: str | None = None
    ends: str | None = None
    consistency: str | None = None
    consistency_steps: int | None = None
    members: int | None = None
    keep: Any = None
    calibration: str | None = None
    seed: int = 0
    guard: str = "warn"
    tile: int | None = None
    memory: int = 512
    frames: Any = None
    fps: Any = None
    crf: int | None = None
    audio: bool = True
    page: bool = False
    workers: Any = None
    dry: bool = False


SCHEMAS = {"train": TrainSchema, "evaluate": EvaluateSchema, "upscale": UpscaleSchema}


def register_schemas() -> None:
    """Register the schemas with Hydra, and the resolver `method`, which the configs use, with OmegaConf."""
    for script, schema in SCHEMAS.items():
        ConfigStore.instance().store(f"schema_{script}", schema)
    OmegaConf.register_new_resolver("method", method_label, replace=True)


def method_label(name: str, consistency: str, before: str = "none") -> str:
    """Return a method's name for tables, such as fsrcnn+projection; an earlier ending, +`before`, is removed from `name`."""
    name = name.replace(f"+{before}", "")
    return name if consistency == "none" else f"{name}+{consistency}"
