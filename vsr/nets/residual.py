"""A network made to predict what bicubic, or the best linear filter, misses, in units in which that is of order one."""

from __future__ import annotations

from typing import Literal, Self

import torch
from torch import Tensor, nn

from vsr.nets.base import Network, on_clip
from vsr.nets.linear import Linear
from vsr.resize import CUBIC_REACH, bicubic_up, crop
from vsr.types import TrainingFrames


class StandardizedResidual(Network):
    """sr = base(lr) + rms * network((lr - mean) / std), the base being bicubic or the least-squares linear filter.

    mean and std are those of the training LR frames, rms is that of (HR - base), all one number per data set: a field whose
    spread is a tenth of its range, and whose residual is a hundredth, otherwise gives a network gradients too small to learn
    from in its time. Either base at scale 1 is the input itself: a second network corrects what the first one put out.

    Args:
        network: any network.
        over: the base. "linear" is fitted to the same training frames as the statistics and travels with them; on clips it works
            frame by frame, and all channels share it.
    """

    mean: Tensor
    std: Tensor
    rms: Tensor

    def __init__(self, network: Network, over: Literal["bicubic", "linear"] = "bicubic") -> None:
        super().__init__()
        network.residual = False  # the sum is made here
        self.kind, self.geometry, self.context = network.kind, network.geometry, network.context
        self.scale = network.geometry.scale[1]
        # Before the network, so that the network's last layer is the last one of all.
        self.filter = Linear(scale=self.scale) if over == "linear" and self.scale > 1 else None
        self.over: Literal["bicubic", "linear"] = "bicubic" if self.filter is None else "linear"
        self.network = network
        base = 0 if self.scale == 1 else CUBIC_REACH if self.filter is None else self.filter.reach
        self.reach = max(network.reach, base)
        for name, value in (("mean", 0.0), ("std", 1.0), ("rms", 1.0)):
            self.register_buffer(name, torch.tensor(value))

    @property
    def error_unit(self) -> Tensor:
        """The rms of what the base misses."""
        return self.rms

    def forward(self, lr: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, H, W), or clips (B, C, T, h, w) -> (B, C, T', H', W')."""
        return torch.addcmul(self._enlarged(lr), self.network((lr - self.mean) / self.std), self.rms)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """As of any module, but for the filter, which gradients never train."""
        super().requires_grad_(requires_grad)
        if self.filter is not None:
            self.filter.requires_grad_(False)
        return self

    def _enlarged(self, lr: Tensor) -> Tensor:
        if self.kind == "frame":
            return self._base(lr)
        lost, y, x = self.geometry.margin
        return crop(on_clip(self._base, "frame", crop(lr, (lost, 0, 0))), (0, y, x))

    def _base(self, lr: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, H, W), without what the network loses of its border."""
        if self.filter is None:
            return bicubic_up(lr, self.scale)
        if not torch.is_autocast_enabled(lr.device.type):
            return self.filter(lr)
        # Half precision would round the frame itself, and with it every error that is smaller.
        with torch.autocast(lr.device.type, enabled=False):
            return self.filter(lr.to(self.filter.weight.dtype))

    @torch.no_grad()
    def prepare(self, frames: TrainingFrames) -> None:
        """Fit the filter, measure mean, std and rms on whole training frames; masked pixels do not count in it and in the rms."""
        if self.filter is not None:
            self.filter.prepare(frames)
        count = sum(lr.numel() for lr, _, _ in frames)
        mean = sum(lr.double().sum() for lr, _, _ in frames) / count
        variance = sum((lr.double() - mean).square().sum() for lr, _, _ in frames) / max(1, count - 1)
        errors, weights = 0.0, 0.0
        for lr, hr, mask in frames:
            for i in range(0, len(lr), 16):
                squares = (hr[i : i + 16] - self._base(lr[i : i + 16])).square()
                weight = torch.ones_like(squares) if mask is None else mask[i : i + 16].expand_as(squares)
                errors += float((squares * weight).sum(dtype=torch.float64))
                weights += float(weight.sum(dtype=torch.float64))
        # A constant field has no spread to divide by; it is refused by the data modules, this keeps the buffers finite.
        tiny = torch.finfo(torch.float32).tiny
        self.mean.fill_(float(mean))
        self.std.fill_(max(float(variance) ** 0.5, tiny))
        self.rms.fill_(max((errors / max(weights, 1.0)) ** 0.5, tiny))
        self.network.prepare([((lr - self.mean) / self.std, hr, mask) for lr, hr, mask in frames])

    def fold(self) -> nn.Module:
        """The same with the inner network folded."""
        return self.with_modules(network=self.network.fold())
