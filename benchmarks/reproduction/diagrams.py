"""Network diagrams: the shapes of one training batch on its way through each network.

The shapes are recorded while a batch of climate data runs through the networks of conf/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from benchmarks.common.figures import compose_train_config, save_figure
from vsr.training.build import build_data, build_module
from vsr.training.fit import prepare_fit_loaders
from vsr.training.modules.base import SRModule

MODELS = ("srcnn", "fsrcnn", "srnet3d", "srnet3d_kim", "two_stage", "movie_then_frame")  # joint is the network of two_stage
LAYERS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
PER_ROW = 9
FRAME, MOVIE, DATA = "#4c78a8", "#e07b39", "#777777"


class Step(NamedTuple):
    """One step: operation, shape of the tensor after it, and colour of its network."""

    done: str
    shape: tuple[int, ...]
    colour: str


def kernel(layer: nn.Module) -> str:
    """Format a layer as in papers: filters @ height x width (x frames)."""
    assert isinstance(layer, LAYERS)
    sizes = layer.kernel_size
    text = "x".join(map(str, (*sizes[1:], sizes[0]) if len(sizes) == 3 else sizes))
    return f"{layer.out_channels}@{text}" + ("\ndeconv" if isinstance(layer, nn.ConvTranspose2d) else "")


@torch.no_grad()
def record(module: SRModule, lr: Tensor) -> list[Step]:
    """Record every step of a batch through the network, in order of execution."""
    steps = [Step("LR clips", tuple(lr.shape), DATA)]

    def after(layer: nn.Module, _: Any, out: Tensor) -> None:
        steps.append(Step(kernel(layer), tuple(out.shape), MOVIE if out.ndim == 5 else FRAME))

    def before(body: nn.Module, inputs: tuple[Tensor]) -> None:
        shape = tuple(inputs[0].shape)
        if shape != steps[-1].shape:
            movie = len(shape) == 5
            done = "windows\nof five" if movie and shape[2] == 5 else ("clips" if movie else "frames")
            steps.append(Step(done, shape, MOVIE if movie else FRAME))

    hooks = []
    for layer in module.network.modules():
        if isinstance(layer, LAYERS):
            hooks.append(layer.register_forward_hook(after))
        if isinstance(layer, nn.Sequential) and isinstance(layer[0], LAYERS):
            hooks.append(layer.register_forward_pre_hook(before))
    sr = module.super_resolve(module.network, lr)
    for hook in hooks:
        hook.remove()
    return [*steps, Step("SR clips", tuple(sr.shape), DATA)]


def draw(axis: Axes, x: float, y: float, step: Step) -> None:
    """Draw a tensor as a stack of frames whose side is proportional to its pixels."""
    side = step.shape[-1] / 32
    frames = step.shape[2] if len(step.shape) == 5 else 1
    for t in range(frames):
        at = (x - side / 2 + 0.06 * (t - frames / 2), y - side / 2 + 0.06 * (t - frames / 2))
        axis.add_patch(Rectangle(at, side, side, facecolor=step.colour, edgecolor="white", linewidth=0.6, alpha=0.85))
    axis.text(x, y - 0.85, " x ".join(map(str, step.shape)), ha="center", va="top", fontsize=7.5, rotation=24)
    axis.text(x, y + 0.72, step.done, ha="center", va="bottom", fontsize=9)


def diagrams(folder: Path) -> list[Path]:
    """Write one picture per network and return the paths."""
    found = []
    for model in MODELS:
        cfg = compose_train_config([f"model={model}"])
        data = build_data(cfg)
        module = build_module(cfg, data.card, data.test_splits)
        module.prepare(data.training_frames())
        prepare_fit_loaders(data, module)
        steps = record(module, module.normalizer(next(iter(data.train_dataloader())).lr))
        rows = -(-len(steps) // PER_ROW)
        figure = Figure(figsize=(1.15 * PER_ROW, 2.4 * rows), layout="constrained")
        axis = figure.subplots()
        for i, step in enumerate(steps):
            draw(axis, 1.55 * (i % PER_ROW), -3.2 * (i // PER_ROW), step)
        axis.set_xlim(-1.1, 1.55 * PER_ROW - 0.5)
        axis.set_ylim(-3.2 * (rows - 1) - 1.9, 1.35)
        axis.set_aspect("equal")
        axis.axis("off")
        found.append(folder / f"network-{model}.png")
        save_figure(figure, found[-1], dpi=90)
    return found
