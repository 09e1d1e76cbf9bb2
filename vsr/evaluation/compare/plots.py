"""Plots as SVG that stands in a page: parallel coordinates and scatters, a line or a point per run that says which it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vsr.evaluation.compare.axes import Axis, axis
from vsr.evaluation.report.html import one_line

STYLE = """
svg text { fill: var(--text); font: 12px system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif;
  paint-order: stroke; stroke: var(--back); stroke-width: 3px; stroke-linejoin: round; }
svg .name { font-weight: 600; }
svg .axis { stroke: var(--muted); stroke-width: 1; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .line { fill: none; stroke-width: 2; stroke-opacity: 0.75; stroke-linejoin: round; }
svg .line.early { stroke-dasharray: 5 4; stroke-width: 1.5; }
svg .line:hover { stroke-width: 4.5; stroke-opacity: 1; }
svg .dot:not(.early) { stroke: var(--back); stroke-width: 1; }
svg .dot.early { fill: var(--back); stroke-width: 1.5; }
svg .dot:hover { stroke: var(--text); stroke-width: 2; }
svg .dot.first { stroke: var(--text); stroke-width: 2; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); gap: 0.6rem 1.2rem; }
.plots svg { width: 100%; height: auto; }
.words th, .words td { text-align: left; }
.words td { white-space: normal; min-width: 7rem; max-width: 40rem; }
.wide svg { display: block; max-width: none; }
"""

# From worst to best; all three stand out on white and on black.
_COLOURS = ((106, 90, 205), (31, 158, 137), (229, 138, 0))
_TICK = 18  # characters of a word beside an axis


@dataclass(frozen=True)
class Point:
    """A run in a plot: its values by the names of the axes, its score, and what is said about it."""

    values: dict[str, str | float]
    score: float
    text: str
    early: bool = False  # whether it did not come to its end


def parallel(points: Sequence[Point], names: Sequence[str], score: str, more_is_better: bool) -> str:
    """A vertical axis per name and, last, the score; a line per run, coloured by its score. "" with fewer than two runs."""
    if len(points) < 2 or not names:
        return ""
    axes = {name: axis([point.values[name] for point in points]) for name in names}
    axes[score] = axis([point.score for point in points])
    step, left, top, height = max(105, min(190, 1050 // len(names))), 90, 40, 240
    width = left + step * (len(axes) - 1) + 110
    parts = [f'<svg viewBox="0 0 {width} {height + top + 16}" width="{width}" role="img" aria-label="parallel coordinates">']
    # The best is drawn last, over the others.
    for point in sorted(points, key=lambda point: point.score, reverse=not more_is_better):
        places = [axes[name].at(point.values[name]) for name in names] + [axes[score].at(point.score)]
        path = " ".join(f"{left + step * i},{top + height * (1 - place):.1f}" for i, place in enumerate(places))
        colour = _colour(points, point, more_is_better)
        kind = "line early" if point.early else "line"
        parts.append(
            f'<polyline class="{kind}" points="{path}" stroke="{colour}"><title>{one_line(point.text)}</title></polyline>'
        )
    for i, (name, one) in enumerate(axes.items()):
        x = left + step * i
        parts.append(f'<line class="axis" x1="{x}" y1="{top}" x2="{x}" y2="{top + height}"/>')
        parts.append(f'<text class="name" x="{x}" y="18" text-anchor="middle">{one_line(_cut(name))}</text>')
        # Names of the last axis go to its right, where no line is.
        side, anchor = (7, "start") if i == len(axes) - 1 else (-7, "end")
        for place, text in one.ticks():
            y = top + height * (1 - place)
            parts.append(f'<line class="axis" x1="{x - 4}" y1="{y:.1f}" x2="{x + 4}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{x + side}" y="{y + 4:.1f}" text-anchor="{anchor}">{one_line(_cut(text))}</text>')
    return "".join(parts) + "</svg>"


def scatter(points: Sequence[Point], name: str, score: str, more_is_better: bool) -> str:
    """The score over one name; a ring around the best."""
    across, up = axis([point.values[name] for point in points]), axis([point.score for point in points])
    left, top, width, height = 62, 14, 290, 190
    inner = 12  # so that a point at the end of an axis is whole
    label = f"{one_line(score)} over {one_line(name)}"
    parts = [f'<svg viewBox="0 0 {left + width + 14} {top + height + 44}" role="img" aria-label="{label}">']

    def place(one: Axis, value: str | float, start: float, length: float) -> float:
        return start + inner + (length - 2 * inner) * one.at(value)

    for tick, text in up.ticks():
        y = top + height - inner - (height - 2 * inner) * tick
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{left + width}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{one_line(text)}</text>')
    ticks = across.ticks()
    for tick, text in ticks:
        x = left + inner + (width - 2 * inner) * tick
        short = _cut(text, max(4, 44 // max(1, len(ticks))))
        parts.append(f'<line class="axis" x1="{x:.1f}" y1="{top + height}" x2="{x:.1f}" y2="{top + height + 4}"/>')
        parts.append(f'<text x="{x:.1f}" y="{top + height + 17}" text-anchor="middle">{one_line(short)}</text>')
    parts.append(f'<line class="axis" x1="{left}" y1="{top + height}" x2="{left + width}" y2="{top + height}"/>')
    scale = " (log)" if across.kind == "log" else ""
    middle = left + width / 2
    parts.append(
        f'<text class="name" x="{middle}" y="{top + height + 36}" text-anchor="middle">{one_line(_cut(name, 40))}{scale}</text>'
    )
    best = (max if more_is_better else min)(point.score for point in points if not point.early)
    for point in points:
        x, y = place(across, point.values[name], left, width), 2 * top + height - place(up, point.score, top, height)
        kind = "dot early" if point.early else "dot first" if point.score == best else "dot"
        colour = _colour(points, point, more_is_better)
        paint = f'stroke="{colour}"' if point.early else f'fill="{colour}"'
        said = f"<title>{one_line(point.text)}</title>"
        parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5.5" {paint}>{said}</circle>')
    return "".join(parts) + "</svg>"


def _colour(points: Sequence[Point], point: Point, more_is_better: bool) -> str:
    scores = [one.score for one in points]
    share = (point.score - min(scores)) / (max(scores) - min(scores)) if max(scores) > min(scores) else 1.0
    share = 2 * (share if more_is_better else 1 - share)
    low, high = _COLOURS[int(share > 1)], _COLOURS[int(share > 1) + 1]
    mixed = (round(a + (b - a) * (share - int(share > 1))) for a, b in zip(low, high, strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _cut(text: str, length: int = _TICK) -> str:
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
