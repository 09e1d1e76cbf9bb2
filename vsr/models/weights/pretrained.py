"""Weights that come with the package: trained on the photographs inside scikit-image by `make pretrained`, a card beside each."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from vsr.errors import UserError
from vsr.models.base import Network
from vsr.models.parameter_names import canonical
from vsr.models.residual import StandardizedResidual
from vsr.models.weights.adapt import Inflate, transposed_weights
from vsr.models.weights.files import WeightFile, read_file
from vsr.models.weights.init import STATISTICS, Checkpoint
from vsr.models.weights.report import InitReport, InitRow
from vsr.models.weights.standardized import Frames
from vsr.models.weights.transfer import Mismatch, Part, chosen, fitted, inner, own_tensors

log = logging.getLogger(__name__)

FOLDER = Path(__file__).with_name("pretrained_files")


@dataclass(frozen=True, eq=False)
class Shipped:
    """One of the files. Its tensors are those of a network inside a standardized residual, whose statistics are with them.

    network: its config's name. scale: of that network. first, last: its first and its last convolution.
    """

    path: Path
    network: str
    scale: int
    first: str
    last: str


def shipped(folder: Path = FOLDER) -> list[Shipped]:
    """What there is, in the order of networks and scales, from the files' own headers. Raises UserError for a damaged one."""
    return sorted(map(_shipped, folder.glob("*.safetensors")), key=lambda found: (found.network, found.scale))


def _shipped(path: Path) -> Shipped:
    try:
        with safe_open(path, "pt") as file:
            said = file.metadata()
        return Shipped(path, said["name"], int(said["scale"]), said["first"], said["last"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not one of the weight files of vsr, or damaged ({error}); install vsr again") from error


class Pretrained:
    """The weights that come with the package, for the frame networks srcnn, fsrcnn, fsrcnn_s and fsrcnn_56 at x2, x3 and x4.

    Which file it is follows from the network's own layers, not from its name. The first and the last layer are adapted to the
    data (see `adapted`), so that before training the network is the one of the file's card, to the last digit where layers repeat
    the frame's border.

    Args:
        name: of another network's file, for one that has none of its own (srnet3d from fsrcnn with `inflate`); None for its own.
        scale: of the file; None for the network's.
        modules, mismatch, inflate, into: as in `Checkpoint`.
        weights: the run's, which other starts of a sweep read. This one does not, and says so.
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

    def __call__(self, network: Network, key: str = "init", frames: Frames | None = None) -> InitReport:
        """Raises UserError where there are no weights for such a network, and what `Checkpoint` raises."""
        if self.weights is not None:
            log.info("init      weights=%s is not read by %s=pretrained", self.weights, key)
        _, part = chosen(network, self.into, key)
        found = self._choose(part, key)
        if isinstance(part, StandardizedResidual) and frames is not None:
            # As for the authors' weights: what a second network sees depends on the first one.
            (network if self.into == "second" else part).prepare(frames())
        file = read_file(found.path)
        start = Checkpoint(
            path=str(found.path),
            modules=self.modules,
            mismatch=self.mismatch,
            inflate=self.inflate,
            into=self.into,
            scale=found.scale,
        )
        return _noted(start.load(network, adapted(file, found, part), key), found, part)

    def _choose(self, part: Network, key: str) -> Shipped:
        """The file. Raises UserError, listing what there is."""
        there = shipped()
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
        what = f"called {self.name}" if self.name is not None else f"for the layers of this {type(inner(part)).__name__}"
        raise UserError(f"{key}=pretrained: there are no weights {what}; type {key}=random, or {key}.name=NAME of {listed}")


def _fits(part: Network, found: Shipped) -> bool:
    """Whether a file has this network's layers, whatever the scale and the number of channels (it has one)."""
    transposed = {canonical(name) for name in transposed_weights(part)}
    never = fitted(part)
    own = {name: tensor.shape for name, tensor in own_tensors(part).items() if name not in never}
    for name, tensor in _named(read_file(found.path).tensors).items():
        theirs = tensor.shape
        if name not in own or len(theirs) != len(own[name]):
            return False
        if any(a not in (1, b) for a, b in zip(theirs[:2], own[name][:2], strict=True)):
            return False
        if name not in transposed and theirs[2:] != own[name][2:]:
            return False
    return True


def _named(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the wrapper's prefix and its statistics."""
    return {canonical(name): tensor for name, tensor in tensors.items() if canonical(name) not in STATISTICS}


def adapted(file: WeightFile, found: Shipped, part: Network) -> WeightFile:
    """The file's tensors for the statistics of another network, so that they are the same function of a frame.

    They were made for z = (x - mean) / std and put out the residual in units of rms. With mean', std' and rms' of the network,
    z = (std' z' + mean' - mean) / std: the first kernel is multiplied by std' / std, its bias gets (mean' - mean) / std times the
    kernel's sum, and the last layer is multiplied by rms / rms'. A network that sees the frame itself has mean' = 0 and std' = 1.
    """
    tensors = dict(file.tensors)
    mean, std, rms = (tensors[name] for name in STATISTICS)
    ours = (part.mean, part.std, part.rms) if isinstance(part, StandardizedResidual) else (0.0, 1.0, None)
    names = {canonical(name): name for name in tensors}
    kernel, bias = names[f"{found.first}.weight"], names[f"{found.first}.bias"]
    tensors[bias] = tensors[bias] + (ours[0] - mean) / std * tensors[kernel].flatten(1).sum(1)
    tensors[kernel] = tensors[kernel] * (ours[1] / std)
    if ours[2] is not None:
        for kind in ("weight", "bias"):
            tensors[names[f"{found.last}.{kind}"]] = tensors[names[f"{found.last}.{kind}"]] * (rms / ours[2])
    return replace(file, tensors=tensors)


def _noted(report: InitReport, found: Shipped, part: Network) -> InitReport:
    """The report with what `adapted` did."""
    notes = {f"{found.first}.weight": "for the std of this input", f"{found.first}.bias": "for the mean of this input"}
    if isinstance(part, StandardizedResidual):
        notes |= {f"{found.last}.{kind}": "for the rms of this residual" for kind in ("weight", "bias")}
    rows: InitReport = []
    for row in report:
        # A combined network's file is one network's: the report has its names without the part that it went into.
        note = notes.get(row.source or "", "") if row.brought else ""
        rows.append(InitRow(row.tensor, row.shape, row.source, row.status, ", ".join(filter(None, (row.reason, note)))))
    return rows
