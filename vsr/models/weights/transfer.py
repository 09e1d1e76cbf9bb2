"""Copy tensors of a file into a network and report on each tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from vsr.errors import UserError
from vsr.models.base import Network
from vsr.models.cascade import Cascade
from vsr.models.linear import Linear
from vsr.models.parameter_names import canonical_parameter_name
from vsr.models.residual import StandardizedResidual
from vsr.models.weights.adapt import FitRow, Inflate, adapt_weights, transposed_kernel_names
from vsr.models.weights.report import FROM_ELSEWHERE, InitReport, InitRow

Mismatch = Literal["refuse", "fresh", "overlap"]
Part = Literal["first", "second"]


@dataclass(frozen=True, kw_only=True)
class TensorSource:
    """The tensors of a file and the request for a network.

    Attributes:
        key: config key for error messages.
        path: of the file, for error messages.
        tensors: of the file, by name.
        takes: name in the network -> name in the file, for the tensors to load.
        scale: of the network in the file; None when unknown.
        left_out: name in the network -> reason why the tensor is not requested.
    """

    key: str
    path: str
    tensors: Mapping[str, Tensor]
    takes: Mapping[str, str]
    scale: int | None
    left_out: Mapping[str, str] = field(default_factory=dict)


def parameters_by_name(network: Network) -> dict[str, nn.Parameter]:
    """Return the parameters of a network by their names without wrappers."""
    return {canonical_parameter_name(name): tensor for name, tensor in network.named_parameters()}


def network_parts(network: Network) -> dict[str, Network]:
    """Map the prefix of tensor names to the networks of a cascade; a single network has the prefix ""."""
    return {"first.": network.first, "second.": network.second} if isinstance(network, Cascade) else {"": network}


def select_transfer_target(network: Network, into: Part | None, key: str) -> tuple[str, Network]:
    """Return the prefix and the network that receive the weights of a single network.

    Args:
        network: a cascade or a single network.
        into: part of the cascade; None for a single network.
        key: config key for error messages.

    Raises:
        UserError: `into` is missing for a cascade, or given for a single network.
    """
    if isinstance(network, Cascade):
        if into is None:
            raise UserError(f"{key}.path: the file has one network, this one is made of two; type {key}.into=first or second")
        return f"{into}.", network_parts(network)[f"{into}."]
    if into is not None:
        raise UserError(f"{key}.into={into}: for pipelines of two networks, and this is one; type {key}.into=null")
    return "", network


def unwrap_network(network: Network) -> Network:
    """Return the network without the standardized residual around it."""
    return network.network if isinstance(network, StandardizedResidual) else network


def last_layer_names(network: Network) -> list[str]:
    """Return the names of the tensors of the last convolution and of the layers behind it, without wrappers."""
    names = list(parameters_by_name(network))
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
    last = [f"{canonical_parameter_name(name)}.weight" for name, module in network.named_modules() if isinstance(module, kinds)][
        -1:
    ]
    return names[names.index(last[0]) :] if last else []


def transferred_mask(network: Network, drawn: Mapping[str, Tensor], report: InitReport) -> dict[str, Tensor]:
    """Return masks that are 1 where values came from a file.

    Args:
        network: with the loaded weights.
        drawn: values of all tensors before loading, by name.
        report: of the loading.

    Returns:
        A mask of the tensor's shape for each tensor with loaded values.
    """
    own = parameters_by_name(network)
    found: dict[str, Tensor] = {}
    for row in report:
        if row.is_loaded:
            tensor = own[row.tensor].detach()
            found[row.tensor] = torch.ones_like(tensor) if row.status == "loaded" else (tensor != drawn[row.tensor]).to(tensor)
    return found


def computed_tensors(network: Network) -> set[str]:
    """Return the names of tensors that every run computes from its training frames; they are never loaded."""
    filters = [canonical_parameter_name(name) for name, module in network.named_modules() if isinstance(module, Linear)]
    return {".".join(filter(None, (name, kind))) for name in filters for kind in ("weight", "bias")}


@torch.no_grad()
def transfer_tensors(network: Network, supply: TensorSource, mismatch: Mismatch, inflate: Inflate | None = None) -> InitReport:
    """Copy the tensors that fit, in place, and report on every tensor of the network. A bias is loaded only with its kernel.

    Args:
        network: receives the values.
        supply: tensors of the file and the request.
        mismatch: "refuse" allows no requested tensor that is not loaded whole; "overlap" allows other widths, scales and kernel
            sizes; "fresh" allows everything.
        inflate: conversion of 2D kernels to 3D, see `vsr.models.weights.adapt.adapt_weights`.

    Raises:
        UserError: no tensor fits, or `mismatch` does not allow one. The network is then unchanged.
    """
    own, never = parameters_by_name(network), computed_tensors(network)
    takes = {name: source for name, source in supply.takes.items() if name not in never}
    transposed = {canonical_parameter_name(name) for name in transposed_kernel_names(network)}
    values: dict[str, Tensor] = {}
    rows: dict[str, FitRow] = {}
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
    report: InitReport = []
    for name, tensor in own.items():
        why = "computed from the training frames" if name in never else supply.left_out.get(name, "not asked for")
        row = rows.get(name, FitRow(name, None, "fresh", why))
        report.append(InitRow(name, tuple(tensor.shape), row.source, row.status, row.reason))
    _check_report(report, supply, takes, mismatch)
    for entry in report:
        if entry.is_loaded:
            own[entry.tensor].copy_(values[entry.tensor])
    return report


def _by_scale(network: Network, theirs: int | None, takes: Mapping[str, str]) -> dict[tuple[int, int] | None, list[str]]:
    """Group the network's tensors by their scales (in the file, here); a second network has scale 1."""
    groups: dict[tuple[int, int] | None, list[str]] = {}
    for name, source in takes.items():
        ours = 1 if name.startswith("second.") else network.geometry.scale[1]
        pair = (1 if source.startswith("second.") else theirs, ours)
        groups.setdefault(None if pair[0] is None else (pair[0], ours), []).append(name)
    return groups


def _check_report(report: InitReport, supply: TensorSource, takes: Mapping[str, str], mismatch: Mismatch) -> None:
    """Raise UserError if nothing was loaded or a mismatch is not allowed."""
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


def _hint(bad: InitReport, key: str, mismatch: Mismatch) -> str:
    """Return the advice at the end of an error message."""
    if any(row.reason.startswith("a 2D kernel") for row in bad):
        return f"; type {key}.inflate=centre or {key}.inflate=average"
    if mismatch == "overlap" or not any(row.source for row in bad):
        return ""
    return f"; type {key}.mismatch=overlap to load what both have{', or =fresh to do without' if mismatch == 'refuse' else ''}"
