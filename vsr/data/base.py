"""What all data have in common: checks, splits, degradation, loaders. A subclass only says where HR movies come from."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import Any

import lightning as L
import torch

from vsr.data.checks import check_copies, scan, warn_near_duplicates
from vsr.data.frames import Ends, FrameSet, MemoryFrames, MixedFrames, Pair
from vsr.data.lazy_frames import StoredFrames
from vsr.data.loaders import ClipLoader, FrameLoader, PatchLoader
from vsr.data.masks import fill_gaps
from vsr.data.splits import Segment, Split
from vsr.degradations import Degradation
from vsr.errors import UserError
from vsr.geometry import Triple
from vsr.metrics.psnr_ssim import SSIM_RADIUS
from vsr.recipe import Recipe
from vsr.types import Movie, TrainingFrames

ALL_SYMMETRIES = ("flip_y", "flip_x", "transpose")  # they generate the turns too
VALIDATION_PIXELS = 1 << 23  # HR pixels per split that are scored after each epoch
MOVIE_VALIDATION_PIXELS = 1 << 18  # by a movie network: it does some twenty times more work per pixel
PREPARE_PIXELS = 1 << 24  # HR pixels that statistics and closed-form filters are fitted to, evenly over the training frames


class SRDataModule(L.LightningDataModule, ABC):
    """HR movies -> train, val, test and further test splits of aligned LR and HR frames, in physical units.

    Args:
        scale, degradation: how LR is made from whole HR frames.
        recipe: batch, patch and augmentation of the training loader.
        draw_seed: seed of the training draws (patches, clips, flips).
        crop: cut frames whose size the scale does not divide at their lower and right border, instead of refusing them.
        mask: fill values that are not finite (land, gaps) and leave them out of loss and scores, instead of refusing them.
        memory: MiB of HR frames that are held in memory; a larger split stays in its file and is read in blocks.

    Attributes that subclasses set: `name`; `bounds`, the physical values that become 0 and 1, None for the least and the largest
    of the training frames; `symmetries`, which of the loaders' SYMMETRIES leave the data's law unchanged; `split`.
    """

    name: str
    bounds: tuple[float, float] | None
    symmetries: tuple[str, ...] = ALL_SYMMETRIES
    split: Split
    min_frames = 2  # of a movie
    test_name = "test"  # of the split's test part
    physical = True  # values of a physical field, not code values of pictures
    geostrophic = False  # heights of a fluid on a rotating plane, whose gradient is balanced by the flow
    trains = True  # whether patches and clips will be drawn to learn from; set before setup()
    protocol = "float"  # or "classical"; set before setup()
    ends: Ends = "replicate"  # the frames before the first and after the last; set before setup()
    # What the network that is served needs, see serve().
    context, lost, trim, length = 0, 0, 0, 1

    def __init__(
        self,
        *,
        scale: int,
        degradation: Degradation,
        recipe: Recipe,
        draw_seed: int = 0,
        crop: bool = False,
        mask: bool = False,
        memory: float = 1024,
    ) -> None:
        super().__init__()
        self.scale, self.degradation, self.recipe, self.draw_seed = scale, degradation, recipe, draw_seed
        self.crop, self.mask, self.memory = crop, mask, memory
        self.sets: dict[str, FrameSet] = {}
        self.card: dict[str, Any] = {}

    @abstractmethod
    def movies(self) -> list[Movie]:
        """The movies that are split. Raises UserError."""

    def extra_test_splits(self) -> dict[str, list[Movie]]:
        """Movies that are tested on as wholes, by the name of their split."""
        return {}

    @property
    def channels(self) -> int:
        return self.sets["train"].channels

    @property
    def test_splits(self) -> tuple[str, ...]:
        return tuple(name for name in self.sets if name not in ("train", "val"))

    def setup(self, stage: str | None = None) -> None:
        """Read, check, split and degrade, once."""
        if self.sets:
            return
        movies, extra_movies = self.movies(), self.extra_test_splits()
        for number, movie in enumerate([*movies, *(movie for extra in extra_movies.values() for movie in extra)]):
            movie.number = number
            self._check_shape(movie)
        splits = {
            self.test_name if name == "test" else name: [(movies[part.movie], part) for part in parts]
            for name, parts in self.split.cut([movie.shape[1] for movie in movies], self.name).items()
        }
        for name, extra in extra_movies.items():
            splits[name] = [(movie, Segment(i, 0, movie.shape[1])) for i, movie in enumerate(extra)]
        digest = hashlib.sha256()
        learned: set[bytes] = set()
        for name, found in splits.items():
            low, high, seen = scan(found, digest, self.mask)
            if name not in ("train", "val"):
                said = f"{self.name}: the split '{name}'"
                if not check_copies(said, found[0][0].name, seen, learned) and not self.physical:
                    warn_near_duplicates(said, splits["train"], found, self.bounds or (low, high))
            learned |= set(seen) if name == "train" else set()
            if name == "train":
                if low == high:
                    raise UserError(f"{found[0][0].name}: every value is {low:g}; a constant field cannot be learned from")
                self.bounds = self.bounds or (low, high)
        if self.protocol == "classical" and self.bounds != (0.0, 255.0):
            raise UserError(f"{self.name}: protocol=classical is for 8-bit pictures and video, not for values in {self.bounds}")
        tested = [movie for name, found in splits.items() if name not in ("train", "val") for movie, _ in found]
        sets = {name: self._frame_set(found) for name, found in splits.items()}
        if self.trains:
            self._check_patch(sets["train"])
        self.card = {
            "name": self.name,
            "frames": {name: len(frame_set) for name, frame_set in sets.items()},
            "size": list(sets["train"].smallest()),
            "channels": sets["train"].channels,
            "bounds": list(self.bounds or ()),
            "units": tested[0].meta.get("units") if tested else None,
            # Whether the fields that are tested on go on at the opposite border.
            "periodic": bool(tested) and all(movie.meta.get("periodic") is True for movie in tested),
            "sha256": digest.hexdigest(),
        }
        self.sets = sets

    def training_frames(self) -> TrainingFrames:
        """Whole training frames for what is fitted in closed form: all, or evenly spread ones when there are many."""
        train = self.sets["train"]
        height, width = train.smallest()
        step = max(1, -(-len(train) * height * width // PREPARE_PIXELS))
        return [(pair.lr, pair.hr, pair.mask) for pair in train.pairs(step)]

    def serve(self, recipe: Recipe, *, context: int, lost: int, trim: int) -> None:
        """Make the loaders give what a network needs; before they are asked for.

        `context` LR frames around each HR frame in scoring; training clips that stick out by the `lost` frames that the network
        takes off both ends; `trim` frames left out of the scores at both ends of every movie. Raises UserError when no training
        movie is long enough.
        """
        self.recipe, self.context, self.lost, self.trim = recipe, context, lost, trim
        self.length = recipe.frames if context else 1
        longest = max(b - a for a, b in self.sets["train"].segments)
        if self.trains and longest + 2 * lost < self.length:
            raise UserError(
                f"{self.name}: no training movie is long enough for clips of recipe.frames={self.length} frames, the longest has "
                f"{longest}, and {lost} made up at each end; type recipe.frames={longest + 2 * lost} or less"
            )
        if self.length <= 2 * lost:
            raise UserError(f"recipe.frames={self.length}: this network takes off {lost} at each end; type recipe.frames=7")

    def train_dataloader(self) -> PatchLoader:
        recipe = self.recipe
        return PatchLoader(
            self._placed(self.sets["train"].padded(self.lost, self.ends)),
            length=self.length,
            patch=recipe.patch,
            batch=recipe.batch,
            steps=recipe.steps,
            symmetries=self._usable_symmetries() if recipe.augment else (),
            seed=self.draw_seed,
        )

    def val_dataloader(self) -> list[FrameLoader] | list[ClipLoader]:
        """Training frames (as many as there are validation frames, evenly spread) and validation frames.

        Of large ones, so many, evenly spread, as make VALIDATION_PIXELS: scoring must not take longer than training. For movie
        networks, runs of consecutive frames. The test splits are always scored whole.
        """
        train, val = self.sets["train"], self.sets["val"]
        height, width = val.smallest()
        limit = MOVIE_VALIDATION_PIXELS if self.context else VALIDATION_PIXELS
        step = max(1, -(-len(val) * height * width // limit))
        both = ((train, max(1, step * len(train) // len(val))), (val, step))
        if self.context:  # runs of consecutive frames, or most of the work would be for the frames around
            return [self._clips(frames, each, whole=False) for frames, each in both]
        return [FrameLoader(self._placed(frames), each) for frames, each in both]

    def test_dataloader(self) -> list[ClipLoader]:
        return [self._clips(self.sets[name]) for name in self.test_splits]

    def _clips(self, frames: FrameSet, step: int = 1, whole: bool = True) -> ClipLoader:
        placed = self._placed(frames)
        return ClipLoader(placed, context=self.context, trim=self.trim, ends=self.ends, step=step, whole=whole)

    def check_window(self, window: Triple) -> None:
        """Raises UserError when the evaluation window leaves no frames, or frames that are too small for SSIM."""
        height, width = (min(sizes) for sizes in zip(*(found.smallest() for found in self.sets.values()), strict=True))
        left = (height - 2 * window[1], width - 2 * window[2])
        if min(left) <= 2 * SSIM_RADIUS:
            raise UserError(
                f"{self.name}: window={list(window)} leaves {left[0]}x{left[1]} of frames of {height}x{width}, SSIM needs 11x11; "
                f"type window=[0,0,0] or give larger frames"
            )
        for name, found in self.sets.items():
            shortest = min(b - a for a, b in found.segments)
            if shortest <= 2 * window[0] and name != "train":
                raise UserError(
                    f"{self.name}: window={list(window)} leaves no frame of a movie of {shortest} in '{name}'; "
                    f"type window=[0,{window[1]},{window[2]}]"
                )

    def _usable_symmetries(self) -> tuple[str, ...]:
        """Those of the data, less those that would move LR against HR where the degradation is not centred."""
        if self.degradation.centred(self.scale):
            return self.symmetries
        return tuple(x for x in self.symmetries if x == "transpose")

    def _placed(self, frames: FrameSet) -> FrameSet:
        """On the accelerator when there is one and the split takes less than half of its free memory."""
        device = self.trainer.strategy.root_device if self.trainer is not None else torch.device("cpu")
        if device.type == "cuda" and frames.nbytes() > torch.cuda.mem_get_info(device)[0] // 2:
            return frames
        return frames.to(device)

    def _check_shape(self, movie: Movie) -> None:
        _, length, height, width = movie.shape
        if length < self.min_frames:
            raise UserError(f"{movie.name}: one frame is not a movie; give a file with at least {self.min_frames} frames")
        if min(height, width) < self.scale:
            raise UserError(f"{movie.name}: frames of {height}x{width} are smaller than scale={self.scale}; give larger ones")
        if (height % self.scale or width % self.scale) and not self.crop:
            raise UserError(
                f"{movie.name}: frames of {height}x{width} are not divisible by scale={self.scale}; "
                f"type data.crop=true to cut them to {height // self.scale * self.scale}x{width // self.scale * self.scale}"
            )

    def _frame_set(self, parts: list[tuple[Movie, Segment]]) -> FrameSet:
        """The frames of a split in memory, by size; in the file when they are too many."""
        size = sum(4 * len(part) * movie.shape[0] * movie.shape[2] * movie.shape[3] for movie, part in parts)
        ends = torch.tensor([len(part) for _, part in parts]).cumsum(0).tolist()
        segments = tuple(zip([0, *ends[:-1]], ends, strict=True))
        if size > self.memory * 2**20 and all(movie.stored for movie, _ in parts):
            if self.degradation.temporal:
                raise UserError(
                    f"{self.name}: degradation {self.degradation.name} needs whole clips in memory, {size >> 20} MiB; "
                    f"type data.memory={(size >> 20) + 1}, or data.learn and data.test for fewer frames"
                )

            def read(start: int, stop: int) -> Pair:
                at = next(i for i, end in enumerate(ends) if start < end)
                movie, part = parts[at]
                shift = part.start - segments[at][0]
                return self._pair(movie, start + shift, stop + shift)

            return StoredFrames(read, segments, read(0, 1))
        groups: dict[tuple[int, int], list[Pair]] = {}
        for movie, part in parts:
            pair = self._pair(movie, part.start, part.stop)
            groups.setdefault((pair.hr.shape[-2], pair.hr.shape[-1]), []).append(pair)
        sets = [_joined(pairs) for pairs in groups.values()]
        return sets[0] if len(sets) == 1 else MixedFrames(sets)

    def _pair(self, movie: Movie, start: int, stop: int) -> Pair:
        """Frames start..stop-1 of a movie, cut to a multiple of the scale, filled where they are not finite, degraded."""
        height, width = (n // self.scale * self.scale for n in movie.shape[2:])
        hr = movie.read(start, stop)[..., :height, :width].transpose(0, 1).contiguous()
        mask = None
        if self.mask:
            hr, mask = fill_gaps(hr)
        assert self.bounds is not None
        # Frames of different movies have different numbers, so that they do not share their noise.
        first = movie.number * 2**32 + start
        return Pair(self.degradation(hr, self.scale, bounds=self.bounds, first=first), hr, mask)

    def _check_patch(self, train: FrameSet) -> None:
        h, w = (n // self.scale for n in train.smallest())
        patch = self.recipe.patch
        if patch is None and isinstance(train, MixedFrames):
            raise UserError(f"{self.name}: frames differ in size, whole frames cannot be batched; type recipe.patch=16")
        if patch is not None and patch > min(h, w):
            raise UserError(
                f"{self.name}: recipe.patch={patch} LR pixels is larger than the LR frames ({h}x{w} at scale={self.scale}); "
                f"type recipe.patch={min(h, w)} or recipe.patch=null for whole frames"
            )


def _joined(pairs: list[Pair]) -> MemoryFrames:
    """Segments of one size as one set."""
    ends = torch.tensor([len(pair) for pair in pairs]).cumsum(0).tolist()
    masks = [pair.mask for pair in pairs if pair.mask is not None]
    joined = Pair(
        torch.cat([pair.lr for pair in pairs]), torch.cat([pair.hr for pair in pairs]), torch.cat(masks) if masks else None
    )
    return MemoryFrames(joined, tuple(zip([0, *ends[:-1]], ends, strict=True)))
