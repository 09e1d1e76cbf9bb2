"""Output scale and removed border of networks, the cut of frames, and the size of pixels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

Triple = tuple[int, int, int]
MOST_SCALE_OF_PAIRS = 16  # of files of LR and HR; degradations make LR at `SCALES`
# Position of LR pixel 0 in HR pixels from HR pixel 0; "node" where both grids share their first and their last point.
Origin = float | Literal["node"]
Alignment = tuple[Origin, Origin]  # along y and along x
DEGREE = "°"  # of latitudes and longitudes
PER_PIXEL = "px"  # the unit of lengths where no distance is known


def lr_position(size: int, scale: int, origin: Origin) -> list[float]:
    """Return where HR pixels lie along one axis, as numbers of LR pixels.

    Args:
        size: Number of LR pixels along the axis.
        scale: HR pixels per LR pixel.
        origin: A number: LR pixel i lies at HR pixel origin + i * scale, so (scale - 1) / 2 is the middle of its block. "node":
            LR pixel i lies at HR pixel i * (size * scale - 1) / (size - 1).
    """
    if origin == "node":
        return [j * (size - 1) / (size * scale - 1) for j in range(size * scale)]
    return [(j - origin) / scale for j in range(size * scale)]


def is_cell(alignment: Alignment, scale: int) -> bool:
    """Return True if each LR pixel lies in the middle of its block of HR pixels, as networks take it to be."""
    return alignment == ((scale - 1) / 2, (scale - 1) / 2)


class MapAxis(NamedTuple):
    """Evenly spaced coordinate of rows or columns, for the axes of figures.

    Attributes:
        name: Name of the coordinate: "latitude", "longitude", "y" or "x".
        unit: Unit of its values: "°", "km", or another unit as the file names it.
        first: Value of the first row or column.
        step: Value of the next one minus that of the one before; negative where values descend.
    """

    name: str
    unit: str
    first: float
    step: float

    def turned(self, size: int) -> MapAxis:
        """Return the coordinate of frames whose `size` rows or columns are in the opposite order."""
        return self._replace(first=self.first + (size - 1) * self.step, step=-self.step)


@dataclass(frozen=True)
class PixelGrid:
    """Size of the pixels of HR frames; by default they are squares of unknown size.

    Attributes:
        dy: Distance between rows, in `unit`.
        dx: Distance between columns, in `unit`; on latitudes and longitudes, the distance at the equator.
        unit: "km", or another unit as the file names it; "px" if the distances are not known.
        cosines: cos(latitude) of each row of a grid of latitudes and longitudes; None where all rows are alike.
        reason: Why the distances are not known; "" where nothing could tell them, as in pictures.
        falling: True if the coordinate falls from the first row to the last, as latitudes from north to south do.
        closed: "x" if columns go round the globe, "globe" if rows end at both poles, too; see `vsr.degradations.border`.
        axes: The coordinates of rows and columns; None if they are not known, or not the same for all frames. They do not count
            where grids are compared.
    """

    dy: float = 1.0
    dx: float = 1.0
    unit: str = PER_PIXEL
    cosines: tuple[float, ...] | None = None
    reason: str = ""
    falling: bool = False
    closed: Literal["none", "x", "globe"] = "none"
    axes: tuple[MapAxis, MapAxis] | None = field(default=None, compare=False)

    @property
    def known(self) -> bool:
        """True if the distances are known."""
        return self.unit != PER_PIXEL

    @property
    def mean_dx(self) -> float:
        """The distance between columns, in `unit`; on latitudes and longitudes, the mean over the rows."""
        return self.dx if self.cosines is None else self.dx * sum(self.cosines) / len(self.cosines)

    @property
    def side(self) -> float:
        """The longer side of a pixel, `dy` or `mean_dx`: waves of every direction are resolved down to twice this length."""
        return max(self.dy, self.mean_dx)

    def between(self, start: int, stop: int) -> PixelGrid:
        """Return the grid of the rows start..stop-1."""
        cosines, axes = self.cosines, self.axes
        if axes is not None:
            axes = (axes[0]._replace(first=axes[0].first + start * axes[0].step), axes[1])
        closed = self.closed if cosines is None or stop - start >= len(cosines) or self.closed == "none" else "x"
        return replace(self, cosines=None if cosines is None else cosines[start:stop], axes=axes, closed=closed)

    def turned(self, letters: Collection[str], height: int, width: int) -> PixelGrid:
        """Return the grid of frames whose rows ("y" in `letters`), columns ("x") or both are in the opposite order."""
        cosines, axes = self.cosines, self.axes
        if "y" in letters and cosines is not None:
            cosines = cosines[::-1]
        if axes is not None:
            y, x = axes
            axes = (y.turned(height) if "y" in letters else y, x.turned(width) if "x" in letters else x)
        return replace(self, cosines=cosines, axes=axes, falling=self.falling != ("y" in letters))

    def describe(self) -> str:
        """Return the size of the pixels in words; grids with equal words give comparable scores of the same frames."""
        if not self.known:
            return "per pixel"
        mean = "" if self.cosines is None else " (mean over the rows); means weighted by cos(latitude)"
        return f"{self.dy:.5g} {self.unit} along y, {self.mean_dx:.5g} {self.unit} along x{mean}"


SQUARE = PixelGrid()  # the grid of pictures, videos and files without coordinates


@dataclass(frozen=True)
class Geometry:
    """Output scale and removed border of a network; an input of n pixels gives n * scale - 2 * margin along each axis.

    A test measures scale and margin of every network.

    Attributes:
        scale: (t, y, x), output pixels per input pixel.
        margin: (t, y, x), output pixels (along t: frames) per side that valid convolutions remove.
    """

    scale: Triple
    margin: Triple = (0, 0, 0)

    @classmethod
    def frame(cls, scale: int) -> Geometry:
        """Return the geometry of a network that enlarges frames `scale` times along y and x and removes nothing."""
        return cls((1, scale, scale))

    def then(self, after: Geometry) -> Geometry:
        """Return the geometry of this network followed by a second network with the geometry `after`."""
        scale = tuple(a * b for a, b in zip(self.scale, after.scale, strict=True))
        margin = tuple(m * s + n for m, s, n in zip(self.margin, after.scale, after.margin, strict=True))
        return Geometry(scale, margin)  # type: ignore[arg-type]

    def output(self, size: Triple) -> Triple:
        """Return the output size (t, y, x) of the network for an input of the given size."""
        return tuple(n * s - 2 * m for n, s, m in zip(size, self.scale, self.margin, strict=True))  # type: ignore[return-value]

    def fits(self, window: Triple) -> bool:
        """Return True if the network removes at most `window` output pixels per side along each axis (t, y, x)."""
        return all(m <= w for m, w in zip(self.margin, window, strict=True))


def crop(x: Tensor, window: Triple) -> Tensor:
    """Cut `window` = (t, y, x) frames and pixels off each side of a tensor (..., T, H, W)."""
    t, y, x_ = window
    return x[..., t : x.shape[-3] - t, y : x.shape[-2] - y, x_ : x.shape[-1] - x_]


def frame_size_problem(height: int, width: int, scale: int, crop: bool | None) -> str | None:
    """Return the reason why frames of height x width pixels cannot be HR frames, or None; `crop` is False for no cut."""
    if min(height, width) < scale:
        return f"frames of {height}x{width} are smaller than scale={scale}; give larger ones"
    if (height % scale or width % scale) and crop is False:
        return (
            f"frames of {height}x{width} are not divisible by scale={scale}; "
            f"type data.crop=true to cut them to {height // scale * scale}x{width // scale * scale}"
        )
    return None
