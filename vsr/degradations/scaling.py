"""Degradations that downscale: bicubic, area averages, subsampling; and the word for LR that no degradation made."""

from __future__ import annotations

from typing import NoReturn

import torch.nn.functional as F

from vsr.degradations.base import Bounds
from vsr.degradations.resize import check_resize_divisible, resize_bicubic_down
from vsr.errors import UserError
from vsr.types import HRFrames, LRFrames


class Bicubic:
    """MATLAB's antialiased imresize(hr, 1/scale), as in the SRCNN and FSRCNN papers and in the report that vsr reproduces.

    A call raises ValueError if scale does not divide H and W.
    """

    name = "bicubic"
    temporal = False

    def __call__(self, hr: HRFrames, scale: int, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> LRFrames:
        return resize_bicubic_down(hr, scale)

    def origin(self, scale: int) -> float:
        """Return (scale - 1) / 2, because each LR pixel lies in the middle of its block of HR pixels."""
        return (scale - 1) / 2


class Area:
    """Mean over blocks of scale x scale pixels, as on a coarser grid or a sensor with larger pixels.

    A call raises ValueError if scale does not divide H and W.
    """

    name = "area"
    temporal = False

    def __call__(self, hr: HRFrames, scale: int, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> LRFrames:
        check_resize_divisible(hr, scale)
        return F.avg_pool2d(hr, scale)

    def origin(self, scale: int) -> float:
        """Return (scale - 1) / 2, because each LR pixel lies in the middle of its block of HR pixels."""
        return (scale - 1) / 2


class Subsample:
    """Subsampling without antialiasing: every scale-th pixel along both axes, beginning with pixel `phase`.

    An LR pixel lies (scale - 1) / 2 - phase HR pixels above and to the left of the middle of its block. Interpolation ignores
    this shift; learned filters can correct it. A flip reverses the shift, so training uses no flips unless the shift is zero
    (see `origin`). A call raises ValueError if scale does not divide H and W.

    Args:
        phase: First kept row and column, 0 to scale - 1.

    Raises:
        UserError: If the phase is negative; a call raises UserError if the phase is not below scale.
    """

    temporal = False

    def __init__(self, phase: int = 0) -> None:
        if phase < 0:
            raise UserError(
                f"phase={phase} of Subsample: must be 0 or more; type degradation.phase=0, in a chain "
                f"degradation.steps.subsample.phase=0"
            )
        self.phase = phase
        self.name = f"subsample({phase})" if phase else "subsample"

    def __call__(self, hr: HRFrames, scale: int, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> LRFrames:
        if self.phase >= scale:
            raise UserError(
                f"degradation={self.name}: phase={self.phase} must be below scale={scale}; type degradation.phase=0, in a chain "
                f"degradation.steps.subsample.phase=0"
            )
        check_resize_divisible(hr, scale)
        # A copy, so that LR frames do not keep HR frames in memory.
        return hr[..., self.phase :: scale, self.phase :: scale].clone()

    def origin(self, scale: int) -> float:
        """Return the phase, because the first LR pixel is HR pixel number `phase`."""
        return float(self.phase)


class Paired:
    """Stand-in for a degradation where LR frames come from files, such as those of a coarse simulation beside a fine one.

    LR is then no function of HR, so that there is no consistency with LR and no frame that is one scale coarser.
    """

    name = "pairs"
    temporal = True  # an LR frame depends on all earlier LR frames

    def __call__(self, hr: HRFrames, scale: int, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> NoReturn:
        """Raise UserError, because LR frames come from files."""
        raise UserError(
            "degradation=pairs: LR frames come from files, data.lr= of data=pairs; type degradation=bicubic to make them from HR"
        )

    def origin(self, scale: int) -> float:
        """Return (scale - 1) / 2; data=pairs knows where LR pixels lie and passes it on itself."""
        return (scale - 1) / 2
