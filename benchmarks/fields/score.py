"""Scores of the field networks of the package on real fields of other projects.

    python -m benchmarks.fields.score FOLDER [--networks field_x2 field_x4] [--sets design final] [--page docs/results/fields.md]

FOLDER has the .npy files and list.json of `python -m benchmarks.fields.sources`. LR is made from HR by the degradation of the
network. The row `linear` is the best linear filter that knows HR: it is fitted to the HR frames that it is scored on. `--page`
keeps the scores of other networks that are there already.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import vsr
from vsr.degradations.resize import resize_bicubic_up
from vsr.inference.out_of_distribution import OODScore
from vsr.inference.upscaler import Upscaler
from vsr.models.linear import Linear

CUT = 4  # HR pixels per side that do not count
LEAST_SIDE = 16  # LR pixels
SHOWN = 144  # HR pixels per side of a picture


def score_source(frames: np.ndarray, network: Upscaler) -> dict[str, Any]:
    """Score a network on the frames (n, H, W) of one source.

    Returns:
        Gains in PSNR over bicubic, in dB, mean over frames: "linear", "halves" (a filter that was fitted to the other half of
        each frame), "network", "ensemble"; "forecast", the gain of the network
        over bicubic one scale coarser; "distrust" and "unfamiliar" of the guard.
    """
    scale = network.scale
    hr = _unit(torch.from_numpy(frames.astype(np.float64)), scale)
    lr = network.degradation(hr, scale)
    bicubic, linear = resize_bicubic_up(lr, scale), Linear(scale=scale)
    linear.prepare_best_size([(lr, hr, None)], [(lr, hr, None)])
    lost = _errors(bicubic, hr)
    found = {"linear": linear(lr), "halves": _linear_of_other_half(lr, hr, scale), "network": _upscale(network, lr)}
    found["ensemble"] = _upscale(vsr.load(network.trained.path, ensemble=True), lr)
    scores: dict[str, Any] = {name: float((10 * (lost / _errors(sr, hr)).log10()).mean()) for name, sr in found.items()}
    coarse = _unit(lr.squeeze(1), scale)
    if min(coarse.shape[-2:]) >= scale * LEAST_SIDE:
        coarser = network.degradation(coarse, scale)
        gain = _errors(resize_bicubic_up(coarser, scale), coarse) / _errors(_upscale(network, coarser), coarse)
        scores["forecast"] = float((10 * gain.log10()).mean())
    score = network.ood_score(lr.squeeze(1).numpy())
    if isinstance(score, OODScore):
        scores |= {"distrust": score.distrust, "unfamiliar": score.unfamiliar}
    return scores


def _linear_of_other_half(lr: Tensor, hr: Tensor, scale: int) -> Tensor:
    """Return SR frames whose left half is made by the linear filter of the right half, and the other way round."""
    middle, parts = lr.shape[-1] // 2, []
    for own, other in ((slice(None, middle), slice(middle, None)), (slice(middle, None), slice(None, middle))):
        linear = Linear(scale=scale)
        seen = slice(*(None if end is None else end * scale for end in (other.start, other.stop)))
        linear.prepare([(lr[..., other], hr[..., seen], None)])
        kept = slice(*(None if end is None else end * scale for end in (own.start, own.stop)))
        parts.append(linear(lr)[..., kept])
    return torch.cat(parts, -1)


def _unit(frames: Tensor, scale: int) -> Tensor:
    """Return frames (n, 1, H, W) of zero mean and unit variance, cut to multiples of the scale."""
    height, width = (size // scale * scale for size in frames.shape[-2:])
    frames = frames[..., :height, :width].double()
    return ((frames - frames.mean()) / frames.std()).float().unsqueeze(1)


def _upscale(network: Upscaler, lr: Tensor) -> Tensor:
    return torch.cat([network.upscale(frame) for frame in lr]).unsqueeze(1)


def _errors(sr: Tensor, hr: Tensor) -> Tensor:
    """Return the mean squared error of each frame."""
    return (sr - hr)[..., CUT:-CUT, CUT:-CUT].double().square().mean((1, 2, 3)).clamp_min(1e-30)


def page(results: dict[str, Any], listed: dict[str, Any]) -> str:
    """Return the page of results in Markdown."""
    lines = [
        "# Networks of the package on fields of other projects",
        "",
        "`python -m benchmarks.fields.score FOLDER` writes this page from the sources that `python -m benchmarks.fields.sources`",
        "reads from packages of pip and apt. The networks were trained on generated fields alone",
        "(`vsr train experiment=field_network`) and have seen none of these. LR is made by bicubic downscaling, for",
        "`field_area_x2` and `field_area_x4` by means over blocks.",
        "Numbers are gains over bicubic in dB, the mean over the frames of a source, 4 pixels of border cut.",
        "`linear` is the best linear filter of up to 17x17 taps, fitted to the HR frames that it is scored on: without HR, no",
        "filter can know that much, and on small sources its 90 to 290 weights learn part of the noise. `halves` is a filter of",
        "9x9 taps that is fitted to the other half of each frame. `ensemble` is the network with `ensemble=true`. `coarser` is",
        "the gain of the network one scale coarser, with LR as the truth, which can be measured without HR. `guard` says whether",
        "the guard would have warned.",
        "The choices of network, training and loss were made on `design`; `final` was scored once, at the end. (The column",
        "`halves` was added after that, and the scores were not changed.)",
    ]
    for network, sources in results.items():
        for part in ("design", "final"):
            rows = {name: scores for name, scores in sources.items() if listed[name]["set"] == part}
            if rows:
                lines += ["", f"## {network}, {part}", "", *_table(rows), "", *_summary(rows)]
    return "\n".join([*lines, "", *_origins(listed)]) + "\n"


def _table(rows: dict[str, Any]) -> list[str]:
    heads = ("source", "linear", "halves", "network", "over linear", "over halves", "ensemble", "coarser", "guard")
    lines = [f"| {' | '.join(heads)} |", f"|---{'|---:' * 7}|---|"]
    for name, found in rows.items():
        coarser = f"{found['forecast']:+.2f}" if "forecast" in found else "-"
        guard = "-" if "unfamiliar" not in found else "warns" if found["unfamiliar"] else "silent"
        gains = [found["linear"], found["halves"], found["network"]]
        gains += [found["network"] - found["linear"], found["network"] - found["halves"], found["ensemble"]]
        numbers = " | ".join(f"{gain:+.2f}" for gain in gains)
        lines.append(f"| {name} | {numbers} | {coarser} | {guard} |")
    return lines


def _summary(rows: dict[str, Any]) -> list[str]:
    lines = []
    for kind in ("network", "ensemble"):
        over_bicubic = np.array([found[kind] for found in rows.values()])
        parts = [f"over bicubic {np.median(over_bicubic):+.2f} dB in the median, {over_bicubic.min():+.2f} at least"]
        for rival in ("linear", "halves"):
            over = over_bicubic - np.array([found[rival] for found in rows.values()])
            above = f"above it on {int((over > 0).sum())} of {len(rows)}"
            parts.append(f"over `{rival}` {np.median(over):+.2f} in the median, {over.min():+.2f} at least, {above}")
        lines.append(f"- `{kind}`: {'; '.join(parts)}.")
    errors = [abs(found["forecast"] - found["network"]) for found in rows.values() if "forecast" in found]
    if errors:
        within = sum(error <= 1 for error in errors)
        lines.append(f"- The gain one scale coarser is within 1 dB of the gain here on {within} of {len(errors)}.")
    return lines


def _origins(listed: dict[str, Any]) -> list[str]:
    lines = ["## Sources", "", "| source | set | frames | variable | from | terms |", "|---|---|---|---|---|---|"]
    for name, found in listed.items():
        size = "x".join(map(str, found["shape"]))
        lines.append(f"| {name} | {found['set']} | {size} | {found['variable']} | {found['from']} | {found['terms']} |")
    return lines


def draw(folder: Path, listed: dict[str, Any], names: Sequence[str], name_of: str, target: Path) -> None:
    """Draw the first frame of some sources: LR, bicubic, network and HR, with the gain over bicubic."""
    from matplotlib.figure import Figure

    network = vsr.load(f"pretrained:{name_of}")
    scale = network.scale
    figure = Figure(figsize=(11, 2.9 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 4, squeeze=False)
    for row, name in zip(axes, names, strict=True):
        hr = _unit(torch.from_numpy(np.load(folder / f"{name}.npy")[:1, :SHOWN, :SHOWN].astype(np.float64)), scale)
        lr = network.degradation(hr, scale)
        bicubic, sr = resize_bicubic_up(lr, scale), _upscale(network, lr)
        gain = float(10 * (_errors(bicubic, hr) / _errors(sr, hr)).log10())
        shown = {
            f"LR, {lr.shape[-2]}x{lr.shape[-1]}": lr,
            "bicubic": bicubic,
            f"{name_of}, {gain:+.1f} dB": sr,
            f"HR, {hr.shape[-2]}x{hr.shape[-1]}": hr,
        }
        for axis, (title, frame) in zip(row, shown.items(), strict=True):
            low, high = (float(hr.quantile(part)) for part in (0.005, 0.995))
            axis.imshow(frame[0, 0].numpy(), vmin=low, vmax=high, cmap="viridis", interpolation="nearest")
            axis.set(title=title, xticks=[], yticks=[])
        row[0].set_ylabel(f"{name.replace('_', ' ')}\n{listed[name]['from'].split(',')[0]}")
    figure.savefig(target, dpi=100)


def main(arguments: Sequence[str] | None = None) -> None:
    """Score the networks and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--networks", nargs="+", default=["field_x2", "field_x3", "field_x4", "field_area_x2", "field_area_x4"])
    parser.add_argument("--sets", nargs="+", default=["design", "final"])
    parser.add_argument("--page", type=Path)
    parser.add_argument("--draw", nargs="+", metavar="NAME", help="draw these sources by the first network, score nothing")
    parser.add_argument("--picture", type=Path, default=Path("docs/images/fields.png"))
    given = parser.parse_args(arguments)
    listed = json.loads((given.folder / "list.json").read_text(encoding="utf-8"))
    if given.draw:
        draw(given.folder, listed, given.draw, given.networks[0], given.picture)
        return
    kept = {name: found for name, found in listed.items() if found["set"] in given.sets}
    kept_file = None if given.page is None else given.page.with_suffix(".json")
    results: dict[str, Any] = {} if kept_file is None or not kept_file.is_file() else json.loads(kept_file.read_text("utf-8"))
    for typed in given.networks:
        network = vsr.load(f"pretrained:{typed}")
        results[typed] = {}
        for name in kept:
            results[typed][name] = score_source(np.load(given.folder / f"{name}.npy"), network)
            print(f"{typed} {name}: {results[typed][name]}", flush=True)
    results = dict(sorted(results.items()))
    if kept_file is None:
        print(page(results, kept))
        return
    given.page.write_text(page(results, listed), encoding="utf-8")
    kept_file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
