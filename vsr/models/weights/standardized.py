"""The authors' first layer behind the standardisation of a network's input.

It was made for frames x in the unit interval; inside a standardized residual it sees z = (x - mean) / std. Kernel * std and
bias + mean * (sum of the kernel) on z are the same function of x, so that every layer behind it gets what it was made for. The
same at the border, too, where padding repeats it; where it pads with zeros, those now stand for the mean instead of black.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor

from vsr.models.residual import StandardizedResidual
from vsr.models.weights.report import InitReport
from vsr.types import TrainingFrames

Frames = Callable[[], TrainingFrames]  # whole training frames in the unit interval, for starts that need the data's statistics
KERNEL, BIAS = "extraction, weight", "extraction, bias"  # of the authors' layer that sees the input


def folded(tensors: Mapping[str, Tensor], network: StandardizedResidual) -> dict[str, Tensor]:
    """The authors' tensors by their own names, the first layer for the network's input.

    It is done to the file's tensors, before they are spread over channels, inflated or cut: all of these keep a filter's sum, so
    it stays exact, and filters that do not come are not touched.
    """
    kernel, bias = tensors[KERNEL], tensors[BIAS]
    mean, std = network.mean.to(kernel), network.std.to(kernel)
    return {**tensors, KERNEL: kernel * std, BIAS: bias + mean * kernel.flatten(1).sum(1)}


def noted(report: InitReport, network: StandardizedResidual) -> InitReport:
    """The report with what `folded` did to the two tensors that it changes."""
    mean, std = float(network.mean), float(network.std)
    kernel_came = any(row.source == KERNEL and row.brought for row in report)
    rows: InitReport = []
    for row in report:
        note = ""
        if row.source == KERNEL and row.brought:
            note = f"for the standardised input: times its std {std:.4g}"
        elif row.source == BIAS and row.brought:
            note = f"for the standardised input: plus its mean {mean:.4g} times the kernel's sum"
        elif row.source == BIAS and kernel_came:
            note = f"so the input's mean {mean:.4g} is not made up for"
        rows.append(replace(row, reason=", ".join(filter(None, (row.reason, note)))))
    return rows
