"""Loaders of splits of aligned LR and HR frames, for training, validation and tests of one network."""

from __future__ import annotations

import lightning as L
import torch

from vsr.data.frames import Ends, FrameSet, LrHrPair, MixedFrames
from vsr.data.loaders import ClipLoader, FrameLoader, PatchLoader
from vsr.degradations import Degradation
from vsr.degradations.base import is_centred
from vsr.degradations.border import Border
from vsr.errors import UserError
from vsr.geometry import PixelGrid, Triple
from vsr.metrics.psnr_ssim import SSIM_RADIUS
from vsr.recipe import Recipe
from vsr.types import TrainingFrames

VALIDATION_PIXELS = 1 << 23  # HR pixels per split that are scored after each epoch
MOVIE_VALIDATION_PIXELS = 1 << 18  # the limit for movie networks, which do some twenty times more work per pixel
PREPARE_PIXELS = 1 << 24  # HR pixels for statistics and closed-form fits, from evenly spread training frames


class SplitLoaders(L.LightningDataModule):
    """LightningDataModule of splits that already exist: the choice of their frames and clips, and the loaders.

    `SRDataModule` adds how the splits are made from movies.

    Args:
        scale: Number of HR pixels per LR pixel along each side.
        degradation: Degradation that makes LR frames from whole HR frames.
        recipe: Training recipe, which sets batch, patch and augmentation of the training loader.
        draw_seed: Seed of the random draws in training (patches, clips, flips).

    Attributes:
        sets: Name of each split -> its frames: "train", "val", and those of tests. A subclass fills them.
    """

    # Set by `SRDataModule` and its subclasses, where comments say what they are.
    name: str
    symmetries: tuple[str, ...]
    vectors: tuple[tuple[int, int], ...]
    static_names: tuple[str, ...]
    for_training: bool
    ends: Ends
    pixel_grid: PixelGrid
    border: Border
    # configure_loaders() sets these.
    context, margin, trim, length, reach = 0, 0, 0, 1, 0

    def __init__(self, *, scale: int, degradation: Degradation, recipe: Recipe, draw_seed: int) -> None:
        super().__init__()
        self.scale, self.degradation, self.recipe, self.draw_seed = scale, degradation, recipe, draw_seed
        self.sets: dict[str, FrameSet] = {}

    @property
    def channels(self) -> int:
        """Number of channels of every frame."""
        return self.sets["train"].channels

    @property
    def test_splits(self) -> tuple[str, ...]:
        """Names of the test splits."""
        return tuple(name for name in self.sets if name not in ("train", "val"))

    def training_frames(self) -> TrainingFrames:
        """Return whole training frames for closed-form fits, thinned out evenly to about PREPARE_PIXELS HR pixels."""
        return self._whole_frames("train", PREPARE_PIXELS)

    def validation_frames(self) -> TrainingFrames:
        """Return whole validation frames, thinned out evenly to about VALIDATION_PIXELS HR pixels."""
        return self._whole_frames("val", VALIDATION_PIXELS)

    def _whole_frames(self, split: str, pixels: int) -> TrainingFrames:
        frames = self.sets[split]
        height, width = frames.smallest_size()
        step = max(1, -(-len(frames) * height * width // pixels))
        return [(pair.lr, pair.hr, pair.mask) for pair in frames.pairs(step)]

    def configure_loaders(self, recipe: Recipe, *, context: int, margin: int, trim: int, reach: int = 0) -> None:
        """Set the lengths of the clips that the loaders give to a network; call this before the loaders are built.

        Args:
            recipe: Training recipe of the network.
            context: Number of LR frames before and after each HR frame in scoring.
            margin: Number of frames that the network removes at each end of a clip. Training movies are padded by this number
                at each end.
            trim: Number of frames at both ends of every movie that are not scored.
            reach: LR pixels on each side on which an HR pixel depends.

        Raises:
            UserError: If no training movie is long enough for clips of recipe.frames frames, or if the network removes all
                frames of a clip.
        """
        self.recipe, self.context, self.margin, self.trim, self.reach = recipe, context, margin, trim, reach
        self.length = recipe.frames if context else 1
        longest = max(b - a for a, b in self.sets["train"].segments)
        if self.for_training and longest + 2 * margin < self.length:
            raise UserError(
                f"{self.name}: no training movie is long enough for clips of recipe.frames={self.length} frames, the longest has "
                f"{longest}, and {margin} made up at each end; type recipe.frames={longest + 2 * margin} or less"
            )
        if self.for_training and recipe.mix and len(self.sets["train"].segments) < 2:
            raise UserError(
                f"{self.name}: recipe.mix={recipe.mix:g} needs two training trajectories or more; type recipe.mix=null"
            )
        if self.length <= 2 * margin:
            raise UserError(f"recipe.frames={self.length}: this network takes off {margin} at each end; type recipe.frames=7")

    def train_dataloader(self) -> PatchLoader:
        """Return the loader of random patches or whole frames of the training split."""
        recipe = self.recipe
        return PatchLoader(
            self._on_device(self._for_patches(self.sets["train"].padded(self.margin, self.ends))),
            length=self.length,
            patch=recipe.patch,
            batch=recipe.batch,
            steps=recipe.steps,
            symmetries=self._usable_symmetries() if recipe.augment else (),
            vectors=self.vectors,
            north_up=self.pixel_grid.falling,
            static=len(self.static_names) * self.scale**2,
            mix=recipe.mix or 0.0,
            margin=self.margin if recipe.augment else 0,
            ends=self.ends,
            seed=self.draw_seed,
        )

    def _for_patches(self, frames: FrameSet) -> FrameSet:
        """Let patches of training frames lie across borders beyond which frames continue, and weight pixels by `recipe.area`."""
        areas, width = self._row_weights() if self.recipe.area else None, self.border.width((self.recipe.patch or 0) // 2)
        if self.recipe.area and areas is None:
            raise UserError(f"recipe.area=true: the rows of {self.name} are no latitudes, their pixels are alike; leave it out")
        if not any(width) and areas is None:
            return frames
        fine, masks = (width[0] * self.scale, width[1] * self.scale), Border(self.border.periodic)

        def prepare(pair: LrHrPair) -> LrHrPair:
            mask = None if pair.mask is None else masks.pad(pair.mask, fine)
            if areas is not None:
                area = masks.pad(areas.to(pair.hr).expand(1, 1, *pair.hr.shape[-2:]), fine).expand(len(pair), -1, -1, -1)
                mask = area if mask is None else mask * area
            return LrHrPair(self.border.pad(pair.lr, width), self.border.pad(pair.hr, fine), mask)

        return frames.mapped(prepare)

    def val_dataloader(self) -> list[FrameLoader] | list[ClipLoader]:
        """Return two loaders for validation: first of training frames, then of validation frames, about equally many.

        Each split is thinned out to VALIDATION_PIXELS (for movie networks: MOVIE_VALIDATION_PIXELS), because scoring must not
        take longer than training. Single-frame networks get evenly spread frames, movie networks get consecutive frames. Test
        splits are not thinned out.
        """
        train, val = self.sets["train"], self.sets["val"]
        height, width = val.smallest_size()
        limit = MOVIE_VALIDATION_PIXELS if self.context else VALIDATION_PIXELS
        step = max(1, -(-len(val) * height * width // limit))
        both = ((train, max(1, step * len(train) // len(val))), (val, step))
        if self.context:  # single frames would spend most of the work on their context
            return [self._clips(frames, each, whole=False) for frames, each in both]
        around = self._row_weights(), self.border, self.reach
        return [FrameLoader(self._on_device(frames), each, *around) for frames, each in both]

    def test_dataloader(self) -> list[ClipLoader]:
        """Return one loader per test split, in the order of `test_splits`."""
        return [self.split_dataloader(name) for name in self.test_splits]

    def split_dataloader(self, split: str) -> ClipLoader:
        """Return a loader of all frames of a split, in order."""
        return self._clips(self.sets[split])

    def _clips(self, frames: FrameSet, step: int = 1, whole: bool = True) -> ClipLoader:
        placed = self._on_device(frames)
        options = {"context": self.context, "trim": self.trim, "ends": self.ends, "step": step, "whole": whole}
        around = {"weights": self._row_weights(), "border": self.border, "reach": self.reach}
        return ClipLoader(placed, **options, **around)  # type: ignore[arg-type]

    def _row_weights(self) -> torch.Tensor | None:
        """Return the area of the pixels of each row for scores, (H, 1); None for pixels of one size."""
        cosines = self.pixel_grid.cosines
        return None if cosines is None else torch.tensor(cosines)[:, None]

    def check_patch(self, train: FrameSet) -> None:
        """Raise UserError if training frames are smaller than patches, or, without patches, differ in size."""
        h, w = (n // self.scale for n in train.smallest_size())
        patch = self.recipe.patch
        if patch is None and isinstance(train, MixedFrames):
            raise UserError(f"{self.name}: frames differ in size, whole frames cannot be batched; type recipe.patch=16")
        if patch is not None and patch > min(h, w):
            raise UserError(
                f"{self.name}: recipe.patch={patch} LR pixels is larger than the LR frames ({h}x{w} at scale={self.scale}); "
                f"type recipe.patch={min(h, w)} or recipe.patch=null for whole frames"
            )

    def check_window(self, window: Triple) -> None:
        """Check that frames are still large enough for SSIM after scoring has left out their borders.

        Args:
            window: Number of frames, rows and columns (t, y, x) that scoring leaves out on each side.

        Raises:
            UserError: If no frames are left of a movie, or if the frames that are left are too small.
        """
        height, width = (min(sizes) for sizes in zip(*(found.smallest_size() for found in self.sets.values()), strict=True))
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
        """Return the symmetries without flips that would shift LR against HR, as flips do if the degradation is not centred."""
        if is_centred(self.degradation, self.scale):
            return self.symmetries
        return tuple(x for x in self.symmetries if x == "transpose")

    def _on_device(self, frames: FrameSet) -> FrameSet:
        """Move a split to the accelerator, unless the split takes more than half of the free memory there."""
        device = self.trainer.strategy.root_device if self.trainer is not None else torch.device("cpu")
        if device.type == "cuda" and frames.nbytes() > torch.cuda.mem_get_info(device)[0] // 2:
            return frames
        return frames.to(device)
