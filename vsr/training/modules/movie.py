"""The 3D pipeline: every frame with those around it."""

from __future__ import annotations

from vsr.training.modules.base import SRModule


class MovieSR(SRModule):
    """Super-resolution of clips, by a network of kind "movie": it gives as many frames less as its geometry says."""

    kind = "movie"
