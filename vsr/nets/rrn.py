"""RRN: a recurrent network (Isobe et al., "Revisiting temporal modeling for video super-resolution", 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.errors import UserError
from vsr.geometry import Geometry
from vsr.nets.base import Network
from vsr.nets.edsr import ResidualBlock, refuse_no_layers, start_small_
from vsr.nets.recurrent import in_turn
from vsr.types import HRClips, LRClips


class RRN(Network):
    """From a frame, the one before, a hidden state and the detail put out last: the next state and the detail of this frame.

    All at LR, detail as the scale^2 pixels of each block. The paper feeds the whole output back; here it is what the network
    itself puts out, without what is added to it. A frame sees no later ones, and `warmup` + 1 earlier ones: the recursion begins
    anew for each frame of a long clip, which costs warmup + 1 times as much as one that never ends and can be cut anywhere.

    Args:
        width: channels of the hidden state and inside; 128 in the paper.
        blocks: residual blocks; 5 and 10 in the paper.
        warmup: frames that the recursion has seen before the one that it gives. Clips of up to warmup + 1 frames train fastest.
        scale, channels: as in every network.

    Raises UserError for a width or a number of blocks below 1 and for a negative warmup.
    """

    kind = "movie"

    def __init__(self, *, width: int = 64, blocks: int = 5, warmup: int = 4, scale: int, channels: int = 1) -> None:
        super().__init__()
        refuse_no_layers(width, blocks)
        if warmup < 0:
            raise UserError(f"model.warmup={warmup}: must be 0 or more; type model.warmup=4")
        self.scale, self.width, self.warmup = scale, width, warmup
        self.phases = channels * scale**2
        self.geometry = Geometry.frame(scale)
        self.context = warmup + 1
        self.reach = (warmup + 1) * (1 + 2 * blocks + 1)
        self.head = nn.Conv2d(2 * channels + width + self.phases, width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.hidden = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Conv2d(width, self.phases, 3, padding=1)
        start_small_(self)

    def forward(self, lr: LRClips) -> HRClips:
        """(B, C, T, h, w) -> (B, C, T, H, W)."""
        before = torch.cat([lr[:, :, :1], lr[:, :, :-1]], dim=2)
        states = in_turn(self._step, torch.cat([before, lr], dim=1), self.width + self.phases, self.warmup)
        phases = states[:, self.width :].transpose(1, 2)  # (B, T, C s s, h, w)
        return F.pixel_shuffle(phases, self.scale).transpose(1, 2)

    def _step(self, frames: Tensor, state: Tensor) -> Tensor:
        """Two frames (N, 2 C, h, w), hidden state and detail (N, width + C s s, h, w) -> hidden state and detail."""
        features = self.body(self.head(torch.cat([frames, state], dim=1)).relu())
        return torch.cat([self.hidden(features).relu(), self.out(features)], dim=1)
