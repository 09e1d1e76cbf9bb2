"""What a network costs to evaluate, whatever computes it."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vsr.models.base import Network


@torch.no_grad()
def multiply_adds(network: Network, *, h: int, w: int, t: int = 1, channels: int = 1, folded: bool = False) -> float:
    """Multiplications (with an addition each) of all convolutions and matrices, per output pixel and frame.

    A movie network is given the frames around the `t` that count, too, as in inference: what it computes for frames that are
    left out afterwards is paid for. Interpolations, activations and sums are not counted.

    Args:
        network: without or with the standardised residual around it; in evaluation mode where that makes a difference.
        h, w: LR pixels of a frame; at the border of small frames of networks with valid layers the cost per pixel is higher.
        t: output frames computed at once.
        channels: of its frames.
        folded: count the form that is evaluated instead (`Network.fold`).
    """
    like = next(network.parameters())
    frames = () if network.kind == "frame" else (t + 2 * network.context,)
    lr = torch.zeros(t if network.kind == "frame" else 1, channels, *frames, h, w, dtype=like.dtype, device=like.device)
    evaluated: nn.Module = network.fold() if folded else network
    with FlopCounterMode(display=False) as counter:
        evaluated(lr)
    _, y, x = network.geometry.output((t, h, w))
    return counter.get_total_flops() / 2 / (t * y * x)
