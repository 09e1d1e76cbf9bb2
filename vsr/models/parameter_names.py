"""Names of modules and tensors as users type them, without the prefix of wrappers."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from vsr.errors import UserError, error_suggestion
from vsr.models.base import Network

WRAPPER = "network"  # attribute of StandardizedResidual and SuperResolver that holds the wrapped network


def canonical_parameter_name(name: str) -> str:
    """Remove each part `network`, which a wrapper adds: first.network.features.0.weight -> first.features.0.weight."""
    return ".".join(part for part in name.split(".") if part != WRAPPER)


def is_parameter_within(name: str, module: str) -> bool:
    """Return True if the tensor or module called `name` is the module called `module` or a part of this module."""
    return name == module or name.startswith(f"{module}.")


def require_parameters(key: str, modules: Iterable[str], tensors: Iterable[str]) -> None:
    """Check that every named module contains a tensor.

    Args:
        key: Config key for the error message.
        modules: Names of the modules to check.
        tensors: Names of all tensors.

    Raises:
        UserError: If a module contains none of the tensors; the message suggests a module that exists.
    """
    tensors = list(tensors)
    for module in modules:
        if not any(is_parameter_within(name, module) for name in tensors):
            parts = [name.split(".") for name in tensors]
            known = {".".join(p[:n]) for p in parts for n in range(1, len(p))} or set(tensors)
            raise UserError(f"{key}: there is no {module}{error_suggestion(module, known)}")


def printable_parameter_name(name: str) -> str:
    """Return the first 100 characters of a name from a file, escaped if one of them cannot be printed."""
    return name[:100] if name[:100].isprintable() else ascii(name[:100])


def parameters_by_name(network: Network) -> dict[str, nn.Parameter]:
    """Return the parameters of a network by name, without the prefix `network.` that wrappers add."""
    return {canonical_parameter_name(name): tensor for name, tensor in network.named_parameters()}


def last_layer_names(network: Network) -> list[str]:
    """Return the tensor names of the last convolution and of all layers behind it, as in `parameters_by_name`."""
    names = list(parameters_by_name(network))
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
    last = [f"{canonical_parameter_name(name)}.weight" for name, module in network.named_modules() if isinstance(module, kinds)][
        -1:
    ]
    return names[names.index(last[0]) :] if last else []
