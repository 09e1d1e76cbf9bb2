"""Transfer of tensors from a file into a network, with a row of the weights report for each tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from vsr.errors import UserError
from vsr.models.base import Network
from vsr.models.cascade import Cascade
from vsr.models.linear import Linear
from vsr.models.parameter_names import canonical_parameter_name, parameters_by_name
from vsr.models.weights.adapt import AdaptedTensor, Inflate, adapt_weights, adapted_transposed_kernels
from vsr.models.weights.report import FROM_ELSEWHERE, WeightsReport, WeightsReportRow

Mismatch = Literal["refuse", "fresh", "overlap"]
Part = Literal["first", "second"]


@dataclass(frozen=True, kw_only=True)
class TensorSource:
    """Tensors of a file, and the choice of tensors to load into a network.

    Attributes:
        key: Config key for error messages.
        path: Path of the file, for error messages.
        tensors: Tensors of the file by name.
        takes: Name in the network -> name in the file, for the tensors to load.
        scale: Scale of the network in the file; None if unknown.
        left_out: Name in the network -> reason, for tensors that are not loaded.
    """

    key: str
    path: str
    tensors: Mapping[str, Tensor]
    takes: Mapping[str, str]
    scale: int | None
    left_out: Mapping[str, str] = field(default_factory=dict)


def transfer_parts(network: Network) -> dict[str, Network]:
    """Return the networks of a cascade by the prefix of their tensor names; a single network has the prefix ""."""
    return {"first.": network.first, "second.": network.second} if isinstance(network, Cascade) else {"": network}


def select_transfer_target(network: Network, into: Part | None, key: str) -> tuple[str, Network]:
    """Return the part that receives a single network's weights, as (prefix of its tensor names, network).

    Args:
        network: A cascade or a single network.
        into: Part of the cascade, "first" or "second"; None for a single network.
        key: Config key for error messages.

    Raises:
        UserError: If `into` is missing for a cascade, or given for a single network.
    """
    if isinstance(network, Cascade):
        if into is None:
            raise UserError(f"{key}.path: the file has one network, this one is made of two; type {key}.into=first or second")
        return f"{into}.", transfer_parts(network)[f"{into}."]
    if into is not None:
        raise UserError(f"{key}.into={into}: for pipelines of two networks, and this is one; type {key}.into=null")
    return "", network


def transferred_value_masks(network: Network, drawn: Mapping[str, Tensor], report: WeightsReport) -> dict[str, Tensor]:
    """Return a mask for each loaded tensor: 1 where the value came from a file, else 0.

    Args:
        network: The network with the loaded weights.
        drawn: Values of all tensors before loading, as they were drawn at random, by name.
        report: Weights report of the loading.

    Returns:
        Masks by tensor name, each of its tensor's shape.
    """
    own = parameters_by_name(network)
    found: dict[str, Tensor] = {}
    for row in report:
        if row.is_loaded:
            tensor = own[row.tensor].detach()
            found[row.tensor] = torch.ones_like(tensor) if row.status == "loaded" else (tensor != drawn[row.tensor]).to(tensor)
    return found


def untransferred_tensor_names(network: Network) -> set[str]:
    """Return the names of tensors that every run computes from its training frames and never loads from a file."""
    filters = [canonical_parameter_name(name) for name, module in network.named_modules() if isinstance(module, Linear)]
    return {".".join(filter(None, (name, kind))) for name in filters for kind in ("weight", "bias")}


@torch.no_grad()
def transfer_tensors(network: Network, supply: TensorSource, mismatch: Mismatch, inflate: Inflate | None = None) -> WeightsReport:
    """Copy tensors of a file into a network, in place, where they fit; return the weights report on all tensors.

    Args:
        network: Network that receives the values.
        supply: Tensors of the file and the choice of tensors to load. A bias is loaded only with its kernel.
        mismatch: "refuse" raises an error unless every chosen tensor is loaded whole; "overlap" allows other widths, scales and
            kernel sizes; "fresh" allows everything.
        inflate: Conversion of 2D kernels to 3D, see `vsr.models.weights.adapt.adapt_weights`.

    Raises:
        UserError: If no tensor fits, or `mismatch` does not allow the outcome for a tensor. The network is then unchanged.
    """
    own, never = parameters_by_name(network), untransferred_tensor_names(network)
    takes = {name: source for name, source in supply.takes.items() if name not in never}
    transposed = {canonical_parameter_name(name) for name in adapted_transposed_kernels(network)}
    values: dict[str, Tensor] = {}
    rows: dict[str, AdaptedTensor] = {}
    for scales, names in _by_scale(network, supply.scale, takes).items():
        targets = {name: own[name] for name in names}
        overlap = mismatch == "overlap"
        new, found = adapt_weights(
            targets, supply.tensors, inflate=inflate, overlap=overlap, names=takes, transposed=transposed, scales=scales
        )
        values |= new
        rows |= {row.tensor: row for row in found}
    for name, row in rows.items():
        kernel = rows.get(name.removesuffix("bias") + "weight") if name.endswith(".bias") else None
        if kernel is not None and row.status in FROM_ELSEWHERE and kernel.status not in FROM_ELSEWHERE:
            rows[name] = replace(row, status=kernel.status, reason="without its kernel")
    report: WeightsReport = []
    for name, tensor in own.items():
        why = "computed from the training frames" if name in never else supply.left_out.get(name, "not asked for")
        row = rows.get(name, AdaptedTensor(name, None, "fresh", why))
        report.append(WeightsReportRow(name, tuple(tensor.shape), row.source, row.status, row.reason))
    _check_report(report, supply, takes, mismatch)
    for entry in report:
        if entry.is_loaded:
            own[entry.tensor].copy_(values[entry.tensor])
    return report


def _by_scale(network: Network, theirs: int | None, takes: Mapping[str, str]) -> dict[tuple[int, int] | None, list[str]]:
    """Group the network's tensors by (scale in the file, scale here), or None if unknown; a second network has scale 1."""
    groups: dict[tuple[int, int] | None, list[str]] = {}
    for name, source in takes.items():
        ours = 1 if name.startswith("second.") else network.geometry.scale[1]
        pair = (1 if source.startswith("second.") else theirs, ours)
        groups.setdefault(None if pair[0] is None else (pair[0], ours), []).append(name)
    return groups


def _check_report(report: WeightsReport, supply: TensorSource, takes: Mapping[str, str], mismatch: Mismatch) -> None:
    """Raise UserError if nothing was loaded, or if `mismatch` does not allow the outcome for a tensor."""
    where = f"{supply.key}.path={supply.path}"
    asked = [row for row in report if row.tensor in takes]
    bad = [row for row in asked if row.status != "loaded"]
    if not any(row.is_loaded for row in asked):
        why = f" ({bad[0].tensor}: {bad[0].reason})" if bad else ""
        raise UserError(
            f"{where}: none of its {len(supply.tensors)} tensors fits this network{why}{_hint(bad, supply.key, mismatch)}"
        )
    if mismatch == "overlap":
        bad = [row for row in bad if row.status == "refused"]
    if bad and mismatch != "fresh":
        raise UserError(
            f"{where}: {len(bad)} of {len(asked)} tensors do not fit, {bad[0].tensor} is the first ({bad[0].reason})"
            f"{_hint(bad, supply.key, mismatch)}"
        )


def _hint(bad: WeightsReport, key: str, mismatch: Mismatch) -> str:
    """Return the advice at the end of the error message on tensors that do not fit."""
    if any(row.reason.startswith("a 2D kernel") for row in bad):
        return f"; type {key}.inflate=centre or {key}.inflate=average"
    if mismatch == "overlap" or not any(row.source for row in bad):
        return ""
    return f"; type {key}.mismatch=overlap to load what both have{', or =fresh to do without' if mismatch == 'refuse' else ''}"
