"""Comparison figure at the end of a training run."""

from __future__ import annotations

from pathlib import Path

import torch

from vsr.data.base import SRDataModule
from vsr.data.loaders import add_border
from vsr.metrics.definitions import psnr_from_mse
from vsr.metrics.variables import variable_keys
from vsr.models.interpolation import Interpolation
from vsr.system.files import writing_file
from vsr.training.modules.base import SRModule


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
