"""A trained network as a function of LR frames in physical units: whole or in tiles, one block of frames at a time."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.data.frames import Ends, beyond
from vsr.data.masks import fill_gaps
from vsr.errors import UserError
from vsr.inference.tiles import tiles
from vsr.models.base import on_clip
from vsr.training.modules.base import SRModule

log = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16", "fp16"]
Periodic = Literal["none", "x", "y", "xy"]
DTYPES: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Of intermediate results of a frame network on a CPU: tiles of this size are up to twice as fast as whole large frames, which are
# fetched from memory again by every layer (benchmarks/upscale.py). Movie networks would compute too many frames twice.
CACHED = 24 * 2**20
PROBE = 24  # LR pixels per side of the frame on which the memory per pixel is measured


@dataclass(frozen=True, kw_only=True)
class Options:
    """How frames are computed; none of them changes what is computed, but for `ensemble` and `periodic`.

    Attributes:
        precision: of the network's arithmetic. Normalising, bicubic and sums stay in float32.
        compile: let torch.compile generate code; pays after some hundred frames.
        channels_last: the memory format of frame networks.
        ensemble: the mean over the eight flips and turns of each frame (Lim et al. 2017, "self-ensemble"): 8 times the work.
        periodic: "x", "y" or "xy", where the field goes on at the opposite border; "none".
        tile: about tile x tile LR pixels are worked on at once, 0 for whole frames; None follows from `memory`.
        memory: MiB that the network's intermediate results may take.
    """

    precision: Precision = "fp32"
    compile: bool = False
    channels_last: bool = False
    ensemble: bool = False
    periodic: Periodic = "none"
    tile: int | None = None
    memory: int = 512


class Overflow(UserError):
    """The network made infinite values or NaN of finite ones."""


class Engine:
    """LR frames -> SR frames, both (T, C, height, width) in physical units, float32 on the CPU.

    Args:
        module: a trained network. channels: of its frames.
        ends: what stands in for frames before the first and after the last.
        centred: whether an LR pixel lies in the middle of its block of HR pixels, which `ensemble` needs.
        device: where the network runs.

    The module's `consistency` is applied to whole frames, after tiles were put together.
    Raises UserError for options that do not go together.
    """

    def __init__(
        self,
        module: SRModule,
        options: Options,
        *,
        channels: int,
        ends: Ends = "replicate",
        centred: bool = True,
        device: torch.device | None = None,
    ) -> None:
        device = device or torch.device("cpu")
        if options.ensemble and not centred:
            raise UserError(
                "ensemble=true: this degradation shifts LR against HR, so that flips do not mean the same; leave it out"
            )
        if options.precision == "fp16" and device.type == "cpu":
            raise UserError("precision=fp16: for GPUs; type precision=bf16, or fp32, which is as fast on most CPUs")
        if options.periodic != "none" and module.consistency is not None:
            raise UserError(
                f"periodic={options.periodic}: the degradation that consistency inverts mirrors frames at their border; type "
                f"consistency=none, or periodic=none"
            )
        self.options, self.channels, self.device, self.ends = options, channels, device, ends
        self.module = module.to(device).eval()
        network = module.network
        self.kind, self.context, self.lost = network.kind, network.context, network.geometry.margin
        self.scale, self.reach = network.geometry.scale[1], network.reach
        # What valid convolutions take off is made up around the frame first, so that SR is exactly `scale` times LR.
        self.border: tuple[int, int] = tuple(
            self.reach if axis in options.periodic else math.ceil(lost / self.scale)
            for axis, lost in zip("yx", self.lost[1:], strict=True)
        )  # type: ignore[assignment]
        with torch.inference_mode():
            self._network: nn.Module = network.fold()
            self._exact = self._network
            if options.channels_last and self.kind == "frame":
                self._network = self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.area = self._area()
        if options.compile:
            self._network = torch.compile(self._network, dynamic=True)  # type: ignore[assignment]

    def block(self, height: int, width: int) -> int:
        """How many frames of this size fit into `memory` at once."""
        seen = (height + 2 * self.border[0]) * (width + 2 * self.border[1])
        return max(1, min(64, self.area // seen))

    def window(self, start: int, stop: int, length: int) -> Tensor:
        """Which frames of a movie of `length` the output frames start..stop-1 need, in order, with those that are made up."""
        return beyond(torch.arange(start - self.context, stop + self.context), 0, length, self.ends)

    @torch.inference_mode()
    def __call__(self, lr: Tensor, *, exact: bool = False, agreeing: bool = True, first: int = 0) -> Tensor:
        """(n + 2 * context, C, h, w) -> (n, C, h * scale, w * scale). Values that are not finite (land, gaps) stay NaN, enlarged.

        exact: in single precision and not compiled, whatever the options say. agreeing: False for what the network itself gives.
        first: number of the first of the n frames, for errors. Raises Overflow where finite values become others.
        """
        filled, mask = (lr, None) if bool(torch.isfinite(lr).all()) else fill_gaps(lr)
        unit = self.module.normalizer(filled.to(self.device))
        network, dtype = (self._exact, None) if exact else (self._network, DTYPES.get(self.options.precision))
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            sr = self._ensemble(network, unit) if self.options.ensemble else self._frames(network, unit)
        sr = sr.float()
        if agreeing and self.module.consistency is not None:
            sr = self.module.consistency(sr, unit[self.context : len(unit) - self.context])
        out = self.module.normalizer.inverse(sr).cpu()
        finite = out.isfinite()
        if not bool(finite.all()):
            raise Overflow(self._overflow(first + int((~finite).flatten(1).any(1).nonzero()[0]), filled, exact))
        if mask is not None:
            inner = mask[self.context : len(mask) - self.context]
            out = out.masked_fill(F.interpolate(inner, scale_factor=self.scale, mode="nearest") == 0, math.nan)
        return out

    def error(self, lr: Tensor) -> dict[str, float]:
        """What the options cost in accuracy on these frames, in physical units and in dB of the data range."""
        fast, exact = self(lr), self(lr, exact=True)
        difference = (fast - exact)[torch.isfinite(exact)]
        low, high = self.module.normalizer.bounds
        rms = float(difference.square().mean().sqrt())
        psnr = 20 * math.log10((high - low) / rms) if rms else math.inf
        return {"rms": rms, "max": float(difference.abs().max()), "psnr": psnr}

    def _overflow(self, frame: int, lr: Tensor, exact: bool) -> str:
        low, high = self.module.normalizer.bounds
        reduced = not exact and self.options.precision != "fp32"
        return (
            f"frame {frame}: the network makes infinite values or NaN of values from {float(lr.min()):.4g} to "
            f"{float(lr.max()):.4g}, it was trained on {low:.4g} to {high:.4g}; give values in the same units, NaN where "
            f"there is none{', or type precision=fp32' if reduced else ''}"
        )

    def _ensemble(self, network: nn.Module, unit: Tensor) -> Tensor:
        total: Tensor | float = 0.0
        for turns in range(4):
            for mirrored in (False, True):
                seen = torch.rot90(unit.flip(-1) if mirrored else unit, turns, (-2, -1))
                back = torch.rot90(self._frames(network, seen).float(), -turns, (-2, -1))
                total = total + (back.flip(-1) if mirrored else back)
        return total / 8  # type: ignore[return-value]

    def _frames(self, network: nn.Module, unit: Tensor) -> Tensor:
        """(n + 2 * context, C, h, w) -> (n, C, H, W) in the unit interval, tile by tile."""
        height, width = unit.shape[-2:]
        unit = self._bordered(unit)
        count = len(unit) - 2 * self.context
        parts = list(tiles(height, width, self.reach, self.area, self.border))
        if len(parts) == 1:
            return self._tile(network, unit, parts[0].y, parts[0].x, (0, 0))
        out = unit.new_empty(count, unit.shape[1], height * self.scale, width * self.scale)
        s = self.scale
        for part in parts:
            (a, b), (c, d) = part.y, part.x
            seen = unit[..., slice(*part.seen_y), slice(*part.seen_x)]
            out[..., a * s : b * s, c * s : d * s] = self._tile(network, seen, part.y, part.x, (part.seen_y[0], part.seen_x[0]))
        return out

    def _bordered(self, unit: Tensor) -> Tensor:
        """With the made-up border around it: from the opposite side where the field is periodic, else mirrored."""
        for axis, letter, n in zip((-2, -1), "yx", self.border, strict=True):
            if n:
                size = unit.shape[axis]
                index = torch.arange(-n, size + n, device=unit.device)
                if letter in self.options.periodic:
                    index = index % size
                else:
                    index = index % (2 * size)
                    index = torch.minimum(index, 2 * size - 1 - index)
                unit = unit.index_select(axis, index)
        return unit

    def _tile(self, network: nn.Module, seen: Tensor, y: tuple[int, int], x: tuple[int, int], origin: tuple[int, int]) -> Tensor:
        """What a tile gives: SR of LR rows `y` and columns `x`, from pixels that begin at `origin` of the bordered frame."""
        clip = seen.transpose(0, 1).unsqueeze(0)  # (1, C, T, h, w)
        if self.kind == "frame" and self.options.channels_last:
            sr = network(seen.contiguous(memory_format=torch.channels_last))
        elif self.kind == "frame":
            sr = network(seen)
        else:
            sr = on_clip(network, self.kind, clip)[0].transpose(0, 1)  # (T', C, H, W)
            more = self.context - self.lost[0]
            sr = sr[more : len(sr) - more]
        spans = []
        for (a, b), border, first, lost in zip((y, x), self.border, origin, self.lost[1:], strict=True):
            begin = (a + border - first) * self.scale - lost
            spans.append(slice(begin, begin + (b - a) * self.scale))
        return sr[..., spans[0], spans[1]]

    def _area(self) -> int:
        """LR pixels (of all frames of a block together) that fit into the memory allowed."""
        if self.options.tile is not None:
            return self.options.tile**2 if self.options.tile else 1 << 40
        size = PROBE + 2 * self.reach
        frames = 1 + 2 * self.context
        probe = torch.zeros(1, self.channels, frames, size, size, device=self.device)
        held = _peak_bytes(self._network, lambda: on_clip(self._network, self.kind, probe))
        limit = self.options.memory * 2**20 * size * size // held
        if self.kind == "frame" and self.device.type == "cpu":
            limit = min(limit, max(CACHED * size * size // held, (16 * self.reach) ** 2))
        return max(1, limit)


def _peak_bytes(network: nn.Module, run: Callable[[], object]) -> int:
    """About how many bytes a network holds at once: the largest sum of a layer's input and output, with as much for its work."""
    largest = 0

    def note(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        nonlocal largest
        tensors = [x for x in (*inputs, output) if isinstance(x, Tensor)]
        largest = max(largest, sum(x.numel() * x.element_size() for x in tensors))

    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    hooks = [leaf.register_forward_hook(note) for leaf in leaves]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return max(1, 2 * largest)


def reported(options: Options) -> bool:
    """Whether results differ from those of the plain way by more than rounding in single precision."""
    return options != replace(options, precision="fp32", compile=False, channels_last=False)
