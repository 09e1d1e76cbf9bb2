"""The 2D pipeline: every frame on its own."""

from __future__ import annotations

from vsr.modules.sr import SRModule


class FrameSR(SRModule):
    """Super-resolution frame by frame, by a network of kind "frame"."""

    kind = "frame"
