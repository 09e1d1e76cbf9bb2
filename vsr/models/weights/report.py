"""Weights report: the origin of each tensor's initial weights, for the terminal, TensorBoard and results.json."""

from __future__ import annotations

from dataclasses import dataclass

from vsr.models.weights.adapt import Status

FROM_ELSEWHERE = ("loaded", "overlap")


@dataclass(frozen=True)
class WeightsReportRow:
    """Row of the weights report: the origin of one tensor's initial weights.

    Attributes:
        tensor: Name of the tensor, without the prefix `network.` that wrappers add.
        shape: Shape of the tensor in the network.
        source, status, reason: Fields of `vsr.models.weights.adapt.AdaptedTensor`.
    """

    tensor: str
    shape: tuple[int, ...]
    source: str | None
    status: Status
    reason: str = ""

    @property
    def is_loaded(self) -> bool:
        """Return True if at least a part of the tensor's values came from a file."""
        return self.status in FROM_ELSEWHERE


WeightsReport = list[WeightsReportRow]


def weights_report_summary(report: WeightsReport) -> str:
    """Summarise the weights report in a few words, for example "8 of 10 tensors brought, 2 of them in part"."""
    brought = [row for row in report if row.is_loaded]
    if not brought:
        return "random start"
    parts = sum(row.status == "overlap" for row in brought)
    return f"{len(brought)} of {len(report)} tensors brought" + (f", {parts} of them in part" if parts else "")


def weights_report_table(report: WeightsReport) -> str:
    """Return the weights report as text with one row per tensor and aligned columns."""
    rows = _cells(report)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def weights_report_markdown(report: WeightsReport) -> str:
    """Return the weights report as a Markdown table for TensorBoard."""
    head, *body = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in _cells(report)]
    return "\n".join([head, "|---" * 5 + "|", *body])


def _cells(report: WeightsReport) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("tensor", "shape", "source", "status", "reason")]
    for row in report:
        shape = "x".join(map(str, row.shape)) or "1"
        rows.append((row.tensor, shape, row.source or "-", row.status, row.reason))
    return rows
