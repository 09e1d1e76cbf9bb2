"""Where a network's weights come from before training. `init` brings weights only; it never resumes a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vsr.checkpoints import read_checkpoint
from vsr.errors import UserError
from vsr.nets.base import Network


@dataclass(frozen=True)
class InitRow:
    """What became of one tensor of the network."""

    tensor: str
    status: Literal["loaded", "fresh", "refused"]
    reason: str = ""


InitReport = list[InitRow]


class Random:
    """Keep the weights that the network's constructor drew (seeded by `seed`)."""

    def __call__(self, network: Network) -> InitReport:
        """Every tensor is reported as fresh."""
        return [InitRow(name, "fresh") for name, _ in network.named_parameters()]


class Checkpoint:
    """Weights of another run of vsr.

    Args:
        path: a checkpoint file.
        partial: load the tensors that fit and leave the others fresh; otherwise everything must fit.
    """

    def __init__(self, *, path: str, partial: bool = False) -> None:
        self.path, self.partial = Path(path).expanduser(), partial

    def __call__(self, network: Network) -> InitReport:
        """Copy by name and shape. Raises UserError when nothing matches, or when something does not and `partial` is off."""
        prefix = "network."
        saved = read_checkpoint(self.path)["state_dict"]
        source = {name[len(prefix) :]: tensor for name, tensor in saved.items() if name.startswith(prefix)}
        report = load_matching(network, source)
        refused = [row for row in report if row.status != "loaded"]
        if len(refused) == len(report):
            raise UserError(f"init.path={self.path}: none of its {len(source)} tensors fits this network ({refused[0].reason})")
        if refused and not self.partial:
            raise UserError(
                f"init.path={self.path}: {len(refused)} of {len(report)} tensors do not fit, {refused[0].tensor} is the first "
                f"({refused[0].reason}); type init.partial=true to load the others"
            )
        return report


@torch.no_grad()
def load_matching(network: Network, source: Mapping[str, Tensor]) -> InitReport:
    """Copy the tensors of `source` that the network has under the same name in the same shape, and report on all of its own."""
    report: InitReport = []
    for name, tensor in network.named_parameters():
        found = source.get(name)
        if found is None:
            report.append(InitRow(name, "fresh", "not in the file"))
        elif found.shape != tensor.shape:
            report.append(InitRow(name, "refused", f"{tuple(found.shape)} in the file, {tuple(tensor.shape)} here"))
        else:
            tensor.copy_(found)
            report.append(InitRow(name, "loaded"))
    return report
