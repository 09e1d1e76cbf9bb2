"""SRCNN: three convolutions on the bicubic-enlarged frame (Dong et al., "Image super-resolution using deep ...", 2014/2016)."""

from __future__ import annotations

from torch import nn

from vsr.geometry import Geometry
from vsr.nets.base import Network
from vsr.nets.blocks import Activation, activation, he_normal_
from vsr.resize import CUBIC_REACH, bicubic_up
from vsr.types import HRFrames, LRFrames


class SRCNN(Network):
    """64 @ k1 x k1, 32 @ k2 x k2, C @ k3 x k3, 'same' with a replicated border as in the authors' code.

    Args:
        kernels: (k1, k2, k3), odd: 9-1-5 in the report and the first paper, 9-3-5 and 9-5-5 in the second.
        act: "prelu" is the report's, "relu" the authors'.
        slope: where the PReLU's slopes start; 0 in the report.
        output_act: an activation behind the last layer too, as the report says of "all layers"; the authors have none.
        scale, channels: as in every network.
    """

    def __init__(
        self,
        *,
        kernels: tuple[int, int, int] = (9, 1, 5),
        act: Activation = "prelu",
        slope: float = 0.25,
        output_act: bool = False,
        scale: int,
        channels: int = 1,
    ) -> None:
        super().__init__()
        k1, k2, k3 = kernels
        self.scale = scale
        self.geometry = Geometry.frame(scale)
        self.reach = -(-sum(k // 2 for k in kernels) // scale) + (CUBIC_REACH if scale > 1 else 0)
        self.body = nn.Sequential(
            _same(channels, 64, k1),  # patch extraction
            activation(act, 64, slope),
            _same(64, 32, k2),  # non-linear mapping
            activation(act, 32, slope),
            _same(32, channels, k3),  # reconstruction
            activation(act, channels, slope) if output_act else nn.Identity(),
        )
        he_normal_(self.body)

    def forward(self, lr: LRFrames) -> HRFrames:
        """(N, C, h, w) -> (N, C, H, W)."""
        return self.body(bicubic_up(lr, self.scale))


def _same(inputs: int, outputs: int, k: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, k, padding=k // 2, padding_mode="replicate")
