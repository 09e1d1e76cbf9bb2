"""Least-squares optimal linear filter, the baseline that a network must beat to be worth its cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.degradations.resize import pad_symmetric
from vsr.errors import UserError
from vsr.geometry import Alignment, Geometry
from vsr.models.base import Network, unpack_skip
from vsr.types import HRFrames, LRFrames, TrainingFrames

SMALLEST_SIZE, LARGER_SIZES = 9, (13, 17)  # LR pixels per side
LARGEST_SIZE = max(LARGER_SIZES)
LEAST_GAIN = 0.05  # dB of validation PSNR that a larger filter must gain
CHOICE_PIXELS = 1 << 20  # LR pixels that larger filters are fitted to; 17x17 taps have 290 unknowns


class Linear(Network):
    """Linear network: one K x K filter and one offset per sub-pixel phase, solved in closed form on the training frames.

    Before `prepare` the network is nearest-neighbour interpolation. All channels share the filters. Where LR pixels do not lie
    in the middle of their blocks, the filters are fitted to HR minus bicubic, as phases alone do not say where a pixel lies.

    Args:
        size: Side K of the filters in LR pixels, odd; None for 9, 13 or 17, whichever is best on validation frames.
        scale: HR pixels per LR pixel along each axis.
        channels: Number of channels of each frame. Further channels of LR are ignored.
        alignment: Place of the LR pixels on the HR grid; None for the middle of their blocks.

    Raises:
        UserError: If the size is not odd or not positive.
    """

    chunk = 1 << 17  # LR pixels per block of the normal equations; bounds the memory of prepare()

    def __init__(self, *, size: int | None = None, scale: int, channels: int = 1, alignment: Alignment | None = None) -> None:
        super().__init__()
        self.alignment = alignment
        self.chosen = size is None
        size = SMALLEST_SIZE if size is None else size
        if size < 1 or size % 2 == 0:
            raise UserError(f"model.size={size}: must be odd, a pixel stands in the middle; type model.size=9")
        self.scale, self.channels = scale, channels
        self.geometry = Geometry.frame(scale)
        # Parameters, so that they are counted and saved; gradients never train them.
        self.bias = nn.Parameter(torch.zeros(scale * scale), requires_grad=False)
        self._resize(size)

    def _resize(self, size: int) -> None:
        """Give the filters another side; they become nearest-neighbour interpolation, or the skip of an alignment alone."""
        self.size, self.reach = size, size // 2
        weight = torch.zeros(self.scale * self.scale, 1, size, size, device=self.bias.device)
        weight[:, :, size // 2, size // 2] = float(self.alignment is None)
        self.weight = nn.Parameter(weight, requires_grad=False)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        # The size is chosen on data (`prepare_best_size`), so that only the saved weights know it.
        saved = state_dict.get(f"{prefix}weight")
        if saved is not None and saved.shape[:2] == self.weight.shape[:2] and saved.shape[-1] % 2:
            self._resize(saved.shape[-1])
        super()._load_from_state_dict(state_dict, prefix, *others)

    def prepare_best_size(self, training: TrainingFrames, validation: TrainingFrames) -> dict[int, float]:
        """Fit the filters as `prepare` does, and again with larger sides as long as this is better on the validation frames.

        Args:
            training: Whole frames to fit to, in the unit interval.
            validation: Whole frames that decide, in the unit interval.

        Returns:
            Side K -> validation PSNR in dB of every size that was tried, masked pixels left out. The network has the best
            size: a larger one must gain more than LEAST_GAIN dB.
        """
        self.prepare(training)
        tried = {self.size: self._psnr(validation)}
        step = max(1, sum(lr[:, 0].numel() for lr, _, _ in training) // CHOICE_PIXELS)
        thinned = [(lr[::step], hr[::step], None if mask is None else mask[::step]) for lr, hr, mask in training]
        for size in LARGER_SIZES:
            if size <= self.size:
                continue
            larger = Linear(size=size, scale=self.scale, channels=self.channels, alignment=self.alignment).to(self.weight)
            larger.prepare(thinned)
            tried[size] = larger._psnr(validation)
            if not tried[size] > tried[self.size] + LEAST_GAIN:
                break
            self._resize(size)
            self.load_state_dict(larger.state_dict())
        return tried

    @torch.no_grad()
    def _psnr(self, frames: TrainingFrames) -> float:
        """Return the mean PSNR over frames in the unit interval."""
        found = []
        for lr, hr, mask in frames:
            real = torch.ones_like(hr) if mask is None else mask.expand_as(hr)
            error = ((self(lr) - hr) * real).square().sum((1, 2, 3)) / real.sum((1, 2, 3)).clamp_min(1)
            found.append(-10 * error.double().clamp_min(1e-30).log10())
        return float(torch.cat(found).mean())

    def forward(self, lr: LRFrames) -> HRFrames:
        """Return the HR frames (N, C, H, W) of LR frames (N, C, h, w); the border is mirrored."""
        variables = lr[:, : self.channels]
        padded = pad_symmetric(variables, self.size // 2).flatten(0, 1).unsqueeze(1)
        phases = F.conv2d(padded, self.weight, self.bias)  # (N C, s s, h, w)
        sr = F.pixel_shuffle(phases, self.scale).unflatten(0, variables.shape[:2]).squeeze(2)
        return sr if self.alignment is None else sr + self._bicubic(lr)

    def replace_layers(self, replace: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Return the network itself: all of it is what other networks add their layers to."""
        return self

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
