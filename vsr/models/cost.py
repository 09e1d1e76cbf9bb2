"""Arithmetic cost of a network, independent of the hardware."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vsr.models.base import Network


@torch.no_grad()
def multiply_adds(network: Network, *, h: int, w: int, t: int = 1, channels: int = 1, folded: bool = False) -> float:
    """Count the multiply-adds of all convolutions and matrix products, per output pixel and frame.

    As in inference, a movie network also processes the frames around the `t` output frames, and their cost is included.
    Interpolations, activations and sums are not counted.

    Args:
        network: with or without the standardized residual around it; in evaluation mode where that makes a difference.
        h: height of a frame in LR pixels. Small frames cost more per pixel in networks with valid layers.
        w: width of a frame in LR pixels.
        t: output frames computed at once.
        channels: of each frame.
        folded: count the folded form (`Network.fold`), which inference evaluates.
    """
    like = next(network.parameters())
    frames = () if network.kind == "frame" else (t + 2 * network.context,)
    lr = torch.zeros(t if network.kind == "frame" else 1, channels, *frames, h, w, dtype=like.dtype, device=like.device)
    evaluated: nn.Module = network.fold() if folded else network
    with FlopCounterMode(display=False) as counter:
        evaluated(lr)
    _, y, x = network.geometry.output((t, h, w))
    return counter.get_total_flops() / 2 / (t * y * x)
