"""EDSR: a network of residual blocks without batch normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vsr.geometry import Geometry
from vsr.models.base import Network
from vsr.models.blocks import check_block_sizes, init_block_he_normal_
from vsr.types import HRFrames, LRFrames

SMALL = 0.1  # factor on the initial weights of a layer whose output is added to something


class EDSR(Network):
    """Network of residual blocks at LR, then pixel shuffles and one convolution at HR.

    Layers (channels@kernel): width@3x3, residual blocks, width@3x3 and a skip connection over all blocks, pixel shuffles,
    C@3x3. Source: Lim et al., "Enhanced deep residual networks for single image super-resolution", 2017, section 3. The paper's
    baseline has width 64 and 16 blocks. `StandardizedResidual` takes the place of the paper's subtraction of the data set's
    mean.

    Args:
        width: Number of channels of the hidden layers, 1 or more.
        blocks: Number of residual blocks, 1 or more.
        scale: HR pixels per LR pixel along each axis, or 1 for the second network of a `Cascade`.
        channels: Number of channels of each frame.
        inputs: Number of channels of each LR frame; None for `channels`.

    Raises:
        UserError: If width or blocks is below 1.
    """

    def __init__(self, *, width: int = 32, blocks: int = 8, scale: int, channels: int = 1, inputs: int | None = None) -> None:
        super().__init__()
        check_block_sizes(width=(width, 32), blocks=(blocks, 8))
        self.geometry = Geometry.frame(scale)
        self.reach = 1 + 2 * blocks + 1 + _upsampler_reach(scale)
        self.head = nn.Conv2d(inputs or channels, width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.join = nn.Conv2d(width, width, 3, padding=1)
        self.enlarge = _pixel_shuffle_upsampler(width, scale)
        self.out = nn.Conv2d(width, channels, 3, padding=1)
        _init_residual_(self)

    def forward(self, lr: LRFrames) -> HRFrames:
        """Return the HR frames (N, C, H, W) of LR frames (N, C, h, w)."""
        first = self.head(lr)
        return self.out(self.enlarge(first + self.join(self.body(first))))


class ResidualBlock(nn.Module):
    """Residual block x + conv(relu(conv(x))) with 3x3 kernels and zeros beyond the border."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (N, width, h, w) to features of the same shape."""
        return x + self.conv2(self.conv1(x).relu())


def _pixel_shuffle_upsampler(width: int, scale: int) -> nn.Sequential:
    """Return layers (N, width, h, w) -> (N, width, H, W): a convolution and a pixel shuffle for each prime factor of scale."""
    layers: list[nn.Module] = []
    for step in _prime_factors(scale):
        layers += [nn.Conv2d(width, width * step**2, 3, padding=1), nn.PixelShuffle(step)]
    return nn.Sequential(*layers)


def _prime_factors(number: int) -> list[int]:
    """Return the prime factors of a number, the smallest first; none of 1."""
    for prime in range(2, number + 1):
        if number % prime == 0:
            return [prime, *_prime_factors(number // prime)]
    return []


def _upsampler_reach(scale: int) -> int:
    """Return the reach, in LR pixels, of `_pixel_shuffle_upsampler` with a 3x3 convolution behind it.

    The convolutions behind the first one work at 2x or 3x the LR size and more. All together reach one LR pixel further, no more.
    """
    return 1 if scale == 1 else 2


@torch.no_grad()
def _init_residual_(network: nn.Module) -> None:
    """Initialise with `init_block_he_normal_`, then multiply the last layer of each block and of the network by SMALL.

    Any number of blocks then starts near the identity (`conv2` is last in a block), and the network's output starts near zero.
    """
    init_block_he_normal_(network)
    convolutions = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    *_, last = convolutions
    for name, layer in convolutions.items():
        if name.endswith("conv2") or name == last:
            layer.weight.mul_(SMALL)
