"""Scores of single frames: errors, gradients, extremes, mass and vorticity."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vsr.geometry import SQUARE, PixelGrid, crop
from vsr.metrics.base import FrameMetric
from vsr.metrics.definitions import (
    AMPLITUDE_FLOOR,
    DEFINITIONS,
    HEADLINE_SCORES,
    MSE_FLOOR,
    QUANTILES,
    functions_of_definitions,
)
from vsr.metrics.frames import metric_frames, metric_ratio
from vsr.metrics.psnr_ssim import psnr_ssim_of_frames
from vsr.types import HRClips, HRFrames

FrameMask = Float[Tensor, "N 1 H W"]


class FieldScores(FrameMetric):
    """Headline scores (MAE, MSE, PSNR, SSIM) and all scores per frame whose formula takes a `FramePair`.

    Args:
        bounds: Physical values at 0 and 1 of the unit interval.
        met: The special properties of the data ("field", "geostrophic"), see `Definition.needs`.
        grid: The size of the pixels.
    """

    def __init__(self, bounds: tuple[float, float], met: Collection[str], grid: PixelGrid = SQUARE) -> None:
        self.functions = functions_of_definitions("frame", met=met)
        super().__init__((*HEADLINE_SCORES, *self.functions))
        self.range, self.grid = bounds[1] - bounds[0], grid

    def update(self, sr: HRClips, hr: HRClips, mask: Float[Tensor, "B 1 F H W"] | None = None) -> None:
        """Add clips in the unit interval. Raises ValueError for frames smaller than the 11x11 window of SSIM."""
        p, y = metric_frames(sr), metric_frames(hr)
        weight = None if mask is None else metric_frames(mask)
        pair = FramePair(p, y, weight, self.range, self.grid)
        columns = [function(pair).double() for function in self.functions.values()]
        self.append_frames(torch.cat([psnr_ssim_of_frames(p, y, weight).double(), torch.stack(columns, dim=1)], dim=1))

    def per_frame(self) -> dict[str, Tensor]:
        columns = super().per_frame()
        return {name: x for name, x in columns.items() if DEFINITIONS[name].needs != "geostrophic" or not x.isnan().all()}


class VectorScores(FrameMetric):
    """Scores of velocities: kinetic energy and, in basins with walls, the velocity through the walls.

    Args:
        vectors: Channels (u, v) of each vector along x and along y; scores are means over the vectors.
        bounds: Physical values at 0 and 1 of the unit interval, for each channel.
        window: (y, x) pixels per side that do not count for the energy.
        walls: True if the outermost rows and columns are walls.
    """

    def __init__(
        self,
        vectors: Sequence[tuple[int, int]],
        bounds: Sequence[Sequence[float]],
        window: tuple[int, int],
        walls: bool,
    ) -> None:
        super().__init__(("energy", "wall_velocity") if walls else ("energy",))
        self.vectors, self.window, self.walls = tuple(vectors), window, walls
        self.low, self.size = zip(*((float(low), float(high - low)) for low, high in bounds), strict=True)

    def update(self, sr: Float[Tensor, "B C F h w"], hr: HRClips, mask: Float[Tensor, "B 1 F H W"] | None = None) -> None:
        """Add whole clips in the unit interval.

        Args:
            sr: Predicted clips; they may lack rows and columns at the borders, and have no velocity through walls then.
            hr: True clips.
            mask: Weight of each HR pixel, 0 where it does not count; None for pixels that count alike.
        """
        top, side = ((large - small) // 2 for large, small in zip(hr.shape[-2:], sr.shape[-2:], strict=True))
        y, x = self.window
        inner = crop(sr, (0, y - top, x - side)), crop(hr, (0, y, x)), None if mask is None else crop(mask, (0, y, x))
        columns = [self._mean_over_vectors(_energy_ratio, *inner)]
        if self.walls:
            through = self._mean_over_vectors(_wall_velocity, sr, hr, mask) if top == side == 0 else columns[0] * torch.nan
            columns.append(through)
        self.append_frames(torch.stack(columns, dim=1))

    def _mean_over_vectors(self, score: Callable[..., Tensor], sr: HRClips, hr: HRClips, mask: Tensor | None) -> Tensor:
        """Return the mean over the vectors of a score of physical components (N, 2, H, W), their mask and their largest range."""
        weight = None if mask is None else metric_frames(mask)
        found = []
        for pair in self.vectors:
            low, size = (sr.new_tensor([each[i] for i in pair]).view(2, 1, 1) for each in (self.low, self.size))
            p, y = (metric_frames(clips)[:, list(pair)] * size + low for clips in (sr, hr))
            found.append(score(p, y, weight, float(size.max())))
        return torch.stack(found).mean(0)


def _energy_ratio(p: HRFrames, y: HRFrames, weight: FrameMask | None, size: float) -> Tensor:
    """Return the kinetic energy of predicted over that of true velocities, (N,)."""
    return metric_ratio(_mean(p.square(), weight), _mean(y.square(), weight), MSE_FLOOR * size**2)


def _wall_velocity(p: HRFrames, y: HRFrames, weight: FrameMask | None, size: float) -> Tensor:
    """Return the RMS of the velocity normal to the outermost rows and columns over the RMS speed of the truth, (N,)."""
    along_x, along_y = p.unbind(1)
    normal = torch.cat([along_y[:, [0, -1]].flatten(1), along_x[:, :, [0, -1]].flatten(1)], 1)
    counts = None
    if weight is not None:
        rows = weight[:, 0]
        counts = torch.cat([rows[:, [0, -1]].flatten(1), rows[:, :, [0, -1]].flatten(1)], 1)[:, None, None]
    through = _mean(normal.square()[:, None, None], counts)
    return metric_ratio(through, 2 * _mean(y.square(), weight), MSE_FLOOR * size**2).sqrt()


class FramePair:
    """Predicted and true frames, with the quantities from which scores are computed; scalars have one value per frame, (N,).

    Pixels with mask 0 do not count; gradients next to them do not count either. The mask is the weight of a pixel in all means.
    Quantiles and largest errors know no weights. Errors are means over all channels, quantiles are taken over the values of all
    channels, and each channel is centred by its own mean.

    Args:
        sr: Predicted frames (N, C, H, W) in the unit interval, float32.
        hr: True frames (N, C, H, W) in the unit interval, float32.
        mask: Weight of each pixel, such as its area; 0 where a pixel does not count. None for all pixels alike.
        data_range: Physical units per unit interval.
        grid: The size of the pixels.
    """

    ratio = staticmethod(metric_ratio)

    def __init__(
        self,
        sr: HRFrames,
        hr: HRFrames,
        mask: FrameMask | None = None,
        data_range: float = 1.0,
        grid: PixelGrid = SQUARE,
    ) -> None:
        self.sr, self.hr, self.mask, self.data_range, self.grid = sr, hr, mask, data_range, grid
        self.error = sr - hr

    def mean(self, x: HRFrames) -> Tensor:
        """Return the mean of `x` over channels and unmasked pixels, (N,) in float64; NaN for a frame without such pixels."""
        return _mean(x, self.mask)

    @cached_property
    def mse(self) -> Tensor:
        """Return the mean squared error of each frame, in the unit interval."""
        return self.mean(self.error.square())

    @cached_property
    def largest_error(self) -> Tensor:
        """Return the largest absolute error of each frame, in the unit interval."""
        error = self.error if self.mask is None else self.error * (self.mask > 0)
        return torch.where(self.mse.isnan(), torch.nan, error.abs().amax((1, 2, 3)).double())

    @cached_property
    def centred(self) -> HRFrames:
        """Return the true frames minus the mean of each channel, (N, C, H, W)."""
        return self.hr - _mean(self.hr, self.mask, keepdim=True).float()

    @cached_property
    def variance(self) -> Tensor:
        """Return the variance of each true frame."""
        return self.mean(self.centred.square())

    @cached_property
    def mean_deviation(self) -> Tensor:
        """Return the mean absolute deviation of each true frame from its mean."""
        return self.mean(self.centred.abs())

    @cached_property
    def gradient_mse(self) -> Tensor:
        """Return the mean squared error of the gradient of each frame, in 1 / (unit of the grid)^2."""
        (p_y, p_x), (y_y, y_x) = (_gradient(x, self.grid) for x in (self.sr, self.hr))
        return _mean((p_y - y_y).square() + (p_x - y_x).square(), self._inner_mask) / self.grid.dy**2

    @cached_property
    def mean_gradients(self) -> tuple[Tensor, Tensor]:
        """Return the mean gradient magnitudes of the predicted and of the true frames."""
        p, y = (_mean(torch.hypot(*_gradient(x, self.grid)), self._inner_mask) for x in (self.sr, self.hr))
        return p, y

    @cached_property
    def quantile_errors(self) -> dict[str, Tensor]:
        """Return the error of each quantile, by score name, over the truth's max - min; NaN for a constant truth.

        Quantiles interpolate linearly between the order statistics of the unmasked values.
        """
        rows = []
        for i in range(len(self.hr)):
            p, y = (x[i] if self.mask is None else x[i][:, self.mask[i, 0] > 0] for x in (self.sr, self.hr))
            rows.append(_quantile_errors(p, y) if y.numel() else torch.full((len(QUANTILES),), torch.nan, dtype=torch.float64))
        return dict(zip(QUANTILES, torch.stack(rows).to(self.hr.device).unbind(1), strict=True))

    @cached_property
    def laplacians(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean squares of the five-point Laplacians of prediction, truth and error, over pixels with four neighbours.

        The Laplacians are in 1 / dy^2. The geostrophic vorticity of a height h is g / f times its Laplacian. Frames of several
        channels and frames with masked pixels have no value.
        """
        p, y = _laplacian(self.sr, self.grid), _laplacian(self.hr, self.grid)
        known = torch.full((len(p),), p.shape[1] == 1, device=p.device)
        if self.mask is not None:
            known &= self.mask.bool().flatten(1).all(1)
        found, true, error = (torch.where(known, _mean(x.square(), self._inner_mask), torch.nan) for x in (p, y, p - y))
        return found, true, error

    @cached_property
    def _inner_mask(self) -> Tensor | None:
        """Return the weights (N, 1, H-2, W-2) of inner pixels, 0 next to a masked pixel; None without a mask."""
        if self.mask is None:
            return None
        valid = self.mask > 0
        rows, columns = valid[..., 2:, 1:-1] & valid[..., :-2, 1:-1], valid[..., 1:-1, 2:] & valid[..., 1:-1, :-2]
        return self.mask[..., 1:-1, 1:-1] * (rows & columns)


def _quantile_errors(p: Tensor, y: Tensor) -> Tensor:
    # numpy, because torch.quantile sorts at most 16 million values and takes ten times as long.
    found, true = (np.quantile(x.detach().cpu().numpy(), list(QUANTILES.values())) for x in (p, y))
    spread = (y.max() - y.min()).double().cpu()
    return metric_ratio(torch.from_numpy(found - true), spread, AMPLITUDE_FLOOR)


def _mean(x: HRFrames, weight: FrameMask | None, keepdim: bool = False) -> Tensor:
    """Average over pixels, weighted, in float64: (N,), or (N, C, 1, 1) with `keepdim`; NaN without a pixel that counts."""
    over = (2, 3) if keepdim else (1, 2, 3)
    if weight is None:
        return x.mean(over, keepdim=keepdim, dtype=torch.float64)
    count = weight.sum(over, keepdim=keepdim, dtype=torch.float64) * (1 if keepdim else x.shape[1])
    return (x * weight).sum(over, keepdim=keepdim, dtype=torch.float64) / count


def _laplacian(x: HRFrames, grid: PixelGrid) -> Float[Tensor, "N C H-2 W-2"]:
    """Return the five-point Laplacian at each inner pixel, per dy^2.

    On square pixels it is the sum of the four neighbours minus four times the pixel. On latitudes and longitudes it is that of
    a sphere, (cos(lat) h_lat)_lat / cos(lat) + h_lonlon / cos(lat)^2.
    """
    # First differences are exact in float32 where neighbours are alike.
    y, x = x[..., 1:-1].diff(dim=-2), x[..., 1:-1, :].diff(dim=-1)
    if grid.cosines is None:
        return y.diff(dim=-2) + x.diff(dim=-1) * (grid.dy / grid.dx) ** 2
    rows = _cosines(grid, x)
    return (y * _between_rows(rows)).diff(dim=-2) / rows[1:-1] + x.diff(dim=-1) * (grid.dy / grid.dx / rows[1:-1]) ** 2


def _gradient(x: HRFrames, grid: PixelGrid) -> tuple[Tensor, Tensor]:
    """Return the central differences along y and x, both per dy, (N, C, H-2, W-2) each; dx is that of the row."""
    along_x = (x[..., 1:-1, 2:] - x[..., 1:-1, :-2]) / 2 * (grid.dy / grid.dx)
    along_x = along_x if grid.cosines is None else along_x / _cosines(grid, x)[1:-1]
    return (x[..., 2:, 1:-1] - x[..., :-2, 1:-1]) / 2, along_x


def _cosines(grid: PixelGrid, x: Tensor) -> Float[Tensor, "H 1"]:
    """Return cos(latitude) of each row, on the device and in the type of `x`."""
    return torch.tensor(grid.cosines, dtype=torch.float64).to(x)[:, None]


def _between_rows(cosines: Float[Tensor, "H 1"]) -> Float[Tensor, "H-1 1"]:
    """Return cos(latitude) half-way between rows, to second order in their distance."""
    return (cosines[1:] + cosines[:-1]) / 2
