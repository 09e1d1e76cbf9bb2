"""Degradations: pure functions from whole HR frames to LR frames.

Configs, checkpoints and result rows name the degradation. Configs name the module that defines a degradation
(`vsr.degradations.scaling.Bicubic`), because the check of a config reads the source of the class.
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
