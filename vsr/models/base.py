"""The interface of all networks, and functions that work on any of them."""

from __future__ import annotations

import copy
from typing import Literal, Self

from einops import rearrange
from torch import Tensor, nn

from vsr.geometry import Geometry
from vsr.types import TrainingFrames


class Network(nn.Module):
    """Base class: maps LR frames or clips to HR, both in the unit interval.

    Constructor arguments are keyword-only. Every constructor takes `scale` (HR pixels per LR pixel and axis: 2, 3 or 4; 1 behind
    another network) and `channels` (of each frame).

    Attributes:
        kind: "frame" for (N, C, h, w) -> (N, C, H, W), "movie" for (B, C, T, h, w) -> (B, C, T', H, W).
        geometry: the relation of output sizes to input sizes.
        reach: an output pixel depends on at most so many LR pixels on each side of its own. A test measures it.
        context: an output frame depends on at most so many LR frames before and after its own; not below the geometry's margin.
        residual: whether `forward` adds the upscaled input to the output of the layers. Wrappers that add it set False.
    """

    kind: Literal["frame", "movie"] = "frame"
    geometry: Geometry
    reach: int
    context: int = 0
    residual: bool = False

    @property
    def error_unit(self) -> Tensor | float:
        """The error in the unit interval that counts as 1 in the loss."""
        return 1.0

    def prepare(self, frames: TrainingFrames) -> None:
        """Compute statistics and closed-form filters from whole training frames. Networks without them do nothing."""

    def fold(self) -> nn.Module:
        """Return an equal network that is faster to evaluate, or the network itself."""
        return self

    def with_modules(self, **modules: nn.Module) -> Self:
        """Return a copy with these submodules replaced; the copy shares everything else."""
        other = copy.copy(self)
        other._modules = {**self._modules, **modules}
        return other


class RepeatedFrame(Network):
    """Evaluate a movie network on repeated single frames, which shows how much it gains from neighbouring frames.

    Args:
        network: a network of kind "movie".
    """

    kind = "movie"

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.geometry, self.reach, self.context = network.geometry, network.reach, network.context

    def forward(self, lr: Tensor) -> Tensor:
        """Map (B, C, T, h, w) to (B, C, T', H, W), where T', H and W are the output sizes of the wrapped network."""
        margin = self.geometry.margin[0]
        frames = lr[:, :, margin : lr.shape[2] - margin]
        clips = rearrange(frames, "b c t h w -> (b t) c 1 h w").expand(-1, -1, 2 * margin + 1, -1, -1)
        return rearrange(self.network(clips), "(b t) c 1 h w -> b c t h w", b=len(lr))


def apply_network_to_clip(network: nn.Module, kind: Literal["frame", "movie"], clip: Tensor) -> Tensor:
    """Apply a network of either kind to a clip. A frame network sees the frames of all clips as one batch.

    Args:
        network: takes frames or clips, according to `kind`.
        kind: "frame" or "movie".
        clip: (B, C, T, h, w).

    Returns:
        (B, C, T', H, W); T' = T for a frame network.
    """
    if kind == "movie":
        return network(clip)
    frames = network(clip.transpose(1, 2).flatten(0, 1))  # (B T, C, H, W)
    return frames.unflatten(0, (clip.shape[0], clip.shape[2])).transpose(1, 2)


def count_parameters(network: nn.Module) -> int:
    """Count the numbers that the network learned or that were fitted to data."""
    return sum(p.numel() for p in network.parameters())
