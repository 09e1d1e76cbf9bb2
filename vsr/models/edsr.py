"""EDSR: residual blocks without normalisation (Lim et al., "Enhanced deep residual networks for single image ...", 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vsr.geometry import Geometry
from vsr.models.base import Network
from vsr.models.blocks import he_normal_, refuse_sizes
from vsr.types import HRFrames, LRFrames

SMALL = 0.1  # what a layer that adds to something starts as, in units of He's


class EDSR(Network):
    """width@3x3, `blocks` residual blocks, width@3x3 and a skip over all of them; enlarged by pixel shuffles; C@3x3.

    The paper's baseline is 64 wide and 16 deep. Its subtraction of the data set's mean is left to the standardised residual.

    Args:
        width: channels inside.
        blocks: residual blocks.
        scale, channels: as in every network.

    Raises UserError for a width or a number of blocks below 1.
    """

    def __init__(self, *, width: int = 32, blocks: int = 8, scale: int, channels: int = 1) -> None:
        super().__init__()
        refuse_sizes(width=(width, 32), blocks=(blocks, 8))
        self.geometry = Geometry.frame(scale)
        self.reach = 1 + 2 * blocks + 1 + tail_reach(scale)
        self.head = nn.Conv2d(channels, width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.join = nn.Conv2d(width, width, 3, padding=1)
        self.enlarge = pixel_shuffle_upsampler(width, scale)
        self.out = nn.Conv2d(width, channels, 3, padding=1)
        start_small_(self)

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
    """Convolution and pixel shuffle; x4 is x2 twice, x1 nothing. (N, width, h, w) -> (N, width, H, W)."""
    layers: list[nn.Module] = []
    for step in {1: (), 4: (2, 2)}.get(scale, (scale,)):
        layers += [nn.Conv2d(width, width * step**2, 3, padding=1), nn.PixelShuffle(step)]
    return nn.Sequential(*layers)


def tail_reach(scale: int) -> int:
    """LR pixels that `pixel_shuffle_upsampler` and a 3x3 layer behind it look around.

    Of the last two layers at x4, one at 2x and one at 4x, both together reach into the neighbouring LR pixel and no further.
    """
    return 1 if scale == 1 else 2


@torch.no_grad()
def start_small_(network: nn.Module) -> None:
    """He et al. 2015, less by SMALL in the last layer of every residual block (`conv2`) and of the network.

    So the blocks start near the identity, however many there are, and the network near what is added to its output.
    """
    he_normal_(network)
    convolutions = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    *_, last = convolutions
    for name, layer in convolutions.items():
        if name.endswith("conv2") or name == last:
            layer.weight.mul_(SMALL)
