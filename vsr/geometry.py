"""Output scale and removed border of networks, the cut of frames, and the size of pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Triple = tuple[int, int, int]
MOST_SCALE_OF_PAIRS = 16  # of files of LR and HR; degradations make LR at 2, 3 or 4
# Position of LR pixel 0 in HR pixels from HR pixel 0; "node" where both grids share their first and their last point.
Origin = float | Literal["node"]
Alignment = tuple[Origin, Origin]  # along y and along x
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
    """

    dy: float = 1.0
    dx: float = 1.0
    unit: str = PER_PIXEL
    cosines: tuple[float, ...] | None = None
    reason: str = ""
    falling: bool = False
    closed: Literal["none", "x", "globe"] = "none"

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
        if self.cosines is None or stop - start >= len(self.cosines):
            return self
        return replace(self, cosines=self.cosines[start:stop], closed="none" if self.closed == "none" else "x")

    def upside_down(self) -> PixelGrid:
        """Return the grid of frames whose rows are in the opposite order."""
        return replace(self, cosines=None if self.cosines is None else self.cosines[::-1], falling=not self.falling)

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


def frame_size_problem(height: int, width: int, scale: int, crop: bool) -> str | None:
    """Return the reason why frames of height x width pixels cannot be HR frames, or None; with `crop`, they may be cut."""
    if min(height, width) < scale:
        return f"frames of {height}x{width} are smaller than scale={scale}; give larger ones"
    if (height % scale or width % scale) and not crop:
        return (
            f"frames of {height}x{width} are not divisible by scale={scale}; "
            f"type data.crop=true to cut them to {height // scale * scale}x{width // scale * scale}"
        )
    return None
