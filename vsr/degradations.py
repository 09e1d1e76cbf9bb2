"""How HR becomes LR: pure callables on whole frames, named in the config, in the checkpoint and in every result row."""

from __future__ import annotations

from typing import Protocol

from vsr.resize import bicubic_down
from vsr.types import HRFrames, LRFrames


class Degradation(Protocol):
    """HR frames (N, C, H, W) in physical units -> LR frames (N, C, H/scale, W/scale)."""

    name: str

    def __call__(self, hr: HRFrames, scale: int) -> LRFrames: ...


class Bicubic:
    """MATLAB's imresize(hr, 1/scale): the degradation of the SRCNN and FSRCNN papers and of the report."""

    name = "bicubic"

    def __call__(self, hr: HRFrames, scale: int) -> LRFrames:
        """Shrink by `scale`; raises ValueError where it does not divide the frame."""
        return bicubic_down(hr, scale)
