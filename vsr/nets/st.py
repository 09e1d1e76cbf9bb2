"""Clip to clip: EDSR with layers along time between those in space, "(2+1)D" (Tran et al., "A closer look at ...", 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from vsr.errors import UserError
from vsr.geometry import Geometry
from vsr.nets.base import Network
from vsr.nets.edsr import enlarging, refuse_no_layers, start_small_, tail_reach
from vsr.types import HRClips, LRClips


class ST(Network):
    """EDSR on every frame of a clip, where every so many blocks look at the frames before and after; all frames come out.

    The layers along time start as the identity, and those in space have EDSR's names: with the weights of a trained EDSR of the
    same width and number of blocks (init=checkpoint init.inflate=centre init.mismatch=fresh) it starts as that network.

    Args:
        width: channels inside.
        blocks: residual blocks.
        every: one block of so many has a layer along time, the last one of them; 1 for all blocks.
        scale, channels: as in every network.

    Raises UserError for a width or a number of blocks below 1, and when no block looks along time.
    """

    kind = "movie"

    def __init__(self, *, width: int = 32, blocks: int = 8, every: int = 2, scale: int, channels: int = 1) -> None:
        super().__init__()
        refuse_no_layers(width, blocks)
        if not 1 <= every <= blocks:
            raise UserError(
                f"model.every={every}: no block of {blocks} would look along time; type model.every=1 or up to {blocks}"
            )
        self.geometry = Geometry.frame(scale)
        self.context = blocks // every
        self.reach = 1 + 2 * blocks + 1 + tail_reach(scale)
        self.head = in_space(channels, width)
        self.body = nn.Sequential(*(Block(width, time=i % every == every - 1) for i in range(blocks)))
        self.join = in_space(width, width)
        self.enlarge = enlarging(width, scale)
        self.out = nn.Conv2d(width, channels, 3, padding=1)
        start_small_(self)
        for block in self.body:
            if isinstance(block.time, nn.Conv3d):
                nn.init.dirac_(block.time.weight)

    def forward(self, lr: LRClips) -> HRClips:
        """(B, C, T, h, w) -> (B, C, T, H, W)."""
        first = self.head(lr)
        features = first + self.join(self.body(first))
        frames = features.transpose(1, 2).flatten(0, 1)  # (B T, width, h, w)
        return self.out(self.enlarge(frames)).unflatten(0, (lr.shape[0], lr.shape[2])).transpose(1, 2)


class Block(nn.Module):
    """x + space(relu(time(relu(space(x))))), or without the layer along time."""

    def __init__(self, width: int, *, time: bool) -> None:
        super().__init__()
        self.conv1 = in_space(width, width)
        # What comes before the first frame and after the last one is a copy of it: zeros would be news at both ends.
        along = nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0), padding_mode="replicate")
        self.time = along if time else nn.Identity()
        self.conv2 = in_space(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, T, h, w) -> the same."""
        return x + self.conv2(self.time(self.conv1(x).relu()).relu())


def in_space(inputs: int, outputs: int) -> nn.Conv3d:
    """3x3 in every frame, zeros beyond the border."""
    return nn.Conv3d(inputs, outputs, (1, 3, 3), padding=(0, 1, 1))
