"""What all data have in common: checks, splits, degradation, loaders. A subclass only says where HR movies come from."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import Any

import lightning as L
import torch
from torch import Tensor

from vsr.data.loaders import FrameLoader, FrameSet, PatchLoader
from vsr.data.splits import Segment, Split
from vsr.degradations import Degradation
from vsr.errors import UserError
from vsr.geometry import Triple
from vsr.metrics import SSIM_RADIUS
from vsr.recipe import Recipe
from vsr.types import Movie

ALL_SYMMETRIES = ("flip_y", "flip_x", "transpose")


class SRDataModule(L.LightningDataModule, ABC):
    """HR movies -> train, val, test and further test splits of aligned LR and HR frames, in physical units, in memory.

    Args:
        scale, degradation: how LR is made from whole HR frames.
        recipe: batch, patch and augmentation of the training loader.
        seed: of the training draws.
        crop: cut frames whose size the scale does not divide at their lower and right border, instead of refusing them.

    Attributes that subclasses set: `name`; `bounds`, the physical values that become 0 and 1; `symmetries`, which of
    ALL_SYMMETRIES leave the data's law unchanged; `split`.
    """

    name: str
    bounds: tuple[float, float]
    symmetries: tuple[str, ...] = ALL_SYMMETRIES
    split: Split

    def __init__(self, *, scale: int, degradation: Degradation, recipe: Recipe, seed: int = 0, crop: bool = False) -> None:
        super().__init__()
        self.scale, self.degradation, self.recipe, self.seed, self.crop = scale, degradation, recipe, seed, crop
        self.sets: dict[str, FrameSet] = {}
        self.card: dict[str, Any] = {}

    @abstractmethod
    def movies(self) -> list[Movie]:
        """The movies that are split; all frames of one size. Raises UserError."""

    def further_tests(self) -> dict[str, list[Movie]]:
        """Movies that are tested on as wholes, by the name of their split."""
        return {}

    @property
    def channels(self) -> int:
        return self.sets["train"].hr.shape[1]

    @property
    def test_splits(self) -> tuple[str, ...]:
        return tuple(name for name in self.sets if name not in ("train", "val"))

    def setup(self, stage: str | None = None) -> None:
        """Read, check, split and degrade, once."""
        if self.sets:
            return
        movies = [self._checked(movie) for movie in self.movies()]
        segments = self.split.cut([movie.frames.shape[1] for movie in movies], self.name)
        sets = {name: self._frame_set(movies, parts) for name, parts in segments.items()}
        for name, extra in self.further_tests().items():
            checked = [self._checked(movie) for movie in extra]
            whole = [Segment(i, 0, movie.frames.shape[1]) for i, movie in enumerate(checked)]
            sets[name] = self._frame_set(checked, whole)
        self._check_patch(sets["train"])
        digest = hashlib.sha256()
        for frame_set in sets.values():
            digest.update(frame_set.hr.numpy().tobytes())
        self.card = {
            "name": self.name,
            "frames": {name: len(frame_set) for name, frame_set in sets.items()},
            "size": list(sets["train"].hr.shape[-2:]),
            "channels": sets["train"].hr.shape[1],
            "bounds": list(self.bounds),
            "sha256": digest.hexdigest(),
        }
        self.sets = sets

    def train_dataloader(self) -> PatchLoader:
        recipe = self.recipe
        return PatchLoader(
            self._placed(self.sets["train"]),
            patch=recipe.patch,
            batch=recipe.batch,
            steps=recipe.steps,
            symmetries=self.symmetries if recipe.augment else (),
            seed=self.seed,
        )

    def val_dataloader(self) -> list[FrameLoader]:
        """Training frames (as many as there are validation frames, evenly spread) and validation frames."""
        train, val = self.sets["train"], self.sets["val"]
        return [FrameLoader(self._placed(x)) for x in (train.every(max(1, len(train) // len(val))), val)]

    def test_dataloader(self) -> list[FrameLoader]:
        return [FrameLoader(self._placed(self.sets[name])) for name in self.test_splits]

    def _placed(self, frames: FrameSet) -> FrameSet:
        """On the accelerator when there is one and the split takes less than half of its free memory."""
        device = self.trainer.strategy.root_device if self.trainer is not None else torch.device("cpu")
        if device.type == "cuda":
            size = sum(x.numel() * x.element_size() for x in (frames.lr, frames.hr))
            if size > torch.cuda.mem_get_info(device)[0] // 2:
                return frames
        return frames.to(device)

    def _checked(self, movie: Movie) -> Movie:
        """The movie, cut to a multiple of the scale if that is allowed; raises UserError for what cannot be learned from."""
        frames = movie.frames
        _, length, height, width = frames.shape
        if length < 2:
            raise UserError(f"{movie.name}: one frame is not a movie; give a file with at least 2 frames")
        finite = torch.isfinite(frames).all(dim=3).all(dim=2).all(dim=0)
        if not finite.all():
            bad = int((~finite).sum())
            first = int((~finite).nonzero()[0])
            raise UserError(
                f"{movie.name}: {bad} of {length} frames hold NaN or infinite values, the first is frame {first}; "
                f"fill or remove them"
            )
        if frames.min() == frames.max():
            raise UserError(f"{movie.name}: every value is {frames.min():g}; a constant field cannot be learned from")
        if height % self.scale or width % self.scale:
            if not self.crop:
                raise UserError(
                    f"{movie.name}: frames of {height}x{width} are not divisible by scale={self.scale}; "
                    f"type data.crop=true to cut them to {height // self.scale * self.scale}x{width // self.scale * self.scale}"
                )
            frames = frames[..., : height // self.scale * self.scale, : width // self.scale * self.scale]
        return Movie(frames, movie.name, movie.meta)

    def _frame_set(self, movies: list[Movie], parts: list[Segment]) -> FrameSet:
        hr = torch.cat([movies[p.movie].frames[:, p.start : p.stop] for p in parts], dim=1).transpose(0, 1).contiguous()
        lr = torch.cat([self._degrade(x) for x in hr.split(64)])
        ends = torch.tensor([len(p) for p in parts]).cumsum(0).tolist()
        return FrameSet(lr, hr, tuple(zip([0, *ends[:-1]], ends, strict=True)))

    def _degrade(self, hr: Tensor) -> Tensor:
        return self.degradation(hr, self.scale)

    def check_window(self, window: Triple) -> None:
        """Raises UserError when the evaluation window leaves frames that are too small for SSIM."""
        height, width = self.sets["train"].hr.shape[-2:]
        left = (height - 2 * window[1], width - 2 * window[2])
        if min(left) <= 2 * SSIM_RADIUS or window[0]:
            raise UserError(
                f"{self.name}: window={list(window)} leaves {left[0]}x{left[1]} of frames of {height}x{width}, SSIM needs 11x11 "
                f"and single frames no temporal margin; type window=[0,0,0] or give larger frames"
            )

    def _check_patch(self, train: FrameSet) -> None:
        h, w = train.lr.shape[-2:]
        patch = self.recipe.patch
        if patch is not None and patch > min(h, w):
            raise UserError(
                f"{self.name}: recipe.patch={patch} LR pixels is larger than the LR frames ({h}x{w} at scale={self.scale}); "
                f"type recipe.patch={min(h, w)} or recipe.patch=null for whole frames"
            )
