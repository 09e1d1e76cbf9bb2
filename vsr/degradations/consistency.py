"""Consistency with the LR frames: corrections after which the degraded SR frames agree with the LR frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from vsr.degradations.base import Degradation
from vsr.degradations.border import Border, Bordered
from vsr.degradations.resize import CUBIC_RADIUS, resize_bicubic_up
from vsr.degradations.scaling import Paired
from vsr.errors import UserError
from vsr.geometry import Alignment, crop
from vsr.types import HRClips, HRFrames, LRClips, LRFrames

# HR frames in the unit interval -> LR frames, (N, C, H, W) -> (N, C, H/scale, W/scale).
Degrade = Callable[[Tensor], Tensor]
# Whole SR frames (N, C, H, W) and their LR frames (N, C, h, w), in the unit interval -> SR frames nearer to D(SR) = LR.
Consistency = Callable[[Tensor, Tensor], Tensor]
# Physical values that are 0 and 1 in the unit interval, (low, high) for all channels or for each.
Bounds = Sequence[float] | Sequence[Sequence[float]]
PROBE_BLOCKS = 12  # LR pixels per side of the random frame that tests linearity and separability
PROBE_VALUES = 1 << 23  # values per batch of impulse frames, which show a degradation's matrix
EDGE = 32  # LR pixels from the border; rows of the matrix further inside are assumed to be shifted copies
TOLERANCE = 1e-4
EXACT = 1e-9
LINEAR_TOLERANCE = 1e-6
ROWS = 128  # matrix rows per block
NEGLIGIBLE = 1e-10  # share of an inverse's largest entry; entries fall off exponentially, by about 1/2 per LR pixel or faster
LEAST_VALUE = 1e-6  # of the lower bound: no rounding error of the unit interval makes it negative in physical units
WEAKEST = 1e-3  # smallest gain for the finest LR pattern; dividing by less makes rounding errors visible


class Projection:
    """Projection of SR frames p onto the frames that degrade to the LR frames x: p' = p + D+ (x - D p).

    D is the degradation and D+ its pseudo-inverse. D is separable, so D+ is one matrix per axis. The projection is the smallest
    change of p that reaches D p' = x. The part of p in the null space of D stays the same (range-null-space decomposition, Wang
    et al., "Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model", 2023).

    Args:
        degrade: Linear and separable degradation of frames in the unit interval.
        scale: HR pixels per LR pixel along each axis.
    """

    def __init__(self, degrade: Degrade, scale: int) -> None:
        self.degrade, self.scale = degrade, scale
        self._inverses: dict[tuple[int, int], BandedMatrix] = {}

    def __call__(self, sr: HRFrames, lr: LRFrames) -> HRFrames:
        """Return SR frames (N, C, H, W) corrected to agree with LR frames (N, C, h, w), all in the unit interval."""
        missing = lr - self.degrade(sr)
        back_y, back_x = self._inverse(sr.shape[-2], -2), self._inverse(sr.shape[-1], -1)
        return sr + back_x.multiply_columns(back_y.multiply_rows(missing))

    def _inverse(self, size: int, axis: int) -> BandedMatrix:
        """Return the pseudo-inverse (size, size / scale) of the degradation along one axis; the result is cached."""
        if (size, axis) not in self._inverses:
            self._inverses[size, axis] = BandedMatrix(
                _pseudo_inverse(consistency_axis_matrix(self.degrade, size, axis, self.scale))
            )
        return self._inverses[size, axis]


class BackProjection:
    """Iterative back-projection of SR frames p: p <- p + U (x - D p), with bicubic enlargement U (Irani & Peleg 1991).

    Each step brings the degraded frames D p nearer to the LR frames x, but a difference remains. D need not be separable.

    Args:
        degrade: Linear degradation D of frames in the unit interval.
        scale: HR pixels per LR pixel along each axis.
        steps: Number of iterations.
        border: How frames continue beyond their borders.
    """

    def __init__(self, degrade: Degrade, scale: int, steps: int, border: Border | None = None) -> None:
        self.degrade, self.scale, self.steps = degrade, scale, steps
        border = border or Border()
        self.border = replace(border, vectors=dict.fromkeys(border.vectors, 0.0))  # of differences

    def __call__(self, sr: HRFrames, lr: LRFrames) -> HRFrames:
        """Return SR frames (N, C, H, W) brought nearer to LR frames (N, C, h, w), all in the unit interval."""
        y, x = self.border.width(CUBIC_RADIUS)
        for _ in range(self.steps):
            missing = resize_bicubic_up(self.border.pad(lr - self.degrade(sr), (y, x)), self.scale)
            sr = sr + crop(missing, (0, y * self.scale, x * self.scale))
        return sr


class BlockRatio:
    """Ratio of block means: SR frames p of a quantity that is never negative become p x / D p in each block of pixels.

    D is the mean over blocks of `scale` x `scale` pixels. Values of p below zero are set to zero first. A block of zeros gets the
    value of its LR pixel everywhere. The result is never negative and keeps to D p' = x; an LR pixel of zero gives a block of
    zeros (Harder et al., "Hard-constrained deep learning for climate
    downscaling", 2023, multiplicative constraint layer).

    Args:
        degrade: Mean over blocks of pixels.
        scale: HR pixels per LR pixel along each axis.
        bounds: Physical values that are 0 and 1 in the unit interval, for all channels or for each.
        names: Names of the channels; empty for channels without names.

    Raises:
        UserError: If a lower bound is negative.
    """

    def __init__(self, degrade: Degrade, scale: int, bounds: Bounds, names: Sequence[str] = ()) -> None:
        self.degrade, self.scale, self.names = degrade, scale, tuple(names)
        self.set_bounds(bounds)

    def set_bounds(self, bounds: Bounds) -> None:
        """Set the physical values that are 0 and 1 in the unit interval. Raises UserError if a lower bound is negative."""
        check_ratio_bounds(bounds, self.names)
        low, high = torch.tensor(bounds, dtype=torch.float64).view(-1, 2, 1, 1).unbind(1)
        self.zero = (-low / (high - low)).float()  # (C, 1, 1) or (1, 1, 1): the physical zero in the unit interval

    def __call__(self, sr: HRFrames, lr: LRFrames) -> HRFrames:
        """Return SR frames (N, C, H, W) whose block means are the LR frames (N, C, h, w), all in the unit interval."""
        zero = self.zero.to(sr)
        sr = sr.maximum(zero)
        mean = self.degrade(sr)
        above = mean - zero
        empty = above <= LEAST_VALUE * zero.abs()
        # p' = zero + (p - zero) (x - zero) / (mean - zero), in a form that keeps the digits of p where zero lies far away.
        factor = torch.where(empty, 0.0, (lr - zero) / above)
        added = torch.where(empty, lr, zero * ((mean - lr) / above))
        sr = sr * self._spread(factor) + self._spread(added)
        return sr.maximum(zero * (1 - LEAST_VALUE))

    def _spread(self, lr: Tensor) -> Tensor:
        return lr.repeat_interleave(self.scale, -2).repeat_interleave(self.scale, -1)


def check_ratio_bounds(bounds: Bounds, names: Sequence[str] = ()) -> None:
    """Raise UserError if data have bounds below zero, so that ratios mean nothing. `names` are those of the channels, or none."""
    for i, low in enumerate(torch.tensor(bounds, dtype=torch.float64).view(-1, 2)[:, 0].tolist()):
        if low < 0:
            where = f"the bounds of {names[i]} begin" if names else "the bounds of the data begin"
            raise UserError(
                f"consistency=ratio: {where} at {low:g}, and a ratio is for values of 0 or more; type consistency=projection"
            )


class FrameMean:
    """Shift of SR frames p by one number per frame and channel, after which their mean (the mass) is that of the LR frames x.

    On grids that share their end points, the outermost pixels count half along each such axis, as in the trapezoidal rule.

    Args:
        alignment: Place of the LR pixels on the HR grid along y and x.
    """

    def __init__(self, alignment: Alignment) -> None:
        self.halved = tuple(origin == "node" for origin in alignment)

    def __call__(self, sr: HRFrames, lr: LRFrames) -> HRFrames:
        """Return SR frames (N, C, H, W) with the means of LR frames (N, C, h, w), all in the unit interval."""
        return sr + (self.mean(lr) - self.mean(sr)).to(sr)

    def mean(self, frames: Tensor) -> Tensor:
        """Return the mean of each frame and channel (N, C, h, w) as (N, C, 1, 1), in double precision."""
        found = frames.double()
        for axis, halved in zip((-2, -1), self.halved, strict=True):
            weights = torch.ones(found.shape[axis], dtype=torch.float64, device=found.device)
            if halved:
                weights[[0, -1]] = 0.5
            shape = (-1, 1) if axis == -2 else (-1,)
            found = (found * weights.view(shape)).sum(axis, keepdim=True) / weights.sum()
        return found


class BandedMatrix:
    """Matrix without its negligible entries far from the diagonal, stored as blocks of rows.

    For frames of 2160x3840 a product takes a tenth of the work of a product with the dense matrix.
    """

    def __init__(self, matrix: Tensor) -> None:
        least = NEGLIGIBLE * matrix.abs().max()
        self.spans: list[slice] = []
        blocks = []
        for rows in matrix.split(ROWS):
            needed = (rows.abs() > least).any(0).nonzero()
            self.spans.append(slice(int(needed[0]), int(needed[-1]) + 1))
            blocks.append(rows[:, self.spans[-1]].clone())
        self._blocks = {(matrix.device, matrix.dtype): blocks}

    def multiply_rows(self, x: Tensor) -> Tensor:
        """Return matrix @ x, (..., m, w), of a matrix (m, n) and x (..., n, w)."""
        return torch.cat([block @ x[..., span, :] for block, span in zip(self._like(x), self.spans, strict=True)], -2)

    def multiply_columns(self, x: Tensor) -> Tensor:
        """Return x @ matrix.T, (..., h, m), of a matrix (m, n) and x (..., h, n)."""
        return torch.cat([x[..., span] @ block.T for block, span in zip(self._like(x), self.spans, strict=True)], -1)

    def _like(self, x: Tensor) -> list[Tensor]:
        """Return the blocks of rows on the device of `x` and in the precision of `x`."""
        key = x.device, x.dtype
        if key not in self._blocks:
            self._blocks[key] = [block.to(x) for block in next(iter(self._blocks.values()))]
        return self._blocks[key]


def build_consistency(
    kind: str,
    degradation: Degradation,
    scale: int,
    steps: int,
    bounds: Bounds = (0.0, 1.0),
    names: Sequence[str] = (),
    alignment: Alignment | None = None,
) -> Consistency | None:
    """Build the correction that makes SR frames agree with their LR frames.

    Args:
        kind: Name of the correction: "none", "projection", "backprojection", "ratio" or "mean".
        degradation: Degradation that made the LR frames.
        scale: HR pixels per LR pixel along each axis.
        steps: Number of iterations of "backprojection".
        bounds: Physical values that are 0 and 1 in the unit interval, for all channels or for each, for "ratio".
        names: Names of the channels, for error messages; empty for channels without names.
        alignment: Place of the LR pixels of pairs on the HR grid along y and x; None for the middle of their blocks.

    Returns:
        The correction, or None for "none".

    Raises:
        UserError: If the degradation adds errors to the LR frames (noise, compression), if `kind` is "projection" and the
            degradation has no inverse that is exact in single precision, or if `kind` is "ratio" and the degradation is no mean
            over blocks or a bound is negative, and if `kind` is "mean" and LR is no part of pairs, or covers another area.
    """
    if kind == "none":
        return None
    paired, middle = isinstance(degradation, Paired), (scale - 1) / 2
    if kind == "mean":
        if not paired:
            raise UserError("consistency=mean: is for pairs; type consistency=projection, which restores more than the mean")
        if alignment is not None and any(origin not in ("node", middle) for origin in alignment):
            raise UserError("consistency=mean: LR of a staggered grid covers another area than HR; type consistency=none")
        return FrameMean(alignment or (middle, middle))
    if paired:
        raise UserError(
            f"consistency={kind}: under degradation=pairs LR is no function of HR; type consistency=mean for the mean (mass) of "
            f"LR in each frame, or consistency=none"
        )
    degrade = partial(degradation, scale=scale)
    if degradation.temporal or not _is_linear(degrade, scale):
        raise UserError(
            f"consistency={kind}: under degradation={degradation.name} the LR frames have errors of their own (noise, "
            f"compression), which agreeing with them would put into the result; type consistency=none"
        )
    if kind == "backprojection":
        found = BackProjection(degrade, scale, steps, degradation.border if isinstance(degradation, Bordered) else None)
        if not _comes_closer(found):
            raise UserError(
                f"consistency_steps={steps}: under degradation={degradation.name} at scale={scale} so many steps lead away from "
                f"agreement again; type consistency=projection, which is exact, or a smaller consistency_steps"
            )
        return found
    if kind == "ratio":
        if not _is_block_mean(degrade, scale):
            raise UserError(
                f"consistency=ratio: is for degradation=area, whose LR pixels are means over blocks; under "
                f"degradation={degradation.name}, type consistency=projection"
            )
        return BlockRatio(degrade, scale, bounds, names)
    if not _is_invertible(degrade, scale):
        raise UserError(
            f"consistency=projection: degradation={degradation.name} at scale={scale} has no inverse that is exact in single "
            f"precision; type consistency=backprojection, which is not exact"
        )
    return Projection(degrade, scale)


def apply_consistency(consistency: Consistency, sr: HRClips, lr: LRClips, margin: tuple[int, int]) -> HRClips:
    """Correct SR clips so that the degraded SR clips agree with the LR clips.

    If the network removed a border, bicubic enlargement of the LR frames fills the border for the correction; then the border
    is cut off.

    Args:
        consistency: Correction from `build_consistency`.
        sr: SR clips (B, C, F, H - 2 y, W - 2 x) in the unit interval.
        lr: LR clips (B, C, F, h, w) of whole frames at the same times, in the unit interval.
        margin: (y, x), HR pixels per side that the network removed.

    Returns:
        Corrected clips of the shape of `sr`, in single precision.
    """
    (y, x), scale = margin, (sr.shape[-1] + 2 * margin[1]) // lr.shape[-1]
    with torch.autocast(sr.device.type, enabled=False):
        frames, seen = (clips.transpose(1, 2).flatten(0, 1).float() for clips in (sr, lr))
        whole = resize_bicubic_up(seen, scale) if y or x else frames
        inner = ..., slice(y, whole.shape[-2] - y), slice(x, whole.shape[-1] - x)
        if y or x:
            whole[inner] = frames
        made = consistency(whole, seen)[inner]
    return made.unflatten(0, (sr.shape[0], sr.shape[2])).transpose(1, 2)


def consistency_axis_matrix(degrade: Degrade, size: int, axis: int, scale: int) -> Tensor:
    """Return the matrix of a separable degradation along one axis, (size / scale, size), float64.

    The matrix is measured on frames that are constant along the other axis. A degradation whose weights sum to one leaves them
    constant. It treats all LR pixels away from the border alike, so a small frame gives the matrix of a large frame. A random
    frame checks the result; if the check fails, the matrix is measured on large frames.

    Args:
        degrade: Degradation of frames in the unit interval.
        size: HR pixels along the axis.
        axis: -2 (y) or -1 (x).
        scale: HR pixels per LR pixel along each axis.
    """
    if size <= 2 * EDGE * scale:
        return _probe_matrix(degrade, size, axis, scale)
    small = _probe_matrix(degrade, 2 * EDGE * scale, axis, scale)  # (2 EDGE, 2 EDGE scale)
    matrix = small.new_zeros(size // scale, size)
    for row in range(len(matrix)):
        shift = min(max(row - EDGE, 0), len(matrix) - 2 * EDGE)
        matrix[row, shift * scale : shift * scale + small.shape[1]] = small[row - shift]
    drawn = torch.rand(size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    frame = drawn[:, None] if axis == -2 else drawn
    seen = degrade(frame.expand(1, 1, *((size, scale) if axis == -2 else (scale, size))).contiguous()).flatten()
    return matrix if torch.allclose(seen, matrix @ drawn, rtol=0, atol=EXACT) else _probe_matrix(degrade, size, axis, scale)


def _probe_matrix(degrade: Degrade, size: int, axis: int, scale: int) -> Tensor:
    """Return the matrix of `consistency_axis_matrix`, found column by column from frames with one impulse each."""
    other = PROBE_BLOCKS * scale
    columns = []
    each = max(1, PROBE_VALUES // (size * other))
    for start in range(0, size, each):
        impulses = torch.zeros(min(each, size - start), size, dtype=torch.float64)  # (n, size)
        impulses.diagonal(start).fill_(1.0)
        frames = impulses[:, None, :, None].expand(-1, 1, size, other)
        if axis == -1:
            frames = frames.transpose(-2, -1)
        seen = degrade(frames.contiguous())
        seen = seen if axis == -2 else seen.transpose(-2, -1)
        columns.append(seen[:, 0, :, PROBE_BLOCKS // 2])  # (n, size / scale)
    return torch.cat(columns).T.contiguous()


def _pseudo_inverse(matrix: Tensor) -> Tensor:
    """Return D' (D D')^-1 of a wide matrix D of full rank, in a tenth of the time of a singular value decomposition."""
    return torch.cholesky_solve(matrix, torch.linalg.cholesky(matrix @ matrix.T)).T


def _is_linear(degrade: Degrade, scale: int) -> bool:
    """Return True if a degradation is linear and keeps constants, unlike noise (which adds) and codecs (which round)."""
    size = PROBE_BLOCKS * scale
    one, other = torch.rand(2, 1, 1, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).unbind()
    flat = torch.ones_like(one)
    expected = torch.cat([degrade(one) + degrade(other), torch.ones_like(flat[..., ::scale, ::scale])])
    found = torch.cat([degrade(one + other), degrade(flat)])
    return bool(torch.allclose(found, expected, rtol=0, atol=LINEAR_TOLERANCE))


def _comes_closer(projection: BackProjection) -> bool:
    """Return True if the last step still brings a random frame nearer to agreement with its LR frame.

    Where LR pixels lie far from the middle of their blocks, as after subsampling at large scales, enlargement puts the finest LR
    patterns so far from their places that steps make them larger.
    """
    size = PROBE_BLOCKS * projection.scale
    frame = torch.rand(1, 1, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    lr = projection.degrade(frame)
    errors = []
    for steps in (projection.steps - 1, projection.steps):
        closer = BackProjection(projection.degrade, projection.scale, steps, projection.border)
        errors.append(float((projection.degrade(closer(resize_bicubic_up(lr, projection.scale), lr)) - lr).square().mean()))
    return errors[1] <= errors[0] + EXACT


def _is_block_mean(degrade: Degrade, scale: int) -> bool:
    """Return True if each LR pixel is the mean over its block of HR pixels."""
    size = PROBE_BLOCKS * scale
    frame = torch.rand(1, 1, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return bool(torch.allclose(degrade(frame), F.avg_pool2d(frame, scale), rtol=0, atol=EXACT))


def is_consistency_separable(degrade: Degrade, scale: int) -> bool:
    """Return True if one matrix per axis describes a degradation D: D p = Y p X'. Its pseudo-inverse is then separable too."""
    size = PROBE_BLOCKS * scale
    frame = torch.rand(1, 1, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix_y, matrix_x = (consistency_axis_matrix(degrade, size, axis, scale) for axis in (-2, -1))
    return bool(torch.allclose(degrade(frame), matrix_y @ frame @ matrix_x.T, rtol=0, atol=TOLERANCE))


def degradation_for_consistency(degradation: Degradation, scale: int) -> Degrade | None:
    """Return the degradation as a function of frames in the unit interval; None if it is not separable (noise, codecs)."""
    within = degradation.degradation if isinstance(degradation, Bordered) else degradation
    separable = not degradation.temporal and is_consistency_separable(partial(within, scale=scale), scale)
    return partial(degradation, scale=scale) if separable else None


def _is_invertible(degrade: Degrade, scale: int) -> bool:
    """Return True if a degradation is separable and well enough conditioned to be inverted in single precision."""
    if not is_consistency_separable(degrade, scale):
        return False
    left = (torch.linalg.svdvals(consistency_axis_matrix(degrade, PROBE_BLOCKS * scale, axis, scale)).min() for axis in (-2, -1))
    return bool(torch.stack(list(left)).prod() >= WEAKEST)
