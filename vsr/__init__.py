"""vsr: super-resolution of movies, of simulations first. Importing it costs nothing; its parts import torch where they use it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from vsr.inference.upscaler import Upscaler

__version__ = "0.1.0"


def load(
    path: str | Path, *, device: str = "auto", ends: Literal["replicate", "reflect"] | None = None, **options: Any
) -> Upscaler:
    """The network of a checkpoint, ready for `upscale(movie)`; see `vsr.inference.upscaler.load` for arguments and errors."""
    from vsr.inference.upscaler import load as load_checkpoint

    return load_checkpoint(path, device=device, ends=ends, **options)
