"""Figures of the reproduction: curves from report.json; frames and panels from data and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

import torch
from matplotlib.figure import Figure

from benchmarks.common.figures import compose_train_config, save_figure
from benchmarks.common.runs import SeededRun
from benchmarks.reproduction.claims import interim_points
from benchmarks.reproduction.report_values import TRAINED
from benchmarks.reproduction.tables import ReportResults
from vsr.degradations.resize import resize_bicubic_up
from vsr.inference.trained import read_trained
from vsr.training.build import build_data

PIPELINES = {"2D": "table2", "3D": "table3", "2D, then 3D": "table6", "two in one": "two_in_one"}
MOVIES = {  # title of a strip -> overrides of the data
    "phantom": ["data=phantom"],
    "climate, tide over hills": ["data=climate"],
    "climate, colliding bores": ["data=climate", "data.family=bores"],
}
FRAMES = 6  # of a strip


def curves(facts: ReportResults, path: Path) -> None:
    """Draw validation PSNR over epochs with its range over seeds, bicubic and the report's values; one panel per table."""
    figure = Figure(figsize=(13, 6.6), layout="constrained")
    for axis, name in zip(figure.subplots(2, 3).flat, TRAINED, strict=True):
        courses = [seed["course"] for seed in facts.runs[name]["seeds"]]
        epochs = range(min(map(len, courses)))
        by_epoch = [[course[epoch] for course in courses] for epoch in epochs]
        low, high = [min(values) for values in by_epoch], [max(values) for values in by_epoch]
        axis.fill_between(epochs, low, high, alpha=0.3, linewidth=0)
        axis.plot(epochs, [mean(values) for values in by_epoch], label="ours")
        for epoch, scores in list(TRAINED[name].items())[1:]:
            axis.axhline(scores.val.psnr, color="tab:red", linestyle=":", label=f"report, epoch {epoch}")
        for method, style in (("bicubic", "-"), ("linear", "--")):
            run = f"movies_{method}" if name == "table4" else method
            axis.axhline(facts.epoch(run, "first", "val", "psnr")[0], color="grey", linestyle=style, linewidth=0.9, label=method)
        axis.set_title(f"Table {name.removeprefix('table')}", fontsize=10)
        axis.set_xlabel("epoch")
        axis.set_ylabel("validation PSNR (dB)")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    save_figure(figure, path)


def interim(facts: ReportResults, path: Path) -> None:
    """Draw the PSNR behind the 3D network over the PSNR of the first network."""
    points = interim_points(facts)
    before, after = [mean(values) for _, values, _ in points], [mean(values) for *_, values in points]
    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    axis = figure.subplots()
    axis.plot(before, after, "o-")
    ends = [min(before), max(before)]
    axis.plot(ends, ends, color="grey", linestyle=":", label="no gain")
    axis.set_xlabel("PSNR of the 2D network's frames (dB)")
    axis.set_ylabel("PSNR behind the 3D network (dB)")
    axis.grid(alpha=0.3)
    axis.legend()
    save_figure(figure, path)


def strips(path: Path) -> None:
    """Draw frames of the phantom and of the generated climate movies."""
    figure = Figure(figsize=(2.1 * FRAMES, 2.35 * len(MOVIES)), layout="constrained")
    axes = figure.subplots(len(MOVIES), FRAMES)
    for row, (title, overrides) in zip(axes, MOVIES.items(), strict=True):
        data = build_data(compose_train_config(overrides))
        frames = data.sets["test"]
        a, b = frames.segments[0]
        chosen = [a + round(i * (b - a - 1) / (FRAMES - 1)) for i in range(FRAMES)]
        images = [frames.clip(at, at + 1, 0, data.ends).hr[0, 0, 0] for at in chosen]
        low, high = min(float(image.min()) for image in images), max(float(image.max()) for image in images)
        for axis, at, image in zip(row, chosen, images, strict=True):
            axis.imshow(image.numpy(), cmap="gray", vmin=low, vmax=high)
            axis.set_title(f"{title}: frame {at - a}" if at == a else f"frame {at - a}", fontsize=8)
            axis.axis("off")
    save_figure(figure, path)


@torch.no_grad()
def panels(placed: Mapping[tuple[str, int], SeededRun], climate: Sequence[str], path: Path) -> None:
    """Draw one test frame as LR, bicubic, output of each pipeline and HR: whole, magnified, and the errors."""
    data = build_data(compose_train_config(["data=climate", *climate]))
    split = data.test_splits[-1]
    frames, scale = data.sets[split], data.scale
    at = len(frames) // 2
    shown: dict[str, torch.Tensor] = {}
    for label, run in PIPELINES.items():
        module = read_trained(placed[run, 0].folder / "checkpoints" / "best.ckpt").module()
        clip = frames.clip(at, at + 1, module.network.context, data.ends).first(torch.device("cpu"))
        truth = module.normalizer(clip.hr)[0, 0, 0]
        if not shown:
            lr = module.normalizer(clip.lr)[:, :, module.network.context]
            enlarged = lr[0, 0].repeat_interleave(scale, 0).repeat_interleave(scale, 1)
            shown |= {"LR": enlarged, "bicubic": resize_bicubic_up(lr, scale)[0, 0]}
        _, y, x = module.network.geometry.margin
        made = truth.clone()  # the border that a network does not compute is shown without error
        made[y : truth.shape[0] - y, x : truth.shape[1] - x] = module.predict_clip(clip)[0, 0, 0]
        shown[label] = made
    shown["HR"] = truth
    height, width = truth.shape
    error = max(float((shown["bicubic"] - truth).abs().max()), 1e-12) / 2
    part = _busiest((shown["bicubic"] - truth).abs(), height // 3, width // 3)
    figure = Figure(figsize=(2.15 * len(shown), 6.9), layout="constrained")
    axes = figure.subplots(3, len(shown))
    for column, (label, image) in enumerate(shown.items()):
        limits = {"cmap": "gray", "vmin": float(truth.min()), "vmax": float(truth.max()), "interpolation": "nearest"}
        axes[0, column].imshow(image.numpy(), **limits)
        axes[0, column].set_title(label)
        axes[1, column].imshow(image[part].numpy(), **limits)
        if label not in ("LR", "HR"):
            difference = image - truth
            axes[2, column].imshow(difference.numpy(), cmap="RdBu_r", vmin=-error, vmax=error, interpolation="nearest")
            psnr = -10 * float(difference[4:-4, 4:-4].square().mean().clamp_min(1e-12).log10())
            axes[2, column].set_title(f"error, {psnr:.2f} dB", fontsize=9)
        for axis in axes[:, column]:
            axis.axis("off")
    figure.suptitle(f"{data.name} x{scale}, frame {at} of the split '{split}'; colours of the errors: ±{error:.3f} of the range")
    save_figure(figure, path)


def _busiest(error: torch.Tensor, height: int, width: int) -> tuple[slice, slice]:
    """Return the part of the frame with the largest error of bicubic, away from the border."""
    inner = error[4:-4, 4:-4][None, None]
    sums = torch.nn.functional.avg_pool2d(inner, (height, width), stride=1)[0, 0]
    top, left = divmod(int(sums.argmax()), sums.shape[1])
    return slice(top + 4, top + 4 + height), slice(left + 4, left + 4 + width)
