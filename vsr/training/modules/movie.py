"""The 3D pipeline: a movie network on clips."""

from __future__ import annotations

from vsr.training.modules.base import SRModule


class MovieSR(SRModule):
    """Super-resolution of clips, by a network of kind "movie": the output is shorter by the frames that the geometry names."""

    kind = "movie"
