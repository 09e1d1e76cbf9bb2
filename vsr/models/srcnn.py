"""SRCNN: three or more convolutions on the frame upscaled by bicubic interpolation."""

from __future__ import annotations

from torch import nn

from vsr.degradations.resize import CUBIC_RADIUS, resize_bicubic_up
from vsr.errors import UserError
from vsr.geometry import Geometry
from vsr.models.base import Network
from vsr.models.blocks import Activation, build_activation, init_block_he_normal_
from vsr.types import HRFrames, LRFrames


class SRCNN(Network):
    """Network of 'same' convolutions at HR on the frame upscaled by bicubic interpolation.

    Layers (channels@kernel): 64@k1 x k1, 32@k2 x k2, C@k3 x k3, with a replicated border as in the authors' code. Source: Dong
    et al., "Image super-resolution using deep convolutional networks", 2016, section 3 (first version 2014).

    Args:
        kernels: Sides of the kernels (k1, k2, k3), all odd. The report and the paper of 2014 have 9-1-5; the paper of 2016 also
            has 9-3-5 and 9-5-5. Four or more sides give more layers of 32 filters in the middle, such as 9-1-1-5 in the paper
            of 2016.
        act: "prelu" (the report's) or "relu" (the authors').
        slope: Initial slope of the PReLU; 0 in the report.
        output_act: True to put an activation behind the last layer too. The report says "all layers"; the authors have none.
        scale: HR pixels per LR pixel along each axis, or 1 for the second network of a `Cascade`.
        channels: Number of channels of each frame.

    Raises:
        UserError: If there are fewer than three kernels, or a side is not odd.
    """

    def __init__(
        self,
        *,
        kernels: tuple[int, ...] = (9, 1, 5),
        act: Activation = "prelu",
        slope: float = 0.25,
        output_act: bool = False,
        scale: int,
        channels: int = 1,
    ) -> None:
        super().__init__()
        if len(kernels) < 3 or any(k < 1 or k % 2 == 0 for k in kernels):
            raise UserError(f"model.kernels={list(kernels)}: must be three or more odd sides; type model.kernels=[9,1,5]")
        self.scale = scale
        self.geometry = Geometry.frame(scale)
        self.reach = -(-sum(k // 2 for k in kernels) // scale) + (CUBIC_RADIUS if scale > 1 else 0)
        first, *mapping, last = kernels
        layers: list[nn.Module] = [_same(channels, 64, first), build_activation(act, 64, slope)]  # patch extraction
        width = 64
        for k in mapping:  # non-linear mapping
            layers += [_same(width, 32, k), build_activation(act, 32, slope)]
            width = 32
        layers += [
            _same(32, channels, last),
            build_activation(act, channels, slope) if output_act else nn.Identity(),
        ]  # reconstruction
        self.body = nn.Sequential(*layers)
        init_block_he_normal_(self.body)

    def forward(self, lr: LRFrames) -> HRFrames:
        """Return the HR frames (N, C, H, W) of LR frames (N, C, h, w)."""
        return self.body(resize_bicubic_up(lr, self.scale))


def _same(inputs: int, outputs: int, k: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, k, padding=k // 2, padding_mode="replicate")
