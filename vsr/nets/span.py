"""SPAN: attention without parameters, layers that become one each (Wan et al., "Swift parameter-free ...", 2024)."""

from __future__ import annotations

import copy
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.geometry import Geometry
from vsr.nets.base import Network
from vsr.nets.edsr import SMALL, refuse_no_layers
from vsr.types import HRFrames, LRFrames

WIDER = 2  # the inner 3x3 layer of a Conv3XC against its outside, as in the paper
# What a block's layers start as, in units that keep a linear signal's size: attention to a small signal is smaller still, so that
# six blocks of ordinary layers would pass on 1e-12 of it. With these it keeps its size.
GAINS = 1.6, 1.6, 2.2


class Conv3XC(nn.Module):
    """1x1, 3x3 and 1x1 in a row and a 1x1 beside them, which together are one 3x3 convolution.

    It is computed as that one in training too: the kernel is put together first, which is as much work as a few hundred pixels
    are, instead of running all pixels through layers of twice the width. The function and its gradients are those of the chain
    whose input is padded with zeros *before* its first layer. (Padding before the 3x3 layer, as usual, would leave out the first
    layer's bias at the border, so that no convolution is equal to it.)

    Args:
        inputs, outputs: channels.
        gain: size of the output against that of the input at the start.
    """

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.widen = nn.Conv2d(inputs, WIDER * inputs, 1)
        self.conv = nn.Conv2d(WIDER * inputs, WIDER * outputs, 3)
        self.narrow = nn.Conv2d(WIDER * outputs, outputs, 1)
        self.skip = nn.Conv2d(inputs, outputs, 1)
        half = gain / 2**0.5  # of the power through the chain, half beside it
        for layer, size in ((self.widen, 1.0), (self.conv, half), (self.narrow, 1.0), (self.skip, half)):
            nn.init.normal_(layer.weight, std=size * layer.weight[0].numel() ** -0.5)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, h, w)."""
        kernel, bias = self.kernel()
        return F.conv2d(x, kernel, bias, padding=1)

    def kernel(self) -> tuple[Tensor, Tensor]:
        """Weight (outputs, inputs, 3, 3) and bias (outputs,) of the one convolution."""
        narrow, conv, widen = self.narrow.weight[..., 0, 0], self.conv.weight, self.widen.weight[..., 0, 0]
        inner = (narrow @ conv.flatten(1)).unflatten(1, conv.shape[1:])  # (outputs, wider inputs, 3, 3)
        kernel = torch.einsum("omyx,mi->oiyx", inner, widen) + F.pad(self.skip.weight, (1, 1, 1, 1))
        bias = inner.sum((2, 3)) @ self.widen.bias + narrow @ self.conv.bias  # type: ignore[operator]
        return kernel, bias + self.narrow.bias + self.skip.bias

    @torch.no_grad()
    def merged(self) -> nn.Conv2d:
        """The one convolution."""
        kernel, bias = self.kernel()
        outputs, inputs = kernel.shape[:2]
        conv = nn.Conv2d(inputs, outputs, 3, padding=1, dtype=kernel.dtype, device=kernel.device)
        conv.weight.copy_(kernel)
        conv.bias.copy_(bias)  # type: ignore[union-attr]
        return conv


class SPAB(nn.Module):
    """Three layers; what they give, h, is both added to the input and the attention to the sum: (h + x) (sigmoid(h) - 1/2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c1, self.c2, self.c3 = (Conv3XC(width, width, gain) for gain in GAINS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, width, h, w) -> the output and what the first layer gave, of the same size."""
        first = self.c1(x)
        h = self.c3(F.silu(self.c2(F.silu(first))))
        return (h + x) * (h.sigmoid() - 0.5), first


class SPAN(Network):
    """A layer, blocks of three, a layer; four of the features between them in a 1x1 layer; C scale^2@3x3 and pixel shuffle.

    Three quarters of what it learns is folded away: 28 and 48 wide it has the paper's 0.15 and 0.41 million numbers in the end.

    Args:
        width: channels inside; 28 and 48 in the paper.
        blocks: 6 in the paper.
        scale, channels: as in every network.

    Raises UserError for a width or a number of blocks below 1.
    """

    def __init__(self, *, width: int = 28, blocks: int = 6, scale: int, channels: int = 1) -> None:
        super().__init__()
        refuse_no_layers(width, blocks)
        self.geometry = Geometry.frame(scale)
        self.reach = 1 + 3 * blocks + 1 + 1
        self.head = Conv3XC(channels, width)
        self.body = nn.ModuleList(SPAB(width) for _ in range(blocks))
        self.join = Conv3XC(width, width)
        self.cat = nn.Conv2d(4 * width, width, 1)
        self.out = nn.Conv2d(width, channels * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)
        with torch.no_grad():
            self.out.weight.mul_(SMALL)

    def forward(self, lr: LRFrames) -> HRFrames:
        """(N, C, h, w) -> (N, C, H, W)."""
        x = first = self.head(lr)
        after: list[Tensor] = []
        for block in self.body:
            x, middle = block(x)
            after.append(x)
        features = torch.cat([first, self.join(x), after[0], middle], dim=1)  # (N, 4 width, h, w)
        return self.shuffle(self.out(self.cat(features)))

    @torch.no_grad()
    def fold(self) -> Self:
        """The same with every Conv3XC as one convolution."""
        folded = copy.deepcopy(self)
        for parent in list(folded.modules()):
            for name, child in parent.named_children():
                if isinstance(child, Conv3XC):
                    setattr(parent, name, child.merged())
        return folded
