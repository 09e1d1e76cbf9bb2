"""Measure what consistency with LR gains and what the wrong constraint costs; write docs/results/consistency.md and .json.

    vsr train degradation=bicubic epochs=40 recipe.steps=100 hydra.run.dir=runs/bicubic
    vsr train degradation=area epochs=40 recipe.steps=100 hydra.run.dir=runs/area
    python -m benchmarks.consistency runs/bicubic/checkpoints/best.ckpt runs/area/checkpoints/best.ckpt [--out docs/results]

The script scores each checkpoint and its baselines on the last test split of its own data under every constraint, with unchanged
weights. `block means` is the additive constraint layer of Harder et al. 2023 (Hard-Constrained Deep Learning for Climate
Downscaling): it shifts each block of scale x scale pixels so that the block mean equals the LR pixel. It serves as a comparison
and is no value of `consistency`.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor

from benchmarks.common.markdown import table
from vsr.config.resolved import resolved_window
from vsr.degradations.consistency import Consistency, build_consistency
from vsr.inference.trained import Trained, read_trained
from vsr.metrics.collection import DataProperties, MetricCollection
from vsr.system.files import replacing_file, write_json_file
from vsr.training.build import build_baseline_modules, build_data, build_module
from vsr.training.fit import prepare_fit_loaders
from vsr.training.modules.base import SRModule
from vsr.training.run import quiet_fit_warnings
from vsr.training.trainer import build_scoring_trainer

CONSTRAINTS = ("none", "backprojection", "projection", "block means")
ROWS = ("bicubic", "linear")
SCORES = ("psnr", "consistency")
TRAINER = {
    "_target_": "lightning.pytorch.Trainer",
    "accelerator": "cpu",
    "devices": 1,
    "num_nodes": 1,
    "strategy": "auto",
}
HEAD = """\
# Value of consistency with LR

`python -m benchmarks.consistency` writes this page; the beginning of that file has the commands of the two networks. Scores are
on the split `{split}` of {data}, x{scale}, window {window}, one seed: PSNR in dB as the mean over frames, and the
[LR consistency error](../reference/metrics.md) RMS(D p - x) / RMS(x - mean x). All columns use the same weights; `backprojection`
takes {steps} steps. [The guide](../guides/consistency.md) explains the constraints. The numbers are in
[consistency.json](consistency.json).
"""
FOOT = """\
`block means` is the constraint of the literature on downscaling (Harder et al. 2023): the block means of SR equal the LR pixels.
Under `area` degradation LR pixels are block means, and this constraint is the projection. Under `bicubic` LR pixels are not
block means: the constraint costs `{name}` {cost:.1f} dB and increases its distance from the LR frames.
"""


def block_means(sr: Tensor, lr: Tensor) -> Tensor:
    """(N, C, H, W) and (N, C, h, w) -> (N, C, H, W) with block means equal to LR."""
    scale = sr.shape[-1] // lr.shape[-1]
    return sr + F.interpolate(lr - F.avg_pool2d(sr, scale), scale_factor=scale, mode="nearest")


def measured(trained: Trained) -> dict[str, Any]:
    """Score a checkpoint and its baselines under each constraint."""
    config = trained.config.copy()
    OmegaConf.resolve(config)
    config.trainer = TRAINER
    data = build_data(config, trained.bounds)
    own = trained.build_with(partial(build_module, test_splits=data.test_splits), config)
    prepare_fit_loaders(data, own)
    split = data.test_splits[-1]
    baselines = build_baseline_modules(own, data.channels)
    modules = {**{name: baselines[name] for name in ROWS}, str(config.name): own}
    constraints: dict[str, Consistency | None] = {
        name: block_means
        if name == "block means"
        else build_consistency(name, data.degradation, data.scale, config.consistency_steps)
        for name in CONSTRAINTS
    }
    facts = DataProperties(
        scale=data.scale,
        bounds=tuple(data.card["bounds"]),
        window=resolved_window(config),
        degrade=partial(data.degradation, scale=data.scale),
    )
    scorer = build_scoring_trainer(config)
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for name, module in modules.items():
        rows[name] = {}
        for constraint, found in constraints.items():
            module.consistency = found
            frames = scored(scorer, data, module, facts)
            rows[name][constraint] = {score: float(f"{np.nanmean(frames[score]):.6g}") for score in SCORES}
    of = {"data": data.name, "split": split, "scale": data.scale, "window": list(facts.window), "steps": config.consistency_steps}
    return {**of, "checkpoint": trained.sha256, "epochs": config.epochs, "rows": rows}


def scored(scorer: Any, data: Any, module: SRModule, facts: DataProperties) -> dict[str, np.ndarray]:
    """Score each frame of the last test split."""
    module.collections = {split: [MetricCollection(facts)] for split in data.test_splits}
    scorer.test(module, dataloaders=data.test_dataloader(), verbose=False)
    frames: dict[str, np.ndarray] = module.collections[data.test_splits[-1]][0].frames()
    module.collections = {}
    return frames


def cells(scores: dict[str, float]) -> list[str]:
    """Format the two scores of a row."""
    return [f"{scores['psnr']:.2f}", f"{scores['consistency']:.1e}"]


def page(found: dict[str, dict[str, Any]]) -> str:
    """Render the whole page."""
    first = next(iter(found.values()))
    parts = [HEAD.format(**first)]
    header = ["method", *(title for name in CONSTRAINTS for title in (f"{name}, PSNR", "LR error"))]
    for degradation, each in found.items():
        rows = [[f"`{name}`", *(cell for c in CONSTRAINTS for cell in cells(row[c]))] for name, row in each["rows"].items()]
        parts.append(f"## LR by `{degradation}`\n\n{table(header, rows)}\n")
    name, row = list(found["bicubic"]["rows"].items())[-1]
    parts.append(FOOT.format(cost=row["none"]["psnr"] - row["block means"]["psnr"], name=name))
    return "\n".join(parts)


def main() -> None:
    """Score the checkpoints; write the page and its JSON file."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("checkpoints", nargs=2, type=Path, metavar="CHECKPOINT", help="trained under bicubic, under area")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    arguments = parser.parse_args()
    quiet_fit_warnings()
    with torch.no_grad():
        found = dict(zip(("bicubic", "area"), map(measured, map(read_trained, arguments.checkpoints)), strict=True))
    write_json_file(arguments.out / "consistency.json", found)
    with replacing_file(arguments.out / "consistency.md") as temporary:
        temporary.write_text(page(found), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    main()
