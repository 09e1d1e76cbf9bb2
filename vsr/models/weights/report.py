"""What became of each tensor of a network: for the terminal, TensorBoard and results.json."""

from __future__ import annotations

from dataclasses import dataclass

from vsr.models.weights.adapt import Status

FROM_ELSEWHERE = ("loaded", "overlap")


@dataclass(frozen=True)
class InitRow:
    """One tensor of the network, by its name without wrappers.

    source: the file's tensor that it was taken from, or was to be. status: "loaded"; "overlap", where the leading part was;
    "fresh", as the constructor drew it; "refused", the same although the file has a tensor for it. reason: why not "loaded", or
    how the tensor was adapted.
    """

    tensor: str
    shape: tuple[int, ...]
    source: str | None
    status: Status
    reason: str = ""

    @property
    def brought(self) -> bool:
        """Whether values came from elsewhere."""
        return self.status in FROM_ELSEWHERE


InitReport = list[InitRow]


def summary(report: InitReport) -> str:
    """In a few words."""
    brought = [row for row in report if row.brought]
    if not brought:
        return "random start"
    parts = sum(row.status == "overlap" for row in brought)
    return f"{len(brought)} of {len(report)} tensors brought" + (f", {parts} of them in part" if parts else "")


def table(report: InitReport) -> str:
    """A row per tensor, columns aligned."""
    rows = _cells(report)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def markdown(report: InitReport) -> str:
    """The same as a table for TensorBoard."""
    head, *body = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in _cells(report)]
    return "\n".join([head, "|---" * 5 + "|", *body])


def _cells(report: InitReport) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("tensor", "shape", "source", "status", "reason")]
    for row in report:
        shape = "x".join(map(str, row.shape)) or "1"
        rows.append((row.tensor, shape, row.source or "-", row.status, row.reason))
    return rows
