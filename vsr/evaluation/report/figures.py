"""Figures of one split: a frame as every method makes it, spectra, and scores over time and over lead time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter

from vsr.evaluation.lead_time import LEAD_TIME
from vsr.evaluation.report.style import ERROR, FIELD, REFERENCE, FrameColours, crop_to_window, line_styles, style_label
from vsr.evaluation.scored import MethodScores, SampleFrames
from vsr.geometry import DEGREE, SQUARE, MapAxis, PixelGrid
from vsr.metrics.definitions import RESOLVED, psnr_from_mse

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL = 2.1  # inches
_MANY = 60  # segment borders that can still be told apart
FLOOR_IN_SIGHT = 1000  # a rounding floor is drawn down to this factor below the lowest power, and is only named further down


def panels_figure(sample: SampleFrames, *, field: bool) -> Figure:
    """Draw the middle frame of a sample in three rows: the frame, its busiest region, and the errors.

    The columns are LR, every method and HR. With `field`, frames are physical fields and are drawn with a colour map. All
    errors have one colour scale; their titles show the PSNR of this frame inside the evaluation window. Samples with physical
    values have a colour bar of values, and those with coordinates have map axes.
    """
    from matplotlib.figure import Figure

    at, look = len(sample.hr) // 2, FrameColours(sample, field=field)
    truth, low = sample.hr[at], sample.lr[at]
    (_, height, width), scale = truth.shape, truth.shape[1] // low.shape[1]
    side = max(scale, min(max(16, min(height, width) // 4), height, width) // scale * scale)
    y, x = (corner // scale * scale for corner in busiest_region(truth, side, sample.window))
    frames = {name: made[at] for name, made in sample.methods.items()}
    ratio = height / width
    figure = Figure(figsize=(_CELL * (len(frames) + 2), _CELL * (2 * ratio + 1) + 0.9), layout="constrained")
    axes = figure.subplots(3, len(frames) + 2, height_ratios=(ratio, 1, ratio), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    pixels, place = _CELL * 110, sample.axes
    for column, (name, frame) in enumerate([("LR", low), *frames.items(), ("HR", truth)]):
        step = scale if name == "LR" and column == 0 else 1
        _show(axes[0, column], look.picture(frame), pixels, box=(y / step, x / step, side / step))
        place_map_axes(axes[0, column], place, (0, 0, height, width), labels="yx" if column == 0 else "", names=column == 0)
        axes[0, column].set_title(style_label(name), fontsize=11)
        zoom = frame[:, y // step : (y + side) // step, x // step : (x + side) // step]
        _show(axes[1, column], look.picture(zoom), pixels)
        place_map_axes(axes[1, column], place, (y, x, side, side), labels="yx" if column == 0 else "")
        if 0 < column <= len(frames):
            _show(axes[2, column], look.error(frame, truth), pixels)
            place_map_axes(axes[2, column], place, (0, 0, height, width), labels="yx" if column == 1 else "x")
            squares = np.square(crop_to_window(frame - truth, sample.window), dtype=np.float64).mean((0, 2))
            areas = None if sample.areas is None else sample.areas[sample.window[0] : height - sample.window[0]]
            mse = float(np.average(squares, weights=areas))
            axes[2, column].set_title(f"error, {psnr_from_mse(mse):.2f} dB", fontsize=10)
    _colour_bar(figure, axes[2, -1], look.errors, ERROR, look.error_label, extend="both")
    if look.values is not None:
        _colour_bar(figure, axes[2, 0], look.values, FIELD, look.value_label)
    figure.suptitle(f"{style_label(sample.part, 60)}, frame {sample.first + at} of the split, x{scale}", fontsize=12)
    return figure


def _colour_bar(
    figure: Figure, beside: Axes, ends: tuple[float, float], colours: str, label: str, extend: str = "neither"
) -> None:
    """Draw a colour bar between two values inside an empty panel."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bar = figure.colorbar(
        ScalarMappable(Normalize(*ends), colours), cax=beside.inset_axes((0.02, 0.08, 0.08, 0.84)), extend=extend
    )
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def place_map_axes(
    axis: Axes,
    place: tuple[MapAxis, MapAxis] | None,
    region: tuple[int, int, int, int],
    *,
    labels: str,
    names: bool = False,
) -> None:
    """Put map axes around the panel of a region of the HR frame; nothing without coordinates.

    Args:
        axis: Panel with the picture of the region, and perhaps a box, in pixels of the picture.
        place: Coordinates of the rows and the columns of HR.
        region: First row, first column, height and width, in HR pixels.
        labels: Axes with numbers, "yx", "x" or "".
        names: True to write the names of the coordinates beside the numbers.
    """
    from matplotlib.ticker import MaxNLocator

    if place is None:
        return
    axis.axis("on")
    [picture] = axis.images
    pixels = picture.get_array().shape  # type: ignore[union-attr]
    y, x, height, width = region
    for letter, one, first, size, count in zip("yx", place, (y, x), (height, width), pixels, strict=False):
        low, high = (one.first + one.step * (edge - 0.5) for edge in (first, first + size))
        ticks = [tick for tick in MaxNLocator(3).tick_values(*sorted((low, high))) if min(low, high) <= tick <= max(low, high)]
        at = [(tick - low) / (high - low) * count - 0.5 for tick in ticks]
        shown = [f"{tick - 360 * (one.unit == DEGREE and tick >= 360):.6g}" for tick in ticks] if letter in labels else []
        (axis.set_yticks if letter == "y" else axis.set_xticks)(at, shown or [""] * len(at))
        if names:
            (axis.set_ylabel if letter == "y" else axis.set_xlabel)(f"{one.name} ({style_label(one.unit)})", fontsize=8)
    axis.tick_params(labelsize=7, length=2.5)


def spectra_figure(methods: Mapping[str, MethodScores], scale: int | None, pixels: PixelGrid = SQUARE) -> Figure | None:
    """Plot the radially averaged power of HR and of every method, the coherence with HR, and the power in time.

    `scale`, the super-resolution factor, sets a mark at the LR Nyquist wavenumber; None sets no mark. Wavenumbers are in the
    unit of `pixels`. Power below the rounding floor of HR is shaded. The figure is None if no method has a spectrum.
    """
    from matplotlib.figure import Figure

    space = {name: one.curves["spectrum"] for name, one in methods.items() if "spectrum" in one.curves}
    time = {name: one.curves["temporal_spectrum"] for name, one in methods.items() if "temporal_spectrum" in one.curves}
    if not space and not time:
        return None
    styles = line_styles(methods, {name for name, one in methods.items() if one.baseline})
    figure = Figure(figsize=(5.2 * bool(space) + 5.2 * bool(time) + 1.8, 5.4), layout="constrained")
    grid = figure.add_gridspec(2, bool(space) + bool(time), height_ratios=(2, 1))
    first: Axes | None = None
    if space:
        power = first = figure.add_subplot(grid[0, 0])
        coherence = figure.add_subplot(grid[1, 0], sharex=power)
        _power(power, space, "wavenumber", styles)
        power.set_ylabel("power")
        power.tick_params(labelbottom=False)
        for name, curve in space.items():
            if "coherence" in curve:
                coherence.plot(curve["wavenumber"], curve["coherence"], **styles[name])
        coherence.axhline(0.5, color="0.8", linewidth=0.8, zorder=0)
        length = style_label(pixels.unit) if pixels.known else "HR pixel"
        coherence.set(ylim=(-0.02, 1.04), ylabel="coherence with HR", xlabel=f"wavenumber (cycles per {length})")
        if scale is not None:
            nyquist = 0.5 / (scale * pixels.side)
            for axis in (power, coherence):
                axis.axvline(nyquist, color="0.6", linewidth=0.9, zorder=0)
            power.annotate(
                "LR Nyquist ", (nyquist, 0.03), xycoords=("data", "axes fraction"), ha="right", fontsize=8, color="0.4"
            )
    if time:
        axis = figure.add_subplot(grid[:, -1])
        first = first or axis
        _power(axis, time, "frequency", styles)
        axis.set(ylabel="power in time", xlabel="frequency (cycles per frame)")
    assert first is not None
    figure.legend(*first.get_legend_handles_labels(), loc="outside right upper", fontsize=9, frameon=False)
    return figure


def scores_over_time_figure(methods: Mapping[str, MethodScores]) -> Figure | None:
    """Plot the PSNR of every frame of one split for each method.

    A segment is a trajectory, clip or picture. Each line is interrupted where a segment ends; marks show these places if there
    are at most 60. Segments of fewer than two frames on average, such as pictures, are drawn as points.

    Args:
        methods: Scores of each method.

    Returns:
        The figure; None if no method has a PSNR.
    """
    from matplotlib.figure import Figure

    shown = {name: one for name, one in methods.items() if "psnr" in one.frames}
    if not shown:
        return None
    segment_of = next(iter(shown.values())).segment_of
    borders = np.flatnonzero(np.diff(segment_of)) + 1
    joined = len(borders) + 1 <= len(segment_of) / 2
    frames = np.insert(np.arange(len(segment_of), dtype=float), borders, borders - 0.5)
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    axis = figure.subplots()
    styles = line_styles(methods, {name for name, one in methods.items() if one.baseline})
    for name, one in shown.items():
        style = styles[name] if joined else {"color": styles[name]["color"], "linestyle": "none", "marker": ".", "markersize": 4}
        axis.plot(frames, np.insert(one.frames["psnr"], borders, np.nan), label=style_label(name), **style)
    if joined and len(borders) <= _MANY:
        for border in borders:
            axis.axvline(border - 0.5, color="0.85", linewidth=1, zorder=0)
    axis.set(xlabel="frame of the split", ylabel="PSNR (dB)")
    axis.margins(x=0.01)
    axis.grid(axis="y", color="0.93")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right upper", fontsize=9, frameon=False)
    return figure


def lead_time_figure(methods: Mapping[str, MethodScores]) -> Figure | None:
    """Plot PSNR, and coherence with HR at the LR Nyquist wavenumber, over lead time; networks and bicubic have their intervals.

    Args:
        methods: Scores of each method.

    Returns:
        The figure; None if no method has a curve over lead time.
    """
    from matplotlib.figure import Figure

    shown = {name: one.curves[LEAD_TIME] for name, one in methods.items() if LEAD_TIME in one.curves}
    drawn = {"psnr": "PSNR (dB)", "nyquist_coherence": "coherence with HR\nat the LR Nyquist wavenumber"}
    drawn = {name: label for name, label in drawn.items() if any(name in curve for curve in shown.values())}
    if not drawn:
        return None
    unit = next(one.lead_unit for name, one in methods.items() if name in shown)
    styles = line_styles(methods, {name for name, one in methods.items() if one.baseline})
    figure = Figure(figsize=(4.8 * len(drawn) + 1.8, 3.6), layout="constrained")
    axes = figure.subplots(1, len(drawn), squeeze=False)[0]
    for axis, (score, label) in zip(axes, drawn.items(), strict=True):
        for name, curve in shown.items():
            if score not in curve:
                continue
            axis.plot(curve["time"], curve[score], label=style_label(name), **styles[name])
            if not methods[name].baseline or name == REFERENCE:
                low, high = curve[f"{score}_low"], curve[f"{score}_high"]
                axis.fill_between(curve["time"], low, high, color=styles[name]["color"], alpha=0.2, linewidth=0)
        axis.set(xlabel="lead time" if unit in ("", "1") else f"lead time ({style_label(unit)})", ylabel=label)
        axis.margins(x=0.01)
        axis.grid(axis="y", color="0.93")
        if score == "nyquist_coherence":
            axis.axhline(RESOLVED, color="0.8", linewidth=0.8, zorder=0)
            axis.set_ylim(top=1.04)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=9, frameon=False)
    return figure


def _show(axis: Axes, picture: np.ndarray, pixels: float, box: tuple[float, float, float] | None = None) -> None:
    """Draw an image, smoothed if it has more pixels than the figure, and outline the square `box` = (y, x, side)."""
    from matplotlib.patches import Rectangle

    axis.imshow(picture, interpolation="nearest" if picture.shape[1] <= pixels else "antialiased")
    if box is not None:
        y, x, side = box
        axis.add_patch(Rectangle((x - 0.5, y - 0.5), side, side, fill=False, edgecolor="black", linewidth=2.2))
        axis.add_patch(Rectangle((x - 0.5, y - 0.5), side, side, fill=False, edgecolor="white", linewidth=1.0))


def _power(axis: Axes, curves: Mapping[str, Mapping[str, np.ndarray]], along: str, styles: Mapping[str, dict]) -> None:
    """Plot the power of HR and of every method against wavenumber or frequency, on logarithmic axes."""
    from matplotlib.ticker import LogLocator, NullFormatter

    def visible(values: np.ndarray) -> np.ndarray:
        return np.where(np.asarray(values) > 0, values, np.nan)

    truth = next(iter(curves.values()))
    axis.plot(visible(truth[along]), visible(truth["hr"]), color="black", linewidth=2.2, label="HR")
    for name, curve in curves.items():
        axis.plot(visible(curve[along]), visible(curve["sr"]), label=style_label(name), **styles[name])
    axis.set(xscale="log", yscale="log")
    _rounding(axis, float(truth["floor"][0]))
    # Less than two decades: powers of ten alone would be one or two labels.
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(color="0.93")


def _rounding(axis: Axes, floor: float) -> None:
    """Shade the power that is only rounding of HR, up to `floor`; name the floor in words where it lies far below all curves."""
    low, high = axis.get_ylim()
    if floor <= 0:
        return
    if floor < low / FLOOR_IN_SIGHT:
        text = f" rounding of HR: {floor:.1g}, far below"
        axis.annotate(text, (0.0, 0.1), xycoords="axes fraction", fontsize=8, color="0.4")
        return
    low = min(low, floor / 3)
    axis.axhspan(low, floor, color="0.92", zorder=0, label="rounding of HR")
    axis.axhline(floor, color="0.6", linewidth=0.9, zorder=0)
    axis.set_ylim(low, high)


def busiest_region(frame: np.ndarray, side: int, window: tuple[int, int]) -> tuple[int, int]:
    """Return the top left corner (y, x) of the busiest square of a frame (C, H, W): the one with the strongest gradients.

    The square has `side` pixels per side. The outermost `window` pixels of the frame are left out.
    """
    gradient = sum(np.square(part) for channel in frame.astype(np.float64) for part in np.gradient(channel))
    density = uniform_filter(gradient, side, mode="constant")
    # The filter gives the mean at the middle of its square.
    corners = density[side // 2 :, side // 2 :][: frame.shape[1] - side + 1, : frame.shape[2] - side + 1]
    y, x = (min(cut, (size - 1) // 2) for cut, size in zip(window, corners.shape, strict=True))
    inner = corners[y : corners.shape[0] - y, x : corners.shape[1] - x]
    at = np.unravel_index(int(inner.argmax()), inner.shape)
    return int(at[0]) + y, int(at[1]) + x
