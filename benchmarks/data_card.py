"""Write docs/reference/data/: a card for each data source, with pictures and measured difficulty.

    python -m benchmarks.data_card
    python -m benchmarks.data_card --only coarse

All figures are measured by this script, on the data that `vsr train data=...` uses. The second command writes one page.
docs/results/leaderboard.md has networks.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from matplotlib.figure import Figure

from vsr.config.schema import register_schemas
from vsr.data.base import SRDataModule
from vsr.degradations.resize import resize_bicubic_up
from vsr.metrics.spectrum import SpectrumScores
from vsr.training.build import build_data, build_module
from vsr.training.run import score_run

ROOT = Path(__file__).parent.parent
OUT = ROOT / "docs" / "reference" / "data"
METHODS = ("nearest", "bilinear", "bicubic", "linear")
SCALES = (2, 3, 4)


@dataclass(frozen=True)
class Section:
    """One section of a page.

    Attributes:
        name: title; with overrides also the end of the picture's file name.
        text: description.
        overrides: overrides of train.py that choose the data; without overrides the section has no picture and no figures.
        command: command to show; empty for `vsr train` with the overrides.
    """

    name: str
    text: str
    overrides: tuple[str, ...] = ()
    command: str = ""


@dataclass(frozen=True)
class Page:
    """One page: file name without suffix, title, introduction, sections and scales."""

    name: str
    title: str
    introduction: str
    sections: tuple[Section, ...]
    scales: tuple[int, ...] = SCALES


PAGES = (
    Page(
        "climate",
        "Climate data: shallow-water flows",
        "`data=climate` without `data.path` runs the shallow-water solver of vsr (`vsr/data/simulation/`) once and caches the "
        "result. `data.family` chooses the flow. Depths are stored in (-10, 10) by a fixed affine map per family and mapped to "
        "(0, 1) by (x + 10) / 20. The cached file also holds `u`, `v` and the bed. Frames are 72x72 (`data.size`) and take every "
        "third cell (`data.sampling`) of a 216x216 grid. There are 23 trajectories of 10 frames, 12 for training, 3 for "
        "validation and 8 for testing. Each trajectory has hills, columns or eddies of its own and lies wholly in one split. The "
        "test trajectories do not depend on `data.learn`.\n\nThis is version 2 of the data, `tide-2` and so on. Version 1 had "
        "two long trajectories, cut in time, and a second test split `unseen` of two more; its tides were all in the same phase. "
        "Its figures are not comparable with these, and vsr does not generate it any more.\n\n[The leaderboard]"
        "(../../results/leaderboard.md) has the scores of networks.\n\nFurther inputs of the network, beside the depth: "
        "`data.static=bed` (the bed of each trajectory at HR) and `data.inputs=[position]`. Of a file (`data.path=`): "
        "`data.static=[FILE:VARIABLE]`, `data.lr_variable=[NAME]`, `data.inputs=[position,hour,day_of_year,latitude,longitude]`; "
        "[Earth fields](../../guides/earth-fields.md#inputs-that-are-not-outputs) explains them.",
        (
            Section(
                "tide",
                "A tidal current flows over random hills, near the critical speed, and its direction turns once per 3 time "
                "units. Hydraulic jumps form, move and vanish. The flow is statistically steady. The trajectories of each split "
                "begin at phases over the whole cycle. **The default**, because a linear filter cannot restore sharp moving "
                "fronts.",
                ("data=climate", "data.family=tide"),
            ),
            Section(
                "bores",
                "Three columns of water fall, and their bores collide. Nothing drives the flow, so it is restarted often. "
                "The bores are fast and sharp.",
                ("data=climate", "data.family=bores"),
            ),
            Section(
                "strong_tide, thin_bores",
                "The same equations in other regimes, for testing networks that were trained on tide or bores. `strong_tide` is "
                "the tide driven beyond the critical speed: the mean momentum is 1.8 instead of 1.2, and more than three "
                "quarters of the flow is supercritical instead of two fifths. `thin_bores` are columns that fall into water "
                "of depth 0.25 instead of 0.6 (a depth ratio of 8 instead of 3.3). Layout, ranges and splits are those of tide "
                "and bores.",
                command="vsr evaluate checkpoint=TIDE.ckpt data=climate data.family=strong_tide",
            ),
            Section(
                "turbulence",
                "Rotating eddies in geostrophic balance (Rossby radius 0.03, Froude number 0.15), with constant kinetic energy. "
                "The height of balanced flow is smooth. This is **the control**: at x2, a linear filter gives 7.3 dB of the 11.2 "
                "dB that `stacked` gains over bicubic in five minutes, and at x3 and x4 nearly all of the gain. The tables below "
                "have the filter of 9x9 taps.",
                ("data=climate", "data.family=turbulence"),
            ),
        ),
    ),
    Page(
        "coarse",
        "Coarse and fine runs",
        "`data=coarse` runs the flows of [climate](climate.md) on a fine grid, HR, and beside it on a grid that is `scale` times "
        "coarser, LR; [pairs](../../guides/pairs.md#generated-pairs) says how. There are 23 trajectories of 10 frames on 144x144 "
        "cells: 12 for training, 3 for validation and 8 for testing. Values are depths in the units of the solver (domain side "
        "and gravity are 1).\n\n"
        "How far the runs are apart, on the test trajectories, by the number of frames since the coarse run began from block "
        "means of the fine run. Squared errors are in units of the variance of HR. `bicubic` is the error of bicubic from LR. "
        "`resolution` is the same from block means of HR in place of LR: what is missing without any drift. `drift` is the "
        "squared difference of these two bicubic frames: how far the coarse run has gone away from the fine one. The parts are "
        "not independent, so their sum is not the whole. `coherence` is that of LR with block means of HR, at the LR Nyquist "
        "wavenumber (2 coarse cells) and at half of it (4 coarse cells).\n\n"
        "The default `data.window=10` comes from these tables: in tide and bores, coherence at the LR Nyquist wavenumber stays "
        "above 0.5 in all frames at both scales, so that LR still says something about its smallest waves. In turbulence it is "
        "below 0.5 from frame 1 or 2 on, and no shorter window would change that; at half the wavenumber it stays above 0.8.\n\n"
        "`python -m benchmarks.data_card --only coarse` writes this page.",
        (
            Section(
                "tide",
                "About half of the drift of ten frames is there after one; then it grows slowly. Missing resolution is more than "
                "half of the error of bicubic.",
                ("data=coarse", "data.family=tide"),
            ),
            Section(
                "bores",
                "At x2 the drift is larger than what is missing in resolution from frame 3 on; at x4 it is nearly as large at "
                "the end.",
                ("data=coarse", "data.family=bores"),
            ),
            Section(
                "turbulence",
                "Drift is most of the error at the end of a window. At first the error rises and falls again, as it would if "
                "block means of balanced eddies were out of balance on the coarse grid; the cause was not examined.",
                ("data=coarse", "data.family=turbulence"),
            ),
            Section(
                "bores with velocities",
                "The same trajectories with the velocities `u` and `v` of both runs: relative to its variance, the velocity "
                "drifts as the depth does.",
                ("data=coarse", "data.family=bores", "data.variable=[h,u,v]"),
            ),
            Section(
                "gyre",
                "Wind-driven ocean gyres with eddies, from qg-python, a solver of other authors (`pip install "
                "'vsr-movies[solvers]'`). [Pairs](../../guides/pairs.md#ocean-eddies-of-another-solver) has the command of "
                "a training run and its scores.\n\n"
                "**Equations.** One and a half quasi-geostrophic layers on a square of side 1 with walls, for the stream "
                "function `psi` and the potential vorticity `q` = Δψ - Fψ: q_t + r J(ψ, q) + ψ_x = -A Δ³ψ + W, and ψ = 0 "
                "at the walls (Sakov & Oke 2008). F = 1600, r = 1e-5, and the curl of the wind is W(y) = -2π sin(2πy) "
                "|sin(2πy)|, which drives two gyres. x points east and runs along the first axis of the arrays: frames "
                "show east downwards and north to the right.\n\n"
                "**Scheme.** Arakawa's Jacobian, five-point Laplacians, a direct solver for ψ, and the classical "
                "Runge-Kutta method with steps of at most 120 cell sizes (0.83 time units on 144 cells) and at most 2.5. "
                "The viscosity goes with the fourth power of the cell size: A = 2e-11 (96 / cells)⁴, which is 4.0e-12 on "
                "144 cells, 6.3e-11 on 72 and 1.0e-9 on 36.\n\n"
                "**Grid and frames.** `data.size` cells have one more grid point per side; frames leave out the last row "
                "and column, which are walls, as the first ones are. A frame is taken every 10 time units. Each trajectory "
                "begins with random waves on 48 cells, runs for 3000 time units there and for 500 on its own grid before "
                "the first frame. `q` is mapped from -6e4 and 6e4 to 0 and 1.\n\n"
                "**LR and HR.** HR is the fine run. LR is the coarse run, which begins anew every `data.window` frames "
                "from the values of ψ at the points that both grids share, so that LR pixel k lies on HR pixel `scale` k; "
                "`q` follows from ψ on each grid. There are no symmetries and no bed.\n\n"
                "**Predictability.** The eddies are chaotic: 40 time units (4 frames) after its start, the mean squared "
                "error of the coarse run's own points is 8% of the variance of `q`, and 15% after 90 (one trajectory). "
                "There are no tables here, as the solver is an extra.",
                command="vsr train data=coarse data.family=gyre data.variable=[q,psi]",
            ),
        ),
        (2, 4),
    ),
    Page(
        "spectral",
        "Spectral data: two-dimensional turbulence",
        "`data=spectral` generates data from other equations: forced two-dimensional Navier-Stokes turbulence with a passive "
        "scalar, computed by a pseudo-spectral method. It serves for training before a test on climate data "
        "(`data=cross data@data.train=spectral data@data.test=climate`). The data are generated once and cached, "
        "like climate data, and split in the same way.",
        (
            Section(
                "scalar", "The passive scalar that the flow stirs: ramps and cliffs.", ("data=spectral", "data.field=scalar")
            ),
            Section("vorticity", "The vorticity of the flow: filaments and eddies.", ("data=spectral", "data.field=vorticity")),
        ),
    ),
    Page(
        "phantom",
        "Phantoms: moving Shepp-Logan heads",
        "`data=phantom` renders the Shepp-Logan phantom while its ellipses move, turn and breathe smoothly. Rendering is "
        "antialiased, so that motion by a fraction of a pixel changes the frames as in a real movie. There are 23 "
        "movies of 10 frames; each has another head and another motion, and lies wholly in one split.",
        (
            Section("modified", "The contrasts of Toft (1996).", ("data=phantom", "data.variant=modified")),
            Section("original", "The contrasts of Shepp and Logan (1974).", ("data=phantom", "data.variant=original")),
        ),
    ),
    Page(
        "images",
        "Images: photographs",
        "`data=images` reads a folder of pictures. Without `data.path` it reads the photographs in scikit-image and so works "
        "offline: ten for training, three for validation and four for testing. Luma follows BT.601. `protocol=classical` scores "
        "like the SRCNN papers. Here bicubic is scored without rounding, with 4 px of border cut.",
        (
            Section(
                "photographs",
                "The pictures have many sizes and are cropped to a multiple of the scale.",
                ("data=images", "recipe.patch=16"),
            ),
        ),
    ),
    Page(
        "movies",
        "Movies: real ones, or a camera over photographs",
        "`data=movies data.path=...` reads the luma of a video, of a folder of videos, or of numbered frames. Without a path, a "
        "synthetic camera pans, zooms and turns over the photographs of scikit-image by fractions of a pixel: ten clips of "
        "twenty frames, split by clip. `make movies` fetches the movies akiyo and container of the report.",
        (Section("camera", "The synthetic camera.", ("data=movies",)),),
    ),
)


def compose_config(overrides: tuple[str, ...], scale: int) -> Any:
    """Compose the config of `vsr train model=linear ...`."""
    register_schemas()
    crop = [] if "data=coarse" in overrides else ["data.crop=true"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", ["model=linear", "name=linear", f"scale={scale}", "strategy=cpu", *crop, *overrides])


def score_baselines(cfg: Any, data: SRDataModule) -> list[dict[str, Any]]:
    """Return the rows of METHODS on the test splits, as in results.json."""
    module = build_module(cfg, data.card, data.test_splits)
    module.prepare(data.training_frames())
    return score_run(cfg, data, module, {})


def facts_table(data: SRDataModule) -> str:
    """Return a Markdown table of the size, range and motion of the training frames."""
    pairs = [pair.hr[:, 0].numpy() for pair in data.sets["train"].pairs()]
    low, high = data.card["bounds"]
    values = np.concatenate([p.ravel() for p in pairs])
    rows = [
        ("frames", ", ".join(f"{n} {name}" for name, n in data.card["frames"].items())),
        ("size", "x".join(map(str, data.card["size"])) + (" (the smallest)" if len({p.shape[1:] for p in pairs}) > 1 else "")),
        ("values", f"{values.min():.4g} to {values.max():.4g}, mean {values.mean():.4g}, standard deviation {values.std():.4g}"),
        ("range", f"{low:g} is mapped to 0, {high:g} to 1"),
    ]
    start, stop = data.sets["train"].segments[0]
    if stop - start > 1:
        first = torch.cat([data.sets["train"].read(k, k + 1).hr[:, 0] for k in range(start, stop)]).numpy() / (high - low)
        change = float(np.sqrt(np.mean(np.diff(first, axis=0) ** 2)))
        below, part = (
            f"{-20 * np.log10(change):.1f} dB below the data range",
            f"{change / first.std():.0%} of the standard deviation",
        )
        rows.append(("motion", f"RMS change between frames {below}, {part}"))
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows)


def draw_frames(path: Path, data: SRDataModule) -> None:
    """Draw six training frames in a row."""
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


def scores_table(found: dict[int, list[dict[str, Any]]]) -> str:
    """Return a Markdown table of PSNR (SSIM) by scale, with a column per method and a row per scale and test split."""
    head = ["scale", "split", *METHODS]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for scale, rows in found.items():
        for split in dict.fromkeys(row["split"] for row in rows):
            own = {row["method"]: row for row in rows if row["split"] == split}
            cells = [f"{own[m]['psnr']:.2f} ({own[m]['ssim']:.4f})" for m in METHODS]
            lines.append(f"| x{scale} | {split} | {' | '.join(cells)} |")
    return "\n".join(lines)


def apart_table(data: SRDataModule, channel: int = 0) -> str:
    """Return a Markdown table of how far coarse and fine runs of the test trajectories are apart over time, in one channel."""
    test, scale, own = data.sets["test"], data.scale, slice(channel, channel + 1)
    lr, hr = (torch.stack([getattr(test.read(a, b), side)[:, own] for a, b in test.segments]).double() for side in ("lr", "hr"))
    means = torch.nn.functional.avg_pool2d(hr.flatten(0, 1), scale).unflatten(0, hr.shape[:2])
    lines = ["| frame | bicubic | resolution | drift | coherence at Nyquist | at half |", "|---" * 6 + "|"]
    for k in range(hr.shape[1]):
        above, ideal = (resize_bicubic_up(x[:, k], scale) for x in (lr, means))
        parts = (above - hr[:, k], ideal - hr[:, k], above - ideal)
        spectrum = SpectrumScores(scale, (0.0, 1.0), (False, False))
        spectrum.update(lr[:, k].unsqueeze(2), means[:, k].unsqueeze(2))
        coherence = spectrum.curves()["spectrum"]["coherence"]
        errors = " | ".join(f"{float(x.square().mean() / hr.var()):.4f}" for x in parts)
        lines.append(f"| {k} | {errors} | {coherence[-1]:.2f} | {coherence[len(coherence) // 2 - 1]:.2f} |")
    return "\n".join(lines)


def section_text(page: Page, section: Section) -> str:
    """Measure one section and return it as Markdown; its picture is written beside the page."""
    command = section.command or f"vsr train {' '.join(section.overrides)}"
    head = f"## {section.name}\n\n{section.text}\n\n`{command}`\n"
    if not section.overrides:
        return head
    found, first, apart = {}, None, ""
    for scale in page.scales:
        cfg = compose_config(section.overrides, scale)
        data = build_data(cfg)
        first = first or data
        for channel, variable in enumerate(data.variables):
            apart += f"\n\nscale {scale}, {variable}:\n\n{apart_table(data, channel)}"
        if data.variables:
            continue
        found[scale] = score_baselines(cfg, data)
        if page.name == "coarse":
            apart += f"\n\nscale {scale}:\n\n{apart_table(data)}"
    assert first is not None
    if first.variables:
        return f"{head}{apart.removeprefix(chr(10))}\n"
    picture = f"{page.name}-{section.name}.png"
    draw_frames(OUT / picture, first)
    return f"{head}\n![frames of {section.name}]({picture})\n\n{facts_table(first)}\n\n{scores_table(found)}{apart}\n"


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.INFO)
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=[page.name for page in PAGES], help="the one page to write")
    asked = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    for page in PAGES:
        if asked.only not in (None, page.name):
            continue
        parts = [f"# {page.title}\n\n{page.introduction}\n"]
        for section in page.sections:
            parts.append(section_text(page, section))
            print(page.name, section.name, file=sys.stderr)
        parts.append("PSNR in dB (SSIM), means over the frames of a split. Written by `benchmarks/data_card.py`.\n")
        (OUT / f"{page.name}.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
