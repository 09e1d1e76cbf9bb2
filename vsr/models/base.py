"""Base class of all networks, and functions that work on every network."""

from __future__ import annotations

import copy
from typing import Literal, Self

from einops import rearrange
from torch import Tensor, nn

from vsr.geometry import Geometry
from vsr.types import TrainingFrames


class Network(nn.Module):
    """Base class of networks that map LR frames or clips to HR frames or clips, all in the unit interval.

    Constructor arguments are keyword-only. Every constructor takes `scale` (HR pixels per LR pixel along each axis: 2, 3 or 4,
    or 1 for the second network of a `Cascade`) and `channels` (number of channels of each frame).

    Attributes:
        kind: "frame" for a network (N, C, h, w) -> (N, C, H, W), "movie" for a network (B, C, T, h, w) -> (B, C, T', H, W).
        geometry: Relation of output sizes to input sizes.
        reach: Largest distance, in LR pixels along an axis, at which an input pixel still changes an output pixel. A test
            measures it.
        context: Largest distance in frames at which an LR frame still changes an output frame; at least `geometry.margin[0]`.
        residual: True if `forward` adds the upscaled input to the output of the layers. A wrapper that adds the input itself
            sets this to False in the network that it wraps.
    """

    kind: Literal["frame", "movie"] = "frame"
    geometry: Geometry
    reach: int
    context: int = 0
    residual: bool = False

    @property
    def error_unit(self) -> Tensor | float:
        """Return the unit of errors in the loss: SR and HR frames in the unit interval are divided by this number there."""
        return 1.0

    def prepare(self, frames: TrainingFrames) -> None:
        """Fit statistics and closed-form filters to whole training frames; a network that has neither does nothing."""

    def fold(self) -> nn.Module:
        """Return a module that computes the same function in less time, or the network itself."""
        return self

    def with_modules(self, **modules: nn.Module) -> Self:
        """Return a copy of the network with the given submodules replaced; the copy shares all other submodules."""
        other = copy.copy(self)
        other._modules = {**self._modules, **modules}
        return other


class RepeatedFrame(Network):
    """Movie network that gets copies of a frame in place of its neighbours, which shows what the neighbours contribute.

    Args:
        network: A network of kind "movie".
    """

    kind = "movie"

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.geometry, self.reach, self.context = network.geometry, network.reach, network.context

    def forward(self, lr: Tensor) -> Tensor:
        """Map an LR clip (B, C, T, h, w) to an HR clip (B, C, T', H, W), of the size that the wrapped network gives."""
        margin = self.geometry.margin[0]
        frames = lr[:, :, margin : lr.shape[2] - margin]
        clips = rearrange(frames, "b c t h w -> (b t) c 1 h w").expand(-1, -1, 2 * margin + 1, -1, -1)
        return rearrange(self.network(clips), "(b t) c 1 h w -> b c t h w", b=len(lr))


def apply_network_to_clip(network: nn.Module, kind: Literal["frame", "movie"], clip: Tensor) -> Tensor:
    """Apply a network to a batch of clips; a frame network gets the frames of all clips as one batch.

    Args:
        network: A network for frames or for clips, according to `kind`.
        kind: "frame" or "movie".
        clip: Clips (B, C, T, h, w).

    Returns:
        Clips (B, C, T', H, W); T' = T for a frame network.
    """
    if kind == "movie":
        return network(clip)
    frames = network(clip.transpose(1, 2).flatten(0, 1))  # (B T, C, H, W)
    return frames.unflatten(0, (clip.shape[0], clip.shape[2])).transpose(1, 2)
