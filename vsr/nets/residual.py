"""A network made to predict what bicubic misses, in units in which that is of order one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vsr.nets.base import Network
from vsr.resize import bicubic_up
from vsr.types import HRFrames, LRFrames, TrainingFrames


class StandardizedResidual(Network):
    """sr = bicubic(lr) + rms * network((lr - mean) / std).

    mean and std are those of the training LR frames, rms is that of (HR - bicubic), all one number per data set: a field whose
    spread is a tenth of its range, and whose residual is a hundredth, otherwise gives a network gradients too small to learn
    from in its time.

    Args:
        network: any frame network.
    """

    mean: Tensor
    std: Tensor
    rms: Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.kind, self.geometry = network.kind, network.geometry
        self.scale = network.geometry.scale[1]
        for name, value in (("mean", 0.0), ("std", 1.0), ("rms", 1.0)):
            self.register_buffer(name, torch.tensor(value))

    @property
    def error_unit(self) -> Tensor:
        """The rms of what bicubic misses."""
        return self.rms

    def forward(self, lr: LRFrames) -> HRFrames:
        """(N, C, h, w) -> (N, C, H, W)."""
        return torch.addcmul(bicubic_up(lr, self.scale), self.network((lr - self.mean) / self.std), self.rms)

    @torch.no_grad()
    def prepare(self, frames: TrainingFrames) -> None:
        """Measure mean, std and rms on whole training frames; masked pixels do not count in the rms."""
        count = sum(lr.numel() for lr, _, _ in frames)
        mean = sum(lr.double().sum() for lr, _, _ in frames) / count
        variance = sum((lr.double() - mean).square().sum() for lr, _, _ in frames) / max(1, count - 1)
        errors, weights = 0.0, 0.0
        for lr, hr, mask in frames:
            for i in range(0, len(lr), 16):
                squares = (hr[i : i + 16] - bicubic_up(lr[i : i + 16], self.scale)).square()
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
        folded = StandardizedResidual.__new__(StandardizedResidual)
        nn.Module.__init__(folded)
        folded.kind, folded.geometry, folded.scale = self.kind, self.geometry, self.scale
        folded.network = self.network.fold()  # type: ignore[assignment]
        for name in ("mean", "std", "rms"):
            folded.register_buffer(name, getattr(self, name))
        return folded
