"""What the groups of scores have in common: tables that grow with every update, one row per frame or per segment."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from vsr.metrics.psnr_ssim import MSE_FLOOR


class Table(Metric):
    """A metric whose states are rows of float64 that grow; under DDP those of all processes, one process after the other.

    `per_frame`, `per_segment` and `curves` tell what this process has seen; inside `sync_context`, and so in `compute`, what all
    of them have. Clips of one segment must go to one process.
    """

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self._widths: dict[str, int] = {}

    def add_rows(self, name: str, width: int) -> None:
        """A state of rows (R, width)."""
        self.add_state(name, default=[], dist_reduce_fx="cat")
        self._widths[name] = width
        self._found(name)

    def grow(self, name: str, rows: Float[Tensor, "R width"]) -> None:
        """Add rows to a state, on their device."""
        state: list[Tensor] = getattr(self, name)
        if len(state) == 1 and not len(state[0]):
            state.clear()
        state.append(rows.double())

    def any(self, name: str) -> bool:
        """Whether this process has any row of a state."""
        return len(getattr(self, name)[-1]) > 0

    def rows(self, name: str) -> Tensor:
        """All rows of a state, (R, width)."""
        return dim_zero_cat(getattr(self, name))

    def per_frame(self) -> dict[str, Tensor]:
        """Score -> (N,), NaN for frames that do not have it; scores that no frame can have are not there."""
        return {}

    def per_segment(self) -> dict[str, Tensor]:
        """Score -> (S,), in the same way."""
        return {}

    def curves(self) -> dict[str, dict[str, Tensor]]:
        """Name -> columns of equal length."""
        return {}

    def compute(self) -> dict[str, Tensor]:
        """The mean over frames, or segments, of each score; those that do not have it do not count."""
        return {name: column.nanmean().cpu() for name, column in {**self.per_frame(), **self.per_segment()}.items()}

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        for name in self._widths:
            self._found(name)

    def forward(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises TypeError: torchmetrics would score a batch by itself by way of `reset`, which breaks segments in pieces."""
        raise TypeError(f"{type(self).__name__} is not called: use update and compute")

    def _found(self, name: str) -> None:
        # torchmetrics cannot gather an empty list of one process with the float64 rows of another.
        getattr(self, name).append(torch.zeros(0, self._widths[name], dtype=torch.float64, device=self.device))


class FrameTable(Table):
    """A row per frame: whether the frame can have the scores at all, then the scores."""

    values: list[Tensor]

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names
        self.add_rows("values", 1 + len(names))

    def add(self, scores: Float[Tensor, "N scores"], measured: Bool[Tensor, " N"] | None = None) -> None:
        """Scores of N more frames, in the order of `names`; `measured` False: this kind of frame has none."""
        measured = torch.ones(len(scores), dtype=torch.bool, device=scores.device) if measured is None else measured
        scores = torch.where(measured[:, None], scores, torch.nan)
        self.grow("values", torch.cat([measured[:, None].double(), scores.double()], dim=1))

    def per_frame(self) -> dict[str, Tensor]:
        measured, *columns = self.rows("values").unbind(1)
        return dict(zip(self.names, columns, strict=True)) if measured.any() else {}


def frames_of(clips: Float[Tensor, "B C F H W"]) -> Float[Tensor, "N C H W"]:
    """The frames of all clips, one clip after the other."""
    return clips.transpose(1, 2).flatten(0, 1)


def unmasked(mask: Float[Tensor, "B 1 F H W"] | None, clips: Float[Tensor, "B C F H W"]) -> Bool[Tensor, " N"]:
    """For each frame of clips, whether all of its pixels are real."""
    if mask is None:
        return torch.ones(clips.shape[0] * clips.shape[2], dtype=torch.bool, device=clips.device)
    return frames_of(mask).bool().flatten(1).all(1)


def ratio(part: Tensor, whole: Tensor, floor: float = MSE_FLOOR) -> Tensor:
    """part / whole in float64, NaN where `whole`, which is not negative, is no more than float32's rounding of the data."""
    return torch.where(whole <= floor, torch.nan, part.double() / whole)
