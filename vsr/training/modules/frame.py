"""LightningModule for frame networks, which see single frames (the 2D pipeline)."""

from __future__ import annotations

from vsr.training.modules.base import SRModule


class FrameSR(SRModule):
    """Super-resolution of single frames by a network of kind "frame"."""

    kind = "frame"
