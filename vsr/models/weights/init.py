"""Initializers of a network's weights: random, from the authors, from a checkpoint, or in two stages.

Initializers never resume a run. Names of tensors omit the standardized residual around a network: features.0.weight,
first.features.0.weight. `vsr weights FILE` prints the tensors of a weight file.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from vsr.errors import LINEAR_FILTER_REMOVED, UserError
from vsr.models.base import Network
from vsr.models.cascade import Cascade
from vsr.models.parameter_names import (
    canonical_parameter_name,
    is_parameter_within,
    last_layer_names,
    parameters_by_name,
    printable_parameter_name,
    require_parameters,
)
from vsr.models.residual import StandardizedResidual, unwrap_residual
from vsr.models.weights.adapt import Inflate, adapt_authors_tensors, adapt_layers_by_role, adapted_authors_names
from vsr.models.weights.authors import read_authors_weights
from vsr.models.weights.files import OWN, WeightFile, read_weight_file
from vsr.models.weights.report import WeightsReport, WeightsReportRow
from vsr.models.weights.standardized import Frames, annotate_standardized_report, fold_standardization
from vsr.models.weights.transfer import (
    Mismatch,
    Part,
    TensorSource,
    select_transfer_target,
    transfer_parts,
    transfer_tensors,
    untransferred_tensor_names,
)
from vsr.recipe import Over

OUTPUT: dict[Over, str] = {"bicubic": "the residual over bicubic", "none": "frames"}
STATISTICS = ("mean", "std", "rms")  # of the data; every run measures them


class Initializer(Protocol):
    """Interface of the initializers in this module and in `vsr.models.weights.pretrained`; each sets weights before training."""

    def __call__(self, network: Network, key: str = "init", frames: Frames | None = None) -> WeightsReport:
        """Set the weights of a network and return the weights report, which has one row per tensor.

        Args:
            network: The network, which is changed in place.
            key: Config key for error messages.
            frames: Function that returns whole training frames in the unit interval, for weights that depend on the data's
                statistics; None if the network has measured its statistics already.

        Raises:
            UserError: If the weights do not fit.
        """


class Random:
    """Initializer that keeps the weights drawn by the network's constructor (seeded by the config key `seed`)."""

    def __call__(self, network: Network, key: str = "init", frames: Frames | None = None) -> WeightsReport:
        """Return a weights report with the status "fresh" for every tensor; the weights do not change."""
        return [
            WeightsReportRow(name, tuple(tensor.shape), None, "fresh") for name, tensor in parameters_by_name(network).items()
        ]


class Authors:
    """Initializer that loads the weights released by the authors of SRCNN or FSRCNN.

    Layers are matched by role. Inside a standardized residual the first layer is adapted to the standardized frame (see
    `vsr.models.weights.standardized`). The last layer then stays fresh, because its output is the residual instead of the
    frame.

    Args:
        path: Path of a .mat file of the authors.
        layers: Number of layers to load, from the first, of those that the network and the file share; None for all. The report
            takes 1 of SRCNN and 4 of FSRCNN.
        mismatch: For layers of other widths: "overlap" loads the common part, "fresh" keeps the network's layer, "refuse"
            raises an error.
        inflate: Conversion of 2D kernels to 3D, see `vsr.models.weights.adapt.adapt_weights`; None refuses 2D kernels.
        into: Part of a cascade that receives the weights, "first" or "second"; None for a single network.
        scale: Scale of the weights. None reads the scale from a file name that ends in x2, x3 or x4; for any other name the
            run's scale is assumed.
    """

    def __init__(
        self,
        *,
        path: str,
        layers: int | None = None,
        mismatch: Mismatch = "overlap",
        inflate: Inflate | None = None,
        into: Part | None = None,
        scale: int | None = None,
    ) -> None:
        self.path, self.layers, self.mismatch = Path(path).expanduser(), layers, mismatch
        self.inflate, self.into, self.scale = inflate, into, scale

    def __call__(self, network: Network, key: str = "init", frames: Frames | None = None) -> WeightsReport:
        """Load the weights and return the report. Raises UserError for a bad file, a network of another kind or a mismatch."""
        prefix, part = select_transfer_target(network, self.into, key)
        weights = read_authors_weights(self.path)
        source = adapt_authors_tensors(unwrap_residual(part), weights, layers=self.layers, key=key)
        left_out: dict[str, str] = {}
        if self.layers is None:
            left_out = {f"{prefix}{name}": "no such layer in the file" for name in parameters_by_name(part)}
        if isinstance(part, StandardizedResidual) and (last := [name for name in last_layer_names(part) if name in source]):
            if self.layers is not None:
                raise UserError(
                    f"{key}.layers={self.layers}: the last one puts out frames, here it would have to put out "
                    f"{OUTPUT['bicubic']}; type recipe.residual=none, or a smaller {key}.layers"
                )
            reason = f"puts out {OUTPUT['none']}, here {OUTPUT['bicubic']}; recipe.residual=none loads it"
            left_out |= {f"{prefix}{name}": reason for name in last}
            source = {name: tensor for name, tensor in source.items() if name not in last}
        named = re.search(r"x([234])\.mat$", self.path.name)
        scale = self.scale or (int(named[1]) if named else None)
        names = adapted_authors_names(unwrap_residual(part))
        takes = {f"{prefix}{name}": names[name] for name in source}
        tensors = {names[name]: tensor for name, tensor in source.items()}
        if isinstance(part, StandardizedResidual):
            # The weights below depend on the statistics. Later measurements give the same statistics: the input of a first or
            # single network depends on the data alone, the input of a second one on the first, which does not change here.
            if frames is not None:
                (network if self.into == "second" else part).prepare(frames())
            tensors = fold_standardization(tensors, part)
        supply = TensorSource(key=key, path=str(self.path), tensors=tensors, takes=takes, scale=scale, left_out=left_out)
        report = transfer_tensors(network, supply, self.mismatch, self.inflate)
        return annotate_standardized_report(report, part) if isinstance(part, StandardizedResidual) else report


class Checkpoint:
    """Initializer that loads another network's weights from a checkpoint of vsr, a plain state dict or a safetensors file.

    Args:
        path: Path of the file.
        modules: Modules of the network to load, by the names in the weights report; a dictionary maps the names to modules of
            the file. None loads all modules.
        mismatch: For tensors that are missing in the file or do not fit: "refuse" raises an error, "fresh" keeps the network's
            tensor, "overlap" loads the leading common filters and channels of other widths and keeps the rest.
        inflate: Conversion of 2D kernels to 3D, see `vsr.models.weights.adapt.adapt_weights`; None refuses 2D kernels.
        into: Part of a cascade that receives the weights of a single network, "first" or "second". None if the network is not a
            cascade, or if the file holds a whole cascade.
        scale: Scale of the network in the file, used only if the file does not contain it; a checkpoint of vsr does.
    """

    def __init__(
        self,
        *,
        path: str,
        modules: list[str] | dict[str, str] | None = None,
        mismatch: Mismatch = "refuse",
        inflate: Inflate | None = None,
        into: Part | None = None,
        scale: int | None = None,
    ) -> None:
        self.path, self.modules, self.mismatch = Path(path).expanduser(), modules, mismatch
        self.inflate, self.into, self.scale = inflate, into, scale

    def __call__(self, network: Network, key: str = "init", frames: Frames | None = None) -> WeightsReport:
        """Load the weights and return the weights report. Raises UserError for a bad file, unknown names or a mismatch."""
        return self.load(network, read_weight_file(self.path), key)

    def load(self, network: Network, file: WeightFile, key: str = "init") -> WeightsReport:
        """Load the weights of a file that is already read; for arguments, report and errors see `Initializer.__call__`."""
        tensors = {canonical_parameter_name(name): tensor for name, tensor in file.tensors.items()}
        if len(tensors) < len(file.tensors):
            raise UserError(f"{self.path}: has two tensors whose names differ by 'network.' only; keep one of them")
        measured = {name.removesuffix("rms") for name in tensors if name.rpartition(".")[2] == "rms"}
        residual = {begin for begin in measured if f"{begin}std" in tensors}  # an equivariant network has neither mean nor std
        if any(f"{begin}filter.weight" in tensors for begin in residual):
            raise UserError(f"{key}.path={self.path}: {LINEAR_FILTER_REMOVED}")
        own = {begin + name for begin in measured for name in STATISTICS}
        tensors = {name: tensor for name, tensor in tensors.items() if name not in own}
        takes = self._takes(network, list(tensors), key)
        left_out = self._of_another_output(network, takes, file, residual, key)
        takes = {name: source for name, source in takes.items() if name not in left_out}
        known = file.facts.get("scale", "")
        scale = int(known) if known.isdecimal() else self.scale
        supply = TensorSource(key=key, path=str(self.path), tensors=tensors, takes=takes, scale=scale, left_out=left_out)
        return transfer_tensors(network, supply, self.mismatch, self.inflate)

    def _takes(self, network: Network, names: list[str], key: str) -> dict[str, str]:
        """Return the name in the file of each requested tensor, by the name in the network."""
        whole = any(name.startswith(("first.", "second.")) for name in names)
        if isinstance(network, Cascade) and self.into is None and (whole or isinstance(self.modules, dict)):
            prefix, places = "", transfer_parts(network)
        else:
            prefix, part = select_transfer_target(network, self.into, key)
            places = {"": part}
        skipped = untransferred_tensor_names(network)
        own = [name[len(prefix) :] for name in parameters_by_name(network) if name.startswith(prefix) and name not in skipped]
        if isinstance(self.modules, dict):
            require_parameters(f"{key}.modules", self.modules, own)
            require_parameters(
                f"{key}.modules (in {self.path.name})", self.modules.values(), map(printable_parameter_name, names)
            )
            pairs = [
                (name, ours, theirs) for name in own for ours, theirs in self.modules.items() if is_parameter_within(name, ours)
            ]
            return {prefix + name: theirs + name[len(ours) :] for name, ours, theirs in pairs}
        if self.modules is not None:
            require_parameters(f"{key}.modules", self.modules, own)
            own = [name for name in own if any(is_parameter_within(name, module) for module in self.modules)]
        alike: dict[str, str] = {}
        for place, part in places.items():
            theirs = [name[len(place) :] for name in names if name.startswith(place)]
            found = adapt_layers_by_role(unwrap_residual(part), theirs)
            alike |= {place + ours: place + source if source else "" for ours, source in found.items()}
        return {prefix + name: alike.get(name, name) for name in own}

    def _of_another_output(
        self, network: Network, takes: dict[str, str], file: WeightFile, residual: set[str], key: str
    ) -> dict[str, str]:
        """Return the last layers whose output (frames, or residual over bicubic) differs from the file's, with the reason."""
        left_out: dict[str, str] = {}
        for prefix, part in transfer_parts(network).items():
            ours: Over = "bicubic" if isinstance(part, StandardizedResidual) else "none"
            for name in (f"{prefix}{name}" for name in last_layer_names(part)):
                begin = takes.get(name, "").partition(".")[0] + "."
                theirs: Over = "bicubic" if (begin if begin in ("first.", "second.") else "") in residual else "none"
                # The output of a plain state dict without statistics is unknown.
                if name not in takes or theirs == ours or (theirs == "none" and file.kind != OWN):
                    continue
                reason = f"puts out {OUTPUT[theirs]}, here {OUTPUT[ours]}"
                if self.mismatch == "refuse":
                    typed = f"type recipe.residual={theirs}, or {key}.mismatch=fresh to do without it"
                    raise UserError(f"{key}.path={self.path}: {name} {reason}; {typed}")
                left_out[name] = reason
        return left_out


class TwoStage:
    """Initializer for training the networks of a cascade one after the other, before or instead of training both together.

    Args:
        first: Initializer of the first network.
        second: Initializer of the second network; None for random weights.
        epochs: Number of epochs of each stage, 0 or more.
        frame_batch: Clips per step in the first stage if the first network is a frame network; each clip is one frame.
        stop_epoch: Number of epochs after which the first stage ends, in the middle of its schedule; None for no early end.
        stop_psnr: Validation PSNR (dB) at which the first stage ends; None for no early end. In
            docs/results/report.md it ends after 70 epochs or at 36 dB, so that the second network has an error to correct.
    """

    def __init__(
        self,
        *,
        first: Initializer,
        second: Initializer | None = None,
        epochs: int = 60,
        frame_batch: int = 16,
        stop_epoch: int | None = None,
        stop_psnr: float | None = None,
    ) -> None:
        self.first, self.second, self.epochs, self.frame_batch = first, second or Random(), epochs, frame_batch
        self.stop_epoch, self.stop_psnr = stop_epoch, stop_psnr

    def __call__(self, network: Network, key: str = "init", frames: Frames | None = None) -> WeightsReport:
        """Initialize both networks of a cascade and return the weights report. Raises UserError for any other network."""
        if not isinstance(network, Cascade):
            raise UserError(f"{key}=two_stage: for pipelines of two networks; type model=two_stage, joint or movie_then_frame")
        found: WeightsReport = []
        # The input of the second network is the output of the trained first one, which does not exist yet.
        for name, start, known in (("first", self.first, frames), ("second", self.second, None)):
            rows = start(getattr(network, name), f"{key}.{name}", known)
            found += [replace(row, tensor=f"{name}.{row.tensor}") for row in rows]
        return found
