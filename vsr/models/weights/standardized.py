"""Adaptation of the first layer of a released SRCNN or FSRCNN to a standardized input.

The layer was trained on frames x in the unit interval. Inside a standardized residual its input is z = (x - mean) / std. With
kernel * std and bias + mean * (sum of the kernel) the layer is the same function of x. The equality is exact with replicated
borders. With zero padding, the zeros then stand for the mean instead of black.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor

from vsr.models.residual import StandardizedResidual
from vsr.models.weights.report import WeightsReport
from vsr.types import TrainingFrames

Frames = Callable[[], TrainingFrames]  # returns whole training frames in the unit interval
KERNEL, BIAS = "extraction, weight", "extraction, bias"  # names of the authors' first layer


def fold_standardization(tensors: Mapping[str, Tensor], network: StandardizedResidual) -> dict[str, Tensor]:
    """Return the tensors of a released SRCNN or FSRCNN with the first layer adapted to the mean and std of a network.

    `adapt_weights` must come later. It may spread, inflate or cut kernels, but the sum of each filter stays the same, so that
    the adaptation remains exact.

    Args:
        tensors: Tensors by the authors' names.
        network: Wrapper whose mean and std are measured already.
    """
    kernel, bias = tensors[KERNEL], tensors[BIAS]
    mean, std = network.mean.to(kernel), network.std.to(kernel)
    return {**tensors, KERNEL: kernel * std, BIAS: bias + mean * kernel.flatten(1).sum(1)}


def annotate_standardized_report(report: WeightsReport, network: StandardizedResidual) -> WeightsReport:
    """Return the weights report with notes on the first layer, which `fold_standardization` changed."""
    mean, std = float(network.mean), float(network.std)
    kernel_came = any(row.source == KERNEL and row.is_loaded for row in report)
    rows: WeightsReport = []
    for row in report:
        note = ""
        if row.source == KERNEL and row.is_loaded:
            note = f"for the standardised input: times its std {std:.4g}"
        elif row.source == BIAS and row.is_loaded:
            note = f"for the standardised input: plus its mean {mean:.4g} times the kernel's sum"
        elif row.source == BIAS and kernel_came:
            note = f"so the input's mean {mean:.4g} is not made up for"
        rows.append(replace(row, reason=", ".join(filter(None, (row.reason, note)))))
    return rows
