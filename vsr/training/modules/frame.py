"""The 2D pipeline: a frame network on single frames."""

from __future__ import annotations

from vsr.training.modules.base import SRModule


class FrameSR(SRModule):
    """Super-resolution frame by frame, by a network of kind "frame"."""

    kind = "frame"
