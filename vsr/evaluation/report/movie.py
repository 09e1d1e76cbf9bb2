"""A short movie for browsers that shows methods side by side with their errors."""

from __future__ import annotations

import io
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from vsr.evaluation.report.figures import busiest_region
from vsr.evaluation.report.style import ERROR, REFERENCE, FrameColours, style_label
from vsr.evaluation.scored import SampleFrames

FRAMES = 24
RATE = 8  # frames per second
_PANEL = 240  # pixels: smaller panels are enlarged up to this
_LARGEST = 360  # pixels: of larger frames, the busiest region of this size is shown
_NETWORKS = 3
_GAP, _TITLE, _FOOT = 6, 24, 36  # pixels; the foot leaves room for the buttons of players


class MovieFile(NamedTuple):
    """A movie in memory: the bytes of its file, the file suffix, the media type, and a note on its content."""

    content: bytes
    suffix: str
    media: str
    note: str


def report_movie(sample: SampleFrames, *, field: bool, baselines: Collection[str] = ()) -> MovieFile | None:
    """Encode a movie of a sample: LR, bicubic, up to three networks and HR, with the errors below.

    Returns:
        An MP4 file (H.264, yuv420p) made by PyAV with libx264; without them, an animated PNG made by Pillow. None for a single
        frame.

    Raises:
        ImportError: If neither PyAV with libx264 nor Pillow is installed.
    """
    if len(sample.hr) < 2:
        return None
    frames, note = movie_side_by_side(sample, field=field, baselines=baselines)
    try:
        return MovieFile(_mp4(frames), ".mp4", "video/mp4", note)
    except ImportError:
        return MovieFile(_animated_png(frames), ".png", "image/png", note)


def movie_side_by_side(sample: SampleFrames, *, field: bool, baselines: Collection[str] = ()) -> tuple[np.ndarray, str]:
    """Return frames (T, H, W, 3) uint8 with LR, all shown methods and HR side by side, and a line of text on their content.

    The errors of the methods stand below the methods. The result has at most 24 frames, of even size. Pixels are enlarged by
    whole factors and never smoothed or skipped; large frames are cropped.
    """
    look = FrameColours(sample, field=field)
    others = [name for name in sample.methods if name not in baselines and name != REFERENCE][:_NETWORKS]
    names = [*([REFERENCE] if REFERENCE in sample.methods else []), *others]
    scale = sample.hr.shape[2] // sample.lr.shape[2]
    rows, columns, note = _region(sample, scale)
    hr = sample.hr[:FRAMES, :, rows, columns]
    small = (slice(rows.start // scale, rows.stop // scale), slice(columns.start // scale, columns.stop // scale))
    made = {name: sample.methods[name][:FRAMES, :, rows, columns] for name in names}
    factor = max(1, round(_PANEL / max(hr.shape[-2:])))
    height, width = hr.shape[-2] * factor, hr.shape[-1] * factor

    titles = ["LR", *names, "HR"]
    canvas = _canvas(titles, height, width, look)
    frames = np.repeat(canvas[None], len(hr), axis=0)

    def put(row: int, column: int, pictures: np.ndarray, times: int) -> None:
        top, left = _TITLE + row * (height + _GAP), _GAP + column * (width + _GAP)
        frames[:, top : top + height, left : left + width] = pictures.repeat(times, axis=1).repeat(times, axis=2)

    put(0, 0, look.picture(sample.lr[:FRAMES, :, *small]), factor * scale)
    for column, name in enumerate(names, start=1):
        put(0, column, look.picture(made[name]), factor)
        put(1, column, look.error(made[name], hr), factor)
    put(0, len(names) + 1, look.picture(hr), factor)
    return frames, f"frames {sample.first} to {sample.first + len(hr) - 1} of {sample.split}{note}; below, the errors"


def _region(sample: SampleFrames, scale: int) -> tuple[slice, slice, str]:
    """Return rows, columns and a note on the crop: whole frames if small, else the busiest region on the LR grid."""
    height, width = sample.hr.shape[-2:]
    largest = _LARGEST // scale * scale
    if max(height, width) <= largest:
        return slice(0, height), slice(0, width), ""
    side = min(height, width, largest) // scale * scale
    y, x = (corner // scale * scale for corner in busiest_region(sample.hr[len(sample.hr) // 2], side, sample.window))
    return slice(y, y + side), slice(x, x + side), f", {side}x{side} of {height}x{width} pixels"


def _canvas(titles: list[str], height: int, width: int, look: FrameColours) -> np.ndarray:
    """Draw a white canvas (H, W, 3) with the titles of the panels and, below LR, the colour bar of the errors."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    across = _GAP + len(titles) * (width + _GAP)
    down = _TITLE + 2 * (height + _GAP) + _FOOT
    across, down = across + across % 2, down + down % 2  # yuv420p halves both
    # Matplotlib rounds sizes down, hence a hundredth of a pixel more.
    figure = Figure(figsize=((across + 0.01) / 100, (down + 0.01) / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    letters = max(4, width // 9)
    for column, title in enumerate(titles):
        middle = _GAP + column * (width + _GAP) + width / 2
        figure.text(middle / across, 1 - _TITLE / 2 / down, style_label(title, letters), ha="center", va="center", fontsize=10)
    left, bottom = _GAP + 0.08 * width, _FOOT + 0.6 * height
    bar = figure.add_axes((left / across, bottom / down, 0.84 * width / across, 0.08 * height / down))
    ticks = [look.errors[0], 0, look.errors[1]]
    colours = ScalarMappable(Normalize(*look.errors), ERROR)
    figure.colorbar(colours, cax=bar, orientation="horizontal", extend="both", ticks=ticks)
    bar.set_xticklabels([f"{value:.2g}" for value in ticks], fontsize=8)
    label = "error, 1 = the data range" if look.values is None else look.error_label
    bar.set_title(label if width >= 200 else "error", fontsize=8)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _mp4(frames: np.ndarray) -> bytes:
    import av
    from av.video.reformatter import ColorRange, Colorspace

    if "libx264" not in av.codecs_available:  # builds under another licence lack it
        raise ImportError("av without libx264")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "19", "preset": "veryfast"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        # Players guess the colour space from the size of the picture unless the file names it.
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
        context.color_range = ColorRange.MPEG
        for image in frames:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)))
        container.mux(stream.encode())
    return file.getvalue()


def _animated_png(frames: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    first, *others = [Image.fromarray(frame) for frame in frames]
    first.save(file, format="PNG", save_all=True, append_images=others, duration=1000 // RATE, loop=0)
    return file.getvalue()
