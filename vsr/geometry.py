"""Output scale and removed border of networks."""

from __future__ import annotations

from dataclasses import dataclass

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Geometry:
    """Output scale and removed border of a network; an input of n pixels gives n * scale - 2 * margin along each axis.

    A test measures both on every network.

    Attributes:
        scale: (t, y, x), output pixels per input pixel.
        margin: (t, y, x), output pixels (and frames) per side that valid convolutions remove.
    """

    scale: Triple
    margin: Triple = (0, 0, 0)

    @classmethod
    def frame(cls, scale: int) -> Geometry:
        """The geometry of a network that scales y and x by `scale` and removes nothing."""
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
        """Whether the network removes at most `window` output pixels per side."""
        return all(m <= w for m, w in zip(self.margin, window, strict=True))
