"""What every network promises, so that the modules can treat them alike."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from vsr.geometry import Geometry
from vsr.types import TrainingFrames


class Network(nn.Module):
    """LR -> HR in the unit interval; upsampling is inside.

    `kind` "frame": (N, C, h, w) -> (N, C, H, W); "movie": (B, C, T, h, w) -> (B, C, T', H, W). `geometry` says how the sizes
    are related. Constructor arguments are keyword-only, `scale` (2, 3 or 4) and `channels` among them.
    """

    kind: Literal["frame", "movie"] = "frame"
    geometry: Geometry

    @property
    def error_unit(self) -> Tensor | float:
        """The error, in the unit interval, that counts as one in the loss."""
        return 1.0

    def prepare(self, frames: TrainingFrames) -> None:
        """Set what is computed rather than trained (statistics, closed-form filters) from whole training frames."""

    def fold(self) -> nn.Module:
        """The same function in the form that is fastest to evaluate; itself where there is none faster."""
        return self


def parameter_count(network: nn.Module) -> int:
    """How many numbers the network learned or was fitted to."""
    return sum(p.numel() for p in network.parameters())
