"""Write docs/data/climate.md and its pictures from finished runs.

python train.py -m data.family=tide,bores,turbulence scale=2,3,4 hydra.sweep.dir=runs/card
python benchmarks/data_card.py runs/card
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vsr.data.climate import ClimateDataModule
from vsr.degradations import Bicubic
from vsr.physics.families import FAMILIES
from vsr.recipe import Recipe

OUT = Path(__file__).parent.parent / "docs" / "data"
METHODS = ("nearest", "bilinear", "bicubic", "linear")

HEAD = """# Climate data: shallow-water flows

`data=climate` runs a shallow-water solver of our own (`vsr/physics/`), once, and caches the result. `data.family` chooses the
flow. Depths are stored in (-10, 10) by a fixed affine map per family, and become (0, 1) by (x + 10) / 20: the data range of all
scores. `u`, `v` and the bed are kept beside the depth in the cached file. Frames are 72x72 (`data.size`), every third cell
(`data.sampling`) of a 216x216 grid; 120 frames to learn from (a fifth of them for validation), 50 to test on, and 50 frames of
trajectories with other seeds, `unseen`.

How hard a family is was measured, not guessed: PSNR in dB (SSIM), mean over the 50 frames of a split, 4 px of border cut. The
network is `model=fsrcnn` with the default recipe, one seed; differences below about 0.3 dB mean nothing. What a network can
learn beyond the best linear filter is in the last column.

Made by `benchmarks/data_card.py`; its first lines say how.
"""

TEXT = {
    "tide": (
        "A tidal current, turning once per 3 time units, over random hills, near the critical speed: hydraulic jumps form, move "
        "and vanish. Statistically steady, so train and test are alike. Two trajectories, split in time. **The default**: "
        "sharp moving fronts are what a linear filter cannot restore."
    ),
    "bores": (
        "Three columns of water fall and their bores collide. Nothing drives the flow, so it restarts often: 17 trajectories of "
        "10 frames, each wholly in one split. Fast and sharp: the family for the study of what neighbouring frames add."
    ),
    "turbulence": (
        "Rotating eddies in geostrophic balance (Rossby radius 0.03, Froude number 0.15), their kinetic energy held constant. "
        "The height of balanced flow is smooth: **the control**, where a linear filter comes close to whatever a network does."
    ),
}


def describe(family: str) -> str:
    """The facts of a family's frames, measured on the learning frames, and its picture."""
    recipe = Recipe()
    data = ClimateDataModule(family=family, scale=2, degradation=Bicubic(), recipe=recipe)  # type: ignore[arg-type]
    data.setup()
    hr = data.sets["train"].hr[:, 0].numpy()
    a, b = data.sets["train"].segments[0]
    first = hr[a:b] / 20
    change = float(np.sqrt(np.mean(np.diff(first, axis=0) ** 2)))
    known = FAMILIES[family]
    picture(family, first + 0.5)
    rows = [
        ("values", f"{hr.min():.2f} to {hr.max():.2f}, mean {hr.mean():.2f}, standard deviation {hr.std():.2f}"),
        ("depth", f"{known.range[0]:g} is stored as -10, {known.range[1]:g} as 10 (domain side 1, gravity 1)"),
        ("time between frames", f"{known.interval:g}, after a spin-up of {known.spin_up:g}"),
        ("motion", f"frame-to-frame change {-20 * np.log10(change):.1f} dB, {change / first.std():.0%} of the spread"),
        ("identity", f"sha256 of all frames {data.card['sha256'][:16]}... (seed 0, float32, this machine's numpy)"),
    ]
    facts = "\n".join(f"| {name} | {value} |" for name, value in rows)
    image = f"![frames of {family}](climate-{family}.png)"
    return f"## `data.family={family}`\n\n{TEXT[family]}\n\n{image}\n\n| | |\n|---|---|\n{facts}\n"


def picture(family: str, frames: np.ndarray) -> None:
    """Six frames from left to right."""
    step = max(1, min(4, len(frames) // 6))
    shown = frames[: 6 * step : step]
    figure = Figure(figsize=(12, 2.3), layout="constrained")
    for axis, frame, k in zip(figure.subplots(1, len(shown)), shown, range(len(shown)), strict=True):
        axis.imshow(frame, cmap="gray", vmin=frames.min(), vmax=frames.max(), interpolation="nearest")
        axis.set_title(f"frame {k * step}", fontsize=9)
        axis.axis("off")
    figure.savefig(OUT / f"climate-{family}.png", dpi=80)


def table(runs: list[dict[str, Any]]) -> str:
    """PSNR (SSIM) of each method at each scale."""
    lines = ["| scale | split | " + " | ".join(METHODS) + " | fsrcnn | fsrcnn - linear |", "|---" * (len(METHODS) + 4) + "|"]
    for run in sorted(runs, key=lambda run: run["protocol"]["scale"]):
        for split in ("test", "unseen"):
            found = {row["method"]: row for row in run["rows"] if row["split"] == split}
            cells = [f"{found[m]['psnr']:.2f} ({found[m]['ssim']:.4f})" for m in (*METHODS, "fsrcnn")]
            gain = found["fsrcnn"]["psnr"] - found["linear"]["psnr"]
            lines.append(f"| x{run['protocol']['scale']} | {split} | {' | '.join(cells)} | **{gain:+.2f}** |")
    return "\n".join(lines)


def main() -> None:
    runs = [json.loads(path.read_text()) for path in Path(sys.argv[1]).glob("*/results.json")]
    OUT.mkdir(parents=True, exist_ok=True)
    parts = [HEAD]
    for family in FAMILIES:
        own = [
            run
            for run in runs
            if run["protocol"]["data"]["name"] == f"climate-{family}"
            and run["config"]["name"] == "fsrcnn"
            and run["config"]["patience"] == 10
        ]
        parts += [describe(family), table(own), ""]
    (OUT / "climate.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
