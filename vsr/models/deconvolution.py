"""Transposed convolutions: their reach, and equal forms at LR."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def deconvolution_reach(k: int, s: int, padding: int) -> int:
    """Return the reach, in input pixels, of a transposed convolution with kernel side k and stride s.

    The reach is the largest |y - i| for which input pixel i contributes to one of the output pixels s y .. s y + s - 1.
    """
    return max((k - 1 - padding) // s, (padding + s - 1) // s)


@torch.no_grad()
def deconvolution_as_phases(deconvolution: nn.ConvTranspose2d, *, padded: bool = False) -> nn.Conv2d:
    """Return a convolution at LR whose output, after a pixel shuffle, equals the output of a transposed convolution.

    The new convolution has s*s output phases (positions in an HR block) per channel. The outputs are equal at the zero border
    too: out[s y + p] = sum over i of in[i] w[s (y - i) + p + padding].

    Args:
        deconvolution: A transposed convolution of stride s whose output is s times as large as its input.
        padded: True if the input already has a border of `deconvolution_reach` pixels.
    """
    s, padding = deconvolution.stride[0], int(deconvolution.padding[0])
    inputs, outputs, k, _ = deconvolution.weight.shape
    reach = deconvolution_reach(k, s, padding)
    weight = deconvolution.weight.new_zeros(outputs, s, s, inputs, 2 * reach + 1, 2 * reach + 1)
    taps = [
        (p, reach - step, t)  # correlation: the input at y - step stands at reach - step
        for p in range(s)
        for step in range(-reach, reach + 1)
        if 0 <= (t := s * step + p + padding) < k
    ]
    for py, jy, ty in taps:
        for px, jx, tx in taps:
            weight[:, py, px, :, jy, jx] = deconvolution.weight[:, :, ty, tx].T
    side, border = 2 * reach + 1, 0 if padded else reach
    conv = nn.Conv2d(inputs, outputs * s * s, side, padding=border, dtype=weight.dtype, device=weight.device)
    conv.weight.copy_(weight.reshape(conv.weight.shape))
    bias = deconvolution.bias if deconvolution.bias is not None else deconvolution.weight.new_zeros(outputs)
    conv.bias.copy_(bias.repeat_interleave(s * s))  # type: ignore[union-attr]
    return conv


@torch.no_grad()
def convolution_between_phases(convolution: nn.Conv2d, s: int) -> nn.Conv2d:
    """Return a convolution at LR that equals pixel_unshuffle(convolution(pixel_shuffle(x, s)), s), also at the zero border.

    The given convolution at HR is k x k and 'same'. The new one has s*s input phases per input channel and s*s output phases
    per output channel. The radius of its kernel is ceil(k//2 / s).
    """
    outputs, inputs, k, _ = convolution.weight.shape
    radius = -(-(k // 2) // s)
    weight = convolution.weight.new_zeros(outputs, s, s, inputs, s, s, 2 * radius + 1, 2 * radius + 1)
    taps = [(p, (p + d) % s, radius + (p + d) // s, d + k // 2) for p in range(s) for d in range(-(k // 2), k // 2 + 1)]
    for py, qy, jy, ty in taps:
        for px, qx, jx, tx in taps:
            weight[:, py, px, :, qy, qx, jy, jx] = convolution.weight[:, :, ty, tx]
    side = 2 * radius + 1
    conv = nn.Conv2d(inputs * s * s, outputs * s * s, side, padding=radius, dtype=weight.dtype, device=weight.device)
    conv.weight.copy_(weight.reshape(conv.weight.shape))
    conv.bias.copy_(convolution.bias.repeat_interleave(s * s))  # type: ignore[union-attr]
    return conv


def prelu_before_shuffle(prelu: nn.PReLU, s: int) -> nn.PReLU:
    """Return a PReLU to apply before a pixel shuffle in place of `prelu` after it; each slope is repeated s*s times."""
    slopes: Tensor = prelu.weight.detach().repeat_interleave(s * s)
    moved = nn.PReLU(len(slopes), dtype=slopes.dtype, device=slopes.device)
    moved.weight.data.copy_(slopes)
    return moved
