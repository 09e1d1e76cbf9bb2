"""Recursions over time with a memory of so many frames, so that a movie may be worked on in pieces (decision 014)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor], Tensor]


def in_turn(step: Step, clip: Tensor, features: int, warmup: int) -> Tensor:
    """What a recursion knows at every frame: (B, C, T, h, w) -> (B, features, T, h, w).

    The state at a frame is that of a recursion that began with nothing `warmup` frames earlier, or with the clip. Clips of up to
    warmup + 1 frames are one recursion; in longer ones each frame from there on has its own, all of them side by side.

    Args:
        step: (N, C, h, w) of a frame and the state (N, features, h, w) before -> the state after.
        features: channels of the state, zeros at the beginning.
        warmup: frames before its own that a state may know of.
    """
    batch, _, frames, height, width = clip.shape
    begun = max(1, frames - warmup)  # recursions, at frames 0, 1, ...
    steps = min(frames, warmup + 1)
    state = clip.new_zeros(batch * begun, features, height, width)
    early: list[Tensor] = []
    for k in range(steps):
        state = step(clip[:, :, k : k + begun].transpose(1, 2).flatten(0, 1), state)
        side_by_side = state.unflatten(0, (batch, begun))  # (B, recursions, features, h, w)
        early.append(side_by_side[:, :1])
    return torch.cat([*early[:-1], side_by_side], dim=1).transpose(1, 2)
