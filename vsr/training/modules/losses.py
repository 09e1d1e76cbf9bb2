"""Training losses on frames in the unit interval."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vsr.types import LossName

SPECTRAL_FLOOR = 1e-2  # of the power of a mode, in units of the error's: what lies below is not worth a loss

# A weight, and what the loss is to compare: (weight, of the prediction, of the truth, mask).
Term = tuple[float, Tensor, Tensor, Tensor | None]


def loss_function(kind: LossName, sr: Tensor, hr: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over all pixels: squared error, absolute error, or Charbonnier's sqrt(e^2 + eps^2) with eps = 1e-3.

    `mask` broadcasts against the frames; the mean is then over the pixels where it is 1. Charbonnier: Lai et al., "Deep Laplacian
    Pyramid Networks", 2017, eq. 2. Raises ValueError for another name.
    """
    error = sr - hr
    if kind == "mse":
        error = error.square()
    elif kind == "l1":
        error = error.abs()
    elif kind == "charbonnier":
        error = torch.sqrt(error.square() + 1e-6)
    else:
        raise ValueError(f"unknown loss '{kind}'")
    if mask is None:
        return error.mean()
    weight = mask.expand_as(error)
    return (error * weight).sum() / weight.sum().clamp_min(1)


def additional_loss_terms(
    sr: Tensor, hr: Tensor, mask: Tensor | None, *, gradient: float, spectral: float, temporal: float
) -> Iterator[Term]:
    """Compute the additional loss terms of clips (B, C, T, H, W), in the unit of their error; a weight of 0 switches a term off.

    gradient: differences of neighbours in y and in x (with absolute errors the loss of Kim et al., "Deep Fluids", 2019).
    temporal: differences of frames that follow each other. spectral: `spectral_loss_amplitudes`. Differences with a
    masked pixel do not count, nor do spectra of frames with one.
    """
    for weight, axis in ((gradient / 2, -1), (gradient / 2, -2), (temporal, -3)):
        if weight > 0:
            yield weight, sr.diff(dim=axis), hr.diff(dim=axis), None if mask is None else _both(mask, axis)
    if spectral > 0:
        whole = None if mask is None else mask.amin((-2, -1), keepdim=True)
        yield spectral, spectral_loss_amplitudes(sr), spectral_loss_amplitudes(hr), whole


def spectral_loss_amplitudes(clips: Tensor) -> Tensor:
    """Compute the logarithms of the amplitudes of all modes, which the spectral loss compares.

    Each frame loses its mean and is multiplied by a Hann window. White noise of variance one has amplitudes around one. Errors
    of small waves, which hardly count in the mean square error, weigh as much here as errors of large waves. The position of a
    wave does not count.

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
    """Return 1 where a pixel and its predecessor are both valid."""
    size = mask.shape[axis] - 1
    return mask.narrow(axis, 0, size) * mask.narrow(axis, 1, size)
