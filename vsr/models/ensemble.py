"""Ensemble: a network whose output also depends on noise, so that each draw of the noise gives a possible fine field."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.degradations.activity import activity_of
from vsr.geometry import crop
from vsr.models.base import Network
from vsr.models.blocks import init_block_he_normal_
from vsr.models.edsr import SMALL
from vsr.models.residual import StandardizedResidual
from vsr.models.resnet import SmoothBlock
from vsr.system.ranks import sum_over_ranks
from vsr.types import HRClips, TrainingFrames

WIDTH, BLOCKS, DEPTH = 32, 2, 3  # of the layers that turn noise into details, see DetailLayers
LARGEST_AMPLITUDE = 3.0  # logarithm of the last gain, at most
MEMBERS_AT_ONCE = 8  # outside of training, to bound the memory
LARGEST_FACTOR = 3.0  # of the details of members; a fit that asks for more, or for less than its inverse, is not trusted
# Quantiles of the activity of LR frames that divide the classes with a factor of their own. Most are among quiet places, where
# water at rest lies beside waves.
SPREAD_SHARES = (0.125, 0.25, 0.375, 0.5, 0.75, 0.9)
CORRELATION_TIMES = (1.5, 5.0)  # frames; planes of noise take turns, and training chooses among them


class Ensemble(Network):
    """Wrapper that also gives members: the frames of a network plus details made from noise.

    A member is sr = network(lr) + factor * rms * details(lr, network(lr), noise): the network runs once for all members, and a
    few small layers run once for each (`DetailLayers`). Details start at zero, so that training starts from the network alone,
    and their mean over all noise is zero, so that the mean of the members is what the network alone gives. Noise is one value
    per HR pixel, given as scale^2 planes of LR pixels (space to depth).

    The factor is 1 in training. It is fitted to validation frames (`SpreadFit`), because the network errs more on movies that it
    did not learn from than the members of training can tell. There is one for each channel and class of activity of its LR
    frames (`SPREAD_SHARES`), as errors in quiet places and in fronts do not grow alike.

    Noise planes come after all other channels of LR frames, `noise_planes` for each member. Without any, the output is that of
    the network.

    Source: noise as a further input and training by the fair CRPS as in Lang et al., "AIFS-CRPS", 2024, section 2; one shared
    deterministic pass is our own.

    Args:
        network: Network in a standardised residual.
        channels: Number of channels of an output frame.
        inputs: Number of channels of an LR frame that the network sees, without planes of the bicubic frame.
        total: Number of all channels of an LR frame, without noise.

    Attributes:
        noise_planes: Number of planes of noise of each member.
        edges: Activities (C, classes - 1) that divide the classes.
        factor: Factor (C, classes) of the details of members outside of training.
    """

    edges: Tensor
    factor: Tensor

    def __init__(self, network: StandardizedResidual, *, channels: int, inputs: int, total: int) -> None:
        super().__init__()
        self.network = network
        self.kind, self.geometry, self.context = network.kind, network.geometry, network.context
        self.whole_frames, self.channels, self.inputs, self.total = network.whole_frames, channels, inputs, total
        self.scale = network.scale
        self.reach = network.reach + 2 + 2 * BLOCKS + DEPTH
        self.noise_planes = self.scale**2
        self.details = DetailLayers(inputs + channels * self.scale**2, self.noise_planes, channels * self.scale**2)
        self.register_buffer("edges", torch.zeros(channels, len(SPREAD_SHARES)))
        self.register_buffer("factor", torch.ones(channels, len(SPREAD_SHARES) + 1))

    @property
    def error_unit(self) -> Tensor | float:
        """Return the unit of errors in the loss; see `Network.error_unit`."""
        return self.network.error_unit

    def forward(self, lr: Tensor) -> Tensor:
        """Map LR frames or clips to HR frames or clips.

        Args:
            lr: LR frames (N, total + K * noise_planes, h, w), or clips (B, the same, T, h, w); K = 0 for no members.

        Returns:
            HR frames (N, (1 + K) C, H, W) or clips (B, (1 + K) C, T', H, W): the channels of the network's output, of the first
            member, of the second, and so on.
        """
        known, noise = lr[:, : self.total], lr[:, self.total :]
        sr = self.network(known)
        if not noise.shape[1]:
            return sr
        details = self._details(known, sr.detach(), noise, noise.shape[1] // self.noise_planes)
        return torch.cat([sr, (sr.unsqueeze(1) + details).flatten(1, 2)], 1)

    def _details(self, lr: Tensor, sr: Tensor, noise: Tensor, count: int) -> Tensor:
        """Return the details of each member: frames (N, K, C, H, W) or clips (B, K, C, T', H, W)."""
        network, clips = self.network, None
        details = (sr - network.upscaled(lr)) / network.rms
        own = network.standardised(lr)[:, : self.inputs]
        if self.kind == "movie":
            lost, clips = self.geometry.margin[0], len(lr)
            own, noise, lr = (crop(x, (lost, 0, 0)).transpose(1, 2).flatten(0, 1) for x in (own, noise, lr))
            details = details.transpose(1, 2).flatten(0, 1)
        gains = self.details.gains(torch.cat([own, F.pixel_unshuffle(details, self.scale)], 1)).unsqueeze(1)
        parts = noise.unflatten(1, (count, self.noise_planes)).split(count if self.training else MEMBERS_AT_ONCE, 1)
        made = torch.cat([F.pixel_shuffle(self.details(part, gains), self.scale) for part in parts], 1)
        made = made * network.rms  # (N, K, C, H, W)
        if not self.training:
            made = made * self._factors(lr).unsqueeze(1)
        return made if clips is None else made.unflatten(0, (clips, -1)).permute(0, 2, 3, 1, 4, 5)

    def classes(self, lr: Tensor) -> Tensor:
        """Return the number of the class of activity of each pixel and channel of LR frames (N, c, h, w), as (N, C, h, w)."""
        return (self._activity(lr).unsqueeze(-1) > self.edges.view(1, self.channels, 1, 1, -1)).sum(-1)

    def _activity(self, lr: Tensor) -> Tensor:
        own = lr[:, : self.channels]
        return activity_of(own.flatten(0, 1)[:, None, None]).view(own.shape)

    def _factors(self, lr: Tensor) -> Tensor:
        """Return the factor of each HR pixel, (N, C, H, W), without steps where the class of LR frames (N, c, h, w) changes."""
        channel = torch.arange(self.channels, device=lr.device).view(-1, 1, 1)
        return F.interpolate(self.factor[channel, self.classes(lr)], scale_factor=self.scale, mode="bilinear")

    @torch.no_grad()
    def prepare(self, frames: TrainingFrames) -> None:
        """Prepare the wrapped network, and divide the classes of activity by training frames."""
        self.network.prepare(frames)
        for channel in range(self.channels):
            active = torch.cat([self._activity(lr)[:, channel].flatten() for lr, _, _ in frames])
            self.edges[channel] = torch.from_numpy(np.quantile(active.cpu().numpy(), SPREAD_SHARES))

    def fold(self) -> nn.Module:
        """Return a copy of the wrapper in which the network is folded; see `Network.fold`."""
        return self.with_modules(network=self.network.fold())

    def replace_layers(self, replace: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Return a copy of the wrapper with the layers of the network replaced; see `Network.replace_layers`."""
        return self.with_modules(network=self.network.replace_layers(replace))


class DetailLayers(nn.Module):
    """Layers at LR that turn noise into details.

    They are linear in the noise, so that the mean of the details is zero. Between them, features are multiplied by gains that
    other layers make of the LR frame and the frame of the network, once for all members: so the details, and how they hang
    together, follow the flow. The gains of the last layer are amplitudes exp(x), which can be as small as water at rest needs.

    Layers of noise (channels@kernel): DEPTH times WIDTH@3x3, outputs@3x3. Layers of gains: WIDTH@3x3, BLOCKS residual blocks,
    (DEPTH * WIDTH + outputs)@3x3.

    Args:
        inputs: Number of channels that the gains are made of.
        noise: Number of planes of noise.
        outputs: Number of channels of the details.
    """

    def __init__(self, inputs: int, noise: int, outputs: int) -> None:
        super().__init__()
        last = nn.Conv2d(WIDTH, DEPTH * WIDTH + outputs, 3, padding=1)
        blocks = [SmoothBlock(WIDTH) for _ in range(BLOCKS)]
        self.gains = nn.Sequential(nn.Conv2d(inputs, WIDTH, 3, padding=1), *blocks, nn.SiLU(), last)
        init_block_he_normal_(self.gains)
        sizes = [noise, *[WIDTH] * DEPTH, outputs]
        layers = [nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairwise(sizes)]
        with torch.no_grad():
            last.weight.mul_(SMALL)
            for layer in layers:
                nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
            layers[-1].weight.zero_()
        self.layers = nn.ModuleList(layers)

    def forward(self, noise: Tensor, gains: Tensor) -> Tensor:
        """Return the details (N, K, outputs, h, w) of noise (N, K, planes, h, w) with these gains, as (N, 1, .., h, w)."""
        x = noise
        for i, layer in enumerate(self.layers):
            x = layer(x.flatten(0, 1)).unflatten(0, noise.shape[:2])
            if i < DEPTH:
                x = x * (1 + gains[:, :, i * WIDTH : (i + 1) * WIDTH])
        return x * gains[:, :, DEPTH * WIDTH :].clamp(max=LARGEST_AMPLITUDE).exp()


class SpreadFit:
    """Fit of the factors of details with which members differ from each other as much as the network errs.

    The factor is the root of the mean squared error of the network over that of the details, which have a mean of zero, for each
    channel and class of activity.

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int) -> None:
        self._sums = torch.zeros(2, channels, len(SPREAD_SHARES) + 1, dtype=torch.float64)

    def update(self, members: Tensor, sr: HRClips, hr: HRClips, mask: Tensor | None, classes: Tensor) -> None:
        """Add clips.

        Args:
            members: Members with a factor of 1, (B, C, K, F, H, W).
            sr: The network's own output (B, C, F, H, W).
            hr: Truth.
            mask: Weight of each pixel (B, 1, F, H, W); None for all pixels alike.
            classes: Class of activity of each pixel (B, C, F, H, W), see `Ensemble.classes`.
        """
        details, error = members - sr.unsqueeze(2), hr - sr
        weight = torch.ones_like(error) if mask is None else mask.expand_as(error)
        terms = torch.stack([details.square().mean(2), error.square()])
        for i in range(self._sums.shape[-1]):
            self._sums[..., i] += (terms * weight * (classes == i)).sum((1, 3, 4, 5), dtype=torch.float64).cpu()

    def factor(self) -> Tensor:
        """Return the factors (C, classes) from the clips of all processes; 1 where members do not differ."""
        details, error = sum_over_ranks(self._sums)
        found = (error / details).sqrt().clamp(1 / LARGEST_FACTOR, LARGEST_FACTOR)
        return torch.where((details > 0) & (error > 0), found, 1.0).float()


def interpolation_weights(planes: int, times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return which two draws of white noise each plane of noise lies between at some times, and their weights.

    A plane turns from one draw to the next in its correlation time, on a circle, so that its variance is 1 at any time. Planes
    reach their draws one after the other.

    Args:
        planes: Number of planes.
        times: Numbers of frames (T,).

    Returns:
        The number of the first of the two draws (planes, T), integers; its weight, and that of the next draw, (planes, T).
    """
    spans = torch.tensor([CORRELATION_TIMES[i % len(CORRELATION_TIMES)] for i in range(planes)], dtype=torch.float64)
    position = times.double() / spans[:, None] + torch.arange(planes, dtype=torch.float64)[:, None] / planes
    draw = position.floor()
    angle = (position - draw) * (math.pi / 2)
    return draw.long(), angle.cos().float(), angle.sin().float()


def draw_noise(planes: int, frames: int, like: Tensor, members: int, clips: int) -> Tensor:
    """Draw noise for training clips from torch's generator, which changes in time as that of `MemberNoise`.

    Args:
        planes: Planes of noise of a member.
        frames: Number of frames T of the clips.
        like: LR clips (B, c, T, h, w), whose size, type and device the noise has.
        members: Number of members K.
        clips: Number of clips to draw noise for.

    Returns:
        (clips, K * planes, T, h, w).
    """
    start = torch.randint(0, 1 << 16, (1,))
    draw, first, second = interpolation_weights(planes, start + torch.arange(frames))
    draw = draw - draw[:, :1]
    white = torch.randn(clips, members, planes, int(draw.max()) + 2, *like.shape[-2:], device=like.device, dtype=like.dtype)
    at = torch.arange(planes)[:, None]
    first, second = (weight[..., None, None].to(white) for weight in (first, second))
    noise = white[:, :, at, draw] * first + white[:, :, at, draw + 1] * second
    return noise.flatten(1, 2)


class MemberNoise:
    """Noise of the members of an ensemble for any frame of a movie: equal seeds, members and frames have equal noise.

    Noise of neighbouring frames is correlated, so that members do not flicker.

    Args:
        planes: Planes of noise of a member.
        members: Number of members K.
        seed: Seed of all members.
    """

    def __init__(self, planes: int, members: int, seed: int) -> None:
        self.planes, self.members, self.seed = planes, members, seed
        # The size of the last frames, and (plane, draw) -> white noise (K, h, w); replaced as a whole, as threads share it.
        self._last: tuple[tuple[int, int], dict[tuple[int, int], np.ndarray]] = ((0, 0), {})

    def __call__(self, frames: Sequence[int], height: int, width: int) -> Tensor:
        """Return the noise of frames of these numbers, (T, K * planes, height, width)."""
        draws, first, second = interpolation_weights(self.planes, torch.tensor(frames))
        needed = {(plane, int(draw) + i) for plane in range(self.planes) for draw in draws[plane] for i in (0, 1)}
        size, known = self._last
        if size != (height, width):
            known = {}
        drawn = {key: known[key] if key in known else self._draw(*key, height, width) for key in needed}
        self._last = (height, width), drawn
        out = np.empty((len(frames), self.members, self.planes, height, width), np.float32)
        for plane in range(self.planes):
            for i, draw in enumerate(draws[plane].tolist()):
                a, b = (drawn[plane, draw + j] for j in (0, 1))
                out[i, :, plane] = float(first[plane, i]) * a + float(second[plane, i]) * b
        return torch.from_numpy(out).flatten(1, 2)

    def _draw(self, plane: int, draw: int, height: int, width: int) -> np.ndarray:
        """Return white noise (K, h, w) that depends on nothing but the seed, the member, the plane and the draw."""
        return np.stack(
            [
                _generator(self.seed, member, plane, draw).standard_normal((height, width), np.float32)
                for member in range(self.members)
            ]
        )


def _generator(*numbers: int) -> np.random.Generator:
    digest = hashlib.sha256(" ".join(map(str, numbers)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], np.uint64)))
