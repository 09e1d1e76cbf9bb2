"""The 2D pipeline: every frame on its own."""

from __future__ import annotations

from vsr.training.modules.base import SRModule


class FrameSR(SRModule):
    """Super-resolution frame by frame, by a network of kind "frame"."""

    kind = "frame"
