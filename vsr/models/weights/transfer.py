"""Tensors from a file into a network, by names without wrappers: what is asked for, what comes, what is not allowed."""

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
from vsr.models.parameter_names import canonical
from vsr.models.residual import StandardizedResidual
from vsr.models.weights.adapt import FitRow, Inflate, fit, transposed_weights
from vsr.models.weights.report import FROM_ELSEWHERE, InitReport, InitRow

Mismatch = Literal["refuse", "fresh", "overlap"]
Part = Literal["first", "second"]


@dataclass(frozen=True, kw_only=True)
class Supply:
    """What a file has for a network.

    key, path: for errors. tensors: those of the file. takes: the network's tensor -> the file's, for what is asked for. scale:
    of the network in the file, None when nobody knows. left_out: why a tensor is not asked for, where there is more to say.
    """

    key: str
    path: str
    tensors: Mapping[str, Tensor]
    takes: Mapping[str, str]
    scale: int | None
    left_out: Mapping[str, str] = field(default_factory=dict)


def own_tensors(network: Network) -> dict[str, nn.Parameter]:
    """The parameters of a network by their names without wrappers."""
    return {canonical(name): tensor for name, tensor in network.named_parameters()}


def parts(network: Network) -> dict[str, Network]:
    """The networks that it is made of by the beginning of their tensors' names; one alone has none."""
    return {"first.": network.first, "second.": network.second} if isinstance(network, Cascade) else {"": network}


def chosen(network: Network, into: Part | None, key: str) -> tuple[str, Network]:
    """The part of a combined network that a single one goes into, or the network itself. Raises UserError."""
    if isinstance(network, Cascade):
        if into is None:
            raise UserError(f"{key}.path: the file has one network, this one is made of two; type {key}.into=first or second")
        return f"{into}.", parts(network)[f"{into}."]
    if into is not None:
        raise UserError(f"{key}.into={into}: for pipelines of two networks, and this is one; type {key}.into=null")
    return "", network


def inner(network: Network) -> Network:
    """The network without the standardized residual around it."""
    return network.network if isinstance(network, StandardizedResidual) else network


def last_layer(network: Network) -> list[str]:
    """The tensors of its last convolution and of what comes behind, by their names without wrappers."""
    names = list(own_tensors(network))
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
    last = [f"{canonical(name)}.weight" for name, module in network.named_modules() if isinstance(module, kinds)][-1:]
    return names[names.index(last[0]) :] if last else []


def brought_values(network: Network, drawn: Mapping[str, Tensor], report: InitReport) -> dict[str, Tensor]:
    """1 where a tensor's values came from elsewhere, for tensors of which any did; `drawn` is what the network had before."""
    own = own_tensors(network)
    found: dict[str, Tensor] = {}
    for row in report:
        if row.brought:
            tensor = own[row.tensor].detach()
            found[row.tensor] = torch.ones_like(tensor) if row.status == "loaded" else (tensor != drawn[row.tensor]).to(tensor)
    return found


def fitted(network: Network) -> set[str]:
    """The tensors that every run computes from its training frames, so that nothing can be brought there."""
    filters = [canonical(name) for name, module in network.named_modules() if isinstance(module, Linear)]
    return {".".join(filter(None, (name, kind))) for name in filters for kind in ("weight", "bias")}


@torch.no_grad()
def bring(network: Network, supply: Supply, mismatch: Mismatch, inflate: Inflate | None = None) -> InitReport:
    """Copy what fits and report on every tensor of the network.

    A bias comes only with its kernel. Raises UserError when nothing comes, and for what `mismatch` does not allow: "refuse"
    anything that is asked for and not loaded whole, "overlap" what neither overlaps nor is of another scale or kernel size.
    """
    own, never = own_tensors(network), fitted(network)
    takes = {name: source for name, source in supply.takes.items() if name not in never}
    transposed = {canonical(name) for name in transposed_weights(network)}
    values: dict[str, Tensor] = {}
    rows: dict[str, FitRow] = {}
    for scales, names in _by_scale(network, supply.scale, takes).items():
        targets = {name: own[name] for name in names}
        overlap = mismatch == "overlap"
        new, found = fit(
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
    _judge(report, supply, takes, mismatch)
    for entry in report:
        if entry.brought:
            own[entry.tensor].copy_(values[entry.tensor])
    return report


def _by_scale(network: Network, theirs: int | None, takes: Mapping[str, str]) -> dict[tuple[int, int] | None, list[str]]:
    """The network's tensors by the scales (the file's, ours) that they work at: a second network works at 1."""
    groups: dict[tuple[int, int] | None, list[str]] = {}
    for name, source in takes.items():
        ours = 1 if name.startswith("second.") else network.geometry.scale[1]
        pair = (1 if source.startswith("second.") else theirs, ours)
        groups.setdefault(None if pair[0] is None else (pair[0], ours), []).append(name)
    return groups


def _judge(report: InitReport, supply: Supply, takes: Mapping[str, str], mismatch: Mismatch) -> None:
    """Raise UserError for what is not allowed."""
    where = f"{supply.key}.path={supply.path}"
    asked = [row for row in report if row.tensor in takes]
    bad = [row for row in asked if row.status != "loaded"]
    if not any(row.brought for row in asked):
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
    """What to type."""
    if any(row.reason.startswith("a 2D kernel") for row in bad):
        return f"; type {key}.inflate=centre or {key}.inflate=average"
    if mismatch == "overlap" or not any(row.source for row in bad):
        return ""
    return f"; type {key}.mismatch=overlap to load what both have{', or =fresh to do without' if mismatch == 'refuse' else ''}"
