"""Degradation that applies several steps in order."""

from __future__ import annotations

from vsr.degradations.base import Bounds, Degradation, SameSizeStep
from vsr.errors import UserError
from vsr.types import HRFrames, LRFrames


class Chain:
    """Degradation by a series of steps. One step changes the size: earlier steps see HR frames, later steps LR frames.

    Args:
        steps: Steps in order, by name, so that the command line can change a step (degradation.steps.jpeg.quality=50).

    Raises:
        UserError: If no step, or more than one, changes the size, or if a step is not a degradation.
    """

    def __init__(self, *, steps: dict[str, object]) -> None:
        self.before: list[SameSizeStep] = []
        self.after: list[SameSizeStep] = []
        resizing: dict[str, Degradation] = {}
        for key, step in steps.items():
            if isinstance(step, SameSizeStep):
                (self.after if resizing else self.before).append(step)
            elif isinstance(step, Degradation):
                resizing[key] = step
            else:
                raise UserError(f"degradation.steps.{key}={step}: not a degradation; type ~degradation.steps.{key} to do without")
        if not resizing:
            raise UserError(
                f"degradation.steps={list(steps)}: none of them changes the size; add one, for example "
                f"'+degradation.steps.area={{_target_:vsr.degradations.scaling.Area}}'"
            )
        if len(resizing) > 1:
            raise UserError(
                f"degradation.steps={list(steps)}: {' and '.join(resizing)} change the size, one step must do it; "
                f"type ~degradation.steps.{list(resizing)[-1]}"
            )
        (self.resize,) = resizing.values()
        parts: tuple[SameSizeStep | Degradation, ...] = (*self.before, self.resize, *self.after)
        self.name, self.temporal = "+".join(step.name for step in parts), any(step.temporal for step in parts)

    def __call__(self, hr: HRFrames, scale: int, *, bounds: Bounds = (0.0, 1.0), first: int = 0) -> LRFrames:
        for step in self.before:
            hr = step.apply(hr, bounds=bounds, first=first)
        lr = self.resize(hr, scale, bounds=bounds, first=first)
        for step in self.after:
            lr = step.apply(lr, bounds=bounds, first=first)
        return lr

    def origin(self, scale: int) -> float:
        """Return the origin of the step that changes the size; see `Degradation.origin`."""
        return self.resize.origin(scale)
