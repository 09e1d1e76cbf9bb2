"""A short movie for browsers that shows methods side by side with their errors."""

from __future__ import annotations

import io
from collections.abc import Collection
from math import floor, log10
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vsr.evaluation.report.figures import busiest_region, place_map_axes
from vsr.evaluation.report.style import ERROR, FIELD, FrameColours, style_label
from vsr.evaluation.scored import SampleFrames
from vsr.geometry import MapAxis
from vsr.metrics.intervals import REFERENCES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRAMES = 24
RATE = 8  # frames per second
_PANEL = 240  # pixels: smaller panels are enlarged up to this
_LARGEST = 360  # pixels: of larger frames, the busiest region of this size is shown
_NETWORKS = 3
_GAP, _TITLE, _FOOT = 6, 24, 36  # pixels; the foot leaves room for the buttons of players
_NUMBERS_Y, _NUMBERS_X = 58, 36  # pixels for the numbers of map axes, left of the panels and below them
_Box = tuple[float, float, float, float]  # left, bottom, width, height


class MovieFile(NamedTuple):
    """A movie in memory: the bytes of its file, the file suffix, the media type, and a note on its content."""

    content: bytes
    suffix: str
    media: str
    note: str


def report_movie(sample: SampleFrames, *, field: bool, baselines: Collection[str] = ()) -> MovieFile | None:
    """Encode a movie of a sample: LR, bicubic, the linear filter, up to three networks and HR, with the errors below.

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
    whole factors and never smoothed or skipped; large frames are cropped. Frames with coordinates have map axes, and those with
    physical values a colour bar of values, below HR.
    """
    look = FrameColours(sample, field=field)
    others = [name for name in sample.methods if name not in (*baselines, *REFERENCES)][:_NETWORKS]
    names = [*(name for name in REFERENCES if name in sample.methods), *others]
    scale = sample.hr.shape[2] // sample.lr.shape[2]
    rows, columns, note = _region(sample, scale)
    hr = sample.hr[:FRAMES, :, rows, columns]
    small = (slice(rows.start // scale, rows.stop // scale), slice(columns.start // scale, columns.stop // scale))
    made = {name: sample.methods[name][:FRAMES, :, rows, columns] for name in names}
    factor = max(1, round(_PANEL / max(hr.shape[-2:])))
    height, width = hr.shape[-2] * factor, hr.shape[-1] * factor

    titles = ["LR", *names, "HR"]
    place = _Place(height, width, len(titles), sample.axes is not None)
    canvas = _canvas(titles, place, look)
    if sample.axes is not None:
        _draw_map_axes(canvas, place, sample.axes, (rows.start, columns.start, hr.shape[-2], hr.shape[-1]), scale)
    frames = np.repeat(_pixels(canvas)[None], len(hr), axis=0)

    def put(row: int, column: int, pictures: np.ndarray, times: int) -> None:
        top, left = place.top(row), place.left(column)
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


class _Place(NamedTuple):
    """Places of the panels of a movie, in pixels: two rows of `columns`, with room for numbers beside them if `mapped`."""

    height: int
    width: int
    columns: int
    mapped: bool

    def top(self, row: int) -> int:
        return _TITLE + row * (self.height + (_NUMBERS_X if self.mapped else _GAP))

    def left(self, column: int) -> int:
        return (_NUMBERS_Y if self.mapped else _GAP) + column * (self.width + _GAP)

    @property
    def size(self) -> tuple[int, int]:
        """Return the height and the width of the movie; both are even, as yuv420p halves them."""
        down, across = self.top(1) + self.height + _GAP + _FOOT, self.left(self.columns)
        return down + down % 2, across + across % 2

    def box(self, row: int, column: int, part: _Box = (0, 0, 1, 1)) -> _Box:
        """Return a part (left, bottom, width, height) of a panel, in shares of the panel, in matplotlib's shares of the movie."""
        down, across = self.size
        left, bottom, width, height = part
        lowest = down - self.top(row) - self.height
        return (
            (self.left(column) + left * self.width) / across,
            (lowest + bottom * self.height) / down,
            width * self.width / across,
            height * self.height / down,
        )


def _canvas(titles: list[str], place: _Place, look: FrameColours) -> Figure:
    """Draw an empty movie frame: the titles of the panels, the colour bar of the errors below LR and that of values below HR."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    down, across = place.size
    # Matplotlib rounds sizes down, hence a hundredth of a pixel more.
    figure = Figure(figsize=((across + 0.01) / 100, (down + 0.01) / 100), dpi=100)
    letters = max(4, place.width // 9)
    for column, title in enumerate(titles):
        middle = place.left(column) + place.width / 2
        figure.text(middle / across, 1 - _TITLE / 2 / down, style_label(title, letters), ha="center", va="center", fontsize=10)

    def bar(column: int, ends: tuple[float, float], colours: str, label: str, extend: str) -> None:
        axis = figure.add_axes(place.box(1, column, (0.06, 0.6, 0.7, 0.08)))
        ticks = [ends[0], (ends[0] + ends[1]) / 2, ends[1]]
        mapped = ScalarMappable(Normalize(*ends), colours)
        figure.colorbar(mapped, cax=axis, orientation="horizontal", extend=extend, ticks=ticks)
        axis.set_xticklabels([_number(value, ends) for value in ticks], fontsize=8)
        axis.set_title(label, fontsize=8)

    label = "error, 1 = the data range" if look.values is None else look.error_label
    bar(0, look.errors, ERROR, label if place.width >= 200 else "error", "both")
    if look.values is not None:
        bar(len(titles) - 1, look.values, FIELD, look.value_label, "neither")
    return figure


def _number(value: float, ends: tuple[float, float]) -> str:
    """Format a number on a colour bar to two digits of the bar's range."""
    digits = max(0, 1 - floor(log10(max(ends[1] - ends[0], 1e-300))))
    return f"{value:.{digits}f}" if digits < 6 and abs(value) < 1e6 else f"{value:.3g}"


def _draw_map_axes(
    figure: Figure, place: _Place, axes: tuple[MapAxis, MapAxis], region: tuple[int, int, int, int], scale: int
) -> None:
    """Draw the axes of all panels; their pictures are put into them later. `region` is that of `place_map_axes`."""
    for row in range(2):
        for column in range(row, place.columns - row):
            axis = figure.add_axes(place.box(row, column))
            step = scale if column == 0 else 1
            axis.imshow(np.zeros((region[2] // step, region[3] // step)), aspect="auto", cmap="gray_r")
            place_map_axes(axis, axes, region, labels="yx" if column == row else "x", names=row == column == 0)


def _pixels(figure: Figure) -> np.ndarray:
    """Render a figure as (H, W, 3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
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
