"""Conversion of the tensors of one network to the shapes of another network.

Kernels have the shape (out, in, [t,] k, k), kernels of transposed convolutions (in, out, [t,] k, k), biases and PReLU slopes
(out,).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vsr.errors import UserError
from vsr.models.fsrcnn import FSRCNN, FSRCNNOriginal
from vsr.models.srcnn import SRCNN
from vsr.models.srnet3d import SRNet3D
from vsr.models.weights.authors import AuthorsWeights

Inflate = Literal["centre", "average"]
Status = Literal["loaded", "overlap", "fresh", "refused"]


@dataclass(frozen=True)
class AdaptedTensor:
    """Outcome of the conversion for one tensor of the network.

    Attributes:
        tensor: Name in the network.
        source: Name in the file; None if the file has no such tensor.
        status: "loaded": all values come from the source. "overlap": only the leading part does, because the widths differ.
            "fresh": the tensor keeps its values. "refused": it keeps them too, because the source does not fit or needs an
            option that is not set.
        reason: Reason for a status other than "loaded", or the way in which the source was adapted.
    """

    tensor: str
    source: str | None
    status: Status
    reason: str = ""


@dataclass(frozen=True)
class _Options:
    inflate: Inflate | None
    overlap: bool
    scales: tuple[int, int] | None


class _DoesNotFit(Exception):
    """Error for a source that does not fit its target; `fresh` is True if the option `overlap` keeps the target unchanged."""

    def __init__(self, reason: str, *, fresh: bool = False) -> None:
        super().__init__(reason)
        self.fresh = fresh


def adapt_weights(
    target: Mapping[str, Tensor],
    source: Mapping[str, Tensor],
    *,
    inflate: Inflate | None = None,
    overlap: bool = False,
    names: Mapping[str, str] | None = None,
    transposed: Collection[str] = (),
    scales: tuple[int, int] | None = None,
) -> tuple[dict[str, Tensor], list[AdaptedTensor]]:
    """Compute new values for the tensors of `target` from the tensors of `source`; the arguments do not change.

    A single PReLU slope is repeated if the target has several, even without `overlap`; this does not change what the network
    computes.

    Args:
        target: Tensors of the network by name.
        source: Tensors of the file by name; their values are converted to the dtype and device of the target.
        inflate: Conversion of a 2D kernel to a 3D kernel of t frames. "centre" puts the kernel into the middle frame and zeros
            into the rest: each frame of a clip gives the output of the 2D network. "average" (Carreira & Zisserman 2017,
            section 2.4) puts 1/t of the kernel into every frame: a still clip gives the 2D output, except near its ends. None
            refuses 2D kernels.
        overlap: True to load tensors of other widths too. If the source has one input channel and the target several, each gets
            the kernel divided by their number; one output channel is repeated for several. Otherwise the leading common filters
            and channels are copied. Several PReLU slopes become one by their mean. Kernels of another size or scale get the
            status "fresh", not "refused".
        names: Target name -> source name, where the names differ.
        transposed: Target names of kernels of transposed convolutions; see `adapted_transposed_kernels`.
        scales: (scale of the source, scale of the target). If the scales differ, transposed convolutions and layers before a
            pixel shuffle (recognised by scale**2 outputs per channel) do not fit.

    Returns:
        The new values by target name, and one row per tensor in the order of `target`.
    """
    options = _Options(inflate, overlap, scales)
    values: dict[str, Tensor] = {}
    rows: list[AdaptedTensor] = []
    for name, own in target.items():
        key = (names or {}).get(name, name)
        values[name] = own.detach().clone()
        if key not in source:
            rows.append(AdaptedTensor(name, None, "fresh", "not in the file"))
            continue
        try:
            value, status, reason = _fitted(name, own.detach(), source[key].detach(), options, name in transposed)
        except _DoesNotFit as error:
            rows.append(AdaptedTensor(name, key, "fresh" if overlap and error.fresh else "refused", str(error)))
        else:
            values[name] = value
            rows.append(AdaptedTensor(name, key, status, reason))
    return values, rows


def adapted_transposed_kernels(network: nn.Module) -> frozenset[str]:
    """Return the names of all kernels of transposed convolutions; the first axis of such a kernel is the input channels."""
    kinds = (nn.ConvTranspose2d, nn.ConvTranspose3d)
    return frozenset(f"{name}.weight" for name, module in network.named_modules() if isinstance(module, kinds))


def adapt_authors_tensors(
    network: nn.Module, weights: AuthorsWeights, *, layers: int | None = None, key: str = "init"
) -> dict[str, Tensor]:
    """Return the tensors of a released SRCNN or FSRCNN under the names of a network, as a source for `adapt_weights`.

    Layers are matched by role (extraction, shrinking, mapping, expanding, deconvolution), not by number. If one network has
    more mapping layers, its first mapping layers are matched. In a network with PReLU, a ReLU of the authors becomes a slope of
    zero and a missing activation becomes a slope of one, which keeps the function.

    Args:
        network: SRCNN, FSRCNN, FSRCNNOriginal or SRNet3D, without the standardized residual around it.
        weights: Weights that the authors released.
        layers: Number of common layers to take, from the first; None for all.
        key: Config key for error messages.

    Raises:
        UserError: If the network has no layer in common or `layers` is out of range. Also if the network has a ReLU where the
            authors have a PReLU or no activation.
    """
    places = _places(network)
    kind = "srcnn" if isinstance(network, SRCNN) else "fsrcnn"
    if not places or weights.kind != kind:
        raise UserError(f"{weights.path}: {weights.architecture} has no layer in common with a {type(network).__name__}")
    common = [layer for layer in weights.layers if layer.name in places]
    if layers is not None and not 1 <= layers <= len(common):
        raise UserError(
            f"{key}.layers={layers}: {type(network).__name__} and {weights.architecture} have {len(common)} layers in common; "
            f"type a number from 1 to {len(common)}, or null for all"
        )
    source: dict[str, Tensor] = {}
    for layer in common[:layers]:
        convolution, activation = places[layer.name]
        source |= {f"{convolution}.weight": layer.weight, f"{convolution}.bias": layer.bias}
        slope = torch.ones_like(layer.bias[:1]) if layer.slope is None else layer.slope
        module = network.get_submodule(activation)
        if isinstance(module, nn.PReLU):
            source[f"{activation}.weight"] = slope
        elif isinstance(module, nn.ReLU) and slope.item() != 0:
            theirs, key = ("none", "model.output_act=false") if layer.slope is None else ("a PReLU", "model.act=prelu")
            raise UserError(f"{weights.path}: behind {layer.name} the network has a ReLU, the authors have {theirs}; type {key}")
    return source


def adapted_authors_names(network: nn.Module) -> dict[str, str]:
    """Map a network's tensor names to the names in a released SRCNN or FSRCNN file, as `vsr weights FILE` prints them."""
    found: dict[str, str] = {}
    for layer, (convolution, activation) in _places(network).items():
        found |= {f"{convolution}.{kind}": f"{layer}, {kind}" for kind in ("weight", "bias")}
        found[f"{activation}.weight"] = f"{layer}, slope"
    return found


def adapt_layers_by_role(network: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Match the tensors of two FSRCNN networks of different depth by the role of their layers.

    Layer numbers alone would match the expanding layer of one network with a mapping layer of a deeper network.

    Args:
        network: A network without the standardized residual around it.
        names: Names of the tensors in the file.

    Returns:
        Name in the network -> name in the file, or "" if the file lacks the layer. The dictionary is empty if the network or
        the file is of another kind.
    """
    numbers = [int(found[1]) for name in names if (found := re.fullmatch(r"features\.(\d+)\.weight", name))]
    if not numbers or isinstance(network, SRCNN):
        return {}
    theirs = _features(max(numbers) // 2 + 1)
    pairs = {role: zip(places, theirs.get(role, ("", "")), strict=True) for role, places in _places(network).items()}
    return {
        f"{ours}.{kind}": their and f"{their}.{kind}"
        for role, places in pairs.items()
        if role != "deconvolution"
        for ours, their in places
        for kind in ("weight", "bias")
    }


def _places(network: nn.Module) -> dict[str, tuple[str, str]]:
    """Return the names of the convolution and the activation in this network for each role of a layer ("mapping 1")."""
    if isinstance(network, SRCNN):
        deeper = (f"mapping {i}" for i in range(2, len(network.body) // 2 - 1))  # the authors have three layers
        return _numbered("body", ("extraction", "mapping", *deeper, "reconstruction"))
    if isinstance(network, SRNet3D):
        return _numbered("body", ("extraction", "shrinking", "mapping 1", "mapping 2", "expanding"))
    if not isinstance(network, FSRCNN | FSRCNNOriginal):
        return {}
    places = _features(len(network.features) // 2)
    # The report's FSRCNN has two upscaling layers; neither corresponds to the authors' 9x9 deconvolution.
    return places if isinstance(network, FSRCNN) else {**places, "deconvolution": ("enlarge", "out_act")}


def _features(count: int) -> dict[str, tuple[str, str]]:
    """Return the names of an FSRCNN's `count` layers before the deconvolution, by role, as (convolution, activation)."""
    return _numbered("features", ("extraction", "shrinking", *(f"mapping {i + 1}" for i in range(count - 3)), "expanding"))


def _numbered(module: str, names: Iterable[str]) -> dict[str, tuple[str, str]]:
    return {name: (f"{module}.{2 * i}", f"{module}.{2 * i + 1}") for i, name in enumerate(names)}


def _fitted(name: str, own: Tensor, found: Tensor, options: _Options, transposed: bool) -> tuple[Tensor, Status, str]:
    """Return the new value of one tensor with its status and reason. Raises _DoesNotFit."""
    if not (own.is_floating_point() and found.is_floating_point()):
        if own.dtype == found.dtype and own.shape == found.shape:
            return found.to(own.device, copy=True), "loaded", ""
        raise _DoesNotFit(f"{_short(found.dtype)} in the file, {_short(own.dtype)} here")
    value = found.to(own.device, own.dtype, copy=True)
    if not torch.isfinite(value).all():
        raise _DoesNotFit(f"holds values that {_short(own.dtype)} cannot hold")
    if options.scales is not None and _bound_to_scale(own, found, options.scales, transposed):
        raise _DoesNotFit(f"made for x{options.scales[0]}, here x{options.scales[1]}", fresh=True)
    if own.shape == value.shape:
        return value, "loaded", ""
    shapes = f"{tuple(found.shape)} in the file, {tuple(own.shape)} here"
    if own.ndim == value.ndim == 1 and name.endswith("weight") and 1 in (len(own), len(value)):  # slopes; biases end otherwise
        return _fitted_slopes(own, value, options.overlap, shapes)
    return _fitted_kernel(own, value, options, transposed, shapes)


def _fitted_slopes(own: Tensor, value: Tensor, overlap: bool, shapes: str) -> tuple[Tensor, Status, str]:
    """Repeat one PReLU slope for every channel, or replace several slopes by their mean. Raises _DoesNotFit."""
    if len(value) == 1:
        return value.repeat(len(own)), "loaded", f"one slope for all {len(own)} channels"
    if overlap:
        return value.mean().reshape(1), "loaded", f"the mean of {len(value)} slopes"
    raise _DoesNotFit(shapes)


def _fitted_kernel(own: Tensor, value: Tensor, options: _Options, transposed: bool, shapes: str) -> tuple[Tensor, Status, str]:
    """Inflate a 2D kernel if necessary, and take the common channels of a kernel of the same size. Raises _DoesNotFit."""
    notes: list[str] = []
    if own.ndim == 5 and value.ndim == 4:
        value = _inflated(value, own.shape[2], options.inflate, shapes)
        notes.append(f"2D kernel, {options.inflate} of {own.shape[2]} frames")
    if own.ndim != value.ndim:
        raise _DoesNotFit(shapes)
    if own.shape[2:] != value.shape[2:]:
        raise _DoesNotFit(f"kernels of another size: {shapes}", fresh=True)
    if own.shape == value.shape:
        return value, "loaded", ", ".join(notes)
    if not options.overlap:
        raise _DoesNotFit(shapes)
    return _widened(own, value, transposed, notes, shapes)


def _bound_to_scale(own: Tensor, found: Tensor, scales: tuple[int, int], transposed: bool) -> bool:
    theirs, ours = scales
    if theirs == ours:
        return False
    phases = own.ndim > 0 < found.ndim and own.shape != found.shape and len(own) * theirs**2 == len(found) * ours**2
    return transposed or (phases and len(own) % ours**2 == 0)


def _inflated(value: Tensor, frames: int, inflate: Inflate | None, shapes: str) -> Tensor:
    """Inflate a 2D kernel (o, i, k, k) to a 3D kernel (o, i, frames, k, k). Raises _DoesNotFit."""
    if inflate is None:
        raise _DoesNotFit(f"a 2D kernel goes into a 3D one only with init.inflate: {shapes}")
    if inflate == "average":
        return (value / frames).unsqueeze(2).repeat(1, 1, frames, 1, 1)
    if frames % 2 == 0:
        raise _DoesNotFit(f"{frames} frames have no centre: {shapes}")
    inflated = value.new_zeros(*value.shape[:2], frames, *value.shape[2:])
    inflated[:, :, frames // 2] = value
    return inflated


def _widened(own: Tensor, value: Tensor, transposed: bool, notes: list[str], shapes: str) -> tuple[Tensor, Status, str]:
    """Spread single channels over several, then copy the common part of the axes (out, in) or (out,)."""
    inputs = 0 if transposed else 1
    for axis in range(min(2, own.ndim)):
        if value.shape[axis] == 1 < own.shape[axis]:
            many = own.shape[axis]
            repeats = [many if i == axis else 1 for i in range(own.ndim)]
            value = value.repeat(repeats)
            if axis == inputs and own.ndim > 1:
                value = value / many
            notes.append(f"one channel spread over {many}")
    if own.shape == value.shape:
        return value, "loaded", ", ".join(notes)
    common = tuple(slice(min(a, b)) for a, b in zip(own.shape[:2], value.shape[:2], strict=True))
    mixed = own.clone()
    mixed[common] = value[common]
    leading = tuple(s.stop for s in common)
    return mixed, "overlap", ", ".join([*notes, f"leading {leading if len(leading) > 1 else leading[0]}: {shapes}"])


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
