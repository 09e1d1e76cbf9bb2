"""Training loss of ensembles: proper scores of pixels, differences, blocks and Fourier modes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vsr.metrics.ensemble import blocks_of, fair_score

SPECTRAL_WEIGHT = 0.3  # of all Fourier modes together, in units of one mode's own error
SMALLEST_MODE = 1e-3  # of the mean error of all modes: modes with a smaller error do not count more
_TINY = 1e-12  # under square roots, whose slope at 0 is infinite

# Score of each place and its weight, both broadcastable against each other; None for equal weights.
Term = tuple[float, Tensor, Tensor | None]


def ensemble_terms(members: Tensor, hr: Tensor, mask: Tensor | None, scale: int) -> Iterator[Term]:
    """Yield (weight, score of each place, mask) for each proper score of the loss of an ensemble.

    Each score compares the members with HR and with each other: E|x - y| - E|x - x'| / 2, with members x and x' and the truth y.
    Single pixels make the spread right; differences in space and time, blocks and Fourier modes make the members look like HR
    and not only spread around the truth.

    Args:
        members: Predicted clips (K, B, C, T, H, W), K of 2 or more, divided by the network's error unit.
        hr: True clips (B, C, T, H, W) in the same unit.
        mask: 1 where a pixel counts, 0 where it is masked, or a weight, (B, 1, T, H, W) or (B, C, T, H, W); None for all pixels.
        scale: HR pixels per LR pixel, the side of the blocks.
    """
    yield 1.0, fair_score(members, hr, torch.abs), mask
    axes = [(0.5, -1), (0.5, -2), *([(1.0, -3)] if hr.shape[-3] > 1 else [])]
    for weight, axis in axes:
        both = None if mask is None else torch.minimum(*(mask.narrow(axis, i, mask.shape[axis] - 1) for i in (0, 1)))
        yield weight, fair_score(members.diff(dim=axis), hr.diff(dim=axis), torch.abs), both
    score = fair_score(blocks_of(members, scale), blocks_of(hr, scale), _length) / scale
    yield 1.0, score, None if mask is None else blocks_of(mask, scale).amin(-1)
    modes, truth = _modes(members), _modes(hr)
    unit = _length(modes - truth).detach().mean(tuple(range(modes.ndim - 3)))
    score = fair_score(modes, truth, _length) / (unit + SMALLEST_MODE * unit.mean() + _TINY)
    yield SPECTRAL_WEIGHT, score, None if mask is None else mask.amin((-2, -1), keepdim=True)


def _length(vectors: Tensor) -> Tensor:
    """Return the length of vectors (..., D) as (...)."""
    return (vectors.square().sum(-1) + _TINY).sqrt()


def _modes(frames: Tensor) -> Tensor:
    """Return real and imaginary part (..., H, W // 2 + 1, 2) of the Fourier modes of frames in a Hann window."""
    frames = frames.float()  # transforms in half precision are for a few sizes only
    # Without the zeros at its ends, so that no frame is too small for it.
    y, x = (torch.hann_window(n + 2, periodic=False, device=frames.device)[1:-1] for n in frames.shape[-2:])
    return torch.view_as_real(torch.fft.rfft2(frames * (y[:, None] * x), norm="ortho"))
