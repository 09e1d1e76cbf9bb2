"""ResNet: a network of residual blocks with a smooth activation, all at LR."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vsr.geometry import Geometry
from vsr.models.base import Network
from vsr.models.blocks import check_block_sizes, init_block_he_normal_
from vsr.models.edsr import SMALL
from vsr.types import HRFrames, LRFrames


class ResNet(Network):
    """Network of residual blocks with SiLU activations at LR, then one convolution and a pixel shuffle.

    Layers (channels@kernel): width@3x3, residual blocks, width@3x3 and a skip connection over all blocks, C scale^2@3x3, pixel
    shuffle. The network follows EDSR (Lim et al. 2017, section 3) and needs half of its work. SiLU replaces ReLU; it suits
    fields that are smooth between fronts (Elfwing et al., "Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning", 2018). The last layer is at LR as in ESPCN (Shi et al. 2016, section 3).

    Args:
        width: Number of channels of the hidden layers, 1 or more.
        blocks: Number of residual blocks, 1 or more.
        scale: HR pixels per LR pixel along each axis, or 1 for the second network of a `Cascade`.
        channels: Number of channels of each frame.
        inputs: Number of channels of each LR frame; None for `channels`.

    Raises:
        UserError: If width or blocks is below 1.
    """

    def __init__(self, *, width: int = 32, blocks: int = 6, scale: int, channels: int = 1, inputs: int | None = None) -> None:
        super().__init__()
        check_block_sizes(width=(width, 32), blocks=(blocks, 6))
        self.geometry = Geometry.frame(scale)
        self.reach = resnet_reach(blocks)
        self.layers = ResNetLayers(inputs or channels, width, blocks, channels, scale)

    def forward(self, lr: LRFrames) -> HRFrames:
        """Return the HR frames (N, C, H, W) of LR frames (N, C, h, w)."""
        return self.layers(lr)


class ResNetLayers(nn.Module):
    """Layers of `ResNet`, which `Stacked` uses too.

    Args:
        inputs: Number of input channels, at LR.
        width: Number of channels of the hidden layers.
        blocks: Number of residual blocks.
        outputs: Number of output channels, at HR.
        scale: HR pixels per LR pixel along each axis.
    """

    def __init__(self, inputs: int, width: int, blocks: int, outputs: int, scale: int) -> None:
        super().__init__()
        residual = [SmoothBlock(width) for _ in range(blocks)]
        last = nn.Conv2d(width, outputs * scale**2, 3, padding=1)
        self.head = nn.Conv2d(inputs, width, 3, padding=1)
        self.body = nn.Sequential(*residual)
        self.join = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Sequential(last, nn.PixelShuffle(scale))
        init_block_he_normal_(self)
        with torch.no_grad():
            for layer in (last, *(block.conv2 for block in residual)):
                layer.weight.mul_(SMALL)

    def forward(self, x: LRFrames) -> HRFrames:
        """Return the HR output (N, outputs, H, W) of the LR input (N, inputs, h, w)."""
        return self.after_head(self.head(x))

    def after_head(self, first: Tensor) -> HRFrames:
        """Return the HR output (N, outputs, H, W) of the output (N, width, h, w) of the first layer."""
        return self.out(first + self.join(self.body(first)))


class SmoothBlock(nn.Module):
    """Residual block x + conv(silu(conv(x))) with 3x3 kernels and zeros beyond the border."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.act = nn.SiLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (N, width, h, w) to features of the same shape."""
        return x + self.conv2(self.act(self.conv1(x)))


def resnet_reach(blocks: int) -> int:
    """Return the reach of `ResNetLayers` in LR pixels: one pixel for each 3x3 layer, with two layers per block."""
    return 1 + 2 * blocks + 1 + 1
