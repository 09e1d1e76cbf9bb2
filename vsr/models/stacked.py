"""Stacked: a frame network whose input channels are neighbouring frames (early fusion)."""

from __future__ import annotations

from torch import nn

from vsr.errors import UserError
from vsr.geometry import Geometry
from vsr.models.base import Network
from vsr.models.blocks import check_block_sizes
from vsr.models.resnet import ResNetLayers, resnet_reach
from vsr.types import HRClips, LRClips


class StackedFrames(Network):
    """Base class of movie networks whose layers take `frames` neighbouring LR frames as channels.

    A subclass sets `reach` and `layers`, a module that maps the stacked LR frames (N, inputs * frames, h, w) to the HR frames (N,
    C, H, W) of the middle ones.

    Source: "early fusion" in VESPCN, Caballero et al., "Real-time video super-resolution with spatio-temporal networks and
    motion compensation", 2017, section 3.1, without motion compensation.

    Args:
        frames: Number of LR frames per HR frame, odd; the middle LR frame belongs to the HR frame.
        scale: HR pixels per LR pixel along each axis, or 1 for the second network of a `Cascade`.

    Raises:
        UserError: If the number of frames is even or below 1.
    """

    kind = "movie"
    layers: nn.Module

    def __init__(self, frames: int, scale: int) -> None:
        super().__init__()
        if frames < 1 or frames % 2 == 0:
            raise UserError(f"model.frames={frames}: must be odd, an HR frame stands in the middle; type model.frames=5")
        self.frames, self.context = frames, frames // 2
        self.geometry = Geometry((1, scale, scale), (self.context, 0, 0))

    def forward(self, lr: LRClips) -> HRClips:
        """Return the HR clips (B, C, T - frames + 1, H, W) of LR clips (B, C, T, h, w)."""
        windows = lr.unfold(2, self.frames, 1).permute(0, 2, 1, 5, 3, 4)  # (B, T', C, frames, h, w)
        hr = self.layers(windows.flatten(2, 3).flatten(0, 1))
        return hr.unflatten(0, windows.shape[:2]).transpose(1, 2)


class Stacked(StackedFrames):
    """Movie network with the layers of `ResNet` on stacked frames. Only the first layer is wider than in the frame network.

    Args:
        frames: Number of LR frames per HR frame, odd; the middle LR frame belongs to the HR frame.
        width: Number of channels of the hidden layers, 1 or more.
        blocks: Number of residual blocks, 1 or more.
        scale: HR pixels per LR pixel along each axis, or 1 for the second network of a `Cascade`.
        channels: Number of channels of each frame.
        inputs: Number of channels of each LR frame; None for `channels`.

    Raises:
        UserError: If the number of frames is even or below 1, or width or blocks is below 1.
    """

    def __init__(
        self, *, frames: int = 5, width: int = 32, blocks: int = 6, scale: int, channels: int = 1, inputs: int | None = None
    ) -> None:
        super().__init__(frames, scale)
        check_block_sizes(width=(width, 32), blocks=(blocks, 6))
        self.reach = resnet_reach(blocks)
        self.layers = ResNetLayers(frames * (inputs or channels), width, blocks, channels, scale)
