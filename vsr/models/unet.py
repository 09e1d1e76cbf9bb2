"""U-Net at LR: a movie network whose output depends on the whole LR frame."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from vsr.models.blocks import check_block_sizes, init_block_he_normal_
from vsr.models.edsr import SMALL
from vsr.models.resnet import SmoothBlock
from vsr.models.stacked import StackedFrames
from vsr.types import HRFrames, LRFrames


class UNet(StackedFrames):
    """Movie network with the levels of a U-Net below LR, then a pixel shuffle.

    Each level has half the pixels along each axis of the level above, twice its channels, and one residual block on the way down
    and on the way up. A coarse and a fine simulation part ways by displacements of many pixels, which a network of small reach
    cannot see.

    Source: Ronneberger et al., "U-Net: convolutional networks for biomedical image segmentation", 2015, section 2; here with
    residual blocks, and with 2x2 convolutions of stride 2 and bilinear upsampling, which keep the middle of each block in place.

    Args:
        frames: Number of LR frames per HR frame, odd; the middle LR frame belongs to the HR frame.
        width: Number of channels at LR, 1 or more.
        levels: Number of levels below LR, 1 or more.
        scale: HR pixels per LR pixel along each axis, or 1 for the second network of a `Cascade`.
        channels: Number of channels of each frame.
        inputs: Number of channels of each LR frame; None for `channels`.

    Raises:
        UserError: If the number of frames is even or below 1, or width or levels is below 1.
    """

    whole_frames = True  # the levels divide the frame from its first pixel on

    def __init__(
        self, *, frames: int = 5, width: int = 32, levels: int = 2, scale: int, channels: int = 1, inputs: int | None = None
    ) -> None:
        super().__init__(frames, scale)
        check_block_sizes(width=(width, 32), levels=(levels, 2))
        self.reach = 8 * 2**levels - 4  # at the place in a block of 2^levels pixels where it is largest
        self.layers = UNetLayers(frames * (inputs or channels), width, levels, channels, scale)


class UNetLayers(nn.Module):
    """Layers of `UNet`.

    Args:
        inputs: Number of input channels, at LR.
        width: Number of channels at LR.
        levels: Number of levels below LR.
        outputs: Number of output channels, at HR.
        scale: HR pixels per LR pixel along each axis.
    """

    def __init__(self, inputs: int, width: int, levels: int, outputs: int, scale: int) -> None:
        super().__init__()
        self.levels, self.scale = levels, scale
        widths = [width * 2**level for level in range(levels + 1)]
        pairs = list(pairwise(widths))
        last = nn.Conv2d(width, outputs * scale**2, 3, padding=1)
        self.head = nn.Conv2d(inputs, width, 3, padding=1)
        self.down = nn.ModuleList(SmoothBlock(each) for each in widths[:-1])
        self.halve = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.middle = SmoothBlock(widths[-1])
        self.narrow = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        self.up = nn.ModuleList(SmoothBlock(each) for each in widths[:-1])
        self.out = nn.Sequential(last, nn.PixelShuffle(scale))
        init_block_he_normal_(self)
        with torch.no_grad():
            blocks = [block for block in self.modules() if isinstance(block, SmoothBlock)]
            for layer in (last, *(block.conv2 for block in blocks)):
                layer.weight.mul_(SMALL)

    def forward(self, x: LRFrames) -> HRFrames:
        """Return the HR output (N, outputs, H, W) of the LR input (N, inputs, h, w)."""
        h, w = x.shape[-2:]
        each = 2**self.levels
        x = self.head(F.pad(x, (0, -w % each, 0, -h % each), mode="replicate"))
        kept = []
        for block, halve in zip(self.down, self.halve, strict=True):
            x = block(x)
            kept.append(x)
            x = halve(x)
        x = self.middle(x)
        for level in reversed(range(self.levels)):
            finer = F.interpolate(self.narrow[level](x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = self.up[level](finer + kept[level])
        return self.out(x)[..., : h * self.scale, : w * self.scale]
