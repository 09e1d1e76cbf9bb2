"""Initializer with the weights that come with the package; a Markdown page describes each file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from vsr.errors import UserError
from vsr.models.base import Network
from vsr.models.parameter_names import canonical_parameter_name, parameters_by_name
from vsr.models.residual import StandardizedResidual, unwrap_residual
from vsr.models.weights.adapt import Inflate, adapted_transposed_kernels
from vsr.models.weights.files import WeightFile, read_weight_file
from vsr.models.weights.init import STATISTICS, Checkpoint
from vsr.models.weights.report import WeightsReport, WeightsReportRow
from vsr.models.weights.shipped import ShippedFile, list_shipped
from vsr.models.weights.standardized import Frames
from vsr.models.weights.transfer import Mismatch, Part, select_transfer_target, untransferred_tensor_names

log = logging.getLogger(__name__)


class Pretrained:
    """Initializer that loads weights of the package: srcnn, fsrcnn, fsrcnn_s and fsrcnn_56 at x2, and fsrcnn_56 at x3.

    The layers of the network, not its name, select the file. The first and the last layer are adapted to the data (see
    `_adapt_to_statistics`). The adapted network computes the function that the file's Markdown page describes, exactly if its
    layers replicate the border.

    Args:
        name: Name of the file's network; None selects by the layers. A network without a file of its own needs a name, such as
            fsrcnn for srnet3d (with `inflate`).
        scale: Scale of the file; None for the network's.
        modules, mismatch, inflate, into: Options of `Checkpoint`.
        weights: Path that other initializers of a sweep read. This initializer ignores the path and logs a line.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        scale: int | None = None,
        modules: list[str] | dict[str, str] | None = None,
        mismatch: Mismatch = "refuse",
        inflate: Inflate | None = None,
        into: Part | None = None,
        weights: str | None = None,
    ) -> None:
        self.name, self.scale, self.modules, self.mismatch = name, scale, modules, mismatch
        self.inflate, self.into, self.weights = inflate, into, weights

    def __call__(self, network: Network, key: str = "init", frames: Frames | None = None) -> WeightsReport:
        """Load the weights and return the weights report. Raises UserError if no file fits, or as `Checkpoint`."""
        if self.weights is not None:
            log.info("init      weights=%s is not read by %s=pretrained", self.weights, key)
        _, part = select_transfer_target(network, self.into, key)
        found = self._choose(part, key)
        if isinstance(part, StandardizedResidual) and frames is not None:
            # As in `Authors`: the input of a second network depends on the first one.
            (network if self.into == "second" else part).prepare(frames())
        file = read_weight_file(found.path)
        start = Checkpoint(
            path=str(found.path),
            modules=self.modules,
            mismatch=self.mismatch,
            inflate=self.inflate,
            into=self.into,
            scale=found.scale,
        )
        return _noted(start.load(network, _adapt_to_statistics(file, found, part), key), found, part)

    def _choose(self, part: Network, key: str) -> ShippedFile:
        """Return the weight file for a network. If no file fits, raises UserError with a list of the files."""
        there = list_shipped()
        scale = self.scale or part.geometry.scale[1]
        if self.name is None:
            alike = [found for found in there if _fits(part, found)]
        else:
            alike = [found for found in there if found.network == self.name]
        for found in alike:
            if found.scale == scale:
                return found
        listed = ", ".join(f"{found.network} x{found.scale}" for found in there)
        if alike:
            other = alike[0]
            raise UserError(
                f"{key}=pretrained: there are no weights of {other.network} for x{scale}; type {key}.scale={other.scale} "
                f"{key}.mismatch=overlap to leave the layer that enlarges fresh (there are {listed})"
            )
        what = (
            f"called {self.name}" if self.name is not None else f"for the layers of this {type(unwrap_residual(part)).__name__}"
        )
        raise UserError(f"{key}=pretrained: there are no weights {what}; type {key}=random, or {key}.name=NAME of {listed}")


def _fits(part: Network, found: ShippedFile) -> bool:
    """Return True if a file has the layers of this network, at any scale and number of channels (the files have one)."""
    transposed = {canonical_parameter_name(name) for name in adapted_transposed_kernels(part)}
    never = untransferred_tensor_names(part)
    own = {name: tensor.shape for name, tensor in parameters_by_name(part).items() if name not in never}
    for name, tensor in _named(read_weight_file(found.path).tensors).items():
        theirs = tensor.shape
        if name not in own or len(theirs) != len(own[name]):
            return False
        if any(a not in (1, b) for a, b in zip(theirs[:2], own[name][:2], strict=True)):
            return False
        if name not in transposed and theirs[2:] != own[name][2:]:
            return False
    return True


def _named(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a file's tensors by name without `network.`, and leave out the statistics mean, std and rms."""
    return {
        canonical_parameter_name(name): tensor
        for name, tensor in tensors.items()
        if canonical_parameter_name(name) not in STATISTICS
    }


def _adapt_to_statistics(file: WeightFile, found: ShippedFile, part: Network) -> WeightFile:
    """Adapt a file's tensors to the statistics of another network, so that both compute the same function of a frame.

    The file's network takes z = (x - mean) / std and gives the residual in units of rms. With mean', std' and rms' of the other
    network, z = (std' z' + mean' - mean) / std: the first kernel is multiplied by std' / std, its bias increases by (mean' -
    mean) / std times the sum of the kernel, and the last layer is multiplied by rms / rms'. A network that takes the frame
    itself has mean' = 0 and std' = 1.

    Args:
        file: Tensors and statistics of the file.
        found: Header with the names of the first and last layer in the file.
        part: Network that receives the tensors; its statistics are measured already.
    """
    tensors = dict(file.tensors)
    if not set(STATISTICS) <= tensors.keys():  # an equivariant network has none
        return file
    mean, std, rms = (tensors[name] for name in STATISTICS)
    ours = (part.mean, part.std, part.rms) if isinstance(part, StandardizedResidual) else (0.0, 1.0, None)
    names = {canonical_parameter_name(name): name for name in tensors}
    kernel, bias = (names[f"{found.header['first']}.{kind}"] for kind in ("weight", "bias"))
    tensors[bias] = tensors[bias] + (ours[0] - mean) / std * tensors[kernel].flatten(1).sum(1)
    tensors[kernel] = tensors[kernel] * (ours[1] / std)
    if ours[2] is not None:
        for kind in ("weight", "bias"):
            last = names[f"{found.header['last']}.{kind}"]
            tensors[last] = tensors[last] * (rms / ours[2])
    return replace(file, tensors=tensors)


def _noted(report: WeightsReport, found: ShippedFile, part: Network) -> WeightsReport:
    """Return the weights report with notes on the layers that `_adapt_to_statistics` changed."""
    first, last = (found.header.get(layer) for layer in ("first", "last"))
    if first is None:
        return report
    notes = {f"{first}.weight": "for the std of this input", f"{first}.bias": "for the mean of this input"}
    if isinstance(part, StandardizedResidual):
        notes |= {f"{last}.{kind}": "for the rms of this residual" for kind in ("weight", "bias")}
    rows: WeightsReport = []
    for row in report:
        # `row.source` has no first. or second.: the file is that of a single network.
        note = notes.get(row.source or "", "") if row.is_loaded else ""
        rows.append(WeightsReportRow(row.tensor, row.shape, row.source, row.status, ", ".join(filter(None, (row.reason, note)))))
    return rows
