"""Page that compares a result of `vsr upscale` with bicubic interpolation: a divider to drag, and a slider for the frame."""

from __future__ import annotations

import base64
import io
import logging
from pathlib import Path

import numpy as np
import torch

from vsr.degradations.resize import resize_bicubic_up
from vsr.evaluation.report.html import html_document, html_one_line
from vsr.evaluation.report.style import FIELD, coloured
from vsr.inference.upscale_file import Preview
from vsr.system.files import replacing_file

MOST_PIXELS = 768  # per side; larger frames are cut to their middle

log = logging.getLogger(__name__)


def write_before_after_page(preview: Preview) -> Path:
    """Write the page beside a result, as OUTPUT.html, and return its path."""
    path = preview.target.with_name(f"{preview.target.name}.html")
    with replacing_file(path) as temporary:
        temporary.write_text(before_after_page(preview), encoding="utf-8")
    log.info("page      %s", path)
    return path


def before_after_page(preview: Preview) -> str:
    """Build the HTML of the page; of several variables the first is shown."""
    scale = preview.sr.shape[-1] // preview.lr.shape[-1]
    finite = preview.lr[preview.lr.isfinite()]
    lr = torch.nan_to_num(preview.lr.float(), nan=float(finite.mean()) if len(finite) else 0.0)
    before, after = (_cut(frames.numpy()) for frames in (resize_bicubic_up(lr, scale), preview.sr))
    low, high = (0.0, 255.0) if preview.of_pixels else _range_of(after[:, 0])
    pairs = []
    for number, both in enumerate(zip(before, after, strict=True)):
        pictures = [_png(_colours(frame, low, high, preview.of_pixels)) for frame in both]
        images = "".join(
            f'<img alt="{name}, frame {number}" src="data:image/png;base64,{picture}">'
            for name, picture in zip(("bicubic", "result"), pictures, strict=True)
        )
        pairs.append(f'<div class="compare">{images}</div>')
    controls = [_slider("bicubic | result", 0, 100, 50)]
    if len(pairs) > 1:
        controls.append(_slider("frame", 0, len(pairs) - 1, 0))
    shown = ""
    if preview.what:
        ends = " to ".join(f"{value + preview.offset:.4g}" for value in (low, high))
        shown = html_one_line(f"Dark blue to yellow: {preview.what}, {ends}.")
    figure = (
        f'<figure class="before-after">{"".join(pairs)}<div class="compare-controls">{"".join(controls)}</div>'
        f"<figcaption>Left of the divider bicubic interpolation, right of it the result. {shown}</figcaption></figure>"
    )
    facts = [f"Network: {preview.network}.", *([f"Measured: {preview.gain}."] if preview.gain else [])]
    facts.append("Nobody has seen the truth at this scale: sharp is not the same as right.")
    heading = f"{html_one_line(preview.given.name)}, x{scale}"
    lead = "</p><p>".join(map(html_one_line, facts))
    return html_document(f"{preview.given.name}, x{scale}", heading, lead, [("frames", "Bicubic and the result", figure)])


def _range_of(values: np.ndarray) -> tuple[float, float]:
    """Return the smallest and the largest finite value; 0 and 1 if there is none."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _cut(frames: np.ndarray) -> np.ndarray:
    """Cut frames (n, C, H, W) to at most MOST_PIXELS per side around their middle."""
    starts = [max(0, (size - MOST_PIXELS) // 2) for size in frames.shape[-2:]]
    return frames[..., starts[0] : starts[0] + MOST_PIXELS, starts[1] : starts[1] + MOST_PIXELS]


def _colours(frame: np.ndarray, low: float, high: float, of_pixels: bool) -> np.ndarray:
    """Return the colours (H, W, 3) uint8 of a frame (C, H, W)."""
    if not of_pixels:
        return coloured(np.nan_to_num(frame[0], nan=low), FIELD, low, high)
    levels = np.round(np.clip(np.moveaxis(frame, 0, -1), low, high)).astype(np.uint8)
    return levels if levels.shape[-1] == 3 else levels[..., :1].repeat(3, axis=-1)


def _png(picture: np.ndarray) -> str:
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(picture).save(written, "PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


def _slider(label: str, least: int, most: int, value: int) -> str:
    return f'<label>{label}</label><input type="range" min="{least}" max="{most}" value="{value}" aria-label="{label}">'
