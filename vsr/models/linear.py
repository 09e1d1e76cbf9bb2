"""Least-squares optimal linear filter, the baseline that a network must beat to be worth its cost."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.degradations.resize import pad_symmetric
from vsr.errors import UserError
from vsr.geometry import Alignment, Geometry
from vsr.models.base import Network, unpack_skip
from vsr.types import HRFrames, LRFrames, TrainingFrames


class Linear(Network):
    """Linear network: one K x K filter and one offset per sub-pixel phase, solved in closed form on the training frames.

    Before `prepare` the network is nearest-neighbour interpolation. All channels share the filters. Where LR pixels do not lie
    in the middle of their blocks, the filters are fitted to HR minus bicubic, as phases alone do not say where a pixel lies.

    Args:
        size: Side K of the filters in LR pixels, odd.
        scale: HR pixels per LR pixel along each axis.
        channels: Number of channels of each frame. Further channels of LR are ignored.
        alignment: Place of the LR pixels on the HR grid; None for the middle of their blocks.

    Raises:
        UserError: If the size is not odd or not positive.
    """

    chunk = 1 << 17  # LR pixels per block of the normal equations; bounds the memory of prepare()

    def __init__(self, *, size: int = 9, scale: int, channels: int = 1, alignment: Alignment | None = None) -> None:
        super().__init__()
        self.alignment = alignment
        if size < 1 or size % 2 == 0:
            raise UserError(f"model.size={size}: must be odd, a pixel stands in the middle; type model.size=9")
        self.size, self.scale, self.channels = size, scale, channels
        self.geometry = Geometry.frame(scale)
        self.reach = size // 2
        weight = torch.zeros(scale * scale, 1, size, size)
        weight[:, :, size // 2, size // 2] = float(alignment is None)
        # Parameters, so that they are counted and saved; gradients never train them.
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(scale * scale), requires_grad=False)

    def forward(self, lr: LRFrames) -> HRFrames:
        """Return the HR frames (N, C, H, W) of LR frames (N, C, h, w); the border is mirrored."""
        variables = lr[:, : self.channels]
        padded = pad_symmetric(variables, self.size // 2).flatten(0, 1).unsqueeze(1)
        phases = F.conv2d(padded, self.weight, self.bias)  # (N C, s s, h, w)
        sr = F.pixel_shuffle(phases, self.scale).unflatten(0, variables.shape[:2]).squeeze(2)
        return sr if self.alignment is None else sr + self._bicubic(lr)

    def _bicubic(self, lr: Tensor) -> Tensor:
        return unpack_skip(lr, lr.shape[1] - self.channels * self.scale**2, self.scale)

    @torch.no_grad()
    def prepare(self, frames: TrainingFrames) -> None:
        """Fit the filters by least squares to the training frames, leaving out LR pixels in which any HR pixel is masked."""
        taps = self.size * self.size + 1
        device = frames[0][0].device
        normal = torch.zeros(taps, taps, dtype=torch.float64, device=device)
        right = torch.zeros(taps, self.scale**2, dtype=torch.float64, device=device)
        for lr, hr, mask in frames:
            block = max(1, self.chunk // (lr.shape[-1] * lr.shape[-2]))
            whole = None if mask is None else F.pixel_unshuffle(mask.expand_as(hr).flatten(0, 1).unsqueeze(1), self.scale)
            wanted = hr if self.alignment is None else hr - self._bicubic(lr)
            planes_lr, planes_hr = (x.flatten(0, 1).unsqueeze(1) for x in (lr[:, : self.channels], wanted))
            for i in range(0, len(planes_lr), block):
                x, y = planes_lr[i : i + block], planes_hr[i : i + block]
                patches = F.unfold(pad_symmetric(x, self.size // 2), self.size).transpose(1, 2).flatten(0, 1).double()
                patches = torch.cat([patches, torch.ones_like(patches[:, :1])], dim=1)
                target = F.pixel_unshuffle(y, self.scale).flatten(2).transpose(1, 2).flatten(0, 1).double()
                if whole is not None:
                    kept = whole[i : i + block].flatten(2).transpose(1, 2).flatten(0, 1).all(dim=1)
                    patches, target = patches[kept], target[kept]
                normal += patches.T @ patches
                right += patches.T @ target
        # Smooth fields make the columns nearly dependent; a ridge of a rounding error's size picks the small solution.
        ridge = 1e-12 * normal.diagonal().mean() * torch.eye(taps, dtype=torch.float64, device=device)
        solution = torch.linalg.solve(normal + ridge, right)
        self.weight.copy_(solution[:-1].T.reshape(self.weight.shape))
        self.bias.copy_(solution[-1])
