"""Write docs/reference/data/: a card for each source, with pictures and measured difficulty.

python train.py -m data.family=tide,bores,turbulence scale=2,3,4 hydra.sweep.dir=runs/card
python benchmarks/data_card.py runs/card

The first line trains the networks of the last column of climate.md; without it that column is left out. All else is measured
here, from the data as `python train.py data=...` gets them.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from matplotlib.figure import Figure

from vsr.config.schema import register
from vsr.data.base import SRDataModule
from vsr.training.build import build_data, build_module
from vsr.training.run import score_rows

ROOT = Path(__file__).parent.parent
OUT = ROOT / "docs" / "reference" / "data"
METHODS = ("nearest", "bilinear", "bicubic", "linear")
SCALES = (2, 3, 4)

# (page, title, introduction, [(name, overrides, text)])
PAGES: list[tuple[str, str, str, list[tuple[str, list[str], str]]]] = [
    (
        "climate",
        "Climate data: shallow-water flows",
        "`data=climate` without `data.path` runs a shallow-water solver of our own (`vsr/data/simulation/`) once and caches the "
        "result. `data.family` chooses the flow. Depths are stored in (-10, 10) by a fixed affine map per family and become "
        "(0, 1) by (x + 10) / 20. `u`, `v` and the bed are kept beside the depth in the cached file. Frames are 72x72 "
        "(`data.size`), every third cell (`data.sampling`) of a 216x216 grid; 120 frames to learn from (a fifth of them for "
        "validation), 50 to test on (`test`), and 50 of trajectories with other seeds (`unseen`).\n\nThe last columns are "
        "`model=fsrcnn` with the default recipe, one seed; differences below about 0.3 dB mean nothing. What a network learns "
        "beyond the best linear filter is in the very last.",
        [
            (
                "tide",
                ["data=climate", "data.family=tide"],
                "A tidal current, turning once per 3 time units, over random hills, near the critical speed: hydraulic jumps "
                "form, move and vanish. Statistically steady. Two trajectories, split in time. **The default**: sharp moving "
                "fronts are what a linear filter cannot restore.",
            ),
            (
                "bores",
                ["data=climate", "data.family=bores"],
                "Three columns of water fall and their bores collide. Nothing drives the flow, so it restarts often: 17 "
                "trajectories of 10 frames, each wholly in one split. Fast and sharp.",
            ),
            (
                "turbulence",
                ["data=climate", "data.family=turbulence"],
                "Rotating eddies in geostrophic balance (Rossby radius 0.03, Froude number 0.15), their kinetic energy held "
                "constant. The height of balanced flow is smooth: **the control**, where a linear filter comes close to whatever "
                "a network does.",
            ),
        ],
    ),
    (
        "spectral",
        "Spectral data: two-dimensional turbulence",
        "`data=spectral` is another generator, of other equations, to learn on before testing on climate "
        "(`data=cross data@data.train=spectral data@data.test=climate`): forced two-dimensional Navier-Stokes turbulence, "
        "pseudo-spectral, with a passive scalar. Generated once and cached, as climate data are.",
        [
            ("scalar", ["data=spectral", "data.field=scalar"], "The scalar that the flow stirs: ramps and cliffs."),
            ("vorticity", ["data=spectral", "data.field=vorticity"], "The vorticity of the flow itself: filaments and eddies."),
        ],
    ),
    (
        "phantom",
        "Phantoms: moving Shepp-Logan heads",
        "`data=phantom` renders the Shepp-Logan phantom while its ellipses move, turn and breathe smoothly, antialiased, so that "
        "motion by a fraction of a pixel is real. `unseen` is another phantom, not the same one elsewhere.",
        [
            ("modified", ["data=phantom", "data.variant=modified"], "Toft's contrasts (1996)."),
            ("original", ["data=phantom", "data.variant=original"], "The contrasts of Shepp and Logan (1974)."),
        ],
    ),
    (
        "images",
        "Images: photographs",
        "`data=images` reads a folder of pictures; without `data.path`, the photographs inside scikit-image, so that it works "
        "offline: ten to learn from, three for validation, four to test on. Luma of BT.601. `protocol=classical` scores as the "
        "SRCNN papers do. Bicubic is scored here without rounding, 4 px of border cut.",
        [("photographs", ["data=images", "recipe.patch=16"], "Of many sizes; pictures are cut to a multiple of the scale.")],
    ),
    (
        "movies",
        "Movies: real ones, or a camera over photographs",
        "`data=movies data.path=...` reads the luma of a video, of a folder of videos, or of numbered frames. Without a path a "
        "synthetic camera pans, zooms and turns over the photographs of scikit-image by fractions of a pixel, ten clips of "
        "twenty frames, split by clip. `make movies` fetches the report's akiyo and container.",
        [("camera", ["data=movies"], "The synthetic camera.")],
    ),
]


def config(overrides: list[str], scale: int) -> Any:
    """What `python train.py model=linear ...` would run."""
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", ["model=linear", "name=linear", f"scale={scale}", "strategy=cpu", "data.crop=true", *overrides])


def scores(cfg: Any, data: SRDataModule) -> list[dict[str, Any]]:
    """The baseline rows."""
    module = build_module(cfg, data.card, data.test_splits)
    module.prepare(data.training_frames())
    return score_rows(cfg, data, module, {})


def facts(data: SRDataModule) -> str:
    """Shape, range and motion of the training frames."""
    pairs = [pair.hr[:, 0].numpy() for pair in data.sets["train"].pairs()]
    low, high = data.card["bounds"]
    values = np.concatenate([p.ravel() for p in pairs])
    rows = [
        ("frames", ", ".join(f"{n} {name}" for name, n in data.card["frames"].items())),
        ("size", "x".join(map(str, data.card["size"])) + (" (the smallest)" if len({p.shape[1:] for p in pairs}) > 1 else "")),
        ("values", f"{values.min():.4g} to {values.max():.4g}, mean {values.mean():.4g}, standard deviation {values.std():.4g}"),
        ("range", f"{low:g} becomes 0, {high:g} becomes 1"),
    ]
    start, stop = data.sets["train"].segments[0]
    if stop - start > 1:
        first = torch.cat([data.sets["train"].read(k, k + 1).hr[:, 0] for k in range(start, stop)]).numpy() / (high - low)
        change = float(np.sqrt(np.mean(np.diff(first, axis=0) ** 2)))
        rows.append(("motion", f"from frame to frame {-20 * np.log10(change):.1f} dB, {change / first.std():.0%} of the spread"))
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows)


def picture(path: Path, data: SRDataModule) -> None:
    """Six training frames."""
    train = data.sets["train"]
    start, stop = train.segments[0]
    last = stop if stop - start > 6 else len(train)
    at = (
        np.linspace(start, last - 1, 6).astype(int)
        if stop - start <= 6
        else start + np.arange(6) * max(1, min(4, (stop - start) // 6))
    )
    figure = Figure(figsize=(12, 2.3), layout="constrained")
    low, high = data.card["bounds"]
    frames = [train.read(int(k), int(k) + 1).hr[0, 0].numpy() for k in at]
    spread = (min(f.min() for f in frames), max(f.max() for f in frames)) if (low, high) != (0, 255) else (low, high)
    for axis, frame, k in zip(figure.subplots(1, 6), frames, at, strict=True):
        axis.imshow(frame, cmap="gray", vmin=spread[0], vmax=spread[1], interpolation="nearest")
        axis.set_title(f"frame {k}", fontsize=9)
        axis.axis("off")
    figure.savefig(path, dpi=80)


def table(found: dict[int, list[dict[str, Any]]], networks: dict[int, list[dict[str, Any]]]) -> str:
    """PSNR (SSIM) of each method at each scale, test splits one below the other."""
    head = ["scale", "split", *METHODS, *(["fsrcnn", "fsrcnn - linear"] if networks else [])]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for scale, rows in found.items():
        for split in dict.fromkeys(row["split"] for row in rows):
            own = {row["method"]: row for row in rows if row["split"] == split}
            cells = [f"{own[m]['psnr']:.2f} ({own[m]['ssim']:.4f})" for m in METHODS]
            if networks:
                trained = [r for r in networks.get(scale, []) if (r["split"], r["method"]) == (split, "fsrcnn")]
                cells += [
                    f"{r['psnr']:.2f} ({r['ssim']:.4f}) | **{r['psnr'] - own['linear']['psnr']:+.2f}**" for r in trained
                ] or ["- | -"]
            lines.append(f"| x{scale} | {split} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.INFO)
    runs = [json.loads(p.read_text()) for p in Path(sys.argv[1]).glob("*/results.json")] if len(sys.argv) > 1 else []
    OUT.mkdir(parents=True, exist_ok=True)
    for page, title, introduction, sources in PAGES:
        parts = [f"# {title}\n\n{introduction}\n"]
        for name, overrides, text in sources:
            found, first = {}, None
            for scale in SCALES:
                cfg = config(overrides, scale)
                data = build_data(cfg)
                first = first or data
                found[scale] = scores(cfg, data)
            assert first is not None
            picture(OUT / f"{page}-{name}.png", first)
            own = [run for run in runs if run["protocol"]["data"]["name"] == first.card["name"]]
            networks = {run["protocol"]["scale"]: run["rows"] for run in own}
            command = f"python train.py {' '.join(overrides)}"
            image = f"![frames of {name}]({page}-{name}.png)"
            parts.append(f"## {name}\n\n{text}\n\n`{command}`\n\n{image}\n\n{facts(first)}\n\n{table(found, networks)}\n")
            print(page, name, file=sys.stderr)
        parts.append("PSNR in dB (SSIM), means over the frames of a split. Made by `benchmarks/data_card.py`.\n")
        (OUT / f"{page}.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
