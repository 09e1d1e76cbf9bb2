"""Wrapper with which a network predicts the standardized residual over bicubic interpolation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vsr.degradations.resize import CUBIC_RADIUS, resize_bicubic_up, resize_clips_bicubic_up
from vsr.geometry import crop
from vsr.models.base import LRLayout, Network, unpack_skip
from vsr.types import TrainingFrames


class StandardizedResidual(Network):
    """Wrapper of a network: sr = bicubic(lr) + rms * network((lr - mean) / std).

    `mean` and `std` are statistics of the training LR frames, and `rms` is the root mean square of HR - bicubic; each is one
    number per data set. Without this scaling, a field with a spread of 0.1 and a residual of 0.01 gives gradients too small to
    learn from. At scale 1 bicubic interpolation is the identity: the second network of a `Cascade` then corrects the output of
    the first.

    Args:
        network: Any network. If it adds the upscaled input to its own output, the wrapper switches that off.
        layout: Channels of the LR frames; None if they are the channels of HR frames and nothing else. Planes of time and
            position are not standardised.
    """

    mean: Tensor
    std: Tensor
    rms: Tensor

    def __init__(self, network: Network, layout: LRLayout | None = None) -> None:
        super().__init__()
        network.residual = False  # `forward` of this wrapper adds the upscaled input
        self.network, self.layout = network, None if layout is None or layout.plain else layout
        self.kind, self.geometry, self.context = network.kind, network.geometry, network.context
        self.scale, self.whole_frames = network.geometry.scale[1], network.whole_frames
        self.reach = max(network.reach, CUBIC_RADIUS if self.scale > 1 else 0)
        self._takes_skip = network.takes_skip  # kept here, because a folded network is a plain module
        for name, value in (("mean", 0.0), ("std", 1.0), ("rms", 1.0)):
            self.register_buffer(name, torch.tensor(value))

    @property
    def error_unit(self) -> Tensor:
        """Return the unit of the network's output: the root mean square of HR minus bicubic in the training frames."""
        return self.rms

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR frames (N, C, h, w) to HR frames (N, C, H, W), or clips (B, C, T, h, w) to clips (B, C, T', H', W')."""
        return torch.addcmul(self.upscaled(lr), self.network(self.standardised(lr)), self.rms)

    def standardised(self, lr: Tensor) -> Tensor:
        """Return what the network sees of LR frames (N, C, h, w) or clips (B, C, T, h, w)."""
        if self.layout is None:
            return (lr - self.mean) / self.std
        channels, seen = self.layout.channels, self.layout.seen
        parts = [(lr[:, :channels] - self.mean) / self.std, lr[:, channels:seen]]
        if self._takes_skip:
            parts.append((lr[:, seen:] - self.mean) / self.std)
        return torch.cat(parts, 1)

    def upscaled(self, lr: Tensor) -> Tensor:
        """Return the bicubic frames of LR frames (N, C, h, w) or clips (B, C, T, h, w), cut as the output is."""
        if self.kind == "frame":
            return self._bicubic(lr)
        lost, y, x = self.geometry.margin
        return crop(self._bicubic(crop(lr, (lost, 0, 0))), (0, y, x))

    def _bicubic(self, lr: Tensor) -> Tensor:
        """Return the bicubic frames of LR frames (N, C, h, w) or clips (B, C, T, h, w)."""
        if self.layout is not None and self.layout.alignment is not None:
            return unpack_skip(lr, self.layout.seen, self.scale)
        lr = lr if self.layout is None else lr[:, : self.layout.channels]
        return (resize_bicubic_up if lr.ndim == 4 else resize_clips_bicubic_up)(lr, self.scale)

    @torch.no_grad()
    def prepare(self, frames: TrainingFrames) -> None:
        """Measure mean, std and rms on whole training frames, then prepare the network; rms ignores masked pixels."""
        variables = [lr if self.layout is None else lr[:, : self.layout.channels] for lr, _, _ in frames]
        count = sum(lr.numel() for lr in variables)
        mean = sum(lr.double().sum() for lr in variables) / count
        variance = sum((lr.double() - mean).square().sum() for lr in variables) / max(1, count - 1)
        # Data modules refuse constant fields; the lower bound keeps the buffers finite where one comes through.
        tiny = torch.finfo(torch.float32).tiny
        self.mean.fill_(float(mean))
        self.std.fill_(max(float(variance) ** 0.5, tiny))
        self.rms.fill_(max(residual_rms(frames, self._bicubic), tiny))
        self.network.prepare([(self.standardised(lr), hr, mask) for lr, hr, mask in frames])

    def fold(self) -> nn.Module:
        """Return a copy of the wrapper in which the network is folded; see `Network.fold`."""
        return self.with_modules(network=self.network.fold())

    def replace_layers(self, replace: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Return a copy of the wrapper with the layers of the network replaced; see `Network.replace_layers`."""
        return self.with_modules(network=self.network.replace_layers(replace))


def residual_rms(frames: TrainingFrames, upscale: Callable[[Tensor], Tensor]) -> float:
    """Return the root mean square of HR minus upscaled LR over whole training frames, without masked pixels."""
    errors, weights = 0.0, 0.0
    for lr, hr, mask in frames:
        for i in range(0, len(lr), 16):
            squares = (hr[i : i + 16] - upscale(lr[i : i + 16])).square()
            weight = torch.ones_like(squares) if mask is None else mask[i : i + 16].expand_as(squares)
            errors += float((squares * weight).sum(dtype=torch.float64))
            weights += float(weight.sum(dtype=torch.float64))
    return (errors / max(weights, 1.0)) ** 0.5


def unwrap_residual(network: Network) -> Network:
    """Return the network without the standardized residual around it."""
    return network.network if isinstance(network, StandardizedResidual) else network
