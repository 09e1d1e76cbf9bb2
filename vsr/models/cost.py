"""Cost of a network, independent of the hardware: parameters and multiply-adds."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vsr.models.base import Network


@torch.no_grad()
def multiply_adds(network: Network, *, h: int, w: int, t: int = 1, channels: int = 1, folded: bool = False) -> float:
    """Return the number of multiply-adds of all convolutions and matrix products, per output pixel and frame.

    A movie network also processes the frames around the `t` output frames, as in inference. The count includes this work.
    Interpolations, activations and sums are not counted.

    Args:
        network: A network, with or without a `StandardizedResidual` around it. A network whose work depends on the mode must be
            in evaluation mode.
        h: Height of a frame in LR pixels. Small frames cost more per pixel in networks with valid convolutions.
        w: Width of a frame in LR pixels.
        t: Number of output frames computed at once.
        channels: Number of channels of each frame.
        folded: True to count the folded form (`Network.fold`), which inference evaluates.
    """
    like = next(network.parameters())
    frames = () if network.kind == "frame" else (t + 2 * network.context,)
    lr = torch.zeros(t if network.kind == "frame" else 1, channels, *frames, h, w, dtype=like.dtype, device=like.device)
    evaluated: nn.Module = network.fold() if folded else network
    with FlopCounterMode(display=False) as counter:
        evaluated(lr)
    _, y, x = network.geometry.output((t, h, w))
    return counter.get_total_flops() / 2 / (t * y * x)


def count_parameters(network: nn.Module) -> int:
    """Return the number of parameters of a network, including filters that were fitted in closed form."""
    return sum(p.numel() for p in network.parameters())
