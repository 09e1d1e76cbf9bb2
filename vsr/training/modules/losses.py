"""Training losses on frames in the unit interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from vsr.types import LossName

SPECTRAL_FLOOR = 1e-2  # of the power of a mode, in units of the error's: what lies below is not worth a loss

# A weight, and what the loss is to compare: (weight, of the prediction, of the truth, mask).
Term = tuple[float, Tensor, Tensor, Tensor | None]


def loss_function(kind: LossName | Callable[..., Tensor], sr: Tensor, hr: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean error over all pixels, or over the pixels where the mask is 1. Raises ValueError for an unknown `kind`.

    Args:
        kind: "mse" for squared error, "l1" for absolute error, "charbonnier" for sqrt(e^2 + eps^2) with eps = 1e-3 (Lai et al.,
            "Deep Laplacian Pyramid Networks", 2017, eq. 2); or a callable that is called as kind(sr, hr, mask).
        sr: Predicted frames or clips.
        hr: True frames or clips of the same shape.
        mask: 1 where a pixel counts, or its weight; broadcasts against the frames. None for all pixels.
    """
    if callable(kind):
        return kind(sr, hr, mask)
    error = sr - hr
    if kind == "mse":
        error = error.square()
    elif kind == "l1":
        error = error.abs()
    elif kind == "charbonnier":
        error = torch.sqrt(error.square() + 1e-6)
    else:
        raise ValueError(f"unknown loss '{kind}'")
    return weighted_mean(error, mask)


def weighted_mean(error: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean of the errors of all places, weighted by a mask that broadcasts against them; None for equal weights."""
    if mask is None:
        return error.mean()
    weight = mask.expand_as(error)
    return (error * weight).sum() / weight.sum().clamp_min(1)


def additional_loss_terms(
    sr: Tensor, hr: Tensor, mask: Tensor | None, *, gradient: float, spectral: float, temporal: float
) -> Iterator[Term]:
    """Yield (weight, prediction, truth, mask) for each quantity that the additional loss terms compare.

    A weight of 0 switches a term off. A pixel difference or a frame's spectrum that contains a masked pixel does not count.

    Args:
        sr: Predicted clips (B, C, T, H, W), divided by the network's error unit.
        hr: True clips of the same shape and unit.
        mask: 1 where a pixel counts, 0 where it is masked; None for all pixels.
        gradient: Weight of the differences of neighbouring pixels in y and in x. With absolute errors this is the loss of Kim
            et al., "Deep Fluids", 2019.
        spectral: Weight of `spectral_loss_amplitudes`.
        temporal: Weight of the differences of consecutive frames.
    """
    for weight, axis in ((gradient / 2, -1), (gradient / 2, -2), (temporal, -3)):
        if weight > 0:
            yield weight, sr.diff(dim=axis), hr.diff(dim=axis), None if mask is None else _both(mask, axis)
    if spectral > 0:
        whole = None if mask is None else mask.amin((-2, -1), keepdim=True)
        yield spectral, spectral_loss_amplitudes(sr), spectral_loss_amplitudes(hr), whole


def spectral_loss_amplitudes(clips: Tensor) -> Tensor:
    """Compute the logarithmic amplitudes of all Fourier modes of each frame, which the spectral loss compares.

    The mean of each frame is subtracted, and the frame is multiplied by a Hann window. White noise of variance 1 has amplitudes
    around 1. Errors of short waves, which hardly count in the mean squared error, weigh as much here as errors of long waves.
    The phase of a wave does not count.

    Args:
        clips: (..., H, W).

    Returns:
        (..., H, W // 2 + 1), float32.
    """
    frames = clips.float()  # transforms in half precision are for a few sizes only
    # Without the zeros at its ends, so that no frame is too small for it.
    y, x = (torch.hann_window(n + 2, periodic=False, device=clips.device)[1:-1] for n in frames.shape[-2:])
    window = y[:, None] * x
    modes = torch.fft.rfft2((frames - frames.mean((-2, -1), keepdim=True)) * window)
    power = (modes.real.square() + modes.imag.square()) / window.square().sum()
    return 0.5 * torch.log(power + SPECTRAL_FLOOR)


def _both(mask: Tensor, axis: int) -> Tensor:
    """Return a mask (or weights) that counts a pixel where the pixel before it along `axis` counts, too."""
    size = mask.shape[axis] - 1
    return torch.minimum(mask.narrow(axis, 0, size), mask.narrow(axis, 1, size))
