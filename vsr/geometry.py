"""What a network does to the grid: how much finer its output is and how much of the border it loses."""

from __future__ import annotations

from dataclasses import dataclass

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Geometry:
    """Output scale and lost border of a network, as integer triples (t, y, x).

    `margin` counts output pixels (and frames) per side that valid convolutions remove: an input of n pixels along an axis
    gives n * scale - 2 * margin. A test measures both on every network.
    """

    scale: Triple
    margin: Triple = (0, 0, 0)

    @classmethod
    def frame(cls, scale: int) -> Geometry:
        """A network that keeps every frame and every pixel and refines by `scale` in y and x."""
        return cls((1, scale, scale))

    def then(self, after: Geometry) -> Geometry:
        """The geometry of this network followed by another."""
        scale = tuple(a * b for a, b in zip(self.scale, after.scale, strict=True))
        margin = tuple(m * s + n for m, s, n in zip(self.margin, after.scale, after.margin, strict=True))
        return Geometry(scale, margin)  # type: ignore[arg-type]

    def output(self, size: Triple) -> Triple:
        """Output size (t, y, x) for an input size."""
        return tuple(n * s - 2 * m for n, s, m in zip(size, self.scale, self.margin, strict=True))  # type: ignore[return-value]

    def fits(self, window: Triple) -> bool:
        """Whether a window of `window` pixels cut per side is all inside what the network puts out."""
        return all(m <= w for m, w in zip(self.margin, window, strict=True))
