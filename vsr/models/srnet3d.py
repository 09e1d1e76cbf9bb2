"""3D networks over five frames: the report's SRNet3D, and 3DSRnet of Kim et al.

Both networks use two frames before and two frames after each output frame: T input frames give T - 4 output frames.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.degradations.resize import CUBIC_RADIUS, resize_clips_bicubic_up
from vsr.geometry import Alignment, Geometry, crop
from vsr.models.base import Network, unpack_skip
from vsr.models.blocks import Activation, build_activation, check_block_sizes, init_block_he_normal_
from vsr.types import HRClips, LRClips

WINDOW = 5
REACH = WINDOW // 2
WINDOW_PIXELS = 1 << 20  # pixels (over all frames) of the windows that are evaluated at once


class SRNet3D(Network):
    """3D network of the report, at HR, on frames upscaled by bicubic interpolation.

    Layers, with kernels (y, x, t): 32@5x5x3, 8@1x1x3, 8@3x3x3 twice, 32@3x3x3, all 'same'; 32@3x3x3 twice, 'valid'; C@5x5.
    Source: the report (docs/results/report.md), section 3. The two valid layers reduce five frames to one and remove two pixels
    on each side. The five layers before them pad the ends of the clip with zeros.

    Args:
        act: "prelu" (the report's) or "relu".
        slope: Initial slope of the PReLU; 0 in the report.
        output_act: True to put an activation behind the last layer too; the report says "all layers".
        windows: True to evaluate each window of five frames as a clip of its own, as in the report; zeros then stand beyond the
            ends of each window. False evaluates the whole clip once, with 2.6 times less work per frame.
        scale: HR pixels per LR pixel along each axis, or 1 for the second network of a `Cascade`.
        channels: Number of channels of each frame.
        inputs: Number of channels of each LR frame; None for `channels`.
        alignment: Place of the LR pixels on the HR grid; None for the middle of their blocks.
    """

    kind = "movie"

    def __init__(
        self,
        *,
        act: Activation = "prelu",
        slope: float = 0.25,
        output_act: bool = False,
        windows: bool = False,
        scale: int,
        channels: int = 1,
        inputs: int | None = None,
        alignment: Alignment | None = None,
    ) -> None:
        super().__init__()
        self.scale, self.windows, self.channels, self.inputs = scale, windows, channels, inputs or channels
        self.takes_skip = alignment is not None
        self.geometry = Geometry((1, scale, scale), (REACH, 2, 2))
        self.context = REACH if windows else REACH + 5
        self.reach = -(-9 // scale) + (CUBIC_RADIUS if scale > 1 else 0)  # 2 + 1 + 1 + 1 + 1 + 1 + 2 HR pixels
        self.body = nn.Sequential(
            nn.Conv3d(self.inputs, 32, (3, 5, 5), padding=(1, 2, 2)),  # feature extraction
            build_activation(act, 32, slope),
            nn.Conv3d(32, 8, (3, 1, 1), padding=(1, 0, 0)),  # shrinking
            build_activation(act, 8, slope),
            nn.Conv3d(8, 8, 3, padding=1),  # mapping
            build_activation(act, 8, slope),
            nn.Conv3d(8, 8, 3, padding=1),
            build_activation(act, 8, slope),
            nn.Conv3d(8, 32, 3, padding=1),  # expanding
            build_activation(act, 32, slope),
            nn.Conv3d(32, 32, 3),  # five frames to three
            build_activation(act, 32, slope),
            nn.Conv3d(32, 32, 3),  # three to one
            build_activation(act, 32, slope),
            nn.Conv3d(32, channels, (1, 5, 5), padding=(0, 2, 2)),
            build_activation(act, channels, slope) if output_act else nn.Identity(),
        )
        init_block_he_normal_(self)
        _channels_last(self)

    def forward(self, lr: LRClips) -> HRClips:
        """Return the HR clips (B, C, T - 4, H - 4, W - 4) of LR clips (B, C, T, h, w)."""
        if self.takes_skip:
            hr = unpack_skip(lr, self.inputs, self.scale)
            if self.inputs > self.channels:
                hr = torch.cat([hr, resize_clips_bicubic_up(lr[:, self.channels : self.inputs], self.scale)], 1)
        else:
            hr = resize_clips_bicubic_up(lr, self.scale)
        return srnet3d_windows(self.body, hr) if self.windows else self.body(hr)


class SRNet3DKim(Network):
    """3DSRnet: six 3x3x3 layers at LR and a pixel shuffle, whose output is added to the bicubic middle frame.

    Source: Kim et al., "3DSRnet: video super-resolution using 3D convolutional neural networks", 2018. The first four layers
    keep the number of frames, with zeros beyond the ends of the clip. The last two layers reduce five frames to one.

    Args:
        width: Number of channels of the hidden layers, 1 or more; 64 in the paper.
        windows: True to evaluate each window of five frames as a clip of its own, as the paper does; see `SRNet3D`.
        scale: HR pixels per LR pixel along each axis, or 1 for the second network of a `Cascade`.
        channels: Number of channels of each frame.

    Raises:
        UserError: If the width is below 1.
    """

    kind = "movie"
    residual = True

    def __init__(self, *, width: int = 64, windows: bool = False, scale: int, channels: int = 1) -> None:
        super().__init__()
        self.scale, self.windows = scale, windows
        self.geometry = Geometry((1, scale, scale), (REACH, 0, 0))
        self.context = REACH if windows else REACH + 4
        self.reach = 6
        check_block_sizes(width=(width, 64))
        layers: list[nn.Module] = []
        for i in range(5):
            padding = (1, 1, 1) if i < 4 else (0, 1, 1)
            layers += [nn.Conv3d(channels if i == 0 else width, width, 3, padding=padding), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Conv3d(width, channels * scale**2, 3, padding=(0, 1, 1)))
        init_block_he_normal_(self)
        _channels_last(self)

    def forward(self, lr: LRClips) -> HRClips:
        """Return the HR clips (B, C, T - 4, H, W) of LR clips (B, C, T, h, w)."""
        phases = srnet3d_windows(self.body, lr) if self.windows else self.body(lr)  # (B, C s s, T - 4, h, w)
        detail = F.pixel_shuffle(phases.transpose(1, 2), self.scale).transpose(1, 2)
        return detail + resize_clips_bicubic_up(crop(lr, (REACH, 0, 0)), self.scale) if self.residual else detail


def srnet3d_windows(body: Callable[[Tensor], Tensor], clip: Tensor) -> Tensor:
    """Apply a network with one output frame to every window of five frames: (B, C, T, H, W) -> (B, C', T - 4, H', W')."""
    packed = clip.unfold(2, WINDOW, 1).permute(0, 2, 1, 5, 3, 4)  # (B, T - 4, C, 5, H, W)
    windows = packed.flatten(0, 1)
    each = len(windows) if torch.is_grad_enabled() else max(1, WINDOW_PIXELS // windows[0, 0].numel())
    frames = torch.cat([body(part) for part in windows.split(each)])  # (B (T - 4), C', 1, H', W')
    return frames.squeeze(2).unflatten(0, packed.shape[:2]).transpose(1, 2)


def _channels_last(network: Network) -> None:
    """Switch to the memory format in which 3D convolutions take a third less time; results and checkpoints stay equal."""
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
