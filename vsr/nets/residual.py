"""A network made to predict what bicubic misses, in units in which that is of order one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vsr.nets.base import Network
from vsr.resize import bicubic_up
from vsr.types import HRFrames, LRFrames


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
    def prepare(self, lr: Tensor, hr: Tensor) -> None:
        """Measure mean, std and rms on whole training frames."""
        # A constant field has no spread to divide by; it is refused by the data modules, this keeps the buffers finite.
        tiny = torch.finfo(torch.float32).tiny
        self.mean.copy_(lr.mean())
        self.std.copy_(lr.std().clamp_min(tiny))
        squares = [(h - bicubic_up(x, self.scale)).square().mean() for x, h in zip(lr.split(16), hr.split(16), strict=True)]
        weights = torch.tensor([len(x) for x in lr.split(16)], device=lr.device)
        self.rms.copy_(((torch.stack(squares) * weights).sum() / weights.sum()).sqrt().clamp_min(tiny))
        self.network.prepare((lr - self.mean) / self.std, hr)

    def fold(self) -> nn.Module:
        """The same with the inner network folded."""
        folded = StandardizedResidual.__new__(StandardizedResidual)
        nn.Module.__init__(folded)
        folded.kind, folded.geometry, folded.scale = self.kind, self.geometry, self.scale
        folded.network = self.network.fold()  # type: ignore[assignment]
        for name in ("mean", "std", "rms"):
            folded.register_buffer(name, getattr(self, name))
        return folded
