"""Super-resolution of movies, above all of simulations.

`vsr.fit(model, data)` trains a network, see `vsr.inference.library.fit`. `vsr.load(path)` loads a trained network, see
`vsr.inference.upscaler.load_upscaler`. `import vsr.xarray` gives xarray's objects `.vsr.upscale()`. `import vsr` alone does not
import torch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vsr.version import __version__

if TYPE_CHECKING:
    from vsr.inference.library import fit
    from vsr.inference.upscaler import load_upscaler as load

__all__ = ["__version__", "fit", "load"]

if "xarray" in sys.modules:  # otherwise `import vsr.xarray` adds the accessor: importing xarray takes half a second
    import_module("vsr.xarray")


def __getattr__(name: str) -> Any:
    if name == "load":
        from vsr.inference.upscaler import load_upscaler

        return load_upscaler
    if name == "fit":
        from vsr.inference.library import fit

        return fit
    raise AttributeError(f"module 'vsr' has no attribute {name!r}")
