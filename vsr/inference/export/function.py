"""What is exported: LR -> SR in physical units as one function, its sizes, and what a file says of it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vsr import __version__
from vsr.geometry import Geometry
from vsr.inference.export.operators import cubic_phases, exportable
from vsr.inference.trained import Trained
from vsr.training.build import evaluation_window, make
from vsr.training.modules.base import SRModule

INPUT, OUTPUT = "lr", "sr"
Size = tuple[int, ...]


class Function(nn.Module):
    """Normaliser, network (folded) and back, made of what exporters know.

    Frame networks: (N, C, h, w) -> (N, C, H, W); movie networks: (B, C, T, h, w) -> (B, C, T', H', W'). float32, physical units.
    """

    cubic: Tensor

    def __init__(self, module: SRModule) -> None:
        super().__init__()
        self.normalizer = module.normalizer
        with torch.no_grad():
            self.network = module.network.fold()
        self.scale = module.network.geometry.scale[1]
        self.register_buffer("cubic", cubic_phases(self.scale))
        self.requires_grad_(False).eval()

    def forward(self, lr: Tensor) -> Tensor:
        """As the class says."""
        with exportable(self.scale, self.cubic):
            return self.normalizer.inverse(self.network(self.normalizer(lr)))


@dataclass(frozen=True)
class Axes:
    """The sizes that an exported network takes.

    Attributes:
        geometry: of the network.
        channels: fixed.
        frames: the smallest number of frames, None for a frame network.
        pixels: the smallest height and width, in LR pixels: what lies within a network's reach beyond the border is mirrored, so
            that there must be as many.
    """

    geometry: Geometry
    channels: int
    frames: int | None
    pixels: int

    @classmethod
    def of(cls, module: SRModule, channels: int) -> Axes:
        """Those of a network."""
        network, geometry = module.network, module.network.geometry
        frames, *whole = (-(-(2 * lost + 1) // scale) for lost, scale in zip(geometry.margin, geometry.scale, strict=True))
        return cls(geometry, channels, frames if network.kind == "movie" else None, max(network.reach, *whole))

    @property
    def dynamic(self) -> dict[int, tuple[str, int]]:
        """Axis of the input -> its name and its smallest size, for those whose size is free."""
        sizes = [("height", self.pixels), ("width", self.pixels)]
        sizes = sizes if self.frames is None else [("frames", self.frames), *sizes]
        return {0: ("batch", 1), **{2 + i: size for i, size in enumerate(sizes)}}

    @property
    def names(self) -> str:
        """(batch, 1, height, width), with what the sizes must be at least."""
        names = {axis: name for axis, (name, _) in self.dynamic.items()} | {1: str(self.channels)}
        least = f"height and width from {self.pixels}"
        least = least if self.frames is None else f"frames from {self.frames}, {least}"
        return f"({', '.join(names[axis] for axis in sorted(names))}), {least}"

    @property
    def result(self) -> str:
        """The sizes of the output: (batch, 1, 2*height, 2*width)."""
        sizes = []
        for name, scale, lost in zip(("frames", "height", "width"), self.geometry.scale, self.geometry.margin, strict=True):
            sizes.append((f"{scale}*" if scale > 1 else "") + name + (f" - {2 * lost}" if lost else ""))
        return f"({', '.join(['batch', str(self.channels), *(sizes if self.frames is not None else sizes[1:])])})"

    def size(self, batch: int, more: int, height: int, width: int) -> Size:
        """Of an input with so many frames and pixels more than it must have."""
        frames = () if self.frames is None else (self.frames + more,)
        return (batch, self.channels, *frames, self.pixels + height, self.pixels + width)

    @property
    def example(self) -> Size:
        """To export from: nothing of it may stay in the file. A batch of one would."""
        return self.size(2, 2, 4, 7)

    @property
    def trials(self) -> list[Size]:
        """To compare at: the smallest, odd and even, batches of one and of three, wide and high."""
        return [self.size(1, 0, 0, 1), self.size(3, 1, 9, 2), self.size(1, 3, 6, 17)]


def described(trained: Trained, module: SRModule) -> dict[str, str]:
    """What the file says of itself, as text, lists as JSON.

    `margin` (t, y, x) is what the network loses and `window` what scores leave out, in HR pixels and frames per side; `context`
    counts frames, `reach` LR pixels on which an output pixel depends; `bounds` are the values that were 0 and 1 in training.
    """
    network, facts = module.network, trained.facts
    known = {
        "vsr": __version__,
        "name": str(trained.config.name),
        "kind": network.kind,
        "scale": network.geometry.scale[1],
        "channels": trained.channels,
        "units": str(facts.get("units") or ""),
        "bounds": list(trained.bounds),
        "margin": list(network.geometry.margin),
        "context": network.context,
        "reach": network.reach,
        "ends": str(trained.config.ends),
        "window": list(evaluation_window(trained.config)),
        "degradation": make("degradation", trained.config.degradation).name,
        "data": str(facts.get("name") or ""),
        "checkpoint": trained.sha256,
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in known.items()}
