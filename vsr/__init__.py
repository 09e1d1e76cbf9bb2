"""Super-resolution of movies, above all of simulations.

`vsr.load(path)` loads a trained network, see `vsr.inference.upscaler.load_upscaler`. `import vsr` alone does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vsr.version import __version__

if TYPE_CHECKING:
    from vsr.inference.upscaler import load_upscaler as load

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from vsr.inference.upscaler import load_upscaler

        return load_upscaler
    raise AttributeError(f"module 'vsr' has no attribute {name!r}")
