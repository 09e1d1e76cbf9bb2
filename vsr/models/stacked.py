"""Neighbouring frames as channels: what a frame network sees, of several frames at once (Caballero et al., VESPCN, 2017)."""

from __future__ import annotations

from vsr.errors import UserError
from vsr.geometry import Geometry
from vsr.models.base import Network
from vsr.models.blocks import refuse_sizes
from vsr.models.resnet import Layers, layers_reach
from vsr.types import HRClips, LRClips


class Stacked(Network):
    """The layers of ResNet, of which the first sees `frames` LR frames at once.

    The "early fusion" of Caballero et al., "Real-time video super-resolution with spatio-temporal networks and motion
    compensation", 2017, section 3.1, without their motion compensation: time costs one wider layer, all others work on one frame
    each. Nothing is computed at HR.

    Args:
        frames: LR frames that one HR frame is made of, its own in the middle; 1, 3, 5, ...
        width: channels inside.
        blocks: residual blocks.
        scale, channels: as in every network.

    Raises UserError for an even number of frames, and for a width or a number of blocks below 1.
    """

    kind = "movie"

    def __init__(self, *, frames: int = 5, width: int = 32, blocks: int = 6, scale: int, channels: int = 1) -> None:
        super().__init__()
        refuse_sizes(width=(width, 32), blocks=(blocks, 6))
        if frames < 1 or frames % 2 == 0:
            raise UserError(f"model.frames={frames}: must be odd, an HR frame stands in the middle; type model.frames=5")
        self.frames, self.context = frames, frames // 2
        self.geometry = Geometry((1, scale, scale), (self.context, 0, 0))
        self.reach = layers_reach(blocks)
        self.layers = Layers(frames * channels, width, blocks, channels, scale)

    def forward(self, lr: LRClips) -> HRClips:
        """(B, C, T, h, w) -> (B, C, T - frames + 1, H, W)."""
        windows = lr.unfold(2, self.frames, 1).permute(0, 2, 1, 5, 3, 4)  # (B, T', C, frames, h, w)
        hr = self.layers(windows.flatten(2, 3).flatten(0, 1))
        return hr.unflatten(0, windows.shape[:2]).transpose(1, 2)
