"""Tiny data with the layout of the real thing, and runs without a process of their own."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from vsr.config.plugins import apply_plugins
from vsr.config.schema import method_label, register_schemas

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"
TINY_CLIMATE = ["data=climate", "data.size=24", "data.sampling=3", "data.learn=20", "data.test=10"]
# The coarse run is restarted once in each trajectory.
TINY_COARSE = [
    "data=coarse",
    "data.family=bores",
    "data.size=64",
    "data.frames=5",
    "data.window=3",
    "data.learn=10",
    "data.test=5",
]
# Large networks with fewer of the same parts, where it is not their size that is tested.
SMALL = {
    "edsr": ["width=8", "blocks=3"],
    "edsr_baseline": ["width=8", "blocks=4"],
    "resnet": ["width=6", "blocks=2"],
    "stacked": ["width=6", "blocks=2"],
    "unet": ["width=6"],
}
TINY_RUN = ["epochs=1", "trainer.accelerator=cpu"]


def choices(group: str) -> list[str]:
    """Every config of a group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


# Networks that are tested at every scale in each run of the tests, and those of conf/model/ that are for small scales alone.
EACH_SCALE = ("fsrcnn",)
SMALL_SCALES = ("fsrcnn_s", "fsrcnn_56")


def at_scales(models: list[str]) -> list[Any]:
    """Parameters (model, scale): every model at x2, those of EACH_SCALE at all scales; the others there are marked long."""
    return [
        pytest.param(model, scale, marks=[] if scale == 2 or model in EACH_SCALE else pytest.mark.long)
        for model in models
        for scale in (2, 3, 4, 6, 8)
        if scale <= 4 or model not in SMALL_SCALES
    ]


def small(model: str) -> list[str]:
    """Overrides for a network of conf/model/, large ones smaller."""
    return [f"model={model}", *(f"model.{size}" for size in SMALL.get(model, []))]


def compose_config(script: str, overrides: list[str]) -> DictConfig:
    """The config that the script would get."""
    register_schemas()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(script, overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    choice = dict(cfg.hydra.runtime.choices)
    for key in ("hydra",):
        del cfg._content[key]  # type: ignore[union-attr]
    apply_plugins(cfg)
    if script == "train" and str(cfg._get_node("name")).startswith("${method:${hydra"):
        cfg.name = method_label(str(choice["model"]), cfg.consistency)
    return cfg


def train_here(folder: Path, overrides: list[str], figure: bool = False) -> dict[str, Any]:
    """train.py in this process, without its figure, which takes a third of the time of a tiny run."""
    from vsr.config.check import check_config
    from vsr.training.run import train

    cfg = compose_config("train", [*TINY_RUN, *overrides])
    check_config(cfg)
    with nullcontext() if figure else mock.patch("vsr.training.run.training_report_figure"):
        return train(cfg, folder)


def assert_same_scores(evaluated: list[dict[str, Any]], trained: list[dict[str, Any]]) -> None:
    """Check that evaluation, which has more rows and columns, found the scores of training, up to the order of a sum."""
    found = {(row["split"], row.get("variable"), row["method"]): row for row in evaluated}
    for row in trained:
        own = found[row["split"], row.get("variable"), row["method"]]
        for key, value in row.items():
            if key == "intervals":
                assert all(own[key][name] == pytest.approx(ends, rel=1e-9) for name, ends in value.items()), row["method"]
                continue
            assert own.get(key) == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value), (row["method"], key)


def evaluate_here(folder: Path, overrides: list[str]) -> dict[str, Any]:
    """evaluate.py in this process."""
    from vsr.config.check import check_config
    from vsr.evaluation.evaluate import evaluate

    cfg = compose_config("evaluate", ["trainer.accelerator=cpu", "report=false", *overrides])
    check_config(cfg)
    return evaluate(cfg, folder)


def upscale_here(overrides: list[str]) -> Path:
    """upscale.py in this process; overrides in Hydra's own grammar."""
    from vsr.commands.upscale import upscale_checked
    from vsr.config.check import check_config

    cfg = compose_config("upscale", overrides)
    check_config(cfg)
    return upscale_checked(OmegaConf.to_object(cfg))  # type: ignore[arg-type]


def moving_pattern(frames: int = 12, height: int = 32, width: int = 48, seed: int = 0) -> np.ndarray:
    """uint8 (T, H, W): smooth blobs and a sharp edge that move, different along each axis."""
    rng = np.random.default_rng(seed)
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    field = np.zeros(t.shape)
    for _ in range(4):
        ky, kx, w, phase = rng.uniform(0.1, 0.5), rng.uniform(0.1, 0.4), rng.uniform(0.1, 0.3), rng.uniform(0, 6)
        field += np.sin(ky * y + kx * x + w * t + phase)
    field += 2.0 * (x > width / 3 + 0.7 * t)
    return np.round(16 + 200 * (field - field.min()) / np.ptp(field)).astype(np.uint8)


def write_y4m(path: Path, luma: np.ndarray) -> Path:
    """A 4:2:0 y4m with flat chroma."""
    frames, height, width = luma.shape
    chroma = np.full(2 * ((height + 1) // 2) * ((width + 1) // 2), 128, np.uint8)
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\n".encode())
        for frame in range(frames):
            file.write(b"FRAME\n" + luma[frame].tobytes() + chroma.tobytes())
    return path


def write_video(path: Path, luma: np.ndarray, codec: str, pix_fmt: str) -> Path:
    """A video through PyAV, luma in the Y plane (or the grey level)."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = luma.shape[1:]
        stream.pix_fmt = pix_fmt
        for image in luma:
            frame = av.VideoFrame.from_ndarray(image, format="gray")
            if pix_fmt == "yuv420p":
                half = np.full((image.shape[0] // 2, image.shape[1]), 128, np.uint8)
                frame = av.VideoFrame.from_ndarray(np.concatenate([image, half]), format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
