"""The few types that the layers share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

# Capital H and W are HR, small ones LR; within one call the same letter is the same size.
LRFrames = Float[Tensor, "N C h w"]
HRFrames = Float[Tensor, "N C H W"]
LRClips = Float[Tensor, "B C T h w"]
HRClips = Float[Tensor, "B C T H W"]


@dataclass(frozen=True)
class Movie:
    """What a source yields: HR frames in physical units with what is known of them.

    Attributes:
        frames: (C, T, H, W), float32.
        name: where it comes from, for errors and figures.
        meta: units, dt, periodic, ... plain values only.
    """

    frames: Float[Tensor, "C T H W"]
    name: str
    meta: dict[str, Any] = field(default_factory=dict)


class Clip(NamedTuple):
    """What a batch holds, in physical units. lr: (B,C,T,h,w), hr: (B,C,T,H,W), position: (B,) of each clip in its split."""

    lr: LRClips
    hr: HRClips
    position: Int[Tensor, B]
