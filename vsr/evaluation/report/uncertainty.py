"""Figures of predicted distributions: calibration over ranks, wavenumber and activity, and maps of members."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vsr.evaluation.report.style import ERROR, FIELD, crop_to_window, line_styles, style_label
from vsr.evaluation.scored import MethodScores, SampleFrames
from vsr.geometry import SQUARE, PixelGrid
from vsr.metrics.definitions import ACTIVITIES, LEVELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN_MEMBERS = 3
_RANKS = "Left: where HR falls among the members; a level line is calibrated, a valley is too narrow, a hill too wide. "
_SPREAD = (
    "Middle: spread and error of the mean at each wavenumber, which are alike if calibrated, and the power of single members and "
    "of HR. "
)
_COVERED = (
    "Right: pixels of HR inside the intervals, for quiet pixels (half of all), moderate ones and fronts (the most active tenth)."
)
_MEMBERS = "The middle frame: mean, three members and HR; the spread, the error of the mean, and where HR falls."


def distribution_figures(
    methods: Mapping[str, MethodScores], samples: Sequence[SampleFrames], scale: int | None, pixels: PixelGrid
) -> Iterator[tuple[str, Figure, str]]:
    """Yield kind, figure and caption of each figure of predicted distributions of a split; nothing without any."""
    if (figure := calibration_figure(methods, scale, pixels)) is not None:
        yield "calibration", figure, f"{_RANKS}{_SPREAD if len(figure.axes) > 2 else ''}{_COVERED}"
    for sample in samples:
        for name, members in sample.members.items():
            yield "members", members_figure(sample, name, members), _MEMBERS


def calibration_figure(methods: Mapping[str, MethodScores], scale: int | None, pixels: PixelGrid = SQUARE) -> Figure | None:
    """Plot ranks of the truth, spread and error over wavenumber, and coverage by activity; None without distributions.

    Calibrated intervals have no spread over wavenumber: without members, there is no such panel.

    Args:
        methods: Scores of each method.
        scale: HR pixels per LR pixel, for a line at the LR Nyquist wavenumber; None for no line.
        pixels: The size of the pixels, for the unit of wavenumbers.
    """
    from matplotlib.figure import Figure

    shown = {name: one.curves for name, one in methods.items() if "ranks" in one.curves}
    if not shown:
        return None
    styles = line_styles(methods, {name for name, one in methods.items() if one.baseline})
    spectra = {name: curves["spread_spectrum"] for name, curves in shown.items() if "spread_spectrum" in curves}
    panels = 3 if spectra else 2
    figure = Figure(figsize=(5 * panels, 3.8), layout="constrained")
    ranks, *between, covered = figure.subplots(1, panels)
    for name, curves in shown.items():
        share = curves["ranks"]["share"]
        ranks.plot(curves["ranks"]["rank"] / (len(share) - 1), share * len(share), label=style_label(name), **styles[name])
    for spectrum in between:
        _plot_spread(spectrum, spectra, styles, scale, pixels)
    wide = 0.8 / len(shown)
    for i, (name, curves) in enumerate(shown.items()):
        at = np.arange(len(ACTIVITIES)) + (i - (len(shown) - 1) / 2) * wide
        for level in LEVELS:
            if (column := curves["activity"].get(f"coverage_{level}")) is not None:
                colour = styles[name]["color"]
                covered.bar(at, 100 * column, wide * 0.9, color=colour, alpha=0.25, edgecolor=colour)
    for level in LEVELS:
        covered.axhline(level, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    ranks.axhline(1, color="0.8", linewidth=0.8, zorder=0)
    ranks.set(xlabel="rank of HR among the members, 0 to 1", ylabel="share of the pixels, 1 = calibrated", ylim=(0, None))
    covered.set(xticks=range(len(ACTIVITIES)), xticklabels=ACTIVITIES, ylabel="pixels inside intervals (%)", ylim=(0, 100))
    covered.set_yticks(LEVELS)
    figure.legend(*ranks.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    return figure


def _plot_spread(
    axis: Axes,
    spectra: Mapping[str, Mapping[str, np.ndarray]],
    styles: Mapping[str, Mapping[str, Any]],
    scale: int | None,
    pixels: PixelGrid,
) -> None:
    """Plot spread and error of the mean of ensembles over wavenumber, with the power of their members and of HR."""
    for name, found in spectra.items():
        look = {**styles[name], "linestyle": "-"}
        axis.loglog(found["wavenumber"], found["error"], label=f"error of the mean, {style_label(name)}", **look)
        axis.loglog(found["wavenumber"], found["spread"], label="spread of the members", **look | {"linestyle": "--"})
        axis.loglog(found["wavenumber"], found["members"], label="members", **look | {"linestyle": ":"})
    truth = next(iter(spectra.values()))
    axis.loglog(truth["wavenumber"], truth["hr"], color="black", linewidth=1.2, label="HR")
    if scale is not None:
        axis.axvline(0.5 / scale / pixels.side, color="0.8", linewidth=0.8, zorder=0)
    axis.xaxis.set_minor_formatter("")
    axis.legend(fontsize=7, frameon=False, loc="lower left")
    axis.set(xlabel=f"wavenumber (cycles per {pixels.unit})", ylabel="power, in the unit interval")


def members_figure(sample: SampleFrames, method: str, members: np.ndarray) -> Figure:
    """Draw the mean of members, three of them and HR, and below them the spread, the error and where HR falls.

    Args:
        sample: Sample frames of the split; the middle one is drawn.
        method: Name of the ensemble.
        members: Members of the middle frame (K, C, H, W) in the unit interval.
    """
    from matplotlib.figure import Figure

    truth = sample.hr[len(sample.hr) // 2][0]
    first = members[:, 0]
    mean, spread = first.mean(0), first.std(0, ddof=1)
    error, rank = np.abs(mean - truth), (first < truth).mean(0)
    some = [(f"member {i + 1}", first[i]) for i in range(min(SHOWN_MEMBERS, len(first)))]
    low, high = float(truth.min()), float(truth.max())
    inner = crop_to_window(spread[None], sample.window)
    most = float(max(np.quantile(inner, 0.995), 1e-12))
    figure = Figure(figsize=(2.4 * (len(some) + 2), 5.4), layout="constrained")
    axes = figure.subplots(2, len(some) + 2)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (name, values) in zip(axes[0], [("mean", mean), *some, ("HR", truth)], strict=True):
        axis.imshow(values, cmap=FIELD, vmin=low, vmax=high, interpolation="nearest")
        axis.set_title(name, fontsize=10)
    below = [("spread of the members", spread, "magma", 0.0, most), ("|error of the mean|", error, "magma", 0.0, most)]
    below += [("share of members below HR", rank, ERROR, 0.0, 1.0)]
    for axis, (name, values, colours, least, largest) in zip(axes[1], below, strict=False):
        drawn = axis.imshow(values, cmap=colours, vmin=least, vmax=largest, interpolation="nearest")
        axis.set_title(name, fontsize=10)
        figure.colorbar(drawn, ax=axis, shrink=0.8)
    figure.suptitle(f"{style_label(method)}, {style_label(sample.part, 60)}, in parts of the data range", fontsize=11)
    return figure
