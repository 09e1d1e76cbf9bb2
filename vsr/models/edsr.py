"""EDSR: residual blocks without batch normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vsr.geometry import Geometry
from vsr.models.base import Network
from vsr.models.blocks import check_network_sizes, he_normal_
from vsr.types import HRFrames, LRFrames

SMALL = 0.1  # factor on the initial weights of a layer whose output is added to something


class EDSR(Network):
    """width@3x3, `blocks` residual blocks, width@3x3 and a skip over all of them, pixel shuffles, C@3x3.

    Source: Lim et al., "Enhanced deep residual networks for single image super-resolution", 2017, section 3. The paper's baseline
    has width 64 and 16 blocks. `StandardizedResidual` takes the place of the paper's subtraction of the data set's mean.

    Args:
        width: channels of the hidden layers, 1 or more.
        blocks: residual blocks, 1 or more.
        scale: HR pixels per LR pixel and axis: 2, 3 or 4; 1 behind another network.
        channels: of each frame.

    Raises:
        UserError: width or blocks is below 1.
    """

    def __init__(self, *, width: int = 32, blocks: int = 8, scale: int, channels: int = 1) -> None:
        super().__init__()
        check_network_sizes(width=(width, 32), blocks=(blocks, 8))
        self.geometry = Geometry.frame(scale)
        self.reach = 1 + 2 * blocks + 1 + _upsampler_reach(scale)
        self.head = nn.Conv2d(channels, width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.join = nn.Conv2d(width, width, 3, padding=1)
        self.enlarge = pixel_shuffle_upsampler(width, scale)
        self.out = nn.Conv2d(width, channels, 3, padding=1)
        _init_residual_(self)

    def forward(self, lr: LRFrames) -> HRFrames:
        """(N, C, h, w) -> (N, C, H, W)."""
        first = self.head(lr)
        return self.out(self.enlarge(first + self.join(self.body(first))))


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), 3x3 each, zeros beyond the border."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, h, w) -> the same."""
        return x + self.conv2(self.conv1(x).relu())


def pixel_shuffle_upsampler(width: int, scale: int) -> nn.Sequential:
    """Build convolutions and pixel shuffles, (N, width, h, w) -> (N, width, H, W): x2 twice for x4, nothing for x1."""
    layers: list[nn.Module] = []
    for step in {1: (), 4: (2, 2)}.get(scale, (scale,)):
        layers += [nn.Conv2d(width, width * step**2, 3, padding=1), nn.PixelShuffle(step)]
    return nn.Sequential(*layers)


def _upsampler_reach(scale: int) -> int:
    """Return the reach, in LR pixels, of `pixel_shuffle_upsampler` with a 3x3 layer behind it.

    At x4 the last two layers work at 2x and at 4x; together they reach into the neighbouring LR pixel and no further.
    """
    return 1 if scale == 1 else 2


@torch.no_grad()
def _init_residual_(network: nn.Module) -> None:
    """Initialise with `he_normal_`, then scale the last layer of every block (`conv2`) and of the network by SMALL.

    The blocks then start near the identity, whatever their number, and the output of the network starts near zero.
    """
    he_normal_(network)
    convolutions = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    *_, last = convolutions
    for name, layer in convolutions.items():
        if name.endswith("conv2") or name == last:
            layer.weight.mul_(SMALL)
