"""A frame network and a movie network in a row, in either order.

The configs two_stage, joint and movie_then_frame build this network; they differ in the order and in the networks that train.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vsr.errors import UserError
from vsr.models.base import Network, apply_network_to_clip
from vsr.types import HRClips, LRClips, TrainingFrames

PREPARE_PIECES = 4  # the first network runs over so many training movies at most, to measure its output


class Cascade(Network):
    """LR -> first network -> HR -> second network (at scale 1) -> HR.

    A frame network in front evaluates each frame of a clip once, although several windows of five frames contain it: the movie
    network takes the whole clip.

    Args:
        first: LR -> HR, of either kind.
        second: HR -> HR, of the other kind.
        trains: "second" fixes the first network (two-stage), "both" trains the two networks together (joint).
        interim: weight of the first network's own error in the loss, 0 or more; used when both networks train.
        scale: HR pixels per LR pixel and axis, of the first network.
        channels: of each frame.

    Raises:
        UserError: the two networks are of the same kind.
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
        self.reach = first.reach + -(-second.reach // first.geometry.scale[1])
        if trains == "second":
            first.requires_grad_(False)
        _zero_last_convolution(second)

    @property
    def error_unit(self) -> Tensor | float:
        """The error unit of the second network."""
        return self.second.error_unit

    def stages(self, lr: LRClips) -> tuple[HRClips, HRClips]:
        """Return the outputs of the first network and of the second network on (B, C, T, h, w)."""
        interim = apply_network_to_clip(self.first, self.kinds[0], lr)
        return interim, apply_network_to_clip(self.second, self.kinds[1], interim)

    def forward(self, lr: LRClips) -> HRClips:
        """(B, C, T, h, w) -> (B, C, T', H', W')."""
        return self.stages(lr)[1]

    @torch.no_grad()
    def prepare(self, frames: TrainingFrames) -> None:
        """Prepare the first network on LR frames, the second network on the first one's present output."""
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
        """Fold both networks."""
        return self.with_modules(first=self.first.fold(), second=self.second.fold())


class Repacked(Network):
    """The first network alone, on the frames and pixels that the second network keeps.

    The report's row "after data re-packing": the score from which the second network starts.

    Args:
        cascade: the two networks.
    """

    kind = "movie"

    def __init__(self, cascade: Cascade) -> None:
        super().__init__()
        self.first, self.geometry, self.context = cascade.first, cascade.geometry, cascade.context
        self.reach = cascade.first.reach
        self._second = cascade.second.geometry

    def forward(self, lr: LRClips) -> HRClips:
        """(B, C, T, h, w) -> (B, C, T', H', W')."""
        interim = apply_network_to_clip(self.first, self.first.kind, lr)
        t, y, x = self._second.margin
        height, width = interim.shape[-2:]
        if t:
            interim = interim.unfold(2, 2 * t + 1, 1)[..., t]  # (B, C, T', H, W): the middle of each window
        return interim[..., y : height - y, x : width - x]


@torch.no_grad()
def _zero_last_convolution(network: nn.Module) -> None:
    """Set the last convolution to zero, so that a residual network starts as the identity.

    The gradient of the last convolution is not zero: it changes in the first step, the layers before it from the second step on.
    """
    last = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d))][-1:]
    for convolution in last:
        convolution.weight.zero_()
        if convolution.bias is not None:
            convolution.bias.zero_()
