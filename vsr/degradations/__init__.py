"""Degradations: pure functions from whole HR frames to LR frames, named in configs, checkpoints and result rows.

Configs name the defining module (`vsr.degradations.scaling.Bicubic`), because the check of a config reads the class's source.
"""

from vsr.degradations.base import Degradation, SameSizeStep
from vsr.degradations.blur import GaussianBlur
from vsr.degradations.chain import Chain
from vsr.degradations.compression import H264, JPEG
from vsr.degradations.noise import GaussianNoise
from vsr.degradations.scaling import Area, Bicubic, Subsample

__all__ = [
    "H264",
    "JPEG",
    "Area",
    "Bicubic",
    "Chain",
    "Degradation",
    "GaussianBlur",
    "GaussianNoise",
    "SameSizeStep",
    "Subsample",
]
