"""Base class of all networks, and functions that work on every network."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vsr.geometry import Alignment, Geometry
from vsr.types import TrainingFrames

BLOCK = 16  # LR pixels that networks of whole frames may divide them into
# Planes of each word of data.inputs: lead time 0..1; y and x from -1 to 1; sine and cosine of the hour (UTC), of the day of the
# year and of the longitude; latitude over 90 degrees.
INPUT_PLANES = {"time": 1, "position": 2, "hour": 2, "day_of_year": 2, "latitude": 1, "longitude": 2}
OF_FRAMES = ("time", "hour", "day_of_year")  # the words with a value for each frame


@dataclass(frozen=True)
class LRLayout:
    """Channels of LR frames: variables, further variables and planes that only networks see, planes of the bicubic frame.

    The planes of the bicubic frame are there if LR pixels do not lie in the middle of their blocks. The bicubic frame is then
    made from whole frames, because a patch does not tell where it lies.

    Attributes:
        channels: Number of variables.
        inputs: Words of INPUT_PLANES, for planes in this order.
        alignment: Place of the LR pixels on the HR grid; None for the middle of their blocks.
        further: Names of the variables that only LR has; they are in units of their own ranges and come before the planes.
        static: Names of the static fields on the HR grid, each `blocks` planes behind those of `inputs`.
        blocks: HR pixels per LR pixel, scale^2; it only counts where there are static fields.
    """

    channels: int
    inputs: tuple[str, ...] = ()
    alignment: Alignment | None = None
    further: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    blocks: int = 1

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> LRLayout:
        """Return the layout of the LR frames of a data module, from its description (`card`)."""
        beside = input_facts(facts)
        y, x = beside.get("alignment") or (None, None)
        alignment = None if y is None or x is None else (y, x)
        further = tuple((beside.get("lr_variables") or {}).get("names", ()))
        static = tuple(str(field["name"]) for field in beside.get("static", ()))
        blocks = int(beside.get("blocks", 1))
        return cls(int(facts["channels"]), tuple(beside.get("inputs", ())), alignment, further, static, blocks)

    @property
    def static_planes(self) -> int:
        """Number of the planes of static fields, the last ones that a network sees."""
        return len(self.static) * self.blocks

    @property
    def packed(self) -> tuple[int, int, int] | None:
        """Channels (first, stop) of the static fields and HR pixels per LR pixel along a side, for `Border`; None without any."""
        return (self.seen - self.static_planes, self.seen, math.isqrt(self.blocks)) if self.static else None

    @property
    def bordered(self) -> bool:
        """True if LR frames say where their borders are, so that they do not continue beyond them."""
        return "position" in self.inputs or self.alignment is not None

    @property
    def seen(self) -> int:
        """Number of channels that a network sees: all variables and planes, without the bicubic frame."""
        return self.channels + len(self.further) + sum(INPUT_PLANES[word] for word in self.inputs) + self.static_planes

    @property
    def time_plane(self) -> int | None:
        """Number of the channel that holds the lead time; None if the network does not see it."""
        if "time" not in self.inputs:
            return None
        before = self.inputs[: self.inputs.index("time")]
        return self.channels + len(self.further) + sum(INPUT_PLANES[word] for word in before)

    @property
    def plain(self) -> bool:
        """True if LR frames have the channels of HR frames and nothing else."""
        return self.seen == self.channels and self.alignment is None

    def total(self, scale: int) -> int:
        """Return the number of all channels of LR frames."""
        return self.seen + (0 if self.alignment is None else self.channels * scale**2)


def input_facts(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the description (`card`) of a data module says of the channels of LR beside the variables."""
    return facts.get("pairs") or facts.get("beside") or {}


def add_input_planes(
    lr: Tensor, inputs: tuple[str, ...], known: Mapping[str, Tensor], static: Tensor | None = None, scale: int = 1
) -> Tensor:
    """Put planes of time, place and static fields behind the channels of whole LR frames.

    Args:
        lr: Whole frames (N, C, h, w).
        inputs: Words of INPUT_PLANES.
        known: Word -> its values. "time": lead time of each frame, (N,), 0 at the first frame of its trajectory and 1 at the last
            of training; "hour" and "day_of_year": part of the day and of the year of each frame, (N,), 0 to 1; "latitude" (h,)
            and "longitude" (w,) in degrees. "position" needs nothing.
        static: Static fields on the HR grid, (S, h scale, w scale), each scaled; each becomes scale^2 planes (space to depth).
        scale: HR pixels per LR pixel.

    Returns:
        Frames (N, C + planes, h, w); rows and columns count from -1 to 1.
    """
    n, _, h, w = lr.shape
    parts = [lr]
    for word in inputs:
        if word == "position":
            planes = [torch.linspace(-1, 1, h).view(h, 1), torch.linspace(-1, 1, w)]
        elif word == "latitude":
            planes = [(known[word].double() / 90).view(h, 1)]
        elif word == "time":
            planes = [known[word].view(n, 1, 1, 1)]
        else:
            turns = known[word].double() / 360 if word == "longitude" else known[word].double().view(n, 1, 1, 1)
            planes = [(2 * math.pi * turns).sin(), (2 * math.pi * turns).cos()]
        parts += [plane.to(lr).expand(n, 1, h, w) for plane in planes]
    if static is not None:
        parts.append(F.pixel_unshuffle(static.to(lr).unsqueeze(0), scale).expand(n, -1, h, w))
    return torch.cat(parts, 1)


def unpack_skip(lr: Tensor, seen: int, scale: int) -> Tensor:
    """Return the bicubic frames in LR frames (N, C, h, w) or clips (B, C, T, h, w), whose planes come after `seen` others."""
    planes = lr[:, seen:]
    if lr.ndim == 4:
        return F.pixel_shuffle(planes, scale)
    return F.pixel_shuffle(planes.transpose(1, 2), scale).transpose(1, 2)


class Network(nn.Module):
    """Base class of networks that map LR frames or clips to HR frames or clips, all in the unit interval.

    Constructor arguments are keyword-only. Every constructor takes `scale` (HR pixels per LR pixel along each axis,
    or 1 for the second network of a `Cascade`) and `channels` (number of channels of each frame).

    Attributes:
        kind: "frame" for a network (N, C, h, w) -> (N, C, H, W), "movie" for a network (B, C, T, h, w) -> (B, C, T', H, W).
        geometry: Relation of output sizes to input sizes.
        reach: Largest distance, in LR pixels along an axis, at which an input pixel still changes an output pixel. A test
            measures it.
        context: Largest distance in frames at which an LR frame still changes an output frame; at least `geometry.margin[0]`.
        whole_frames: True if an output pixel depends on where it lies in its frame, so that frames are not cut into tiles.
        takes_skip: True if the network takes the planes of the bicubic frame (`LRLayout`) as input, too.
        equivariant: True if the frame of a f + b is a times the frame of f, plus b, for positive a. Such a network is not wrapped
            in a standardized residual, treats each channel for itself, and upscales values of any unit and range.
        residual: True if `forward` adds the upscaled input to the output of the layers. A wrapper that adds the input itself
            sets this to False in the network that it wraps.
    """

    kind: Literal["frame", "movie"] = "frame"
    geometry: Geometry
    reach: int
    context: int = 0
    residual: bool = False
    equivariant: bool = False
    whole_frames: bool = False
    takes_skip: bool = False

    @property
    def error_unit(self) -> Tensor | float:
        """Return the unit of errors in the loss: SR and HR frames in the unit interval are divided by this number there."""
        return 1.0

    @property
    def halo(self) -> int:
        """LR pixels to add on each side where frames go on beyond their borders, so that the border does not show."""
        return -(-self.reach // BLOCK) * BLOCK if self.whole_frames else self.reach

    def prepare(self, frames: TrainingFrames) -> None:
        """Fit statistics and closed-form filters to whole training frames; a network that has neither does nothing."""

    def fold(self) -> nn.Module:
        """Return a module that computes the same function in less time, or the network itself."""
        return self

    def replace_layers(self, replace: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Return the network with its layers replaced, and without a change to what is added to their output.

        Args:
            replace: Function that is called with each part of the network that only has layers, folded by `fold` if it is a
                network, and that returns a module with the same input and output.
        """
        return replace(self.fold())

    def with_modules(self, **modules: nn.Module) -> Self:
        """Return a copy of the network with the given submodules replaced; the copy shares all other submodules."""
        other = copy.copy(self)
        other._modules = {**self._modules, **modules}
        return other


class RepeatedFrame(Network):
    """Movie network that gets copies of a frame in place of its neighbours, which shows what the neighbours contribute.

    Args:
        network: A network of kind "movie".
    """

    kind = "movie"

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.geometry, self.reach, self.context = network.geometry, network.reach, network.context

    def forward(self, lr: Tensor) -> Tensor:
        """Map an LR clip (B, C, T, h, w) to an HR clip (B, C, T', H, W), of the size that the wrapped network gives."""
        margin = self.geometry.margin[0]
        frames = lr[:, :, margin : lr.shape[2] - margin]
        clips = rearrange(frames, "b c t h w -> (b t) c 1 h w").expand(-1, -1, 2 * margin + 1, -1, -1)
        return rearrange(self.network(clips), "(b t) c 1 h w -> b c t h w", b=len(lr))


def apply_network_to_clip(network: nn.Module, kind: Literal["frame", "movie"], clip: Tensor) -> Tensor:
    """Apply a network to a batch of clips; a frame network gets the frames of all clips as one batch.

    Args:
        network: A network for frames or for clips, according to `kind`.
        kind: "frame" or "movie".
        clip: Clips (B, C, T, h, w).

    Returns:
        Clips (B, C, T', H, W); T' = T for a frame network.
    """
    if kind == "movie":
        return network(clip)
    frames = network(clip.transpose(1, 2).flatten(0, 1))  # (B T, C, H, W)
    return frames.unflatten(0, (clip.shape[0], clip.shape[2])).transpose(1, 2)
