"""Application of a trained network to LR frames in physical units, in tiles and blocks that fit into memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.config.check import RUNTIMES
from vsr.data.checks import ratio_problem, transform_problem
from vsr.data.frames import Ends, frame_indices_beyond_ends
from vsr.data.loaders import apply_symmetry, turn_vectors
from vsr.data.masks import fill_masked_pixels
from vsr.degradations.border import Border
from vsr.degradations.consistency import BlockRatio
from vsr.degradations.resize import resize_aligned, skip_planes
from vsr.errors import UserError
from vsr.inference.options import UpscaleOptions
from vsr.inference.runtimes import RuntimeLayers
from vsr.inference.tiles import Tile, split_into_tiles
from vsr.metrics.definitions import psnr_from_mse
from vsr.models.base import LRLayout, apply_network_to_clip
from vsr.models.super_resolver import SuperResolver
from vsr.models.transform import Transformed, transform_kinds
from vsr.system.cpu import keep_freed_memory

DTYPES: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
MOST_FRAMES = 64  # per block
# Most bytes of intermediate results of a frame network on a CPU: larger tiles and blocks gain at most a tenth, and take up to a
# gigabyte more (docs/reference/performance.md). Movie networks would compute too many frames twice.
TILE_BYTES = 192 * 2**20
PROBE = 24  # LR pixels per side of the frame on which the memory per pixel is measured


class NonFiniteOutput(UserError):
    """Error that is raised if a network turns finite values into NaN or infinity."""


class UntransformableInput(NonFiniteOutput):
    """Error that is raised for LR values that the network's transform or consistency=ratio does not take."""


class Engine:
    """A function from LR frames to SR frames, both (T, C, height, width) float32 in physical units on the CPU.

    Frames are computed in tiles. The consistency of the module is a correction that makes SR frames agree with their LR frames;
    it is applied to whole frames after the tiles are joined.

    Args:
        module: A trained network with its normalizer and consistency.
        options: Options of upscaling; `ends=None` means "replicate". The options `consistency` and `consistency_steps` are
            ignored, because `module` has its own consistency.
        channels: Number of channels of a frame.
        centred: True if an LR pixel lies in the middle of its block of HR pixels, which `options.ensemble` needs.

    Attributes:
        scale: SR pixels per LR pixel along y and x.
        context: LR frames on each side on which an SR frame depends.
        reach: LR pixels on each side on which an SR pixel depends.
        border: (y, x) LR pixels that are added on each side of a frame, so that SR has exactly `scale` times its size.
        tile_area: LR pixels that are computed at once, over all frames of a block.

    Raises:
        UserError: If options contradict each other, or if an option does not suit the network or the device.
    """

    def __init__(self, module: SuperResolver, options: UpscaleOptions, *, channels: int, centred: bool = True) -> None:
        device = options.torch_device()
        keep_freed_memory()
        if options.ensemble and not centred:
            raise UserError(
                "ensemble=true: this degradation shifts LR against HR, so that flips do not mean the same; leave it out"
            )
        if options.precision == "fp16" and device.type == "cpu":
            raise UserError("precision=fp16: for GPUs; type precision=bf16, or fp32, which is as fast on most CPUs")
        if options.engine in RUNTIMES and device.type != "cpu":
            raise UserError(f"engine={options.engine}: computes on the CPU; type device=cpu, or engine=torch")
        self.options, self.channels, self.device = options, channels, device
        self.ends: Ends = options.ends or "replicate"
        self.module = module.to(device).eval()
        network = module.network
        self.layout = module.layout or LRLayout(channels)
        facts = module.card.get("data", {})
        self.vectors, self.north_up = tuple(map(tuple, facts.get("vectors", ()))), bool(facts.get("north_up", False))
        zeros = (-module.normalizer.low / (module.normalizer.high - module.normalizer.low)).expand(channels)
        self.zeros = {channel: float(zeros[channel]) for pair in self.vectors for channel in pair}
        self.beyond = Border(options.periodic or "none", self.zeros, self.layout.packed)
        if not self.layout.plain and options.ensemble:
            raise UserError(
                "ensemble=true: this network sees more than the variables, so that flips do not mean the same; leave it out"
            )
        if self.layout.bordered and any(self.beyond.closed):
            raise UserError(
                f"periodic={options.periodic}: this network knows where a pixel lies in its frame, so that opposite borders do "
                f"not mean the same; leave it out"
            )
        self.kind, self.context, self.margin = network.kind, network.context, network.geometry.margin
        self.scale, self.reach = network.geometry.scale[1], network.halo
        self.border: tuple[int, int] = tuple(
            network.halo if closed else math.ceil(lost / self.scale)
            for closed, lost in zip(self.beyond.closed, self.margin[1:], strict=True)
        )  # type: ignore[assignment]
        with torch.inference_mode():
            self._network: nn.Module = network.fold()
            if device.type == "cpu":
                _order_channels_last(self._network)
            self._exact = self._network
            self.tile_area = self._choose_tile_area()
        if options.engine in RUNTIMES:
            with torch.no_grad():
                self._network = network.replace_layers(self._runtime_layers)
        if options.compile:
            self._network = torch.compile(self._network, dynamic=True)  # type: ignore[assignment]

    def _runtime_layers(self, layers: nn.Module) -> nn.Module:
        """Return layers as the engine of the options computes them."""
        sizes = {"scale": self.scale, "reach": self.reach, "context": self.context}
        return RuntimeLayers(layers, self.options.engine, str(self.options.precision), **sizes)

    def block(self, height: int, width: int) -> int:
        """Return the number of LR frames of `height` x `width` pixels that are computed at once."""
        pixels = (height + 2 * self.border[0]) * (width + 2 * self.border[1])
        return max(1, min(MOST_FRAMES, self.tile_area // pixels))

    def seen_pixels(self, height: int, width: int) -> int:
        """Return the number of LR pixels that the network sees for a frame, those that several tiles see counted each time."""
        tiles = split_into_tiles(height, width, self.reach, self.tile_area, self.border)
        return sum((tile.seen_y[1] - tile.seen_y[0]) * (tile.seen_x[1] - tile.seen_x[0]) for tile in tiles)

    def window(self, start: int, stop: int, length: int) -> Tensor:
        """Return the numbers, in order, of the LR frames that the SR frames start..stop-1 of a movie depend on.

        The movie has `length` frames. Numbers beyond its ends are replaced according to the option `ends`.
        """
        return frame_indices_beyond_ends(torch.arange(start - self.context, stop + self.context), 0, length, self.ends)

    @torch.inference_mode()
    def __call__(
        self, lr: Tensor, *, exact: bool = False, consistent: bool = True, first_frame: int = 0, noise: Tensor | None = None
    ) -> Tensor:
        """Upscale a block of frames; values that are not finite (land, gaps) become blocks of NaN in their channel.

        Args:
            lr: LR frames (n + 2 * context, C, h, w) in physical units: n frames and `context` frames on each side; planes of
                time and position come after the variables (`vsr.models.base.add_input_planes`).
            exact: True to compute in torch, in single precision and without torch.compile, whatever the options say.
            consistent: True to apply the consistency of the module; False for the output of the network itself.
            first_frame: Number in the movie of the first of the n frames, for error messages.
            noise: Planes of noise of K members (n + 2 * context, K planes, h, w), for an ensemble; None for no members.

        Returns:
            SR frames (n, (1 + K) C, h * scale, w * scale) in physical units: those of the network, of the first member, ...

        Raises:
            NonFiniteOutput: If the network turns finite values into NaN or infinity.
            UntransformableInput: If its transform, or consistency=ratio, does not take a value.
        """
        self._check_values(lr, first_frame, consistent)
        filled, mask = (lr, None) if _all_finite(lr) else fill_masked_pixels(lr)
        unit = self.module.unit_lr(filled.to(self.device))
        if self.layout.alignment is not None:
            skip = skip_planes(unit[:, : self.layout.channels], self.scale, self.layout.alignment)
            unit = torch.cat([unit, skip], 1)
        if noise is not None:
            unit = torch.cat([unit, noise.to(unit)], 1)
        # A runtime computes the layers in the precision of the options, and torch the rest in single precision.
        reduced = None if exact or self.options.engine in RUNTIMES else DTYPES.get(str(self.options.precision))
        network, dtype = self._exact if exact else self._network, reduced
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            bordered = self.beyond.pad(unit, self.border)
            sr = self._apply_ensemble(network, bordered) if self.options.ensemble else self._apply_tiled(network, bordered)
        seen = unit[self.context : len(unit) - self.context, : self.layout.channels]
        each = []
        for one in sr.float().split(self.layout.channels, 1):
            if consistent and self.module.consistency is not None:
                one = self.module.consistency(one, seen)
            each.append(self.module.normalizer.inverse_in_place(one).cpu())
        out = torch.cat(each, 1) if len(each) > 1 else each[0]
        if not _all_finite(out):
            frame = first_frame + int((~out.isfinite()).flatten(1).any(1).nonzero()[0])
            raise NonFiniteOutput(self._describe_overflow(frame, filled, exact))
        if mask is not None:
            # A channel that a frame lacks as a whole is no input for the others.
            known = mask[:, : self.layout.channels] * mask.flatten(2).any(2).all(1)[:, None, None, None]
            inner = known[self.context : len(known) - self.context]
            if self.layout.alignment is None:
                covered = F.interpolate(inner, scale_factor=self.scale, mode="nearest")
            else:
                covered = resize_aligned(inner, self.scale, self.layout.alignment, "nearest")
            out = out.masked_fill((covered == 0).repeat(1, len(each), 1, 1), math.nan)
        return out

    def _check_values(self, lr: Tensor, first_frame: int, consistent: bool) -> None:
        """Raise UntransformableInput for values of LR frames that the transforms or the consistency do not take."""
        network, facts = self.module.network, self.module.card.get("data", {})
        names, offset, found = facts.get("variables", ()), facts.get("offset", 0.0), None
        if isinstance(network, Transformed):
            found = transform_problem(lr, transform_kinds(network.transforms), names, offset)
        if found is None and consistent and isinstance(self.module.consistency, BlockRatio):
            found = ratio_problem(lr[:, : self.layout.channels], names, offset)
        if found is not None:
            frame = max(0, first_frame + found[0] - self.context)
            raise UntransformableInput(
                f"frame {frame}: {found[1]}; give values in the units of training, NaN where there is none"
            )

    def rounding_error(self, lr: Tensor) -> dict[str, float]:
        """Return the rounding error that the options cause, measured against plain single precision.

        Args:
            lr: LR frames (n + 2 * context, C, h, w) in physical units.

        Returns:
            "rms" and "max" of the differences in physical units, or as parts of the data range for several variables; "share",
            the largest difference as a part of the data range; "psnr" in dB, with the data range of training.
        """
        fast, exact = self(lr), self(lr, exact=True)
        normalizer, spread = self.module.normalizer, 1.0
        if normalizer.low.ndim:
            fast, exact = (normalizer(sr.to(self.device)) for sr in (fast, exact))
        else:
            spread = float(normalizer.high) - float(normalizer.low)
        difference = (fast - exact)[torch.isfinite(exact)]
        rms = float(difference.square().mean().sqrt())
        most = float(difference.abs().max()) if difference.numel() else 0.0
        return {"rms": rms, "max": most, "share": most / spread, "psnr": float(psnr_from_mse((rms / spread) ** 2))}

    def _describe_overflow(self, frame: int, lr: Tensor, exact: bool) -> str:
        lr, bounds = lr[:, : self.layout.channels], np.reshape(self.module.normalizer.bounds, (-1, 2))
        trained = ", ".join(f"{low:.4g} to {high:.4g}" for low, high in bounds)
        given = ", ".join(f"{float(x.min()):.4g} to {float(x.max()):.4g}" for x in (lr.unbind(1) if len(bounds) > 1 else [lr]))
        reduced = not exact and self.options.precision != "fp32"
        return (
            f"frame {frame}: the network makes infinite values or NaN of values from {given}, it was trained on {trained}; give "
            f"values in the same units, NaN where there is none{', or type precision=fp32' if reduced else ''}"
        )

    def _apply_ensemble(self, network: nn.Module, unit: Tensor) -> Tensor:
        total: Tensor | float = 0.0
        for turns in range(4):
            for mirrored in (False, True):
                seen = self._turn(unit, [*["flip_x"] * mirrored, *["quarter_turn"] * turns])
                y, x = self.border
                border = (x, y) if turns % 2 else (y, x)
                back = self._apply_tiled(network, seen, border).float()
                total = total + self._turn(back, [*["quarter_turn"] * (-turns % 4), *["flip_x"] * mirrored])
        return total / 8  # type: ignore[return-value]

    def _turn(self, unit: Tensor, symmetries: Sequence[str]) -> Tensor:
        """Apply symmetries to frames in the unit interval, one after the other; vectors turn with the frames."""
        zero = unit.new_tensor([self.zeros.get(channel, 0.0) for channel in range(unit.shape[1])]).view(-1, 1, 1)
        for symmetry in symmetries:
            unit = apply_symmetry(symmetry, unit)
            if self.vectors:
                unit = turn_vectors(symmetry, unit - zero, self.vectors, self.north_up) + zero
        return unit

    def _apply_tiled(self, network: nn.Module, unit: Tensor, border: tuple[int, int] | None = None) -> Tensor:
        """Apply the network tile by tile to frames (n + 2 * context, C, h, w) with their border: -> (n, C, H, W)."""
        border = border or self.border
        height, width = (size - 2 * n for size, n in zip(unit.shape[-2:], border, strict=True))
        tiles = list(split_into_tiles(height, width, self.reach, self.tile_area, border))
        if len(tiles) == 1:
            return self._apply_to_tile(network, unit, tiles[0], border)
        s = self.scale
        out = None
        for tile in tiles:
            (a, b), (c, d) = tile.y, tile.x
            sr = self._apply_to_tile(network, unit, tile, border)
            if out is None:
                out = unit.new_empty(*sr.shape[:2], height * s, width * s)
            out[..., a * s : b * s, c * s : d * s] = sr
        assert out is not None
        return out

    def _apply_to_tile(self, network: nn.Module, unit: Tensor, tile: Tile, border: tuple[int, int]) -> Tensor:
        """Compute the SR pixels (n, C, H, W) of a tile from `unit`, the LR frames with their border."""
        seen = unit[..., slice(*tile.seen_y), slice(*tile.seen_x)]
        if self.kind == "frame":
            sr = network(seen)
        else:
            clip = seen.transpose(0, 1).unsqueeze(0)  # (1, C, T, h, w)
            sr = apply_network_to_clip(network, self.kind, clip)[0].transpose(0, 1)  # (T', C, H, W)
            surplus = self.context - self.margin[0]
            sr = sr[surplus : len(sr) - surplus]
        spans = []
        for (start, stop), (first, _), added, lost in zip(
            (tile.y, tile.x), (tile.seen_y, tile.seen_x), border, self.margin[1:], strict=True
        ):
            begin = (start + added - first) * self.scale - lost
            spans.append(slice(begin, begin + (stop - start) * self.scale))
        return sr[..., spans[0], spans[1]]

    def _choose_tile_area(self) -> int:
        """Return the number of LR pixels, over all frames of a block, whose intermediate results fit into `options.memory`."""
        if self.module.network.whole_frames:
            return 1 << 40
        if self.options.tile is not None:
            return self.options.tile**2 if self.options.tile else 1 << 40
        size = PROBE + 2 * self.reach
        frames = 1 + 2 * self.context
        ensemble, members = self.module.ensemble, self.options.members or 0
        planes = self.layout.total(self.scale) + (members * ensemble.noise_planes if ensemble is not None else 0)
        probe = torch.zeros(1, planes, frames, size, size, device=self.device)
        held = _peak_bytes(self._network, lambda: apply_network_to_clip(self._network, self.kind, probe))
        limit = self.options.memory * 2**20 * size * size // held
        if self.kind == "frame" and self.device.type == "cpu":
            limit = min(limit, max(TILE_BYTES * size * size // held, (16 * self.reach) ** 2))
        return max(1, limit)


def _order_channels_last(network: nn.Module) -> None:
    """Store the weights of 2D convolutions in torch's channels_last format; their results follow them.

    On a CPU, networks are 1.0 to 1.7 times as fast that way (docs/reference/performance.md).
    """
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _all_finite(x: Tensor) -> bool:
    """Return True if no value is infinite or NaN, which the smallest and the largest value tell in a tenth of the time."""
    return all(bool(extreme.isfinite()) for extreme in torch.aminmax(x))


def _peak_bytes(network: nn.Module, run: Callable[[], object]) -> int:
    """Estimate the bytes that a network holds at once: twice the largest sum of the input and output of a layer."""
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
