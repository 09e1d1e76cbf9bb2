"""Common style of figures and movies: colours of frames, errors and methods."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from vsr.evaluation.scored import SampleFrames
from vsr.system.escape import escape_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIELD, ERROR = "viridis", "RdBu_r"
REFERENCE = "bicubic"
_NETWORKS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # safe for the colour-blind (Okabe & Ito)
_BASELINES = (
    (":", "#8a8a8a"),
    ("-.", "#8c6d46"),
    ("--", "#6b5b95"),
    ((0, (3, 1, 1, 1, 1, 1)), "#5f7a3a"),
    ((0, (6, 1)), "#000000"),
    ((0, (1, 3)), "#444444"),
)


class FrameColours:
    """Conversion of the frames of a sample to colours, on one scale for all frames and methods.

    Physical fields get a perceptually uniform colour map between the extremes of HR in the sample, and only their first channel
    is shown. Grey and RGB movies are shown unchanged, 0 to 1.

    Attributes:
        values: Ends of the colour bar of values, in physical units; None for frames without physical values.
        errors: Ends of the colour bar of errors, in physical units or in parts of the data range.
        value_label, error_label: Labels of both colour bars, with the unit.
    """

    def __init__(self, sample: SampleFrames, *, field: bool) -> None:
        self.field, self.rgb = field, sample.hr.shape[1] == 3 and not field
        self.low, self.high = float(sample.hr[:, 0].min()), float(sample.hr[:, 0].max())
        self.limit = _error_limit(sample)
        low, high = sample.bounds or (0.0, 1.0)
        self.values = (low + self.low * (high - low), low + self.high * (high - low)) if field and sample.bounds else None
        self.errors = (-self.limit * (high - low), self.limit * (high - low))
        name, unit = style_label(sample.keys.get("variable", "")), style_label(sample.unit)
        self.value_label = f"{name or 'value'} ({unit})" if unit else name or "value"
        self.error_label = f"error ({unit})" if unit else "error" if sample.bounds else "error (1 = the data range)"

    def picture(self, frames: np.ndarray) -> np.ndarray:
        """Convert frames (..., C, H, W) in the unit interval to colours (..., H, W, 3) uint8."""
        if self.field:
            return coloured(frames[..., 0, :, :], FIELD, self.low, self.high)
        levels = np.round(np.clip(np.moveaxis(frames, -3, -1), 0, 1) * 255).astype(np.uint8)
        return levels if self.rgb else levels[..., :1].repeat(3, axis=-1)

    def error(self, frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Convert the errors `frames - truth` to colours (..., H, W, 3) uint8; RGB errors are averaged over channels."""
        difference = frames - truth
        shown = difference.mean(-3) if self.rgb else difference[..., 0, :, :]
        return coloured(shown, ERROR, -self.limit, self.limit)


def crop_to_window(frames: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Crop frames (..., H, W) by `window` pixels per side to the pixels that count in the scores."""
    y, x = window
    return frames[..., y : frames.shape[-2] - y, x : frames.shape[-1] - x]


def line_styles(methods: Iterable[str], baselines: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the matplotlib line style of each method: dull and dashed for baselines, bright and whole for networks."""
    found: dict[str, dict[str, Any]] = {}
    networks = simple = 0
    for method in methods:
        if method in baselines:
            style, colour = _BASELINES[simple % len(_BASELINES)]
            found[method] = {"linestyle": style, "color": colour, "linewidth": 1.2 + simple // len(_BASELINES)}
            simple += 1
        else:
            found[method] = {
                "linestyle": "-",
                "color": _NETWORKS[networks % len(_NETWORKS)],
                "linewidth": 1.6 + networks // len(_NETWORKS),
            }
            networks += 1
    return found


def style_label(name: str, length: int = 24) -> str:
    """Shorten and escape a name for matplotlib, where $ starts a formula and a leading _ hides a legend entry."""
    name = escape_name(name, length).replace("$", r"\$")
    return f" {name}" if name.startswith("_") else name


def style_png(figure: Figure, dpi: int = 110) -> bytes:
    """Render a figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    return file.getvalue()


def coloured(values: np.ndarray, name: str, low: float, high: float) -> np.ndarray:
    """Convert values (..., H, W) to colours (..., H, W, 3) uint8 of a colour map from `low` to `high`."""
    from matplotlib import colormaps

    unit = (values.astype(np.float64) - low) / max(high - low, 1e-12)
    return colormaps[name](unit, bytes=True)[..., :3]


def _error_limit(sample: SampleFrames) -> float:
    """Return the end of the error scale: 99% of the errors of bicubic are smaller, so that a few pixels do not set it."""
    shown = [sample.methods[REFERENCE]] if REFERENCE in sample.methods else list(sample.methods.values())
    errors = [np.abs(crop_to_window(one - sample.hr, sample.window)) for one in shown]
    return max(float(np.quantile(errors, 0.99)), 1e-6) if errors else 1.0
