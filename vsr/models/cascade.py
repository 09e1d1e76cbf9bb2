"""Cascade of a frame network and a movie network, in either order.

The configs two_stage, joint and movie_then_frame build a cascade, with another order or other networks that train.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from vsr.errors import UserError
from vsr.models.base import Network, apply_network_to_clip
from vsr.types import HRClips, LRClips, TrainingFrames

PREPARE_PIECES = 4  # the first network runs over so many training movies at most, to measure its output


class Cascade(Network):
    """Two networks in a row: the first maps LR frames to HR frames, the second improves the HR frames at scale 1.

    A frame network as `first` evaluates each frame of a clip only once, also if several windows of the movie network contain
    the frame.

    Args:
        first: Network LR -> HR, of kind "frame" or "movie".
        second: Network HR -> HR at scale 1, of the other kind.
        trains: "both" trains the two networks together (joint); "second" keeps the first network fixed (two-stage).
        interim: Weight of the first network's own error in the loss, 0 or more; used when both networks train.
        scale: HR pixels per LR pixel along each axis, for the first network.
        channels: Number of channels of each frame.

    Raises:
        UserError: If the two networks are of the same kind.
    """

    kind = "movie"

    def __init__(
        self,
        *,
        first: Network,
        second: Network,
        trains: Literal["second", "both"] = "both",
        interim: float = 0.0,
        scale: int,
        channels: int = 1,
    ) -> None:
        super().__init__()
        if first.kind == second.kind:
            raise UserError(f"model.first and model.second are both {first.kind} networks; combine one of each kind")
        self.scale, self.channels = scale, channels
        self.first, self.second, self.trains, self.interim = first, second, trains, interim
        self.kinds = first.kind, second.kind
        self.geometry = first.geometry.then(second.geometry)
        self.context = first.context + second.context
        self.whole_frames = first.whole_frames or second.whole_frames
        self.reach = first.reach + -(-second.reach // first.geometry.scale[1])
        if trains == "second":
            first.requires_grad_(False)
        _zero_last_convolution(second)

    @property
    def error_unit(self) -> Tensor | float:
        """Return the `error_unit` of the second network, whose output the loss compares with the true frames."""
        return self.second.error_unit

    def stages(self, lr: LRClips) -> tuple[HRClips, HRClips]:
        """Return the HR clips of the first network and of the second network for LR clips (B, C, T, h, w)."""
        interim = apply_network_to_clip(self.first, self.kinds[0], lr)
        return interim, apply_network_to_clip(self.second, self.kinds[1], interim)

    def forward(self, lr: LRClips) -> HRClips:
        """Return the HR clips (B, C, T', H', W') of LR clips (B, C, T, h, w)."""
        return self.stages(lr)[1]

    @torch.no_grad()
    def prepare(self, frames: TrainingFrames) -> None:
        """Prepare the first network, then the second network on the first one's current output; see `Network.prepare`."""
        self.first.prepare(frames)
        _, y, x = self.first.geometry.margin
        t = self.first.context
        seen = []
        for lr, hr, mask in frames[:: max(1, -(-len(frames) // PREPARE_PIECES))]:
            clip = torch.cat([lr[:1]] * t + [lr] + [lr[-1:]] * t).transpose(0, 1).unsqueeze(0)
            interim = apply_network_to_clip(self.first, self.kinds[0], clip)[0].transpose(0, 1)
            more = (len(interim) - len(lr)) // 2
            inner = (..., slice(y, hr.shape[-2] - y), slice(x, hr.shape[-1] - x))
            seen.append((interim[more : more + len(lr)], hr[inner], None if mask is None else mask[inner]))
        self.second.prepare(seen)

    def fold(self) -> nn.Module:
        """Return a copy of the cascade in which both networks are folded; see `Network.fold`."""
        return self.with_modules(first=self.first.fold(), second=self.second.fold())

    def replace_layers(self, replace: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Return a copy of the cascade with the layers of both networks replaced; see `Network.replace_layers`."""
        return self.with_modules(first=self.first.replace_layers(replace), second=self.second.replace_layers(replace))


class Repacked(Network):
    """First network of a cascade alone; its output is cropped to the frames and pixels that the second network gives.

    This network gives the report's row "after data re-packing": the score from which the second network starts.

    Args:
        cascade: The cascade of both networks.
    """

    kind = "movie"

    def __init__(self, cascade: Cascade) -> None:
        super().__init__()
        self.first, self.geometry, self.context = cascade.first, cascade.geometry, cascade.context
        self.reach = cascade.first.reach
        self._second = cascade.second.geometry

    def forward(self, lr: LRClips) -> HRClips:
        """Return the HR clips (B, C, T', H', W') of LR clips (B, C, T, h, w)."""
        interim = apply_network_to_clip(self.first, self.first.kind, lr)
        t, y, x = self._second.margin
        height, width = interim.shape[-2:]
        if t:
            interim = interim.unfold(2, 2 * t + 1, 1)[..., t]  # (B, C, T', H, W): the middle of each window
        return interim[..., y : height - y, x : width - x]


@torch.no_grad()
def _zero_last_convolution(network: nn.Module) -> None:
    """Set the last convolution of a network to zero, so that a residual network starts as the identity.

    The last convolution has a gradient and changes in the first step. The preceding layers change from the second step on.
    """
    last = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d))][-1:]
    for convolution in last:
        convolution.weight.zero_()
        if convolution.bias is not None:
            convolution.bias.zero_()
