"""Names of modules and tensors as users type them, without the prefix of wrappers."""

from __future__ import annotations

from collections.abc import Iterable

from vsr.errors import UserError, error_suggestion

WRAPPER = "network"  # attribute of StandardizedResidual and SRModule that holds the wrapped network


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
