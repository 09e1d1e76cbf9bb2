"""Loaders that cut batches for training and scoring from tensors in one operation and without worker processes.

Networks of ten thousand parameters take milliseconds per step; a loader that handles samples one by one would slow them down.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from vsr.data.frames import EVAL_PIXELS, Ends, FrameSet
from vsr.degradations.border import Border
from vsr.system.ranks import assign_sequences_to_ranks, current_rank, rank_count, rank_share
from vsr.types import Clip

# Flips and the transpose are reflections; a flow on a rotating plane is symmetric under the turns alone.
SYMMETRIES = ("flip_y", "flip_x", "half_turn", "transpose", "quarter_turn")
NEED_SQUARES = ("transpose", "quarter_turn")
FEWEST_ENDS = 0.125  # share of the training clips that have made-up neighbours


class PatchLoader:
    """Loader of random training patches, drawn anew in each epoch and reproducible by the seed.

    Args:
        frames: The training split.
        length: Number of frames per clip.
        patch: Side of the patches in LR pixels; None for whole frames.
        batch: Number of clips per step over all processes; each process draws all random numbers and takes its share of the
            clips.
        steps: Number of steps per epoch; None for one pass over all clips.
        symmetries: Names in SYMMETRIES, each applied to a batch with probability 1/2; names in NEED_SQUARES need square
            patches.
        vectors: Channels (u, v) of vectors along x and along y, which the symmetries turn, too.
        north_up: True if v points towards the first row, as on latitudes that fall from row to row.
        static: Number of the last LR channels that are static fields, packed by space to depth: symmetries turn them at HR.
        mix: Share of the clips, 0 to 1, that are mixed with the clips at the same place in two other segments: both LR and HR
            become a sum of the three. The weights lie anywhere on the circle on which the sum of the weights and the sum of their
            squares are 1, so that mixtures of unrelated clips have mean and variance of a clip; some weights are below 0. For a
            linear law the mixture is another solution; for any other it keeps the network from learning a few trajectories by
            heart. Source: after Zhang et al., "mixup: beyond empirical risk minimization", 2018, section 2; partners at the same
            time and the circle are our own.
        margin: Number of frames that the network removes at each end of a clip. Where fewer than `FEWEST_ENDS` of the clips lie
            at an end of their segment and so have made-up neighbours, some others get such neighbours, too: the movies that are
            upscaled later may be short, or end at any time.
        ends: How frames go on beyond the ends of a segment.
        seed: Seed of the random draws.
    """

    def __init__(
        self,
        frames: FrameSet,
        *,
        length: int = 1,
        patch: int | None,
        batch: int,
        steps: int | None,
        symmetries: tuple[str, ...] = (),
        vectors: tuple[tuple[int, int], ...] = (),
        north_up: bool = False,
        static: int = 0,
        mix: float = 0.0,
        margin: int = 0,
        ends: Ends = "replicate",
        seed: int = 0,
    ) -> None:
        self.frames, self.length, self.patch, self.batch, self.seed, self.epoch = frames, length, patch, batch, seed, 0
        self.mix, self.vectors, self.north_up, self.static = mix, vectors, north_up, static
        self.margin, self.ends = margin, ends
        self.done = 0  # batches of the current epoch that were returned
        self._skip = 0  # batches of the next epoch that were returned before an interruption
        h, w = frames.smallest_size()
        self.symmetries = tuple(x for x in symmetries if x not in NEED_SQUARES or patch is not None or h == w)
        self.draws = len(frames.starts(length)) if steps is None else steps * batch

    def __len__(self) -> int:
        return -(-self.draws // self.batch)

    def state_dict(self) -> dict[str, int]:
        """Return the number of epochs begun, and the number of batches of the current epoch that were returned."""
        return {"epoch": self.epoch, "done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore a state from `state_dict`; the next epoch is then the rest of an epoch that was interrupted."""
        self.epoch, self.done, self._skip = state["epoch"], state["done"], 0
        if 0 < self.done < len(self):
            self.epoch, self._skip = self.epoch - 1, self.done

    def __iter__(self) -> Iterator[Clip]:
        draw = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        self.epoch += 1
        self.done, self._skip = self._skip, 0
        starts = self.frames.order(self.length, self.draws, draw)
        place = torch.rand(self.draws, 2, generator=draw)
        flips = torch.randint(2, (len(self), len(self.symmetries)), generator=draw).tolist()
        if self.mix:
            mixed, weights = self._draw_mixtures(starts, draw)
        bounds = self._draw_ends(draw)
        for i in range(self.done, len(flips)):
            at, part = self._own_share(i * self.batch, min((i + 1) * self.batch, self.draws))
            if self.mix:
                lr, hr, position, mask = self._mixture(mixed[at], weights[at], place[at])
            else:
                lr, hr, position, mask, *_ = self.frames.patches(starts[at], place[at], self.length, self.patch)
            if bounds is not None:
                lr = self._with_ends(lr, bounds[at])
            for symmetry, applied in zip(self.symmetries, flips[i], strict=True):
                if applied:
                    hr = turn_vectors(symmetry, apply_symmetry(symmetry, hr), self.vectors, self.north_up)
                    lr = turn_vectors(symmetry, self._apply_lr(symmetry, lr), self.vectors, self.north_up)
                    mask = None if mask is None else apply_symmetry(symmetry, mask)
            self.done = i + 1
            yield Clip(lr, hr, position, mask, share=part)

    def _apply_lr(self, symmetry: str, lr: Tensor) -> Tensor:
        """Apply a symmetry to LR clips (B, C, T, h, w), to packed static fields as they lie at HR."""
        if not self.static:
            return apply_symmetry(symmetry, lr)
        variables, planes = lr[:, : -self.static], lr[:, -self.static :].transpose(1, 2)
        fields = apply_symmetry(symmetry, F.pixel_shuffle(planes, self.frames.scale))
        return torch.cat([apply_symmetry(symmetry, variables), F.pixel_unshuffle(fields, self.frames.scale).transpose(1, 2)], 1)

    def _draw_ends(self, draw: torch.Generator) -> Tensor | None:
        """Draw the first and the last frame in each clip that are not made up, (draws, 2); None if no clip gets an end."""
        clips = sum(max(0, b - a - self.length + 1) for a, b in self.frames.segments)
        at_ends = sum(min(2 * self.margin, max(0, b - a - self.length + 1)) for a, b in self.frames.segments)
        share = FEWEST_ENDS - at_ends / max(1, clips)
        if not self.margin or share <= 0:
            return None
        chosen = torch.rand(self.draws, 2, generator=draw) < share / 2  # the beginning, the end
        cut = torch.randint(1, self.margin + 1, (self.draws, 2), generator=draw) * chosen
        return torch.tensor([0, self.length - 1]) + cut * torch.tensor([1, -1])

    def _with_ends(self, lr: Tensor, bounds: Tensor) -> Tensor:
        """Make up the frames of LR clips (B, C, T, h, w) before the first and after the last frame of `bounds`, (B, 2)."""
        first, last = bounds.to(lr.device).view(-1, 2, 1).unbind(1)
        index = torch.arange(self.length, device=lr.device).expand(len(lr), -1)
        near = index.clamp(first, last)
        index = near if self.ends == "replicate" else 2 * near - index
        return lr[torch.arange(len(lr), device=lr.device)[:, None], :, index].transpose(1, 2)

    def _draw_mixtures(self, starts: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw for each clip two of other segments at the same distance from their first frame, and the weights of the three.

        Args:
            starts: Index of the first frame of each clip, (draws,).
            draw: Random numbers.

        Returns:
            Index of the first frame of each clip and of its partners, (draws, 3), and weights (draws, 3). The weights are
            (1, 0, 0) for a clip that is not mixed, and for a clip further in its segment than all other segments are long. With
            a single other segment, both partners are the same.
        """
        firsts, ends = torch.tensor(self.frames.segments).T.contiguous()
        own = torch.searchsorted(ends, starts, right=True)
        at = firsts + (starts - firsts[own])[:, None]  # (draws, segments)
        possible = (at + self.length <= ends) & (torch.arange(len(firsts)) != own[:, None])
        partners = possible.sum(1)
        possible[partners == 0, own[partners == 0]] = True
        first = torch.multinomial(possible.float(), 1, generator=draw)
        possible[partners > 1] = possible[partners > 1].scatter(1, first[partners > 1], False)
        second = torch.multinomial(possible.float(), 1, generator=draw)
        angles = 2 * torch.pi * (torch.rand(len(starts), 1, generator=draw) + torch.arange(3) / 3)
        weights = (1 + 2 * angles.cos()) / 3
        weights[(torch.rand(len(starts), generator=draw) >= self.mix) | (partners == 0)] = torch.tensor([1.0, 0.0, 0.0])
        return torch.cat([starts[:, None], at.gather(1, first), at.gather(1, second)], 1), weights

    def _mixture(self, starts: Tensor, weights: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Cut patches and mix each with its partners. A pixel is masked where it is in one of the clips that are mixed."""
        lr, hr, position, mask, *_ = self.frames.patches(starts[:, 0], place, self.length, self.patch)
        of_clip, *of_partners = weights.view(-1, 3, 1, 1, 1, 1).to(lr).unbind(1)
        lr, hr = of_clip * lr, of_clip * hr
        for start, weight in zip(starts[:, 1:].unbind(1), of_partners, strict=True):
            partner = self.frames.patches(start, place, self.length, self.patch)
            lr, hr = lr + weight * partner.lr, hr + weight * partner.hr
            if mask is not None and partner.mask is not None:
                mask = mask * torch.where(weight == 0, 1.0, partner.mask)
        return lr, hr, position, mask

    def _own_share(self, first: int, last: int) -> tuple[slice, float]:
        """Return this process's part of draws first..last-1, and `Clip.share`; an empty part becomes one draw with weight 0."""
        count = last - first
        a, b = rank_share(count, current_rank(), rank_count())
        return (slice(first + a, first + b) if a < b else slice(first, first + 1)), (b - a) * rank_count() / count


def apply_symmetry(symmetry: str, x: Tensor) -> Tensor:
    """Apply one of SYMMETRIES to the last two axes of frames or clips."""
    if symmetry == "transpose":
        return x.transpose(-1, -2)
    if symmetry.endswith("turn"):
        return x.rot90(1 if symmetry == "quarter_turn" else 2, (-2, -1))
    return x.flip(-2 if symmetry == "flip_y" else -1)


def turn_vectors(symmetry: str, x: Tensor, vectors: tuple[tuple[int, int], ...], north_up: bool = False) -> Tensor:
    """Turn the components of vectors in frames or clips (N, C, ...) to which a symmetry was applied.

    Args:
        symmetry: One of SYMMETRIES.
        x: The frames, in which 0 is a component of 0.
        vectors: Channels (u, v) of each vector along x and along y.
        north_up: True if v points towards the first row.
    """
    if not vectors:
        return x
    parts = list(x.unbind(1))
    for i, j in vectors:
        right, down = parts[i], -parts[j] if north_up else parts[j]
        if symmetry in NEED_SQUARES:  # the quarter turn is the transpose, then a flip of the rows
            right, down = down, right if symmetry == "transpose" else -right
        else:
            right = right if symmetry == "flip_y" else -right
            down = down if symmetry == "flip_x" else -down
        parts[i], parts[j] = right, -down if north_up else down
    return torch.stack(parts, 1)


class FrameLoader:
    """Loader of every step-th whole frame of a split, in order, as one-frame clips; each process gets a consecutive run.

    Args:
        frames: The split.
        step: Number of frames from one loaded frame to the next.
        weights: (H, 1), weight of the pixels of each row in scores; the mask of a clip is multiplied by it. None for rows alike.
        border: How frames continue beyond their borders.
        reach: LR pixels beyond the border that LR frames get where frames continue there.
    """

    def __init__(
        self, frames: FrameSet, step: int = 1, weights: Tensor | None = None, border: Border | None = None, reach: int = 0
    ) -> None:
        self.frames, self.step, self.weights = frames, step, weights
        self.border, self.reach = border or Border(), reach

    def __iter__(self) -> Iterator[Clip]:
        first, last = rank_share(-(-len(self.frames) // self.step), current_rank(), rank_count())
        for pair in self.frames.pairs(self.step, first * self.step, last * self.step):
            yield add_border(_weighted(pair.clip(first), self.weights), self.border, self.reach)
            first += len(pair)


class ClipLoader:
    """Loader of the frames of a split, in order, as clips that lie within one segment and have additional LR frames as context.

    Args:
        frames: The split.
        context: Number of LR frames before the first and after the last HR frame of a clip.
        trim: Number of frames left out at both ends of each segment.
        ends: Padding in time beyond the ends of a segment, "replicate" or "reflect".
        step: Only the middle 1/step of each segment is loaded.
        whole: If true, each process gets whole segments, because scores in time need them; if false, each gets an equal number
            of frames.
        weights: (H, 1), weight of the pixels of each row in scores; the mask of a clip is multiplied by it. None for rows alike.
        border: How frames continue beyond their borders.
        reach: LR pixels beyond the border that LR frames get where frames continue there.
    """

    def __init__(
        self,
        frames: FrameSet,
        *,
        context: int = 0,
        trim: int = 0,
        ends: Ends = "replicate",
        step: int = 1,
        whole: bool = True,
        weights: Tensor | None = None,
        border: Border | None = None,
        reach: int = 0,
    ) -> None:
        self.frames, self.context, self.trim, self.ends, self.step, self.whole = frames, context, trim, ends, step, whole
        self.weights, self.border, self.reach = weights, border or Border(), reach
        height, width = frames.smallest_size()
        # Long enough that context frames are not most of the work.
        self.length = max(1, EVAL_PIXELS // (height * width), 2 * context)

    def __iter__(self) -> Iterator[Clip]:
        for first, last in self._own_share(self._scored()):
            for start in range(first, last, self.length):
                stop = min(start + self.length, last)
                clip = _weighted(self.frames.clip(start, stop, self.context, self.ends), self.weights)
                yield add_border(clip, self.border, self.reach)._replace(follows=start > first)

    def _scored(self) -> list[tuple[int, int]]:
        """Return the scored frames of each segment as (start, stop)."""
        found = []
        for a, b in self.frames.segments:
            first, last = a + self.trim, b - self.trim
            if self.step > 1:
                count = max(1, (last - first) // self.step)
                first += max(0, last - first - count) // 2
                last = first + count
            found.append((first, last))
        return found

    def _own_share(self, runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return the runs of frames that this process loads."""
        lengths = [max(0, last - first) for first, last in runs]
        if self.whole:
            return [
                run
                for run, owner in zip(runs, assign_sequences_to_ranks(lengths, rank_count()), strict=True)
                if owner == current_rank()
            ]
        start, stop = rank_share(sum(lengths), current_rank(), rank_count())
        found, before = [], 0
        for (first, _), length in zip(runs, lengths, strict=True):
            a, b = max(0, start - before), min(length, stop - before)
            if a < b:
                found.append((first + a, first + b))
            before += length
        return found


def add_border(clip: Clip, border: Border, reach: int) -> Clip:
    """Return a clip whose LR frames go on for `reach` pixels where frames continue beyond their borders."""
    width = border.width(reach)
    return clip._replace(lr=border.pad(clip.lr, width), border=width) if any(width) else clip


def _weighted(clip: Clip, weights: Tensor | None) -> Clip:
    if weights is None:
        return clip
    mask = torch.ones_like(clip.hr[:, :1]) if clip.mask is None else clip.mask
    return clip._replace(mask=mask * weights.to(mask))
