"""Agreement with the LR frames: the smallest change of an HR frame after which its degradation gives its LR frame exactly."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vsr.nets.base import Network
from vsr.types import HRFrames, LRFrames

# What makes LR of HR frames in the unit interval, (N, C, H, W) -> (N, C, H/scale, W/scale).
Degrade = Callable[[Tensor], Tensor]
PROBE_BLOCKS = 12  # LR pixels per side of the frame on which a degradation is tested for being linear and separable
TOLERANCE = 1e-4


class Projection(nn.Module):
    """p' = p + D+ (x - D p), with the pseudo-inverse D+ of the degradation D, which is separable: p' = p + Y+ (x - Y p X') X+'.

    What is added lies in the range of D+, the rest of p stays. DDNM (Wang et al. 2023) calls it range-null-space decomposition.

    Args:
        degrade: linear and separable, see `separable`; of frames in the unit interval.
        scale: as in every network.
    """

    def __init__(self, degrade: Degrade, scale: int) -> None:
        super().__init__()
        self.degrade, self.scale = degrade, scale
        self._matrices: dict[tuple[int, int], Tensor] = {}

    def forward(self, sr: HRFrames, lr: LRFrames) -> HRFrames:
        """(N, C, H, W) and (N, C, h, w) in the unit interval -> (N, C, H, W)."""
        height, width = sr.shape[-2:]
        down_y, down_x = (self._matrix(size, axis).to(sr) for size, axis in ((height, -2), (width, -1)))
        back_y, back_x = self._inverse(height, -2).to(sr), self._inverse(width, -1).to(sr)
        missing = lr - down_y @ sr @ down_x.T
        return sr + back_y @ missing @ back_x.T

    def _matrix(self, size: int, axis: int) -> Tensor:
        """D along one axis, (size / scale, size)."""
        if (size, axis) not in self._matrices:
            matrix = along(self.degrade, size, axis, self.scale)
            self._matrices[size, axis] = matrix
            self._matrices[-size, axis] = torch.linalg.pinv(matrix)
        return self._matrices[size, axis]

    def _inverse(self, size: int, axis: int) -> Tensor:
        self._matrix(size, axis)
        return self._matrices[-size, axis]


class Consistent(Network):
    """A frame network whose output is projected onto what the LR frame allows.

    Args:
        network: a frame network without a lost border.
        degrade: what made the LR frames, in the unit interval.
    """

    def __init__(self, network: Network, degrade: Degrade) -> None:
        super().__init__()
        if network.kind != "frame" or any(network.geometry.margin):
            raise ValueError("a projection needs whole frames")
        self.network, self.geometry = network, network.geometry
        self.reach = 1 << 20  # every pixel depends on every other, however little
        self.projection = Projection(degrade, network.geometry.scale[1])

    def forward(self, lr: LRFrames) -> HRFrames:
        """(N, C, h, w) -> (N, C, H, W)."""
        return self.projection(self.network(lr), lr)


def along(degrade: Degrade, size: int, axis: int, scale: int) -> Tensor:
    """The matrix of a separable degradation along one axis, (size / scale, size), float64.

    Frames that are constant along the other axis show it: there a degradation, whose weights sum to one, changes nothing.
    """
    other = PROBE_BLOCKS * scale
    columns = []
    for start in range(0, size, 256):
        impulses = torch.eye(size, dtype=torch.float64)[start : start + 256]  # (n, size)
        frames = impulses[:, None, :, None].expand(-1, 1, size, other)
        if axis == -1:
            frames = frames.transpose(-2, -1)
        seen = degrade(frames.contiguous())
        seen = seen if axis == -2 else seen.transpose(-2, -1)
        columns.append(seen[:, 0, :, PROBE_BLOCKS // 2])  # (n, size / scale)
    return torch.cat(columns).T.contiguous()


def separable(degrade: Degrade, scale: int) -> bool:
    """Whether a degradation is one matrix from the left and one from the right, so that it can be inverted exactly."""
    size = PROBE_BLOCKS * scale
    frame = torch.rand(1, 1, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix_y, matrix_x = (along(degrade, size, axis, scale) for axis in (-2, -1))
    return bool(torch.allclose(degrade(frame), matrix_y @ frame @ matrix_x.T, rtol=0, atol=TOLERANCE))
