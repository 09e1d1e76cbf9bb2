"""Names as people read and type them: of methods, and of a network's modules and tensors without the wrapper around it."""

from __future__ import annotations

from collections.abc import Iterable

from vsr.errors import UserError, suggestion

WRAPPER = "network"  # what StandardizedResidual and SRModule call the network inside


def canonical(name: str) -> str:
    """first.network.features.0.weight -> first.features.0.weight."""
    return ".".join(part for part in name.split(".") if part != WRAPPER)


def within(name: str, module: str) -> bool:
    """Whether a tensor or a module is the named one or a part of it."""
    return name == module or name.startswith(f"{module}.")


def require(key: str, modules: Iterable[str], tensors: Iterable[str]) -> None:
    """Raise UserError, with what there is instead, for a module in which none of the tensors is."""
    tensors = list(tensors)
    for module in modules:
        if not any(within(name, module) for name in tensors):
            parts = [name.split(".") for name in tensors]
            known = {".".join(p[:n]) for p in parts for n in range(1, len(p))} or set(tensors)
            raise UserError(f"{key}: there is no {module}{suggestion(module, known)}")
