"""Scores of every frame by itself: errors, gradients, extremes and mass."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vsr.metrics.base import FrameTable, frames_of, ratio
from vsr.metrics.psnr_ssim import MSE_FLOOR, SCORES, frame_scores
from vsr.types import HRClips, HRFrames

ERRORS = ("rmse", "max_error", "vrmse", "gradient_rmse", "sharpness")
QUANTILES = {"q001": 0.001, "q010": 0.01, "q990": 0.99, "q999": 0.999}
AMPLITUDE_FLOOR = MSE_FLOOR**0.5  # float32's eps: amplitudes below it are rounding

Weight = Float[Tensor, "N 1 H W"]


class FieldScores(FrameTable):
    """The four scores of `frame_scores`, and errors, gradients, extremes and (for fields) mass of every frame.

    Args:
        bounds: physical values that are 0 and 1.
        mass: whether the sum over a frame means something.

    Pixels where the mask is 0 do not count, gradients next to them neither. Frames of several channels: errors are means over
    all of them, quantiles are those of all values, means that are taken off are each channel's own.
    """

    def __init__(self, bounds: tuple[float, float], mass: bool = True) -> None:
        super().__init__((*SCORES, *ERRORS, *QUANTILES, *(("mass",) if mass else ())))
        self.range, self.mass = bounds[1] - bounds[0], mass

    def update(self, sr: HRClips, hr: HRClips, mask: Float[Tensor, "B 1 F H W"] | None = None) -> None:
        """Add clips in the unit interval. Raises ValueError for frames smaller than SSIM's window of 11x11 pixels."""
        with torch.autocast(sr.device.type, enabled=False):
            p, y = frames_of(sr).float(), frames_of(hr).float()
            weight = None if mask is None else frames_of(mask).float()
            errors = self._errors(p, y, weight)
            columns = [frame_scores(p, y, weight).double(), errors[:, : len(ERRORS)], quantile_errors(p, y, weight)]
        self.add(torch.cat([*columns, errors[:, len(ERRORS) :]], dim=1))

    def _errors(self, p: HRFrames, y: HRFrames, weight: Weight | None) -> Float[Tensor, "N scores"]:
        """The scores of ERRORS, and mass."""
        error = p - y
        centred = y - _mean(y, weight, keepdim=True).float()
        mse, variance = _mean(error.square(), weight), _mean(centred.square(), weight)
        largest = (error if weight is None else error * weight).abs().amax((1, 2, 3)).double()
        (p_y, p_x), (y_y, y_x) = _gradient(p), _gradient(y)
        inner = None if weight is None else _all_neighbours(weight)
        gradient_mse = _mean((p_y - y_y).square() + (p_x - y_x).square(), inner)
        sharp, true_sharp = (_mean(torch.hypot(*x), inner) for x in ((p_y, p_x), (y_y, y_x)))
        columns = [self.range * mse.sqrt(), self.range * torch.where(mse.isnan(), torch.nan, largest)]
        columns += [ratio(mse, variance).sqrt(), self.range * gradient_mse.sqrt(), ratio(sharp, true_sharp, AMPLITUDE_FLOOR)]
        if self.mass:
            columns.append(ratio(_mean(error, weight), _mean(centred.abs(), weight), AMPLITUDE_FLOOR))
        return torch.stack(columns, dim=1)


def quantile_errors(sr: HRFrames, hr: HRFrames, mask: Weight | None = None) -> Float[Tensor, "N quantiles"]:
    """(N, C, H, W) twice -> (N, 4): differences of the quantiles of QUANTILES, in units of the truth's max - min of the frame.

    Quantiles interpolate linearly between order statistics of the unmasked values. A frame whose truth is constant is NaN.
    """
    rows = []
    for i in range(len(hr)):
        p, y = (x[i] if mask is None else x[i][:, mask[i, 0] > 0] for x in (sr, hr))
        rows.append(_quantile_error(p, y) if y.numel() else torch.full((len(QUANTILES),), torch.nan, dtype=torch.float64))
    return torch.stack(rows).to(hr.device)


def _quantile_error(p: Tensor, y: Tensor) -> Tensor:
    # numpy, because torch.quantile sorts no more than 16 million values and takes ten times as long.
    found, true = (np.quantile(x.detach().cpu().numpy(), list(QUANTILES.values())) for x in (p, y))
    spread = (y.max() - y.min()).double().cpu()
    return ratio(torch.from_numpy(found - true), spread, AMPLITUDE_FLOOR)


def _mean(x: HRFrames, weight: Weight | None, keepdim: bool = False) -> Tensor:
    """Over the pixels of weight 1, summed in float64; NaN where there are none. (N,), or (N, C, 1, 1) with `keepdim`."""
    over = (2, 3) if keepdim else (1, 2, 3)
    if weight is None:
        return x.mean(over, keepdim=keepdim, dtype=torch.float64)
    count = weight.sum(over, keepdim=keepdim, dtype=torch.float64) * (1 if keepdim else x.shape[1])
    return (x * weight).sum(over, keepdim=keepdim, dtype=torch.float64) / count


def _gradient(x: HRFrames) -> tuple[Tensor, Tensor]:
    """Central differences per pixel in y and in x, (N, C, H-2, W-2) each."""
    return (x[..., 2:, 1:-1] - x[..., :-2, 1:-1]) / 2, (x[..., 1:-1, 2:] - x[..., 1:-1, :-2]) / 2


def _all_neighbours(weight: Weight) -> Float[Tensor, "N 1 H-2 W-2"]:
    """1 where a pixel and the four beside it are."""
    rows = weight[..., 2:, 1:-1] * weight[..., :-2, 1:-1]
    return weight[..., 1:-1, 1:-1] * rows * weight[..., 1:-1, 2:] * weight[..., 1:-1, :-2]
