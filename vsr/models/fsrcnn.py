"""FSRCNN in the report's variant and in the authors' original: layers at LR, then a deconvolution.

Both networks can be folded. Unfolded, the deconvolution and the layers behind it take most of the time, at HR. The folded form
computes the same function at LR, with all 4 (9, 16) phases of a pixel at x2 (x3, x4) at once.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from vsr.errors import UserError
from vsr.geometry import Geometry
from vsr.models.base import Network
from vsr.models.blocks import Activation, build_activation, check_block_sizes, init_block_he_normal_
from vsr.models.deconvolution import (
    convolution_between_phases,
    deconvolution_as_phases,
    deconvolution_reach,
    prelu_before_shuffle,
)
from vsr.types import HRFrames, LRFrames


class FSRCNN(Network):
    """The report's variant of FSRCNN: layers at LR, a deconvolution without overlap and one convolution at HR.

    Layers (channels@kernel): 32@5x5, 8@1x1, 8@3x3, 32@1x1, deconvolution 32@2x2, C@5x5, with a PReLU between them. Source: the
    report that this project reproduces (docs/results/report.md), section 2. The report modifies the network of Dong et al.,
    "Accelerating the super-resolution convolutional neural network", 2016. The variant upscales by 2 with a 2x2 kernel at
    stride 2, which neither overlaps nor leaves holes. At x3 and x4 the kernel is scale x scale for the same reason.

    Args:
        kernel: Side of the deconvolution's kernel: `scale` plus an even number; None for `scale`. The report found large
            kernels hard to train.
        act: "prelu" (the report's) or "relu".
        slope: Initial slope of the PReLU; 0 in the report.
        output_act: True to put an activation behind the last layer too; the report says "all layers".
        scale: HR pixels per LR pixel along each axis, or 1 for the second network of a `Cascade`.
        channels: Number of channels of each frame.

    Raises:
        UserError: If the kernel leaves holes between pixels or shifts the frame by half a pixel.
    """

    def __init__(
        self,
        *,
        kernel: int | None = None,
        act: Activation = "prelu",
        slope: float = 0.25,
        output_act: bool = False,
        scale: int,
        channels: int = 1,
    ) -> None:
        super().__init__()
        k = scale if kernel is None else kernel
        if k < scale or (k - scale) % 2:
            wrong = "leaves holes between pixels" if k < scale else "shifts the frame by half a pixel"
            sides = f"{scale} or {scale + 2}, {scale + 4}, ..."
            raise UserError(f"model.kernel={kernel}: {wrong} at x{scale}; type model.kernel={sides}")
        padding = (k - scale) // 2  # puts the middle of the kernel on the middle of the scale x scale block of its pixel
        self.scale = scale
        self.geometry = Geometry.frame(scale)
        self.reach = 2 + 1 + deconvolution_reach(k, scale, padding) + -(-2 // scale)
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, 5, padding=2),  # feature extraction
            build_activation(act, 32, slope),
            nn.Conv2d(32, 8, 1),  # shrinking
            build_activation(act, 8, slope),
            nn.Conv2d(8, 8, 3, padding=1),  # mapping
            build_activation(act, 8, slope),
            nn.Conv2d(8, 32, 1),  # expanding
            build_activation(act, 32, slope),
        )
        self.enlarge = nn.ConvTranspose2d(32, 32, k, stride=scale, padding=padding)  # (N, 32, H, W)
        self.enlarge_act = build_activation(act, 32, slope)
        self.out = nn.Conv2d(32, channels, 5, padding=2)
        self.out_act = build_activation(act, channels, slope) if output_act else nn.Identity()
        init_block_he_normal_(self)

    def forward(self, lr: LRFrames) -> HRFrames:
        """Return the HR frames (N, C, H, W) of LR frames (N, C, h, w)."""
        return self.out_act(self.out(self.enlarge_act(self.enlarge(self.features(lr)))))

    def fold(self) -> nn.Module:
        """Return a module that computes the same function with all convolutions at LR."""
        act = self.enlarge_act
        return nn.Sequential(
            self.features,
            deconvolution_as_phases(self.enlarge),
            prelu_before_shuffle(act, self.scale) if isinstance(act, nn.PReLU) else act,
            convolution_between_phases(self.out, self.scale),
            nn.PixelShuffle(self.scale),
            self.out_act,
        )


class FSRCNNOriginal(Network):
    """FSRCNN(d, s, m) of its authors Dong et al.: layers at LR, and a 9x9 deconvolution as the last layer.

    Layers (channels@kernel): d@5x5, s@1x1, m times s@3x3, d@1x1, deconvolution 9x9, with a PReLU behind all but the last.
    Source: Dong et al., "Accelerating the super-resolution convolutional neural network", 2016, section 3.2. The paper's FSRCNN
    is FSRCNN(56, 12, 4), and the paper's FSRCNN-s is FSRCNN(32, 5, 1).

    Args:
        d: Number of channels of the features at LR, 1 or more.
        s: Number of channels after shrinking, 1 or more.
        m: Number of mapping layers, 0 or more.
        act: "prelu" (the authors') or "relu".
        slope: Initial slope of the PReLU.
        output_act: True to put an activation behind the deconvolution too; the authors have none.
        border: Padding of every layer: "replicate" (the authors' code) or "zero".
        scale: HR pixels per LR pixel along each axis, or 1 for the second network of a `Cascade`.
        channels: Number of channels of each frame.

    Raises:
        UserError: If d or s is below 1, or m is below 0.
    """

    def __init__(
        self,
        *,
        d: int = 56,
        s: int = 12,
        m: int = 4,
        act: Activation = "prelu",
        slope: float = 0.25,
        output_act: bool = False,
        border: Literal["zero", "replicate"] = "zero",
        scale: int,
        channels: int = 1,
    ) -> None:
        super().__init__()
        check_block_sizes(d=(d, 56), s=(s, 12))
        check_block_sizes(0, m=(m, 4))
        self.scale, self.border = scale, border
        self.geometry = Geometry.frame(scale)
        beyond: Literal["zeros", "replicate"] = "zeros" if border == "zero" else border
        layers: list[nn.Module] = [nn.Conv2d(channels, d, 5, padding=2, padding_mode=beyond), build_activation(act, d, slope)]
        layers += [nn.Conv2d(d, s, 1), build_activation(act, s, slope)]
        for _ in range(m):
            layers += [nn.Conv2d(s, s, 3, padding=1, padding_mode=beyond), build_activation(act, s, slope)]
        layers += [nn.Conv2d(s, d, 1), build_activation(act, d, slope)]
        self.features = nn.Sequential(*layers)
        # The output padding makes the output exactly scale times the input. At x3 the authors' script crops one pixel further up
        # and left; a padding of 3 does the same and puts the middle of the kernel on the middle of its 3 x 3 block.
        padding = 3 if scale == 3 else 4
        more = scale + 2 * padding - 9
        self._border = deconvolution_reach(9, scale, padding)  # LR pixels beyond the frame that the deconvolution reads
        self.reach = 2 + m + self._border
        self.enlarge = nn.ConvTranspose2d(d, channels, 9, stride=scale, padding=padding, output_padding=more)
        self.out_act = build_activation(act, channels, slope) if output_act else nn.Identity()
        init_block_he_normal_(self)

    def forward(self, lr: LRFrames) -> HRFrames:
        """Return the HR frames (N, C, H, W) of LR frames (N, C, h, w)."""
        if self.border == "zero":
            return self.out_act(self.enlarge(self.features(lr)))
        made_up = self._border * self.scale
        inner = slice(made_up, -made_up)
        return self.out_act(self.enlarge(self._padded()(lr))[..., inner, inner])

    def _padded(self) -> nn.Sequential:
        """Return the feature layers with a replicated border of `_border` pixels.

        The padding stands before the expanding layer, where the channels are few. Padding behind this pointwise layer would
        give the same.
        """
        return nn.Sequential(self.features[:-2], nn.ReplicationPad2d(self._border), self.features[-2:])

    def fold(self) -> nn.Module:
        """Return an equal module whose deconvolution is replaced by convolutions of LR size and a pixel shuffle."""
        padded = self.border == "replicate"
        phases = deconvolution_as_phases(self.enlarge, padded=padded)
        return nn.Sequential(self._padded() if padded else self.features, phases, nn.PixelShuffle(self.scale), self.out_act)
