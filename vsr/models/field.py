"""Network for fields in any unit: what it gives for a f + b is a times what it gives for f, plus b."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.degradations.resize import CUBIC_RADIUS, resize_bicubic_up
from vsr.geometry import Geometry
from vsr.models.base import Network
from vsr.models.blocks import check_block_sizes
from vsr.models.residual import residual_rms
from vsr.models.resnet import ResNetLayers, resnet_reach
from vsr.types import HRFrames, LRFrames, TrainingFrames

STEPS = (1, 2, 4)  # pixels between the taps of the filters that divide a frame into octaves, and that smooth their squares
LARGEST_RATIO, SMALLEST_RATIO = 1.5, 0.02  # of the amplitudes of two octaves, to estimate that of the next one
MOST_LOG_RATIO = 7.0  # that the layers see
TINY = 1e-30  # amplitude of a constant field


class Field(Network):
    """Frame network that is equivariant to the unit and the zero of values: temperatures, depths and rain alike.

    LR frames are divided into octaves, as in a Laplacian pyramid (Burt & Adelson, "The Laplacian pyramid as a compact image
    code", 1983). The layers of `ResNet` see each octave over its amplitude around the pixel, and the logarithms of the ratios of
    the amplitudes, which tell the slope of the spectrum. Their output is in units of the amplitude that the next finer octave has
    if the ratio stays the same, and is added to the bicubic frame. For positive a, a f + b gives a times the frame of f, plus b,
    up to rounding. Each channel is upscaled for itself.

    Args:
        width: Number of channels of the hidden layers, 1 or more.
        blocks: Number of residual blocks, 1 or more.
        scale: HR pixels per LR pixel along each axis.
        channels: Number of channels of each frame; the weights are the same for all.

    Raises:
        UserError: If width or blocks is below 1.
    """

    equivariant = True
    rms: Tensor

    def __init__(self, *, width: int = 32, blocks: int = 6, scale: int, channels: int = 1) -> None:
        super().__init__()
        check_block_sizes(width=(width, 32), blocks=(blocks, 6))
        self.geometry, self.scale = Geometry.frame(scale), scale
        self.reach = max(4 * sum(STEPS) + resnet_reach(blocks) + 1, CUBIC_RADIUS)
        self.layers = ResNetLayers(2 * len(STEPS) - 1, width, blocks, 1, scale)
        self.register_buffer("rms", torch.tensor(1.0))

    @property
    def error_unit(self) -> Tensor:
        """Return the root mean square of HR minus bicubic in the training frames."""
        return self.rms

    @torch.no_grad()
    def prepare(self, frames: TrainingFrames) -> None:
        """Measure the unit of errors on whole training frames."""
        self.rms.fill_(max(residual_rms(frames, lambda lr: resize_bicubic_up(lr, self.scale)), torch.finfo(torch.float32).tiny))

    def forward(self, lr: LRFrames) -> HRFrames:
        """Return the HR frames (N, C, H, W) of LR frames (N, C, h, w)."""
        with torch.autocast(lr.device.type, enabled=False):  # octaves are differences of nearly equal numbers
            planes = lr.flatten(0, 1).unsqueeze(1)
            seen, unit = self._octaves(planes)
            bicubic = resize_bicubic_up(planes, self.scale)
        sr = torch.addcmul(bicubic, unit, self.layers(seen).to(bicubic))
        return sr.squeeze(1).unflatten(0, lr.shape[:2])

    def replace_layers(self, replace: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Return a copy of the network with its layers replaced; octaves and sums stay."""
        return self.with_modules(layers=replace(self.layers))

    def _octaves(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the layers see of planes (N, 1, h, w), at LR, and the unit of their output, at HR."""
        octaves, rest = [], planes
        for step in STEPS:
            smoother = _smooth(rest, step)
            octaves.append(rest - smoother)
            rest = smoother
        amplitudes = [_amplitude(octave) for octave in octaves]
        ratios = [finer / coarser for finer, coarser in pairwise(amplitudes)]
        seen = [octave / amplitude for octave, amplitude in zip(octaves, amplitudes, strict=True)]
        seen += [ratio.log().clamp(-MOST_LOG_RATIO, MOST_LOG_RATIO) for ratio in ratios]
        unit = amplitudes[0] * ratios[0].clamp(SMALLEST_RATIO, LARGEST_RATIO)
        return torch.cat(seen, 1), F.interpolate(unit, scale_factor=self.scale, mode="bilinear")


def _amplitude(octave: Tensor) -> Tensor:
    """Return the root mean square of planes (N, 1, h, w) around each pixel."""
    largest = octave.abs().amax((1, 2, 3), keepdim=True).clamp_min(TINY)  # squares of tiny numbers would vanish
    squares = (octave / largest).square()
    for step in STEPS:
        squares = _smooth(squares, step)
    return (largest * squares.sqrt()).clamp_min(TINY)


def _smooth(planes: Tensor, step: int) -> Tensor:
    """Apply the binomial filter (1, 4, 6, 4, 1) / 16 along both axes of planes (N, 1, h, w), with taps `step` pixels apart."""
    kernel = planes.new_tensor([1, 4, 6, 4, 1]) / 16
    padded = F.pad(planes, (2 * step,) * 4, mode="replicate")
    along_x = F.conv2d(padded, kernel.view(1, 1, 1, 5), dilation=(1, step))
    return F.conv2d(along_x, kernel.view(1, 1, 5, 1), dilation=(step, 1))
