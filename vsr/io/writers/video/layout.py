"""Storage of a video's colours. This module imports no torch, as the child process that joins videos needs it too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from vsr.io.readers.video_stream import LEFT, UNSPECIFIED, VideoFacts

if TYPE_CHECKING:
    from torch import Tensor

# Kr and Kb of the matrices of ITU-T H.273 by their number: BT.709, FCC, BT.601 (twice), SMPTE 240M, BT.2020.
LUMA = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
BT709, BT601_625, BT601_525 = 1, 5, 6

Kind = Literal["yuv", "gray", "rgb"]


@dataclass(frozen=True)
class Layout:
    """Storage of a video's colours: planes, depth, chroma subsampling and matrix.

    Attributes:
        kind: Type of the planes.
        bits: Depth of the planes.
        chroma: Luma pixels per chroma sample (y, x).
        siting: Place (y, x) of a chroma sample among its luma pixels: 0 at the first, 0.5 in the middle, 1 at the last.
        full: True if codes use the full range; False if luma lies in 16..235 (of 255).
        matrix, primaries, transfer: Numbers of ITU-T H.273, 2 where undeclared.
    """

    kind: Kind
    bits: int = 8
    chroma: tuple[int, int] = (1, 1)
    siting: tuple[float, float] = LEFT
    full: bool = False
    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    @property
    def luma_weights(self) -> tuple[float, float]:
        """Return the luma weights (Kr, Kb) of the matrix; BT.601's weights for R'G'B' and unknown matrices."""
        return LUMA.get(self.matrix, LUMA[BT601_525])

    def plane_size(self, height: int, width: int, plane: int) -> tuple[int, int]:
        """Return (rows, columns) of a plane of a height x width frame; chroma of odd sizes is rounded up."""
        y, x = self.chroma if plane else (1, 1)
        return -(-height // y), -(-width // x)

    def signal(self, codes: Tensor, plane: int) -> Tensor:
        """Convert codes, scaled to 0..255 at any depth, to a signal: 0..1 for luma and R'G'B', -0.5..0.5 for chroma."""
        native = codes * ((2**self.bits - 1) / 255)
        low, span = self._span(plane)
        return (native - low) / span

    def codes(self, signal: Tensor, plane: int) -> np.ndarray:
        """Convert a signal to integer codes. They are clipped to the depth, not to 16..235, so that overshoot stays."""
        low, span = self._span(plane)
        return self.rounded(signal * span + low)

    def rounded(self, native: Tensor) -> np.ndarray:
        """Round float codes of this depth, clip them to the range of the depth, and return uint8 or uint16."""
        whole = native.round().clamp(0, 2**self.bits - 1)
        return whole.int().numpy().astype(np.uint8 if self.bits == 8 else np.uint16)

    def _span(self, plane: int) -> tuple[float, float]:
        unit, top = 2.0 ** (self.bits - 8), 2.0**self.bits - 1
        chroma = self.kind == "yuv" and plane > 0
        if self.full or self.kind == "rgb":
            return (128 * unit if chroma else 0.0), top
        return (128 * unit, 224 * unit) if chroma else (16 * unit, 219 * unit)


def video_layout(facts: VideoFacts) -> Layout:
    """Return the layout of a video; an undeclared matrix and undeclared primaries become those that players assume.

    Players decide by the size of the frames, and SR frames are larger. So the output must declare both: otherwise the colours
    of a small video would change.
    """
    matrix, primaries = UNSPECIFIED, facts.primaries
    if facts.kind == "yuv":
        assumed = BT709 if facts.width >= 1280 or facts.height > 576 else BT601_625 if facts.height == 576 else BT601_525
        matrix = assumed if facts.matrix == UNSPECIFIED else facts.matrix
        primaries = assumed if primaries == UNSPECIFIED else primaries
    return Layout(facts.kind, facts.bits, facts.chroma, facts.siting, facts.full, matrix, primaries, facts.transfer)
