"""Page that compares a result of `vsr upscale` with bicubic interpolation: a divider to drag, and a slider for the frame."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from vsr.degradations.resize import resize_bicubic_up
from vsr.evaluation.report.html import html_document, html_one_line
from vsr.evaluation.report.style import FIELD, coloured
from vsr.geometry import MapAxis
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
    rows, columns = _middle(preview.sr.shape[-2:])
    before, after = (frames.numpy()[..., rows, columns] for frames in (resize_bicubic_up(lr, scale), preview.sr))
    low, high = (0.0, 255.0) if preview.of_pixels else _range_of(after[:, 0])
    pairs = []
    for number, both in enumerate(zip(before, after, strict=True)):
        pictures = [_png(_colours(frame, low, high, preview.of_pixels)) for frame in both]
        images = "".join(
            f'<img alt="{name}, frame {number}" src="data:image/png;base64,{picture}">'
            for name, picture in zip(("bicubic", "result"), pictures, strict=True)
        )
        pairs.append(f'<div class="compare">{images}</div>')
    panel = "".join(pairs) if preview.axes is None else _with_axes("".join(pairs), preview.axes, rows, columns)
    controls = [_slider("bicubic | result", 0, 100, 50)]
    if len(pairs) > 1:
        controls.append(_slider("frame", 0, len(pairs) - 1, 0))
    bar = "" if preview.of_pixels else _colour_bar(preview.what, low + preview.offset, high + preview.offset)
    figure = (
        f'<figure class="before-after">{panel}{bar}<div class="compare-controls">{"".join(controls)}</div>'
        f"<figcaption>Left of the divider bicubic interpolation, right of it the result.</figcaption></figure>"
    )
    facts = [f"Network: {preview.network}.", f"Gain: {preview.gain}."]
    if preview.of_pixels and preview.sr.shape[1] == 1:
        facts.append("Shown is the brightness; a result keeps the colours of its input.")
    facts.append("Nobody has seen the truth at this scale: sharp is not the same as right.")
    heading = f"{html_one_line(preview.given.name)}, x{scale}"
    lead = "</p><p>".join(map(html_one_line, facts))
    if preview.judge:
        lead += f"</p><p>What the network is worth beside the best linear filter: <code>{html_one_line(preview.judge)}</code>"
    return html_document(f"{preview.given.name}, x{scale}", heading, lead, [("frames", "Bicubic and the result", figure)])


def _range_of(values: np.ndarray) -> tuple[float, float]:
    """Return the smallest and the largest finite value; 0 and 1 if there is none."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _middle(sizes: Sequence[int]) -> tuple[slice, slice]:
    """Return the rows and columns around the middle of a frame, at most MOST_PIXELS of each."""
    starts = [max(0, (size - MOST_PIXELS) // 2) for size in sizes]
    rows, columns = (slice(start, min(size, start + MOST_PIXELS)) for start, size in zip(starts, sizes, strict=True))
    return rows, columns


def _with_axes(picture: str, axes: tuple[MapAxis, MapAxis], rows: slice, columns: slice) -> str:
    """Put the coordinates of the outer edges beside and below a picture of some rows and columns."""
    texts = []
    for axis, part in zip(axes, (rows, columns), strict=True):
        start, stop = (axis.first + axis.step * (edge - 0.5) for edge in (part.start, part.stop))
        ends = [f"<span>{html_one_line(f'{value:.6g}')}</span>" for value in (start, stop)]
        name = html_one_line(f"{axis.name} ({axis.unit})" if axis.unit else axis.name)
        texts.append(f"{ends[0]}<span>{name}</span>{ends[1]}")
    return f'<div class="map"><div class="map-y">{texts[0]}</div><div>{picture}</div><div class="map-x">{texts[1]}</div></div>'


def _colour_bar(what: str, low: float, high: float) -> str:
    """Build the HTML of a bar of the colours of fields with the values at its ends; `what` names them."""
    picture = _png(coloured(np.linspace(0, 1, 256)[None], FIELD, 0, 1))
    ends = [html_one_line(f"{value:.5g}") for value in (low, high)]
    text = f"{html_one_line(what)}, {ends[0]} to {ends[1]}"
    bar = f'<img alt="colours of {text}" src="data:image/png;base64,{picture}">'
    return f'<div class="colour-bar"><span>{ends[0]}</span>{bar}<span>{ends[1]}</span><span>{html_one_line(what)}</span></div>'


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
