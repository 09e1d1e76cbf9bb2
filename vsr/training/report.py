"""Images of validation frames, and the comparison figure at the end of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vsr.data.base import SRDataModule
from vsr.data.loaders import add_border
from vsr.geometry import crop
from vsr.metrics.definitions import psnr_from_mse
from vsr.metrics.variables import variable_keys
from vsr.models.base import apply_network_to_clip
from vsr.models.interpolation import Interpolation
from vsr.system.files import writing_file
from vsr.training.modules.base import SRModule
from vsr.types import Clip


@torch.no_grad()
def training_report_figure(path: Path, module: SRModule, data: SRDataModule, name: str) -> None:
    """Draw the middle frame of a split as LR, bicubic, linear, network and HR, above the errors of bicubic, linear and network.

    Of several channels the first is drawn. All frames share one grey scale, all errors one colour scale. Raises WriteError with
    the path if it cannot be written.
    """
    from matplotlib.figure import Figure  # imported here: it takes a third of a second

    frames = data.sets[data.test_splits[-1]]
    at = len(frames) // 2
    clip = frames.clip(at, at + 1, module.network.context, data.ends)
    clip = add_border(clip, data.border, data.reach).first(module.device)
    unit_lr, truth = module.unit_lr(clip.own_lr)[:, :, 0], module.normalizer(clip.hr)[0, 0, 0]
    assert module.reference is not None
    bicubic = Interpolation(method="bicubic", scale=frames.scale, channels=frames.channels, alignment=module.alignment)
    _, lost_y, lost_x = module.network.geometry.margin
    made = {
        "bicubic": bicubic(unit_lr)[0, 0],
        "linear": module.reference(unit_lr)[0, 0],
        # The border that the network does not give is shown without error.
        name: truth.clone(),
    }
    height, width = truth.shape
    made[name][lost_y : height - lost_y, lost_x : width - lost_x] = module.predict_clip(clip)[0, 0, 0]
    low, high = float(truth.min()), float(truth.max())
    error = max(float((made["bicubic"] - truth).abs().max()), 1e-12)
    _, y, x = module.window
    inner = (slice(y, truth.shape[0] - y), slice(x, truth.shape[1] - x))
    figure = Figure(figsize=(15.6, 6.2), layout="constrained")
    axes = figure.subplots(2, 5)
    for column, (label, image) in enumerate([("LR", unit_lr[0, 0]), *made.items(), ("HR", truth)]):
        top, bottom = axes[:, column]
        top.imshow(image.cpu().numpy(), cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        top.set_title(label)
        if label in made:
            difference = image - truth
            drawn = bottom.imshow(difference.cpu().numpy(), cmap="RdBu_r", vmin=-error, vmax=error, interpolation="nearest")
            bottom.set_title(
                f"error, {float(psnr_from_mse(difference[inner].square().mean())):.2f} dB in this frame", fontsize=10
            )
        for axis in (top, bottom):
            axis.axis("off")
    bar = figure.colorbar(drawn, cax=axes[1, 4].inset_axes((0.0, 0.05, 0.06, 0.9)))
    bar.set_label("error (1 = the data range)")
    variable = variable_keys(module.card.get("data", {}))[0].get("variable")
    of = f" of {variable}" if variable else ""
    figure.suptitle(f"x{frames.scale}, frame {at}{of} of the split '{module.test_splits[-1]}'")
    with writing_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


@torch.no_grad()
def validation_image(module: SRModule, batch: Clip, channel: int = 0, *, physical: bool = True) -> np.ndarray:
    """Draw up to three frames of a batch, with a row each for LR, bicubic, the network, the truth and the signed error.

    Frames are drawn in colour inside the network's margin, all on one scale with a colour bar in physical units. The error is
    in units of its rms over these frames, which its label names.

    Args:
        module: The module with the network.
        batch: Clips in physical units.
        channel: Number of the channel to draw.
        physical: False for pictures, which are drawn in grey or in their own colours.

    Returns:
        An image (H, W, 3) uint8.
    """
    picked = _spread(len(batch.hr))
    lr, hr, position = (x[picked].to(module.device) for x in (batch.lr, batch.hr, batch.position))
    clip = Clip(lr, hr, position, border=batch.border)
    scale, lost = module.network.geometry.scale[1], (0, *module.network.geometry.margin[1:])
    lr, truth = module.unit_lr(clip.own_lr)[:, : hr.shape[1]], module.normalizer(hr)
    bicubic = Interpolation(method="bicubic", scale=scale, channels=truth.shape[1], alignment=module.alignment)
    rows = {
        "LR": crop(lr.repeat_interleave(scale, -1).repeat_interleave(scale, -2), lost),
        "bicubic": crop(apply_network_to_clip(bicubic, bicubic.kind, lr), lost),
        str(module.card.get("config", {}).get("name", "network")): module.predict_clip(clip),
        "truth": crop(truth, lost),
    }
    coloured = not physical and truth.shape[1] == 3
    own = slice(None) if coloured else slice(channel, channel + 1)
    frames = {name: _frames(x[:, own]) for name, x in rows.items()}
    *_, network, true = frames.values()
    error = (network - true).mean(-1)
    rms = max(float(np.sqrt(np.square(error, dtype=np.float64).mean())), 1e-12)
    facts = module.card.get("data", {})
    low, high = np.reshape(facts.get("bounds", (0.0, 1.0)), (-1, 2))[channel if len(np.ravel(facts.get("bounds", ()))) > 2 else 0]
    unit = variable_keys(facts)[channel].get("unit", facts.get("units")) or ""
    values = {name: low + (high - low) * x for name, x in frames.items()} if physical else frames
    return _draw_rows(
        values, error / rms, f"{rms * (high - low if physical else 1):.2g} {unit if physical else ''}".strip(), unit
    )


def _spread(count: int) -> list[int]:
    """Return up to three numbers below `count`, evenly spread."""
    return sorted({0, count // 2, count - 1})


def _frames(clips: Tensor) -> np.ndarray:
    """Return up to three frames (n, H, W, C) of clips (B, C, F, H, W), evenly spread."""
    frames = clips.movedim(1, -1).flatten(0, 1)
    return frames[_spread(len(frames))].float().cpu().numpy()


def _draw_rows(values: Mapping[str, np.ndarray], error: np.ndarray, rms: str, unit: str) -> np.ndarray:
    """Draw rows of frames (n, H, W, C) by name, above a row of errors (n, H, W) in units of `rms`; return (H, W, 3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count, height, width, channels = values["truth"].shape
    low, high = float(values["truth"].min()), float(values["truth"].max())
    down = 2.0 * height / width
    figure = Figure(figsize=(2.0 * count + 1.2, (down + 0.1) * (len(values) + 1)), dpi=100, layout="constrained")
    axes = figure.subplots(len(values) + 1, count, squeeze=False)
    for row, (name, frames) in enumerate(values.items()):
        axes[row, 0].set_ylabel(name, fontsize=12)
        for axis, frame in zip(axes[row], frames, strict=True):
            scaled = frame if channels == 1 else np.clip((frame - low) / max(high - low, 1e-12), 0, 1)
            drawn = axis.imshow(scaled, cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
    if channels == 1:
        figure.colorbar(drawn, ax=axes[:-1], label=unit or "value", aspect=40)
    axes[-1, 0].set_ylabel(f"error / {rms}", fontsize=12)
    for axis, frame in zip(axes[-1], error, strict=True):
        drawn = axis.imshow(frame, cmap="RdBu_r", vmin=-3, vmax=3, interpolation="nearest")
    figure.colorbar(drawn, ax=axes[-1], label="error / rms", extend="both")
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
