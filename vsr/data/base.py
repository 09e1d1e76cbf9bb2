"""What all data have in common: checks, splits, degradation, loaders. A subclass only says where HR movies come from."""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import lightning as L
import torch

from vsr.data.frames import FrameSet, MemoryFrames, MixedFrames, Pair, StoredFrames
from vsr.data.loaders import FrameLoader, PatchLoader
from vsr.data.masks import fill_gaps
from vsr.data.splits import Segment, Split
from vsr.degradations import Degradation
from vsr.errors import UserError
from vsr.geometry import Triple
from vsr.metrics import SSIM_RADIUS
from vsr.recipe import Recipe
from vsr.types import Movie, TrainingFrames

log = logging.getLogger(__name__)

ALL_SYMMETRIES = ("flip_y", "flip_x", "transpose")  # they generate the turns too
CHUNK_BYTES = 64 << 20  # HR bytes that are checked at once
VALIDATION_PIXELS = 1 << 23  # HR pixels per split that are scored after each epoch
PREPARE_PIXELS = 1 << 24  # HR pixels that statistics and closed-form filters are fitted to, evenly over the training frames


class SRDataModule(L.LightningDataModule, ABC):
    """HR movies -> train, val, test and further test splits of aligned LR and HR frames, in physical units.

    Args:
        scale, degradation: how LR is made from whole HR frames.
        recipe: batch, patch and augmentation of the training loader.
        seed: of the training draws.
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
    least_frames = 2  # of a movie
    test_name = "test"  # of the split's test part
    protocol = "float"  # or "classical"; set before setup()

    def __init__(
        self,
        *,
        scale: int,
        degradation: Degradation,
        recipe: Recipe,
        seed: int = 0,
        crop: bool = False,
        mask: bool = False,
        memory: float = 1024,
    ) -> None:
        super().__init__()
        self.scale, self.degradation, self.recipe, self.seed = scale, degradation, recipe, seed
        self.crop, self.mask, self.memory = crop, mask, memory
        self.sets: dict[str, FrameSet] = {}
        self.card: dict[str, Any] = {}

    @abstractmethod
    def movies(self) -> list[Movie]:
        """The movies that are split. Raises UserError."""

    def further_tests(self) -> dict[str, list[Movie]]:
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
        movies, extra_movies = self.movies(), self.further_tests()
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
            low, high, seen = self._scan(found, digest)
            if name not in ("train", "val"):
                self._check_leak(name, found, seen, learned)
            learned |= set(seen) if name == "train" else set()
            if name == "train":
                if low == high:
                    raise UserError(f"{found[0][0].name}: every value is {low:g}; a constant field cannot be learned from")
                self.bounds = self.bounds or (low, high)
        if self.protocol == "classical" and self.bounds != (0.0, 255.0):
            raise UserError(f"{self.name}: protocol=classical is for 8-bit pictures and video, not for values in {self.bounds}")
        sets = {name: self._frame_set(found) for name, found in splits.items()}
        self._check_patch(sets["train"])
        self.card = {
            "name": self.name,
            "frames": {name: len(frame_set) for name, frame_set in sets.items()},
            "size": list(sets["train"].smallest()),
            "channels": sets["train"].channels,
            "bounds": list(self.bounds or ()),
            "sha256": digest.hexdigest(),
        }
        self.sets = sets

    def training_frames(self) -> TrainingFrames:
        """Whole training frames for what is fitted in closed form: all, or evenly spread ones when there are many."""
        train = self.sets["train"]
        height, width = train.smallest()
        step = max(1, -(-len(train) * height * width // PREPARE_PIXELS))
        return [(pair.lr, pair.hr, pair.mask) for pair in train.pairs(step)]

    def train_dataloader(self) -> PatchLoader:
        recipe = self.recipe
        return PatchLoader(
            self._placed(self.sets["train"]),
            patch=recipe.patch,
            batch=recipe.batch,
            steps=recipe.steps,
            symmetries=self._usable_symmetries() if recipe.augment else (),
            seed=self.seed,
        )

    def val_dataloader(self) -> list[FrameLoader]:
        """Training frames (as many as there are validation frames, evenly spread) and validation frames.

        Of large ones, so many, evenly spread, as make VALIDATION_PIXELS: scoring must not take longer than training. The test
        splits are always scored whole.
        """
        train, val = self.sets["train"], self.sets["val"]
        height, width = val.smallest()
        step = max(1, -(-len(val) * height * width // VALIDATION_PIXELS))
        both = ((train, max(1, step * len(train) // len(val))), (val, step))
        return [FrameLoader(self._placed(frames), each) for frames, each in both]

    def test_dataloader(self) -> list[FrameLoader]:
        return [FrameLoader(self._placed(self.sets[name])) for name in self.test_splits]

    def check_window(self, window: Triple) -> None:
        """Raises UserError when the evaluation window leaves frames that are too small for SSIM."""
        height, width = (min(sizes) for sizes in zip(*(found.smallest() for found in self.sets.values()), strict=True))
        left = (height - 2 * window[1], width - 2 * window[2])
        if min(left) <= 2 * SSIM_RADIUS or window[0]:
            raise UserError(
                f"{self.name}: window={list(window)} leaves {left[0]}x{left[1]} of frames of {height}x{width}, SSIM needs 11x11 "
                f"and single frames no temporal margin; type window=[0,0,0] or give larger frames"
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
        if length < self.least_frames:
            raise UserError(f"{movie.name}: one frame is not a movie; give a file with at least {self.least_frames} frames")
        if (height % self.scale or width % self.scale) and not self.crop:
            raise UserError(
                f"{movie.name}: frames of {height}x{width} are not divisible by scale={self.scale}; "
                f"type data.crop=true to cut them to {height // self.scale * self.scale}x{width // self.scale * self.scale}"
            )

    def _check_leak(self, name: str, parts: list[tuple[Movie, Segment]], seen: list[bytes], learned: set[bytes]) -> None:
        """Tell of test frames that were learned from, bit by bit; refuse when they are most of the split."""
        same = [frame in learned for frame in seen]
        if 2 * sum(same) > len(same):
            raise UserError(
                f"{self.name}: {sum(same)} of the {len(same)} frames of the split '{name}' are also among the training frames, "
                f"as when a clip is there twice ({parts[0][0].name}); remove the copies"
            )
        if any(same):
            log.warning("%s: %d of %d frames of '%s' are also training frames", self.name, sum(same), len(same), name)

    def _scan(self, parts: list[tuple[Movie, Segment]], digest: Any) -> tuple[float, float, list[bytes]]:
        """Least and largest finite value of a split, and a hash of each frame; adds the split to `digest`, chunk by chunk.

        Raises UserError for NaN and infinities unless they are masked.
        """
        low, high = float("inf"), float("-inf")
        seen: list[bytes] = []
        for movie, part in parts:
            bad, first_bad = 0, None
            for start, stop in _chunks(movie, part, CHUNK_BYTES):
                frames = movie.read(start, stop)
                digest.update(frames.numpy().tobytes())
                seen += [hashlib.blake2b(frames[:, k].numpy().tobytes(), digest_size=16).digest() for k in range(stop - start)]
                finite = torch.isfinite(frames)
                whole = finite.all(dim=3).all(dim=2).all(dim=0)
                if not whole.all():
                    bad += int((~whole).sum())
                    first_bad = start + int((~whole).nonzero()[0]) if first_bad is None else first_bad
                    frames = frames[finite]
                if frames.numel():
                    low, high = min(low, float(frames.min())), max(high, float(frames.max()))
            if bad and not self.mask:
                raise UserError(
                    f"{movie.name}: {bad} of the frames {part.start} to {part.stop - 1} hold NaN or infinite values, the "
                    f"first is frame {first_bad}; fill them, or type data.mask=true to leave them out of loss and scores"
                )
        if low > high:
            raise UserError(f"{parts[0][0].name}: holds no finite value")
        return low, high, seen

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


def _chunks(movie: Movie, part: Segment, limit: int) -> Iterator[tuple[int, int]]:
    channels, _, height, width = movie.shape
    step = max(1, limit // (4 * channels * height * width))
    for start in range(part.start, part.stop, step):
        yield start, min(start + step, part.stop)


def _joined(pairs: list[Pair]) -> MemoryFrames:
    """Segments of one size as one set."""
    ends = torch.tensor([len(pair) for pair in pairs]).cumsum(0).tolist()
    masks = [pair.mask for pair in pairs if pair.mask is not None]
    joined = Pair(
        torch.cat([pair.lr for pair in pairs]), torch.cat([pair.hr for pair in pairs]), torch.cat(masks) if masks else None
    )
    return MemoryFrames(joined, tuple(zip([0, *ends[:-1]], ends, strict=True)))
