"""Where a network's weights come from before training. `init` brings weights only; it never resumes a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vsr.checkpoints import read_checkpoint
from vsr.errors import UserError
from vsr.nets.base import Network
from vsr.nets.combined import Combined


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


class TwoStage:
    """For a combined pipeline: its networks are trained one after the other before (or instead of) together.

    Args:
        first: where the first network's weights come from.
        epochs: of each of these stages.
        frame_batch: clips per step when the first network works frame by frame, where a clip is one frame.
        stop_epoch: end the first stage after so many epochs, in the middle of its schedule.
        stop_psnr: end it as soon as its validation PSNR (dB) is reached. The report stops at 70 epochs or 36 dB, to leave
            something for the second network to do.
    """

    def __init__(
        self,
        *,
        first: Random | Checkpoint,
        epochs: int = 60,
        frame_batch: int = 16,
        stop_epoch: int | None = None,
        stop_psnr: float | None = None,
    ) -> None:
        self.first, self.epochs, self.frame_batch = first, epochs, frame_batch
        self.stop_epoch, self.stop_psnr = stop_epoch, stop_psnr

    def __call__(self, network: Network) -> InitReport:
        """The first network's start; the second one's is drawn. Raises UserError for a network that is not combined."""
        if not isinstance(network, Combined):
            raise UserError("init=two_stage: for pipelines of two networks; type model=two_stage, joint or movie_then_frame")
        found = [replace(row, tensor=f"first.{row.tensor}") for row in self.first(network.first)]
        return found + [InitRow(f"second.{name}", "fresh") for name, _ in network.second.named_parameters()]


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
