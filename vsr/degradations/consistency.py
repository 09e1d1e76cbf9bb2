"""Agreement with the LR frames: HR frames changed so that their degradation gives the LR frames that they were made from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from vsr.degradations.base import Degradation
from vsr.degradations.resize import bicubic_up
from vsr.errors import UserError
from vsr.types import HRClips, HRFrames, LRClips, LRFrames

# What makes LR of HR frames in the unit interval, (N, C, H, W) -> (N, C, H/scale, W/scale).
Degrade = Callable[[Tensor], Tensor]
# SR frames (N, C, H, W) and their LR frames (N, C, h, w), whole and in the unit interval -> SR frames that agree better.
Agreement = Callable[[Tensor, Tensor], Tensor]
PROBE_BLOCKS = 12  # LR pixels per side of the frame on which a degradation is tested for being linear and separable
PROBE_VALUES = 1 << 23  # of the frames that show a degradation's matrix, at once
EDGE = 32  # LR pixels from the border: in a matrix, those further inside are taken to be alike
TOLERANCE = 1e-4
EXACT = 1e-9
LINEAR_TOLERANCE = 1e-6
ROWS = 128  # of a matrix that are kept together
NEGLIGIBLE = 1e-10  # of the largest entry of an inverse: entries fall off exponentially, by about 1/2 per LR pixel or faster
WEAKEST = 1e-3  # of LR's finest pattern that a degradation must leave: to divide by less makes rounding errors visible


class Projection:
    """p' = p + D+ (x - D p), with the pseudo-inverse D+ of the degradation D, which is separable: p' = p + Y+ (x - D p) X+'.

    The smallest change after which D p' = x. What is added lies in the range of D+, the rest of p stays. DDNM (Wang et al. 2023)
    calls it range-null-space decomposition.

    Args:
        degrade: linear and separable, see `separable`; of frames in the unit interval.
        scale: as in every network.
    """

    def __init__(self, degrade: Degrade, scale: int) -> None:
        self.degrade, self.scale = degrade, scale
        self._inverses: dict[tuple[int, int], Banded] = {}

    def __call__(self, sr: HRFrames, lr: LRFrames) -> HRFrames:
        """(N, C, H, W) and (N, C, h, w) in the unit interval -> (N, C, H, W)."""
        missing = lr - self.degrade(sr)
        back_y, back_x = self._inverse(sr.shape[-2], -2), self._inverse(sr.shape[-1], -1)
        return sr + back_x.on_columns(back_y.on_rows(missing))

    def _inverse(self, size: int, axis: int) -> Banded:
        """D+ along one axis, (size, size / scale)."""
        if (size, axis) not in self._inverses:
            self._inverses[size, axis] = Banded(pseudo_inverse(along(self.degrade, size, axis, self.scale)))
        return self._inverses[size, axis]


class BackProjection:
    """p <- p + U (x - D p), `steps` times, with bicubic enlargement U: nearer to D p = x with each step, never quite there.

    Irani & Peleg 1991. D need not be separable.

    Args:
        degrade: linear; of frames in the unit interval. scale: as in every network. steps: how often.
    """

    def __init__(self, degrade: Degrade, scale: int, steps: int) -> None:
        self.degrade, self.scale, self.steps = degrade, scale, steps

    def __call__(self, sr: HRFrames, lr: LRFrames) -> HRFrames:
        """(N, C, H, W) and (N, C, h, w) in the unit interval -> (N, C, H, W)."""
        for _ in range(self.steps):
            sr = sr + bicubic_up(lr - self.degrade(sr), self.scale)
        return sr


class Banded:
    """A matrix whose entries far from its diagonal are negligible, in blocks of rows with the columns that these need.

    Applied to frames of 2160x3840 a tenth of the work that the whole matrix is.
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

    def on_rows(self, x: Tensor) -> Tensor:
        """matrix @ x: (..., n, w) -> (..., m, w)."""
        return torch.cat([block @ x[..., span, :] for block, span in zip(self._like(x), self.spans, strict=True)], -2)

    def on_columns(self, x: Tensor) -> Tensor:
        """x @ matrix.T: (..., h, n) -> (..., h, m)."""
        return torch.cat([x[..., span] @ block.T for block, span in zip(self._like(x), self.spans, strict=True)], -1)

    def _like(self, x: Tensor) -> list[Tensor]:
        """The blocks where `x` is and in its precision."""
        key = x.device, x.dtype
        if key not in self._blocks:
            self._blocks[key] = [block.to(x) for block in next(iter(self._blocks.values()))]
        return self._blocks[key]


def agreement(kind: str, degradation: Degradation, scale: int, steps: int) -> Agreement | None:
    """What makes SR frames agree with their LR frames: "projection", "backprojection" in so many steps, None for "none".

    Raises UserError for a degradation whose LR frames are wrong themselves, and for a projection where it has no exact inverse.
    """
    if kind == "none":
        return None
    degrade = partial(degradation, scale=scale)
    if degradation.temporal or not linear(degrade, scale):
        raise UserError(
            f"consistency={kind}: under degradation={degradation.name} the LR frames have errors of their own (noise, "
            f"compression), which agreeing with them would put into the result; type consistency=none"
        )
    if kind == "backprojection":
        return BackProjection(degrade, scale, steps)
    if not invertible(degrade, scale):
        raise UserError(
            f"consistency=projection: degradation={degradation.name} at scale={scale} has no inverse that is exact in single "
            f"precision; type consistency=backprojection, which is not exact"
        )
    return Projection(degrade, scale)


def agreeing(agreement: Agreement, sr: HRClips, lr: LRClips, lost: tuple[int, int]) -> HRClips:
    """SR clips (B, C, F, H - 2 lost, W - 2 lost) and whole LR clips of the same frames, in the unit interval -> SR clips.

    Where a network gives no border, LR enlarged by bicubic stands in while the frame is changed, and is cut off again.
    """
    (y, x), scale = lost, (sr.shape[-1] + 2 * lost[1]) // lr.shape[-1]
    with torch.autocast(sr.device.type, enabled=False):
        frames, seen = (clips.transpose(1, 2).flatten(0, 1).float() for clips in (sr, lr))
        whole = bicubic_up(seen, scale) if y or x else frames
        inner = ..., slice(y, whole.shape[-2] - y), slice(x, whole.shape[-1] - x)
        if y or x:
            whole[inner] = frames
        made = agreement(whole, seen)[inner]
    return made.unflatten(0, (sr.shape[0], sr.shape[2])).transpose(1, 2)


def along(degrade: Degrade, size: int, axis: int, scale: int) -> Tensor:
    """The matrix of a separable degradation along one axis, (size / scale, size), float64.

    Frames that are constant along the other axis show it: there a degradation, whose weights sum to one, changes nothing. Away
    from the border it does the same to every LR pixel, so that a large frame's matrix is made of a small one's; where that turns
    out to be wrong, the large frame is asked itself.
    """
    if size <= 2 * EDGE * scale:
        return _probed(degrade, size, axis, scale)
    small = _probed(degrade, 2 * EDGE * scale, axis, scale)  # (2 EDGE, 2 EDGE scale)
    matrix = small.new_zeros(size // scale, size)
    for row in range(len(matrix)):
        shift = min(max(row - EDGE, 0), len(matrix) - 2 * EDGE)
        matrix[row, shift * scale : shift * scale + small.shape[1]] = small[row - shift]
    drawn = torch.rand(size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    frame = drawn[:, None] if axis == -2 else drawn
    seen = degrade(frame.expand(1, 1, *((size, scale) if axis == -2 else (scale, size))).contiguous()).flatten()
    return matrix if torch.allclose(seen, matrix @ drawn, rtol=0, atol=EXACT) else _probed(degrade, size, axis, scale)


def _probed(degrade: Degrade, size: int, axis: int, scale: int) -> Tensor:
    """The same, column by column."""
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


def pseudo_inverse(matrix: Tensor) -> Tensor:
    """D' (D D')^-1 of a wide matrix D of full rank; a tenth of the time of one by singular values."""
    return torch.cholesky_solve(matrix, torch.linalg.cholesky(matrix @ matrix.T)).T


def linear(degrade: Degrade, scale: int) -> bool:
    """Whether a degradation is a linear map that keeps constants: not so with noise, which is added, and codecs, which round."""
    size = PROBE_BLOCKS * scale
    one, other = torch.rand(2, 1, 1, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).unbind()
    flat = torch.ones_like(one)
    expected = torch.cat([degrade(one) + degrade(other), torch.ones_like(flat[..., ::scale, ::scale])])
    found = torch.cat([degrade(one + other), degrade(flat)])
    return bool(torch.allclose(found, expected, rtol=0, atol=LINEAR_TOLERANCE))


def separable(degrade: Degrade, scale: int) -> bool:
    """Whether a degradation is one matrix from the left and one from the right, so that it can be inverted exactly."""
    size = PROBE_BLOCKS * scale
    frame = torch.rand(1, 1, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix_y, matrix_x = (along(degrade, size, axis, scale) for axis in (-2, -1))
    return bool(torch.allclose(degrade(frame), matrix_y @ frame @ matrix_x.T, rtol=0, atol=TOLERANCE))


def again(degradation: Degradation, scale: int) -> Degrade | None:
    """What makes the LR frames of HR frames once more; None for noise and codecs, which have no one answer."""
    degrade = partial(degradation, scale=scale)
    return None if degradation.temporal or not separable(degrade, scale) else degrade


def invertible(degrade: Degrade, scale: int) -> bool:
    """Whether a degradation is separable and leaves enough of every LR pattern to be inverted in single precision."""
    if not separable(degrade, scale):
        return False
    left = (torch.linalg.svdvals(along(degrade, PROBE_BLOCKS * scale, axis, scale)).min() for axis in (-2, -1))
    return bool(torch.stack(list(left)).prod() >= WEAKEST)
