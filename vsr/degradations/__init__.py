"""How HR becomes LR: pure callables on whole frames, named in the config, in the checkpoint and in every result row.

Configs name the defining module (`vsr.degradations.scaling.Bicubic`), because their check reads a class's source.
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
