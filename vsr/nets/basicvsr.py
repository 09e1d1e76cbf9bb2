"""BasicVSR, light: recursions both ways, aligned by a flow or not (Chan et al., "BasicVSR: the search for ...", 2021)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.errors import UserError
from vsr.geometry import Geometry
from vsr.nets.base import Network
from vsr.nets.edsr import ResidualBlock, enlarging, refuse_no_layers, start_small_, tail_reach
from vsr.nets.recurrent import in_turn
from vsr.types import HRClips, LRClips

DILATIONS = 4, 2, 1  # of the flow's levels, coarse to fine
ROUNDING = 1  # pixel more that a warped one may depend on, if by little: its place may be rounded to just before a pixel


class BasicVSR(Network):
    """Features carried forwards and backwards through the clip, fused for every frame, enlarged by pixel shuffles.

    Each direction has a memory of `warmup` frames, so that the clip may be a piece of a longer movie (`recurrent.in_turn`).

    Args:
        width: channels inside, 64 in the paper.
        blocks: residual blocks per direction; 30 in the paper.
        warmup: frames before and after its own that a frame sees.
        flow: what features are moved along from frame to frame: "none", or "learned" from the frames, with the rest.
        max_flow: no pixel moves further between two frames, in LR pixels: it makes tiles overlap by as much for every frame.
        scale, channels: as in every network.

    Raises UserError for a width, a number of blocks or a max_flow below 1 and for a negative warmup.
    """

    kind = "movie"

    def __init__(
        self,
        *,
        width: int = 32,
        blocks: int = 3,
        warmup: int = 3,
        flow: Literal["none", "learned"] = "none",
        max_flow: int = 4,
        scale: int,
        channels: int = 1,
    ) -> None:
        super().__init__()
        refuse_no_layers(width, blocks)
        for name, value, least in (("warmup", warmup, 0), ("max_flow", max_flow, 1)):
            if value < least:
                raise UserError(f"model.{name}={value}: must be {least} or more; type model.{name}=4")
        self.width, self.warmup, self.channels = width, warmup, channels
        self.geometry = Geometry.frame(scale)
        self.context = warmup
        step = 1 + 2 * blocks
        self.flow = Flow(channels, max_flow) if flow == "learned" else None
        # The way back to the earliest frame: through every step's layers, and moved between them; or by way of a flow.
        moved, seen = (max_flow + ROUNDING, self.flow.reach) if self.flow else (0, 0)
        earlier = (warmup - 1) * (step + moved) + max(step + moved, seen) if warmup else 0
        self.reach = step + earlier + tail_reach(scale)
        self.forwards = Direction(channels, width, blocks)
        self.backwards = Direction(channels, width, blocks)
        self.fuse = nn.Conv2d(2 * width, width, 1)
        self.enlarge = enlarging(width, scale)
        self.out = nn.Conv2d(width, channels, 3, padding=1)
        start_small_(self)
        if self.flow:
            self.flow.start_still_()

    def forward(self, lr: LRClips) -> HRClips:
        """(B, C, T, h, w) -> (B, C, T, H, W)."""
        carried = [self._carried(self.forwards, lr), self._carried(self.backwards, lr.flip(2)).flip(2)]
        frames = torch.cat(carried, dim=1).transpose(1, 2).flatten(0, 1)  # (B T, 2 width, h, w)
        features = F.leaky_relu(self.fuse(frames), 0.1)
        return self.out(self.enlarge(features)).unflatten(0, (lr.shape[0], lr.shape[2])).transpose(1, 2)

    def _carried(self, direction: Direction, clip: Tensor) -> Tensor:
        """(B, C, T, h, w) -> (B, width, T, h, w), from the first frame on."""
        if self.flow:
            before = torch.cat([clip[:, :, :1], clip[:, :, :-1]], dim=2)
            now, then = (x.transpose(1, 2).flatten(0, 1) for x in (clip, before))
            flow = self.flow(now, then).unflatten(0, (clip.shape[0], clip.shape[2])).transpose(1, 2)  # (B, 2, T, h, w)
            clip = torch.cat([clip, flow], dim=1)
        return in_turn(direction, clip, self.width, self.warmup)


class Direction(nn.Module):
    """One step of a recursion: a frame, with the flow behind it or not, and the features of the frame before."""

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.channels = channels
        self.head = nn.Conv2d(channels + width, width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))

    def forward(self, frame: Tensor, state: Tensor) -> Tensor:
        """(N, C, h, w) or (N, C + 2, h, w), (N, width, h, w) -> (N, width, h, w)."""
        frame, flow = frame[:, : self.channels], frame[:, self.channels :]
        if flow.shape[1]:
            state = warp(state, flow)
        return self.body(F.leaky_relu(self.head(torch.cat([frame, state], dim=1)), 0.1))


class Flow(nn.Module):
    """Where each pixel was one frame before: coarse to fine, each level corrects what the one before found.

    After SPyNet (Ranjan and Black 2017), whose levels see smaller and smaller frames. Here they see smoothed frames through
    dilated layers: a tile that begins at an odd pixel must be given the same flow.

    Args:
        channels: of the frames. limit: the largest shift, in pixels.
    """

    def __init__(self, channels: int, limit: int, width: int = 16) -> None:
        super().__init__()
        self.limit = limit
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(2 * channels + 2, width, 3, padding=d, dilation=d),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=d, dilation=d),
                nn.ReLU(),
                nn.Conv2d(width, 2, 3, padding=d, dilation=d),
            )
            for d in DILATIONS
        )
        self.reach = 0
        for d in DILATIONS:
            self.reach = 3 * d + max(self.reach, d - 1 + limit + ROUNDING)

    def forward(self, now: Tensor, then: Tensor) -> Tensor:
        """Two frames (N, C, h, w) -> (N, 2, h, w): x and y of the shift from a pixel now to its place then."""
        flow = torch.zeros_like(now[:, :1]).repeat(1, 2, 1, 1)
        for level, d in zip(self.levels, DILATIONS, strict=True):
            a, b = (F.avg_pool2d(x, 2 * d - 1, 1, d - 1, count_include_pad=False) for x in (now, then))
            flow = flow + level(torch.cat([a, warp(b, flow), flow], dim=1))
            flow = self.limit * torch.tanh(flow / self.limit)
        return flow

    @torch.no_grad()
    def start_still_(self) -> None:
        """No motion at first: every level's last layer gives zero, and has a gradient."""
        for level in self.levels:
            level[-1].weight.zero_()  # type: ignore[index]


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """x (N, C, h, w) at pixels moved by `flow` (N, 2, h, w: x, y), between pixels linearly, beyond the border the border's."""
    height, width = x.shape[-2:]
    exact = torch.promote_types(x.dtype, torch.float32)  # half precision cannot tell pixel 400 from 401.5
    rows, columns = (torch.arange(n, dtype=exact, device=x.device) for n in (height, width))
    # In units in which the frame goes from -1 to 1, from the outer edge of its first pixel to that of its last one.
    across = (2 * (columns + flow[:, 0]) + 1) / width - 1
    down = (2 * (rows[:, None] + flow[:, 1]) + 1) / height - 1
    moved = F.grid_sample(x.to(exact), torch.stack([across, down], dim=-1), padding_mode="border", align_corners=False)
    return moved.to(x.dtype)
