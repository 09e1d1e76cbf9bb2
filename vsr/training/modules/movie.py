"""LightningModule for movie networks, which see clips (the 3D pipeline)."""

from __future__ import annotations

from vsr.training.modules.base import SRModule


class MovieSR(SRModule):
    """Super-resolution of clips by a network of kind "movie"; the output has 2 * geometry.margin[0] fewer frames."""

    kind = "movie"
