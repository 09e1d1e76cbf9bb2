"""The 2D pipeline: every frame on its own."""

from __future__ import annotations

from einops import rearrange
from torch import nn

from vsr.modules.sr import SRModule
from vsr.types import HRClips, LRClips


class FrameSR(SRModule):
    """Super-resolution frame by frame, by a network of kind "frame"."""

    kind = "frame"

    def super_resolve(self, network: nn.Module, lr: LRClips) -> HRClips:
        """(B, C, T, h, w) -> (B, C, T, H, W): time goes into the batch and comes back."""
        frames = rearrange(lr, "b c t h w -> (b t) c h w")
        return rearrange(network(frames), "(b t) c h w -> b c t h w", t=lr.shape[2])
