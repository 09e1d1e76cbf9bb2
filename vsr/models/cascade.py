"""Two networks in a row: frames then movie (the report's combination), or movie then frames (its untried one).

Two-stage and joint are this one network under two regimes: what is loaded, and what is trained.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vsr.errors import UserError
from vsr.models.base import Network, on_clip
from vsr.types import HRClips, LRClips, TrainingFrames

PREPARE_PIECES = 4  # of the training frames, when the first network must run over them


class Cascade(Network):
    """LR -> first network -> HR -> second network (at scale 1) -> HR.

    A frame network in front sees each frame of a clip once, however many windows of five it becomes part of: the movie network
    takes the whole clip.

    Args:
        first: LR -> HR, of either kind.
        second: HR -> HR, of the other kind.
        trains: "second" keeps the first network as it is (two-stage), "both" trains them together (joint).
        interim: weight of the first network's own error in the loss, when both are trained.
        scale, channels: as in every network; those of the two networks follow from them.

    Raises UserError for two networks of one kind.
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
        zero_last_convolution(second)

    @property
    def error_unit(self) -> Tensor | float:
        """That of the second network: what the first one leaves."""
        return self.second.error_unit

    def stages(self, lr: LRClips) -> tuple[HRClips, HRClips]:
        """(B, C, T, h, w) -> the first network's output, then the second's."""
        interim = on_clip(self.first, self.kinds[0], lr)
        return interim, on_clip(self.second, self.kinds[1], interim)

    def forward(self, lr: LRClips) -> HRClips:
        """(B, C, T, h, w) -> (B, C, T', H', W')."""
        return self.stages(lr)[1]

    @torch.no_grad()
    def prepare(self, frames: TrainingFrames) -> None:
        """The first network on LR, the second on what the first makes of it now."""
        self.first.prepare(frames)
        _, y, x = self.first.geometry.margin
        t = self.first.context
        seen = []
        for lr, hr, mask in frames[:: max(1, -(-len(frames) // PREPARE_PIECES))]:
            clip = torch.cat([lr[:1]] * t + [lr] + [lr[-1:]] * t).transpose(0, 1).unsqueeze(0)
            interim = on_clip(self.first, self.kinds[0], clip)[0].transpose(0, 1)
            more = (len(interim) - len(lr)) // 2
            inner = (..., slice(y, hr.shape[-2] - y), slice(x, hr.shape[-1] - x))
            seen.append((interim[more : more + len(lr)], hr[inner], None if mask is None else mask[inner]))
        self.second.prepare(seen)

    def fold(self) -> nn.Module:
        """The same with both networks folded."""
        return self.with_modules(first=self.first.fold(), second=self.second.fold())


class Repacked(Network):
    """The first network's frames as the second one receives them: packed into windows, of which the middle frame is shown.

    The report's row "after data re-packing": it says what the second network starts from, on the frames and pixels that it keeps.
    """

    kind = "movie"

    def __init__(self, combined: Cascade) -> None:
        super().__init__()
        self.first, self.geometry, self.context = combined.first, combined.geometry, combined.context
        self.reach = combined.first.reach
        self._second = combined.second.geometry

    def forward(self, lr: LRClips) -> HRClips:
        """(B, C, T, h, w) -> (B, C, T', H', W')."""
        interim = on_clip(self.first, self.first.kind, lr)
        t, y, x = self._second.margin
        height, width = interim.shape[-2:]
        if t:
            interim = interim.unfold(2, 2 * t + 1, 1)[..., t]  # (B, C, T', H, W): the middle of each window
        return interim[..., y : height - y, x : width - x]


@torch.no_grad()
def zero_last_convolution(network: nn.Module) -> None:
    """Let a residual network start as the identity: its last convolution gives zero.

    Its gradient is not zero, so that it leaves this point in the first step and the layers before it follow in the next.
    """
    last = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d))][-1:]
    for convolution in last:
        convolution.weight.zero_()
        if convolution.bias is not None:
            convolution.bias.zero_()
