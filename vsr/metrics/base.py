"""Base classes of the metrics, which keep tables with one row per frame or per segment."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class TableMetric(Metric):
    """Base class of metrics that keep tables as states; each update appends rows.

    A segment is a sequence of consecutive frames, in one clip or in several. All clips of a segment must go to the same
    process. Without a `sync_context`, `per_frame`, `per_segment` and `curves` cover the clips of this process. Inside a
    `sync_context`, and so in `compute`, they cover all processes of a distributed run, one process after the other.
    """

    full_state_update = False
    row_dtype = torch.float64

    def __init__(self) -> None:
        super().__init__()
        self._widths: dict[str, int] = {}

    def add_table(self, name: str, width: int) -> None:
        """Add an empty table (0, width) to the states of the metric."""
        self.add_state(name, default=[], dist_reduce_fx="cat")
        self._widths[name] = width
        self._append_no_rows(name)

    def append_rows(self, name: str, rows: Float[Tensor, "R width"]) -> None:
        """Append rows to a table, on the device of the rows."""
        state: list[Tensor] = getattr(self, name)
        if len(state) == 1 and not len(state[0]):
            state.clear()
        state.append(rows.to(self.row_dtype))

    def append_segments(self, name: str, rows: Float[Tensor, "R width"], continues: bool) -> None:
        """Append one row per segment to a table of sums. If `continues`, add the single row in `rows` to the last row."""
        state: list[Tensor] = getattr(self, name)
        if continues:
            state[-1] = state[-1] + rows
            return
        for row in rows:  # each a tensor of its own, as the last one may grow
            self.append_rows(name, row[None])

    def has_rows(self, name: str) -> bool:
        """Return True if the table has rows in this process."""
        return len(getattr(self, name)[-1]) > 0

    def rows(self, name: str) -> Tensor:
        """Return all rows of a table, (R, width)."""
        return dim_zero_cat(getattr(self, name))

    def per_frame(self) -> dict[str, Tensor]:
        """Return the scores of each frame by name, (N,): NaN for a frame without a value, no entry if no frame can have one."""
        return {}

    def per_segment(self) -> dict[str, Tensor]:
        """Return the scores of each segment by name, (S,): NaN for a segment without a value, no entry if none can have one."""
        return {}

    def curves(self) -> dict[str, dict[str, Tensor]]:
        """Return curves by name; each curve is a dictionary of columns of equal length."""
        return {}

    def compute(self) -> dict[str, Tensor]:
        """Return the mean of each score over the frames or segments that have a value."""
        return {name: column.nanmean().cpu() for name, column in {**self.per_frame(), **self.per_segment()}.items()}

    def reset(self) -> None:
        """Empty all tables."""
        super().reset()
        for name in self._widths:
            self._append_no_rows(name)

    def forward(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise TypeError, because torchmetrics would reset the metric in this call and so cut segments."""
        raise TypeError(f"{type(self).__name__} is not called: use update and compute")

    def _append_no_rows(self, name: str) -> None:
        # torchmetrics cannot gather the empty list of one process with the rows of another.
        getattr(self, name).append(torch.zeros(0, self._widths[name], dtype=self.row_dtype, device=self.device))


class FrameMetric(TableMetric):
    """Base class of metrics with one row of scores per frame, one column per name in `names`."""

    values: list[Tensor]  # of each frame: 1 if the frame can have the scores, else 0; then the scores

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names
        self.add_table("values", 1 + len(names))

    def append_frames(self, scores: Float[Tensor, "N scores"], measured: Bool[Tensor, " N"] | None = None) -> None:
        """Append the scores of N frames.

        Args:
            scores: (N, scores), columns in the order of `names`.
            measured: (N,), False for frames that cannot have the scores; None if all frames can.
        """
        measured = torch.ones(len(scores), dtype=torch.bool, device=scores.device) if measured is None else measured
        scores = torch.where(measured[:, None], scores, torch.nan)
        self.append_rows("values", torch.cat([measured[:, None].double(), scores.double()], dim=1))

    def per_frame(self) -> dict[str, Tensor]:
        measured, *columns = self.rows("values").unbind(1)
        return dict(zip(self.names, columns, strict=True)) if measured.any() else {}
