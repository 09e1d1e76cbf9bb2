"""What every network promises, so that the modules can treat them alike."""

from __future__ import annotations

import copy
from typing import Literal, Self

from einops import rearrange
from torch import Tensor, nn

from vsr.geometry import Geometry
from vsr.types import TrainingFrames


class Network(nn.Module):
    """LR -> HR in the unit interval; upsampling is inside.

    `kind` "frame": (N, C, h, w) -> (N, C, H, W); "movie": (B, C, T, h, w) -> (B, C, T', H, W). `geometry` says how the sizes
    are related. Constructor arguments are keyword-only, `scale` (2, 3 or 4; 1 behind another network) and `channels` among them.

    Attributes:
        reach: LR pixels around its own that an output pixel may depend on, per side; a test measures it.
        context: LR frames before and after that an output frame may depend on, at least the geometry's margin in time.
        residual: whether `forward` adds what the layers give to the enlarged input; who adds it himself switches this off.
    """

    kind: Literal["frame", "movie"] = "frame"
    geometry: Geometry
    reach: int
    context: int = 0
    residual: bool = False

    @property
    def error_unit(self) -> Tensor | float:
        """The error, in the unit interval, that counts as one in the loss."""
        return 1.0

    def prepare(self, frames: TrainingFrames) -> None:
        """Set what is computed rather than trained (statistics, closed-form filters) from whole training frames."""

    def fold(self) -> nn.Module:
        """The same function in the form that is fastest to evaluate; itself where there is none faster."""
        return self

    def with_modules(self, **modules: nn.Module) -> Self:
        """A copy with other submodules, everything else shared."""
        other = copy.copy(self)
        other._modules = {**self._modules, **modules}
        return other


class RepeatedFrame(Network):
    """A movie network without neighbouring frames: each frame is repeated in the place of its neighbours.

    Args:
        network: a network of kind "movie".
    """

    kind = "movie"

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.geometry, self.reach, self.context = network.geometry, network.reach, network.context

    def forward(self, lr: Tensor) -> Tensor:
        """(B, C, T, h, w) -> (B, C, T', H, W), as the network itself."""
        margin = self.geometry.margin[0]
        frames = lr[:, :, margin : lr.shape[2] - margin]
        clips = rearrange(frames, "b c t h w -> (b t) c 1 h w").expand(-1, -1, 2 * margin + 1, -1, -1)
        return rearrange(self.network(clips), "(b t) c 1 h w -> b c t h w", b=len(lr))


def on_clip(network: nn.Module, kind: Literal["frame", "movie"], clip: Tensor) -> Tensor:
    """A network of either kind on (B, C, T, h, w): for a frame network time goes into the batch and comes back."""
    if kind == "movie":
        return network(clip)
    frames = network(clip.transpose(1, 2).flatten(0, 1))  # (B T, C, H, W)
    return frames.unflatten(0, (clip.shape[0], clip.shape[2])).transpose(1, 2)


def parameter_count(network: nn.Module) -> int:
    """How many numbers the network learned or was fitted to."""
    return sum(p.numel() for p in network.parameters())
