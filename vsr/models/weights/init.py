"""Where a network's weights come from before training. `init` brings weights only; it never resumes a run.

A start is called with the network, the config's key for errors, and `frames`: a function that gives whole training frames in the
unit interval, for starts that fit weights to the data's statistics (`Authors`); None where the network has measured them already.

Names are those of the network without the standardized residual around it: features.0.weight, first.features.0.weight.
`python -m vsr weights FILE` shows what a weight file holds.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from vsr.errors import LINEAR_GONE, UserError
from vsr.models.base import Network
from vsr.models.cascade import Cascade
from vsr.models.parameter_names import canonical, require, within
from vsr.models.residual import StandardizedResidual
from vsr.models.weights.adapt import Inflate, authors_mapping, authors_names, names_by_role
from vsr.models.weights.authors import read_authors, shown
from vsr.models.weights.files import OWN, WeightFile, read_file
from vsr.models.weights.report import InitReport, InitRow
from vsr.models.weights.standardized import Frames, folded, noted
from vsr.models.weights.transfer import Mismatch, Part, Supply, bring, chosen, fitted, inner, last_layer, own_tensors, parts
from vsr.recipe import Over

OUTPUT: dict[Over, str] = {"bicubic": "the residual over bicubic", "none": "frames"}
STATISTICS = ("mean", "std", "rms")  # of the data; every run measures its own


class Start(Protocol):
    """Brings weights to a network and says what became of each tensor; `vsr.models.weights.pretrained.Pretrained` is one, too."""

    def __call__(self, network: Network, key: str = "init", frames: Frames | None = None) -> InitReport:
        """Raises UserError for weights that cannot be brought."""


class Random:
    """Keep the weights that the network's constructor drew (seeded by `seed`)."""

    def __call__(self, network: Network, key: str = "init", frames: Frames | None = None) -> InitReport:
        """Every tensor is reported as fresh."""
        return [InitRow(name, tuple(tensor.shape), None, "fresh") for name, tensor in own_tensors(network).items()]


class Authors:
    """The weights that the authors of SRCNN or FSRCNN released.

    Layers meet by what they do. Inside the standardized residual the last layer puts out something else than the authors' does;
    it stays fresh there. The first one is adapted to the standardised frame (`vsr.models.weights.standardized`).

    Args:
        path: a .mat file of theirs.
        layers: only the first so many that both have; None for all. The report takes 1 of SRCNN and 4 of FSRCNN.
        mismatch: of other widths load what both have ("overlap"), leave such layers fresh ("fresh"), or refuse the file.
        inflate: how a 2D kernel becomes one of a 3D network, see `vsr.models.weights.adapt.fit`; None refuses it.
        into: the part of a combined network that they are for.
        scale: for which they were trained; None takes it from a file name that ends in x2, x3 or x4, and else the run's.
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

    def __call__(self, network: Network, key: str = "init", frames: Frames | None = None) -> InitReport:
        """Raises UserError for an unusable file, a network of another kind, and what `mismatch` does not allow."""
        prefix, part = chosen(network, self.into, key)
        weights = read_authors(self.path)
        source = authors_mapping(inner(part), weights, layers=self.layers, key=key)
        left_out: dict[str, str] = {}
        if self.layers is None:
            left_out = {f"{prefix}{name}": "no such layer in the file" for name in own_tensors(part)}
        if isinstance(part, StandardizedResidual) and (last := [name for name in last_layer(part) if name in source]):
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
        names = authors_names(inner(part))
        takes = {f"{prefix}{name}": names[name] for name in source}
        tensors = {names[name]: tensor for name, tensor in source.items()}
        if isinstance(part, StandardizedResidual):
            # Statistics come before weights: what a second network sees depends on the first one, which is not touched here, and
            # what a first one (or one alone) sees only on the data. So they are the same when the fit measures them again.
            if frames is not None:
                (network if self.into == "second" else part).prepare(frames())
            tensors = folded(tensors, part)
        supply = Supply(key=key, path=str(self.path), tensors=tensors, takes=takes, scale=scale, left_out=left_out)
        report = bring(network, supply, self.mismatch, self.inflate)
        return noted(report, part) if isinstance(part, StandardizedResidual) else report


class Checkpoint:
    """Weights of another network: a checkpoint of vsr, a plain state dict or a safetensors file.

    Args:
        path: the file.
        modules: only these of the network, by the names that the init report gives; a dictionary takes each from the module of
            the file that it names. None for all.
        mismatch: what to do about tensors that are not in the file or do not fit: "refuse" the file; leave them "fresh"; or
            "overlap", of other widths load the leading filters and channels that both have and leave the rest fresh.
        inflate: how 2D kernels become 3D ones, see `vsr.models.weights.adapt.fit`; None refuses it.
        into: the part of a combined network that a single network's file is for.
        scale: of the network in the file, where it is no checkpoint of vsr, which says so itself.
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

    def __call__(self, network: Network, key: str = "init", frames: Frames | None = None) -> InitReport:
        """Raises UserError for an unusable file, names that there are not, and what `mismatch` does not allow."""
        return self.load(network, read_file(self.path), key)

    def load(self, network: Network, file: WeightFile, key: str = "init") -> InitReport:
        """The same with the file's content, already read."""
        tensors = {canonical(name): tensor for name, tensor in file.tensors.items()}
        if len(tensors) < len(file.tensors):
            raise UserError(f"{self.path}: has two tensors whose names differ by 'network.' only; keep one of them")
        residual = {name.removesuffix("rms") for name in tensors if name.rpartition(".")[2] == "rms"}
        if any(f"{begin}filter.weight" in tensors for begin in residual):
            raise UserError(f"{key}.path={self.path}: {LINEAR_GONE}")
        own = {begin + name for begin in residual for name in STATISTICS}
        tensors = {name: tensor for name, tensor in tensors.items() if name not in own}
        takes = self._takes(network, list(tensors), key)
        left_out = self._of_another_output(network, takes, file, residual, key)
        takes = {name: source for name, source in takes.items() if name not in left_out}
        known = file.facts.get("scale", "")
        scale = int(known) if known.isdecimal() else self.scale
        supply = Supply(key=key, path=str(self.path), tensors=tensors, takes=takes, scale=scale, left_out=left_out)
        return bring(network, supply, self.mismatch, self.inflate)

    def _takes(self, network: Network, names: list[str], key: str) -> dict[str, str]:
        """The network's tensor -> the file's, for what is asked for."""
        whole = any(name.startswith(("first.", "second.")) for name in names)
        if isinstance(network, Cascade) and self.into is None and (whole or isinstance(self.modules, dict)):
            prefix, places = "", parts(network)
        else:
            prefix, part = chosen(network, self.into, key)
            places = {"": part}
        skipped = fitted(network)
        own = [name[len(prefix) :] for name in own_tensors(network) if name.startswith(prefix) and name not in skipped]
        if isinstance(self.modules, dict):
            require(f"{key}.modules", self.modules, own)
            require(f"{key}.modules (in {self.path.name})", self.modules.values(), map(shown, names))
            pairs = [(name, ours, theirs) for name in own for ours, theirs in self.modules.items() if within(name, ours)]
            return {prefix + name: theirs + name[len(ours) :] for name, ours, theirs in pairs}
        if self.modules is not None:
            require(f"{key}.modules", self.modules, own)
            own = [name for name in own if any(within(name, module) for module in self.modules)]
        alike: dict[str, str] = {}
        for place, part in places.items():
            theirs = [name[len(place) :] for name in names if name.startswith(place)]
            found = names_by_role(inner(part), theirs)
            alike |= {place + ours: place + source if source else "" for ours, source in found.items()}
        return {prefix + name: alike.get(name, name) for name in own}

    def _of_another_output(
        self, network: Network, takes: dict[str, str], file: WeightFile, residual: set[str], key: str
    ) -> dict[str, str]:
        """Last layers that put out something else than the file's (frames, the residual over bicubic), with the reason."""
        left_out: dict[str, str] = {}
        for prefix, part in parts(network).items():
            ours: Over = "bicubic" if isinstance(part, StandardizedResidual) else "none"
            for name in (f"{prefix}{name}" for name in last_layer(part)):
                begin = takes.get(name, "").partition(".")[0] + "."
                theirs: Over = "bicubic" if (begin if begin in ("first.", "second.") else "") in residual else "none"
                # Of a plain state dict without statistics nobody knows.
                if name not in takes or theirs == ours or (theirs == "none" and file.kind != OWN):
                    continue
                reason = f"puts out {OUTPUT[theirs]}, here {OUTPUT[ours]}"
                if self.mismatch == "refuse":
                    typed = f"type recipe.residual={theirs}, or {key}.mismatch=fresh to do without it"
                    raise UserError(f"{key}.path={self.path}: {name} {reason}; {typed}")
                left_out[name] = reason
        return left_out


class TwoStage:
    """For a combined pipeline: its networks are trained one after the other before (or instead of) together.

    Args:
        first, second: where the networks' weights come from; None for a second network as it was drawn.
        epochs: of each of these stages.
        frame_batch: clips per step when the first network works frame by frame, where a clip is one frame.
        stop_epoch: end the first stage after so many epochs, in the middle of its schedule.
        stop_psnr: end it as soon as its validation PSNR (dB) is reached. The report stops at 70 epochs or 36 dB, to leave
            something for the second network to do.
    """

    def __init__(
        self,
        *,
        first: Start,
        second: Start | None = None,
        epochs: int = 60,
        frame_batch: int = 16,
        stop_epoch: int | None = None,
        stop_psnr: float | None = None,
    ) -> None:
        self.first, self.second, self.epochs, self.frame_batch = first, second or Random(), epochs, frame_batch
        self.stop_epoch, self.stop_psnr = stop_epoch, stop_psnr

    def __call__(self, network: Network, key: str = "init", frames: Frames | None = None) -> InitReport:
        """The starts of both networks. Raises UserError for a network that is not combined."""
        if not isinstance(network, Cascade):
            raise UserError(f"{key}=two_stage: for pipelines of two networks; type model=two_stage, joint or movie_then_frame")
        found: InitReport = []
        # The second network's frames are what the first one will put out: there are none to measure yet.
        for name, start, known in (("first", self.first, frames), ("second", self.second, None)):
            rows = start(getattr(network, name), f"{key}.{name}", known)
            found += [replace(row, tensor=f"{name}.{row.tensor}") for row in rows]
        return found
