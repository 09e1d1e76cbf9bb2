"""The exported function LR -> SR in physical units, with its input sizes and its metadata."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vsr.config.resolved import resolved_window
from vsr.geometry import Geometry
from vsr.inference.export.operators import exportable_cubic_phases, exportable_operators
from vsr.inference.trained import Trained
from vsr.models.super_resolver import SuperResolver
from vsr.training.build_network import build_from_node
from vsr.version import __version__

INPUT, OUTPUT = "lr", "sr"
Size = tuple[int, ...]


class ExportableLayers(nn.Module):
    """Layers of a network, or a folded network, as a module of operations that exporters know.

    Args:
        layers: A module of frames or of clips; its parameters no longer take gradients.
        scale: SR pixels per LR pixel.
    """

    cubic: Tensor

    def __init__(self, layers: nn.Module, scale: int) -> None:
        super().__init__()
        self.layers, self.scale = layers, scale
        self.register_buffer("cubic", exportable_cubic_phases(scale))
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers to frames or clips in the unit interval."""
        with exportable_operators(self.scale, self.cubic):
            return self.layers(x)


class ExportableNetwork(nn.Module):
    """Normalizer, folded network and inverse normalizer as one module of operations that exporters know.

    Frame networks: (N, C, h, w) -> (N, C, H, W); movie networks: (B, C, T, h, w) -> (B, C, T', H', W'). Values are float32, in
    physical units minus the offset of the training data. A folded network computes the same as the trained one, but faster.
    """

    def __init__(self, module: SuperResolver) -> None:
        super().__init__()
        self.normalizer = module.normalizer
        with torch.no_grad():
            self.network = ExportableLayers(module.network.fold(), module.network.geometry.scale[1])
        self.requires_grad_(False).eval()

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale LR frames or clips in physical units minus the offset of the training data."""
        return self.normalizer.inverse(self.network(self.normalizer(lr)))


@dataclass(frozen=True)
class InputAxes:
    """The input sizes that an exported network accepts.

    Attributes:
        geometry: Scale and margins of the network.
        channels: The only accepted number of channels.
        frames: The smallest number of frames; None for a frame network.
        pixels: The smallest height and width in LR pixels. A frame must have as many pixels as the network mirrors at its
            border, and enough for one output pixel.
    """

    geometry: Geometry
    channels: int
    frames: int | None
    pixels: int

    @classmethod
    def of(cls, module: SuperResolver, channels: int) -> InputAxes:
        """Derive the accepted input sizes from the geometry of a network."""
        network, geometry = module.network, module.network.geometry
        frames, *whole = (-(-(2 * lost + 1) // scale) for lost, scale in zip(geometry.margin, geometry.scale, strict=True))
        return cls(geometry, channels, frames if network.kind == "movie" else None, max(network.reach, *whole))

    @property
    def dynamic(self) -> dict[int, tuple[str, int]]:
        """The free axes of the input: axis -> (name, smallest size)."""
        sizes = [("height", self.pixels), ("width", self.pixels)]
        sizes = sizes if self.frames is None else [("frames", self.frames), *sizes]
        return {0: ("batch", 1), **{2 + i: size for i, size in enumerate(sizes)}}

    @property
    def input_text(self) -> str:
        """The axes of the input and their smallest sizes, such as "(batch, 1, height, width), height and width from 9"."""
        names = {axis: name for axis, (name, _) in self.dynamic.items()} | {1: str(self.channels)}
        least = f"height and width from {self.pixels}"
        least = least if self.frames is None else f"frames from {self.frames}, {least}"
        return f"({', '.join(names[axis] for axis in sorted(names))}), {least}"

    @property
    def output_text(self) -> str:
        """The axes of the output, such as "(batch, 1, 2*height, 2*width)"."""
        sizes = []
        for name, scale, lost in zip(("frames", "height", "width"), self.geometry.scale, self.geometry.margin, strict=True):
            sizes.append((f"{scale}*" if scale > 1 else "") + name + (f" - {2 * lost}" if lost else ""))
        return f"({', '.join(['batch', str(self.channels), *(sizes if self.frames is not None else sizes[1:])])})"

    def size(self, batch: int, frames_more: int, height_more: int, width_more: int) -> Size:
        """Return an input size: the smallest size plus the given numbers of frames and pixels."""
        frames = () if self.frames is None else (self.frames + frames_more,)
        return (batch, self.channels, *frames, self.pixels + height_more, self.pixels + width_more)

    @property
    def example(self) -> Size:
        """The input size for tracing. Its batch is two, because exporters would fix a batch of one in the exported file."""
        return self.size(2, 2, 4, 7)

    @property
    def test_sizes(self) -> list[Size]:
        """The input sizes for comparing an exported file with its network: small, high and wide, in batches of one or three."""
        return [self.size(1, 0, 0, 1), self.size(3, 1, 9, 2), self.size(1, 3, 6, 17)]


def describe_exported_function(trained: Trained, module: SuperResolver) -> dict[str, str]:
    """Return the metadata of an exported file as texts by key; numbers and lists are JSON.

    `margin` (t, y, x) counts the frames and HR pixels per side that the network removes. `window` (t, y, x) counts the frames
    and HR pixels per side that scores leave out. An output pixel depends on `context` frames and `reach` LR pixels per side.
    `bounds` are the physical values that were 0 and 1 in training. Users take `offset` off LR values and
    add it to SR values, in float64. For several variables, `variables` names the channels, and `bounds` and `units` have a value
    for each. `transforms` tells how the function transforms each channel inside.
    """
    network, facts = module.network, trained.facts
    known = {
        "vsr": __version__,
        "name": str(trained.config.name),
        "kind": network.kind,
        "scale": network.geometry.scale[1],
        "channels": trained.channels,
        "units": facts["units"] if isinstance(facts.get("units"), list) else str(facts.get("units") or ""),
        "bounds": list(trained.bounds),
        "offset": trained.offset,
        "margin": list(network.geometry.margin),
        "context": network.context,
        "reach": network.reach,
        "ends": str(trained.config.ends),
        "window": list(resolved_window(trained.config)),
        "degradation": build_from_node("degradation", trained.config.degradation).name,
        "data": str(facts.get("name") or ""),
        "checkpoint": trained.sha256,
    }
    if facts.get("transforms"):
        known["transforms"] = facts["transforms"]
    if trained.variables:
        known["variables"] = list(trained.variables)
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in known.items()}
